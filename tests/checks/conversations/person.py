"""The person of a scenario: what they answer in the chat, and which button they press on the page that asks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape

GOODBYE = "Thanks, that is all."
NOT_THIS = "I said no on the page, since that is not what I asked for."
_SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]?")
_FOR_A_YES = re.compile(
    r"\b(shall|should|would you|do you want|want me|(may|can) i|proceed|go ahead|confirm|agree|ok(ay)?)\b"
)
_MORE = re.compile(r"\b(else|further|other questions)\b")


@dataclass(frozen=True)
class Reply:
    """One thing that the person may say.

    Args:
        words: What they say.
        to: What the agent must have said, as a regular expression; empty for anything.
        asked: Only if the agent asks for a yes or a no.
        often: As often as it fits.
    """

    words: str
    to: str = ""
    asked: bool = False
    often: bool = False

    def fits(self, heard: str) -> bool:
        """Whether it answers what was heard."""
        return (not self.asked or asks(heard)) and re.search(self.to, heard, re.IGNORECASE) is not None


def asks(heard: str) -> bool:
    """Whether somebody asks for a yes or a no, and not whether anything else is wanted."""
    questions = [each.lower() for each in _SENTENCE.findall(heard) if each.endswith("?")]
    return any(_FOR_A_YES.search(each) and not _MORE.search(each) for each in questions)


class Person:
    """Answers with the first reply that fits and was not said yet; says goodbye when none does.

    Args:
        replies: In their order.
        agrees: What the page must say for a yes, as a regular expression; empty for always no.
    """

    def __init__(self, replies: Sequence[Reply], agrees: str) -> None:
        self._left = list(replies)
        self._agrees = agrees
        self.has_gone = False
        self._has_refused = False

    def hear(self, words: str) -> str:
        """Hear what the agent says, and answer; after a no on the page first say why."""
        if self._has_refused:
            self._has_refused = False
            return NOT_THIS
        reply = next((each for each in self._left if each.fits(words)), None)
        if reply is None:
            self.has_gone = True
            return GOODBYE
        if not reply.often:
            self._left.remove(reply)
        return reply.words

    def decide(self, shown: str) -> str:
        """Read a page, and say which button is pressed: `yes` or `no`."""
        if self._agrees and re.search(self._agrees, shown, re.IGNORECASE):
            return "yes"
        self._has_refused = True
        return "no"


def text_of(page: str) -> str:
    """Return what a page shows, on one line."""
    body = re.sub(r"(?s)<(style|script)\b.*?</\1>|<!--.*?-->", " ", page)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())
