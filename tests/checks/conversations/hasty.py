"""An agent in a hurry: it confirms at once without asking, tries again after every error, and takes the first row."""

from typing import Any

from . import reading
from .desk import Desk
from .wishes import Ask, Buy, Release, Route

_TRIES = 3


class Hasty:
    """Plays the course of a scenario."""

    name = "hasty"

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def play(self) -> None:
        """Fulfil one wish after the other, and say at the end that all is done."""
        for wish in self.desk.scenario.course:
            match wish:
                case Ask(tool, arguments):
                    await self.desk.call(tool, **arguments)
                case Buy(search, count):
                    for _ in range(count):
                        found = reading.inventory_ids(await self.desk.call("search_phone_numbers", **search))
                        await self._act("buy_phone_number", inventory_id=(found or ["none"])[0])
                case Release(e164):
                    found = reading.e164s(await self.desk.call("list_phone_numbers"))
                    await self._act("release_phone_number", number_id=e164 or (found or ["none"])[0])
                case Route(to, inbound):
                    found = list(reading.endpoint_ids(await self.desk.call("list_endpoints")).values())
                    for e164 in to:
                        await self._act("configure_phone_number", number_id=e164, endpoint_id=found[0])
                    for e164, switch in inbound.items():
                        await self._act("configure_phone_number", number_id=e164, allow_inbound=switch)
        self.desk.say("Done.")

    async def _act(self, tool: str, **arguments: Any) -> None:
        for _ in range(_TRIES):
            text = await self.desk.call(tool, **arguments)
            if code := reading.value(text, "confirmation_code"):
                text = await self.desk.call(tool, **arguments, confirmation_code=code)
            if reading.status(text) == "done":
                return
