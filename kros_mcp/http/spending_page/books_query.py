"""What an address of the spending page asks for: a period, whose, where, in which state; and how it says so."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from kros_mcp.errors import InvalidArgumentError
from kros_mcp.numbering import parse_country
from kros_mcp.operations import status
from kros_mcp.operations.expenditure import Grouping, first_of_month
from kros_mcp.operations.journal import Filter
from kros_mcp.operations.model import Action
from kros_mcp.times import bounds, day_of

NO_COUNTRY: Final = "none"
"""Asks for numbers whose country KrosAI does not state."""
ACTIONS: Final = tuple(action for action in Action if not action.is_several)
STATES: Final = tuple(word for word in status.KNOWN if word not in {"proposed", "confirmed"})
"""The words of the tools, and `sending`; `pending` is what was agreed to."""
_DAYS: Final = 30
_MOST_DAYS_APART: Final = 62
"""A longer period is told by month."""
_LONGEST: Final = 400
_DAY_SECONDS = 86_400
_LONG_AGO: Final = 0.0


@dataclass(frozen=True)
class BooksQuery:
    """Which operations are asked for; an empty text asks for all.

    `since` and `until` are days, both included. What was malformed is left out, and `notes` says so.
    """

    since: str = ""
    until: str = ""
    principal: str = ""
    country: str = ""
    state: str = ""
    action: str = ""
    page: int = 1
    notes: tuple[str, ...] = ()

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The first second of the period and the first one after it; None is without a bound."""
        return bounds(self.since)[0] if self.since else None, bounds(self.until)[1] if self.until else None

    def grouping(self, now: float) -> Grouping:
        """Return whether the period is told by day or by month."""
        since, until = self.bounds
        length = (now if until is None else until) - (_LONG_AGO if since is None else since)
        return Grouping.DAY if length <= _MOST_DAYS_APART * _DAY_SECONDS else Grouping.MONTH

    def sums(self, account: str) -> Filter:
        """Return the filter of what is summed: no state and no action narrow it."""
        since, until = self.bounds
        country = "" if self.country == NO_COUNTRY else self.country or None
        return Filter(account, self.principal or None, since=since, until=until, country=country)

    def listed(self, account: str) -> Filter:
        """Return the filter of the operations that are listed."""
        states, asked = status.read([self.state] if self.state else [])
        wanted = [action for action in Action if self.action and action.one == self.action]
        return replace(self.sums(account), states=states, asked=asked, actions=tuple(wanted))

    def address(self, **changed: Any) -> str:  # noqa: ANN401
        """Return the address of the same with something changed, without the page's path; always with a period."""
        query = replace(self, **{"page": 1, **changed})
        texts = {"since": query.since, "until": query.until}
        more = {name: getattr(query, name) for name in ("principal", "country", "state", "action")}
        texts |= {name: text for name, text in more.items() if text}
        return f"?{urlencode(texts | ({'page': str(query.page)} if query.page > 1 else {}))}"

    def periods(self, now: float) -> tuple[tuple[str, str], ...]:
        """Return the periods that are often asked for, and the address of each, what else is asked for kept."""
        last = day_of(first_of_month(now) - 1)
        return (
            ("30 days", self.address(since=_days_before(now, _DAYS - 1), until="")),
            ("This month", self.address(since=day_of(first_of_month(now)), until="")),
            ("Last month", self.address(since=day_of(first_of_month(now, 1)), until=last)),
            ("12 months", self.address(since=day_of(first_of_month(now, 11)), until="")),
            ("Everything", self.address(since="", until="")),
        )


def read_query(parameters: Mapping[str, str], now: float) -> BooksQuery:
    """Read what an address asks for; without a period, the last 30 days.

    Args:
        parameters: Those of the address, by their names.
        now: The journal's time.
    """
    notes: list[str] = []
    since, until = (_day(parameters.get(name, ""), notes) for name in ("since", "until"))
    if since and until and since > until:
        notes.append("The first day is later than the last, so the period is left out.")
        since = until = ""
    if not {"since", "until"} & parameters.keys():
        since = _days_before(now, _DAYS - 1)
    page = parameters.get("page", "1")
    return BooksQuery(
        since=since,
        until=until,
        principal=parameters.get("principal", "").replace("\0", "\ufffd")[:_LONGEST],  # PostgreSQL takes no NUL
        country=_country(parameters.get("country", ""), notes),
        state=_one_of(parameters.get("state", ""), status.KNOWN, notes),
        action=_one_of(parameters.get("action", ""), ACTIONS, notes),
        page=int(page) if page.isascii() and page.isdecimal() and 0 < len(page) < 7 and int(page) else 1,  # noqa: PLR2004
        notes=tuple(notes),
    )


def _day(text: str, notes: list[str]) -> str:
    try:
        return day_of(bounds(text)[0]) if text else ""
    except InvalidArgumentError as exc:
        notes.append(f"{exc.message} It is left out.")
        return ""


def _country(text: str, notes: list[str]) -> str:
    if text in {"", NO_COUNTRY}:
        return text
    try:
        return parse_country(text)
    except ValueError as exc:
        notes.append(f"{exc} It is left out.")
        return ""


def _one_of(text: str, known: tuple[str, ...], notes: list[str]) -> str:
    if text and text not in known:
        notes.append(f"{text[:20]!r} is none of {', '.join(known)}. It is left out.")
        return ""
    return text


def _days_before(now: float, days: int) -> str:
    return (datetime.fromtimestamp(now, UTC) - timedelta(days=days)).date().isoformat()
