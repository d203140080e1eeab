"""A campaign fails when something is wrong, and when too little happened."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kros_mcp.operations.model import State

from .__main__ import parsed
from .books import Confirmation
from .campaign import run
from .chaos import Pace
from .clients import KINDS
from .report import keep, lines, targets
from .world import Plan, World

pytestmark = [pytest.mark.anyio, pytest.mark.processes]

CALM = Pace(kills=0, freezes=0, restarts=0)


@pytest.fixture
def journal_url(tmp_path: Path) -> str:
    """An empty journal for all servers of one campaign."""
    return f"sqlite:///{tmp_path}/journal.sqlite3"


async def test_a_campaign_sees_what_is_wrong(tmp_path: Path, journal_url: str) -> None:
    """In one run, as starting servers takes the longest: a charge nobody confirmed, a charge the journal denies."""
    denied: list[str] = []

    async def tamper(world: World) -> None:
        world.sim.buy(world.sim.for_sale("KE")[0], None)
        bought = next(each for each in await world.journal.list_operations() if each.charged == "yes")
        denied.append(bought.id)
        await world.journal.change(bought.id, lambda row, _: replace(row, state=State.FAILED, charged="no"))

    async def has_bought(world: World) -> bool:
        return any(each.charged == "yes" for each in await world.journal.list_operations())

    plan = Plan(seconds=60, seed=1, folder=tmp_path, journal_url=journal_url, kinds=KINDS[:2], pace=CALM, faults=False)
    outcome = await run(plan, tamper, has_bought)
    seen = {(each.rule, each.operation_id) for each in outcome.differences}
    assert ("charge without an operation", "") in seen
    assert ("charge that the journal denies", denied[0]) in seen
    assert ("told yes, and it never happened", denied[0]) not in seen
    printed = "\n".join(lines(outcome))
    assert f"{len(outcome.differences)} DIFFERENCES" in printed
    kept = keep(outcome, tmp_path, printed)
    rows = {path.name: json.loads(path.read_text()) for path in kept.glob("*.json")}
    assert denied[0] in {row["id"] for row in rows["journal.json"]}
    assert len(rows["differences.json"]) == len(outcome.differences)
    assert all(rows[name] for name in ("confirmations.json", "charges.json", "requests.json"))
    assert (kept / "events.jsonl").stat().st_size > 0


async def test_people_buy_on_pages_and_a_yes_that_nobody_noted_is_seen(tmp_path: Path, journal_url: str) -> None:
    noted: list[Confirmation] = []

    async def tamper(world: World) -> None:
        bought = next(each for each in await world.journal.list_operations() if each.charged == "yes")
        noted.extend(each for each in world.book.confirmations if each.operation_id == bought.id)
        world.book.confirmations = [each for each in world.book.confirmations if each not in noted]

    async def has_bought(world: World) -> bool:
        return any(each.charged == "yes" for each in await world.journal.list_operations())

    kinds = tuple(each for each in KINDS if each.page)[:2]
    plan = Plan(seconds=60, seed=1, folder=tmp_path, journal_url=journal_url, kinds=kinds, pace=CALM, faults=False)
    outcome = await run(plan, tamper, has_bought)
    assert {each.how for each in noted} == {"screen"}
    rules = {each.rule for each in outcome.differences if each.operation_id == noted[0].operation_id}
    assert rules == {"charge without a confirmation", "sent without a confirmation", "confirmed another way than told"}
    assert not outcome.world.events.troubles


def test_targets_are_asked_for_by_name_or_by_the_length() -> None:
    assert targets("", 20) == {}
    assert targets("", 120) == {"purchases": 300, "kills": 39, "freezes": 9, "each-fault": 9}
    assert targets("kills=40,each-fault=10", 20) == {"kills": 40, "each-fault": 10}
    with pytest.raises(ValueError, match="'deaths' is not counted"):
        targets("deaths=1", 20)


@pytest.mark.parametrize("wish", ["purchases", "purchases=", "purchases=many", "kills=3,purchases=-1"])
def test_a_target_without_a_number_is_refused(wish: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parsed(["--at-least", wish])
    assert left.value.code == 2
    assert "--at-least: purchases needs a whole number, as in purchases=50." in capsys.readouterr().err
