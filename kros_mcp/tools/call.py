"""One tool call: who asks, what is open, and how much of its time is left."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import anyio
from mcp.server.mcpserver import Context
from mcp.types.version import is_version_at_least

from kros_mcp.errors import JournalError, OutcomeUnknownError
from kros_mcp.krosai import clean
from kros_mcp.operations.account import Account
from kros_mcp.operations.batch import Batch, read_batch
from kros_mcp.operations.channels import Ways
from kros_mcp.operations.journal import missing, of_earlier
from kros_mcp.operations.model import Operation, State
from kros_mcp.operations.progress import Reached, Step, Tell
from kros_mcp.operations.run_rate import RunRates
from kros_mcp.operations.runner import READ_SECONDS, Runner
from kros_mcp.operations.screen import Screen
from kros_mcp.operations.screen_questions import ScreenQuestions
from kros_mcp.settings import Settings
from kros_mcp.tools.caller import Caller, authenticated
from kros_mcp.tools.completions import Completer
from kros_mcp.tools.stream import current_stream

_MODERN = "2026-07-28"
_LONGEST_CLIENT_NAME = 60


@dataclass
class Runtime:
    """What the lifespan opened; every tool call receives that of its caller's organization.

    `others` has those beside the service's own, where it acts for several. `asking` holds the operations whose prompt
    is open, or about to be, on a legacy connection of this process, each with the call that shows it.
    """

    settings: Settings
    account: Account
    runner: Runner
    rates: RunRates
    completer: Completer
    asking: "dict[str, Call]" = field(default_factory=dict)
    is_stopping: bool = False
    others: "OtherOrganizations | None" = None
    screen: Screen | None = None
    """Where the person can be asked outside the client; None over HTTP, where the server's screen is nobody's."""

    @cached_property
    def questions(self) -> ScreenQuestions | None:
        """What is asked on the screen; None where there is none."""
        return None if self.screen is None else ScreenQuestions(self.account, self.runner, self.screen)

    def end_prompts(self) -> None:
        """Take every open prompt back and show none from now on, as a server does that stops."""
        self.is_stopping = True
        if self.others is not None:
            self.others.end_prompts()
        for call in list(self.asking.values()):
            call.take_prompt_back("stopping")


class OtherOrganizations(Protocol):
    """What is open of other organizations than the service's own."""

    @property
    def accounts(self) -> tuple[Account, ...]:
        """The accounts that are open."""

    def of(self, organization: str) -> Runtime:
        """Return what is open of one; raise RuntimeError if nothing is."""

    def held(self, caller: Caller) -> AbstractAsyncContextManager[Runtime]:
        """Keep a caller's open while the block lasts; raise KrosError if it cannot be opened."""

    def end_prompts(self) -> None:
        """Take every open prompt back."""


ToolContext = Context[Runtime, Any]


@dataclass
class Call:
    """The time and the prompt of one call; set by the server around every tool."""

    answer_within_seconds: float
    asked: str = ""
    """The operation whose prompt this call has shown."""
    about: str = ""
    """The operation that this call has taken to its conclusion; if that fails, its outcome is found under this id."""
    holds: str = ""
    """The operation whose prompt only this call may show as long as it lasts (legacy protocol)."""
    taken_back: Literal["", "left", "stopping"] = ""
    """Why no prompt of this call can be answered any more: its stream is gone, or the server stops."""
    waiting: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Around the whole call; cancelled only while a prompt is open."""
    _started: float = field(default_factory=anyio.current_time)

    def take_prompt_back(self, why: Literal["left", "stopping"]) -> None:
        """Stop waiting for a person; an answer that has come already stands, and an act goes on."""
        self.taken_back = why
        if self.asked and not self.about:
            self.waiting.cancel()

    def person_answered(self) -> None:
        """Count the time anew: a person's thinking is not the server's delay."""
        self._started = anyio.current_time()

    @property
    def seconds_left(self) -> float:
        """How long this call may still take; a little is kept for shaping the answer."""
        return max(0.05, self._started + self.answer_within_seconds * 0.95 - anyio.current_time())


current_call: ContextVar[Call] = ContextVar("current_call")


@contextmanager
def timed(answer_within_seconds: float) -> Iterator[Call]:
    """Set the time of what is handled inside."""
    call = Call(answer_within_seconds)
    token = current_call.set(call)
    try:
        yield call
    finally:
        current_call.reset(token)


def runtime(ctx: ToolContext) -> Runtime:
    """What is open of the caller's organization."""
    return calling_runtime(ctx.request_context.lifespan_context)


