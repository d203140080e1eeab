"""The numbers of a batch as text: what all have in common once above them, then one short line a number.

Ids stand in structured content alone: every tool takes a number by its E.164, and a batch by its own operation.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from kros_mcp.money import show_again
from kros_mcp.numbering import country_name

_PRICES = {"due_now_cents": "now", "monthly_cents": "every month"}
_USUAL = {"done": "yes", "failed": "no", "unknown": "unknown", "pending": "unknown"}
"""What a status means for money and account; only a charge is said beside it."""


def item_lines(items: Sequence[dict[str, Any]]) -> list[str]:
    """Write the numbers of a batch.

    Args:
        items: Each as `results.ActedItem` dumps it.
    """
    facts = [dict(_facts(item)) for item in items]
    shared = {name: told for name, told in facts[0].items() if all(each.get(name) == told for each in facts)}
    lines = [f"each: {', '.join(shared.values())}"] if shared else []
    for place, (item, told) in enumerate(zip(items, facts, strict=True), start=1):
        own = [words for name, words in told.items() if name not in shared]
        lines.append(f"{place}. {item['e164']}{': ' if own else ''}{', '.join(own)}")
    return lines


def _routing(before: dict[str, Any]) -> str:
    """Write settings as a call gives them, so that they can be asked for again."""
    said = {True: "on", False: "off"}
    parts = [f"endpoint_id {before['endpoint_id'] or 'not stated'}"]
    flags = ("allow_inbound", "allow_outbound")
    return " ".join(parts + [f"{flag} {said[before[flag]]}" for flag in flags if before[flag] is not None])


def _facts(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what there is to tell of one number, by what tells it."""
    if item["country"]:
        yield "country", country_name(item["country"])
    amounts = [f"{show_again(item[name])} {when}" for name, when in _PRICES.items() if item[name] is not None]
    if amounts:
        yield "price", ", ".join(amounts)
    if item["operation_id"]:  # else nothing has become of it yet
        yield "status", item["status"]
        usual = _USUAL.get(item["status"])
        if item["charged"] == "yes" or (item["charged"] != usual and item["charged"] != "no"):
            yield "charged", f"charged {item['charged']}"
        if item["changed"] != usual:
            yield "changed", f"changed {item['changed']}"
    if item["before"]:
        yield "before", f"before: {_routing(item['before'])}"
    if item["not_applied"]:
        yield "not_applied", f"not applied: {', '.join(item['not_applied'])}"
    if item["code"]:
        yield "code", item["code"]
    if item["message"]:
        yield "message", item["message"]
