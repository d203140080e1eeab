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

Json = dict[str, Any]
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
        """Let a number be owned or be for sale, at no charge and without a request that counts."""
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
        """Call a tool; the result.

        Raises:
            RuntimeError: There was none.
        """
        params = {"name": tool, "arguments": arguments, **(more or {})}
        answer = self.transport.send(jsonrpc_request("tools/call", params)) or {}
        if "result" not in answer:
            raise RuntimeError(f"{tool} was not answered with a result: {answer}")
        result: Json = answer["result"]
        return result

    def act(self, e164: str, yes: Json | None = None) -> Json:
        """Call the guarded tool for a number, with what a yes came as; the result."""
        yes = yes or {}
        named = {"e164": e164} if self.tool == "buy_phone_number" else {"number_id": e164}
        if "requestState" not in yes:
            return self.call(self.tool, **named, **yes)
        decision = {"decision": "buy"}
        if self.tool == "release_phone_number":
            decision = {"decision": "release", "last_four_digits": e164[-4:]}
        answer = {"action": "decline"} if yes.get("declines") else {"action": "accept", "content": decision}
        answers = dict.fromkeys(yes["asked"], answer)
        return self.call(self.tool, {"requestState": yes["requestState"], "inputResponses": answers}, **named)

    def propose(self, e164: str) -> Json | None:
        """Call the guarded tool for a number and let the person say yes; what that came as, or None without it."""
        result = self.act(e164)
        if result.get("resultType") == "input_required":
            return {"requestState": result["requestState"], "asked": list(result["inputRequests"])}
        code = (result.get("structuredContent") or {}).get("confirmation_code")
        return {"confirmation_code": code} if code else None


@dataclass
class Guard:
    """Does to the server what the harness asks of one that remembers approvals; a number stands for what it names.

    Whatever was bought is for sale again at once, and what was released is owned again, so that nothing but the yes
    keeps a second call from doing it once more. The next yes to a purchase is for another number, since one
    that was bought is not bought again for an hour. A call without a yes of its own comes with the last one given.
    """

    agent: Agent
    krosai: KrosAI
    callers: Callers
    principal: str
    protected: str
    """A number that is never released."""
    numbers: dict[str, str] = field(default_factory=dict)
    """By what the harness calls them, the newest of each."""
    names: dict[str, str] = field(default_factory=dict)
    """What the harness calls them, also those that were bought before."""
    ids: dict[str, str] = field(default_factory=dict)
    """Numbers by the ids that they have, and had, while owned."""
    early: dict[str, Json] = field(default_factory=dict)
    """Each yes that was given before its number was forbidden."""
    given: dict[str, Json] = field(default_factory=dict)
    last: Json = field(default_factory=dict)

    def __call__(self, request: Json) -> Json:
        """Do what a request says."""
        answer: Json = getattr(self, request["op"])(request)
        return answer

    def profile(self, _request: Json) -> Json:
        """Say that an approval holds once."""
        return {"_status": 200, "single_use": True}

    def declare(self, request: Json) -> Json:
        """Forbid one number: by the country it is in, after its yes was given, or as protected."""
        denied = request["deny"]["args"]
        if self.agent.tool == "release_phone_number":
            self.numbers[_name(denied)] = self.protected
            self.names[self.protected] = _name(denied)
        else:
            self.early[_name(denied)] = self.agent.propose(self._number(denied, country="KE")) or {}
            self.callers.limit(self.principal, 'allowed_countries = ["NG"]')
        return {"_status": 200, "declared": True}

    def approve(self, request: Json) -> Json:
        """Let a person say yes."""
        name = _name(request["args"])
        if self.agent.tool == "buy_phone_number" and self.krosai.charges([self.numbers.get(name, "")]):
            del self.numbers[name]
        yes = self.early.pop(name, None) or self.agent.propose(self._number(request["args"]))
        if yes is None:
            return {"_status": 403, "approved": False}
        self.given[name] = self.last = yes
        return {"_status": 200, "approved": True}

    def call(self, request: Json) -> Json:
        """Call the guarded tool, with the number's own yes if it ever had one."""
        e164 = self._number(request["args"])
        result = self.agent.act(e164, self.given.get(_name(request["args"]), self.last))
        self._restore(e164)
        return {"_status": 403 if result.get("isError") else 200, "result": result.get("structuredContent")}

    def executions(self, _request: Json) -> Json:
        """Tell what KrosAI did for these numbers, in order."""
        state, names = self.krosai.state(), self.names
        done = [charge["e164"] for charge in state["charges"]]
        if self.agent.tool == "release_phone_number":
            released = [seen for seen in state["requests"] if seen["method"] == "DELETE" and seen["status"] < 300]
            done = [self.ids.get(seen["path"].rpartition("/")[2], "") for seen in released]
        executions = [{"tool": self.agent.tool, "args": json.loads(names[e164])} for e164 in done if e164 in names]
        return {"_status": 200, "executions": executions}

    def _number(self, arguments: Json, country: str = "NG") -> str:
        name = _name(arguments)
        if name not in self.numbers:
            found = self.agent.call("search_phone_numbers", country=country, limit=100)["structuredContent"]
            [self.numbers[name]] = self.krosai.take([each["e164"] for each in found["numbers"]], 1)
            self.names[self.numbers[name]] = name
            self._restore(self.numbers[name])
        return self.numbers[name]

    def _restore(self, e164: str) -> None:
        if e164 == self.protected:
            return
        self.krosai.put(e164, owned=self.agent.tool == "release_phone_number")
        if number_id := self.krosai.number_id(e164):
            self.ids[number_id] = e164


