"""The simulated KrosAI's faults over time: switched on at random, and more often the less they were seen.

What is switched on stays within what a server can find out, now or later. What it never can is left out:

- Nothing is held for longer than a lease, since the servers run with a KROS_SETTLE_SECONDS far below what is
  allowed outside a simulator. For the same reason what shows late does so after seconds.
- A number that is bought and still for sale is listed as owned, or it would look as if it had not been bought.
- A purchase that is answered by an error is shown in the end, or it would look as if it had been refused.
- An order that stays pending for ever and is listed would be called done, and never charged.
- A later page shifts once in a while only (`watched.SHIFT_REST_SECONDS`): two readings that leave out the same
  record look like the truth.
- A number gets an old record before any search shows it, so never while it is bought: a new id is evidence.
"""

import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import anyio

from kros_mcp.simulator.faults import READS, WRITES

from .events import Events
from .watched import WatchedKrosai

LONGEST_HOLD_SECONDS = 6.0
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
class FaultPlan:
    """How a fault strikes: with a probability between two, on which operations (one group at a time), with what."""

    least: float
    most: float
    on: tuple[tuple[str, ...] | None, ...] = (None,)
    params: Callable[[random.Random], Mapping[str, object]] = lambda _: {}


def _price_moves(chance: random.Random) -> dict[str, object]:
    return {"cents": chance.choice((-20, 10, 30, 100)), "at": chance.choice(("purchase", "purchase", "search"))}


def _unavailable(chance: random.Random) -> dict[str, object]:
    """How long to wait: by header, by a date on a clock that is wrong, or by the body beside an unreadable header."""
    clock = chance.choice((0, -3600, 90))
    date = formatdate(time.time() + clock + 2, usegmt=True)
    words = chance.choice((("0.3", None), ("1.5", ""), ("soon", "0.5"), (None, ""), (date, "")))
    return {"retry_after": words[0], "in_body": words[1], "clock_seconds": clock}


def _pending(chance: random.Random) -> dict[str, object]:
    return {
        "ends": chance.choice(("active", "active", "active", "rejected", "cancelled", "failed")),
        "seconds": chance.uniform(0.5, 6),
        "listed": chance.random() < 0.5,
        "status_code": chance.choice((202, 201)),
    }


def _picks(**choices: tuple[object, ...]) -> Callable[[random.Random], Mapping[str, object]]:
    """Choose each parameter by itself."""
    return lambda chance: {name: chance.choice(values) for name, values in choices.items()}


_DENIALS = (
    {"status": 404, "code": "NUMBER_NOT_AVAILABLE"},
    {"status": 404, "code": None},
    {"status": 400, "code": None},
    {"status": 409, "code": None},
    {"status": 422, "code": None},
)
_ERRORS = ({"errors": [{"message": "Refused"}]}, {"code": -404}, {"status": "failed"})
_EITHER = (True, False)

