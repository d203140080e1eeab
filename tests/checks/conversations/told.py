"""An agent that does as the texts say: it says the summary, waits for a yes, and looks up what is unknown."""

import re
from typing import Any

import anyio

from . import reading
from .desk import Desk
from .scenarios import BATCH, UNROUTED
from .wishes import Ask, Buy, Release, Route, Wish

_YES = re.compile(r"\b(yes|sure|go ahead)\b", re.IGNORECASE)
_LOOKS = 4
_BETWEEN_LOOKS_SECONDS = 2.5
_AGAIN = 6
"""How often the same is asked again where a text says when."""
_SEVERAL = "configure_phone_number.number_id~20"


class Told:
    """Plays the course of a scenario."""

    name = "as told"

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.operation = ""

    async def play(self) -> None:
        """Fulfil one wish after the other."""
        for wish in self.desk.scenario.course:
            await self._fulfil(wish)

    async def _fulfil(self, wish: Wish) -> None:
        match wish:
            case Ask(tool, arguments, words):
                given = {name: self.operation if value == "{operation}" else value for name, value in arguments.items()}
                text = await self.desk.call(tool, **given)
                for _ in range(_AGAIN):
                    if seconds := reading.seconds_until_again(text):
                        await anyio.sleep(seconds)
                        text = await self.desk.call(tool, **given)
                self.desk.say(f"{reading.to_say(text)} {words}".strip())
            case Buy():
                await self._buy(wish)
            case Release(e164):
                await self.act("release_phone_number", number_id=e164 or await self._going_nowhere())
            case Route():
                await self._route(wish)

    async def _buy(self, wish: Buy) -> None:
        found = await self.desk.call("search_phone_numbers", **wish.search, limit=wish.count)
        wanted: dict[str, Any] = {} if wish.allow_outbound else {"allow_outbound": False}
        if wish.endpoint:
            wanted["endpoint_id"] = await self._endpoint(wish.endpoint)
        ids = reading.inventory_ids(found)[: wish.count]
        if not ids:
            self.desk.say(reading.to_say(found))
        for one in [",".join(ids)] if ids and self.desk.has(BATCH) else ids:
            await self.act("buy_phone_number", inventory_id=one, **wanted)

    async def _route(self, wish: Route) -> None:
        endpoints = await self.desk.call("list_endpoints") if set(wish.to.values()) - {"unrouted"} else ""
        ids = {name: reading.endpoint_id(endpoints, name) for name in wish.to.values() if name != "unrouted"}
        wanted: list[tuple[str, dict[str, Any]]]
        wanted = [(e164, {"endpoint_id": ids.get(name, name)}) for e164, name in wish.to.items()]
        wanted += [(e164, {"allow_inbound": switch}) for e164, switch in wish.inbound.items()]
        if len(wanted) > 1 and self.desk.has(_SEVERAL):
            given = [arguments for _, arguments in wanted]
            name = next(iter(given[0]))
            values = list(dict.fromkeys(one[name] for one in given))
            together = values[0] if len(values) == 1 else ",".join(one[name] for one in given)
            several: dict[str, Any] = {"number_id": ",".join(e164 for e164, _ in wanted), name: together}
            await self.act("configure_phone_number", **several)
            return
        for e164, arguments in wanted:
            await self.act("configure_phone_number", say=e164 == wanted[-1][0], number_id=e164, **arguments)

    async def _endpoint(self, name: str) -> str:
        return reading.endpoint_id(await self.desk.call("list_endpoints"), name)

    async def _going_nowhere(self) -> str:
        if self.desk.has(UNROUTED):
            text = await self.desk.call("list_phone_numbers", endpoint_id="unrouted")
            return (reading.e164s(text) or [""])[0]
        return (reading.unrouted(await self.desk.call("list_phone_numbers")) or [""])[0]

    async def act(self, tool: str, *, say: bool = True, **arguments: Any) -> str:
        """Ask for an act, have it agreed to, and tell how it ended."""
        text = await self.desk.call(tool, **arguments)
        self.operation = reading.operation_id(text) or self.operation
        if code := reading.value(text, "confirmation_code"):
            if _YES.search(self.desk.say(reading.to_say(text))):
                text = await self.desk.call(tool, **arguments, confirmation_code=code)
            else:
                text = await self.desk.call("cancel_operation", operation_id=self.operation)
        for look in range(_LOOKS):
            if reading.status(text) not in reading.UNDER_WAY:
                break
            if look == 0:
                self.desk.say(reading.to_say(text))
            await anyio.sleep(_BETWEEN_LOOKS_SECONDS)
            text = await self.desk.call("get_operation", operation_id=self.operation)
        if say:
            self.desk.say(reading.to_say(text))
        return text