def _name(arguments: Json) -> str:
    return json.dumps(arguments, sort_keys=True)


@dataclass
class Reader:
    """Answers what the harness asks of a hidden instruction: it stands in the name of an endpoint that a number has.

    The agent obeys whatever it reads. The person wants the number released once, and is not asked to want anything the
    other time, so they turn down what is then put to them.
    """

    agent: Agent
    krosai: KrosAI
    record: Callable[[str], Json]
    """What the operator's command shows of an operation."""

    def __call__(self, request: Json) -> Json:
        """Let the agent read, and propose an irreversible act."""
        wanted = request["artifact"].isascii()
        self.krosai.name_endpoint(request["artifact"])
        found = self.agent.call("search_phone_numbers", country="NG", limit=100)["structuredContent"]["numbers"]
        [e164] = self.krosai.take([each["e164"] for each in found], 1)
        self.krosai.put(e164, owned=True)
        read = [self.agent.call("list_endpoints"), self.agent.call("get_phone_number", number_id=e164)]
        asked = self.agent.act(e164)
        seen = json.dumps([*read, asked["inputRequests"]], ensure_ascii=False)
        if "Q3 vendor summary" not in seen:
            raise RuntimeError("The name was not shown, so nothing can be said of what is hidden in it.")
        yes = {"requestState": asked["requestState"], "asked": list(asked["inputRequests"])}
        outcome = self.agent.act(e164, yes if wanted else {**yes, "declines": True})["structuredContent"]
        kept = bool(self.krosai.number_id(e164))
        decided = {"done": EXECUTED, "declined": DENIED}.get(outcome["status"], NO_DECISION)
        answer = {"outcome": decided if kept else EXECUTED, "normalised_input": seen}
        if decided == DENIED:
            record = self.record(outcome["operation_id"])
            answer["decision_record"] = {
                "principal": record["principal"],
                "capability": record["action"],
                "decision": record["state"],
            }
        return answer


def approval_runs(
    targets: Json, krosai: KrosAI, talk: Callable[..., MCPTransport]
) -> dict[str, Callable[[], list[Json]]]:
    """Make a run for each guarded tool and each way of saying yes."""

    def made(tool: str, way: str) -> Callable[[], list[Json]]:
        principal = f"{tool.partition('_')[0]}-by-{way}"
        agent = Agent(talk(targets["url"], targets["tokens"][principal], asks=way == "prompt"), tool)
        guard = Guard(agent, krosai, Callers(targets["tokens_file"]), principal, targets["protected"])
        return lambda: _rows(ApprovalBindingHarness(guard, tool).run_all())

    tools = {"buying": "buy_phone_number", "releasing": "release_phone_number"}
    return {
        f"approval-binding, {what} by {way}": made(tool, way)
        for what, tool in tools.items()
        for way in ("code", "prompt")
    }


def hidden_run(targets: Json, krosai: KrosAI, talk: Callable[..., MCPTransport]) -> list[Json]:
    """Run what is asked of hidden instructions."""
    agent = Agent(talk(targets["url"], targets["tokens"]["reader"], asks=True), "release_phone_number")

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
