"""Which operations `kros-mcp prune` deletes: those that nothing needs any more, by themselves and by their number.

What was sent for a number is its story, which is deleted whole or stays whole, whichever keys and principals have a
part in it; so is a batch, with the stories of all its numbers. A story stays if any of it does not rest, if the number
is owned, or if the journal cannot tell that it is not. What was never sent tells nothing, and goes by itself.
`operations/pruning.py` names who reads old operations, and what each needs.
"""

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from kros_mcp.commands.history import effective_at
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Action, Operation, State
from kros_mcp.operations.pruning import DATES_A_COPY_SECONDS, dates_a_copy, has_ended, last_moved_at

LIST_GOOD_SECONDS: Final = 86_400.0
"""How old the last list of an account's numbers may be that tells which it does not own."""
AT_ONCE: Final = 50
"""How many operations are deleted in one transaction: nobody else writes meanwhile."""


class Reason(StrEnum):
    """Why operations stay, as the rest of a sentence about them."""

    YOUNG = "younger, open, or still looked after"
    OWNED = "of numbers that are owned, or not known to be given up"
    UNREAD = "of accounts whose numbers were not read whole within a day"
    RESTORED = "of accounts that lack what was bought since a restore"
    TOLD = "of which a notice is still to be delivered"
    TOGETHER = "of the same number or batch as one of those"


@dataclass(frozen=True)
class Owned:
    """What the journal knows of the numbers that its accounts own.

    Args:
        living: The numbers that any account owns, by whichever list was read last.
        read: The accounts whose list was read whole within `LIST_GOOD_SECONDS`.
        lacking: The accounts that may lack purchases since the journal was restored.
    """

    living: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    lacking: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Old:
    """What is remembered of one operation while the plan is made.

    `e164` is empty of what tells nothing of its number; `record` is the id of the number's record that it is about.
    """

    id: str
    account: str
    e164: str
    action: Action
    state: State
    created_at: float
    took_effect_at: float
    moved_at: float
    charged_cents: int
    record: str
    ended: bool
    told: bool


@dataclass
class Plan:
    """What is deleted and what stays.

    Args:
        before: When all that is deleted had ended, in Unix seconds.
        groups: What is deleted, each group whole and its oldest first.
        stays: How many operations stay, and why.
    """

    before: float
    groups: list[list[Old]] = field(default_factory=list)
    stays: Counter[Reason] = field(default_factory=Counter)

    @property
    def rows(self) -> Iterator[Old]:
        """All that is deleted."""
        return (row for group in self.groups for row in group)

    def chunks(self) -> Iterator[list[Old]]:
        """Yield what is deleted in one transaction each; a group that is cut loses its oldest first."""
        chunk: list[Old] = []
        for group in self.groups:
            if chunk and len(chunk) + len(group) > AT_ONCE:
                yield chunk
                chunk = []
            chunk = [*chunk, *group]
            while len(chunk) > AT_ONCE:
                yield chunk[:AT_ONCE]
                chunk = chunk[AT_ONCE:]
        if chunk:
            yield chunk


async def make_plan(
    operations: AsyncIterable[Operation], owned: Owned, before: float, still_to_tell: frozenset[str]
) -> Plan:
    """Decide on every operation of a journal.

    Args:
        operations: All of them, of all accounts, agreed batches too.
        owned: What the journal's accounts own.
        before: What was written down later stays.
        still_to_tell: The operations of which a notice is not delivered.
    """
    bundles = _Bundles()
    newest = 0.0
    async for operation in operations:
        row = _old(operation, told=operation.id not in still_to_tell)
        newest = max(newest, dates_a_copy(operation))
        bundles.add(row, _names(operation))
    plan = Plan(min(before, newest - DATES_A_COPY_SECONDS))
    for rows in bundles.joined():
        own = [_stays(row, owned, plan.before) for row in rows]
        whole = next(filter(None, (_story_stays(story, owned) for story in _stories(rows))), None)
        if whole is None and not any(own):
            plan.groups.append(sorted(rows, key=lambda row: row.took_effect_at))
        else:
            plan.stays.update(each or whole or Reason.TOGETHER for each in own)
    plan.groups.sort(key=lambda rows: rows[0].created_at)  # what was written together lies together
    return plan


