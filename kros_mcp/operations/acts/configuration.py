"""The change of a protected number's settings: what is sent, and what proves it.

Numbers that are not protected are changed without a yes, and so without an operation, by `direct_change`.
"""

from collections.abc import Collection, Sequence
from http import HTTPStatus

from kros_mcp.errors import OutcomeUnknownError
from kros_mcp.krosai import NOT_STATED, BeforeSending, PhoneNumber, Routing, Written, find_owned
from kros_mcp.operations import policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import base, proposal, routing
from kros_mcp.operations.acts.base import Act, Look, Offered, Prepared, Wish
from kros_mcp.operations.model import Action, Limits, Operation, Request, Settlement, Snapshot, State
from kros_mcp.operations.policy import Books, RunRate
from kros_mcp.operations.wording import ConfigurationWording
from kros_mcp.settings import Settings


class Configuration(Act):
    """Routing where a protected number's calls go, and whether it takes and makes calls."""

    action = Action.CONFIGURE
    wording = ConfigurationWording()

    async def propose(self, account: Account, principal: str, request: Request, number: PhoneNumber) -> Operation:
        """Propose to change a protected number, or answer the operation that already stands for it.

        Args:
            account: The account's resources.
            principal: Who asks.
            request: The settings wanted; its endpoint exists.
            number: The number as it stands now.
        """
        return await proposal.propose_for_owned(account, self, principal, request, number)

    async def offer(self, account: Account, wishes: Sequence[Wish]) -> Offered:
        """Read the numbers as they stand now."""
        numbers = await proposal.read_owned(account, wishes)
        return Offered(await proposal.items_for_owned(account, [wish.request for wish in wishes], numbers))

    def check(
        self, settings: Settings, operation: Operation, books: Books, run_rate: RunRate | None, own: Limits | None
    ) -> None:
        """Raise if the operation may not be done."""
        del operation, books, run_rate, own
        policy.check_writable(settings)

    async def prepare(self, account: Account, operation: Operation) -> Prepared:
        """Read the number again, and keep which of the wanted settings it does not show."""
        number = await proposal.read_again(account, operation)
        wanted = routing.wanted(operation.request)
        lacking: Routing = routing.missing(number, wanted)
        names = routing.names(lacking)

        async def send(before_sending: BeforeSending) -> Written:
            return await account.client.update_number(
                number.id, lacking if names else wanted, idempotency_key=operation.id, before_sending=before_sending
            )

        return Prepared(send, Snapshot(lacking=names))

    async def settle(
        self, account: Account, operation: Operation, written: Written, before_sending: BeforeSending
    ) -> Settlement:
        """Read a change back that was answered with success, and bring about what is lacking still."""
        number = await routing.read_back(account.client, operation.request.number_id, operation.e164)
        target = routing.wanted(operation.request)
        applied = await routing.apply(
            account.client, number, target, key=f"{operation.id}-again", before_sending=before_sending
        )
        if applied.not_applied and (applied.deferred or written.status == HTTPStatus.ACCEPTED):
            raise OutcomeUnknownError("KrosAI accepted the change, and does not show it yet.")
        return _done(operation, applied)

    def is_accepted(self, operation: Operation, written: Written) -> bool:
        """Whether settings are to come.

        Those that are answered with 200 may have gone unheeded, as one dialect does with a spelling that it does not
        know; only a 202 says that they are to come.
        """
        del operation
        return written.status == HTTPStatus.ACCEPTED

    async def look(self, account: Account, operation: Operation, *, late: bool = False) -> Look:
        """Look whether the number shows the settings that were asked for."""
        reading = await find_owned(account.client, number_id=operation.request.number_id)
        number = reading.number
        if number is None or number.e164 != operation.e164:
            return Look(None, conclusive=False, reading=reading)
        lacking = routing.names(routing.missing(number, routing.wanted(operation.request)))
        by_half = late and has_changed(operation, lacking)
        done = _done(operation, routing.Applied(number, lacking)) if not lacking or by_half else None
        return Look(done, reading.complete, reading)

    async def not_done(self, account: Account, operation: Operation, look: Look, *, begun: float) -> Settlement | None:
        """Settle as failed where the settings are not shown, unless KrosAI has accepted them or does not state them."""
        del begun
        number = look.reading.number
        is_stated = number is None or number.endpoint_id != NOT_STATED
        if operation.accepted or (operation.request.endpoint_id and not is_stated):
            return None
        message = "KrosAI does not show the settings that were asked for, so they were not changed."
        return await base.not_done(account, operation, message)

    def stood_before(self, operation: Operation) -> bool:
        """Whether the change asks for nothing but what its number showed before, so that seeing it proves nothing."""
        return operation.snapshot is not None and operation.snapshot.lacking == ()


CONFIGURATION = Configuration()


def has_changed(operation: Operation, lacking: Collection[str]) -> bool:
    """Whether a number shows a setting that a change wanted and that it did not show before.

    Args:
        operation: The change.
        lacking: The wanted settings that the number does not show now.
    """
    before = operation.snapshot.lacking if operation.snapshot else None
    expected = routing.names(routing.wanted(operation.request)) if before is None else before
    return not set(expected) <= set(lacking)


def _done(operation: Operation, applied: routing.Applied) -> Settlement:
    """Settle a change; one of which nothing was applied has changed nothing, as far as KrosAI states it."""
    changed = not applied.not_applied or has_changed(operation, applied.not_applied)
    is_known = routing.ignored(applied.number, applied.not_applied) == applied.not_applied
    return Settlement(
        State.DONE,
        changed="yes" if changed else "no" if is_known else "unknown",
        number=routing.stored(applied.number),
        not_applied=applied.not_applied,
    )
