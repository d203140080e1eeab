"""What agent-security-harness asks of approvals and of hidden instructions, put to this server's tools.

It asks through adapters: functions that do to a target what a request says, and tell what the target did. What was
really bought or released these read from the simulated KrosAI, never from the server's own words.
"""

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from protocol_tests.approval_binding_harness import ApprovalBindingHarness
from protocol_tests.approval_binding_targets import make_target
from protocol_tests.hidden_instruction_harness import DENIED, EXECUTED, NO_DECISION, HiddenInstructionHarness
from protocol_tests.hidden_instruction_targets import NAIVE
from protocol_tests.mcp_harness import MCPTransport, jsonrpc_request

READING_SECONDS = 2.1
"""How long a person reads before turning a prompt down; sooner, the server takes it that nobody has."""

Json = dict[str, Any]
BUY, RELEASE, CHANGE = "buy_phone_number", "release_phone_number", "configure_phone_number"
_YES = {BUY: "buy", RELEASE: "release", CHANGE: "change"}
_TOKENS_FILE_SECONDS = 1.1
"""After so long the service has seen a change to its tokens file."""
_file = Lock()


class KrosAI:
    """The simulated KrosAI, as its own dashboard shows and changes it."""

    def __init__(self, base_url: str) -> None:
        self._root = base_url.removesuffix("/v1")
        self._lock, self._taken = Lock(), set[str]()

    def take(self, e164s: Iterable[str], count: int) -> list[str]:
        """Choose numbers that nobody here has chosen yet."""
        with self._lock:
            free = [e164 for e164 in e164s if e164 not in self._taken][:count]
            self._taken.update(free)
        if len(free) < count:
            raise RuntimeError("There are not enough numbers for sale.")
        return free

    def state(self) -> Json:
        """Read charges, owned numbers, and every request that came."""
        return self._ask("/_simulator/state")

    def charges(self, e164s: Iterable[str]) -> int:
        """Count how often any of these numbers was paid for."""
        wanted = set(e164s)
        return sum(charge["e164"] in wanted for charge in self.state()["charges"])

    def number_id(self, e164: str) -> str:
        """Find the id of an owned number; empty if it is not owned."""
        owned = self.state()["owned"]
        return next((str(each["id"]) for each in owned if each["e164"] == e164 and each["status"] == "active"), "")

    def put(self, e164: str, *, owned: bool) -> None:
        """Let a number be owned, with the settings it began with, or be for sale; nobody asks and nobody pays."""
        self._ask("/_tests/number", {"e164": e164, "owned": owned})

    def name_endpoint(self, name: str) -> None:
        """Name every endpoint so."""
        self._ask("/_tests/endpoints", {"name": name})

    def _ask(self, path: str, body: Json | None = None) -> Json:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self._root + path, data, timeout=10) as answer:  # noqa: S310 - of loopback
            read: Json = json.load(answer)
            return read


