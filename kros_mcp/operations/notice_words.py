"""A notice in words for people: a subject and one line, to be read on a phone; pure.

Nothing of KrosAI's own text stands in it, nothing of an agent's `reason`, and of names only plain characters: where it
is shown, a mark could call everybody or pass for a link.
"""

import re
from typing import Any, Final

from kros_mcp.krosai import clean
from kros_mcp.money import show_again, show_cents, show_price
from kros_mcp.numbering import in_country, spoken
from kros_mcp.operations.notices import NoticeType

_NOT_PLAIN: Final = re.compile(r"[^\w .:@+|/-]|(?<!\w)@")
_BEGINS_A_LINK: Final = re.compile(r":+(?=/)")
_LONGEST_NAME: Final = 60
_ACTS: Final = {
    "buy": "Buying",
    "release": "Releasing",
    "configure": "Changing",
    "buy_several": "Buying",
    "release_several": "Releasing",
    "configure_several": "Changing",
}
_ENVIRONMENTS: Final = {"test": "[test key] ", "simulator": "[simulator, no real money] "}
_SUBJECTS: Final = {
    NoticeType.WAITING: "an approval is waited for",
    NoticeType.DONE: "done",
    NoticeType.FAILED: "failed, nothing charged or changed",
    NoticeType.UNKNOWN: "an outcome is unknown",
    NoticeType.CORRECTED: "an outcome is corrected",
    NoticeType.EXPIRED: "nobody approved in time",
    NoticeType.BUDGET_LOW: "most of the day's budget is spent",
    NoticeType.TEST: "a test",
}


def subject(kind: str) -> str:
    """Return the subject of a notice."""
    return f"kros-mcp: {_SUBJECTS[NoticeType(kind)]}"


def line(kind: str, data: dict[str, Any], currency: str, public_url: str | None) -> str:
    """Return a notice as one line.

    Args:
        kind: A `NoticeType`.
        data: What stands in it.
        currency: The operator's label, or empty.
        public_url: Where people reach the service, if there is one.
    """
    currency = data.get("currency") or currency
    where = _ENVIRONMENTS.get(str(data.get("environment")), "")
    match kind:
        case NoticeType.TEST:
            return f"{where}This is a test of kros-mcp: its notices come through."
        case NoticeType.BUDGET_LOW:
            spent, budget = show_cents(data["spent_cents"], currency), show_again(data["budget_cents"], currency)
            left = show_again(data["left_cents"], currency)
            return f"{where}{spent} of the {budget} for 24 hours are spent; {left} are left."
        case _:
            several = data.get("numbers") or ()
            numbers = f"{len(several)} numbers ({', '.join(map(spoken, several))})" if several else spoken(data["e164"])
            number = numbers + (f" {in_country(data['country'])}" if data["country"] else "")
            told = f"{_ACTS[data['action']]} {number} {_told(kind, data, currency)}"
            return f"{where}{told}{_asker(data)} {_what_next(kind, data, public_url)}"


def _told(kind: str, data: dict[str, Any], currency: str) -> str:
    match kind:
        case NoticeType.WAITING:
            waits = "waits for an approver" if data["waits_for"] == "approver" else "waits for a yes on the screen"
            what = f"{waits}.{_cost(data, currency)}"
        case NoticeType.DONE:
            some = "None" if data["changed"] == "no" else "Not all"
            lacking = f" {some} of its settings were applied." if data["not_applied"] else ""
            what = f"is done.{_charged(data, currency)}{lacking}"
        case NoticeType.FAILED:
            what = "failed. Nothing was charged or changed."
        case NoticeType.EXPIRED if data["decided_by"]:
            what = "was approved, and expired before it was begun. Nothing was charged or changed."
        case NoticeType.EXPIRED:
            what = "expired, as nobody said yes in time. Nothing was charged or changed."
        case NoticeType.CORRECTED if data["status"] == "done":
            what = f"was called not done at first, and KrosAI shows that it is.{_charged(data, currency)}"
        case NoticeType.CORRECTED:
            what = f"was called done at first, and it is not known now whether it is.{_cost(data, currency)}"
        case _:
            what = f"was sent, and how it ended is not known yet.{_cost(data, currency)}"
    return what


def _cost(data: dict[str, Any], currency: str) -> str:
    if data["action"] not in {"buy", "buy_several"}:
        return ""
    them = "It costs" if data["action"] == "buy" else "Together they cost"
    return f" {them} {show_price(data['due_now_cents'], data['monthly_cents'], currency)}."


def _charged(data: dict[str, Any], currency: str) -> str:
    if data["action"] != "buy":
        return ""
    charged, monthly = show_cents(data["charged_cents"], currency), data["monthly_cents"]
    then = "" if monthly is None else f"; it costs {show_again(monthly, currency)} every month"
    return f" Charged: {charged}{then}."


def _asker(data: dict[str, Any]) -> str:
    issuer, _, named = data["principal"].partition("|")
    plain = _BEGINS_A_LINK.sub("", _NOT_PLAIN.sub("", named or issuer))  # what was left out may have stood between
    name = clean(plain, _LONGEST_NAME)
    return f" Asked for by {name}." if name else ""


def _what_next(kind: str, data: dict[str, Any], public_url: str | None) -> str:
    operation = data["operation_id"]
    if kind == NoticeType.WAITING and data["waits_for"] == "approver":
        if public_url is None:
            return f"Decide at a terminal: kros-mcp approve {operation}"
        return f"Decide on {approvals_url(public_url)} ({operation})"
    return f"({operation})" if public_url is None else f"See {approvals_url(public_url)} ({operation})"


def approvals_url(public_url: str) -> str:
    """Return where people approve."""
    return f"{public_url}/approvals"
