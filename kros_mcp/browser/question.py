"""A question of the page: who may open it, whether its tab is alive, and what has become of it."""

import hmac
import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import anyio

from kros_mcp.operations.model import Operation, State

DEAD_SECONDS = 1.0
"""How long a yes does nothing after its page was served: nobody reads a question in less."""
REFRESH_SECONDS = 2
"""How often a tab asks how things stand."""
ALIVE_SECONDS = 3.0 * REFRESH_SECONDS
ASKING = "/question/"
"""What the address of each question begins with."""


@dataclass
class Question:
    """One operation on the page.

    Whoever opens one of its paths first receives a cookie for its address, and every form on it holds a token. The next
    path that is opened makes both anew, so that one tab alone can answer. The address lets nobody in; it is random,
    since browsers send a cookie to every port of a machine, but only to the path that it is for.
    """

    operation: Operation
    client: str = ""
    """What the program that asks calls itself; unchecked."""
    gone: Literal["", "withdrawn", "twice"] = ""
    """Why it is not asked here any more, beside what became of its operation."""
    is_answered: bool = False
    trouble: str = ""
    """Why a yes could not be carried out, though it can be said again."""
    tries: int = 1
    cookie: str = ""
    form_token: str = ""
    opened_at: float = -math.inf
    """When a browser was started for it last; on the clock of the screen, as the times below."""
    served_at: float = -math.inf
    seen_at: float = -math.inf
    """When its tab was heard of last."""
    told_at: float = -math.inf
    """When another question's tab named it last as waiting there."""
    over_at: float = math.inf
    last_page_at: float = math.inf
    """When the page that asks for nothing more was served."""
    shown: anyio.Event = field(default_factory=anyio.Event)
    """Set once a browser has fetched it; made anew when it is opened again."""
    opening: anyio.Lock = field(default_factory=anyio.Lock)
    answering: anyio.Lock = field(default_factory=anyio.Lock)
    address: str = field(default_factory=lambda: f"{ASKING}{secrets.token_urlsafe(16)}")
    """Where it stands once it is opened."""
    _paths: dict[str, bool] = field(default_factory=dict)
    """The one-use paths, each with whether it was used."""
    _next_path: str = ""

    @property
    def waits(self) -> bool:
        """Whether a person is still to answer it."""
        return self.operation.state is State.PROPOSED and not self.gone and not self.is_answered

    def is_alive(self, now: float) -> bool:
        """Whether a tab shows it now, or names it as the next one."""
        return now - max(self.seen_at, self.told_at) < ALIVE_SECONDS

    def path_to_launch(self) -> str:
        """Make a path for a browser that is started now; one that was never opened is worth nothing any more."""
        self._paths = {path: True for path, used in self._paths.items() if used}
        self._next_path = ""
        self.shown = anyio.Event()
        return self._new_path()

    def path_to_follow(self) -> str:
        """Return the path by which an open tab goes on to this question; the same until it is used."""
        if self._paths.get(self._next_path, True):
            self._next_path = self._new_path()
        return self._next_path

    def has_path(self, path: str) -> bool:
        """Whether a path is or was one of its own."""
        return path in self._paths

    def open(self, path: str) -> bool:
        """Use a path: make the cookie and the form's token anew; false if it had been used before."""
        if self._paths[path]:
            return False
        self._paths[path] = True
        self.cookie, self.form_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        return True

    def is_open_to(self, cookies: list[str]) -> bool:
        """Whether one of these cookies is that of the tab that opened it last."""
        return bool(self.cookie) and any(hmac.compare_digest(one.encode(), self.cookie.encode()) for one in cookies)

    def _new_path(self) -> str:
        path = secrets.token_urlsafe(32)
        self._paths[path] = False
        return path


class Questions:
    """The questions of this process that wait, or whose end waits to be seen."""

    def __init__(self) -> None:
        self._by_operation: dict[str, Question] = {}

    def __iter__(self) -> Iterator[Question]:
        return iter(list(self._by_operation.values()))

    def __bool__(self) -> bool:
        return bool(self._by_operation)

    def of(self, operation_id: str) -> Question | None:
        """Return the question about an operation."""
        return self._by_operation.get(operation_id)

    def ask(self, operation: Operation, client: str) -> Question | None:
        """Return the question about an operation, a new one if need be.

        None where somebody else may have seen its path. However many wait, each is shown: one that was turned away
        would be asked in the chat, and a model could bring that about by asking for many.
        """
        question = self._by_operation.get(operation.id)
        if question is None:
            question = self._by_operation[operation.id] = Question(operation)
        if question.gone == "twice":
            return None
        question.operation, question.client, question.gone = operation, client, ""
        return question

    def drop(self, question: Question) -> None:
        """Forget a question and all that opens it."""
        self._by_operation.pop(question.operation.id, None)

    def at(self, address: str) -> Question | None:
        """Return the question at an address."""
        return next((question for question in self if question.address == address), None)

    def with_path(self, path: str) -> Question | None:
        """Return the question that a path opens, or did once."""
        return next((question for question in self if question.has_path(path)), None)

    def waiting_beside(self, question: Question) -> list[Question]:
        """Return the other questions that wait, the oldest first."""
        return [other for other in self if other is not question and other.waits]
