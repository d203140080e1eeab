"""What a campaign prints, what it asks of itself, and what a failed one leaves behind."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from kros_mcp.operations.model import Action, Operation, as_row
from kros_mcp.simulator.faults import KINDS

from .books import Books, totals
from .campaign import Outcome
from .shelf import Difference

LONG_ENOUGH_SECONDS = 60.0
CUT = frozenset({"NOT_BEGUN", "NAMED_INSTEAD", "INTERRUPTED"})
"""How numbers of a batch end that was cut short: its server died, or the outcome of one is not known."""
PROVES_LITTLE = (
    f"A run of less than {LONG_ENOUGH_SECONDS:.0f} seconds proves little: too few servers die at the wrong moment."
)


def targets(wish: str, seconds: float, transport: str = "stdio") -> dict[str, int]:
    """Read `purchases=300,kills=40,…`; without a wish, what a run of this length should reach.

    Raises:
        ValueError: The wish is malformed, or names something that is not counted.
    """
    if not wish:
        a_second = {"purchases": 2.5, "kills": 0.33, "freezes": 0.083, "each-fault": 0.083}
        if transport == "http":  # three processes stand for eight
            a_second = {"purchases": 1.5, "kills": 0.12, "freezes": 0.025, "each-fault": 0.05}
        return {name: int(rate * seconds) for name, rate in a_second.items()} if seconds >= LONG_ENOUGH_SECONDS else {}
    named = dict(part.partition("=")[::2] for part in wish.split(","))
    acts = {"purchases", "releases", "configures", "batches", "cut", "by-page"}
    known = acts | {"kills", "freezes", "restarts", "each-fault"}
    if unknown := sorted(set(named) - known):
        raise ValueError(f"{unknown[0]!r} is not counted; there are {', '.join(sorted(known))}.")
    if without := [name for name, least in named.items() if not least.isdecimal()]:
        raise ValueError(f"{without[0]} needs a whole number, as in {without[0]}=50.")
    return {name: int(least) for name, least in named.items()}


def counts(outcome: Outcome) -> dict[str, int]:
    """Count what happened."""
    books, struck = outcome.books, outcome.world.struck
    faults = outcome.world.sim.faults.counts
    done = Counter(each.action for each in books.operations if each.state == "done")
    return {
        "purchases": len(books.charges),
        "releases": done[Action.RELEASE],
        "configures": done[Action.CONFIGURE],
        "batches": len({each.batch for each in books.operations if each.batch and each.state == "done"}),
        "cut": len({each.batch for each in books.operations if each.batch and each.error_code in CUT}),
        "kills": struck["kills"],
        "freezes": struck["freezes"],
        "restarts": struck["restarts"],
        "by-page": sum(each.decided_through == "screen" and each.state == "done" for each in books.operations),
        "each-fault": min(faults[name] for name in KINDS if name not in outcome.world.plan.without),
    }


def missed(outcome: Outcome, least: Mapping[str, int]) -> list[str]:
    """Name the targets that were not reached."""
    reached = counts(outcome)
    return [f"{name}: {reached[name]} of {wanted}" for name, wanted in least.items() if reached[name] < wanted]


def lines(outcome: Outcome) -> Iterator[str]:
    """Write the report."""
    world, books = outcome.world, outcome.books
    plan = world.plan
    yield f"Campaign of {plan.seconds:g} seconds, seed {plan.seed}, profile {plan.profile_name}"
    yield "  " + ", ".join(f"{name} {count}" for name, count in counts(outcome).items() if name != "each-fault")
    noted = world.events.counts
    yield (
        f"  server processes {noted['replica'] or noted['start']}, answers {noted['answer']}, "
        f"calls without an answer {noted['call without an answer']}, requests to KrosAI {len(world.sim.requests)}"
    )
    if world.desks:
        yield (
            f"  pages read {noted['page']}, again after a kill or a while {noted['page anew']}, left unopened "
            f"{noted['page left unopened']}, gone with their server {noted['page gone']}, "
            f"yes not taken {noted['yes not taken']}"
        )
    taken = [each.id for each in world.receiver.arrived if each.status == 200]
    refused = len(world.receiver.arrived) - len(taken)
    yield f"  notices delivered {len(set(taken))}, twice or more {len(taken) - len(set(taken))}, refused {refused}"
    yield f"  settled {outcome.waited_seconds:.1f} seconds after the faults had ended"
    yield "Faults that struck"
    faults = sorted((name, world.sim.faults.counts[name]) for name in KINDS)
    for start in range(0, len(faults), 4):
        yield "  " + "  ".join(f"{name:<21}{count:>5}" for name, count in faults[start : start + 4])
    yield "Outcomes in the journal"
    for action in Action:
        states = Counter(str(each.state) for each in books.operations if each.action is action)
        yield f"  {action:<18}" + ", ".join(f"{state} {count}" for state, count in sorted(states.items()))
    failed = Counter(each.error_code for each in books.operations if each.state == "failed")
    yield "  failed by  " + ", ".join(f"{code} {count}" for code, count in failed.most_common())
    taken_over = sum(each.token > 1 for each in books.operations)
    looked_up = sum(each.checked_at is not None and each.state in {"done", "failed"} for each in books.operations)
    yield f"  taken over from a server that died or froze {taken_over}, settled by asking KrosAI {looked_up}"
    yield f"  settled by hand, as no evidence can ever show {noted['settled by hand']}"
    yield "The books of purchases"
    for name, (number, cents) in totals(books).items():
        yield f"  {name:<22}{number:>6}{cents / 100:>14,.2f}"
    if len(outcome.each) > 1:
        yield "  of them by organization: " + ", ".join(str(len(each.charges)) for each in outcome.each)
    if not outcome.differences and (told := moved_prices(books)):
        yield f"  {told}"
    yield f"  {len(books.answers)} answers about operations held against them"
    yield from _verdict(outcome)


def moved_prices(books: Books) -> str:
    """Explain why books without a difference do not add up to the same; empty if they do."""
    reserved = {each.id: each.reserved_cents for each in books.operations}
    apart = [reserved.get(each.idempotency_key or "", each.cents) - each.cents for each in books.charges]
    higher, lower = [cents for cents in apart if cents > 0], [-cents for cents in apart if cents < 0]
    told = []
    if higher:
        told.append(
            f"the journal has {sum(higher) / 100:,.2f} more for {len(higher)} of them, whose price KrosAI "
            "lowered while charging: the higher, reserved amount stays counted"
        )
    if lower:
        told.append(
            f"the journal has {sum(lower) / 100:,.2f} less for {len(lower)} of them, whose price KrosAI "
            "raised while charging and never reported"
        )
    return "; ".join(told)


def _verdict(outcome: Outcome) -> Iterator[str]:
    if not outcome.differences:
        yield "zero differences"
        return
    yield f"{len(outcome.differences)} DIFFERENCES"
    operations = {each.id: each for each in outcome.books.operations}
    for difference in outcome.differences:
        yield f"- {difference.rule} {difference.operation_id}: {difference.says}"
        if operation := operations.get(difference.operation_id):
            yield from (f"    {line}" for line in history(outcome, operation))


def history(outcome: Outcome, operation: Operation) -> Iterator[str]:
    """Tell all that is known of an operation, in the order of time."""
    books, key = outcome.books, operation.id
    told: list[tuple[float, str]] = [
        (at, what)
        for at, what in (
            (operation.created_at, f"proposed by {operation.principal}: {operation.action} {operation.e164}"),
            (operation.claimed_at, f"claimed, token {operation.token} in the end"),
            (operation.sent_at, "written down as sent"),
            (operation.corrected_at, "corrected"),
            (operation.settled_at, f"settled as {operation.state}: {operation.error_code or operation.message}"),
        )
        if at is not None
    ]
    told += [(each.at, f"yes by {each.by}, {each.how}") for each in books.confirmations if each.operation_id == key]
    told += [(each.at, f"{each.method} arrived, answered {each.status}") for each in books.writes if each.key == key]
    if faults := sorted(books.struck.get(key, ())):
        told.append((operation.sent_at or operation.created_at, f"struck by {', '.join(faults)}"))
    told += [(each.at, f"CHARGED {each.cents}") for each in books.charges if each.idempotency_key == key]
    told += [
        (each.at, f"{each.kind}: {each.before} to {each.after}") for each in books.acts if each.key.startswith(key)
    ]
    told += [
        (each.answered_at, f"{each.by} told {each.outcome}, charged {each.charged}, changed {each.changed}")
        for each in books.answers
        if each.operation_id == key
    ]
    told.sort()
    before = ""
    for at, what in told:
        if what != before:  # an answer that is given again and again is told once
            yield f"{at - told[0][0]:8.3f} s  {what}"
        before = what


def keep(outcome: Outcome, folder: Path, printed: str) -> Path:
    """Leave in a folder what is needed to understand a failure; no journal's secret and no key stand in it."""
    kept = folder / f"campaign-failure-{outcome.world.plan.seed}"
    kept.mkdir(parents=True, exist_ok=True)
    books = outcome.books
    for path in outcome.world.plan.folder.iterdir():
        if path.suffix in {".jsonl", ".stderr"}:
            shutil.copy(path, kept / path.name)
    _write(kept / "journal.json", [as_row(each) for each in books.operations])
    _write(kept / "confirmations.json", [asdict(each) for each in books.confirmations])
    _write(kept / "charges.json", [asdict(each) for each in books.charges])
    _write(kept / "acts.json", [asdict(each) for each in books.acts])
    _write(kept / "requests.json", [asdict(each) for each in outcome.world.sim.requests])
    told = [{"id": each.id, "status": each.status, **each.json} for each in outcome.world.receiver.arrived]
    _write(kept / "notices.json", told)
    _write(kept / "differences.json", [_row(each) for each in outcome.differences])
    (kept / "report.txt").write_text(printed, encoding="utf-8")
    return kept


def _row(difference: Difference) -> dict[str, str]:
    return asdict(difference)


def _write(path: Path, rows: object) -> None:
    path.write_text(json.dumps(rows, indent=1, default=str), encoding="utf-8")
