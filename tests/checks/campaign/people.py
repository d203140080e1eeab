"""The people of the campaign: they read what is shown, choose, and write down each yes before it is delivered."""

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp.client import ClientRequestContext
from mcp.types import ElicitRequestParams, ElicitResult, ErrorData

from .books import Confirmation
from .events import Events

YES, NO, DECLINE, CANCEL, MALFORMED, BROKEN, SILENT, SLIP = (
    "yes",
    "no",
    "decline",
    "cancel",
    "malformed",
    "broken",
    "silent",
    "slip",
)
CHOICES = {YES: 80, NO: 4, DECLINE: 4, CANCEL: 3, MALFORMED: 3, BROKEN: 2, SILENT: 3, SLIP: 1}
"""What people choose, out of a hundred times. `silent` never answers; `slip` types wrong digits for a release."""

SILENCE_SECONDS = 30.0
READING_SECONDS = 2.1
"""Before turning a prompt down; sooner, the server takes it that nobody has read it."""
BROKEN_FORM = "the form could not be drawn"
_ACTIONS = {
    "Buy": ("buy", "buy", "do not buy"),
    "Release": ("release", "release", "keep"),
    "Change the protected number": ("configure", "change", "do not change"),
}
_HEADLINE = re.compile(rf"({'|'.join(_ACTIONS)}) .*\((\+\d+)(?:, [A-Z]{{2}})?\)\?")
_NOW = re.compile(r"^Now, first month included: ([\d,]+)\.(\d\d) in the account currency\.$", re.MULTILINE)
_OPERATION = re.compile(r"^Operation (op_\w+), to be answered by ", re.MULTILINE)


@dataclass
class Book:
    """The campaign's own book of confirmations."""

    events: Events
    confirmations: list[Confirmation] = field(default_factory=list)
    on_yes: Callable[[str, str], None] = lambda _operation_id, _by: None
    """Called with the operation and the client, just before the yes is delivered."""

    def confirm(self, operation_id: str, action: str, e164: str, cents: int | None, *, how: str, by: str) -> None:
        """Write a yes down; only then may it be delivered."""
        self.confirmations.append(Confirmation(operation_id, action, e164, cents, how, by, time.time()))
        self.events.note("yes", operation_id=operation_id, action=action, e164=e164, cents=cents, how=how, by=by)
        self.on_yes(operation_id, by)


@dataclass(frozen=True)
class Prompt:
    """What a prompt says, read as a person reads it."""

    operation_id: str
    action: str
    e164: str
    cents: int | None
    yes: str
    no: str


def read_prompt(message: str) -> Prompt:
    """Read a prompt.

    Raises:
        ValueError: It does not tell number and operation where a person looks for them.
    """
    headline, operation = _HEADLINE.match(message), _OPERATION.search(message)
    if headline is None or operation is None:
        raise ValueError(message)
    action, yes, no = _ACTIONS[headline[1]]
    now = _NOW.search(message)
    cents = int(now[1].replace(",", "")) * 100 + int(now[2]) if now else None
    return Prompt(operation[1], action, headline[2], cents if action == "buy" else None, yes, no)


class Person:
    """Sits before one client."""

    def __init__(self, name: str, chance: random.Random, book: Book, events: Events) -> None:
        self.name = name
        self._chance, self._book, self._events = chance, book, events

    def choose(self) -> str:
        return self._chance.choices(list(CHOICES), weights=list(CHOICES.values()))[0]

    async def think(self) -> None:
        await anyio.sleep(self._chance.choice((0.0, 0.0, 0.05, 0.3, 1.0)))

    async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult | ErrorData:  # noqa: ARG002 - by name
        """Answer a prompt of the client's."""
        try:
            prompt = read_prompt(params.message)
        except ValueError:
            self._events.trouble("A prompt does not say what it is about.", message=params.message)
            return ErrorData(code=-32603, message=BROKEN_FORM)
        choice = self.choose()
        self._events.note("prompt", operation_id=prompt.operation_id, choice=choice, by=self.name)
        await self.think()
        if choice in {DECLINE, CANCEL}:
            await anyio.sleep(READING_SECONDS)
        if choice == SILENT:
            await anyio.sleep(SILENCE_SECONDS)
        if choice == YES:
            self._book.confirm(
                prompt.operation_id, prompt.action, prompt.e164, prompt.cents, how="prompt", by=self.name
            )
        return _reply(prompt, choice)


def _reply(prompt: Prompt, choice: str) -> ElicitResult | ErrorData:
    if choice in {SILENT, BROKEN}:
        return ErrorData(code=-32603, message=BROKEN_FORM)
    if choice == MALFORMED:
        return ElicitResult(action="accept", content={"decision": "perhaps"})
    if choice == YES:
        return _accepted(prompt, prompt.yes)
    if choice == SLIP and prompt.action == "release":
        return _accepted(prompt, prompt.yes, digits="0x0")
    if choice in {NO, SLIP}:
        return _accepted(prompt, prompt.no)
    return ElicitResult(action="decline" if choice == DECLINE else "cancel")


def _accepted(prompt: Prompt, decision: str, *, digits: str = "") -> ElicitResult:
    content: dict[str, Any] = {"decision": decision}
    if prompt.action == "release":
        content["last_four_digits"] = digits or prompt.e164[-4:]
    return ElicitResult(action="accept", content=content)
