"""The one place from which a rehearsal changes anything at KrosAI: never beyond what a person agreed to.

Each request stands in the record before it leaves. What a run may touch is one number: the one that it ordered, by
records that are new since then. Whatever happens, `clear` ends it: it looks at the account, and releases until nothing
of that number is owned any more, or says what is left. No order and no release is sent again before a look.
"""

import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio

from kros_mcp.commands.contact_report import Fact
from kros_mcp.commands.rehearsal_answer import WriteAnswer, answered, status_of
from kros_mcp.commands.rehearsal_record import Record, Sent, Unsettled
from kros_mcp.errors import InvalidArgumentError, KrosaiError, KrosError, RateLimitError, RecordError, RefusedError
from kros_mcp.krosai import (
    KrosClient,
    NumberForSale,
    Order,
    PhoneNumber,
    Routing,
    Spelling,
    Written,
    find_owned,
    is_pending,
    overheard,
)
from kros_mcp.settings import Settings

CLEARING_SECONDS: Final = 60.0
_MOST_RELEASES: Final = 3
_LONGEST_WAIT_SECONDS: Final = 30.0
"""How long KrosAI may want to be left alone before a rehearsal gives up."""
_BEFORE_AN_ORDER_SECONDS: Final = 1.0
"""So that the requests before it do not have it turned away: that counts as an order, too."""
_PAUSES: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class StopError(KrosError):
    """A rehearsal does not go on: what would come next could cost more, or means nothing any more."""

    code = "REHEARSAL_STOPPED"


class SkipError(KrosError):
    """A question is left out; nothing was sent, and the others can still be asked."""

    code = "LEFT_OUT"


@dataclass(frozen=True)
class Waits:
    """The time of a rehearsal: how it waits, and its clock in Unix seconds."""

    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    now: Callable[[], float] = time.time

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float) -> float | None:
        """Ask ever more rarely until something holds; return after how many seconds it did, None if it never did."""
        begun = self.now()
        pauses = iter(_PAUSES)
        while True:
            await self.sleep(next(pauses, _PAUSES[-1]))
            if await holds():
                return self.now() - begun
            if self.now() - begun >= seconds:
                return None


@dataclass(frozen=True)
class AccountView:
    """What the account shows of the number.

    Args:
        living: The records of this run by which it is owned.
        records: Every record of it.
        listed: The ids of those that stand in the list; the others were found by their id.
        conclusive: Whether these are all.
    """

    living: tuple[PhoneNumber, ...]
    records: tuple[PhoneNumber, ...]
    listed: frozenset[str]
    conclusive: bool


@dataclass(frozen=True)
class Left:
    """What is left of a number in the end.

    Args:
        e164: The number.
        owned: The records by which it is owned still.
        why: Why they could not be released, or why it is not known whether anything is owned.
    """

    e164: str
    owned: tuple[PhoneNumber, ...]
    why: str


