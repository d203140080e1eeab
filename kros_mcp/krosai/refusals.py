"""What an answer of KrosAI means: a success, or which error, with our sentence for it and what to do next.

The table is docs/krosai.md, section 5. It is keyed on the code, because the two documents give the same code
different statuses. The status decides only if no documented code came. KrosAI's own message is never quoted. What
counts as refused, done or unknown after a write is section 9, rules 5 to 7.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Final

from kros_mcp.errors import (
    ApiError,
    AuthenticationError,
    InsufficientBalanceError,
    InvalidRequestError,
    KycError,
    NotFoundError,
    NumberNotAvailableError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
)
from kros_mcp.krosai.envelope import (
    find_object,
    is_error,
    names_number_anywhere,
    read_amounts,
    read_code,
    read_object,
    read_retry_after,
    says_plainly_done,
)
from kros_mcp.krosai.exchange import Reply, outcome_unknown
from kros_mcp.krosai.fields import PRICE_NAMES, Record
from kros_mcp.krosai.wire import has_ended, read_e164, read_phone_number, read_status
from kros_mcp.krosai.writes import Written
from kros_mcp.times import spoken_duration


@dataclass(frozen=True, slots=True)
class Refusal:
    """A documented error: our class, our sentence, and what to do next (by default that of the class)."""

    error: type[ApiError]
    sentence: str
    next_step: str | None = None


_CALLS_ONLY: Final = "This concerns calls, not numbers; tell the operator that KrosAI answered so."

REFUSALS: Final[Mapping[str, Refusal]] = {
    "MISSING_API_KEY": Refusal(
        AuthenticationError,
        "KrosAI received no API key.",
        "Tell the operator to check KROS_API_KEY and KROS_AUTH_HEADER with `kros-mcp doctor`.",
    ),
    "INVALID_API_KEY": Refusal(AuthenticationError, "KrosAI does not accept the API key."),
    "KEY_EXPIRED": Refusal(
        AuthenticationError,
        "The KrosAI API key has expired.",
        "Tell the operator to create a new key in the KrosAI dashboard and set KROS_API_KEY.",
    ),
    "IP_NOT_ALLOWED": Refusal(
        AuthenticationError,
        "KrosAI does not accept the API key from this server's address.",
        "Tell the operator to add this server's address to the key's allowlist in the KrosAI dashboard.",
    ),
    "INSUFFICIENT_SCOPE": Refusal(PermissionDeniedError, "The KrosAI API key is not allowed to do this."),
    "MISSING_FIELDS": Refusal(
        InvalidRequestError,
        "KrosAI says that the order is incomplete.",
        "Search again and use the inventory_id of a number found there.",
    ),
    "KYC_REQUIRED": Refusal(KycError, "KrosAI wants the account's identity verified first."),
    "KYC_NOT_SUBMITTED": Refusal(KycError, "The account's identity verification was not yet submitted."),
    "KYC_INITIATED": Refusal(
        KycError,
        "The account's identity verification is submitted and not yet reviewed.",
        "Tell the person to wait until KrosAI has reviewed the verification, then try again.",
    ),
    "KYC_PENDING": Refusal(
        KycError,
        "The account's identity verification is still pending.",
        "Tell the person to wait until KrosAI has reviewed the verification, then try again.",
    ),
    "KYC_DECLINED": Refusal(
        KycError,
        "The account's identity verification was declined.",
        "Tell the person to submit it again in the KrosAI dashboard or to ask KrosAI's support.",
    ),
    "INSUFFICIENT_BALANCE": Refusal(InsufficientBalanceError, "The KrosAI account has not enough credit for this."),
    "NUMBER_NOT_AVAILABLE": Refusal(NumberNotAvailableError, "That number is no longer for sale."),
    "RATE_LIMIT_EXCEEDED": Refusal(RateLimitError, "KrosAI wants fewer requests at the moment."),
    "CONCURRENT_LIMIT_EXCEEDED": Refusal(
        RateLimitError,
        "KrosAI says that too much is going on at once on this account.",
        "Wait until running calls have ended, then try again; after two tries tell the person.",
    ),
    "NUMBER_NOT_OWNED": Refusal(
        NotFoundError,
        "KrosAI says that this account does not own that number.",
        "List the phone numbers and use an id that stands there.",
    ),
    "ENDPOINT_NOT_FOUND": Refusal(
        NotFoundError,
        "KrosAI knows no such endpoint in this account.",
        "List the endpoints and use an id that stands there.",
    ),
    "OUTBOUND_DISABLED": Refusal(
        PermissionDeniedError,
        "Outbound calling is disabled for that number or account.",
        "Enable outbound calling for the number, or tell the operator to ask KrosAI about the account.",
    ),
    "INVALID_PHONE_NUMBERS": Refusal(
        InvalidRequestError, "KrosAI finds a phone number in the request invalid.", _CALLS_ONLY
    ),
    "N0_ENDPOINT": Refusal(  # with a zero, as KrosAI documents it
        InvalidRequestError, "KrosAI says that the number has no endpoint.", _CALLS_ONLY
    ),
    "ENDPOINT_UNREACHABLE": Refusal(InvalidRequestError, "KrosAI could not reach the endpoint.", _CALLS_ONLY),
}

ACCOUNT_REFUSED: Final = tuple(
    code for code, refusal in REFUSALS.items() if issubclass(refusal.error, KycError | InsufficientBalanceError)
)
"""The codes with which KrosAI refuses whatever the account would buy."""
_MISSPELT: Final = {"INSUFFICENT_BALANCE": "INSUFFICIENT_BALANCE"}

_BY_STATUS: Final[Mapping[int, Refusal]] = {
    400: Refusal(InvalidRequestError, "KrosAI finds the request malformed."),
    401: Refusal(AuthenticationError, "KrosAI does not accept the API key."),
    402: Refusal(InsufficientBalanceError, "The KrosAI account has not enough credit for this."),
    403: Refusal(
        PermissionDeniedError,
        "KrosAI does not permit this: the API key lacks a scope, or the account's identity is not verified.",
        "Tell the operator to check the key's scopes and the identity verification in the KrosAI dashboard.",
    ),
    404: Refusal(NotFoundError, "KrosAI knows no such number or endpoint in this account."),
    408: Refusal(ServerError, "KrosAI gave up waiting for the request."),
    422: Refusal(InvalidRequestError, "KrosAI finds the request malformed."),
    429: Refusal(RateLimitError, "KrosAI wants fewer requests at the moment."),
}
_KYC: Final = Refusal(KycError, "The account's identity verification stands in the way.")
_LONGEST_WAIT_SECONDS: Final = 365 * 86_400.0
"""A longer wait is as good as never, and would be said in endless digits."""
_FIRST_REDIRECT: Final = 300
_FIRST_SERVER_STATUS: Final = 500
_DID_NOT_ACT: Final = frozenset({400, 401, 402, 403, 404, 409, 422, 429})
"""Statuses by which KrosAI says that it did not act on a write."""
_UNDECIDED: Final = frozenset({408, *range(300, 400), *range(500, 600)})
"""Statuses that leave open whether KrosAI acted on a write, whatever the body says."""


def read_error(status: int, headers: Mapping[str, str], body: object) -> ApiError | None:
    """Return the error in an answer; None if the answer is a success.

    Args:
        status: The HTTP status. A 2xx is an error too if its body says so (section 9, rule 6).
        headers: The answer's headers, looked up in lower case.
        body: The parsed JSON, or None.
    """
    code = documented_code(body)
    succeeded = 200 <= status < 300  # noqa: PLR2004  # the HTTP success range is clearest as numbers
    if succeeded and code is None and not is_error(body):
        return None
    refusal = REFUSALS[code] if code is not None else _undocumented(status, read_code(body))
    sentence, next_step, wait = refusal.sentence, refusal.next_step, None
    if issubclass(refusal.error, RateLimitError | ServerError) and (wait := retry_after(headers, body)):
        alone = f"wants to be left alone for {spoken_duration(wait)}"
        sentence, next_step = f"{sentence} It {alone}.", "Tell the person, and try again after that."
    # A code that is not documented could be any text, so the code of our own class is used instead.
    if refusal.error is InsufficientBalanceError and (amounts := read_amounts(body)):
        sentence = f"{sentence.removesuffix('.')}: {amounts}."
    error = refusal.error(sentence, status=status, code=code, next_step=next_step)
    error.retry_after_seconds = wait
    return error


def documented_code(body: object) -> str | None:
    """Return the code of an error's body if the table has it, spelt as there; else None."""
    code = read_code(body)
    code = _MISSPELT.get(code, code) if code is not None else None
    return code if code in REFUSALS else None


