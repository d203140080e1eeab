"""The named ways in which the simulated KrosAI goes wrong, and the switches for them.

A fault is switched on by name for the next `times` requests that it fits, and strikes where the
pipeline of `app.py` and the acts of `acts.py` ask for it. Every choice by chance comes from one seeded
generator.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

Params = dict[str, Any]

READS: Final = frozenset({"list_owned", "search", "get", "list_endpoints", "get_endpoint"})
WRITES: Final = frozenset({"purchase", "update", "release"})
OPERATIONS: Final = READS | WRITES


@dataclass(frozen=True)
class Kind:
    """What a fault does, the operations it strikes unless told others, and its parameters."""

    says: str
    strikes: frozenset[str] = OPERATIONS
    defaults: Mapping[str, object] = field(default_factory=dict)


KINDS: Mapping[str, Kind] = {
    "stolen_number": Kind("someone else takes the number just before it is bought", frozenset({"purchase"})),
    "price_moves": Kind(
        "the monthly price changes by `cents`, from then on: at=search before the answer, for every "
        "number that fits the search; at=purchase just before charging",
        frozenset({"search", "purchase"}),
        {"cents": 100, "at": "purchase"},
    ),
    "lost_reply": Kind("the write commits, then the connection drops without an answer", WRITES),
    "error_after": Kind("a 500 without a code after the write commits", WRITES),
    "error_before": Kind("a 500 without a code before anything is done"),
    "slow": Kind("waits `seconds` before acting, or after it", defaults={"seconds": 1.0, "after": False}),
    "hold": Kind("waits until let go, before acting or after it", defaults={"after": False}),
    "rate_limited": Kind("429 with this Retry-After; nothing is done", defaults={"retry_after": "1.5"}),
    "refuse": Kind("exactly this error; nothing is done", defaults={"status": 400, "code": None, "error": "Refused"}),
    "ignore_snake_case": Kind(
        "endpoint_id, allow_inbound and allow_outbound go unheeded", frozenset({"purchase", "update"})
    ),
    "ignore_camel_case": Kind(
        "endpointId, allowInbound and allowOutbound go unheeded", frozenset({"purchase", "update"})
    ),
    "missing_prices": Kind("answers carry no prices", frozenset({"search", "get"})),
    "hostile_names": Kind(
        "endpoints carry names that try to misuse whoever reads them",
        frozenset({"list_endpoints", "get_endpoint", "get"}),
    ),
    "malformed_body": Kind("the answer is cut in its middle; its status stays"),
    "unknown_shape": Kind("the answer is JSON that fits no rule; its status stays"),
    "html_page": Kind("a web page with status 200 in place of the answer"),
}


@dataclass
class Switch:
    """A fault that is switched on, and for what."""

    params: Params
    times: int | None
    """How many more times it strikes; None is without end."""
    probability: float
    on: frozenset[str]


@dataclass
class Faults:
    """The switchboard: which faults are on, how often each struck, and which requests are held."""

    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    """How often each fault struck, by name."""
    switches: dict[str, Switch] = field(default_factory=dict)
    _held: list[anyio.Event] = field(default_factory=list)
    _watchers: list[anyio.Event] = field(default_factory=list)

    def switch_on(
        self,
        name: str,
        *,
        times: int | None = 1,
        probability: float = 1.0,
        on: Iterable[str] | None = None,
        **params: object,
    ) -> None:
        """Switch a fault on, in place of any earlier setting of the same fault.

        Args:
            name: One of `KINDS`.
            times: How many requests it strikes; None for all until it is switched off.
            probability: How likely it strikes each request that it fits, 0 to 1.
            on: The operations it strikes. Defaults to those of its kind.
            params: What the fault takes beside; see its `Kind.defaults`.

        Raises:
            ValueError: There is no such fault, operation or parameter.
        """
        kind = _kind(name)
        operations = kind.strikes if on is None else frozenset(on)
        for word, known, given in (
            ("parameter", set(kind.defaults), set(params)),
            ("operation", set(OPERATIONS), set(operations)),
        ):
            if unknown := sorted(given - known):
                raise ValueError(f"{name} knows no {word} {unknown[0]}; it knows {sorted(known)}.")
        self.switches[name] = Switch({**kind.defaults, **params}, times, probability, operations)

    def switch_off(self, name: str) -> None:
        """Switch a fault off, and let go whatever it holds.

        Raises:
            ValueError: There is no such fault.
        """
        _kind(name)
        self.switches.pop(name, None)
        if name == "hold":
            self.let_go(name)

    def clear(self) -> None:
        """Switch every fault off; the counts stay."""
        for name in tuple(self.switches):
            self.switch_off(name)
        self.let_go("hold")

    def strike(self, name: str, operation: str, **when: object) -> Params | None:
        """Tell whether the fault strikes now, and with which parameters; count it if so.

        Args:
            name: One of `KINDS`.
            operation: The operation in course.
            when: Parameters that must be set so, such as `at="search"`.
        """
        switch = self.switches.get(name)
        if switch is None or operation not in switch.on:
            return None
        if any(switch.params[key] != value for key, value in when.items()):
            return None
        if self.chance.random() >= switch.probability:
            return None
        self.counts[name] += 1
        if switch.times is not None:
            switch.times -= 1
            if switch.times <= 0:
                del self.switches[name]
        return switch.params

    def strikes(self, name: str, operation: str) -> bool:
        """Tell whether a fault strikes whose parameters do not matter; count it if so."""
        return self.strike(name, operation) is not None

    async def hold(self) -> None:
        """Hold the request that calls this until `let_go`."""
        gate = anyio.Event()
        self._held.append(gate)
        for watcher in self._watchers:
            watcher.set()
        self._watchers.clear()
        try:
            await gate.wait()
        finally:
            if gate in self._held:
                self._held.remove(gate)

    async def held(self, name: str = "hold") -> None:
        """Wait until a request is being held.

        Raises:
            ValueError: `name` is not a fault that holds requests.
        """
        _only_hold(name)
        if not self._held:
            watcher = anyio.Event()
            self._watchers.append(watcher)
            await watcher.wait()

    def let_go(self, name: str = "hold") -> int:
        """Let every held request continue; return how many there were.

        Raises:
            ValueError: `name` is not a fault that holds requests.
        """
        _only_hold(name)
        gates = tuple(self._held)
        self._held.clear()
        for gate in gates:
            gate.set()
        return len(gates)


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise ValueError(f"There is no fault {name}; there are {', '.join(KINDS)}.")
    return KINDS[name]


def _only_hold(name: str) -> None:
    if name != "hold":
        raise ValueError(f"{name} holds no requests; only hold does.")
