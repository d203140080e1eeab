"""How faults retouch records and lists before they are shown."""

from kros_mcp.simulator.calls import Answer
from kros_mcp.simulator.faults import Faults
from kros_mcp.simulator.rendering import Json
from kros_mcp.simulator.state import Account


def retouched(faults: Faults, operation: str, records: list[Json]) -> list[Json]:
    """Return the records with the country and the currency that faults give them."""
    if records and (odd := faults.strike("odd_country", operation)):
        country = {} if odd["country"] is None else {"country": odd["country"]}
        records = [{name: value for name, value in each.items() if name != "country"} | country for each in records]
    if records and (stated := faults.strike("states_currency", operation)):
        records = [each | {"currency": stated["currency"]} for each in records]
    return records


def empty_with_errors(account: Account, name: str) -> Answer:
    """Answer a list that is empty because it could not be read, with status 200."""
    wrapper = name if account.profile.name == "guide" else "items"
    return Answer(200, {wrapper: [], "errors": [{"message": "Upstream timed out"}]})
