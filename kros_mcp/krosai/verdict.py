"""What an answer of KrosAI means, apart from what it carries (krosai-api.md, section 9, rules 5 to 7)."""

from typing import Final

from kros_mcp.errors import ProtocolError
from kros_mcp.krosai.envelope import read_object
from kros_mcp.krosai.orders import Written
from kros_mcp.krosai.refusals import documented_code, read_error
from kros_mcp.krosai.sending import Reply, outcome_unknown
from kros_mcp.krosai.wire import read_e164, read_phone_number

_SETTLED: Final = frozenset({400, 401, 402, 403, 404, 409, 422, 429})  # KrosAI says that it did not act


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


def settled(reply: Reply) -> Written:
    """Tell what a reply to a write means; only what is certain is an ApiError or a success."""
    error = read_error(reply.status, reply.headers, reply.body)
    if error is None:
        return _written(reply)
    if 200 <= reply.status < 300 and _names_a_number(reply):  # noqa: PLR2004  # as above
        return Written(reply.status, reply.form, contradicted=True)  # only what is seen afterwards settles it
    if documented_code(reply.body) is not None or reply.status in _SETTLED:
        raise error
    raise outcome_unknown()


def _names_a_number(reply: Reply) -> bool:
    try:
        return read_e164(read_object(reply.body, "number")) is not None
    except ProtocolError:
        return False


def _written(reply: Reply) -> Written:
    try:
        record = read_object(reply.body, "number")
    except ProtocolError:
        return Written(reply.status, reply.form)
    try:
        number = read_phone_number(record)
    except ProtocolError:
        return Written(reply.status, reply.form, e164=read_e164(record))
    return Written(reply.status, reply.form, number, number.e164, record_status=number.status)
