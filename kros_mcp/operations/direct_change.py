"""Change the settings of numbers that are not protected; costs nothing and can be undone, so no yes is asked for."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio

from kros_mcp.errors import (
    InternalError,
    InvalidArgumentError,
    JournalError,
    KrosError,
    OperationError,
    OutcomeUnknownError,
    TooSlowError,
)
from kros_mcp.krosai import CallEndpoint, PhoneNumber, read_each, within
from kros_mcp.numbering import spoken
from kros_mcp.operations import policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import proposal, routing
from kros_mcp.operations.acts.base import Wish
from kros_mcp.operations.events import SERVER, By
from kros_mcp.operations.model import Request, new_operation_id
from kros_mcp.operations.runner import Runner

logger = logging.getLogger(__name__)

_LONGEST_CHANGE_SECONDS = 30.0
_AT_ONCE = 3
_LOOK = "Tell the person; call get_phone_number later to see its settings."


@dataclass(frozen=True)
class Planned:
    """A change that was checked and may be carried out.

    Args:
        number: As it stands now.
        request: The settings wanted; an endpoint by its id.
        endpoint: The wanted endpoint; None if the change names none.
    """

    number: PhoneNumber
    request: Request
    endpoint: CallEndpoint | None = None


@dataclass(frozen=True)
class Plan:
    """What one call changes, in its order; `is_protected` says that a yes is needed for that."""

    changes: tuple[Planned, ...]
    is_protected: bool = False


@dataclass(frozen=True)
class DirectChange:
    """A number before and after; `after` is None while the change is still under way, and where it has failed."""

    before: PhoneNumber
    after: PhoneNumber | None = None
    not_applied: tuple[str, ...] = ()
    deferred: bool = False
    error: KrosError | None = None


async def plan(account: Account, wishes: Sequence[Wish]) -> Plan:
    """Check all that is asked for before anything is written, and read the numbers as they stand now.

    Raises:
        InvalidArgumentError: Nothing is to be changed, a number stands there twice, or the endpoint is not certain.
        OperationError: A number is not owned, or its record has become another's.
        RefusedError: This server only reads.
    """
    policy.check_writable(account.settings)
    if not all(routing.names(routing.wanted(wish.request)) for wish in wishes):
        raise InvalidArgumentError("Nothing to change: give endpoint_id, allow_inbound or allow_outbound.")
    endpoints = await proposal.require_endpoints(account, [wish.request.endpoint_id for wish in wishes])
    numbers = await proposal.read_owned(account, wishes)
    is_protected = any(number.e164 in account.settings.protected_numbers for number in numbers)
    if not (is_protected and wishes[1:]):  # several under one yes are read again when that is asked for
        numbers = await _read_alone(account, wishes, numbers)
    twice = next((one.e164 for place, one in enumerate(numbers) if one.id in {each.id for each in numbers[:place]}), "")
    if twice:
        raise InvalidArgumentError(f"{spoken(twice)} is named twice; nothing was changed.", code="SAME_NUMBER_TWICE")
    return Plan(
        tuple(
            _planned(wish.request, number, endpoints[wish.request.endpoint_id])
            for wish, number in zip(wishes, numbers, strict=True)
        ),
        is_protected,
    )


def _planned(request: Request, number: PhoneNumber, endpoint: CallEndpoint | None) -> Planned:
    endpoint_id = endpoint.id if endpoint else request.endpoint_id
    return Planned(number, replace(request, number_id=number.id, endpoint_id=endpoint_id), endpoint)


async def _read_alone(
    account: Account, wishes: Sequence[Wish], found: tuple[PhoneNumber, ...]
) -> tuple[PhoneNumber, ...]:
    """Read each number by itself, as it is to be shown before and after."""
    if len(wishes) == 1 and not wishes[0].e164:  # that was a reading by itself
        return found
    alone = await read_each(account.client, dict.fromkeys(one.id for one in found))
    numbers = tuple([alone[one.id] or await proposal.require_owned(account, one.id, "") for one in found])
    for wish, number in zip(wishes, numbers, strict=True):
        if wish.e164 not in {"", number.e164}:
            raise OperationError(
                f"KrosAI's record is no longer {spoken(wish.e164)}; nothing was changed.",
                code="NUMBER_CHANGED",
                next_step="List the phone numbers again before going on.",
            )
    return numbers


async def configure(
    account: Account, runner: Runner, changes: Sequence[Planned], *, seconds: float, by: By = SERVER
) -> tuple[DirectChange, ...]:
    """Apply settings to numbers that are not protected, in a task that the server owns.

    One that fails stops no other, and its error stands in its place.

    Args:
        account: The account's resources.
        runner: Owns the task, so that a client that goes away does not cut it in half.
        changes: As `plan` made them.
        seconds: How long to wait; after that it goes on by itself.
        by: Who asks for it.
    """
    done: dict[int, DirectChange] = {}
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def change(place: int, planned: Planned) -> None:
        async with limiter:
            try:
                done[place] = await _change(account, planned, by)
            except KrosError as exc:
                done[place] = DirectChange(planned.number, error=exc)
            except Exception:
                logger.exception("unexpected failure")
                done[place] = DirectChange(
                    planned.number, error=InternalError("This server failed in the middle of the change.")
                )

    async def all_of_them() -> bool:
        async with anyio.create_task_group() as tasks:
            for place, planned in enumerate(changes):
                tasks.start_soon(change, place, planned)
        return True

    await runner.shelter(all_of_them, seconds)
    return tuple(done.get(place, DirectChange(planned.number)) for place, planned in enumerate(changes))


async def _change(account: Account, planned: Planned, by: By) -> DirectChange:
    number, target = planned.number, routing.wanted(planned.request)
    await account.journal.routing_changed(account.id, number.e164, routing.names(target), by=by)
    try:
        with within(_LONGEST_CHANGE_SECONDS):
            applied = await routing.apply(account.client, number, target, key=new_operation_id())
    except TooSlowError as exc:
        raise OutcomeUnknownError(
            "KrosAI did not answer in time; whether it changed the number is not known.",
            next_step=_LOOK,
        ) from exc
    except OutcomeUnknownError as exc:
        exc.next_step = _LOOK  # there is no operation that could be asked about
        raise
    finally:
        account.kept.acts += 1
        account.changes.of_numbers()
        await _tell_journal(account, number)
    return DirectChange(number, applied.number, applied.not_applied, applied.deferred)


async def _tell_journal(account: Account, number: PhoneNumber) -> None:
    """Let nobody be shown the list of before; a journal that fails now shows it for a minute more."""
    try:
        await account.journal.number_changed(account.id, number.e164)
    except JournalError as exc:
        logger.info("owned numbers could not be kept: %s", exc.message)
