"""Change the settings of a number that is not protected; costs nothing and can be undone, so no yes is asked for."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from kros_mcp.errors import InvalidArgumentError, JournalError, OutcomeUnknownError, TooSlowError
from kros_mcp.krosai import PhoneNumber, within
from kros_mcp.operations import policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import proposal, routing
from kros_mcp.operations.acts.base import Wish
from kros_mcp.operations.events import SERVER, By
from kros_mcp.operations.model import Request, new_operation_id
from kros_mcp.operations.runner import Runner

logger = logging.getLogger(__name__)

_LONGEST_CHANGE_SECONDS = 30.0


@dataclass(frozen=True)
class DirectChange:
    """A number before and after; `after` is None while the change is still under way."""

    before: PhoneNumber
    after: PhoneNumber | None
    not_applied: tuple[str, ...] = ()
    deferred: bool = False


@dataclass(frozen=True)
class SeveralChanges:
    """Several numbers as they stand now, none of them protected, and what is wanted of each, in one order."""

    numbers: tuple[PhoneNumber, ...]
    wishes: tuple[Wish, ...]


async def require_changeable(account: Account, request: Request, e164: str) -> PhoneNumber:
    """Check a change before anything is written, and read the number as it stands now.

    Raises:
        InvalidArgumentError: Nothing is to be changed, or the endpoint does not exist.
        OperationError: The number is not owned.
        RefusedError: This server only reads.
    """
    policy.check_writable(account.settings)
    _require_change([Wish(request)])
    await proposal.require_endpoint(account, request.endpoint_id)
    number = await proposal.require_owned(account, request.number_id, e164)
    return await account.client.get_number(number.id) if e164 else number


async def require_all_changeable(account: Account, wishes: Sequence[Wish]) -> SeveralChanges:
    """Check the changes of several numbers before anything is written, and read the numbers as they stand now.

    Raises:
        InvalidArgumentError: Nothing is to be changed, or an endpoint does not exist.
        OperationError: One of the numbers is not owned.
        RefusedError: This server only reads.
    """
    policy.check_writable(account.settings)
    _require_change(wishes)
    await proposal.require_endpoints(account, [wish.request.endpoint_id for wish in wishes])
    return SeveralChanges(await proposal.read_owned(account, wishes), tuple(wishes))


def _require_change(wishes: Sequence[Wish]) -> None:
    if not all(routing.names(routing.wanted(wish.request)) for wish in wishes):
        raise InvalidArgumentError("Nothing to change: give endpoint_id, allow_inbound or allow_outbound.")


async def configure(
    account: Account, runner: Runner, number: PhoneNumber, request: Request, *, seconds: float, by: By = SERVER
) -> DirectChange:
    """Apply settings to a number that is not protected, in a task that the server owns.

    Args:
        account: The account's resources.
        runner: Owns the task, so that a client that goes away does not cut it in half.
        number: As `require_changeable` read it.
        request: The settings wanted.
        seconds: How long to wait; after that it goes on by itself.
        by: Who asks for it.
    """
    target = routing.wanted(request)

    async def change() -> DirectChange:
        await account.journal.routing_changed(account.id, number.e164, routing.names(target), by=by)
        try:
            with within(_LONGEST_CHANGE_SECONDS):
                applied = await routing.apply(account.client, number, target, key=new_operation_id())
        except TooSlowError as exc:
            raise OutcomeUnknownError(
                "KrosAI did not answer in time; whether it changed the number is not known.",
                next_step="Call get_phone_number later to see its settings.",
            ) from exc
        finally:
            account.kept.acts += 1
            account.changes.of_numbers()
            await _tell_journal(account, number)
        return DirectChange(
            before=number, after=applied.number, not_applied=applied.not_applied, deferred=applied.deferred
        )

    done = await runner.shelter(change, seconds)
    return done or DirectChange(before=number, after=None)


async def _tell_journal(account: Account, number: PhoneNumber) -> None:
    """Let nobody be shown the list of before; a journal that fails now shows it for a minute more."""
    try:
        await account.journal.number_changed(account.id, number.e164)
    except JournalError as exc:
        logger.info("owned numbers could not be kept: %s", exc.message)
