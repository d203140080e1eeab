"""A batch: one question about several numbers. After the yes each number is an operation of its own act."""

from collections.abc import Sequence
from typing import Final, NoReturn

from kros_mcp.errors import InvalidArgumentError, RefusedError
from kros_mcp.krosai import BeforeSending, Written, clean, read_all_owned
from kros_mcp.numbering import spoken
from kros_mcp.operations import policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import proposal
from kros_mcp.operations.acts.base import Act, Look, Prepared, Wish
from kros_mcp.operations.acts.configuration import CONFIGURATION
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.acts.release import RELEASE
from kros_mcp.operations.model import (
    DONE_ANSWERED_SECONDS,
    OPEN,
    Item,
    Limits,
    Operation,
    Settlement,
    State,
)
from kros_mcp.operations.policy import Books, RunRate
from kros_mcp.operations.several_wording import (
    SeveralConfigurationWording,
    SeveralPurchaseWording,
    SeveralReleaseWording,
    SeveralWording,
)
from kros_mcp.settings import Settings

_LONGEST_NAMED = 40


class Several(Act):
    """One act on several numbers, under one yes; the batch itself is never sent.

    Args:
        one: What is done to each number.
        most: How many numbers one yes may be about.
        wording: How it is spoken of.
    """

    wording: SeveralWording

    def __init__(self, one: Act, most: int, wording: SeveralWording) -> None:
        self.one, self.most, self.wording = one, most, wording
        self.action = one.action.several

    async def propose(self, account: Account, principal: str, wishes: Sequence[Wish]) -> Operation:
        """Propose one act on several numbers, or answer the batch that already stands for them.

        Args:
            account: The account's resources.
            principal: Who asks.
            wishes: Two or more, each of another number.

        Raises:
            ValueError: There is only one, which is no batch.
            InvalidArgumentError: They are too many, or one number is named twice.
            OperationError: One of them may not be asked for; the message names it.
            RefusedError: The policy forbids it, or a day's requests are used up.
            KrosaiError: KrosAI could not be read.
        """
        if not wishes[1:]:
            raise ValueError("A batch is of two numbers or more.")
        policy.check_writable(account.settings)
        if len(wishes) > self.most:
            raise InvalidArgumentError(
                f"One yes may be about at most {self.most} numbers, and these are {len(wishes)}; nothing was charged "
                "or changed.",
                code="TOO_MANY_NUMBERS",
                next_step=f"Call again with at most {self.most} numbers, and with the others after that.",
            )
        _require_different([_name(account, wish) for wish in wishes])
        earlier = await self.find(account, principal, wishes)
        if earlier is not None and await self._covers(account, earlier, wishes):
            return earlier
        account.client.tally.require_room()
        offered = await self.one.offer(account, wishes)
        _require_different([item.e164 for item in offered.items])
        return await proposal.propose(account, self, principal, offered)

    async def find(self, account: Account, principal: str, wishes: Sequence[Wish]) -> Operation | None:
        """Find the newest batch of a principal about exactly these numbers, by whatever names; KrosAI is not read."""
        batches = await account.journal.batches(account.identity(principal, self.action))
        return next((batch for batch in batches if _about(account, batch, wishes) is not None), None)

    async def _covers(self, account: Account, earlier: Operation, wishes: Sequence[Wish]) -> bool:
        """Whether an earlier batch answers a wish: it is open or goes on, or some of it is done and still visible."""
        items = _about(account, earlier, wishes) or ()
        same_terms = all(
            proposal.as_stored(wish.request, item).terms == item.request.terms
            for wish, item in zip(wishes, items, strict=True)
        )
        if earlier.state is State.PROPOSED:
            return same_terms and all(
                wish.request.inventory_id in {"", item.request.inventory_id}
                for wish, item in zip(wishes, items, strict=True)
            )
        if earlier.state is not State.DONE:
            return earlier.state in OPEN
        numbers = await account.journal.items(earlier.id)
        if any(number.state in OPEN for number in numbers):
            return True
        done = [number for number in numbers if number.state is State.DONE]
        since = await account.journal.now() - DONE_ANSWERED_SECONDS
        if not done or not same_terms or any((number.settled_at or 0.0) < since for number in done):
            return False
        owned = await read_all_owned(account.client)
        return all(self.one.still_stands(number, owned.of(number.e164)) for number in done)

    def check(
        self, settings: Settings, operation: Operation, books: Books, run_rate: RunRate | None, own: Limits | None
    ) -> None:
        """Raise if any of the numbers, or all of them together, may not be done; or if they cannot have been shown."""
        if not operation.items:
            raise RefusedError(
                f"The numbers of {operation.id} are not known, so nobody can have agreed to them; nothing was charged "
                "or changed.",
                code="NUMBERS_NOT_SHOWN",
            )
        self.one.check(settings, operation, books, run_rate, own)

    async def prepare(self, account: Account, operation: Operation) -> Prepared:
        """Refuse: only the operations of its numbers are sent."""
        del account
        _never_sent(operation)

    async def settle(
        self, account: Account, operation: Operation, written: Written, before_sending: BeforeSending
    ) -> Settlement:
        """Refuse, likewise."""
        del account, written, before_sending
        _never_sent(operation)

    def is_accepted(self, operation: Operation, written: Written) -> bool:
        """Refuse, likewise."""
        del written
        _never_sent(operation)

    async def look(self, account: Account, operation: Operation, *, late: bool = False) -> Look:
        """Refuse, likewise."""
        del account, late
        _never_sent(operation)

    async def not_done(self, account: Account, operation: Operation, look: Look, *, begun: float) -> Settlement | None:
        """Refuse, likewise."""
        del account, look, begun
        _never_sent(operation)


