"""What a rehearsal is going to order, and whether it may: read before a person is asked, and nothing is changed.

It keeps out of a server's way. A purchase that the journal has open, or has called failed within a day, is judged by
what the account shows of its number, so no number is ordered of which the journal knows anything; and while an
operation is open there is no rehearsal at all, since it would slow down what that one waits for.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from kros_mcp.errors import KrosError, RefusedError
from kros_mcp.krosai import (
    CallEndpoint,
    Inventory,
    KrosClient,
    NumberForSale,
    read_all_owned,
)
from kros_mcp.money import show_cents
from kros_mcp.numbering import own_country
from kros_mcp.operations.journal import Filter, Journal, every
from kros_mcp.operations.model import State
from kros_mcp.settings import Settings

MOST_ORDERS: Final = 4
"""The order, its repetition, a second one under another key, and one after the release."""
_PAGE: Final = 100
_MOST_PAGES: Final = 5
_MOST_ENDPOINTS: Final = 2
_UNDER_WAY: Final = (State.CONFIRMED, State.SENDING, State.UNKNOWN)


@dataclass(frozen=True)
class Plan:
    """What is going to be ordered, and with what.

    Args:
        item: The number.
        country: That of the search.
        type: The type filter of the search, or empty.
        orders: How many orders of it are sent at most.
        endpoints: Where its calls are routed for a moment, at most two.
        no_endpoints: Why there are none; empty if there are.
        permanent: Whether what the release leaves is deleted.
    """

    item: NumberForSale
    country: str
    type: str
    orders: int
    endpoints: tuple[CallEndpoint, ...]
    no_endpoints: str = ""
    permanent: bool = False

    @property
    def agreed_cents(self) -> int:
        """What all orders cost together, by the stated price."""
        return self.orders * (self.item.due_now_cents or 0)


class KnownToJournal:
    """What the journal knows that a rehearsal has to stay away from.

    Args:
        journal: The journal of the settings.
        settings: Those in force.
    """

    def __init__(self, journal: Journal, settings: Settings) -> None:
        self._journal = journal
        former = settings.former_account(journal.secret)
        self._accounts = tuple(filter(None, (settings.account(journal.secret), former)))

    async def require_quiet(self) -> None:
        """Raise if an operation of the account is under way, its outcome is unknown, or its books are not whole.

        Raises:
            RefusedError: `OPERATIONS_OPEN`.
        """
        for account in self._accounts:
            if await self._journal.count(Filter(account=account, states=_UNDER_WAY)):
                raise RefusedError(
                    "The journal has an operation of this account that is under way, or whose outcome is unknown; it "
                    "is judged by what the account shows, so nothing is rehearsed beside it. Nothing was sent.",
                    code="OPERATIONS_OPEN",
                    next_step="See kros-mcp operations; run this again when they have ended.",
                )
            if await self._journal.lacks_since(account) is not None:
                raise RefusedError(
                    "The journal was restored, and kros-mcp reconcile has not entered yet what was bought since: it "
                    "would take what is rehearsed for that. Nothing was sent.",
                    code="OPERATIONS_OPEN",
                    next_step="Run kros-mcp reconcile first.",
                )

    async def numbers(self) -> set[str]:
        """Return every number of which the journal has an operation of this account."""
        return {
            part.e164
            for account in self._accounts
            async for operation in every(self._journal, Filter(account=account))
            for part in operation.parts
        }

    def unless_known(self, since: float) -> Callable[[str], Awaitable[None]]:
        """Return a check that raises if an operation on a number was asked for since a time, in Unix seconds."""

        async def check(e164: str) -> None:
            for account in self._accounts:
                async for operation in every(self._journal, Filter(account=account, since=since)):
                    if any(part.e164 == e164 for part in operation.parts):
                        raise RefusedError(
                            f"The journal has an operation on {e164} now, so it is not touched.",
                            code="NUMBER_BUSY",
                        )

        return check


async def survey(
    client: KrosClient,
    settings: Settings,
    books: KnownToJournal,
    *,
    country: str,
    kind: str,
    at_most_cents: int,
    permanent: bool,
    except_for: Iterable[str] = (),
) -> Plan:
    """Read what is owned and what is for sale, and choose the cheapest number that may be ordered.

    Args:
        client: KrosAI.
        settings: Those in force.
        books: What the journal knows.
        country: Where the number is to be.
        kind: Its type; empty for any.
        at_most_cents: What all orders together may cost.
        permanent: Whether what the release leaves is deleted.
        except_for: Numbers that are not to be ordered.

    Raises:
        RefusedError: There is no number that may be ordered for that sum.
        KrosaiError: KrosAI could not be read.
    """
    allowed = settings.allowed_countries
    if allowed and country not in allowed:
        raise RefusedError(
            f"Numbers may be bought only in {', '.join(allowed)} (KROS_ALLOWED_COUNTRIES); nothing was ordered.",
            code="COUNTRY_NOT_ALLOWED",
            next_step="Name one of them with --country.",
        )
    await books.require_quiet()
    owned = await read_all_owned(client)
    if not owned.complete:
        raise RefusedError(
            "KrosAI's list of owned numbers could not be read whole, so it is not known what is owned; nothing was "
            "ordered.",
            code="OWNED_NOT_READ",
        )
    taken = {number.e164 for number in owned.numbers} | await books.numbers()
    taken |= set(settings.protected_numbers) | set(except_for)
    for_sale = await _for_sale(client, country, kind)
    priced = [
        item
        for item in for_sale
        if item.e164 not in taken
        and item.due_now_cents is not None
        and item.monthly_cents is not None
        and (not allowed or own_country(item.country, item.e164) in allowed)
        and not (settings.currency and item.currency and item.currency != settings.currency.upper())
    ]
    if not priced:
        what = f"No number is for sale in {country}"
        if for_sale:
            what = (
                f"No number for sale in {country} may be ordered: each states no price, or one in another currency "
                "than KROS_CURRENCY, or lies in another country than allowed, or is known to the account or the journal"
            )
        raise RefusedError(
            f"{what}; nothing was ordered.",
            code="UNPRICED" if for_sale else "NOT_SEEN",
            next_step="Try another --country or --type; kros-mcp probe tells what the offers state.",
        )
    item = min(priced, key=lambda each: (each.due_now_cents or 0, each.monthly_cents or 0))
    due = item.due_now_cents or 0
    most = min(at_most_cents, settings.max_purchase_cents)
    if due > most:
        limit = "KROS_MAX_PURCHASE_CENTS" if due > settings.max_purchase_cents else "--at-most-cents"
        enough = f"--at-most-cents {due} is enough for one order, {MOST_ORDERS * due} for every question."
        if due > settings.max_purchase_cents:
            enough = f"Try another --country or --type, or raise KROS_MAX_PURCHASE_CENTS to {due}. {enough}"
        raise RefusedError(
            f"The cheapest number costs {show_cents(due, settings.currency)}, more than {limit} allows; nothing was "
            "ordered.",
            code="OVER_AT_MOST",
            next_step=enough,
        )
    orders = MOST_ORDERS if due == 0 else min(MOST_ORDERS, at_most_cents // due)
    endpoints, why = await _endpoints(client)
    return Plan(item, country, kind, orders, endpoints, why, permanent)


async def _for_sale(client: KrosClient, country: str, kind: str) -> list[NumberForSale]:
    inventory = Inventory(client)
    found: list[NumberForSale] = []
    offset: int | None = 0
    for _ in range(_MOST_PAGES):
        page = await inventory.search(country=country, type=kind, limit=_PAGE, offset=offset or 0)
        found += page.items
        offset = page.next_offset
        if offset is None:
            break
    return found


async def _endpoints(client: KrosClient) -> tuple[tuple[CallEndpoint, ...], str]:
    """Return up to two endpoints, active ones first; and why there are none."""
    try:
        page = await client.list_endpoints(limit=_PAGE)
    except KrosError as exc:
        return (), f"the endpoints could not be read ({exc.code})"
    endpoints = sorted(page.items, key=lambda endpoint: endpoint.status != "active")
    return tuple(endpoints[:_MOST_ENDPOINTS]), "" if endpoints else "the account has no endpoints"
