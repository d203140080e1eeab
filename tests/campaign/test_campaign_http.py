"""A short campaign over HTTP as part of the suite; and proof that a fleet that is put together wrongly is found out."""

from dataclasses import replace
from pathlib import Path

import pytest

from .campaign import run
from .chaos import Pace
from .fleet import HTTP_KINDS, PACE, over_http
from .report import keep, lines, missed, targets
from .world import Plan

pytestmark = pytest.mark.anyio


async def test_after_kills_of_replicas_and_every_fault_the_books_agree(tmp_path: Path, postgres_url: str) -> None:
    plan = Plan(
        seconds=6,
        seed=4,
        folder=tmp_path,
        journal_url=postgres_url,
        kinds=HTTP_KINDS,
        transport=over_http(stateless=False),
        pace=replace(PACE, freezes=0),
    )
    outcome = await run(plan)
    printed = "\n".join(lines(outcome))
    assert outcome.differences == [], f"{printed}\nkept in {keep(outcome, tmp_path, printed)}"
    assert missed(outcome, targets("purchases=2,kills=1", 6)) == [], printed


async def test_replicas_that_do_not_share_the_journal_are_found_out(tmp_path: Path) -> None:
    apart = {"KROS_JOURNAL_URL": f"sqlite:///{tmp_path}/apart.sqlite3"}
    plan = Plan(
        seconds=4,
        seed=1,
        folder=tmp_path,
        kinds=HTTP_KINDS,
        transport=over_http(stateless=True, settings=[apart, apart, {}]),
        pace=Pace(kills=0, freezes=0, restarts=0),
        faults=False,
    )
    outcome = await run(plan)
    assert "charge without an operation" in {each.rule for each in outcome.differences}
