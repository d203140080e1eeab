"""The simulated KrosAI's faults over time: switched on at random, and more often the less they were seen.

What is switched on stays within what a server can know. A fault never lies about what is so: no reading is
refused as "not found" that would be found, and nothing is held for longer than a lease, since the servers run
with a KROS_SETTLE_SECONDS far below what is allowed outside a simulator.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from kros_mcp.simulator.kinds import KINDS, READS, WRITES

from .events import Events
from .watched import WatchedKrosai

LONGEST_HOLD_SECONDS = 6.0
LONGEST_SLOW_SECONDS = 3.0
_ORDERS = ("purchase", "release")
_REFUSALS = (
    {"status": 400, "code": None},
    {"status": 402, "code": "INSUFFICIENT_BALANCE"},
    {"status": 403, "code": "INSUFFICIENT_SCOPE"},
    {"status": 422, "code": None},
    {"status": 409, "code": None},
    {"status": 503, "code": None},
)


@dataclass(frozen=True)
class Spell:
    """How a fault comes: between which probabilities, on which operations by turns, and with what."""

    least: float
    most: float
    on: tuple[tuple[str, ...] | None, ...] = (None,)
    params: Callable[[random.Random], Mapping[str, object]] = lambda _: {}


def _price_moves(chance: random.Random) -> dict[str, object]:
    return {"cents": chance.choice((-20, 10, 30, 100)), "at": chance.choice(("purchase", "purchase", "search"))}


SPELLS: Mapping[str, Spell] = {
    "stolen_number": Spell(0.02, 0.06),
    "price_moves": Spell(0.01, 0.05, params=_price_moves),
    "lost_reply": Spell(0.04, 0.2),
    "error_after": Spell(0.04, 0.15),
    "error_before": Spell(0.01, 0.05, (None, tuple(WRITES))),
    "slow": Spell(0.02, 0.1, params=lambda chance: {"seconds": chance.uniform(0.1, 3), "after": chance.random() < 0.5}),
    "hold": Spell(0.02, 0.08, (_ORDERS, tuple(WRITES), tuple(READS)), lambda chance: {"after": chance.random() < 0.5}),
    "rate_limited": Spell(0.01, 0.04, params=lambda chance: {"retry_after": chance.choice(("0.2", "1.5", "12"))}),
    "refuse": Spell(0.02, 0.06, (tuple(WRITES), _ORDERS), lambda chance: chance.choice(_REFUSALS)),
    "ignore_snake_case": Spell(0.1, 0.5),
    "ignore_camel_case": Spell(0.1, 0.9),
    "missing_prices": Spell(0.02, 0.06),
    "hostile_names": Spell(0.2, 1.0),
    "malformed_body": Spell(0.02, 0.05, (None, tuple(WRITES))),
    "unknown_shape": Spell(0.02, 0.05, (None, tuple(WRITES))),
    "html_page": Spell(0.02, 0.05, (None, tuple(WRITES))),
}


class Weather:
    """Switches faults on and off until cancelled, and lets go what is held."""

    def __init__(self, sim: WatchedKrosai, chance: random.Random, events: Events) -> None:
        self._sim, self._chance, self._events = sim, chance, events

    async def blow(self) -> None:
        """Change one fault after the other. Until cancelled."""
        while True:
            self._change()
            await anyio.sleep(self._chance.uniform(0.1, 0.6))

    async def let_go(self) -> None:
        """Let held requests go after a while; none is held for longer than `LONGEST_HOLD_SECONDS`."""
        while True:
            await self._sim.faults.held()
            await anyio.sleep(self._chance.uniform(0.2, LONGEST_HOLD_SECONDS))
            self._sim.faults.let_go()

    def clear(self) -> None:
        """End every fault."""
        self._sim.faults.clear()

    def _change(self) -> None:
        faults = self._sim.faults
        if len(faults.switches) >= len(KINDS) // 2:
            faults.switch_off(self._chance.choice(sorted(faults.switches)))
        names = list(SPELLS)
        rarity = [1 / (1 + faults.counts[name]) for name in names]
        name = self._chance.choices(names, weights=rarity)[0]
        self._switch_on(name, rare=faults.counts[name] <= min(faults.counts[each] for each in names))

    def _switch_on(self, name: str, *, rare: bool) -> None:
        spell = SPELLS[name]
        probability = spell.most if rare else self._chance.uniform(spell.least, spell.most)
        settings: dict[str, Any] = {"probability": probability, "on": self._chance.choice(spell.on)}
        settings.update(spell.params(self._chance))
        if name == "price_moves":
            settings["on"] = [str(settings["at"])]
            settings["probability"] = probability * (0.4 if settings["at"] == "search" else 2)
        if name == "ignore_camel_case":  # nobody spells so before snake_case went unheeded
            self._sim.faults.switch_on("ignore_snake_case", times=None, probability=SPELLS["ignore_snake_case"].most)
        self._sim.faults.switch_on(name, times=None, **settings)
        self._events.note("fault", name=name, **settings)