SEVERAL_PURCHASE = Several(PURCHASE, 20, SeveralPurchaseWording())
SEVERAL_RELEASE = Several(RELEASE, 10, SeveralReleaseWording())
SEVERAL_CHANGE = Several(CONFIGURATION, 20, SeveralConfigurationWording())
_BY_ACTION: Final = {act.action: act for act in (SEVERAL_PURCHASE, SEVERAL_RELEASE, SEVERAL_CHANGE)}


def several_of(batch: Operation) -> Several:
    """Return the act of a batch."""
    return _BY_ACTION[batch.action]


def _about(account: Account, batch: Operation, wishes: Sequence[Wish]) -> tuple[Item, ...] | None:
    """Return the items of a batch in the order of the wishes; None if it is not about exactly these numbers."""
    items = []
    for wish in wishes:
        opaque_id = wish.request.inventory_id or wish.request.number_id
        names = {_name(account, wish), *([opaque_id] if not wish.e164 else [])}
        for item in batch.items:
            if item not in items and names & {item.e164, item.request.inventory_id, item.request.number_id}:
                items.append(item)
                break
    return tuple(items) if len(items) == len(wishes) == len(batch.items) else None


def _name(account: Account, wish: Wish) -> str:
    """Return the number that is wished for, if it is named or was seen lately; else its id."""
    request = wish.request
    seen = account.inventory.seen(inventory_id=request.inventory_id) if request.inventory_id else None
    return wish.e164 or (seen.e164 if seen else "") or request.inventory_id or request.number_id


def _require_different(names: Sequence[str]) -> None:
    """Raise where one number is named twice.

    Raises:
        InvalidArgumentError: `SAME_NUMBER_TWICE`.
    """
    if twice := next((name for name in names if names.count(name) > 1), ""):
        called = spoken(twice) if twice.startswith("+") else clean(twice, _LONGEST_NAMED)
        raise InvalidArgumentError(
            f"{called} is named twice; nothing was charged or changed.",
            code="SAME_NUMBER_TWICE",
            next_step="Call again with each number once.",
        )


def _never_sent(operation: Operation) -> NoReturn:
    raise RuntimeError(f"{operation.id} is a batch, which is never sent itself.")
