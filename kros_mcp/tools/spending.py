"""What may be spent, in sentences that can be spoken; the amounts are told in cents beside them."""

from kros_mcp.krosai import Tally
from kros_mcp.money import show_again
from kros_mcp.operations.model import Limits
from kros_mcp.operations.policy import Books, RunRate
from kros_mcp.settings import Settings

_CREDIT = "the credit at KrosAI cannot be seen from here"


def spent(books: Books, limits: Limits, settings: Settings, room_cents: int, remaining_cents: int) -> str:
    """Return what is left of the limit for 24 hours, everybody's or the caller's own.

    Args:
        books: What was spent.
        limits: The caller's own.
        settings: Everybody's.
        room_cents: What is left.
        remaining_cents: The same once all is bought that waits; below 0 where that is more than is left.
    """
    left, gone = show_again(room_cents, settings.currency), show_again(books.spent_cents)
    named = "" if settings.currency else ", in the account currency"
    if limits.daily_budget_cents is None:
        said = f"{left} of the 24-hour limit is left, and {gone} was spent{named}; {_CREDIT}."
    else:
        shares = f"{gone} was spent by all, {show_again(books.own_spent_cents)} of it by you"
        said = f"{left} of the 24-hour limit is left for you; {shares}{named}; {_CREDIT}."
    if remaining_cents < 0:
        said += " More is being asked for than is left."
    elif remaining_cents < room_cents:
        said += f" With what is being asked, {show_again(remaining_cents)} would remain."
    return said


def unknown(count: int, purchases: int) -> str:
    """Return that outcomes are not known, those of purchases counting as spent; empty where there are none.

    Args:
        count: How many are not known.
        purchases: How many of them are of purchases.
    """
    if not count:
        return ""
    are = "One outcome is" if count == 1 else f"{count} outcomes are"
    if purchases == count:
        return f" {are} unknown and counted as spent until known."
    if not purchases:
        return f" {are} unknown; {'it is' if count == 1 else 'they are'} of no purchase."
    which = "one is of a purchase and" if purchases == 1 else f"{purchases} are of purchases and"
    return f" {are} unknown; {which} counted as spent until known."


def is_known(rate: RunRate) -> bool:
    """Whether the sum of what owned numbers cost says anything: a price of one was read, or there are none."""
    return rate.unpriced < len(rate.prices) or (rate.complete and not rate.prices)


def monthly(rate: RunRate, settings: Settings) -> str:
    """Return what owned numbers cost a month, as far as it was read.

    The amount is labelled where it is in another currency than the limits, which are told of before.
    """
    if not rate.prices and not rate.complete:
        return "What owned numbers cost a month could not be read from KrosAI just now."
    if not is_known(rate):
        return "What owned numbers cost a month is not known: no price of any was read."
    label = rate.label(settings)
    if label is None:
        return "What owned numbers cost a month has no sum, as their prices are in several currencies."
    at_least = "at least " if rate.unpriced or not rate.complete else ""
    cost = show_again(rate.monthly_cents, "" if label == settings.currency else label)
    return f"Owned numbers cost {at_least}{cost} a month."


def at_most(cents: int) -> str:
    """Return what one purchase may cost."""
    return f" One number may cost {show_again(cents)} at most."


def requests(tally: Tally) -> str:
    """Return what a caller meets next where few of a day's requests to KrosAI are left."""
    if tally.refuses_reading:
        return " The day's requests to KrosAI are nearly used up, so reading it is limited now."
    return " Most of the day's requests to KrosAI are used up, so reading it will soon be limited." * tally.is_sparing
