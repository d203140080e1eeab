"""What rows of operations took, and what their numbers cost a month, in SQL; as `Operation.charged_cents` says it."""

from collections.abc import Callable
from typing import Final

from kros_mcp.operations.model import Action

BUYS: Final = ", ".join(f"'{action}'" for action in Action if action.charges and not action.is_several)


class Amounts:
    """Writes the amounts of a row, and what they depend on.

    Args:
        text_in: Writes how a text is read out of a column of JSON.
        cents_in: Writes the same of an integer.
    """

    def __init__(self, text_in: Callable[[str, str], str], cents_in: Callable[[str, str], str]) -> None:
        self._text_in, self._cents_in = text_in, cents_in

    def charged(self, of: str = "") -> str:
        """Write what a purchase took that was charged for certain; `of` names its table where there are several."""
        quoted_setup, quoted_monthly = self._quoted("setup_cents", of), self._quoted("monthly_cents", of)
        reported_setup, reported_monthly = self._reported("setup_cents", of), self._reported("monthly_cents", of)
        as_quoted = f"{_same(reported_setup, quoted_setup)} AND {_same(reported_monthly, quoted_monthly)}"
        due, reserved = self._quoted("due_now_cents", of), f"{_of(of)}reserved_cents"
        quoted = f"CASE WHEN {due} IS NULL OR {quoted_monthly} IS NULL THEN {reserved} ELSE {due} END"
        setup = f"coalesce({reported_setup}, {quoted_setup})"
        return f"CASE WHEN {as_quoted} THEN {quoted} ELSE coalesce({setup} + {self.monthly(of)}, {reserved}) END"

    @property
    def quoted_monthly(self) -> str:
        """Write what a number costs a month as it was shown; NULL where it was not stated."""
        return self._quoted("monthly_cents", "")

    @property
    def currency(self) -> str:
        """Write which currency KrosAI's record states."""
        return self._text_in("quote", "currency")

    @property
    def deletes(self) -> str:
        """Write whether a release deletes the number's record, too."""
        return f"CAST({self._text_in('request', 'permanent')} AS TEXT) IN ('1', 'true')"

    @property
    def former_status(self) -> str:
        """Write what a record said before its release."""
        return self._text_in("request", "status")

    def monthly(self, of: str = "") -> str:
        """Write what a number costs a month, as reported or as quoted; NULL where neither is stated."""
        return f"coalesce({self._reported('monthly_cents', of)}, {self._quoted('monthly_cents', of)})"

    def _quoted(self, name: str, of: str) -> str:
        return self._cents_in(f"{_of(of)}quote", name)

    def _reported(self, name: str, of: str) -> str:
        """Of a number without an id nothing counts as reported, as nothing can be held against it."""
        number = f"{_of(of)}number"
        return f"CASE WHEN {self._text_in(number, 'id')} <> '' THEN {self._cents_in(number, name)} END"


def _same(reported: str, quoted: str) -> str:
    """Whether a report says nothing else than the quote."""
    return f"coalesce({reported} = {quoted}, ({reported}) IS NULL)"


def _of(table: str) -> str:
    return f"{table}." if table else ""
