"""Every fault that the simulator knows comes in a campaign."""

import random
from typing import Any

from kros_mcp.simulator.faults import KINDS

from .fault_plans import FAULT_PLANS
from .watched import WatchedKrosai


def chance_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - must repeat, guards nothing


def test_every_fault_has_a_plan_whose_parameters_it_knows() -> None:
    assert set(FAULT_PLANS) == set(KINDS)
    chance = chance_of(0)
    for name, plan in FAULT_PLANS.items():
        for on in plan.on:
            WatchedKrosai("reference", 0).faults.switch_on(name, on=on, **dict[str, Any](plan.params(chance)))
