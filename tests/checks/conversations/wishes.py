"""What the words of a scenario's person come to: what scripted agents work from, in place of understanding."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Buy:
    """Buy the first so many that a search finds; calls go to the endpoint of this name."""

    search: Mapping[str, Any]
    count: int = 1
    endpoint: str = ""
    allow_outbound: bool = True


@dataclass(frozen=True)
class Release:
    """Give a number up, or several with commas between; without an E.164 the one whose calls go nowhere."""

    e164: str = ""


@dataclass(frozen=True)
class Route:
    """Send the calls of numbers to endpoints, by name or `unrouted`; or switch inbound calls."""

    to: Mapping[str, str] = field(default_factory=dict)
    inbound: Mapping[str, str] = field(default_factory=dict)
    """on or off, by E.164."""


@dataclass(frozen=True)
class Ask:
    """Find something out and say it; `{operation}` stands for the operation that was acted on last."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""
    """What to say after it."""


Wish = Buy | Release | Route | Ask