FAULT_PLANS: Mapping[str, FaultPlan] = {
    "stolen_number": FaultPlan(0.02, 0.12),
    "price_moves": FaultPlan(0.01, 0.05, params=_price_moves),
    "lost_reply": FaultPlan(0.04, 0.2),
    "error_after": FaultPlan(0.04, 0.15),
    "error_before": FaultPlan(0.01, 0.05, (None, tuple(WRITES))),
    "slow": FaultPlan(
        0.02, 0.1, params=lambda chance: {"seconds": chance.uniform(0.1, 3), "after": chance.random() < 0.5}
    ),
    "hold": FaultPlan(0.02, 0.08, (_ORDERS, tuple(WRITES), tuple(READS)), _picks(after=_EITHER)),
    "rate_limited": FaultPlan(0.01, 0.04, params=_picks(retry_after=("0.2", "1.5", "12"))),
    "unavailable": FaultPlan(0.01, 0.03, (None, tuple(READS)), _unavailable),
    "refuse": FaultPlan(0.02, 0.12, (tuple(WRITES), _ORDERS), lambda chance: chance.choice(_REFUSALS)),
    "ignore_snake_case": FaultPlan(0.1, 0.5),
    "ignore_camel_case": FaultPlan(0.1, 0.9),
    "keeps_endpoint": FaultPlan(0.3, 1.0),
    "missing_prices": FaultPlan(0.02, 0.06),
    "hostile_names": FaultPlan(0.2, 1.0),
    "malformed_body": FaultPlan(0.02, 0.05, (None, tuple(WRITES))),
    "unknown_shape": FaultPlan(0.02, 0.05, (None, tuple(WRITES))),
    "html_page": FaultPlan(0.02, 0.05, (None, tuple(WRITES))),
    "commits_then_429": FaultPlan(0.06, 0.25, (None, _ORDERS), _picks(retry_after=("0.2", "1.5"))),
    "commits_then_refuses": FaultPlan(0.06, 0.25, (None, _ORDERS), lambda chance: chance.choice(_DENIALS)),
    "error_in_success": FaultPlan(0.04, 0.15, (("purchase",), tuple(WRITES)), _picks(body=_ERRORS, commits=_EITHER)),
    "pending_order": FaultPlan(0.04, 0.15, params=_pending),
    "ended_in_answer": FaultPlan(
        0.04, 0.15, params=_picks(status=("rejected", "cancelled", "failed"), commits=_EITHER)
    ),
    "never_listed": FaultPlan(0.05, 0.2, params=_picks(seconds=(1.0, 4.0, 4.0, None))),
    "stays_for_sale": FaultPlan(0.1, 0.4, params=_picks(seconds=(5.0, None), charges=_EITHER)),
    "old_id_again": FaultPlan(1.0, 1.0),
    "late_change": FaultPlan(0.1, 0.5, params=lambda chance: {"seconds": chance.uniform(0.3, 3)}),
    "ended_word": FaultPlan(
        0.4, 1.0, params=_picks(status=("released", "Ported Out", "Cancelled", "deleted", "expired"))
    ),
    "total_only": FaultPlan(0.01, 0.04, params=_picks(cents=(0, 700))),
    "states_currency": FaultPlan(0.01, 0.04),
    "odd_country": FaultPlan(0.02, 0.1, params=_picks(country=("UK", "EU", None))),
    "owned_for_sale": FaultPlan(0.02, 0.08, params=_picks(numbers=(1,), seconds=(5.0, 30.0), charges=_EITHER)),
    "old_records": FaultPlan(0.6, 1.0, params=_picks(numbers=(2,), only_new=(True,))),
    "twice_for_sale": FaultPlan(0.02, 0.06, params=_picks(numbers=(2,), cents=(10, 100))),
    "changing_ids": FaultPlan(0.02, 0.2),
    "digit_ids": FaultPlan(0.05, 0.3, (None, ("purchase",)), _picks(integers=_EITHER)),
    "not_served": FaultPlan(0.01, 0.03),
    "errors_in_list": FaultPlan(0.01, 0.03),
    "unready_record": FaultPlan(0.02, 0.2),
    "shifting_pages": FaultPlan(0.3, 1.0),
    "other_record": FaultPlan(0.02, 0.1),
    "other_organization": FaultPlan(0.01, 0.05),
    "no_single_endpoint": FaultPlan(0.2, 1.0),
}
_HIDING = "never_listed"
_DENYING = ("commits_then_429", "commits_then_refuses", "error_in_success")


class FaultSchedule:
    """Switches faults on and off until cancelled, and lets go what is held."""

    def __init__(
        self, sim: WatchedKrosai, chance: random.Random, events: Events, *, without: Collection[str] = ()
    ) -> None:
        self._sim, self._chance, self._events = sim, chance, events
        self._names = [name for name in FAULT_PLANS if name not in without]

    async def run(self) -> None:
        """Change one fault after the other. Until cancelled."""
        self._switch_on("old_records", rare=True)  # while there are numbers that no search has shown yet
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
        if len(faults.switches) >= max(len(self._names) // 2, 1):
            on = sorted(faults.switches)
            faults.switch_off(self._chance.choices(on, weights=[1 + faults.counts[name] for name in on])[0])
        names = self._names
        rarity = [1 / (1 + faults.counts[name]) ** 2 for name in names]
        name = self._chance.choices(names, weights=rarity)[0]
        self._switch_on(name, rare=faults.counts[name] <= min(faults.counts[each] for each in names))

    def _switch_on(self, name: str, *, rare: bool) -> None:
        plan = FAULT_PLANS[name]
        probability = plan.most if rare else self._chance.uniform(plan.least, plan.most)
        settings: dict[str, Any] = {"probability": probability, "on": self._chance.choice(plan.on)}
        settings.update(plan.params(self._chance))
        if name == "price_moves":
            settings["on"] = [str(settings["at"])]
            settings["probability"] = probability * (0.4 if settings["at"] == "search" else 2)
        for other in self._apart_from(name, settings):
            self._sim.faults.switch_off(other)
        if name == "ignore_camel_case":  # nobody spells so before snake_case went unheeded
            self._sim.faults.switch_on(
                "ignore_snake_case", times=None, probability=FAULT_PLANS["ignore_snake_case"].most
            )
        self._sim.faults.switch_on(name, times=None, **settings)
        self._events.note("fault", name=name, **settings)

    def _apart_from(self, name: str, settings: Mapping[str, Any]) -> Collection[str]:
        """Name the faults that together with this one could not be found out."""
        if name == _HIDING:
            return {"stays_for_sale"} | (set(_DENYING) if settings["seconds"] is None else set())
        hidden = self._sim.faults.switches.get(_HIDING)
        for_ever = hidden is not None and hidden.params["seconds"] is None
        return {_HIDING} if name == "stays_for_sale" or (name in _DENYING and for_ever) else set()
