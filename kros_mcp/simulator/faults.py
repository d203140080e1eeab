"""The switches for the named ways in which the simulated KrosAI goes wrong; `kinds.py` names them.

A fault is switched on by name for the next `times` requests that it fits, and strikes where the
pipeline of `app.py` and the acts of `acts.py` ask for it. Every choice by chance comes from one seeded
generator.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio

from kros_mcp.simulator.kinds import KINDS, OPERATIONS, Kind

Params = dict[str, Any]


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
