"""A batch: one question about several numbers. After the yes each number is an operation of its own act."""

from collections.abc import Sequence
from typing import NoReturn

from kros_mcp.errors import InvalidArgumentError
from kros_mcp.krosai import BeforeSending, Written
from kros_mcp.operations import policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import proposal
from kros_mcp.operations.acts.base import Act, Look, Prepared, Wish
from kros_mcp.operations.acts.configuration import CONFIGURATION
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.acts.release import RELEASE
from kros_mcp.operations.model import Limits, Operation, Settlement
from kros_mcp.operations.policy import Books, RunRate
from kros_mcp.operations.several_wording import SeveralWording
from kros_mcp.settings import Settings


class Several(Act):
    """One act on several numbers, under one yes; the batch itself is never sent.

    Args:
        one: What is done to each number.
        most: How many numbers one yes may be about.
    """

    def __init__(self, one: Act, most: int) -> None:
        self.one, self.most = one, most
        self.action = one.action.several
        self.wording = SeveralWording(one.wording)

    async def propose(self, account: Account, principal: str, wishes: Sequence[Wish]) -> Operation:
        """Propose one act on several numbers, or answer the batch that already stands for them.

        Args:
            account: The account's resources.
            principal: Who asks.
            wishes: Two or more, each of another number.

        Raises:
            InvalidArgumentError: They are too many, or one number is named twice.
            OperationError: One of them may not be asked for; the message names it.
            RefusedError: The policy forbids it, or a day's requests are used up.
            KrosaiError: KrosAI could not be read.
        """
        policy.check_writable(account.settings)
        if len(wishes) > self.most:
            raise InvalidArgumentError(
                f"One yes may be about at most {self.most} numbers, and these are {len(wishes)}; nothing was charged "
                "or changed.",
                code="TOO_MANY_NUMBERS",
                next_step=f"Call again with at most {self.most} numbers, and with the others after that.",
            )
        account.client.tally.require_room()
        return await proposal.propose(account, self, principal, await self.one.offer(account, wishes))

    def check(
        self, settings: Settings, operation: Operation, books: Books, run_rate: RunRate | None, own: Limits | None
    ) -> None:
        """Raise if any of the numbers, or all of them together, may not be done."""
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


SEVERAL_PURCHASE = Several(PURCHASE, 20)
SEVERAL_RELEASE = Several(RELEASE, 10)
SEVERAL_CHANGE = Several(CONFIGURATION, 20)


def _never_sent(operation: Operation) -> NoReturn:
    raise RuntimeError(f"{operation.id} is a batch, which is never sent itself.")
