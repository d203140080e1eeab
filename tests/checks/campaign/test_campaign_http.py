"""A campaign over HTTP finds out a fleet that is put together wrongly."""

from pathlib import Path

import pytest

from .campaign import run
from .chaos import Pace
from .fleet import HTTP_KINDS, over_http
from .world import Plan, World

pytestmark = [pytest.mark.anyio, pytest.mark.processes]


async def test_replicas_that_do_not_share_the_journal_are_found_out(tmp_path: Path) -> None:
    apart = {"KROS_JOURNAL_URL": f"sqlite:///{tmp_path}/apart.sqlite3"}
    plan = Plan(
        seconds=60,
        seed=1,
        folder=tmp_path,
        kinds=HTTP_KINDS,
        transport=over_http(stateless=True, settings=[apart, apart, {}]),
        pace=Pace(kills=0, freezes=0, restarts=0),
        faults=False,
    )

    async def has_bought_elsewhere(world: World) -> bool:
        known = {each.id for each in await world.journal.list_operations()}
        return any(charge.idempotency_key not in known for charge in world.sim.charges)

    outcome = await run(plan, enough=has_bought_elsewhere)
    assert "charge without an operation" in {each.rule for each in outcome.differences}
