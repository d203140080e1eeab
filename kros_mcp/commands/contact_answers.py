"""One question to KrosAI and its answer, judged as the reading judges it, and told without any value of it."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import anyio

from kros_mcp.commands.contact_report import Fact
from kros_mcp.commands.masking import plain_word
from kros_mcp.errors import (
    ApiError,
    ConnectionLostError,
    InvalidArgumentError,
    KrosaiError,
    NotSentError,
    PathError,
    ProtocolError,
    RateLimitError,
    TooSlowError,
)
from kros_mcp.krosai import Kind, KrosClient, Reply, moment, read_code, require_readable, within

PACE_SECONDS = 0.15
"""How long lies between two questions at least: the smallest plan allows ten a second."""
LONGEST_WAIT_SECONDS = 5.0
"""How long a question that was answered "too many requests" waits to be asked once more."""
_LONGEST_ANSWER_SECONDS: Final = 20.0
_MEDIA: Final = {
    "application/json": "JSON",
    "application/problem+json": "JSON (problem)",
    "text/html": "a web page",
    "text/plain": "plain text",
}
_LIMITS: Final = ("limit", "remaining", "reset")
_UNIX_SECONDS: Final = 1_000_000_000
_SMALL: Final = re.compile(r"\d{1,7}(\.\d{1,3})?")


@dataclass(frozen=True)
class Enquiry:
    """One question and its answer.

    Args:
        what: What was asked, in our words.
        base_url: Where; for the direction of a redirect alone.
        milliseconds: How long it took until the answer, or until there was none.
        reply: The answer; None if there was none.
        error: What the reading makes of it; None if it can be read.
        ahead_seconds: How far KrosAI's clock is ahead of ours; None if it states none.
        waited: Whether KrosAI wanted fewer requests at first, and this is the answer to the second try.
        put: Whether it was asked at all.
    """

    what: str
    base_url: str = field(repr=False)
    milliseconds: int
    reply: Reply | None = field(default=None, repr=False)
    error: KrosaiError | None = None
    ahead_seconds: float | None = None
    waited: bool = False
    put: bool = True

    @property
    def body(self) -> object:
        """The JSON of an answer that can be read; None else."""
        return self.reply.body if self.reply is not None and self.error is None else None

    @property
    def status(self) -> int | None:
        """The HTTP status; None without an answer."""
        return self.reply.status if self.reply is not None else None

    @property
    def is_page(self) -> bool:
        """Whether a web page came, or a way to one; not the page of a server that has failed."""
        if self.reply is None or self.reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return False
        return self.is_redirect or _media(self.reply) == _MEDIA["text/html"]

    @property
    def is_redirect(self) -> bool:
        """Whether it points to another address."""
        return self.status is not None and 300 <= self.status < 400  # noqa: PLR2004 - the HTTP redirect range

    @property
    def is_unanswered(self) -> bool:
        """Whether KrosAI was not reached, or broke off."""
        return isinstance(self.error, NotSentError | TooSlowError | ConnectionLostError)

    def header(self, name: str) -> str | None:
        """Return a header; None without one."""
        return self.reply.headers.get(name) if self.reply is not None else None

    def fact(self) -> Fact:
        """Return the question and its answer for a report."""
        if not self.put:
            return Fact(self.what, "not asked")
        status: int | str = self.status if self.status is not None else _no_answer(self.error)
        notes = [*self._content(), *self._refusal()]
        if self.waited:
            notes.append("asked twice: KrosAI wanted fewer requests at first")
        return Fact(self.what, status, self.milliseconds, ", ".join(notes))

    def _content(self) -> list[str]:
        if self.reply is None:
            return []
        if self.is_redirect:
            return [f"a redirect {_direction(self.header('location') or '', self.base_url)}"]
        kind = _media(self.reply)
        if self.reply.form == "empty":
            return ["nothing"]
        is_json, is_called_so = self.reply.form == "json", kind.startswith("JSON")
        if is_json == is_called_so:
            return [kind]
        return [f"JSON, sent as {kind}" if is_json else "said to be JSON, and cannot be read"]

    def _refusal(self) -> list[str]:
        if self.reply is None or self.error is None or not isinstance(self.error, ApiError):
            return []
        code = plain_word(read_code(self.reply.body))
        wait = self.error.retry_after_seconds
        return [code or "no code", *([f"wait {wait:g} seconds"] if wait is not None else [])]


async def ask(
    client: KrosClient,
    base_url: str,
    what: str,
    kind: Kind,
    query: Mapping[str, str | int] | None = None,
    *,
    opaque_id: str = "",
) -> Enquiry:
    """Ask KrosAI one thing, once more after a wait if it asks for a short one; nothing that it answers raises.

    Args:
        client: Whose key is sent.
        base_url: Where; for the direction of a redirect alone.
        what: What is asked, in our words.
        kind: What is asked, for the count of requests; it decides the path.
        query: The query parameters.
        opaque_id: Of a single record.
    """
    sent = {name: str(value) for name, value in (query or {}).items()}
    first = await _ask_once(client, base_url, what, kind, sent, opaque_id)
    error = first.error
    wait = error.retry_after_seconds if isinstance(error, RateLimitError) else None
    if wait is None or wait > LONGEST_WAIT_SECONDS:
        return first
    await anyio.sleep(wait)
    return await _ask_once(client, base_url, what, kind, sent, opaque_id, waited=True)


async def _ask_once(
    client: KrosClient,
    base_url: str,
    what: str,
    kind: Kind,
    query: Mapping[str, str],
    opaque_id: str,
    *,
    waited: bool = False,
) -> Enquiry:
    await anyio.sleep(PACE_SECONDS)
    path = "/endpoints" if kind is Kind.ENDPOINTS else "/phone-numbers"
    began, began_at = time.monotonic(), time.time()
    reply: Reply | None = None
    error: KrosaiError | None = None
    try:
        with within(_LONGEST_ANSWER_SECONDS):
            reply = await client.ask(path, kind, query, opaque_id=opaque_id)
        require_readable(reply)
    except KrosaiError as exc:
        error = exc
    except InvalidArgumentError:  # an id that would name another path
        error = ProtocolError("KrosAI gave an id that cannot be asked for.")
    taken = time.monotonic() - began
    date = moment(reply.headers.get("date")) if reply is not None else None
    return Enquiry(
        what=what,
        base_url=base_url,
        milliseconds=round(taken * 1000),
        reply=reply,
        error=error,
        ahead_seconds=None if date is None else date - (began_at + taken / 2),
        waited=waited,
    )


def limits(asked: Enquiry) -> dict[str, str]:
    """Return which X-RateLimit headers an answer has, and what they hold if it is a small number."""
    found = {}
    for name in _LIMITS:
        stated = asked.header(f"x-ratelimit-{name}")
        if stated is None:
            continue
        if not _SMALL.fullmatch(stated):
            is_moment = stated.isascii() and stated.isdigit() and len(stated) < 12  # noqa: PLR2004 - see the next line
            found[name] = "Unix seconds" if is_moment and int(stated) > _UNIX_SECONDS else "of an unknown form"
        else:
            found[name] = stated
    return found


def _direction(location: str, base_url: str) -> str:
    try:
        target = urlsplit(location)
    except ValueError:
        return "to what is no address"
    return "on the same host" if target.hostname in {None, urlsplit(base_url).hostname} else "to another host"


def _media(reply: Reply) -> str:
    stated = (reply.headers.get("content-type") or "").partition(";")[0].strip().lower()
    return _MEDIA.get(stated, "content of another type" if stated else "content of no stated type")


def _no_answer(error: KrosaiError | None) -> str:
    if isinstance(error, TooSlowError):
        return "none in time"
    if isinstance(error, PathError):
        return "blocked"
    if isinstance(error, ProtocolError):
        return "not readable"
    return "not reached" if isinstance(error, NotSentError) else "broke off"