def _undocumented(status: int, code: str | None) -> Refusal:
    """Return the refusal for an error without a documented code, by its status."""
    if code is not None and code.startswith("KYC_") and status in _BY_STATUS:
        return _KYC
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= _FIRST_SERVER_STATUS:
        return Refusal(ServerError, "KrosAI failed on its own side.")
    if status < _FIRST_REDIRECT:
        return Refusal(ApiError, "KrosAI answered with an error, and does not say which.")
    return Refusal(ApiError, f"KrosAI answered with an error of no known kind (HTTP status {status}).")


def retry_after(headers: Mapping[str, str], body: object) -> float | None:
    """Return how many seconds KrosAI asks to wait, by the header or else by the body."""
    now = moment(headers.get("date"))
    stated = (_seconds(value, now) for value in (headers.get("retry-after"), read_retry_after(body)))
    return next((min(seconds, _LONGEST_WAIT_SECONDS) for seconds in stated if seconds is not None), None)


def _seconds(value: float | str | None, now: float | None) -> float | None:
    """Return seconds, or the seconds until a date by KrosAI's own clock; None for anything else."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    except ValueError:
        until = moment(str(value))
        return None if until is None else max(0.0, until - (time.time() if now is None else now))
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def moment(date: str | None) -> float | None:
    """Return an HTTP date as Unix seconds; None for anything else."""
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def require_readable(reply: Reply) -> Reply:
    """Return a reply to a read if it is a success in JSON; else raise its error."""
    if 300 <= reply.status < 400:  # noqa: PLR2004  # the HTTP redirect range is clearest as numbers
        raise ProtocolError(
            "KrosAI pointed to another address, so nothing was read.",
            next_step="Tell the operator that KROS_BASE_URL may be wrong.",
        )
    error = read_error(reply.status, reply.headers, reply.body)
    if error is not None:
        raise error
    if reply.form != "json":
        raise ProtocolError("KrosAI answered with something that is not JSON.")
    return reply


def judge_answer(reply: Reply, method: str) -> Written:
    """Return what a reply to a write means, if it is a success.

    Args:
        reply: The answer.
        method: POST, PATCH or DELETE. A record that has ended means a refusal only in the answer to an order.

    Raises:
        ApiError: KrosAI says that it did not act, by the status or by an error in a 2xx that names no number.
        OutcomeUnknownError: The answer does not say for certain whether KrosAI acted.
    """
    error = read_error(reply.status, reply.headers, reply.body)
    if error is None:
        written = _written(reply)
        if method == "POST" and has_ended(written.record_status) and not names_number_anywhere(reply.body):
            raise ApiError("KrosAI turned the order down, and does not say why.", status=reply.status)
        return replace(written, plain=says_plainly_done(reply.body))
    if reply.status < 300:  # noqa: PLR2004  # the HTTP ranges are clearest as numbers
        if not names_number_anywhere(reply.body):
            raise error
        return Written(reply.status, reply.form, contradicted=True, record_status=_status(reply.body))
    if reply.status in _DID_NOT_ACT or (reply.status not in _UNDECIDED and documented_code(reply.body) is not None):
        raise error
    raise outcome_unknown()


def _written(reply: Reply) -> Written:
    status = _status(reply.body)
    if not isinstance(reply.body, dict):
        return Written(reply.status, reply.form)
    path, record = find_object(reply.body, "number")
    try:
        number = read_phone_number(_price_around(reply.body, path) | record)
    except ProtocolError:
        return Written(reply.status, reply.form, e164=read_e164(record), record_status=status)
    return Written(reply.status, reply.form, number, number.e164, record_status=status)


def _price_around(body: Record, path: str) -> Record:
    """Return what states a price in an answer around its record, which is at `path`."""
    found: Record = {}
    place: object = body
    for name in filter(None, path.split(".")):
        if isinstance(place, dict):
            found |= {price: place[price] for price in PRICE_NAMES if price in place}
            place = place[name]
    return found


def _status(body: object) -> str | None:
    """Return the status of the record in an answer, or else of the answer itself; None if neither states one."""
    try:
        record = read_object(body, "number")
    except ProtocolError:
        return None
    return read_status(record) or (read_status(body) if isinstance(body, dict) else None)
