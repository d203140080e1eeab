"""The named ways in which the simulated KrosAI goes wrong, and the switches for them.

To add a fault: name it in one of the tables here, and ask `strike` for it where it happens, in `pipeline.py` or in the
operation (`api.py`, `sales.py`, `search.py`). A fault is switched on by name for the next `times` requests that it
fits. Every random choice comes from one seeded generator. The second and third group of faults are reported of real
telephony APIs (docs/krosai.md, section 11). A fault that leaves something behind (a record, an offer, an id) leaves it
for good, whether it is on or off.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

READS: Final = frozenset({"list_owned", "search", "get", "list_endpoints", "get_endpoint"})
WRITES: Final = frozenset({"purchase", "update", "release"})
OPERATIONS: Final = READS | WRITES


@dataclass(frozen=True)
class FaultKind:
    """What a fault does, which operations it strikes by default, and its parameters."""

    says: str
    strikes: frozenset[str] = OPERATIONS
    defaults: Mapping[str, object] = field(default_factory=dict)


_PURCHASE = frozenset({"purchase"})
_SEARCH = frozenset({"search"})
_LIST_OWNED = frozenset({"list_owned"})
_RECORDS = frozenset({"list_owned", "search", "get"})
_WAIT: Mapping[str, object] = {"in_body": None, "clock_seconds": 0}

_ANY_ANSWER: Mapping[str, FaultKind] = {
    "error_before": FaultKind("a 500 without a code before anything is done"),
    "slow": FaultKind("waits `seconds` before acting, or after it", defaults={"seconds": 1.0, "after": False}),
    "hold": FaultKind("waits until let go, before acting or after it", defaults={"after": False}),
    "rate_limited": FaultKind(
        "429 with this Retry-After, and in the body `in_body` instead if given, or nothing if it is empty; its Date is "
        "wrong by `clock_seconds`; nothing is done",
        defaults={"retry_after": "1.5", **_WAIT},
    ),
    "unavailable": FaultKind("503, otherwise as rate_limited", defaults={"retry_after": "120", **_WAIT}),
    "refuse": FaultKind(
        "exactly this error; nothing is done", defaults={"status": 400, "code": None, "error": "Refused"}
    ),
    "hostile_names": FaultKind(
        "endpoints carry names that try to misuse whoever reads them",
        frozenset({"list_endpoints", "get_endpoint", "get"}),
    ),
    "malformed_body": FaultKind("the answer is cut in its middle; its status stays"),
    "unknown_shape": FaultKind("the answer is JSON that fits no rule; its status stays"),
    "html_page": FaultKind("a web page with status 200 in place of the answer"),
}

_WRITTEN: Mapping[str, FaultKind] = {
    "stolen_number": FaultKind("someone else takes the number just before it is bought", _PURCHASE),
    "lost_reply": FaultKind("the write commits, then the connection drops without an answer", WRITES),
    "error_after": FaultKind("a 500 without a code after the write commits", WRITES),
    "commits_then_429": FaultKind("the write commits, and is answered 429", _PURCHASE, {"retry_after": "1.5"}),
    "commits_then_refuses": FaultKind(
        "the write commits, and is answered by exactly this error",
        _PURCHASE,
        {"status": 404, "code": "NUMBER_NOT_AVAILABLE", "error": "The requested number is no longer available"},
    ),
    "error_in_success": FaultKind(
        "200 with this body, which is an error; nothing is done, or all of it if it commits",
        WRITES,
        {"body": {"errors": [{"message": "Refused"}]}, "commits": False},
    ),
    "pending_order": FaultKind(
        "a purchase is answered `status_code` and pending; after `seconds` it becomes active and is charged, or it "
        "`ends` rejected, cancelled or failed and is for sale again, or never ends; meanwhile it is listed or not",
        _PURCHASE,
        {"status_code": 202, "ends": "active", "seconds": 5.0, "listed": True},
    ),
    "ended_in_answer": FaultKind(
        "201 that names the number with this status; nothing is bought, or it is if it commits",
        _PURCHASE,
        {"status": "rejected", "commits": False},
    ),
    "never_listed": FaultKind(
        "a number is bought and answered 201, and neither listed nor found by its id for `seconds`, or ever",
        _PURCHASE,
        {"seconds": None},
    ),
    "stays_for_sale": FaultKind(
        "a number that is bought stays in searches for `seconds`, or for as long as it is owned; bought again it is "
        "answered 201 with its record, and charged again or not",
        _PURCHASE,
        {"seconds": None, "charges": True},
    ),
    "old_id_again": FaultKind(
        "a number that has an ended record is bought back under the id of that record", _PURCHASE
    ),
    "late_change": FaultKind(
        "a change is answered 200 with the settings of before, and shows after `seconds`",
        frozenset({"update"}),
        {"seconds": 3.0},
    ),
    "ended_word": FaultKind(
        "a release leaves a record with this status; one that had ended keeps its own",
        frozenset({"release"}),
        {"status": "released"},
    ),
    "ignore_snake_case": FaultKind(
        "endpoint_id, allow_inbound and allow_outbound go unheeded", frozenset({"purchase", "update"})
    ),
    "keeps_endpoint": FaultKind("a change to no endpoint goes unheeded", frozenset({"update"})),
    "ignore_camel_case": FaultKind(
        "endpointId, allowInbound and allowOutbound go unheeded", frozenset({"purchase", "update"})
    ),
}

_SHOWN: Mapping[str, FaultKind] = {
    "price_moves": FaultKind(
        "the monthly price changes by `cents`, from then on: at=search before the answer, for every "
        "number that fits the search; at=purchase just before charging",
        frozenset({"search", "purchase"}),
        {"cents": 100, "at": "purchase"},
    ),
    "missing_prices": FaultKind("answers carry no prices", frozenset({"search", "get"})),
    "total_only": FaultKind("numbers for sale state this total and no other price", _SEARCH, {"cents": 0}),
    "states_currency": FaultKind("records state this currency", _RECORDS, {"currency": "NGN"}),
    "odd_country": FaultKind("records state this country; null leaves it out", _RECORDS, {"country": "UK"}),
    "owned_for_sale": FaultKind(
        "active numbers of the account that fit a search, at most so many, are for sale in it for `seconds`, or for "
        "as long as they are owned; bought they are answered 201 with their record, and charged again or not",
        _SEARCH,
        {"numbers": 100, "seconds": None, "charges": True},
    ),
    "old_records": FaultKind(
        "of the numbers that a search shows, so many get an ended record among the owned ones: released, deleted, "
        "cancelled, ported_out, failed, expired by turns, or with this status; only those that no search had shown "
        "before, or any",
        _SEARCH,
        {"numbers": 100, "status": None, "only_new": False},
    ),
    "twice_for_sale": FaultKind(
        "of the numbers that a search shows, so many stand there twice from then on, the second dearer by `cents`",
        _SEARCH,
        {"numbers": 100, "cents": 100},
    ),
    "changing_ids": FaultKind("inventory ids are new in each search; each is good for buying", _SEARCH),
    "digit_ids": FaultKind(
        "inventory ids and those of numbers bought are digits only, as text or as integers above 2^53",
        frozenset({"search", "purchase"}),
        {"integers": False},
    ),
    "not_served": FaultKind("a search is answered 404 without a code", _SEARCH),
    "errors_in_list": FaultKind(
        "a list is answered 200, empty and with `errors`", frozenset({"list_owned", "search", "list_endpoints"})
    ),
    "unready_record": FaultKind("the owned list ends with a pending record that has no number yet", _LIST_OWNED),
    "shifting_pages": FaultKind(
        "a record of an earlier page is gone when a later page of the owned list is read: that page begins one too far",
        _LIST_OWNED,
    ),
    "other_record": FaultKind("a number is answered under the id of another active number", frozenset({"get"})),
    "other_organization": FaultKind(
        "the answer states another organization; a list is that organization's, if there is one",
        frozenset({"list_owned", "get", "purchase", "update", "list_endpoints", "get_endpoint"}),
    ),
    "no_single_endpoint": FaultKind(
        "there is no path for one endpoint: 404 without a code", frozenset({"get_endpoint"})
    ),
}

KIND_GROUPS: Mapping[str, Mapping[str, FaultKind]] = {
    "Faults of any answer": _ANY_ANSWER,
    "Faults of purchases, changes and releases": _WRITTEN,
    "Faults of what is shown": _SHOWN,
}
KINDS: Mapping[str, FaultKind] = {name: kind for kinds in KIND_GROUPS.values() for name, kind in kinds.items()}


Params = dict[str, Any]


@dataclass
class Switch:
    """A fault that is switched on, and for which requests."""

    params: Params
    times: int | None
    """How many more times it strikes; None for no end."""
    probability: float
    on: frozenset[str]


@dataclass
class Faults:
    """Which faults are on, how often each struck, and which requests are held."""

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
            params: Further parameters of the fault; see its `FaultKind.defaults`.

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
        """Switch a fault off, and let held requests continue if it is `hold`.

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
        """Return the parameters of a fault if it strikes now, and count it; else return None.

        Args:
            name: One of `KINDS`.
            operation: The operation of the request.
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
        """Whether a fault strikes now whose parameters do not matter; count it if so."""
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


def _kind(name: str) -> FaultKind:
    if name not in KINDS:
        raise ValueError(f"There is no fault {name}; there are {', '.join(KINDS)}.")
    return KINDS[name]


def _only_hold(name: str) -> None:
    if name != "hold":
        raise ValueError(f"{name} holds no requests; only hold does.")
