"""The people of the campaign: they read what is shown, choose, and write down each yes before it is delivered."""

import math
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
CLOSED, IGNORED, TWICE = "closed", "ignored", "opened twice"
PAGE_CHOICES = {YES: 80, NO: 7, CLOSED: 4, SILENT: 3, SLIP: 3, TWICE: 3}
"""The same for a page that was opened; whether it is opened at all is chosen before."""
OPENED_PERCENT = 95

READING_SECONDS = 2.1
"""Before turning a prompt down; sooner, the server takes it that nobody has read it."""
BROKEN_FORM = "the form could not be drawn"
_ACTIONS = {
    "Buy": ("buy", "buy", "do not buy"),
    "Release": ("release", "release", "keep"),
    "Change the protected number": ("configure", "change", "do not change"),
    "Change": ("configure", "change", "do not change"),
}
_NUMBER = r"\((\+\d+)(?:, [^)]+)?\)"
_HEADLINE = re.compile(rf"({'|'.join(_ACTIONS)}) .*{_NUMBER}\?")
_HEADLINE_OF_SEVERAL = re.compile(r"(Buy|Release|Change) (\d+) numbers\?")
_ROW = re.compile(rf"^\d+\. .*{_NUMBER}: ", re.MULTILINE)
_TYPED = re.compile(r"type the last four digits of (\+\d[\d ]*\d)")
_NOW = re.compile(
    r"^(?:.* now|Now), first month included: ([\d,]+)\.(\d\d) (?:in the account currency|[A-Z]{3})\.$", re.MULTILINE
)
_OPERATION = re.compile(r"^Operation (op_\w+), to be answered by ", re.MULTILINE)
_ON_PAGE = re.compile(rf"({'|'.join(_ACTIONS)}) \+[\d ]+\?.* Number (\+\d+).* Operation (op_\w+)")
_SEVERAL_ON_PAGE = re.compile(r"(Buy|Release|Change) (\d+) numbers ?\?(.*) Operation (op_\w+)")
_SPOKEN = re.compile(r"\+\d[\d ]*\d")
_NOW_ON_PAGE = re.compile(r"Now, first month included ([\d,]+)\.(\d\d) ")


@dataclass
class Book:
    """The campaign's own book of confirmations."""

    events: Events
    confirmations: list[Confirmation] = field(default_factory=list)
    pages: dict[str, float] = field(default_factory=dict)
    """When the page of an operation was read first."""
    on_yes: Callable[[Confirmation], None] = lambda _yes: None
    """Called just before the yes is delivered."""

    def confirm(self, operation_id: str, action: str, e164: str, cents: int | None, *, how: str, by: str) -> None:
        """Write a yes down; only then may it be delivered."""
        yes = Confirmation(operation_id, action, e164, cents, how, by, time.time())
        self.confirmations.append(yes)
        self.events.note("yes", operation_id=operation_id, action=action, e164=e164, cents=cents, how=how, by=by)
        self.on_yes(yes)


@dataclass(frozen=True)
class Prompt:
    """What a prompt says, read as a person reads it; `e164` names every number that it is about."""

    operation_id: str
    action: str
    e164: str
    cents: int | None
    yes: str
    no: str
    typed: str = ""
    """The digits that a release asks for."""

    @property
    def releases(self) -> bool:
        return self.action.startswith("release")

    @property
    def count(self) -> int:
        """How many numbers it is about."""
        return len(self.e164.split(","))


def read_prompt(message: str) -> Prompt:
    """Read a prompt.

    Raises:
        ValueError: It does not tell numbers and operation where a person looks for them.
    """
    headline, several = _HEADLINE.match(message), _HEADLINE_OF_SEVERAL.match(message)
    operation, e164s = _OPERATION.search(message), _ROW.findall(message)
    if several is not None and len(e164s) == int(several[2]):
        (action, yes, no), e164 = _ACTIONS[several[1]], ",".join(sorted(e164s))
        action = f"{action}_several"
        named = _TYPED.search(message)
        digits = _bare(named[1])[-4:] if named is not None else ""
    elif headline is not None:
        (action, yes, no), e164 = _ACTIONS[headline[1]], headline[2]
        digits = e164[-4:]
    else:
        raise ValueError(message)
    if operation is None:
        raise ValueError(message)
    return Prompt(operation[1], action, e164, _cents(_NOW.search(message), action), yes, no, digits)


