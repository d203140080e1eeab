"""The results of the tools that show owned numbers; their sentences come from `owned_texts.py`."""

from kros_mcp.krosai import EndpointList, PhoneNumber
from kros_mcp.money import common_label, label_of
from kros_mcp.operations import dangling, endpoint_names
from kros_mcp.operations.account import Account
from kros_mcp.operations.owned_page import Selected, Wanted
from kros_mcp.operations.run_rate import Priced, readable_in
from kros_mcp.settings import Settings
from kros_mcp.times import utc
from kros_mcp.tools import owned_texts, results


def page(
    account: Account, wanted: Wanted, selected: Selected, priced: Priced, endpoints: EndpointList
) -> tuple[results.OwnedNumbers, owned_texts.AskedFor]:
    """Show a page of owned numbers, and what all that are asked for cost together.

    Args:
        account: The account's resources.
        wanted: What is asked for.
        selected: The numbers.
        priced: Their prices.
        endpoints: What was read of their endpoints.
    """
    prices = [priced.price(number) for number in priced.listed]
    known = [price.cents for price in prices if price.cents is not None]
    currencies = [price.currency or "" for price in prices if price.cents is not None]
    label = common_label(currencies, account.settings.currency)
    unread = len(priced.unread())
    wrong = dangling.troubles(endpoints, dangling.routed(selected.page))
    asked = owned_texts.AskedFor(
        status=wanted.status,
        country=wanted.country,
        part=wanted.part,
        goes=_goes(wanted, endpoints),
        found=len(selected.found),
        ended=sum(number.has_ended for number in selected.found),
        read=selected.read,
        rest=selected.rest,
        unstated=selected.unstated,
        stated=selected.stated,
        currency=label or "",
        mixed=label is None,
        in_trouble=bool(wrong),
        wait_seconds=readable_in(account, unread) if unread else None,
        price_age_seconds=0.0 if priced.as_of is None else priced.now - priced.as_of,
    )
    shown = results.OwnedNumbers(
        summary="",
        numbers=[owned_number(priced.shown(number), endpoints) for number in selected.page],
        total=selected.total,
        next_offset=selected.next_offset,
        complete=selected.total is not None,
        monthly_total_cents=None if label is None or not known else sum(known),
        unpriced=len(prices) - len(known),
        hidden=selected.hidden,
        unreadable=len(selected.unreadable),
        prices_as_of=None if priced.as_of is None else utc(priced.as_of),
        warnings=dangling.warnings(selected.page, endpoints) + owned_texts.unreadable(selected.unreadable),
    )
    if label is None:
        labels = {number.e164: _label_of(priced.shown(number), account.settings) for number in selected.page}
        shown.warnings.extend(owned_texts.in_currencies(labels))
    return shown.model_copy(update={"summary": owned_texts.list_summary(shown, asked)}), asked


def details(
    number: PhoneNumber, endpoints: EndpointList, currency: str, *, read_at: float, taken: str
) -> results.NumberDetails:
    """Show one owned number.

    Args:
        number: As KrosAI shows it.
        endpoints: What was read of its endpoint.
        currency: The operator's label, or empty.
        read_at: When it was read.
        taken: The digits by which it was found, if it was not named whole.
    """
    shown = owned_number(number, endpoints)
    endpoint_id = number.endpoint_id
    where = endpoint_names.of(endpoint_id, endpoints.found.get(endpoint_id), spoken=True) if endpoint_id else ""
    wrong = dangling.troubles(endpoints, dangling.routed([number]))
    return results.NumberDetails(
        summary=owned_texts.details_summary(
            shown, where, currency, taken=taken, trouble=next(iter(wrong.values()), "")
        ),
        **shown.model_dump(),
        sip_fields=list(number.sip.fields) if number.sip else [],
        prices_as_of=None if shown.monthly_cents is None else utc(read_at),
        warnings=dangling.warnings([number], endpoints),
    )


def owned_number(number: PhoneNumber, endpoints: EndpointList) -> results.OwnedNumber:
    """Show an owned number with the name of its endpoint, if that was read."""
    endpoint = endpoints.found.get(number.endpoint_id or "")
    return results.owned(number, endpoint.name if endpoint else None)


def _label_of(number: PhoneNumber, settings: Settings) -> str:
    """Return the label of a number's price; empty where that has none, or is not known."""
    return "" if number.monthly_cents is None else label_of(number.currency or "", settings.currency)


def _goes(wanted: Wanted, endpoints: EndpointList) -> str:
    """Return where the numbers that are asked for go, as a part of a sentence; empty for anywhere."""
    if wanted.unrouted:
        return "nowhere"
    if not wanted.endpoint_ids:
        return ""
    one = min(wanted.endpoint_ids)
    return f"to {endpoint_names.of(one, endpoints.found.get(one), spoken=True)}"
