"""Bring a number's settings to what was asked, and say what KrosAI did not apply."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus

import anyio

from kros_mcp.errors import ApiError, KrosError, NotSentError, OutcomeUnknownError, RateLimitError
from kros_mcp.krosai import NOT_STATED, UNROUTED, BeforeSending, KrosClient, PhoneNumber, Routing, Spelling, Written
from kros_mcp.numbering import spoken
from kros_mcp.operations.model import Operation, Request, StoredNumber

LONGEST_RETRY_AFTER_SECONDS = 10.0
_LOOK_LATER = "Call get_phone_number later to see its settings."
SHOWN_LATER_SECONDS = (0.5, 1.0, 2.0, 2.0)
"""How long to wait before each further look at a change that KrosAI has accepted and does not show yet."""


@dataclass(frozen=True)
class Applied:
    """The number as it stands afterwards, and the settings that differ from what was asked.

    `deferred` says that KrosAI has accepted a change without carrying it out yet (202).
    """

    number: PhoneNumber
    not_applied: tuple[str, ...]
    deferred: bool = False


def wanted(request: Request) -> Routing:
    """The settings that a request names; None where it names none."""
    return Routing(
        endpoint_id=request.endpoint_id or None,
        allow_inbound=request.allow_inbound,
        allow_outbound=request.allow_outbound,
    )


def still_wanted(operation: Operation) -> Routing:
    """The settings that a purchase wants, less those that somebody has chosen anew."""
    target = wanted(operation.request)
    return replace(target, **dict.fromkeys(operation.settings_superseded))


def missing(number: PhoneNumber, target: Routing) -> Routing:
    """The part of `target` that the number does not show; what KrosAI does not say counts as not shown."""
    return Routing(
        endpoint_id=target.endpoint_id if once_set(target, "endpoint_id") != number.endpoint_id else None,
        allow_inbound=target.allow_inbound if target.allow_inbound != number.allow_inbound else None,
        allow_outbound=target.allow_outbound if target.allow_outbound != number.allow_outbound else None,
    )


def ignored(number: PhoneNumber | StoredNumber | None, lacking: Iterable[str]) -> tuple[str, ...]:
    """Return which settings KrosAI did not apply; an endpoint that it does not state may be applied.

    Args:
        number: As KrosAI shows it.
        lacking: The wanted settings that it does not show.
    """
    is_stated = number is None or number.endpoint_id != NOT_STATED
    return tuple(name for name in lacking if name != "endpoint_id" or is_stated)


def names(settings: Routing) -> tuple[str, ...]:
    """The names of the settings that are given."""
    return tuple(
        name for name in ("endpoint_id", "allow_inbound", "allow_outbound") if getattr(settings, name) is not None
    )


def once_set(target: Routing, name: str) -> str | bool | None:
    """Return what a number shows of one of the settings once it is as wanted; None for no endpoint, or if not given."""
    value: str | bool | None = getattr(target, name)
    return None if value == UNROUTED else value


async def _always() -> bool:
    return True


async def apply(
    client: KrosClient,
    number: PhoneNumber,
    target: Routing,
    *,
    key: str,
    go_on: Callable[[], Awaitable[bool]] = _always,
    before_sending: BeforeSending | None = None,
) -> Applied:
    """PATCH what is missing, read it back, and try once more in the other spelling if it was ignored.

    A change that KrosAI accepts and shows only seconds later is waited for.

    Args:
        client: KrosAI.
        number: As it stands now, read from KrosAI.
        target: What is wanted.
        key: Distinguishes this change; the idempotency keys derive from it.
        go_on: Asked just before each PATCH; a no ends it.
        before_sending: Called last before a PATCH leaves; if it raises, that one is not sent.

    Raises:
        KrosaiError: KrosAI refused, or it is not known whether it changed anything.
    """
    current, deferred, patched = number, False, False
    spellings: tuple[Spelling, ...] = ("snake", "camel")
    for spelling in spellings:
        lacking = missing(current, target)
        if not names(lacking) or not await go_on():
            break
        try:
            written = await _patch(client, number.id, lacking, spelling, f"{key}-{spelling}", before_sending)
            deferred, patched = deferred or written.status == HTTPStatus.ACCEPTED, True
        except (ApiError, NotSentError):
            # The other spelling is only a guess: KrosAI may refuse it, and the first PATCH stands.
            if spelling == "snake":
                raise
            break
        current = await read_back(client, number.id, number.e164)
    for pause in SHOWN_LATER_SECONDS if patched else ():
        if not ignored(current, names(missing(current, target))) or not await go_on():
            break
        await anyio.sleep(pause)
        current = await read_back(client, number.id, number.e164)
    return Applied(number=current, not_applied=names(missing(current, target)), deferred=deferred)


async def read_back(client: KrosClient, number_id: str, e164: str) -> PhoneNumber:
    """Read a number that was changed.

    Raises:
        OutcomeUnknownError: It could not be read, or its record is another number's by now.
    """
    try:
        number = await client.get_number(number_id)
    except KrosError as exc:
        raise OutcomeUnknownError(
            "KrosAI accepted the change, and could not be read afterwards.", next_step=_LOOK_LATER
        ) from exc
    if number.e164 != e164:
        raise OutcomeUnknownError(
            f"KrosAI accepted the change of {spoken(e164)}, and shows another number in its record now, so what was "
            "changed is not known.",
            next_step=_LOOK_LATER,
        )
    return number


async def _patch(
    client: KrosClient,
    number_id: str,
    changes: Routing,
    spelling: Spelling,
    key: str,
    before_sending: BeforeSending | None,
) -> Written:
    """Send one PATCH; after a 429, once more under the same key when KrosAI allows it."""
    try:
        return await client.update_number(
            number_id, changes, spelling=spelling, idempotency_key=key, before_sending=before_sending
        )
    except RateLimitError as exc:
        wait = exc.retry_after_seconds or 1.0
        if wait > LONGEST_RETRY_AFTER_SECONDS:
            raise
        await anyio.sleep(wait)
    return await client.update_number(
        number_id, changes, spelling=spelling, idempotency_key=key, before_sending=before_sending
    )


def asked_about(number: PhoneNumber) -> str | None:
    """Return where calls to a number go as its request keeps that: empty for nowhere, None if it is not stated."""
    return None if number.endpoint_id == NOT_STATED else number.endpoint_id or ""


def stored(number: PhoneNumber) -> StoredNumber:
    """Return what the journal keeps of a number, which is never its SIP credentials."""
    return StoredNumber(
        id=number.id,
        e164=number.e164,
        country=number.country,
        type=number.type,
        status=number.status,
        endpoint_id=number.endpoint_id,
        allow_inbound=number.allow_inbound,
        allow_outbound=number.allow_outbound,
        setup_cents=number.setup_cents,
        monthly_cents=number.monthly_cents,
        total_cents=number.total_cents,
        currency=number.currency,
    )


def still_lacking(operation: Operation) -> tuple[str, ...]:
    """Return the settings that a purchase has yet to bring about, as far as its number was last seen."""
    if not operation.settings_pending:
        return ()
    target, seen = still_wanted(operation), operation.number or StoredNumber()
    return tuple(name for name in names(target) if getattr(seen, name) != once_set(target, name))


def changed_by_others(operation: Operation, number: PhoneNumber) -> bool:
    """Whether somebody has chosen anew since the purchase was first seen.

    A setting that is neither as it was first seen nor as this purchase wants it is somebody's choice. If the
    answer to the purchase was lost, it was first seen late: an endpoint that it has then was chosen.
    """
    lacking = names(missing(number, still_wanted(operation)))
    if operation.checked_at is not None and "endpoint_id" in lacking and number.endpoint_id:
        return True
    seen = operation.number
    return seen is not None and any(_chosen(seen, name) != _chosen(number, name) for name in lacking)


def _chosen(number: PhoneNumber | StoredNumber, name: str) -> object:
    """Return one of a number's settings; None for no endpoint, and for what KrosAI does not state."""
    value: object = getattr(number, name)
    return None if value == NOT_STATED else value
