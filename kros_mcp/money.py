"""Money as integer cents of a currency that KrosAI never names (docs/krosai.md, section 3)."""

from collections.abc import Iterable
from dataclasses import dataclass

# The largest integer that JSON readers and SQLite both keep exactly; a price above it is no price.
_MOST_CENTS = 2**53 - 1
_UNNAMED = " in the account currency"
_SEVERAL = "/"
"""Stands between currencies of one record that contradict each other."""


def cents(value: object) -> int | None:
    """Return an integer of 0 or more as cents; None, an unknown price, for anything else.

    A bool, a float, a text and an amount beyond 2**53 are never converted (docs/krosai.md, section 9, rule 4).
    """
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MOST_CENTS else None


def show_cents(amount_cents: int | None, currency: str = "") -> str:
    """Return an amount for people, as in "5.00 USD".

    Without a currency it is "5.00 in the account currency". KrosAI names no currency and calls all of its amounts
    cents, so two decimals are shown whatever the currency.
    """
    if amount_cents is None:
        return "price not stated"
    whole, hundredths = divmod(amount_cents, 100)
    amount = f"{whole:,}.{hundredths:02d}"
    return f"{amount} {currency}" if currency else f"{amount}{_UNNAMED}"


def show_again(amount_cents: int | None, currency: str = "") -> str:
    """Return an amount for people, for a sentence that mentions the account currency elsewhere."""
    return show_cents(amount_cents, currency).removesuffix(_UNNAMED)


def show_price(
    due_now_cents: int | None, monthly_cents: int | None, currency: str = "", *, setup_cents: int | None = None
) -> str:
    """Return, for people, what a number costs now and every month after, with the setup fee where there is one."""
    if due_now_cents is None and monthly_cents is None:
        return "an amount that KrosAI does not state"
    now = "an unstated amount" if due_now_cents is None else show_again(due_now_cents, currency)
    label = currency if due_now_cents is None else ""
    monthly = "an unstated amount" if monthly_cents is None else show_again(monthly_cents, label)
    tail = "" if currency else _UNNAMED
    if setup_cents and monthly_cents is not None and due_now_cents == setup_cents + monthly_cents:
        setup = show_again(setup_cents)
        return f"{now} now: {setup} setup and the first month {monthly}; then {monthly} a month{tail}"
    return f"{now} now, first month included, then {monthly} a month{tail}"


def is_other_currency(stated: str, label: str) -> bool:
    """Whether a record states another currency than the one that amounts are labelled with."""
    return bool(stated and label) and stated not in label.upper().split()


def named_together(currencies: Iterable[str]) -> str:
    """Return currencies that contradict each other as one, as in "NGN/USD"; empty if there are none."""
    return _SEVERAL.join(sorted({name for each in currencies for name in each.split(_SEVERAL) if name}))


def label_of(stated: str, label: str) -> str:
    """Return what to label an amount with: the operator's label, unless KrosAI states something else or alone."""
    return label if label and not is_other_currency(stated, label) else stated


@dataclass(frozen=True, slots=True)
class Price:
    """The costs that KrosAI states for a number, in cents; None for what it does not state."""

    setup_cents: int | None = None
    monthly_cents: int | None = None
    total_cents: int | None = None

    @property
    def due_now_cents(self) -> int | None:
        """The cents charged at purchase (setup plus first month); None if that is not certain.

        The stated total counts, but a total that contradicts its parts makes the price unknown.
        """
        setup, monthly, total = self.setup_cents, self.monthly_cents, self.total_cents
        parts = None if setup is None or monthly is None else setup + monthly
        if total is None:
            return parts
        if parts is not None:
            return total if total == parts else None
        return total if total >= (setup or monthly or 0) else None


def common_label(stated: Iterable[str], label: str) -> str | None:
    """Return what to label a sum of amounts with; None where they cannot be added, as they are in several currencies.

    Args:
        stated: The currency that the record of each amount states, empty where it states none: that one is in the
            currency of the label, or without a label in whatever the account has.
        label: The operator's label, or empty.
    """
    found = {label_of(each, label) for each in stated}
    if any(_SEVERAL in each for each in found - {label}) or len(found if label else found - {""}) > 1:
        return None
    return found.pop() if len(found) == 1 else label
