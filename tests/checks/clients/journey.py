"""What every client must manage, from the list of tools to a purchase that takes longer than it waits.

Each step checks what the client's model was shown, and then the simulator's books: who is told `done` without a
number in the books has been told wrong, and so has who is told `no` while money moved.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from kros_mcp.tools.registry import build_tools

from .conversation import Conversation
from .facts import Shown, StepError
from .roster import Bridge, Transport
from .world import Krosai

LONGEST_ANSWER_SECONDS = 5.0
"""What LiveKit, openai-agents and google-adk wait for unless told otherwise."""
_OWN_SERVER_SECONDS = 5.0
"""What a client may take beside to start a server for a call, and to end it; the SDK waits two seconds for that."""
_END_SECONDS = 40.0
"""A purchase whose server was ended meanwhile is looked up once its lease of 15 seconds is over."""
_COUNTRY, _PREFIX = "NG", "+234"


@dataclass(frozen=True)
class Offer:
    """A number for sale, as it was shown."""

    inventory_id: str
    e164: str
    due_now_cents: str


@dataclass
class Journey:
    """One client on its way; steps leave behind what the next ones need."""

    bridge: Bridge
    transport: Transport
    krosai: Krosai
    talk: Conversation
    offers: list[Offer] = field(default_factory=list)
    bought: str = ""
    """The E.164 that was bought by code, and is routed and released after that."""

    async def tools(self) -> None:
        """The model is given every tool, with its description."""
        published = {tool.name: tool.description for tool in build_tools()}
        given = {tool["name"]: " ".join((tool["description"] or "").split()) for tool in self.talk.client["tools"]}
        _same("tools", sorted(given), sorted(published))
        for name, description in published.items():
            _must(description in given[name], f"{name} is described as {given[name][:80]!r}")

    async def search(self) -> None:
        """Numbers for sale are shown with what they cost."""
        before = await self.krosai.state()
        shown = await self.talk.call("search_phone_numbers", country=_COUNTRY, type="local", limit=5)
        rows = list(shown.rows("numbers"))
        _same("numbers shown", len(rows), 5)
        self.offers = [
            Offer(*(shown[f"numbers.{row}.{name}"] for name in ("inventory_id", "e164", "due_now_cents")))
            for row in rows
        ]
        _must(all(offer.e164.startswith(_PREFIX) for offer in self.offers), "numbers of another country were shown")
        after = await self.krosai.state()
        _must(len(after["requests"]) > len(before["requests"]), "KrosAI was not asked")
        self._unspent(before, after)

    async def buy_by_code(self) -> None:
        """The first call asks, the second one with its code buys, at the price that was shown."""
        offer, before = self._offer(), await self.krosai.state()
        code = await self._code(offer)
        shown = await self._buy(offer, code=code)
        await self._bought(shown, offer, before)
        self.bought = offer.e164

    async def buy_by_prompt(self) -> None:
        """The person reads number and price in the client's own prompt, says yes, and has the number."""
        offer, before = self._offer(), await self.krosai.state()
        yes = {"action": "accept", "content": {"decision": "buy"}}
        shown = await self._buy(offer, yes)
        self._asked(shown, offer)
        await self._bought(shown, offer, before)

    async def decline(self) -> None:
        """The person says no to the prompt, and nothing is bought."""
        offer, before = self._offer(), await self.krosai.state()
        shown = await self._buy(offer, {"action": "decline"})
        self._asked(shown, offer)
        _same("status", shown["status"], "declined")
        _same("charged", shown["charged"], "no")
        self._unspent(before, await self.krosai.state())

    async def route(self) -> None:
        """The number's calls go where the person wanted them, and the number says so."""
        self._need("nothing was bought to route", self.bought)
        listed = await self.talk.call("list_endpoints")
        row = next((row for row in listed.rows("endpoints") if listed[f"endpoints.{row}.name"] == "Order line"), 0)
        _must(row > 0, "the endpoint called Order line is not shown")
        endpoint = listed[f"endpoints.{row}.endpoint_id"]
        changed = await self.talk.call(
            "configure_phone_number", number_id=self.bought, endpoint_id=endpoint, allow_outbound="on"
        )
        _same("status", changed["status"], "done")
        _same("after.endpoint_id", changed["after.endpoint_id"], endpoint)
        number = self._owned(await self.krosai.state(), self.bought)
        _same("endpoint in KrosAI's books", number["endpoint_id"], endpoint)
        _must(number["allow_outbound"] is True, "outbound calls are off in KrosAI's books")
        seen = await self.talk.call("get_phone_number", number_id=self.bought)
        _same("endpoint_id", seen["endpoint_id"], endpoint)
        _same("allow_outbound", seen["allow_outbound"], "yes")

    async def release(self) -> None:
        """The first call asks and releases nothing, the second one with its code gives the number up."""
        self._need("nothing was bought to release", self.bought)
        asked = await self.talk.call("release_phone_number", number_id=self.bought)
        _same("status", asked["status"], "confirmation_required")
        number = self._owned(await self.krosai.state(), self.bought)
        _same("status in KrosAI's books", number["status"], "active")
        done = await self.talk.call(
            "release_phone_number", number_id=self.bought, confirmation_code=asked["confirmation_code"]
        )
        _same("status", done["status"], "done")
        _same("changed", done["changed"], "yes")
        owned = (await self.krosai.state())["owned"]
        still = [each for each in owned if each["e164"] == self.bought and each["status"] == "active"]
        _must(not still, "KrosAI's books show the number as active still")

    async def refusal(self) -> None:
        """KrosAI refuses a purchase; the model learns why, and that nothing was charged."""
        offer, before = self._offer(), await self.krosai.state()
        code = await self._code(offer)
        await self.krosai.set_balance(0)
        try:
            shown = await self._buy(offer, code=code)
        finally:
            await self.krosai.set_balance(before["balance_cents"])
        _same("code", shown["code"], "INSUFFICIENT_BALANCE")
        _same("charged", shown["charged"], "no")
        _must(bool(shown["next_step"]), "it is not said what to do next")
        _same("mark of failure", shown.error, True if self.bridge.marks_failures else None)
        self._unspent(before, await self.krosai.state())

    async def five_seconds(self) -> None:
        """KrosAI takes its time: the client is told in time that it goes on, and later how it ended."""
        offer, before = self._offer(), await self.krosai.state()
        code = await self._code(offer)
        await self.krosai.hold_purchases()
        try:
            shown = await self._buy(offer, code=code)
            _same("status", shown["status"], "pending")
            _must(shown.seconds < self._longest_seconds, f"it answered after {shown.seconds:.1f} seconds")
            meanwhile = await self.krosai.state()
            in_course = [each for each in meanwhile["requests"] if (each["method"], each["status"]) == ("POST", None)]
            _must(len(in_course) == 1, f"{len(in_course)} purchases are in course at KrosAI, not one")
            self._unspent(before, meanwhile)
        finally:
            await self.krosai.let_go()
        await self._bought(await self._end(shown["operation_id"]), offer, before)

    @property
    def _longest_seconds(self) -> float:
        own_server = self.bridge.server_per_call and self.transport == "stdio"
        return LONGEST_ANSWER_SECONDS + (_OWN_SERVER_SECONDS if own_server else 0)

    async def _end(self, operation_id: str) -> Shown:
        with anyio.move_on_after(_END_SECONDS):
            while True:
                shown = await self.talk.call("get_operation", operation_id=operation_id)
                if shown["status"] != "pending":
                    return shown
        raise StepError(f"get_operation still said pending {_END_SECONDS:.0f} seconds after KrosAI had answered")

    async def _buy(self, offer: Offer, answer: dict[str, Any] | None = None, code: str = "") -> Shown:
        given = {"country": _COUNTRY, "inventory_id": offer.inventory_id} | (
            {"confirmation_code": code} if code else {}
        )
        return await self.talk.call("buy_phone_number", answer, **given)

    async def _code(self, offer: Offer) -> str:
        """Ask for a purchase, and give the code that would confirm it."""
        before = await self.krosai.state()
        shown = await self._buy(offer)
        _same("prompt, though the client has no handler for it", shown.asked, None)
        _same("status", shown["status"], "confirmation_required")
        _same("quote.e164", shown["quote.e164"], offer.e164)
        _same("quote.due_now_cents", shown["quote.due_now_cents"], offer.due_now_cents)
        self._unspent(before, await self.krosai.state())
        return shown["confirmation_code"]

    def _asked(self, shown: Shown, offer: Offer) -> None:
        _must(shown.asked is not None, "no prompt was shown")
        amount = f"{int(offer.due_now_cents) / 100:.2f}"
        for wanted in (offer.e164, amount):
            _must(wanted in (shown.asked or ""), f"the prompt does not say {wanted}: {shown.asked!r}")

    async def _bought(self, shown: Shown, offer: Offer, before: dict[str, Any]) -> None:
        _same("status", shown["status"], "done")
        _same("charged", shown["charged"], "yes")
        _same("number.e164", shown["number.e164"], offer.e164)
        after = await self.krosai.state()
        new = [(charge["e164"], str(charge["cents"])) for charge in after["charges"][len(before["charges"]) :]]
        _same("charges in KrosAI's books", new, [(offer.e164, offer.due_now_cents)])
        _same("status in KrosAI's books", self._owned(after, offer.e164)["status"], "active")

    def _offer(self) -> Offer:
        self._need("no number for sale was shown", self.offers)
        return self.offers.pop(0)

    @staticmethod
    def _need(otherwise: str, needed: object) -> None:
        _must(bool(needed), f"not tried: {otherwise}")

    @staticmethod
    def _owned(state: dict[str, Any], e164: str) -> dict[str, Any]:
        found = [number for number in state["owned"] if number["e164"] == e164]
        _must(len(found) == 1, f"KrosAI's books show {e164} {len(found)} times")
        number: dict[str, Any] = found[0]
        return number

    @staticmethod
    def _unspent(before: dict[str, Any], after: dict[str, Any]) -> None:
        _same("charges in KrosAI's books", after["charges"], before["charges"])
        _same("numbers in KrosAI's books", after["owned"], before["owned"])


Step = Callable[[Journey], Awaitable[None]]
STEPS: dict[str, Step] = {
    "tools": Journey.tools,
    "search": Journey.search,
    "buy by code": Journey.buy_by_code,
    "buy by prompt": Journey.buy_by_prompt,
    "decline": Journey.decline,
    "route": Journey.route,
    "release": Journey.release,
    "refusal": Journey.refusal,
    "five seconds": Journey.five_seconds,
}
"""What the table has a column for."""
PROMPTED = ("buy by prompt", "decline")
"""Those that need a handler for prompts; all others are gone through without one, as most users connect."""


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise StepError(otherwise)


def _same(what: str, shown: object, expected: object) -> None:
    _must(shown == expected, f"{what}: {shown!r} where {expected!r} was expected")