class Callers:
    """The tokens file of the service, as an operator edits it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def taking(self, scope: str, name: str) -> Callable[[], None]:
        """Make what takes a scope from a caller, and ends once the service knows."""
        return lambda: self._edit(name, lambda entry: entry.replace(f', "{scope}"', ""))

    def limit(self, name: str, line: str) -> None:
        """Add a limit to a caller; ends once the service knows."""
        self._edit(name, lambda entry: f"{entry}{line}\n")

    def _edit(self, name: str, change: Callable[[str], str]) -> None:
        with _file:
            entries = re.split(r"^(?=\[tokens\.)", self._path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            text = "".join(change(each) if each.startswith(f"[tokens.{name}]") else each for each in entries)
            new = self._path.with_suffix(".new")
            new.touch(mode=0o600)
            new.write_text(text, encoding="utf-8")
            os.replace(new, self._path)  # noqa: PTH105 - Path.replace is the same, and reads as that of a text
        time.sleep(_TOKENS_FILE_SECONDS)


@dataclass
class Agent:
    """An agent that talks to the service, and the person who says yes by its client's prompt or in the conversation."""

    transport: MCPTransport
    tool: str

    def call(self, tool: str, more: Json | None = None, **arguments: object) -> Json:
        """Call a tool, and return the result.

        Raises:
            RuntimeError: There was none.
        """
        params = {"name": tool, "arguments": arguments, **(more or {})}
        answer = self.transport.send(jsonrpc_request("tools/call", params)) or {}
        if "result" not in answer:
            raise RuntimeError(f"{tool} was not answered with a result: {answer}")
        result: Json = answer["result"]
        return result

    def act(self, arguments: Json, yes: Json | None = None) -> Json:
        """Call the guarded tool with what a yes came as, and return the result."""
        yes = yes or {}
        if "requestState" not in yes:
            return self.call(self.tool, **arguments, **yes)
        decision = {"decision": _YES[self.tool]}
        if self.tool == RELEASE:
            decision["last_four_digits"] = arguments["number_id"][-4:]
        answer = {"action": "decline"} if yes.get("declines") else {"action": "accept", "content": decision}
        if yes.get("declines"):
            time.sleep(READING_SECONDS)
        answers = dict.fromkeys(yes["asked"], answer)
        return self.call(self.tool, {"requestState": yes["requestState"], "inputResponses": answers}, **arguments)

    def propose(self, arguments: Json) -> Json:
        """Call the guarded tool, let the person say yes, and return what that came as: nothing if nobody was asked."""
        result = self.act(arguments)
        if result.get("resultType") == "input_required":
            return {"requestState": result["requestState"], "asked": list(result["inputRequests"])}
        code = (result.get("structuredContent") or {}).get("confirmation_code")
        return {"confirmation_code": code} if code else {}

    def for_sale(self, country: str = "NG") -> list[str]:
        """Return the numbers that can be bought."""
        found = self.call("search_phone_numbers", country=country, limit=100)["structuredContent"]["numbers"]
        return [each["e164"] for each in found]


@dataclass
class Guard:
    """Does to the server what the harness asks of one that remembers approvals.

    What a call did is undone at KrosAI at once, so that nothing but the yes keeps a second call from doing it again. A
    call that has no yes of its own comes with the last one given.
    """

    agent: Agent
    krosai: KrosAI
    given: dict[str, Json] = field(default_factory=dict)
    last: Json = field(default_factory=dict)

    def __call__(self, request: Json) -> Json:
        """Do what a request says."""
        name = json.dumps(request["args"], sort_keys=True) if "args" in request else ""
        match request["op"]:
            case "profile":
                return {"_status": 200, "single_use": True}
            case "declare":
                return {"_status": 200, "declared": self.forbid(json.dumps(request["deny"]["args"], sort_keys=True))}
            case "approve":
                self.last = self.approve(name)
                self.given[name] = self.last
                return {"_status": 200, "approved": bool(self.last)}
            case "call":
                result = self.agent.act(self.arguments(name), self.given.get(name, self.last))
                self.undo(name)
                return {"_status": 403 if result.get("isError") else 200, "result": result.get("structuredContent")}
            case "executions":
                done = self.done(self.krosai.state())
                return {
                    "_status": 200,
                    "executions": [{"tool": self.agent.tool, "args": json.loads(each)} for each in done],
                }
        raise ValueError(request["op"])

    def approve(self, name: str) -> Json:
        """Let a person say yes, and return what that came as."""
        return self.agent.propose(self.arguments(name))

    def forbid(self, name: str) -> bool:
        """Forbid one call by a rule of the server; false if it has no such rule."""
        raise NotImplementedError

    def arguments(self, name: str) -> Json:
        """Give the arguments that stand for what the harness calls so."""
        raise NotImplementedError

    def undo(self, name: str) -> None:
        """Undo at KrosAI what a call did."""
        raise NotImplementedError

    def done(self, state: Json) -> list[str]:
        """List what KrosAI did, in order."""
        raise NotImplementedError


