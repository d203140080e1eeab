"""Every fault that the simulator knows comes in a campaign."""

import random
from typing import Any

from kros_mcp.simulator.faults import KINDS

from .watched import WatchedKrosai
from .weather import SPELLS


def chance_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - must repeat, guards nothing


def test_every_fault_has_a_spell_whose_parameters_it_knows() -> None:
    assert set(SPELLS) == set(KINDS)
    chance = chance_of(0)
    for name, spell in SPELLS.items():
        for on in spell.on:
            WatchedKrosai("reference", 0).faults.switch_on(name, on=on, **dict[str, Any](spell.params(chance)))
