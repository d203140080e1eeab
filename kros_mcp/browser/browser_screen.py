"""The screen of the stdio server: opens a question in the person's browser, and knows whether it was fetched.

What is heavy (the page, its server, its templates) is loaded when the first question is shown.
"""

import logging
import math
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from kros_mcp.browser.question import Question, Questions
from kros_mcp.errors import KrosError
from kros_mcp.operations.account import Account
from kros_mcp.operations.model import OPEN, Operation
from kros_mcp.operations.run_rate import RunRates
from kros_mcp.operations.runner import Runner
from kros_mcp.operations.task_group import open_task_group

if TYPE_CHECKING:
    import subprocess

    from kros_mcp.pages.operation_view import OperationViews

logger = logging.getLogger(__name__)

FETCH_SECONDS = 5.0
"""How long a browser may take to fetch a question."""
TOLD_SECONDS = 2.5
"""How long an open tab has to fetch the next question, before a browser is started for it."""
AGAIN_SECONDS = 60.0
"""How long a question is not opened anew, however often it is asked for."""
LEFT_SECONDS = 10.0
"""How long an end waits to be seen by a tab that says nothing more."""
LINGER_SECONDS = 10.0
"""How long the last page can be loaded again."""
WATCH_SECONDS = 1.0


class BrowserScreen:
    """Shows questions in the browser, one tab for all that wait; see `operations/screen.py`.

    Args:
        account: The account's resources.
        runner: Carries acts out.
        tasks: Where the page is served, while there is one.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, account: Account, runner: Runner, tasks: TaskGroup, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._account = account
        self._runner = runner
        self._tasks = tasks
        self._clock = clock
        self._rates = RunRates(account)
        self._questions = Questions()
        self._serving: _Serving | None = None
        self._launched: list[subprocess.Popen[bytes]] = []
        self._is_launching = False
        """Whether a browser was started, and has fetched nothing yet: a second window would be one too many."""
        self._closing = anyio.Event()

    def is_there(self) -> bool:
        """Whether there is a display, or whatever else a browser could open on."""
        from kros_mcp.browser.launch import may_open  # noqa: PLC0415 - with the first question

        return may_open(os.environ, sys.platform)

    async def show(self, operation: Operation, *, client: str = "") -> bool:
        """Put a question on the screen, unless it is there; whether a browser has fetched it, five seconds at most."""
        question = None if self._closing.is_set() else self._questions.ask(operation, client)
        if question is None:
            return False
        async with question.opening:
            return await self._put(question) and not self._closing.is_set()

    def withdraw(self, operation_id: str) -> None:
        """Open this question no more, and serve it to no late browser; a page that shows it says how it stands."""
        question = self._questions.of(operation_id)
        if question is not None and not question.is_answered:
            question.gone = question.gone or "withdrawn"

    def close(self) -> None:
        """Serve nothing more, and open nothing; what waited for an answer is ended by whoever put it here."""
        self._closing.set()
        for question in self._questions:
            question.shown.set()  # nobody need wait for it any more
        for process in self._launched:
            _forget(process)
        self._launched.clear()

    async def _put(self, question: Question) -> bool:
        give_up_at = anyio.current_time() + FETCH_SECONDS
        now = self._clock()
        if question.shown.is_set():
            if question.is_alive(now) or now - question.opened_at < AGAIN_SECONDS:
                return True
        elif any(other.is_alive(now) for other in self._questions) and await _is_shown_by(
            question, min(give_up_at, anyio.current_time() + TOLD_SECONDS)
        ):  # an open tab tells of it, and goes on to it
            return True
        if self._is_launching and not question.shown.is_set():  # the tab that is on its way tells of it, too
            return await _is_shown_by(question, give_up_at)
        if self._clock() - question.opened_at < AGAIN_SECONDS:
            return question.shown.is_set()
        self._is_launching = True
        try:
            return await self._open(question) and await _is_shown_by(question, give_up_at)
        finally:
            self._is_launching = False

    async def _open(self, question: Question) -> bool:
        """Start a browser for a question; false where there is none, or nothing can be served."""
        from kros_mcp.browser.launch import launch  # noqa: PLC0415 - with the first question

        if not self.is_there():
            return False
        question.opened_at = self._clock()
        served = await self._served()
        if served is None:
            return False
        address = served.address_of(question.path_to_launch())
        process = await anyio.to_thread.run_sync(launch, address)
        if process is None:
            return False
        self._launched.append(process)
        return True

    async def _served(self) -> "_Serving | None":
        """Return the page's server, which is started if need be; None if it cannot be."""
        serving = self._serving
        if serving is None:
            serving = self._serving = _Serving()
            self._tasks.start_soon(self._serve, serving)
        await serving.ready.wait()
        return serving if serving.port else None

    async def _serve(self, serving: "_Serving") -> None:
        """Serve the page until nothing waits, or waits to be seen."""
        from kros_mcp.browser.loopback import open_loopback  # noqa: PLC0415 - with the first question
        from kros_mcp.browser.question_app import QuestionApp  # noqa: PLC0415 - the same
        from kros_mcp.pages.operation_view import OperationViews  # noqa: PLC0415 - the same

        views = OperationViews(self._account, self._rates)
        app = QuestionApp(self._account, self._runner, views, self._questions, self._clock)
        try:
            async with open_loopback(app) as port:
                serving.port = app.port = port
                serving.ready.set()
                self._tasks.start_soon(self._read_rate, views)
                while not self._closing.is_set():
                    await self._drop_what_is_over()
                    self._launched = [one for one in self._launched if one.poll() is None]  # which ends a zombie
                    if not self._questions:
                        break
                    with anyio.move_on_after(WATCH_SECONDS):
                        await self._closing.wait()
                self._serving = None  # before anything else can run: the next question starts another
        except Exception:  # whatever it is, acts under way must not end with it
            logger.exception("the page that asks could not be served")
        finally:
            if self._serving is serving:
                self._serving = None
            serving.ready.set()

    async def _read_rate(self, views: "OperationViews") -> None:
        """Read what all numbers cost a month, for the page that is fetched next."""
        with suppress(KrosError):
            await views.rate()

    async def _drop_what_is_over(self) -> None:
        for question in self._questions:
            if not await self._is_needed(question):
                self._questions.drop(question)

    async def _is_needed(self, question: Question) -> bool:
        now = self._clock()
        if question.last_page_at < math.inf:
            return now - question.last_page_at < LINGER_SECONDS
        if question.operation.state not in OPEN or question.gone:
            question.over_at = min(question.over_at, now)
        elif question.is_alive(now):  # its tab reads the journal
            return True
        else:
            with suppress(KrosError):
                question.operation = await self._account.journal.get(question.operation.id) or question.operation
            if question.waits:
                return True
        last = max(question.seen_at, question.told_at, min(question.over_at, now))
        # A browser that comes late is told that nobody waits for it any more.
        return now - last < LEFT_SECONDS or (not question.shown.is_set() and now - question.opened_at < AGAIN_SECONDS)