def read_page(text: str) -> Prompt:
    """Read a page that asks, without its markup.

    Raises:
        ValueError: It does not tell numbers and operation where a person looks for them.
    """
    several = _SEVERAL_ON_PAGE.search(text)
    if several is not None:
        e164s = sorted({_bare(each) for each in _SPOKEN.findall(several[3])})
        if len(e164s) != int(several[2]):
            raise ValueError(text)
        action, e164, operation_id = f"{_ACTIONS[several[1]][0]}_several", ",".join(e164s), several[4]
        named = _TYPED.search(text)
        digits = _bare(named[1])[-4:] if named is not None else ""
    elif (found := _ON_PAGE.search(text)) is not None:
        action, e164, operation_id = _ACTIONS[found[1]][0], found[2], found[3]
        digits = e164[-4:]
    else:
        raise ValueError(text)
    return Prompt(operation_id, action, e164, _cents(_NOW_ON_PAGE.search(text), action), YES, NO, digits)


def _bare(spoken: str) -> str:
    return spoken.replace(" ", "")


def _cents(amount: re.Match[str] | None, action: str) -> int | None:
    if amount is None or not action.startswith("buy"):
        return None
    return int(amount[1].replace(",", "")) * 100 + int(amount[2])


class Person:
    """Sits before one client."""

    def __init__(self, name: str, chance: random.Random, book: Book, events: Events) -> None:
        self.name = name
        self._chance, self._book, self._events = chance, book, events

    def choose(self) -> str:
        return self._chance.choices(list(CHOICES), weights=list(CHOICES.values()))[0]

    async def think(self) -> None:
        await anyio.sleep(self._chance.choice((0.0, 0.0, 0.05, 0.3, 1.0)))

    def choose_to_open(self) -> str:
        """Choose whether the browser that a server starts opens its page."""
        return YES if self._chance.randrange(100) < OPENED_PERCENT else IGNORED

    def choose_absence(self) -> int:
        """Choose for how often a page that is left open refreshes itself."""
        return self._chance.randrange(1, 10)

    def begin_to_read(self, question: Prompt) -> str:
        """Choose what to do about a page that lies open now."""
        choice = self._chance.choices(list(PAGE_CHOICES), weights=list(PAGE_CHOICES.values()))[0]
        anew = question.operation_id in self._book.pages
        self._book.pages.setdefault(question.operation_id, time.time())
        self._events.note(
            "page anew" if anew else "page", operation_id=question.operation_id, choice=choice, by=self.name
        )
        return choice

    def decide_on_page(self, question: Prompt, choice: str) -> str:
        """Return which button is pressed; a yes is written down first."""
        if choice == YES:
            self._book.confirm(
                question.operation_id, question.action, question.e164, question.cents, how="screen", by=self.name
            )
        return YES if choice == YES or (choice == SLIP and question.releases) else NO

    def has_read(self, operation_id: str, before: float) -> bool:
        """Whether somebody had read the page about an operation by then, so that it is asked nowhere else."""
        return self._book.pages.get(operation_id, math.inf) < before

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
    if choice == SLIP and prompt.releases:
        return _accepted(prompt, prompt.yes, digits="0x0")
    if choice in {NO, SLIP}:
        return _accepted(prompt, prompt.no)
    return ElicitResult(action="decline" if choice == DECLINE else "cancel")


def typed(question: Prompt, choice: str) -> str:
    """Return the digits that a person types."""
    return "0x0" if choice == SLIP else question.typed


def _accepted(prompt: Prompt, decision: str, *, digits: str = "") -> ElicitResult:
    content: dict[str, Any] = {"decision": decision}
    if prompt.releases:
        content["last_four_digits"] = digits or prompt.typed
        if prompt.count > 1:
            content["how_many"] = str(prompt.count)
    return ElicitResult(action="accept", content=content)
