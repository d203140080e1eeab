"""What agents do all day: search, buy, ask again, replay, look up, withdraw, configure and release."""

import random
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import anyio

from .clients import Connection
from .people import BROKEN, CANCEL, DECLINE, MALFORMED, NO, SILENT, SLIP, Book

COUNTRIES = ("NG", "KE", "GH", "RW", "AE", "EG")
"""Where agents look; the last is not allowed by the servers' settings."""
MOST_QUESTIONS = 4
MOST_LOOKS = 6
LOOK_SECONDS = 1.0
UNASKED = frozenset({"PROMPT_UNANSWERED", "SCREEN_UNAVAILABLE"})
"""What is worth asking again: the prompt broke, or no browser opened the page."""
GIVEN_UP = frozenset({"done", "ALREADY_RELEASED", "NUMBER_NOT_OWNED", "NUMBER_NOT_FOUND"})
Told = dict[str, Any] | None


@dataclass
class Known:
    """What the agents of one principal remember together."""

    operations: deque[str] = field(default_factory=lambda: deque(maxlen=60))
    bought: list[str] = field(default_factory=list)
    spent_codes: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=20))

    def remember_bought(self, e164: str) -> None:
        if e164 not in self.bought:
            self.bought.append(e164)


@dataclass
class Town:
    """What all agents share: chance, the book, the offers that are talked about, and each other's clients."""

    chance: random.Random
    book: Book
    connections: tuple[Connection, ...]
    protected: tuple[str, ...]
    known: defaultdict[str, Known] = field(default_factory=lambda: defaultdict(Known))
    offers: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=12))
    endpoints: list[str] = field(default_factory=list)
    once_owned: tuple[dict[str, Any], ...] = ()
    """Offers of numbers that the account had once, and that people want back."""
    strangers: "list[Town]" = field(default_factory=list)
    """Those of other organizations, whose operations and codes are none of anybody's business here."""

    def peers(self, of: Connection) -> list[Connection]:
        """The clients of the same principal, this one among them."""
        return [each for each in self.connections if each.kind.principal == of.kind.principal]


