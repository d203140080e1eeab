"""What every act has in common: how it is prepared, sent, looked after and settled.

An operation is carried out by the act of its action; execution and recovery know acts by this interface alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from kros_mcp.errors import KrosError
from kros_mcp.krosai import BeforeSending, OwnedReading, Written, has_ended
from kros_mcp.operations import schedule
from kros_mcp.operations.account import Account
from kros_mcp.operations.journal import Move
from kros_mcp.operations.kept import Listing
from kros_mcp.operations.model import (
    IN_FLIGHT,
    Action,
    Item,
    Limits,
    Operation,
    Request,
    Settlement,
    Snapshot,
    State,
)
from kros_mcp.operations.policy import Books, RunRate
from kros_mcp.operations.wording import Wording
from kros_mcp.settings import Settings

PREPARE_SECONDS = 20.0
"""How long reading KrosAI again may take just before an act is sent."""


@dataclass(frozen=True)
class Wish:
    """What is wanted of one number.

    Args:
        request: The settings wanted, and the number's id if it is named so.
        e164: The number, if it is named so; else empty.
    """

    request: Request
    e164: str = ""


@dataclass(frozen=True)
class Offered:
    """What will be shown of each number that is wished for, as KrosAI was read just now.

    Args:
        items: The numbers, in the order of the wishes.
        owned: The list of owned numbers, if that was read for them.
    """

    items: tuple[Item, ...]
    owned: Listing | None = None


@dataclass(frozen=True)
class Prepared:
    """An act that may be sent now, as KrosAI was read again just before.

    Args:
        send: Sends the one request of the act; what it is given is called last before the bytes leave, and if that
            raises, they do not.
        snapshot: What KrosAI shows of the number before the act, which proves nothing after it.
    """

    send: Callable[[BeforeSending], Awaitable[Written]]
    snapshot: Snapshot | None = None


@dataclass(frozen=True)
class Look:
    """What KrosAI shows of an act that was sent.

    Args:
        settlement: Settles it as done; None if nothing proves it done.
        conclusive: Whether what was not seen is not there.
        reading: What was read.
    """

    settlement: Settlement | None
    conclusive: bool
    reading: OwnedReading


class Act(ABC):
    """One kind of act on a number: what is asked, checked, sent, and what proves it done or not done."""

    action: Action
    wording: Wording

    @abstractmethod
    def check(
        self, settings: Settings, operation: Operation, books: Books, run_rate: RunRate | None, own: Limits | None
    ) -> None:
        """Raise if the operation may not be done; pure, for it also runs within the claim's transaction.

        Args:
            settings: Everybody's limits, and what is forbidden altogether.
            operation: What is to be done, with its principal's limits when it was proposed.
            books: The journal's sums.
            run_rate: What owned numbers cost a month; given where `policy.needs_run_rate` says so.
            own: The principal's limits as this server knows them now; they hold beside the earlier ones.

        Raises:
            RefusedError: A rule of the operator forbids it; the code names the rule.
        """

    async def offer(self, account: Account, wishes: Sequence[Wish]) -> Offered:
        """Read from KrosAI what will be shown of each number, before a person is asked.

        Raises:
            KrosError: One of them may not be asked for; of several, the message names it.
        """
        raise NotImplementedError

    @abstractmethod
    async def prepare(self, account: Account, operation: Operation) -> Prepared:
        """Read again what the act is about; anything that differs from what was shown stops it unspent.

        Raises:
            KrosError: It may not be sent.
        """

    @abstractmethod
    async def settle(
        self, account: Account, operation: Operation, written: Written, before_sending: BeforeSending
    ) -> Settlement:
        """Settle an act that KrosAI answered with success, by what the answer or the account shows.

        Raises:
            KrosError: What it came to is not known yet.
        """

    @abstractmethod
    def is_accepted(self, operation: Operation, written: Written) -> bool:
        """Whether an answer means that the act can no longer be called failed."""

    @abstractmethod
    async def look(self, account: Account, operation: Operation, *, late: bool = False) -> Look:
        """Read from KrosAI what proves that the act was carried out.

        Args:
            account: The account's resources.
            operation: As it was sent.
            late: Whether what shows by half will not come about any more.

        Raises:
            KrosaiError: KrosAI could not be read.
        """

    @abstractmethod
    async def not_done(self, account: Account, operation: Operation, look: Look, *, begun: float) -> Settlement | None:
        """Settle as failed what a conclusive look shows not to be done, long enough after sending.

        Args:
            account: The account's resources.
            operation: As it was sent.
            look: What KrosAI shows.
            begun: When that look began, on the journal's clock.

        Returns:
            None if it may still come about.
        """

    async def watch(self, account: Account, operation: Operation, *, last: bool) -> Move:
        """Look again at an act that is done, and return what that makes of it.

        Args:
            account: The account's resources.
            operation: As it was settled.
            last: Whether this is the last look.
        """
        del account, operation, last
        return no_more_looks

    async def finish(self, account: Account, operation: Operation) -> Operation:
        """Do what is left after an act that is done; never raises for a failure on the way."""
        del account
        return operation

    def still_stands(self, operation: Operation, reading: OwnedReading) -> bool:
        """Whether an act that is done answers a wish for the same again, by what KrosAI shows of its number now."""
        del operation, reading
        return False

    def misled(self, operation: Operation, written: Written) -> KrosError | None:
        """Return the error that an answer about something else means for the act; None for an answer about this one."""
        del operation, written
        return None

    def stood_before(self, operation: Operation) -> bool:
        """Whether the act asks for nothing but what was there before, so that seeing it proves nothing."""
        del operation
        return False


async def age(account: Account, operation: Operation) -> float:
    """Return how many seconds have certainly passed since an operation was sent; 0 if it was not."""
    return 0.0 if operation.sent_at is None else await account.journal.waited(operation)


async def not_done(account: Account, operation: Operation, message: str) -> Settlement:
    """Settle as failed what KrosAI does not show, and watch it for a while, as it may come about late."""
    return Settlement(
        State.FAILED,
        code="NOT_DONE",
        message=message,
        next_step="Ask the person whether to try again; it would be a new operation.",
        look_after=schedule.watch_after(account.settings.settle_seconds, await age(account, operation)),
    )


async def later_acts(account: Account, operation: Operation) -> tuple[Operation, ...]:
    """Return the operations that were sent after this one, bear on the same number, and are done or may be."""
    since = await account.journal.sent_since(operation.account, operation.e164, operation.sent_at or 0.0)
    may_be_done = (each for each in since if each.id != operation.id and each.state in {State.DONE, *IN_FLIGHT})
    # The deletion of a record that had ended bears on another such deletion, and on nothing else.
    return tuple(each for each in may_be_done if _bears_on_ownership(each) or not _bears_on_ownership(operation))


def _bears_on_ownership(operation: Operation) -> bool:
    """Whether an operation bears on what the account owns: the deletion of a record that had ended does not."""
    return not (operation.request.permanent and has_ended(operation.request.status))


def nothing_new(current: Operation, _: float) -> Operation:
    """Leave an operation as it is, to be looked at again."""
    return current


def no_more_looks(current: Operation, now: float) -> Operation:
    """Look at an operation no more."""
    del now
    return replace(current, look_at=None)