class Sender:
    """Sends what a person agreed to, about one number at a time.

    Args:
        client: KrosAI.
        settings: Those in force; protected numbers are not touched, and orders are given `settle_seconds` to show.
        record: Where everything is written before it is sent.
        require_no_operation: Raises if the journal has an operation on a number, which is its business then.
        agreed_cents: What all orders together may cost, by their stated prices.
        pace: How it waits.
        number: What an earlier run left unsettled, and a person has agreed to release; None in a new run.
    """

    def __init__(
        self,
        client: KrosClient,
        settings: Settings,
        record: Record,
        require_no_operation: Callable[[str], Awaitable[None]],
        *,
        agreed_cents: int = 0,
        pace: Waits | None = None,
        number: Unsettled | None = None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._record = record
        self._require_no_operation = require_no_operation
        self._agreed_cents = agreed_cents
        self._pace = pace or Waits()
        self._other = ""
        self._was_asked_about = number is not None
        self.number = number
        self.ordered_cents = 0
        self.orders = 0
        self.facts: list[Fact] = []
        self.given_up: dict[str, str] = {}
        """The E.164 of each record that this run has released, by id; those alone that were new to the account."""

    def affords(self, item: NumberForSale) -> bool:
        """Whether one more order of a number stays within what was agreed to."""
        return item.due_now_cents is not None and self.ordered_cents + item.due_now_cents <= self._agreed_cents

    async def order(self, asked: str, item: NumberForSale, key: str) -> WriteAnswer:
        """Order a number; after a 429 once more under the same key, if a look shows nothing of the first.

        Raises:
            StopError: It would cost more than was agreed to, or the account has the number already.
            KrosError: It could not be looked at or written down before; nothing was sent.
        """
        await self._pace.sleep(_BEFORE_AN_ORDER_SECONDS)
        number = self.number or await self._first_look(item.e164)
        before = set(number.seen)
        answer = await self._order_once(asked, number, item, key)
        if not isinstance(answer.error, RateLimitError):
            return answer
        wait = answer.error.retry_after_seconds or 1.0
        if wait > _LONGEST_WAIT_SECONDS or not self.affords(item):
            return answer
        await self._pace.sleep(wait)
        await self.look()
        if number.seen != before:
            return answer
        return await self._order_once(f"{asked}, once more after the 429", number, item, key)

    async def change(self, asked: str, number_id: str, changes: Routing, spelling: Spelling) -> WriteAnswer:
        """Change where calls to the number go, or a flag of it; after a 429 once more."""
        number = await self._require_ours(number_id)

        async def send() -> WriteAnswer:
            self._record.writing(number, number_id, "change", self._pace.now())
            key = f"{self._record.run}-change-{len(self.facts)}"
            return await self._send(
                asked,
                number.e164,
                lambda: self._client.update_number(number_id, changes, spelling=spelling, idempotency_key=key),
            )

        return await self._again_after_429(send)

    async def release(self, asked: str, number_id: str) -> WriteAnswer:
        """Release a record of this run softly; after a 429 once more. Look before you call it again."""
        number = await self._require_ours(number_id)
        answer = await self._again_after_429(lambda: self._delete(asked, number, number_id, permanent=False))
        if number_id not in number.before:
            self.given_up[number_id] = number.e164
        return answer

    async def release_again(self, asked: str, number_id: str, *, permanent: bool) -> WriteAnswer:
        """Release what this run has released already, or delete what is left of it.

        Raises:
            SkipError: It is living, or is not this run's.
        """
        e164 = self.given_up.get(number_id)
        if e164 is None or self.number is not None:
            raise SkipError("the record is not one that this run has made and released")
        await self._require_untouched(e164)
        record = (await find_owned(self._client, number_id=number_id)).number
        if record is not None and (record.e164 != e164 or not record.has_ended):
            raise SkipError("the record is owned again")
        number = Unsettled(self._record.run, e164, {})
        return await self._again_after_429(lambda: self._delete(asked, number, number_id, permanent=permanent))

    async def look(self) -> AccountView:
        """Look at what the account shows of the number, in the list and by the ids that were named.

        Raises:
            KrosaiError: KrosAI could not be read.
        """
        number = self._require_number()
        reading = await find_owned(self._client, e164=number.e164)
        records = {record.id: record for record in reading.records}
        listed = frozenset(records)
        named_ids = {sent.number_id for sent in number.orders if sent.number_id}
        conclusive = reading.complete and set(reading.unreadable) <= set(number.unreadable)
        for number_id in (named_ids | number.seen) - records.keys():
            try:
                named = (await find_owned(self._client, number_id=number_id)).number
            except (KrosaiError, InvalidArgumentError):  # it may be an id of the order; what is listed is known
                conclusive = False
                continue
            if named is not None and named.e164 == number.e164:
                records[number_id] = named
        ours = [record for record in records.values() if number.is_of_this_run(record.id)]
        shown = (one for one in ours if not one.has_ended or one.id not in number.before or one.id in named_ids)
        self._record.saw(number, {record.id for record in shown})
        living = tuple(record for record in ours if not record.has_ended)
        return AccountView(living, tuple(records.values()), listed, conclusive)

    async def settle_or_see(self) -> AccountView | None:
        """Look until the number is seen owned, or until it is certain that it is not, or the orders' time is over.

        Returns:
            What was seen last; None if it is certain, and written down, that nothing is owned.
        """
        number = self._require_number()
        while True:
            view = await self.look()
            if view.living:
                return view
            if await self.close(view):
                return None
            if not self._waits_for_orders(number):
                return view
            await self._pace.sleep(_PAUSES[-1])

    async def close(self, view: AccountView) -> bool:
        """Write down that nothing is owned any more, if that is certain; return whether it is."""
        number = self._require_number()
        if view.living or not view.conclusive or self._not_shown(number):
            return False
        self._record.settled(number, self._pace.now())
        self.number = None
        return True

    def forget(self) -> None:
        """Write down that a number of an earlier run is looked for no more."""
        self._record.settled(self._require_number(), self._pace.now())
        self.number = None

    async def clear(self) -> Left | None:
        """Release what is owned of the number, until nothing is; return what is left, or None.

        An order that KrosAI has not answered is waited for until `settle_seconds` have passed.
        """
        if self.number is None:
            return None
        number, begun = self.number, self._pace.now()
        releases: Counter[str] = Counter()
        view, why = None, ""
        pauses = iter(_PAUSES)
        while True:
            await self._pace.sleep(next(pauses, _PAUSES[-1]))
            try:
                view = await self.look()
                if view.living:
                    why = await self._release_seen(view, releases) or why
                    view = await self.look()
                if await self.close(view):
                    return None
            except (RefusedError, RecordError, StopError) as exc:
                why = exc.message
                break
            except KrosError as exc:
                why = exc.message
            if self._pace.now() - begun >= CLEARING_SECONDS and not self._waits_for_orders(number):
                break
        if view is not None and view.living:
            return Left(number.e164, view.living, why.rstrip("."))
        unseen = "what KrosAI has done with an order is not known"
        if self._other:
            unseen = f"KrosAI answered an order with another number, {self._other}, which it may have charged instead"
        return Left(
            number.e164, (), unseen if view is not None else f"the account could not be looked at: {why.rstrip('.')}"
        )

    async def _release_seen(self, view: AccountView, releases: Counter[str]) -> str:
        """Release what is owned, each record a few times at most and with a look after each.

        Returns:
            Why it may be owned all the same; empty where nothing was tried any more.
        """
        why = ""
        for record in view.living:
            if is_pending(record.status):
                why = "its order is still pending, and cannot be released"
            elif releases[record.id] < _MOST_RELEASES:
                releases[record.id] += 1
                answer = await self.release("release what is left", record.id)
                why = f"its release was answered {answer}"
                await self._pace.until(partial(self._is_gone, record.id), CLEARING_SECONDS / 4)
        return why

    def _waits_for_orders(self, number: Unsettled) -> bool:
        return any(self._pace.now() < self._shows_until(sent) for sent in self._not_shown(number))

    async def why_untouchable(self) -> RefusedError | None:
        """Return why the number may not be touched any more; None if it may."""
        try:
            await self._require_untouched(self._require_number().e164)
        except RefusedError as exc:
            return exc
        return None

    def _not_shown(self, number: Unsettled) -> list[Sent]:
        """Return the orders that may have been carried out, and of which the account has shown nothing."""
        return [sent for sent in number.orders if not self._is_shown(number, sent)]

    def _is_shown(self, number: Unsettled, sent: Sent) -> bool:
        """Whether it is known what an order has come to, by its answer or by what the account has shown."""
        if sent.outcome in {"refused", "not sent"}:
            return True
        is_over = self._pace.now() >= self._shows_until(sent)
        if sent.number_id:
            # An answer may name the order in place of the record, which the account then shows under another id.
            return sent.number_id in number.seen or (is_over and bool(number.seen))
        if not number.seen:
            return is_over and sent.outcome == "turned away"  # a 429 may come after the purchase
        # A repetition without an answer may have made a record of its own: it is waited for, and not for ever.
        return is_over or sent is number.orders[0] or sent.outcome == "done"

    def _shows_until(self, sent: Sent) -> float:
        return sent.at + self._settings.settle_seconds

    async def _is_gone(self, number_id: str) -> bool:
        record = (await find_owned(self._client, number_id=number_id)).number
        return record is None or record.has_ended

    async def _first_look(self, e164: str) -> Unsettled:
        await self._require_untouched(e164)
        reading = await find_owned(self._client, e164=e164)
        if reading.living is not None:
            raise StopError("The account owns that number already; it was not ordered.", code="ALREADY_OWNED")
        if not reading.complete:
            raise StopError("The owned list could not be read whole just before ordering; nothing was ordered.")
        before = {record.id: not record.has_ended for record in reading.records}
        return Unsettled(self._record.run, e164, before, reading.unreadable)

    async def _order_once(self, asked: str, number: Unsettled, item: NumberForSale, key: str) -> WriteAnswer:
        if not self.affords(item):
            raise StopError("One more order would cost more than was agreed to; it was not sent.", code="OVER_AGREED")
        await self._require_untouched(number.e164)
        cents = item.due_now_cents or 0
        sent = self._record.ordering(number, self._pace.now(), key, cents)
        self.number = number
        self.orders += 1
        self.ordered_cents += cents
        order = Order(
            inventory_id=item.inventory_id,
            setup_cents=item.setup_cents,
            monthly_cents=item.monthly_cents,
            total_cents=item.due_now_cents,
        )
        answer = await self._send(
            asked, number.e164, lambda: self._client.purchase(order, idempotency_key=key), is_order=True
        )
        self._other = answer.other or self._other
        sent.outcome, sent.number_id = answer.outcome, answer.number_id
        if answer.outcome == "not sent":
            self.ordered_cents -= cents
            self.orders -= 1
        self._record.answered(number, sent)
        return answer

    async def _delete(self, asked: str, number: Unsettled, number_id: str, *, permanent: bool) -> WriteAnswer:
        self._record.writing(number, number_id, "delete" if permanent else "release", self._pace.now())
        key = f"{number.run}-release-{secrets.token_hex(4)}"  # a later run releases what an earlier one has ordered
        return await self._send(
            asked,
            number.e164,
            lambda: self._client.release_number(number_id, permanent=permanent, idempotency_key=key),
        )

    async def _again_after_429(self, send: Callable[[], Awaitable[WriteAnswer]]) -> WriteAnswer:
        """Send a change or a release; once more if KrosAI only wanted to be left alone for a moment."""
        answer = await send()
        if not isinstance(answer.error, RateLimitError):
            return answer
        wait = answer.error.retry_after_seconds or 1.0
        if wait > _LONGEST_WAIT_SECONDS:
            return answer
        await self._pace.sleep(wait)
        return await send()

    async def _send(
        self, asked: str, e164: str, send: Callable[[], Awaitable[Written]], *, is_order: bool = False
    ) -> WriteAnswer:
        """Send one request to its end, and keep what came as a fact."""
        begun = time.monotonic()
        with anyio.CancelScope(shield=True), overheard() as heard:  # an answer under way is worth waiting for
            answer = await answered(send, e164, heard, is_order=is_order)
        milliseconds = round((time.monotonic() - begun) * 1000) if answer.status is not None else None
        came = "; ".join(filter(None, (answer.said, answer.headers)))
        self.facts.append(Fact(asked, status_of(answer), milliseconds, came))
        return answer

    async def _require_ours(self, number_id: str) -> Unsettled:
        """Raise unless a record is of this run, and of no operation of the journal."""
        number = self._require_number()
        if not number.is_of_this_run(number_id):
            raise StopError("The account had that record before this run; nothing was sent.")
        if number.may_be_anothers and not self._was_asked_about:
            raise StopError(
                "KrosAI refused the order, and the account shows the number all the same: somebody else may have "
                "bought it just then, so it is left as it is.",
                code="MAY_BE_ANOTHERS",
            )
        await self._require_untouched(number.e164)
        return number

    async def _require_untouched(self, e164: str) -> None:
        if e164 in self._settings.protected_numbers:
            raise RefusedError(f"{e164} is protected (KROS_PROTECTED_NUMBERS).", code="PROTECTED_NUMBER")
        await self._require_no_operation(e164)

    def _require_number(self) -> Unsettled:
        if self.number is None:
            raise StopError("Nothing was ordered.")
        return self.number