def calling_runtime(opened: Runtime) -> Runtime:
    """Choose, of what the lifespan opened, that of the organization of whoever sent the request being handled.

    Raises:
        RuntimeError: It is not open: the request is nobody's, rather than the service's own.
    """
    caller = authenticated()
    if caller is None or not caller.organization:
        return opened
    if opened.others is None:
        raise RuntimeError("an organization is named where there is one alone")
    return opened.others.of(caller.organization)


def held_open(opened: Runtime, caller: Caller | None) -> AbstractAsyncContextManager[Runtime]:
    """Keep a caller's organization open while the block lasts.

    Raises:
        KrosError: It cannot be opened now.
    """
    if caller is None or not caller.organization:
        return nullcontext(opened)
    if opened.others is None:
        raise RuntimeError("an organization is named where there is one alone")
    return opened.others.held(caller)


def principal(ctx: ToolContext) -> str:
    """Who is calling a tool."""
    return calling_principal(runtime(ctx))


def calling_principal(here: Runtime) -> str:
    """Who sent the request that is being handled: whoever the token names over HTTP, else the settings' principal."""
    caller = authenticated()
    return here.settings.principal if caller is None else caller.principal


async def find_own(here: Runtime, operation_id: str) -> Operation | None:
    """Read an operation of the caller's; None for anybody else's, as for one that does not exist.

    Raises:
        JournalError: The journal cannot be used.
    """
    operation = await here.account.journal.get(operation_id)
    if operation is None or (operation.account, operation.principal) != (here.account.id, calling_principal(here)):
        return None
    return operation


async def own_operation(ctx: ToolContext, operation_id: str) -> Operation:
    """Read an operation of the caller's; anybody else's looks like one that does not exist.

    Raises:
        OperationError: `OPERATION_NOT_FOUND`.
    """
    with of_earlier(operation_id):
        operation = await find_own(runtime(ctx), operation_id)
    if operation is None:
        raise missing(operation_id)
    return operation


async def journal_time(ctx: ToolContext) -> float | None:
    """Return the journal's time, to tell how long something waits; None rather than an error after an act."""
    with suppress(JournalError):
        return await runtime(ctx).account.journal.now()
    return None


async def batch_of(here: Runtime, operation: Operation) -> Batch | None:
    """Read what has become of the numbers of a batch; None for an operation on one number.

    Raises:
        OutcomeUnknownError: It was agreed to, and the journal cannot be read in the time that is left.
    """
    if not operation.action.is_several:
        return None
    with of_earlier(operation.id):
        with anyio.move_on_after(max(READ_SECONDS, current_call.get().seconds_left)):
            return await read_batch(here.account.journal, operation)
        if operation.state is State.DONE:
            raise OutcomeUnknownError(
                "The journal does not answer now, so what became of these numbers is not known.",
                operation_id=operation.id,
            )
    return Batch(operation, ())


def is_modern(ctx: ToolContext) -> bool:
    """Whether questions are returned and the call retried, instead of asked in between."""
    return ctx.protocol_version is not None and is_version_at_least(ctx.protocol_version, _MODERN)


def is_answering(ctx: ToolContext) -> bool:
    """Whether this call brings the answer to a question that was returned before."""
    return is_modern(ctx) and (ctx.input_responses is not None or ctx.request_state is not None)


def can_ask(ctx: ToolContext) -> bool:
    """Whether this client can show a person a form."""
    capabilities = ctx.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    form = elicitation is not None and (elicitation.form is not None or elicitation.url is None)
    if is_modern(ctx):
        return form
    stream = current_stream.get()
    return form and ctx.session.can_send_request and (stream is None or stream.shows_prompts)


def client_name(ctx: ToolContext) -> str:
    """Return what the client calls itself, which nobody has checked; empty if it does not say."""
    params = ctx.session.client_params
    return clean(params.client_info.title or params.client_info.name, _LONGEST_CLIENT_NAME) if params else ""


def ways_of(ctx: ToolContext) -> Ways:
    """Return by which ways a call could put a question to the person."""
    return Ways(can_ask(ctx), runtime(ctx).questions, client_name(ctx))


_STEPS = {
    Step.CLAIMED: "The yes is written down; KrosAI is asked once more before anything is sent.",
    Step.REREAD: "KrosAI still shows what was agreed to.",
    Step.SENDING: "Sent to KrosAI; waiting for its answer.",
    Step.DONE: "KrosAI has done it; the result is being read.",
}


def progress(ctx: ToolContext) -> Tell:
    """Make what tells each step to the client; one that did not ask for progress hears nothing."""

    async def tell(reached: Reached) -> None:
        so_far = (reached.number - 1) * len(Step) + reached.step
        which = f"{reached.number} of {reached.of}: " if reached.of > 1 else ""
        await ctx.report_progress(so_far, reached.of * len(Step), f"{which}{_STEPS[reached.step]}")

    return tell
