"""Every error of this program, as one tree.

    KrosError
    ├── SettingsError              a KROS_* setting is missing, malformed or unknown
    ├── InvalidArgumentError       a tool argument is not what it must be
    ├── RefusedError               our own guard refused
    │   └── RequestsUsedUpError    the operator's budget of requests to KrosAI is used up, as far as this may go
    ├── ConfirmationError          a person's yes is missing, wrong or late
    ├── OperationError             the operation does not exist, is busy, or is past that move
    ├── JournalError               the journal cannot be used, so nothing is spent
    ├── RecordError                the record of rehearsals cannot be used, so nothing is sent
    ├── InternalError              a fault of this program in the middle of an act
    └── KrosaiError                KrosAI, or the connection to it, failed
        ├── NotSentError           the request certainly never left
        │   └── PathError          a certificate or a proxy blocks the way until somebody corrects it
        ├── OutcomeUnknownError    the request left, and no usable answer came back
        ├── TooSlowError           a read did not end in time
        ├── ConnectionLostError    the connection broke while reading
        ├── ProtocolError          an answer fits no known shape
        │   └── OtherOrganizationError   an answer is about another organization than was asked for
        └── ApiError               KrosAI answered with an error
            ├── AuthenticationError        the key is missing, wrong, expired or not allowed from here
            ├── PermissionDeniedError      the key lacks a scope
            ├── KycError                   identity verification stands in the way
            ├── InsufficientBalanceError   not enough credit
            ├── NumberNotAvailableError    the number is no longer for sale
            ├── NotFoundError              no such number or endpoint
            ├── InvalidRequestError        KrosAI finds the request malformed
            ├── RateLimitError             too many requests
            └── ServerError                KrosAI failed on its own side

Each error says what happened to the money (`charged`) and to the account (`changed`): no, yes or unknown. Both are
about the act that failed, never about an earlier one.
"""

from typing import ClassVar, Literal

Known = Literal["no", "yes", "unknown"]
GET_EXTRAS = "Install it with all extras: uv tool install '.[all]' in a clone, or uv run --all-extras kros-mcp."
"""What to do where an extra is missing; to install with one alone would take the others away."""


class KrosError(Exception):
    """A request failed; the error says what happened to the money and what to do next.

    Args:
        message: What happened, in one or two plain sentences that may be shown to a model and a person.
        code: KrosAI's error code or ours, in capitals. Defaults to the code of the class.
        next_step: What to do now. Defaults to the next step of the class.
        operation_id: The operation that failed, if there is one.
    """

    code: str = "INTERNAL"
    next_step: str = "Tell the operator of this server."
    charged: Known = "no"
    changed: Known = "no"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        next_step: str | None = None,
        operation_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation_id = operation_id
        if code is not None:
            self.code = code
        if next_step is not None:
            self.next_step = next_step


class SettingsError(KrosError):
    """A KROS_* setting is missing, malformed or unknown; nothing was started."""

    code = "SETTINGS"
    next_step = "Correct the setting and start again."
    exit_code = 2


class InvalidArgumentError(KrosError):
    """A tool argument is not what it must be; nothing was sent."""

    code = "INVALID_ARGUMENT"
    next_step = "Call again with the argument corrected."
    exit_code = 2


class RefusedError(KrosError):
    """Our own guard refused; nothing was sent."""

    code = "REFUSED"
    next_step = "Tell the person; only the operator of this server can change its limits."


class RequestsUsedUpError(RefusedError):
    """What is left of a day's requests to KrosAI is kept for something else; nothing was sent, and nothing follows."""

    code = "REQUESTS_USED_UP"
    next_step = "Tell the person until when; only the operator of this server can raise KROS_REQUESTS_PER_DAY."


class ConfirmationError(KrosError):
    """A person's yes is missing, wrong or late; nothing was sent."""

    code = "NOT_CONFIRMED"
    next_step = "Call again without confirmation_code to ask the person anew."


class OperationError(KrosError):
    """The operation does not exist, is busy, or is past the move asked for; nothing was sent."""

    code = "OPERATION"
    next_step = "Call get_operation to see where it stands."


class JournalError(KrosError):
    """The journal cannot be used, so nothing is spent."""

    code = "JOURNAL_UNUSABLE"
    next_step = "Tell the operator: run `kros-mcp doctor` where this server runs."
    exit_code = 3


class RecordError(KrosError):
    """The record of rehearsals cannot be used, so nothing is sent."""

    code = "RECORD_UNUSABLE"
    next_step = "Name another file with --record, and look in KrosAI's dashboard for what is owned."
    exit_code = 3


