"""A conversation as it went: kept as JSON, measured, judged, and replayed."""

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from .books import NO_BOOKS, Books, Difference

Way = Literal["page", "code"]
WAYS: tuple[Way, ...] = ("code", "page")
Act = dict[str, Any]
AGAIN = ", again"
"""Follows the name of an agent whose acts are replayed."""


def tokens(text: str) -> int:
    """Count o200k tokens."""
    return len(_encoding().encode(text))


@cache
def _encoding() -> Any:
    with warnings.catch_warnings():  # the tokenizer reads its data in a deprecated way
        warnings.simplefilter("ignore", DeprecationWarning)
        from bpe_openai import get_encoding  # type: ignore[import-untyped]  # noqa: PLC0415 - where its warnings are caught

    return get_encoding("o200k_base")


@dataclass
class Story:
    """Who said and did what, in its order.

    Each act is a dict with one of these keys first: `person` and `agent` (words), `aside` (an agent's words beside a
    call, which nobody could answer), `call` (a tool, with `args`, `text`, `seconds` and `after`: how long the agent
    took for it), `page` (what the person's browser showed, with `pressed`), `cut` (why nothing more was said).
    """

    scenario: str
    agent: str
    way: Way
    before: Books = NO_BOOKS
    acts: list[Act] = field(default_factory=list)
    difference: Difference | None = None
    changes_sent: int = 0
    """How many changes of routing KrosAI received."""
    wrong: list[str] = field(default_factory=list)
    """Why it did not go as wished."""
    worse: list[str] = field(default_factory=list)
    """What must not happen, whoever plays."""
    not_played: str = ""
    """Why a model's run says nothing of this server."""

    @property
    def player(self) -> str:
        """Who plays, or whose acts are replayed."""
        return self.agent.removesuffix(AGAIN)

    @property
    def calls(self) -> list[Act]:
        """The calls of tools, with what they answered."""
        return [act for act in self.acts if "call" in act]

    @property
    def read(self) -> str:
        """All that tools answered."""
        return "\n".join(act["text"] for act in self.calls)

    @property
    def characters(self) -> int:
        """How many characters of text the agent read from tools."""
        return sum(len(act["text"]) for act in self.calls)

    @property
    def said(self) -> str:
        """All that the agent said aloud."""
        return "\n".join(
            str(act.get("agent", act.get("aside"))) for act in self.acts if "agent" in act or "aside" in act
        )

    def as_json(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return {
            "scenario": self.scenario,
            "agent": self.agent,
            "way": self.way,
            "calls": len(self.calls),
            "characters": self.characters,
            "tokens": tokens(self.read),
            "as_wished": not (self.wrong or self.not_played),
            "wrong": self.wrong,
            "worse": self.worse,
            "not_played": self.not_played,
            "books": asdict(self.difference) if self.difference else None,
            "acts": self.acts,
        }


def keep(stories: list[Story], path: Path) -> None:
    """Write stories into a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([each.as_json() for each in stories], indent=1), encoding="utf-8")


def kept(path: Path) -> Iterator[Story]:
    """Read what was kept: who acted how, to be replayed.

    Raises:
        ValueError: It holds no stories.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    for told in found if isinstance(found, list) else [found]:
        if not isinstance(told, Mapping) or not {"scenario", "agent", "way", "acts"} <= set(told):
            raise ValueError(f"{path} holds no stories of this check")
        yield Story(str(told["scenario"]), str(told["agent"]), told["way"], acts=list(told["acts"]))
