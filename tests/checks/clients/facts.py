"""What a client's model was shown, as facts: read from the text, from the data, or from both and compared.

A result tells everything twice (`kros_mcp/tools/results.py`), and most clients pass on one of the two. So a fact
counts as shown where each form that the client passes on tells it, and tells the same.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_NESTED = re.compile(r"\w+ [^;]*(; \w+ [^;]*)+")
_ROW = re.compile(r"(\d+)\. (.+)")
_OFFER = re.compile(r"(\+\d+); ([!-~]+)(?:; (.*))?")
_NOW = re.compile(r"(?:.*; )?([\d,]+)\.(\d\d) now")
_ENDPOINT = re.compile(r'(\d+)\. "([^"]*)": .*, id ([!-~]+)')
_ROUTING = re.compile(r"(before|after): endpoint_id ([!-~]+)(?: .*)?")
_OUTCOME = re.compile(r"status: (\w+); changed: (\w+); charged: (\w+)")
_GOES_TO = re.compile(r"Endpoint: .*id ([!-~]+)\.")
_FLAGS = re.compile(r"\+\d+, id .*\binbound (on|off) outbound (on|off)\.")


class StepError(Exception):
    """A step went otherwise than it must."""


@dataclass(frozen=True)
class Shown:
    """An answer of a bridge to a call."""

    forms: dict[str, dict[str, str]]
    """Facts by dotted name, such as `quote.e164` or `numbers.1.spoken`, in each form that was passed on; unquoted."""
    words: str
    error: bool | None
    asked: str | None
    seconds: float

    def __getitem__(self, name: str) -> str:
        """Give a fact as the text writes it: `yes`, `no`, `null`, `none`, and numbers in digits.

        Raises:
            StepError: One of the forms does not tell it, or they differ.
        """
        for form, facts in self.forms.items():
            if name not in facts:
                raise StepError(f"{name} is not told in the {form}: {self.words[:200]!r}")
        told = {facts[name] for facts in self.forms.values()}
        if len(told) > 1:
            raise StepError(f"{name} is told differently in text and data: {sorted(told)}")
        return told.pop()

    def get(self, name: str) -> str:
        """Give a fact, or nothing where it is not told."""
        return next((facts[name] for facts in self.forms.values() if name in facts), "")

    def rows(self, name: str) -> Iterator[int]:
        """Count the rows of a list, from 1."""
        row = 1
        while any(self.get(f"{name}.{row}.{field}") for field in ("e164", "spoken", "name")):
            yield row
            row += 1


def read(answer: dict[str, Any], sees: str) -> Shown:
    """Read an answer of a bridge.

    Args:
        answer: To `call`, as `bridges/bridging.py` has it.
        sees: `text`, `structured` or `both`: what the client is known to pass on.

    Raises:
        StepError: The client passed on less.
    """
    text, data = answer["text"], answer["structured"]
    forms = {}
    if text is not None:
        forms["text"] = facts_of_text(text)
    if data is not None:
        forms["data"] = dict(leaves(data))
    wanted = {"text": ["text"], "structured": ["data"], "both": ["text", "data"]}[sees]
    failed = bool(answer["error"])  # frameworks tell failures in one form, whichever they prefer
    if missing := [form for form in wanted if form not in forms and not (failed and forms)]:
        raise StepError(f"no {missing[0]} was passed on to the model")
    words = text if text is not None else json.dumps(data)
    return Shown(forms, words, answer["error"], answer["asked"], answer["seconds"])


def facts_of_text(text: str) -> dict[str, str]:
    """Read a result's text back; some clients wrap it in JSON, or show data as text."""
    if text.startswith("{"):
        wrapped = json.loads(text)
        return facts_of_text(wrapped["text"]) if "text" in wrapped else dict(leaves(wrapped))
    first, *lines = text.split("\n")
    facts, above = {"summary": first}, ""
    for line in lines:
        if said := _said(line):
            facts |= said
            continue
        if row := _ROW.fullmatch(line):
            facts.pop(above, None)  # the list's own line, which says nothing itself
            if offer := _OFFER.fullmatch(row[2]):
                facts |= _offer(f"numbers.{row[1]}", offer, (above, facts.get("all", ""), facts.get("it", "")))
                continue
            facts |= _nested(f"{above}.{row[1]}", row[2])
            continue
        above, _, value = line.partition(":")
        facts |= _nested(above, value.strip()) if _NESTED.fullmatch(value.strip()) else {above: value.strip()}
    return facts


def _said(line: str) -> dict[str, str]:
    """Read a line that says several things of an endpoint or of an owned number; nothing of any other line."""
    if row := _ENDPOINT.fullmatch(line):
        return {f"endpoints.{row[1]}.name": row[2], f"endpoints.{row[1]}.endpoint_id": row[3]}
    if routing := _ROUTING.fullmatch(line):
        return {f"{routing[1]}.endpoint_id": routing[2]}
    if outcome := _OUTCOME.fullmatch(line):
        return {"status": outcome[1], "changed": outcome[2], "charged": outcome[3]}
    if goes := _GOES_TO.fullmatch(line):
        return {"endpoint_id": goes[1]}
    if flags := _FLAGS.fullmatch(line):
        on = {"on": "yes", "off": "no"}
        return {"allow_inbound": on[flags[1]], "allow_outbound": on[flags[2]]}
    return {}


def leaves(data: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of structured content, by dotted name and as the text writes them."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, f"{name}.{key}" if name else key)
    elif isinstance(data, list) and data and isinstance(data[0], dict):
        for place, value in enumerate(data, start=1):
            yield from leaves(value, f"{name}.{place}")
    else:
        yield name, _written(data)


def _nested(name: str, value: str) -> dict[str, str]:
    parts = (part.partition(" ") for part in value.split("; "))
    return {f"{name}.{key}": told.removeprefix('"').removesuffix('"') for key, _, told in parts}


def _offer(name: str, offer: re.Match[str], shared: tuple[str, ...]) -> dict[str, str]:
    """Read a row of a search, whose price may stand above it."""
    facts = {f"{name}.e164": offer[1], f"{name}.inventory_id": offer[2]}
    for words in (offer[3] or "", *shared):
        if now := _NOW.fullmatch(words):
            facts[f"{name}.due_now_cents"] = str(int((now[1] + now[2]).replace(",", "")))
            break
    return facts


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "null" if value is None else str(value)