class _Bundles:
    """Operations by what they belong to, such as a number and a batch; what is named together goes together."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Old]] = {}
        self._same: dict[str, str] = {}

    def add(self, row: Old, names: list[str]) -> None:
        first, *others = [self._root(name) for name in names]
        self._rows.setdefault(first, []).append(row)
        for other in others:
            if other != first:
                self._same[other] = first
                self._rows[first] += self._rows.pop(other, [])

    def joined(self) -> Iterator[list[Old]]:
        yield from self._rows.values()

    def _root(self, name: str) -> str:
        while name in self._same:
            name = self._same[name]
        return name


def _names(operation: Operation) -> list[str]:
    """Return what an operation belongs to: its number's story, its batch, or nothing but itself."""
    if operation.action.is_several:
        return [operation.id]
    names = [operation.e164] if _tells(operation) else []
    return [*names, operation.batch] if operation.batch else names or [operation.id]


def _tells(operation: Operation) -> bool:
    """Whether an operation says something of its number: it was sent, or is done."""
    return operation.sent_at is not None or operation.state is State.DONE


def _old(operation: Operation, *, told: bool) -> Old:
    bought = operation.action.charges
    number = operation.number
    return Old(
        id=operation.id,
        account=operation.account,
        e164=operation.e164 if _tells(operation) and not operation.action.is_several else "",
        action=operation.action,
        state=operation.state,
        created_at=operation.created_at,
        took_effect_at=effective_at(operation),
        moved_at=last_moved_at(operation),
        charged_cents=operation.charged_cents or 0,
        record=(number.id if number is not None else "") if bought else operation.request.number_id,
        ended=has_ended(operation),
        told=told,
    )


def _stays(row: Old, owned: Owned, before: float) -> Reason | None:
    """Return why an operation stays by itself; None if it may go."""
    if not row.ended or row.moved_at >= before:
        return Reason.YOUNG
    if row.account in owned.lacking:
        return Reason.RESTORED
    return None if row.told else Reason.TOLD


def _stories(rows: list[Old]) -> Iterator[list[Old]]:
    """Yield what was sent for each number."""
    numbers: dict[str, list[Old]] = {}
    for row in rows:
        if row.e164:
            numbers.setdefault(row.e164, []).append(row)
    yield from numbers.values()


def _story_stays(story: list[Old], owned: Owned) -> Reason | None:
    """Return why all that was sent for a number stays; None if the number is known not to be owned."""
    accounts = {row.account for row in story}
    if story[0].e164 in owned.living or any(_may_hold(account, story) for account in accounts):
        return Reason.OWNED
    return None if accounts <= owned.read else Reason.UNREAD


def _may_hold(account: str, story: list[Old]) -> bool:
    """Whether an account has bought a number and not given that very record up since, as far as its journal knows."""
    own = [row for row in story if row.account == account and row.state is State.DONE]
    bought = max((row for row in own if row.action.charges), key=lambda row: row.took_effect_at, default=None)
    if bought is None:
        return False
    return not any(
        row.action is Action.RELEASE
        and row.took_effect_at >= bought.took_effect_at
        and (not bought.record or not row.record or row.record == bought.record)
        for row in own
    )


async def owned_by(journal: Journal) -> Owned:
    """Read what a journal knows of the numbers that its accounts own."""
    living, read, lacking = set[str](), set[str](), set[str]()
    for account in await journal.accounts():
        kept, now = await journal.kept(account), await journal.now()
        living |= {each.number.e164 for each in kept.numbers.values() if not each.number.has_ended}
        listed_ago = None if kept.listed_at is None else now - kept.listed_at
        if kept.complete and not kept.unreadable and listed_ago is not None and 0 <= listed_ago < LIST_GOOD_SECONDS:
            read.add(account)
        if await journal.lacks_since(account) is not None:
            lacking.add(account)
    return Owned(frozenset(living), frozenset(read), frozenset(lacking))


async def every_row(journal: Journal) -> AsyncIterator[Operation]:
    """Read all operations of a journal as they are stored, page by page; agreed batches too."""
    after = ""
    while page := await journal.rows(after=after):
        for operation in page:
            yield operation
        after = page[-1].id
