"""Filters that KrosAI may ignore, applied again here (krosai-api.md, section 2, "Conflicts").

Only what contradicts a filter is dropped: a record that says nothing on it was asked for with the filter, so
it stays.
"""

from kros_mcp.krosai.wire import AvailableNumber
from kros_mcp.numbering import matches_area_code, may_lie_in


def agrees(stated: str | None, wanted: str) -> bool:
    """Tell whether a record does not contradict a filter; one that says nothing does not."""
    return not wanted or stated is None or stated == wanted.lower()


def lies_in(stated: str | None, e164: str, country: str) -> bool:
    """Whether a number does not contradict a country: by its own word, else by its numbering plan."""
    if not country:
        return True
    return stated == country.upper() if stated else may_lie_in(e164, country.upper())


def in_area(number: AvailableNumber, country: str, area_code: str) -> bool:
    """Tell whether a number lies in an area, by its own word or by its national prefix."""
    return not area_code or number.area_code == area_code or matches_area_code(number.e164, country.upper(), area_code)