class Agent:
    """One agent at one client; several may share a client."""

    def __init__(self, town: Town, connection: Connection) -> None:
        self._town, self._client = town, connection
        self._chance = town.chance
        self._known = town.known[connection.kind.principal]
        self._deeds: dict[Callable[[], Coroutine[Any, Any, None]], int] = {
            self._buy: 45,
            self._buy_several: 12,
            self._release_several: 3,
            self._configure_several: 3,
            self._release: 8,
            self._configure: 8,
            self._configure_protected: 5,
            self._look_up: 6,
            self._withdraw: 2,
            self._replay: 4,
            self._read: 4,
            self._pry: 6 if town.strangers else 0,
        }

    async def live(self) -> None:
        """Do one thing after the other. Until cancelled."""
        while True:
            await self._chance.choices(list(self._deeds), weights=list(self._deeds.values()))[0]()
            await anyio.sleep(self._chance.uniform(0, 0.3))

    async def _buy(self) -> None:
        offer = await self._offer()
        if offer is None:
            return
        named = {"inventory_id": offer["inventory_id"]}
        if self._often(0.35):
            named = {"e164": offer["e164"], "country": offer["country"], "type": offer["type"]}
        wish: dict[str, Any] = {**named, "allow_outbound": self._often(0.7)}
        if self._town.endpoints and self._often(0.4):
            wish["endpoint_id"] = self._chance.choice(self._town.endpoints)
        told = await self._agree("buy_phone_number", wish)
        if told is not None and told["outcome"] == "done":
            self._known.remember_bought(offer["e164"])

    async def _buy_several(self) -> None:
        """Buy what one search shows, now and then with a number that others are talking about, or one too many."""
        offers = await self._offers(self._chance.randrange(2, 6))
        if self._town.offers and self._often(0.15):
            offers.append(self._chance.choice(self._town.offers))
        if len(offers) < 2:
            return
        wish: dict[str, Any] = {"inventory_id": ",".join(each["inventory_id"] for each in offers)}
        if self._town.endpoints and self._often(0.4):
            wish["endpoint_id"] = self._chance.choice(self._town.endpoints)
        told = await self._agree("buy_phone_number", wish)
        for item in (told or {}).get("items") or []:
            if item["status"] == "done":
                self._known.remember_bought(item["e164"])

    async def _release_several(self) -> None:
        if len(self._known.bought) < 2:
            return
        chosen = self._chance.sample(self._known.bought, min(len(self._known.bought), self._chance.randrange(2, 4)))
        wish = {"number_id": ",".join(chosen), "permanent": self._often(0.2)}
        told = await self._agree("release_phone_number", wish)
        if told is not None and not told.get("items") and told["outcome"] in GIVEN_UP:  # of one of them, and of which?
            self._known.bought[:] = [e164 for e164 in self._known.bought if e164 not in chosen]
        for item in (told or {}).get("items") or []:
            if (item.get("code") or item["status"]) in GIVEN_UP and item["e164"] in self._known.bought:
                self._known.bought.remove(item["e164"])

    async def _configure_several(self) -> None:
        """Change several numbers; with a protected one among them that is asked first."""
        chosen = self._chance.sample(self._known.bought, min(len(self._known.bought), 2))
        if self._often(0.5):
            chosen.append(self._chance.choice(self._town.protected))
        if len(chosen) > 1:
            await self._set(",".join(chosen))

    async def _release(self) -> None:
        if not self._known.bought:
            return
        e164 = self._chance.choice(self._known.bought)
        told = await self._agree("release_phone_number", {"number_id": e164, "permanent": self._often(0.2)})
        if told is not None and told["outcome"] in GIVEN_UP and e164 in self._known.bought:
            self._known.bought.remove(e164)

    async def _configure(self) -> None:
        if self._known.bought:
            await self._set(self._chance.choice(self._known.bought))

    async def _configure_protected(self) -> None:
        e164 = self._chance.choice(self._town.protected)
        if self._often(0.1):
            await self._agree("release_phone_number", {"number_id": e164})
        else:
            await self._set(e164)

    async def _set(self, e164: str) -> None:
        wish: dict[str, Any] = {"number_id": e164, "allow_inbound": self._chance.choice(("on", "off", "keep"))}
        if self._town.endpoints and self._often(0.8):
            named = self._chance.choice(self._town.endpoints)
            wish["endpoint_id"] = "unrouted" if self._often(0.5) else named
        await self._agree("configure_phone_number", wish)

    async def _look_up(self) -> None:
        if self._known.operations:
            told = await self._client.call("get_operation", operation_id=self._chance.choice(self._known.operations))
            if told is not None and told["outcome"] == "done" and told["charged"] == "yes" and not told.get("items"):
                self._known.remember_bought(told["quote"]["e164"])

    async def _withdraw(self) -> None:
        if self._known.operations:
            await self._client.call("cancel_operation", operation_id=self._chance.choice(self._known.operations))

    async def _replay(self) -> None:
        """Call again with a code that was spent, at any client of the principal."""
        if self._known.spent_codes:
            again = dict(self._chance.choice(self._known.spent_codes))
            await self._chance.choice(self._town.peers(self._client)).call(again.pop("tool"), **again)

    async def _pry(self) -> None:
        """Try what is another organization's: an operation, or a code; whatever comes of it is a finding."""
        known = self._chance.choice(list(self._chance.choice(self._town.strangers).known.values()) or [Known()])
        told: Told = None
        if known.spent_codes and self._often(0.3):
            again = dict(self._chance.choice(known.spent_codes))
            told = await self._client.call(again.pop("tool"), **again)
        elif known.operations:
            tool = self._chance.choice(("get_operation", "cancel_operation"))
            told = await self._client.call(tool, operation_id=self._chance.choice(known.operations))
        if told is not None and told.get("operation_id") in known.operations:
            self._town.book.events.trouble("An operation of another organization was answered.", by=self._client.name)

    async def _read(self) -> None:
        told = await self._client.call("list_endpoints")
        if told is not None and told.get("endpoints"):
            self._town.endpoints = [each["endpoint_id"] for each in told["endpoints"]]
        await self._client.call(self._chance.choice(("get_spending", "list_phone_numbers")))

    async def _offer(self) -> dict[str, Any] | None:
        """Find a number for sale; now and then one that others are talking about."""
        if self._town.offers and self._often(0.12):
            return self._chance.choice(self._town.offers)
        if self._town.once_owned and self._often(0.12):
            return self._chance.choice(self._town.once_owned)
        offers = await self._offers(3)
        if not offers:
            return None
        offer = self._chance.choice(offers)
        self._town.offers.append(offer)
        return offer

    async def _offers(self, most: int) -> list[dict[str, Any]]:
        country = self._chance.choices(COUNTRIES, weights=(8, 8, 8, 4, 2, 1))[0]
        told = await self._client.call(
            "search_phone_numbers", country=country, limit=most, offset=self._chance.randrange(0, 150)
        )
        return [{**each, "country": country} for each in (told or {}).get("numbers") or []]

    async def _agree(self, tool: str, wish: dict[str, Any]) -> Told:
        """Ask for something, and take the question to the person as often as it comes back."""
        told = await self._ask(tool, wish)
        for _ in range(MOST_QUESTIONS):
            if told is None:
                if not self._often(0.5):
                    return None
                told = await self._ask(tool, wish)  # its server may have died with the question, or after the yes
                continue
            if told.get("operation_id"):
                self._known.operations.append(told["operation_id"])
            if told.get("confirmation_code"):
                told = await self._by_code(tool, wish, told)
            elif told["outcome"] in UNASKED and self._often(0.8):
                told = await self._ask(tool, wish)
            elif told.get("waits_for") == "screen":
                told = await (self._ask(tool, wish) if self._often(0.3) else self._await_screen(told["operation_id"]))
            else:
                break
        return told

    async def _await_screen(self, operation_id: str) -> Told:
        """Look until the person has answered on the page, or for as long as an agent is patient."""
        told: Told = None
        for _ in range(MOST_LOOKS):
            await anyio.sleep(LOOK_SECONDS)
            told = await self._client.call("get_operation", operation_id=operation_id) or told
            if told is not None and told["outcome"] not in {"awaiting_approval", "pending"}:
                break
        return told

    async def _ask(self, tool: str, arguments: dict[str, Any]) -> Told:
        """Call once; now and then twice at the same time, at two clients of the same principal or at one."""
        if not self._often(0.08):
            return await self._client.call(tool, **arguments)
        answers: list[Told] = []

        async def call(client: Connection) -> None:
            answers.append(await client.call(tool, **arguments))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, self._client)
            tasks.start_soon(call, self._chance.choice(self._town.peers(self._client)))
        return next((told for told in answers if told is not None), None)

    async def _by_code(self, tool: str, wish: dict[str, Any], told: dict[str, Any]) -> Told:
        person, choice = self._client.person, self._client.person.choose()
        operation_id, quote = told["operation_id"], told["quote"]
        await person.think()
        if choice in {SILENT, BROKEN, CANCEL}:
            return None
        if choice in {NO, DECLINE}:
            return await self._client.call("cancel_operation", operation_id=operation_id)
        if choice in {MALFORMED, SLIP}:
            return await self._client.call(tool, **wish, confirmation_code="AAAA-AAAA")
        code = {**wish, "confirmation_code": told["confirmation_code"]}
        action = {"buy_phone_number": "buy", "release_phone_number": "release"}.get(tool, "configure")
        cents, e164 = (quote["due_now_cents"] if action == "buy" else None), quote["e164"]
        if told.get("items"):
            action, e164 = f"{action}_several", ",".join(sorted(each["e164"] for each in told["items"]))
        self._town.book.confirm(operation_id, action, e164, cents, how="code", by=person.name)
        self._known.spent_codes.append({"tool": tool, **code})
        return await self._ask(tool, code)

    def _often(self, share: float) -> bool:
        return self._chance.random() < share
