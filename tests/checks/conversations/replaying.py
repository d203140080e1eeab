"""A conversation that was kept, played again at the present server: the same words and calls, and no model.

Operations and codes are new each time, so those that the kept answers told are put in place by the new ones.
"""

import re
from typing import Any

import anyio

from . import reading
from .desk import Desk
from .story import Story

_LONGEST_WAIT_SECONDS = 3.0


class Replayed:
    """Does what was done in a story."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._new: dict[str, str] = {}

    async def play(self, desk: Desk) -> None:
        """Do one act after the other; what was looked up is looked up after the same time, of three seconds at most."""
        for act in self._story.acts:
            if "agent" in act:
                desk.say(self._now(act["agent"]))
            elif "aside" in act:
                desk.aside(self._now(act["aside"]))
            elif "cut" in act:
                desk.cut(act["cut"])
            elif "refused" in act:
                desk.refuse(act["call"], act["text"])
            elif "call" in act:
                if act["call"] == "get_operation":
                    await anyio.sleep(min(float(act.get("after", 0)), _LONGEST_WAIT_SECONDS))
                self._learn(act["text"], await desk.call(act["call"], **self._now(act["args"])))

    def _learn(self, then: str, now: str) -> None:
        for old, new in (
            (reading.operation_id(then), reading.operation_id(now)),
            (reading.value(then, "confirmation_code"), reading.value(now, "confirmation_code")),
        ):
            if old and new:
                self._new[old] = new

    def _now(self, told: Any) -> Any:
        if isinstance(told, dict):
            return {name: self._now(value) for name, value in told.items()}
        if isinstance(told, str) and self._new:
            return re.sub("|".join(map(re.escape, self._new)), lambda found: self._new[found[0]], told)
        return told