@dataclass
class Purchases(Guard):
    """Each call buys a number. One that was bought is not bought again for an hour, so each yes is for another."""

    callers: Callers = field(default_factory=lambda: Callers(""))
    principal: str = ""
    numbers: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    early: dict[str, Json] = field(default_factory=dict)

    def approve(self, name: str) -> Json:
        """Let a person say yes, unless they did before it was forbidden."""
        if self.krosai.charges([self.numbers.get(name, "")]):
            del self.numbers[name]
        return self.early.pop(name, {}) or super().approve(name)

    def forbid(self, name: str) -> bool:
        """Let a person say yes to a number of a country, which is then forbidden to this principal."""
        self._choose(name, country="KE")
        self.early[name] = super().approve(name)
        self.callers.limit(self.principal, 'allowed_countries = ["NG"]')
        return True

    def arguments(self, name: str) -> Json:
        """Give the number, in words that stay true when it is for sale again under another id."""
        if name not in self.numbers:
            self._choose(name)
        return {"e164": self.numbers[name]}

    def undo(self, name: str) -> None:
        """Put the number up for sale again."""
        self.krosai.put(self.numbers[name], owned=False)

    def done(self, state: Json) -> list[str]:
        """List what was charged."""
        return [self.names[charge["e164"]] for charge in state["charges"] if charge["e164"] in self.names]

    def _choose(self, name: str, country: str = "NG") -> None:
        [self.numbers[name]] = self.krosai.take(self.agent.for_sale(country), 1)
        self.names[self.numbers[name]] = name


@dataclass
class Releases(Guard):
    """Each call releases a number, which is then owned again under another id."""

    protected: str = ""
    numbers: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """By the ids that the numbers have, and had."""

    def forbid(self, name: str) -> bool:
        """Let it stand for a number that the settings protect."""
        self.numbers[name] = self.protected
        self.names[self.krosai.number_id(self.protected)] = name
        return True

    def arguments(self, name: str) -> Json:
        """Give the number."""
        if name not in self.numbers:
            [self.numbers[name]] = self.krosai.take(self.agent.for_sale(), 1)
            self.undo(name)
        return {"number_id": self.numbers[name]}

    def undo(self, name: str) -> None:
        """Own the number again."""
        self.krosai.put(self.numbers[name], owned=True)
        self.names[self.krosai.number_id(self.numbers[name])] = name

    def done(self, state: Json) -> list[str]:
        """List what was released."""
        ended = [seen["path"].rpartition("/")[2] for seen in _granted(state, "DELETE")]
        return [self.names[number_id] for number_id in ended if number_id in self.names]


@dataclass
class Changes(Guard):
    """Each call changes one number, which the settings protect, in another way; then it is as before."""

    protected: str = ""
    changes: dict[str, Json] = field(default_factory=dict)

    def forbid(self, name: str) -> bool:
        """Say that there is no such rule."""
        del name
        return False

    def arguments(self, name: str) -> Json:
        """Give number and settings."""
        if name not in self.changes:
            self.krosai.put(self.protected, owned=True)
            endpoints = [
                each["endpoint_id"] for each in self.agent.call("list_endpoints")["structuredContent"]["endpoints"]
            ]
            switches = ("on", "off")
            every = (
                {"endpoint_id": endpoint, "allow_inbound": inbound, "allow_outbound": outbound}
                for endpoint in endpoints[1:]
                for inbound in switches
                for outbound in switches
            )
            self.changes[name] = next(each for each in every if each not in self.changes.values())
        return {"number_id": self.protected, **self.changes[name]}

    def undo(self, name: str) -> None:
        """Set the number back."""
        del name
        self.krosai.put(self.protected, owned=True)

    def done(self, state: Json) -> list[str]:
        """List what was changed."""
        number_id = self.krosai.number_id(self.protected)
        bodies = [seen["body"] for seen in _granted(state, "PATCH") if seen["path"].endswith(f"/{number_id}")]
        return [name for body in bodies for name, change in self.changes.items() if _is_like(body, change)]


def _granted(state: Json, method: str) -> list[Json]:
    """List the requests of a method that were answered well; one in course has no status yet."""
    return [seen for seen in state["requests"] if seen["method"] == method and (seen["status"] or 500) < 300]


def _is_like(body: Json, change: Json) -> bool:
    """Whether a request may have made a change; what it leaves out could have been so before."""
    switched = {name: change[name] == "on" for name in ("allow_inbound", "allow_outbound")}
    return all(body.get(name, value) == value for name, value in {**change, **switched}.items())


