"""The release of a number: what a person agrees to, what must still hold, what is sent, and what proves it."""

from collections.abc import Sequence
from http import HTTPStatus

from kros_mcp.errors import KrosError, OperationError, OutcomeUnknownError
from kros_mcp.krosai import BeforeSending, OwnedReading, PhoneNumber, Written, find_owned, has_ended, is_pending
from kros_mcp.numbering import spoken
from kros_mcp.operations import policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import base, proposal, routing
from kros_mcp.operations.acts.base import Act, Look, Offered, Prepared, Wish
from kros_mcp.operations.model import Action, Limits, Operation, Request, Settlement, State
from kros_mcp.operations.policy import Books, RunRate
from kros_mcp.operations.wording import ReleaseWording
from kros_mcp.settings import Settings


class Release(Act):
    """Gives a number up, and with `permanent` its record too."""

    action = Action.RELEASE
    wording = ReleaseWording()

    async def propose(self, account: Account, principal: str, request: Request, e164: str) -> Operation:
        """Propose to release an owned number, or answer the operation that already stands for it.

        Args:
            account: The account's resources.
            principal: Who asks.
            request: `number_id` (or empty beside an E.164) and `permanent`.
            e164: The number, if it is named so; else empty.

        Raises:
            OperationError: `NUMBER_NOT_OWNED`, `NUMBER_NOT_READY`, `ALREADY_RELEASED` or `NUMBER_BUSY`.
            RefusedError: The policy forbids it, or a day's requests are used up.
            KrosaiError: KrosAI could not be read.
        """
        policy.check_writable(account.settings)
        identity = account.identity(principal, self.action)
        earlier = await account.journal.find(identity, e164=e164, number_id=request.number_id)
        if earlier is not None and await proposal.covers(account, self, earlier, request):
            return earlier
        account.client.tally.require_room()
        return await proposal.propose(account, self, principal, await self.offer(account, [Wish(request, e164)]))

    async def offer(self, account: Account, wishes: Sequence[Wish]) -> Offered:
        """Read the numbers, which must be ready to be released."""
        numbers = await proposal.read_owned(account, wishes)
        for wish, number in zip(wishes, numbers, strict=True):
            if number.has_ended and not wish.request.permanent:
                raise OperationError(
                    f"{spoken(number.e164)} is already released; nothing was changed.",
                    code="ALREADY_RELEASED",
                    next_step="Tell the person that it is released already.",
                )
            _require_ready(number)
        return Offered(await proposal.items_for_owned(account, [wish.request for wish in wishes], numbers))

    def still_stands(self, operation: Operation, reading: OwnedReading) -> bool:
        """Whether the number is certainly not owned."""
        del operation
        return reading.living is None and reading.complete

    def check(
        self, settings: Settings, operation: Operation, books: Books, run_rate: RunRate | None, own: Limits | None
    ) -> None:
        """Raise if the operation may not be done."""
        del books, run_rate, own
        policy.check_release(settings, operation)

    async def prepare(self, account: Account, operation: Operation) -> Prepared:
        """Read again that the number is as it was when its release was asked about."""
        number = await proposal.read_again(account, operation)
        if number.has_ended != has_ended(operation.request.status):
            raise OperationError(
                f"{spoken(operation.e164)} was released or taken back by somebody else meanwhile; nothing was changed "
                "now.",
                code="ALREADY_RELEASED" if number.has_ended else "NUMBER_CHANGED",
                next_step="List the phone numbers again before going on.",
            )
        before, now = operation.request.routed_endpoint_id, routing.asked_about(number)
        if before != now:
            differs = f"Calls to {spoken(operation.e164)} go elsewhere than when its release was asked about"
            if None in {before, now}:
                differs = (
                    f"What KrosAI states of where calls to {spoken(operation.e164)} go is not what it did when its "
                    "release was asked about"
                )
            raise OperationError(
                f"{differs}; nothing was changed.",
                code="NUMBER_CHANGED",
                next_step="Ask the person again, with where its calls go now.",
            )
        _require_ready(number)

        async def send(before_sending: BeforeSending) -> Written:
            return await account.client.release_number(
                number.id,
                permanent=operation.request.permanent,
                idempotency_key=operation.id,
                before_sending=before_sending,
            )

        return Prepared(send)

    async def settle(
        self, account: Account, operation: Operation, written: Written, before_sending: BeforeSending
    ) -> Settlement:
        """Settle a release that was answered with success: done unless the number still stands as it was."""
        del before_sending
        try:
            look = await self.look(account, operation)
        except KrosError:
            if written.body == "other" or written.contradicted or written.status == HTTPStatus.ACCEPTED:
                raise
            return Settlement(State.DONE)
        if look.settlement is None:
            raise OutcomeUnknownError("KrosAI accepted the release, and still shows the number as it was.")
        return look.settlement

    def is_accepted(self, operation: Operation, written: Written) -> bool:
        """Whether an answer means that the act can no longer be called failed."""
        del operation
        return written.body != "other"

    async def look(self, account: Account, operation: Operation, *, late: bool = False) -> Look:
        """Look whether the number is gone, or its record has ended."""
        del late
        reading = await find_owned(account.client, number_id=operation.request.number_id)
        number = reading.number
        if number is None and not await _is_gone_from_the_list(account, operation):
            return Look(None, conclusive=False, reading=reading)
        done = _done(operation, number) if _is_released(operation, number) else None
        return Look(done, reading.complete, reading)

    async def not_done(self, account: Account, operation: Operation, look: Look, *, begun: float) -> Settlement | None:
        """Settle as failed where the number still stands as it was.

        An ended record that is only released once more shows nothing of it; a living one may still be released.
        """
        del begun
        number, status = look.reading.number, operation.request.status
        unchanged = number is not None and (number.e164, number.status or "") == (operation.e164, status)
        may_come = operation.accepted and not has_ended(status)
        if not unchanged or may_come:
            return None
        return await base.not_done(
            account, operation, "KrosAI still shows the number as it was, so it was not released."
        )


RELEASE = Release()


def _require_ready(number: PhoneNumber) -> None:
    """Raise where a number is still an order, which may come to nothing by itself."""
    if is_pending(number.status):
        raise OperationError(
            f"KrosAI has not finished setting up {spoken(number.e164)} yet, so it cannot be released; nothing was "
            "changed.",
            code="NUMBER_NOT_READY",
            next_step="Ask again once list_phone_numbers shows it as active.",
        )


def _done(operation: Operation, number: PhoneNumber | None) -> Settlement:
    """Settle a release as done; a record that was to go too and still stands is told."""
    kept = operation.request.permanent and number is not None
    return Settlement(
        State.DONE,
        number=routing.stored(number) if number else None,
        not_applied=("permanent",) if kept else (),
    )


def _is_released(operation: Operation, number: PhoneNumber | None) -> bool:
    """Whether a release has taken effect, by the record as it stands now.

    A record that had ended before is released only by its absence, or where it has ended in another word since.
    """
    if number is None:
        return True
    as_it_was = (number.status or "") == operation.request.status
    return number.e164 == operation.e164 and number.has_ended and not as_it_was


async def _is_gone_from_the_list(account: Account, operation: Operation) -> bool:
    """Whether the list, too, shows a number no more that is not found by its id: a 404 alone may be of any making."""
    listed = await find_owned(account.client, e164=operation.e164)
    still = any(record.id == operation.request.number_id for record in listed.records if not record.has_ended)
    return listed.complete and operation.request.number_id not in listed.unreadable and not still
