"""What KrosAI reports of the charge for a purchase, held against what was shown; pure.

What was reported once stays: a later reading that leaves it out, or states less, takes nothing back.
"""

from dataclasses import replace

from kros_mcp.krosai import PhoneNumber
from kros_mcp.money import is_other_currency, label_of, named_together, show_again
from kros_mcp.operations.acts import routing
from kros_mcp.operations.model import Operation, Quote, StoredNumber


def stored(number: PhoneNumber, earlier: StoredNumber | None) -> StoredNumber:
    """Return what the journal keeps of a number that was bought: as it stands now, with all that was reported before.

    Args:
        number: As KrosAI shows it now.
        earlier: What is kept of the same purchase; its id may be that of an order.
    """
    now = routing.stored(number)
    if earlier is None:
        return now
    return replace(
        now,
        setup_cents=_most(now.setup_cents, earlier.setup_cents),
        monthly_cents=_most(now.monthly_cents, earlier.monthly_cents),
        total_cents=_most(now.total_cents, earlier.total_cents),
        currency=named_together(each for each in (now.currency, earlier.currency) if each) or None,
    )


def counted_cents(quote: Quote, reported: StoredNumber | None) -> int:
    """Return what the guard counts of what KrosAI reports as charged; what it leaves out counts as it was shown."""
    reported = reported or StoredNumber()
    setup, monthly, total = reported.setup_cents, reported.monthly_cents, reported.total_cents
    if setup is None and monthly is None:
        return total or 0
    setup = _shown_setup_cents(quote) if setup is None else setup
    monthly = quote.monthly_cents if monthly is None else monthly
    return max(total or 0, (setup or 0) + (monthly or 0))


def other_currency(operation: Operation, label: str) -> str:
    """Return the currency that KrosAI reports of a purchase where it is another than the one shown; else empty.

    Args:
        operation: The purchase.
        label: The operator's label of amounts, or empty.
    """
    return _other(operation.quote, operation.number, label) if operation.action.charges else ""


def currency_of(operation: Operation, label: str) -> str:
    """Return in which currency an operation's amounts are, as far as that is known; else empty."""
    reported = operation.number.currency if operation.action.charges and operation.number is not None else None
    return label_of(reported or operation.quote.currency, label)


def monthly_cents(operation: Operation) -> int | None:
    """Return what the number of a purchase costs a month, as KrosAI reported it or else as it was shown."""
    reported = operation.number.monthly_cents if operation.number is not None else None
    return operation.quote.monthly_cents if reported is None else reported


def is_otherwise(operation: Operation, label: str) -> bool:
    """Whether KrosAI reports a purchase as charged otherwise than was shown; what was not shown says nothing.

    Args:
        operation: As it stands.
        label: The operator's label of amounts, or empty.
    """
    if not operation.action.charges or operation.charged != "yes":
        return False
    amounts = _amounts(operation.quote, operation.number or StoredNumber())
    differs = any(shown is not None and cents not in {None, shown} for cents, shown, _ in amounts)
    return differs or bool(other_currency(operation, label))


def is_more(operation: Operation) -> bool:
    """Whether KrosAI reports anything of a purchase as more than was shown; no other act is charged for."""
    if not operation.action.charges:
        return False
    quote, reported = operation.quote, operation.number or StoredNumber()
    shown_whole = quote.due_now_cents if quote.is_priced else None
    amounts = [(counted_cents(quote, reported), shown_whole), *(each[:2] for each in _amounts(quote, reported))]
    return any(cents is not None and shown is not None and cents > shown for cents, shown in amounts)


def differences(quote: Quote, reported: StoredNumber | None, label: str) -> list[str]:
    """Tell what KrosAI reports of a purchase otherwise than it was shown, each as a part of a sentence.

    Args:
        quote: What was shown.
        reported: What KrosAI reports.
        label: The operator's label of amounts, or empty.
    """
    if reported is None:
        return []
    told = []
    was = label_of(quote.currency, label)
    is_now = label_of(reported.currency or quote.currency, label)
    if other := _other(quote, reported, label):
        told.append(f"a price in {other}, not in the {was} shown")
    for cents, shown, what in _amounts(quote, reported):
        if cents is not None and cents != shown:
            before = "where no price was stated" if shown is None else f"not the {show_again(shown, was)} shown"
            told.append(f"{show_again(cents, is_now)} {what}, {before}")
    return told


def _amounts(quote: Quote, reported: StoredNumber) -> tuple[tuple[int | None, int | None, str], ...]:
    """Return each amount that KrosAI may report, what was shown of it, and for what it is."""
    return (
        (reported.setup_cents, quote.setup_cents, "for setup"),
        (reported.monthly_cents, quote.monthly_cents, "a month"),
        (reported.total_cents, quote.due_now_cents, "charged in all"),
    )


def _other(quote: Quote, reported: StoredNumber | None, label: str) -> str:
    named = (reported.currency if reported is not None else None) or ""
    is_other = named != quote.currency if quote.currency else is_other_currency(named, label)
    return named if is_other else ""


def _shown_setup_cents(quote: Quote) -> int | None:
    """Return the setup that was shown, or that is left of what was due now once the first month is taken off."""
    if quote.setup_cents is not None or quote.due_now_cents is None or quote.monthly_cents is None:
        return quote.setup_cents
    return quote.due_now_cents - quote.monthly_cents


def _most(one: int | None, other: int | None) -> int | None:
    return max((cents for cents in (one, other) if cents is not None), default=None)