async def _is_shown_by(question: Question, give_up_at: float) -> bool:
    """Wait until a browser has fetched a question, at most until a time of the event loop's clock."""
    with anyio.move_on_after(give_up_at - anyio.current_time()):
        await question.shown.wait()
    return question.shown.is_set()


class _Serving:
    """A server of the page, from its start to its end; the port is 0 before it listens, and where it cannot."""

    def __init__(self) -> None:
        self.port = 0
        self.ready = anyio.Event()

    def address_of(self, path: str) -> str:
        """Return the address that opens a question."""
        from kros_mcp.browser.loopback import HOST  # noqa: PLC0415 - it is loaded by now
        from kros_mcp.browser.visitor import OPENING  # noqa: PLC0415 - the same

        return f"http://{HOST}:{self.port}{OPENING}{path}"


def _forget(process: "subprocess.Popen[bytes]") -> None:
    from kros_mcp.browser.launch import forget  # noqa: PLC0415 - it is loaded by now

    forget(process)


@asynccontextmanager
async def open_browser_screen(
    account: Account, runner: Runner, *, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[BrowserScreen]:
    """Open the screen; nothing is listened at before the first question, nor after the block.

    Args:
        account: The account's resources.
        runner: Carries acts out.
        clock: Seconds that only go forward.
    """
    async with open_task_group() as tasks:
        screen = BrowserScreen(account, runner, tasks, clock)
        try:
            yield screen
        finally:
            screen.close()
            tasks.cancel_scope.cancel()
