"""The purchase of a number: what is quoted, what is read again, what is sent, and what proves it done or not done."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from kros_mcp.errors import InvalidArgumentError, KrosError, OperationError, OutcomeUnknownError
from kros_mcp.krosai import (
    OTHER_ORGANIZATION,
    BeforeSending,
    NumberForSale,
    Order,
    OwnedReading,
    PhoneNumber,
    Sighting,
    Written,
    find_owned,
    has_ended,
    is_pending,
    plain_name,
    quoted_id,
    read_owned_once,
    was_turned_down,
)
from kros_mcp.money import label_of, show_price
from kros_mcp.numbering import own_country, spoken
from kros_mcp.operations import dangling, endpoint_names, moves, policy, schedule
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import base, evidence, proposal, purchase_routing
from kros_mcp.operations.acts.base import Act, Look, Offered, Prepared, Wish
from kros_mcp.operations.journal import Move
from kros_mcp.operations.kept import Listing
from kros_mcp.operations.model import (
    OTHER_NUMBER,
    Action,
    Item,
    Limits,
    Operation,
    Quote,
    Request,
    Settlement,
    State,
)
from kros_mcp.operations.policy import Books, RunRate
from kros_mcp.operations.wording import PurchaseWording
from kros_mcp.settings import Settings

NEVER_LISTED = "KrosAI has not listed the number within a day of its purchase: look in its dashboard."


class Purchase(Act):
    """Buys a number: charges now and every month."""

    action = Action.BUY
    wording = PurchaseWording()

    async def propose(self, account: Account, principal: str, request: Request, e164: str) -> Operation:
        """Propose to buy a number, or answer the operation that already stands for it.

        Args:
            account: The account's resources.
            principal: Who asks.
            request: `inventory_id`, or `country` and `type` beside `e164`; and the settings wanted.
            e164: The number, if the purchase names it so; else empty.

        Raises:
            InvalidArgumentError: The country or the endpoint is missing or wrong.
            OperationError: `NOT_SEEN`, `ALREADY_OWNED` or `NUMBER_BUSY`.
            RefusedError: The policy forbids it, or a day's requests are used up.
            KrosaiError: KrosAI could not be read.
        """
        policy.check_writable(account.settings)
        seen = account.inventory.seen(inventory_id=request.inventory_id, e164=e164)
        number = e164 or (seen.e164 if seen else "")
        identity = account.identity(principal, self.action)
        earlier = await account.journal.find(identity, e164=number, inventory_id="" if number else request.inventory_id)
        request = proposal.as_stored(request, earlier) if earlier is not None else request
        if earlier is not None and await proposal.covers(account, self, earlier, request):
            return earlier
        account.client.tally.require_room()
        former = "" if number or earlier is None else earlier.e164
        offered = await self._offer(account, [Wish(request, e164)], former)
        return await proposal.propose(account, self, principal, offered)

    async def offer(self, account: Account, wishes: Sequence[Wish]) -> Offered:
        """Read the numbers among those for sale, none of which the account may own."""
        return await self._offer(account, wishes, "")

    async def _offer(self, account: Account, wishes: Sequence[Wish], former: str) -> Offered:
        """Read the numbers for sale; `former` is the number under which the one that is wished for was seen before."""
        sought = [_sought(account, wish, wishes) for wish in wishes]
        endpoints = await proposal.require_endpoints(account, [wish.request.endpoint_id for wish in wishes])
        known = [each.e164 for each in sought if each.e164]
        listing = await _require_not_owned(account, known) if known else None
        readings = await account.inventory.find_several(sought)
        found: list[tuple[NumberForSale, int | None]] = []
        for each, reading in zip(sought, readings, strict=True):
            if reading.item is None:
                raise proposal.of_one(
                    await _not_for_sale(account, former), each.e164 or quoted_id(each.inventory_id), wishes
                )
            found.append((reading.item, reading.position))
        rest = [item.e164 for item, _ in found if item.e164 not in known]
        if rest:
            listing = await _require_not_owned(account, rest, listing)
        items = []
        for wish, place, (item, position) in zip(wishes, sought, found, strict=True):
            request = wish.request
            endpoint = endpoints[request.endpoint_id]
            quote = Quote(
                e164=item.e164,
                country=own_country(item.country, item.e164),
                environment=account.settings.environment,
                setup_cents=item.setup_cents,
                monthly_cents=item.monthly_cents,
                due_now_cents=item.due_now_cents,
                currency=item.currency or "",
                endpoint_id=endpoint.id if endpoint else "",
                endpoint_name=plain_name(endpoint.name if endpoint else None),
                endpoint_type=endpoint_names.kind_of(endpoint),
                endpoint_trouble=dangling.trouble(endpoint),
            )
            where = replace(
                request,
                number_id="",
                inventory_id=item.inventory_id,
                endpoint_id=quote.endpoint_id,
                country=place.country,
                type=place.type,
                area_code=place.area_code,
                position=position,
            )
            items.append(Item(item.e164, where, quote))
        return Offered(tuple(items), listing)

    def still_stands(self, operation: Operation, reading: OwnedReading) -> bool:
        """Whether the number is still owned, or named as bought by KrosAI, which may list it late."""
        return reading.living is not None or operation.look_at is not None

    def check(
        self, settings: Settings, operation: Operation, books: Books, run_rate: RunRate | None, own: Limits | None
    ) -> None:
        """Raise if the operation may not be done."""
        policy.check_purchase(settings, operation, books, run_rate, own)

    async def prepare(self, account: Account, operation: Operation) -> Prepared:
        """Read again that the number is for sale at the price shown, and that the account does not own it."""
        item = await _read_for_sale(account, operation)
        reading = await _read_owned(account, operation)
        request, quote = operation.request, operation.quote
        order = Order(
            inventory_id=item.inventory_id,
            endpoint_id=request.endpoint_id or None,
            # Sent only where it departs from the documented default: one dialect does not know the field.
            allow_inbound=request.allow_inbound if request.allow_inbound is False else None,
            allow_outbound=request.allow_outbound if request.allow_outbound is False else None,
            setup_cents=quote.setup_cents,
            monthly_cents=quote.monthly_cents,
            total_cents=quote.due_now_cents,
        )

        async def send(before_sending: BeforeSending) -> Written:
            return await account.client.purchase(order, idempotency_key=operation.id, before_sending=before_sending)

        return Prepared(send, evidence.snapshot(reading))

    async def settle(
        self, account: Account, operation: Operation, written: Written, before_sending: BeforeSending
    ) -> Settlement:
        """Settle a purchase that was answered with success: done if its number is named, or seen owned."""
        del before_sending
        owned_before = written.number is not None and evidence.was_owned_before(operation, written.number.id)
        if written.says_bought(operation.e164) and not owned_before:
            return purchase_routing.bought(account.settings, operation, written.number, seen=False)
        look = await self.look(account, operation)
        if look.settlement is None:
            raise OutcomeUnknownError("KrosAI answered the purchase without plainly naming the number as bought.")
        return look.settlement

    def is_accepted(self, operation: Operation, written: Written) -> bool:
        """Whether an order is to be carried out; a record that has ended says that nothing is to come."""
        del operation
        return not has_ended(written.record_status) and written.body != "other"

    def misled(self, operation: Operation, written: Written) -> KrosError | None:
        """Return the error that KrosAI may have charged another number; None where it names no other."""
        if written.e164 is None or written.e164 == operation.e164:
            return None
        other = spoken(written.e164)
        return OutcomeUnknownError(
            f"KrosAI answered the purchase with another number, {other}, which it may have charged instead.",
            code=OTHER_NUMBER,
            next_step="Look in KrosAI's dashboard which number was bought; nothing else can tell.",
        )

    async def look(self, account: Account, operation: Operation, *, late: bool = False) -> Look:
        """Look for the number among those that the account owns."""
        del late
        reading = await find_owned(account.client, e164=operation.e164)
        record = evidence.bought(operation, reading)
        done = None if record is None else purchase_routing.bought(account.settings, operation, record, seen=True)
        return Look(done, evidence.is_conclusive(operation, reading), reading)

    async def not_done(self, account: Account, operation: Operation, look: Look, *, begun: float) -> Settlement | None:
        """Settle as failed what two readings show for sale, ten seconds apart.

        From the end of the first reading to the beginning (`begun`) of the second. An order that KrosAI accepted may
        still be carried out: it is called failed only where its own record has ended, or after a day. A record that has
        ended otherwise than an order does may be of a number that was bought, and given up since. Where another number
        was named, or another organization, that one may have been charged.
        """
        ended = evidence.given_up_since(operation, look.reading)
        rejected = ended is not None and was_turned_down(ended.status)
        if (ended is not None and not rejected) or operation.error_code in {OTHER_NUMBER, OTHER_ORGANIZATION}:
            return None
        may_come = await base.age(account, operation) < schedule.ACCEPTED_FACTOR * account.settings.settle_seconds
        if operation.accepted and may_come and not rejected:
            return None
        for_sale = (await account.find_for_sale(operation)).item is not None
        first = operation.seen_unsold_at
        if for_sale and first is not None:
            if begun - first < schedule.SECOND_READING_SECONDS:
                return None
            told = "KrosAI does not list the number as owned and offers it for sale, so it was not bought."
            return await base.not_done(account, operation, told)
        if for_sale or first is not None:
            await account.journal.change(
                operation.id, lambda current, now: replace(current, seen_unsold_at=now if for_sale else None)
            )
        return None

    async def watch(self, account: Account, operation: Operation, *, last: bool) -> Move:
        """Look after a purchase that KrosAI named as bought and has not shown for good yet."""
        reading = await find_owned(account.client, e164=operation.e164)
        record = evidence.bought(operation, reading)
        if record is not None:
            return base.nothing_new if is_pending(record.status) else _shown_for_good(account.settings, record)
        if await base.later_acts(account, operation):  # given up, or bought again, by another operation since
            return base.no_more_looks
        conclusive = evidence.is_conclusive(operation, reading)
        was_an_order = operation.number is not None and is_pending(operation.number.status)
        if evidence.given_up_since(operation, reading) is not None or (was_an_order and conclusive):
            unknown = Settlement(State.UNKNOWN)
            note = "KrosAI called it bought, and has ended its record since: whether it was charged is not known."
            return lambda current, now: moves.correct(current, now, unknown, note=note)
        if last and conclusive:
            return lambda current, _: replace(current, note=f"{current.note} {NEVER_LISTED}".strip())
        return base.nothing_new

    async def finish(self, account: Account, operation: Operation) -> Operation:
        """Bring the settings of a purchase about that it could not set by itself."""
        return await purchase_routing.finish_purchase(account, operation)


PURCHASE = Purchase()


def _shown_for_good(settings: Settings, record: PhoneNumber) -> Move:
    """Note a record that proves the purchase, and look no more."""

    def move(current: Operation, _: float) -> Operation:
        same = current.number is not None and current.number.id == record.id
        shown = current if same else purchase_routing.reported(current, record, settings.currency)
        return replace(shown, look_at=None)

    return move


async def _read_for_sale(account: Account, operation: Operation) -> NumberForSale:
    quote = operation.quote
    found = await account.find_for_sale(operation, seconds=base.PREPARE_SECONDS / 2)
    if found.item is None:
        raise OperationError(
            f"{spoken(operation.e164)} was not seen among the numbers for sale just before buying; nothing was "
            "charged.",
            code="NOT_SEEN",
            next_step="Search again and offer a number from the new result.",
        )
    item = found.item
    if (item.setup_cents, item.monthly_cents, item.due_now_cents, item.currency or "") != quote.price:
        was, now = (_price(each, account.settings.currency) for each in (quote, item))
        moved = f"It was {was}; it is {now}." if was != now else f"It is {now} still, and KrosAI states it otherwise."
        raise OperationError(
            f"The price of {spoken(operation.e164)} has changed since it was shown. {moved} Nothing was charged.",
            code="PRICE_CHANGED",
            next_step="Call again with the same arguments to ask the person at the new price.",
        )
    return item


def _price(stated: Quote | NumberForSale, label: str) -> str:
    currency = label_of(stated.currency or "", label)
    return show_price(stated.due_now_cents, stated.monthly_cents, currency, setup_cents=stated.setup_cents)


async def _read_owned(account: Account, operation: Operation) -> OwnedReading:
    """Read what the account has of a number just before it is bought: a number that it owns is not bought."""
    reading = await find_owned(account.client, e164=operation.e164)
    if reading.living is not None:
        raise _already_owned(operation.e164)
    if not reading.complete:
        raise OperationError(
            "KrosAI's list of owned numbers could not be read whole just before buying "
            f"{spoken(operation.e164)}, so it may be owned already; nothing was charged.",
            code="OWNED_NOT_READ",
            next_step="Ask the person whether to try again; it would be a new operation.",
        )
    return reading


def _sought(account: Account, wish: Wish, wishes: Sequence[Wish]) -> Sighting:
    """Return where to look for a number that is wished for.

    Raises:
        InvalidArgumentError: Its country is not known.
    """
    request = wish.request
    seen = account.inventory.seen(inventory_id=request.inventory_id, e164=wish.e164)
    country = request.country or (seen.country if seen else "")
    if not country:
        error = InvalidArgumentError(
            "This number was not seen in a search lately, so country is needed beside it, a two-letter code such "
            "as NG; nothing was charged.",
            code="NOT_SEEN",
            next_step="Give country as well; or search again and use an inventory_id from that result.",
        )
        raise proposal.of_one(error, wish.e164 or quoted_id(request.inventory_id), wishes)
    return Sighting(
        inventory_id=request.inventory_id,
        e164=wish.e164 or (seen.e164 if seen else ""),
        country=country,
        type=request.type or (seen.type if seen else ""),
        area_code=seen.area_code if seen else "",
        position=seen.position if seen else None,
        price=seen.price if seen else None,
    )


async def _require_not_owned(account: Account, e164s: Sequence[str], listing: Listing | None = None) -> Listing:
    """Read the list of owned numbers, and raise where a number is one of them.

    What is kept may tell it sooner; it is believed only once the number was looked at by itself.

    Args:
        account: The account's resources.
        e164s: The numbers.
        listing: The list, if it was read just now.
    """
    was_read = listing is not None
    if listing is None:
        now = await account.journal.now()
        kept = account.kept.over(await account.journal.kept(account.id))
        for e164 in e164s:
            if (number_id := kept.likely_owned(e164, now)) and await _is_held(account, number_id, e164):
                raise _already_owned(e164)
        listing = Listing(await read_owned_once(account.client), now)
    living = {number.e164 for number in listing.owned.numbers if not number.has_ended}
    if owned := next((e164 for e164 in e164s if e164 in living), ""):
        raise _already_owned(owned)
    if listing.owned.complete and not was_read:
        account.kept.saw_list(listing.owned, listing.at)
    return listing


async def _is_held(account: Account, number_id: str, e164: str) -> bool:
    with suppress(KrosError):
        record = (await find_owned(account.client, number_id=number_id)).living
        return record is not None and record.e164 == e164
    return False


def _already_owned(e164: str) -> OperationError:
    return OperationError(
        f"{spoken(e164)} is already owned by this account; nothing was charged now.",
        code="ALREADY_OWNED",
        next_step="Use configure_phone_number to change how it is routed.",
    )


async def _not_for_sale(account: Account, e164: str) -> OperationError:
    if e164:
        await _require_not_owned(account, [e164])
    return OperationError(
        "This number was not seen among the numbers for sale just now; nothing was charged.",
        code="NOT_SEEN",
        next_step="Search again and offer a number from the new result.",
    )
