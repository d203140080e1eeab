"""The steps of a rehearsal, each of which answers some of its questions.

A step that cannot be done leaves its questions unanswered, with the reason, and the next one is tried. Where it is not
certain what an order has come to, nothing more is ordered: `StopError` ends the steps, and the sender clears up.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from kros_mcp.commands.findings import Finding, fail, ok, warn
from kros_mcp.commands.masking import short_word
from kros_mcp.commands.rehearsal_answer import WriteAnswer
from kros_mcp.commands.rehearsal_plan import Plan
from kros_mcp.commands.rehearsal_questions import QuestionAnswers
from kros_mcp.commands.rehearsal_sender import AccountView, Sender, SkipError, StopError, Waits
from kros_mcp.errors import KrosError, RecordError, RefusedError
from kros_mcp.krosai import (
    NOT_STATED,
    UNROUTED,
    Inventory,
    KrosClient,
    NumberForSale,
    PhoneNumber,
    Routing,
    Sighting,
    Spelling,
    find_owned,
    is_pending,
)

_LISTED_SECONDS: Final = 45.0
_CHANGED_SECONDS: Final = 12.0
_RELEASED_SECONDS: Final = 30.0
_BACK_SECONDS: Final = 15.0
_PATCHED: Final = (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT)
_ORDERED: Final = (HTTPStatus.OK, HTTPStatus.CREATED)
_HEEDED: Final = "heeded"
_IGNORED: Final = "ignored"
_MOST_RELEASES: Final = 2
_OTHER_PRICE: Final = "not tried, since the price is another than offered"
_NOT_TAKEN: Final = frozenset({"refused", "turned away", "not sent"})
"""Outcomes of a request on which KrosAI says that it did not act."""
_TOO_DEAR: Final = "not tried, since --at-most-cents allows no further order"


@dataclass
class Rehearsal:
    """One run.

    Args:
        client: KrosAI.
        plan: What a person agreed to.
        sender: What sends it.
        run: Its name, from which the idempotency keys derive.
        pace: How it waits.
        told: Called with a sentence for the person at the terminal.
    """

    client: KrosClient
    plan: Plan
    sender: Sender
    run: str
    pace: Waits
    told: Callable[[str], None]
    notes: QuestionAnswers = field(default_factory=QuestionAnswers)
    why: str = "the rehearsal did not come to it"
    """Why the questions that are left were not answered."""
    _number: PhoneNumber | None = None
    _price_moved: bool = False
    _first: WriteAnswer | None = None
    _answered_at: float = 0.0
    _heeded: dict[Spelling, dict[str, str]] = field(default_factory=lambda: {"snake": {}, "camel": {}})
    _changes: list[tuple[WriteAnswer, float | None]] = field(default_factory=list)

    async def go(self) -> None:
        """Do every step; what stops them is noted and ends the rehearsal."""
        self._inventory = Inventory(self.client)
        self._item = self.plan.item
        for step, goes_on, questions in (
            (self._order, False, ("order", "headers")),
            (self._watch_lists, True, ("listed", "unlisted")),
            (self._read_back, True, ("price", "flags")),
            (self._repeat, False, ("same_key",)),
            (self._order_second, False, ("other_key",)),
            (self._route, True, ("detach_null", "detach_empty", "snake", "camel", "change")),
            (self._release, False, ("release", "remains", "back")),
            (self._release_again, True, ("release_again",)),
            (self._order_again, False, ("again",)),
            (self._delete, True, ("permanent",)),
        ):
            try:
                await step()
            except SkipError as exc:
                self.notes.missed(exc.message, *questions)
            except KrosError as exc:
                self.notes.failed(f"{exc.message} ({exc.code})", *questions)
                if not goes_on or isinstance(exc, StopError | RefusedError | RecordError):
                    self.why = f"ended before: {exc.message} ({exc.code})"
                    return

    @property
    def has_bought(self) -> bool:
        """Whether the account has shown the number as bought, in time for the steps to go on."""
        return self._number is not None

    @property
    def _owned(self) -> PhoneNumber:
        if self._number is None:
            raise StopError("No number was bought.", code="NOT_BOUGHT")
        return self._number

    async def _order(self) -> None:
        self._item = await self._require_offered()
        self.told(f"Ordering {self._item.e164}.")
        answer = await self.sender.order("order the number", self._item, f"{self.run}-1")
        self._first, self._answered_at = answer, self.pace.now()
        headers = answer.headers or "none of those"
        echoed = "(ours)" in headers
        if answer.status is not None:
            self.notes.saw("headers", headers, as_assumed=echoed)
        number = await self._await_owned(answer)
        if number is None:
            self._note_not_bought(answer)
            raise StopError(
                f"No number was bought: {answer}.", code=answer.error.code if answer.error else "NOT_BOUGHT"
            )
        plain = answer.outcome == "done" and answer.status in _ORDERED
        seen = str(answer) if answer.outcome == "done" else f"{answer}; the account then showed it as bought"
        self.notes.saw("order", seen, as_assumed=plain)
        if answer.outcome == "refused":
            raise StopError("KrosAI refused the order, and the account shows the number all the same.")
        self._number = number

    def _note_not_bought(self, answer: WriteAnswer) -> None:
        if answer.outcome in {"refused", "turned away"} and answer.error is not None:
            self.notes.saw(
                "order",
                f"refused: {answer}",
                as_assumed=False,
                follows=fail(f"The order was refused: {answer.error.message}", answer.error.next_step),
            )
        elif answer.outcome == "not sent" and answer.error is not None:
            self.notes.missed(f"{answer.error.message} ({answer.error.code})", "order")
        else:
            came_to_nothing = fail(
                "KrosAI took the order, and the account does not show the number as bought.",
                "Look in KrosAI's dashboard what came of it, and whether it was charged.",
            )
            seen = f"{answer}; the account has not shown it as bought"
            self.notes.saw("order", seen, as_assumed=False, follows=came_to_nothing)
            if answer.outcome == "done":
                self._note_unlisted()

    async def _await_owned(self, answer: WriteAnswer) -> PhoneNumber | None:
        """Return the number once it is owned and no longer pending; None if a refused order shows nothing of it."""
        found: list[PhoneNumber] = []

        async def is_owned() -> bool:
            living = [record for record in (await self.sender.look()).living if not is_pending(record.status)]
            found.extend(living[:1])
            return bool(living)

        seconds = 0.0 if answer.outcome in _NOT_TAKEN else _LISTED_SECONDS
        if answer.outcome != "not sent":
            await self.pace.until(is_owned, seconds)
        return found[0] if found else None

    async def _watch_lists(self) -> None:
        """Time how long the owned list, the single record and the offers take to agree on the purchase."""
        number, times = self._owned, dict[str, float]()
        complete = True

        async def agree() -> bool:
            nonlocal complete
            listed = await find_owned(self.client, e164=number.e164, readings=1)
            single = await find_owned(self.client, number_id=number.id)
            offered = await self._inventory.find(
                Sighting(e164=number.e164, country=self.plan.country, type=self.plan.type)
            )
            complete = offered.complete or offered.item is not None
            for name, holds in (
                ("listed", any(record.id == number.id for record in listed.records)),
                ("single", single.number is not None),
                ("unlisted", offered.item is None and offered.complete),
            ):
                if holds:
                    times.setdefault(name, self.pace.now() - self._answered_at)
            return {"listed", "single"} <= times.keys() and ("unlisted" in times or not complete)

        await self.pace.until(agree, _LISTED_SECONDS)
        if "listed" in times:
            single = f"found by its id after {_said(times['single'])}" if "single" in times else "not found by its id"
            self.notes.saw("listed", f"{_said(times['listed'])} later; {single}", as_assumed="single" in times)
        else:
            self._note_unlisted()
        if "unlisted" in times:
            self.notes.saw("unlisted", f"{_said(times['unlisted'])} later", as_assumed=True)
        elif complete:
            self.notes.saw("unlisted", f"still for sale after {_LISTED_SECONDS:.0f} s", as_assumed=False)
        else:
            self.notes.missed("the offers are too many to be read whole", "unlisted")

    def _note_unlisted(self) -> None:
        long = warn(
            f"The owned list did not show the number within {_LISTED_SECONDS:.0f} seconds of its purchase.",
            "Set KROS_SETTLE_SECONDS higher, so that no purchase is called failed too early.",
        )
        self.notes.saw("listed", f"not within {_LISTED_SECONDS:.0f} s", as_assumed=False, follows=long)

    async def _read_back(self) -> None:
        number = await self.client.get_number(self._owned.id)
        self._number = number
        offered = self.plan.item.monthly_cents
        self._price_moved = number.monthly_cents not in {None, offered}
        if number.monthly_cents is None:
            self.notes.saw(
                "price",
                "not stated",
                as_assumed=False,
                follows=warn(
                    "KrosAI does not state what an owned number costs.",
                    "Leave KROS_MONTHLY_COMMITMENT_CENTS off: with it, every purchase would be refused.",
                ),
            )
        else:
            differs = fail(
                "The number costs another price a month than it was offered for.",
                "Do not buy before KrosAI explains it.",
            )
            self.notes.saw(
                "price",
                "another than offered" if self._price_moved else "as offered",
                as_assumed=not self._price_moved,
                follows=differs if self._price_moved else None,
            )
        flags = {"inbound": number.allow_inbound, "outbound": number.allow_outbound}
        seen = ", ".join(f"{name} {_FLAGS[value]}" for name, value in flags.items())
        beside = ", routed somewhere" if number.endpoint_id else ", not routed"
        if number.endpoint_id == NOT_STATED:
            beside = ", where it is routed is not stated"
        stated = None not in flags.values()
        unstated = warn("KrosAI does not state the flags of a number.", "Look in its dashboard after each purchase.")
        self.notes.saw("flags", seen + beside, as_assumed=stated, follows=None if stated else unstated)

    async def _repeat(self) -> None:
        answer, seen, same = await self._order_more("order it again under the same key", f"{self.run}-1")
        if self._first is not None and same and answer.body == self._first.body:
            seen += ", word for word the first answer"
        again = warn(
            "An order that is repeated under its idempotency key is carried out, or answered otherwise.",
            "Nothing to do: an order is repeated only after a 429 and a look. Compare the bill in KrosAI's dashboard.",
        )
        self.notes.saw("same_key", seen, as_assumed=same, follows=None if same else again)

    async def _order_second(self) -> None:
        answer, seen, _ = await self._order_more("order it again under another key", f"{self.run}-2")
        refused = answer.outcome == "refused"
        sold = warn(
            "KrosAI takes an order of a number that the account owns.",
            "Nothing to do here: the owned list is read before each order. Let no other program buy on this account.",
        )
        self.notes.saw("other_key", seen, as_assumed=refused, follows=None if refused else sold)

    async def _order_more(self, asked: str, key: str) -> tuple[WriteAnswer, str, bool]:
        """Order what is owned once more; return the answer, it in words, and whether it names the one record there is.

        Raises:
            SkipError: There is no answer to the question.
            StopError: It cannot be known what the order has come to.
        """
        self._require_affordable()
        owned = self._owned
        answer = await self.sender.order(asked, self._item, key)
        view = await self.sender.look()
        records = len(view.living)
        named = "the same record" if answer.number_id == owned.id else "another record" if answer.number_id else ""
        seen = ", ".join(filter(None, (str(answer), named, f"owned by {records} record{'s' if records != 1 else ''}")))
        if answer.outcome == "unknown" or (answer.outcome == "unclear" and not answer.number_id):
            self.notes.saw("same_key" if key.endswith("-1") else "other_key", seen, as_assumed=False)
            raise StopError("It is not known what a further order has come to.", code="OUTCOME_UNKNOWN")
        if answer.outcome in {"turned away", "not sent"}:
            raise SkipError(f"KrosAI did not take it: {answer}")
        return answer, seen, named == "the same record" and records == 1

    def _require_affordable(self) -> None:
        """Raise if no further order fits what was agreed to, or the price is not the one that was agreed to."""
        if self._price_moved:
            raise SkipError(_OTHER_PRICE)
        if not self.sender.affords(self._item):
            raise SkipError(_TOO_DEAR)

    async def _route(self) -> None:
        """Change where calls go and a flag, in both spellings, and detach the number in two ways."""
        endpoints = self.plan.endpoints
        if endpoints:
            await self._change("endpoint", Routing(endpoint_id=endpoints[0].id), "snake")
            await self._detach("detach_null", Routing(endpoint_id=UNROUTED), "null")
            routed = self._owned.endpoint_id
            other = next((each.id for each in endpoints if each.id != routed), "")
            if other:
                await self._change("endpoint", Routing(endpoint_id=other), "camel")
            await self._detach("detach_empty", Routing(endpoint_id=""), "empty")
        else:
            self.notes.missed(self.plan.no_endpoints, "detach_null", "detach_empty")
        flag = self._owned.allow_outbound
        if flag is not None:
            await self._change("flag", Routing(allow_outbound=not flag), "snake")
            await self._change("flag", Routing(allow_outbound=not self._owned.allow_outbound), "camel")
        self._note_changes()

    async def _change(self, what: str, changes: Routing, spelling: Spelling) -> None:
        name = "endpointId" if spelling == "camel" else "endpoint_id"
        if what == "flag":
            name = "allowOutbound" if spelling == "camel" else "allow_outbound"

        def shows(number: PhoneNumber) -> bool:
            wanted = (
                (changes.endpoint_id, number.endpoint_id)
                if what == "endpoint"
                else (changes.allow_outbound, number.allow_outbound)
            )
            return wanted[0] == wanted[1]

        answer, seconds = await self._patch(f"set {name}", changes, spelling, shows)
        not_taken = _IGNORED if answer.outcome == "done" else f"not taken ({answer})"
        self._heeded[spelling][what] = _HEEDED if seconds is not None else not_taken

    async def _detach(self, question: str, changes: Routing, word: str) -> None:
        if not self._owned.endpoint_id:
            is_known = self._owned.endpoint_id != NOT_STATED
            why = "the number was not routed then" if is_known else "KrosAI does not state where the number is routed"
            self.notes.missed(why, question)
            return
        answer, seconds = await self._patch(
            f"detach it by an endpoint_id that is {word}", changes, "snake", lambda number: number.endpoint_id is None
        )
        detached = seconds is not None
        seen = f"{answer}; {'detached' if detached else 'still routed'}"
        self.notes.saw(question, seen, as_assumed=detached if question == "detach_null" else not detached)

    async def _patch(
        self, asked: str, changes: Routing, spelling: Spelling, shows: Callable[[PhoneNumber], bool]
    ) -> tuple[WriteAnswer, float | None]:
        """Send a change, and return its answer and after how many seconds the number shows it; None if never."""
        answer = await self.sender.change(asked, self._owned.id, changes, spelling)

        async def is_shown() -> bool:
            self._number = await self.client.get_number(self._owned.id)
            return shows(self._number)

        seconds = await self.pace.until(is_shown, 0.0 if answer.outcome in _NOT_TAKEN else _CHANGED_SECONDS)
        self._changes.append((answer, seconds))
        return answer, seconds

    def _note_changes(self) -> None:
        if not self._changes:
            self.notes.missed("KrosAI states no flag, and there was no endpoint", "snake", "camel", "change")
            return
        taken = [answer for answer, _ in self._changes if answer.outcome not in _NOT_TAKEN]
        answers = "; ".join(dict.fromkeys(map(str, taken or (answer for answer, _ in self._changes))))
        shown = [seconds for _, seconds in self._changes if seconds is not None]
        slowest = f"; shown within {_said(max(shown))}" if shown else ""
        plain = bool(taken) and all(answer.status in _PATCHED for answer in taken)
        self.notes.saw("change", answers + slowest, as_assumed=plain and max(shown, default=0.0) <= 5.5)  # noqa: PLR2004
        for spelling, of in self._heeded.items():
            if of:
                seen = ", ".join(f"{what} {how}" for what, how in of.items())
                self.notes.saw(
                    spelling, seen, as_assumed=set(of.values()) == {_HEEDED}, follows=self._follows(spelling)
                )
            else:
                self.notes.missed("no change was tried in it", spelling)

    def _follows(self, spelling: Spelling) -> Finding | None:
        """Return what follows where snake_case, which is sent first, goes unheeded."""
        snake, camel = (set(self._heeded[each].values()) for each in ("snake", "camel"))
        if spelling == "camel" or _IGNORED not in snake:
            return None
        if _HEEDED in camel:
            return ok("KrosAI ignores snake_case; changes are sent again in camelCase by themselves.")
        if _HEEDED in snake or camel != {_IGNORED}:
            return warn("KrosAI ignores a change in snake_case.", "Look at each result's not_applied, and report this.")
        return fail(
            "KrosAI heeds neither spelling of a change: no number can be routed from here.",
            "Route numbers in KrosAI's dashboard, and report this.",
        )

    async def _release(self) -> None:
        """Release every record, and look what is left of it."""
        number = self._owned
        self.told(f"Releasing {number.e164}.")
        view, answers, seconds = await self._release_all()
        self.notes.saw(
            "release",
            "; then ".join(map(str, answers)),
            as_assumed=all(answer.outcome == "done" and answer.status in _PATCHED for answer in answers),
        )
        if seconds is None:
            taken = any(answer.outcome == "done" for answer in answers)
            stands = fail("A number that was released still stands as owned.", "Look in KrosAI's dashboard.")
            seen = "the number, owned as before"
            self.notes.saw("remains", seen, as_assumed=False, follows=stands if taken else None)
            raise StopError("The number is owned after its release.", code="STILL_OWNED")
        left = next((record for record in view.records if record.id == number.id), None)
        status = short_word(left.status) if left is not None else None
        remains = "no record"
        if left is not None:
            where = "listed" if left.id in view.listed else "found by its id alone"
            remains = f"its record, {status or 'in a status that is no plain word'} and {where}"
        self.notes.saw("remains", f"{remains}, {_said(seconds)} later", as_assumed=True)
        if not await self.sender.close(view):
            raise StopError("It is not certain that nothing is owned any more.", code="OUTCOME_UNKNOWN")

        async def is_back() -> bool:
            return await self._offer_of(number.e164) is not None

        seconds = await self.pace.until(is_back, _BACK_SECONDS)
        said = f"yes, {_said(seconds)} later" if seconds is not None else f"not within {_BACK_SECONDS:.0f} s"
        self.notes.saw("back", said, as_assumed=True)

    async def _release_all(self) -> tuple[AccountView, list[WriteAnswer], float | None]:
        """Release every record that is owned, once more if a look shows that the first was in vain.

        Returns:
            What was seen last, the answers, and how many seconds the account took to show it; None if it never did.
        """
        view = await self.sender.look()
        answers: list[WriteAnswer] = []

        async def is_released() -> bool:
            nonlocal view
            view = await self.sender.look()
            return not view.living

        for _ in range(_MOST_RELEASES):
            last = [await self.sender.release("release it softly", record.id) for record in view.living]
            answers += last
            in_vain = all(answer.outcome in _NOT_TAKEN for answer in last)
            seconds = await self.pace.until(is_released, 0.0 if in_vain else _RELEASED_SECONDS)
            if seconds is not None:
                return view, answers, seconds
        return view, answers, None

    async def _release_again(self) -> None:
        answer = await self.sender.release_again("release it once more", self._owned.id, permanent=False)
        self.notes.saw(
            "release_again", str(answer), as_assumed=answer.outcome == "refused" or answer.status in _PATCHED
        )

    async def _order_again(self) -> None:
        """Buy the number back if it is for sale at a price that still fits, and release it again."""
        former = self._owned
        item = await self._offer_of(former.e164)
        if item is None:
            raise SkipError("it was not for sale again")
        if self._price_moved or _price(item) != _price(self.plan.item):
            raise SkipError(_OTHER_PRICE)
        if not self.sender.affords(item):
            raise SkipError(_TOO_DEAR)
        self.told(f"Ordering {former.e164} once more.")
        answer = await self.sender.order("order it after its release", item, f"{self.run}-3")
        number = await self._await_owned(answer)
        if number is None:
            self.notes.saw("again", f"{answer}; the account has not shown it as bought", as_assumed=False)
            if await self.sender.clear() is not None:
                raise StopError("It is not known whether the number was bought again.", code="OUTCOME_UNKNOWN")
            return
        record = "the old record lives again" if number.id == former.id else "a new record"
        self.notes.saw("again", f"{answer}; {record}", as_assumed=True)
        self._number = number
        self.told(f"Releasing {number.e164} again.")
        if (left := await self.sender.clear()) is not None:
            raise StopError(f"It is left owned: {left.why}.", code="STILL_OWNED")

    async def _delete(self) -> None:
        if not self.plan.permanent:
            raise SkipError("not asked for (--permanent)")
        number_id = next(reversed(self.sender.given_up), "")
        if not number_id or (await find_owned(self.client, number_id=number_id)).number is None:
            raise SkipError("the release left no record of this run")
        answer = await self.sender.release_again("delete its record for good", number_id, permanent=True)
        gone = (await find_owned(self.client, number_id=number_id)).number is None
        seen = f"{answer}; {'no record is left' if gone else 'the record is still there'}"
        self.notes.saw("permanent", seen, as_assumed=gone)

    async def _offer_of(self, e164: str) -> NumberForSale | None:
        """Return the offer of a number; None if it is not seen for sale."""
        return (await self._inventory.find(Sighting(e164=e164, country=self.plan.country, type=self.plan.type))).item

    async def _require_offered(self) -> NumberForSale:
        """Return the number as it is for sale now; raise unless it is, at the price that was agreed to."""
        item = self.plan.item
        costs = _price(item)[:3]
        sought = Sighting(item.inventory_id, item.e164, self.plan.country, self.plan.type, price=costs)
        offered = (await self._inventory.find(sought)).item
        if offered is None:
            raise StopError("The number was not seen for sale any more just before ordering it.", code="NOT_SEEN")
        if _price(offered) != _price(item):
            raise StopError("Its price has changed since it was agreed to; nothing was ordered.", code="PRICE_CHANGED")
        return offered


_FLAGS: Final = {True: "on", False: "off", None: "not stated"}


def _price(item: NumberForSale) -> tuple[int | None, int | None, int | None, str | None]:
    return item.setup_cents, item.monthly_cents, item.due_now_cents, item.currency


def _said(seconds: float) -> str:
    return f"{seconds:.1f} s"
