"""An approver's decision on the page: on what was shown, by somebody else than who asked, and once."""

import hmac

from kros_mcp.errors import OperationError, RefusedError
from kros_mcp.operations import decisions, model
from kros_mcp.operations.account import Account
from kros_mcp.operations.events import By
from kros_mcp.operations.journal import missing
from kros_mcp.operations.model import Channel, Operation, State
from kros_mcp.pages.operation_view import digest_of

_ON_THE_PAGE = " on the approvals page"


def is_for_approvers(operation: Operation | None, account: str) -> bool:
    """Whether an operation was put to the approvers of this account."""
    return operation is not None and operation.account == account and operation.channel is Channel.APPROVER


async def decide(
    account: Account, operation_id: str, *, approver: str, digest: str, approving: bool, reason: str
) -> Operation:
    """Record a yes or a no; all that has to hold is checked in the transaction that stores it.

    Args:
        account: The account's resources.
        operation_id: What is decided on.
        approver: The principal who decides.
        digest: Of the quote that they saw.
        approving: Whether it is a yes.
        reason: Why, as `decisions.kept` made it.

    Raises:
        OperationError: `OPERATION_NOT_FOUND`, `TOO_LATE` or `QUOTE_CHANGED`; nothing was decided.
        RefusedError: `OWN_REQUEST` or `NOT_PERMITTED`; nothing was decided.
        JournalError: It was not decided, or that is not known, which the message then says.
    """
    chosen = (decisions.approval if approving else decisions.denial)(approver + _ON_THE_PAGE, reason)

    def move(operation: Operation, now: float) -> Operation:
        if not is_for_approvers(operation, account.id):
            raise missing(operation_id)
        decisions.require_decidable(operation, approving=True)  # a yes is taken back at a terminal only
        if operation.principal == approver:
            raise RefusedError(
                "You asked for this yourself, so another approver has to decide; nothing was decided.",
                code="OWN_REQUEST",
            )
        right = account.right_to(operation)
        if approving and right.is_denied:
            raise decisions.not_permitted(operation, right)
        if not hmac.compare_digest(digest_of(operation).encode(), digest.encode()):
            raise OperationError(
                "What was asked for is not what you were shown; nothing was decided.",
                code="QUOTE_CHANGED",
                next_step="Read it again, and decide then.",
            )
        return chosen(operation, now)

    decided = await decisions.decide(account.journal, operation_id, move, by=By(approver, "page"))
    if not is_for_approvers(decided, account.id):  # expired ones never reach the move
        raise missing(operation_id)
    if decided.state is State.EXPIRED:
        raise model.past(decided)
    return decided
