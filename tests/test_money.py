import pytest

from kros_mcp.money import Price, cents, common_label, label_of, show_cents, show_price


@pytest.mark.parametrize("value", [0, 1, 500, 2**53 - 1])
def test_whole_cents_are_taken(value: int) -> None:
    assert cents(value) == value


@pytest.mark.parametrize("value", [None, True, False, -1, 5.0, "5", "5.00", [], {}, 2**53, float("nan")])
def test_anything_else_is_an_unknown_price(value: object) -> None:
    assert cents(value) is None


def test_an_amount_is_shown_without_inventing_a_currency() -> None:
    assert show_cents(500, "USD") == "5.00 USD"
    assert show_cents(5, "") == "0.05 in the account currency"
    assert show_cents(123456789, "NGN") == "1,234,567.89 NGN"
    assert show_cents(None, "USD") == "price not stated"
    assert show_cents(0, "USD") == "0.00 USD"


@pytest.mark.parametrize(
    ("price", "due"),
    [
        (Price(0, 500), 500),
        (Price(100, 500, 600), 600),
        (Price(100, 500, 700), None),
        (Price(None, 500), None),
        (Price(100, None), None),
        (Price(None, 500, 600), 600),
        (Price(None, 500, 400), None),
        (Price(700, None, 600), None),
        (Price(None, None, 600), 600),
        (Price(), None),
    ],
)
def test_what_is_due_now_is_known_only_if_nothing_contradicts_it(price: Price, due: int | None) -> None:
    assert price.due_now_cents == due


@pytest.mark.parametrize(
    ("setup", "due_now", "monthly", "currency", "said"),
    [
        (1_000, 1_300, 300, "USD", "13.00 USD now: 10.00 setup and the first month 3.00; then 3.00 a month"),
        (None, 1_600, 1_100, "USD", "16.00 USD now, first month included, then 11.00 a month"),
        (0, 500, 500, "", "5.00 now, first month included, then 5.00 a month in the account currency"),
        (None, None, 500, "USD", "an unstated amount now, first month included, then 5.00 USD a month"),
        (500, 500, None, "", "5.00 now, first month included, then an unstated amount a month in the account currency"),
        (None, None, None, "USD", "an amount that KrosAI does not state"),
    ],
)
def test_a_price_names_its_currency_once_and_its_setup_fee(
    setup: int | None, due_now: int | None, monthly: int | None, currency: str, said: str
) -> None:
    assert show_price(due_now, monthly, currency, setup_cents=setup) == said


@pytest.mark.parametrize(
    ("stated", "label", "shown"),
    [
        ("", "", ""),
        ("", "USD", "USD"),
        ("USD", "", "USD"),
        ("USD", "usd", "usd"),
        ("USD", "USD credit", "USD credit"),
        ("USD", "NGN", "USD"),
        ("NGN/USD", "NGN", "NGN/USD"),
    ],
)
def test_an_amount_is_never_called_by_the_label_of_another_currency(stated: str, label: str, shown: str) -> None:
    assert label_of(stated, label) == shown


@pytest.mark.parametrize(
    ("stated", "label", "shown"),
    [
        ([], "", ""),
        ([], "USD", "USD"),
        (["", ""], "NGN", "NGN"),
        (["USD", "USD"], "", "USD"),
        (["USD", ""], "", ""),
        (["USD", ""], "usd", "usd"),
        (["USD"], "NGN", "USD"),
        (["USD", ""], "NGN", None),
        (["USD", "NGN"], "NGN", None),
        (["USD", "NGN"], "", None),
        (["NGN/USD", "NGN/USD"], "", None),
    ],
)
def test_amounts_are_added_only_in_one_currency(stated: list[str], label: str, shown: str | None) -> None:
    assert common_label(stated, label) == shown
