"""What an answer of KrosAI means, apart from what it carries (krosai-api.md, section 9, rules 5 to 7)."""

from dataclasses import replace
from typing import Final

from kros_mcp.errors import ApiError, ProtocolError
from kros_mcp.krosai.envelope import names_number_anywhere, read_object, says_plainly_done
from kros_mcp.krosai.orders import Written
from kros_mcp.krosai.refusals import documented_code, read_error
from kros_mcp.krosai.sending import Reply, outcome_unknown
from kros_mcp.krosai.wire import has_ended, read_e164, read_phone_number, read_status

_REFUSALS: Final = frozenset({400, 401, 402, 403, 404, 409, 422, 429})  # KrosAI says that it did not act
_UNDECIDED: Final = frozenset({408, *range(300, 400), *range(500, 600)})  # whatever the body says


def readable(reply: Reply) -> Reply:
    """Let a reply to a read through if it is a success in JSON; raise what it is otherwise."""
    if 300 <= reply.status < 400:  # noqa: PLR2004  # the HTTP redirect range is clearest as numbers
        raise ProtocolError("KrosAI pointed to another address; KROS_BASE_URL may be wrong.")
    error = read_error(reply.status, reply.headers, reply.body)
    if error is not None:
        raise error
    if reply.form != "json":
        raise ProtocolError("KrosAI answered with something that is not JSON.")
    return reply


def settled(reply: Reply, method: str) -> Written:
    """Return what a reply to a write means.

    Args:
        reply: The answer.
        method: POST, PATCH or DELETE: a record that has ended is a refusal only of an order.

    Raises:
        ApiError: KrosAI says that it did not act: by its status, or by an error in a 2xx that names no number.
        OutcomeUnknownError: The answer says nothing that is certain.
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
    if reply.status in _REFUSALS or (reply.status not in _UNDECIDED and documented_code(reply.body) is not None):
        raise error
    raise outcome_unknown()


def _written(reply: Reply) -> Written:
    status = _status(reply.body)
    try:
        record = read_object(reply.body, "number")
    except ProtocolError:
        return Written(reply.status, reply.form)
    try:
        number = read_phone_number(record)
    except ProtocolError:
        return Written(reply.status, reply.form, e164=read_e164(record), record_status=status)
    return Written(reply.status, reply.form, number, number.e164, record_status=status)


def _status(body: object) -> str | None:
    """Find the status of the record in an answer, else that of the answer itself."""
    try:
        record = read_object(body, "number")
    except ProtocolError:
        return None
    return read_status(record) or (read_status(body) if isinstance(body, dict) else None)