@dataclass
class Reader:
    """Answers what the harness asks of a hidden instruction: it stands in the name of an endpoint that a number has.

    The agent proposes to release the number both times, as one does that obeys whatever it can read. The person wants
    that once only, and turns it down when it is put to them the other time.
    """

    agent: Agent
    krosai: KrosAI
    record: Callable[[str], Json]
    """What the operator's command shows of an operation."""

    def __call__(self, request: Json) -> Json:
        """Let the agent read, and propose an irreversible act."""
        wanted = request["artifact"].isascii()
        self.krosai.name_endpoint(request["artifact"])
        [e164] = self.krosai.take(self.agent.for_sale(), 1)
        self.krosai.put(e164, owned=True)
        number = {"number_id": e164}
        read = [self.agent.call("list_endpoints"), self.agent.call("get_phone_number", **number)]
        asked = self.agent.act(number)
        seen = json.dumps([*read, asked["inputRequests"]], ensure_ascii=False)
        if "Q3 vendor summary" not in seen:
            raise RuntimeError("The name was not shown, so nothing can be said of what is hidden in it.")
        yes = {"requestState": asked["requestState"], "asked": list(asked["inputRequests"]), "declines": not wanted}
        ended = self.agent.act(number, yes)["structuredContent"]
        record = self.record(ended["operation_id"])
        outcome = DENIED if record["state"] == "declined" else NO_DECISION
        return {
            "outcome": outcome if self.krosai.number_id(e164) else EXECUTED,
            "normalised_input": seen,
            "decision_record": {
                "principal": record["principal"],
                "capability": record["action"],
                "decision": record["state"],
            },
        }


def approval_runs(
    targets: Json, krosai: KrosAI, talk: Callable[..., MCPTransport]
) -> dict[str, Callable[[], list[Json]]]:
    """Make a run for each guarded tool and each way of saying yes."""
    runs: dict[str, Callable[[], list[Json]]] = {}
    for way in ("code", "prompt"):
        buyer = f"buyer-by-{way}"

        def agent(name: str, tool: str, *, asks: bool = way == "prompt") -> Agent:
            return Agent(talk(targets["url"], targets["tokens"][name], asks=asks), tool)

        guards = {
            "buying": Purchases(agent(buyer, BUY), krosai, callers=Callers(targets["tokens_file"]), principal=buyer),
            "releasing": Releases(agent("owner", RELEASE), krosai, protected=targets["protected"][0]),
            "changing": Changes(agent("owner", CHANGE), krosai, protected=targets["protected"][1 + (way == "prompt")]),
        }
        for what, guard in guards.items():
            runs[f"approval-binding, {what} by {way}"] = _run_of(guard)
    return runs


def _run_of(guard: Guard) -> Callable[[], list[Json]]:
    return lambda: _rows(ApprovalBindingHarness(guard, guard.agent.tool).run_all())


def hidden_run(targets: Json, krosai: KrosAI, talk: Callable[..., MCPTransport]) -> list[Json]:
    """Run what is asked of hidden instructions."""
    agent = Agent(talk(targets["url"], targets["tokens"]["owner"], asks=True), RELEASE)

    def record(operation_id: str) -> Json:
        command = [*targets["stdio"], "operations", operation_id, "--json"]
        shown = subprocess.run(command, env={**os.environ, **targets["books"]}, capture_output=True, check=True)
        operation: Json = json.loads(shown.stdout)["operation"]
        return operation

    return _rows(HiddenInstructionHarness(Reader(agent, krosai, record)).run_all())


def unseen_in_bad_guards() -> list[str]:
    """List the tests that do not fail on targets that are bad by construction."""
    seen = {each.test_id for each in HiddenInstructionHarness(NAIVE).run_all() if _verdict(each) == "failed"}
    for shape in ("NAME_KEYED", "REUSABLE_DECLARED_SINGLE", "POLICY_UNENFORCED"):
        done = ApprovalBindingHarness(make_target(shape)).run_all()
        seen |= {each.test_id for each in done if _verdict(each) == "failed"}
    return sorted({"APB-001", "APB-002", "APB-003", "HI-001", "HI-002", "HI-004"} - seen)


def _rows(results: Iterable[Any]) -> list[Json]:
    return [
        {
            "test": each.test_id,
            "variant": "",
            "verdict": _verdict(each),
            "answer": "" if each.not_evaluated else each.details,
            "details": each.details,
        }
        for each in results
    ]


def _verdict(result: Any) -> str:
    return "inconclusive" if result.not_evaluated else "passed" if result.passed else "failed"