class InternalError(KrosError):
    """This program failed in the middle of an act; the journal shows how far it got."""

    code = "INTERNAL"
    next_step = "Do not try again. Call get_operation with the operation_id, and tell the operator."
    charged: Known = "unknown"
    changed: Known = "unknown"


class KrosaiError(KrosError):
    """KrosAI, or the connection to it, failed."""

    code = "KROSAI"
    next_step = "Try again in a moment; after two tries tell the person."
    exit_code = 4


class NotSentError(KrosaiError):
    """The request certainly never left; nothing was ordered."""

    code = "UNREACHABLE"
    next_step = "Try again in a moment; after two tries tell the person."


class PathError(NotSentError):
    """A certificate or a proxy blocks the way to KrosAI, and would do so again; nothing was ordered."""

    code = "PATH_BLOCKED"
    next_step = "Nothing was ordered. Tell the operator: `kros-mcp doctor`, where this server runs, tells more."


class OutcomeUnknownError(KrosaiError):
    """The request left and no usable answer came back; money may have moved."""

    code = "OUTCOME_UNKNOWN"
    next_step = "Do not try again. Tell the person, and call get_operation later for the outcome."
    charged: Known = "unknown"
    changed: Known = "unknown"


class TooSlowError(KrosaiError):
    """A read did not end in time; nothing was ordered."""

    code = "TOO_SLOW"


class ConnectionLostError(KrosaiError):
    """The connection broke while reading; nothing was ordered."""

    code = "CONNECTION_LOST"


class ProtocolError(KrosaiError):
    """An answer of KrosAI fits no known shape, so nothing follows from it."""

    code = "UNEXPECTED_ANSWER"
    next_step = "Try once more; if it stays so, tell the operator that KrosAI's answers have changed."


class OtherOrganizationError(ProtocolError):
    """A record of KrosAI states another organization than was asked for, so nothing follows from the answer."""

    code = "OTHER_ORGANIZATION"
    next_step = (
        "Tell the operator: KrosAI answered with a record of another organization than this server asked for; "
        "`kros-mcp doctor` there shows for which it asks."
    )


class ApiError(KrosaiError):
    """KrosAI answered with an error.

    Args:
        message: As in `KrosError`, like `code` and `next_step`.
        status: The HTTP status of the answer.

    `retry_after_seconds` is how long KrosAI asks to wait; None if it does not say.
    """

    code = "KROSAI_ERROR"
    exit_code = 1
    retry_after_seconds: float | None = None

    def __init__(self, message: str, *, status: int, code: str | None = None, next_step: str | None = None) -> None:
        super().__init__(message, code=code, next_step=next_step)
        self.status = status


class AuthenticationError(ApiError):
    """KrosAI does not accept the API key."""

    code = "UNAUTHORIZED"
    next_step = "Tell the operator to check KROS_API_KEY with `kros-mcp doctor`."


class PermissionDeniedError(ApiError):
    """The API key lacks a scope for this."""

    code = "FORBIDDEN"
    next_step = "Tell the operator to give the key the scope it lacks in the KrosAI dashboard."


class KycError(ApiError):
    """KrosAI wants the account's identity verified first."""

    code = "KYC_REQUIRED"
    next_step = "Tell the person to complete verification in the KrosAI dashboard."


class InsufficientBalanceError(ApiError):
    """The KrosAI account has not enough credit."""

    code = "INSUFFICIENT_BALANCE"
    next_step = (
        "Tell the person that credit is seen and added only in the KrosAI dashboard, and that the number is not held "
        "meanwhile. Then try again."
    )


class NumberNotAvailableError(ApiError):
    """The number is no longer for sale."""

    code = "NUMBER_NOT_AVAILABLE"
    next_step = "Search again and offer another number."


class NotFoundError(ApiError):
    """KrosAI knows no such number or endpoint in this account."""

    code = "NOT_FOUND"
    next_step = "List the numbers or endpoints and use an id that stands there."


class InvalidRequestError(ApiError):
    """KrosAI finds the request malformed."""

    code = "BAD_REQUEST"
    next_step = "Check the arguments; if they are right, tell the operator."


class RateLimitError(ApiError):
    """KrosAI wants fewer requests; it did not act on this one."""

    code = "RATE_LIMIT_EXCEEDED"
    next_step = "Wait a few seconds, then try again; after two tries tell the person."


class ServerError(ApiError):
    """KrosAI failed on its own side while reading."""

    code = "SERVER_ERROR"
