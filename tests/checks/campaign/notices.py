"""What people are told in a campaign: a receiver with moods, and whether it has heard of every move that it should.

Which moves those are is said here once more, apart from the program, so that both would have to be wrong.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import anyio
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from kros_mcp.operations.events import Event
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Operation
from tests.support.receiver import SECRET, Arrived, Receiver

from .shelf import Difference

LONGEST_WAIT_SECONDS: Final = 60.0
MOODS: Final[tuple[int | None, ...]] = (500, 503, 302, None)
"""None answers nothing, for as long as it lasts."""
Told = tuple[str, int, str]
"""Operation, which of its events, and the notice's type."""


async def have_moods(receiver: Receiver, chance: random.Random, note: Callable[..., None]) -> None:
    """Be well for some seconds, and then down, slow or broken for some. Until cancelled."""
    while True:
        await anyio.sleep(chance.uniform(2, 8))
        receiver.status = chance.choice(MOODS)
        note("receiver", status=receiver.status)
        await anyio.sleep(chance.uniform(1, 6))
        be_well(receiver)


def be_well(receiver: Receiver) -> None:
    """Answer everything by a success, also what hangs."""
    receiver.status = 200
    receiver.let_go()


async def all_delivered(journal: Journal) -> None:
    """Wait until nothing is to be delivered any more, at most so long; what waits for its next try is due now."""
    outbox = journal._outbox  # type: ignore[attr-defined] # noqa: SLF001
    hurry = f"UPDATE {outbox.rows} SET next_at = 0 WHERE delivered_at IS NULL AND next_at > ?"  # noqa: S608 - a constant

    def due_now() -> Iterator[tuple[str, tuple[float]]]:
        yield hurry, (now + 20,)  # more than a lease ahead: it is in nobody's hands

    with anyio.move_on_after(LONGEST_WAIT_SECONDS):
        while (await journal.outbox_counts()).waiting:
            now = await journal.now()
            await journal._transact(due_now)  # type: ignore[attr-defined] # noqa: SLF001
            await anyio.sleep(0.5)


async def to_be_told(journal: Journal, operations: Iterable[Operation]) -> dict[str, tuple[Event, ...]]:
    """Read the events of every operation."""
    return {each.id: await journal.events(each.id) for each in operations}


def expected(events: Mapping[str, Sequence[Event]]) -> set[Told]:
    """Say what must have been told of these events."""
    told: set[Told] = set()
    for operation_id, moves in events.items():
        elsewhere = False
        for number, event in enumerate(moves, 1):
            if "channel" in event.changes:
                elsewhere = event.changes["channel"] == "approver"
            elsewhere = elsewhere or event.move == "shown"
            kind = _kind(event, elsewhere=elsewhere)
            if kind:
                told.add((operation_id, number, f"operation.{kind}"))
    return told


def compare_notices(events: Mapping[str, Sequence[Event]], arrived: Sequence[Arrived]) -> Iterator[Difference]:
    """Hold what the receiver has taken against the journal's events."""
    taken = [each for each in arrived if each.status == 200 and each.type != "budget.low"]
    seen: defaultdict[Told, set[str]] = defaultdict(set)
    for each in taken:
        data = each.json["data"]
        seen[data["operation_id"], data["sequence"], each.type].add(each.id)
        try:
            Webhook(SECRET).verify(each.body, each.headers)
        except WebhookVerificationError:
            yield Difference("notice with a wrong signature", data["operation_id"], each.type)
    wanted = expected(events)
    for told in sorted(wanted - seen.keys()):
        yield Difference("move that nobody was told of", told[0], f"event {told[1]}, {told[2]}")
    for told in sorted(seen.keys() - wanted):
        yield Difference("notice of no move", told[0], f"event {told[1]}, {told[2]}")
    for told, ids in seen.items():
        if len(ids) > 1:
            yield Difference("notice with two ids", told[0], f"event {told[1]}, {told[2]}: {sorted(ids)}")


def _kind(event: Event, *, elsewhere: bool) -> str:
    match event.move:
        case "shown":
            return "waiting"
        case "asked":
            return "waiting" if elsewhere and event.changes.keys() & {"channel", "asked_at"} else ""
        case "expired":
            return "expired" if elsewhere else ""
        case "done" | "failed" | "unknown" | "corrected":
            return event.move
        case "settled_by_hand":
            return str(event.changes["state"])
        case _:
            return ""
