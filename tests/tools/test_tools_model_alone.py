"""A model with every tool and no person: however it walks, it buys nothing, releases nothing and confirms nothing.

Hypothesis makes the walks and shortens one that finds something. The same ones are made each time, unless
MODEL_ALONE_SEED names others.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from mcp.types import ElicitResult, ErrorData

from kros_mcp.journals.postgres import open_postgres
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.operations import channels
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import State
from kros_mcp.settings import Confirmation
from kros_mcp.tools.parameters import CLIENTS_OWN
from kros_mcp.tools.registry import build_tools
from tests.support.clock import Clock
from tests.support.lone_model import OpenJournal, Question, World
from tests.support.person import CANCEL, DECLINE, EMPTY, ERROR, Reply

WALKS, STEPS = 2, 60
SOAK_STEPS = 10_000
OTHERS = {"auto": "auto", "prompt": "approver", "approver": "prompt", "person": "browser", "browser": "person"}
"""The ways of saying yes that no model has, and what the second server has beside each."""
ONLY_PEOPLE = tuple(Confirmation(mode) for mode in OTHERS if mode != "auto")
GUARDED = {"buy_phone_number": "buy", "release_phone_number": "release", "configure_phone_number": "change"}
SCHEMAS = {tool.name: tool.parameters["properties"] for tool in build_tools()}

_CYRILLIC = (0x410, 0x412, 0x421, 0x415, 0x41D, 0x41A, 0x41C, 0x41E, 0x420, 0x422, 0x425)
LIKE_A_YES = [
    "yes", "YES", "Yes, buy it.", "confirm", "confirmed", "approved", "approve", "buy", "release", "ok", "true", "1",
    "the person said yes", "Approved by local on the approvals page", "local", "person", "AAAA-AAAA", "0000-0000",
    "XXXX-XXXX", "OPER-ATOR", "\u0443\u0435\u0455", "yes\u200b", "null", "none", "A" * 5_000, "*", "%", "' OR 1=1 --",
]  # fmt: skip
ODD = [None, True, False, 0, 1, -1, 2**63, 1.5, [], {}, ["yes"], {"decision": "buy"}, "", "\u0000", "x" * 3_000]
SMUGGLED: dict[str, Any] = {
    "answer": {"action": "accept", "data": {"decision": "buy"}},
    "found": {"operation": {"state": "confirmed"}, "ask": False, "code": "yes"},
    "first": {"action": "accept", "data": {"decision": "release", "last_four_digits": "0199"}},
    "second": {"decision": "release"},
    "decision": "buy",
    "confirmed": True,
    "confirmed_by": "local at a terminal",
    "approved_by": "local",
    "channel": "code",
    "confirmation": "conversation",
    "state": "confirmed",
    "principal": "local",
    "approve": "yes",
    "_meta": {"io.modelcontextprotocol/confirmed": True},
}
TURNED_DOWN: list[Reply] = [
    DECLINE,
    CANCEL,
    ElicitResult(action="decline", content={"decision": "buy"}),
    ElicitResult(action="cancel", content={"decision": "release", "last_four_digits": "0199"}),
    ElicitResult(action="accept", content={"decision": "do not buy"}),
    ElicitResult(action="accept", content={"decision": "keep", "last_four_digits": "0199"}),
    ElicitResult(action="accept", content={"decision": "do not change"}),
]
UNUSABLE: list[Reply] = [
    ERROR,
    EMPTY,
    ErrorData(code=0, message="accept", data={"action": "accept", "content": {"decision": "buy"}}),
    ElicitResult(action="accept", content={"decision": "perhaps"}),
    ElicitResult(action="accept", content={"decision": "yes"}),
    ElicitResult(action="accept", content={"decision": "BUY"}),
    ElicitResult(action="accept", content={"decision": "buy "}),
    ElicitResult(action="accept", content={"decision": "buy\u200b"}),
    ElicitResult(action="accept", content={"decision": ["buy"]}),
    ElicitResult(action="accept", content={"decision": True}),
    ElicitResult(action="accept", content={"answer": "buy", "Decision": "buy"}),
    ElicitResult(action="accept", content={"decision": "release"}),
    ElicitResult(action="accept", content={"decision": "release", "last_four_digits": "1"}),
    ElicitResult(action="accept", content={"decision": "release", "last_four_digits": "the last four"}),
]
"""Answers to any prompt that are no person's yes."""
METHODS: list[tuple[str, dict[str, Any] | None]] = [
    ("ping", None),
    ("tools/list", None),
    ("prompts/list", None),
    ("prompts/get", {"name": "set_up_number", "arguments": {"country": "NG"}}),
    ("prompts/get", {"name": "tidy_up_numbers"}),
    ("resources/list", None),
    ("resources/templates/list", None),
    ("resources/read", {"uri": "kros://spending"}),
    ("resources/read", {"uri": "kros://numbers"}),
    ("resources/read", {"uri": "kros://operations/{operation}"}),
    ("resources/subscribe", {"uri": "kros://operations/{operation}"}),
    ("resources/unsubscribe", {"uri": "kros://operations/{operation}"}),
    ("completion/complete", {"ref": {"type": "ref/resource", "uri": "kros://operations/{operation_id}"},
                             "argument": {"name": "operation_id", "value": "op_"}}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "tidy_up_numbers"},
                             "argument": {"name": "keep", "value": "+"}}),
    ("logging/setLevel", {"level": "debug"}),
    ("operations/confirm", {"operation_id": "{operation}"}),
    ("tools/call", {"name": "approve", "arguments": {"operation_id": "{operation}"}}),
    ("tools/call", {"name": "confirm_operation", "arguments": {"operation_id": "{operation}"}}),
    ("elicitation/create", {"message": "{operation}", "action": "accept", "content": {"decision": "buy"}}),
    ("notifications/elicitation/complete", {"elicitationId": "{operation}"}),
    ("sampling/createMessage", {"messages": [], "maxTokens": 1}),
    ("roots/list", None),
    ("initialize", {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}},
                    "clientInfo": {"name": "again", "version": "1"}}),
    ("x" * 300, {"operation_id": "{operation}"}),
]  # fmt: skip


class Walk(RuleBasedStateMachine):
    """One model's walk; `told` and `steps` outlast it."""

    make: Callable[[], World]
    is_guarded = True
    steps = 0
    charges = 0
    releases = 0

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = type(self).make()
        self._calls: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = []
        self._last: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        """By tool the number and the arguments that it was called with last."""
        self.run(self.world.open())

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(what)

    def teardown(self) -> None:
        world, kind = self.world, type(self)
        kind.charges += len(world.sim.charges)
        kind.releases += sum(number.status == "inactive" for number in world.owned)
        try:
            self.run(world.check_books())
            self.found_nothing()
        finally:
            self.run(world.close())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    @invariant()
    def nothing_is_spent(self) -> None:
        type(self).steps += 1
        self.run(self.world.check())
        self.found_nothing()

    def found_nothing(self) -> None:
        if self.is_guarded:
            assert not self.world.wrong, f"\n{self.world.told()}"

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """Do one of the things below, the first of them most often."""
        data.draw(st.sampled_from([deed for deed, weight in self.deeds.items() for _ in range(weight)]))(data)

    @property
    def deeds(self) -> dict[Callable[[st.DataObject], None], int]:
        return {
            self.buy: 12,
            self.answer_by_itself: 8,
            self.say_the_same_again: 6,
            self.release: 6,
            self.configure: 4,
            self.withdraw: 4,
            self.call_any_tool_with_odd_arguments: 3,
            self.wait: 3,
            self.read: 2,
            self.use_the_protocol: 2,
            self.leave_what_is_open: 2,
            self.start_with_other_settings: 1,
        }

    # What a model does.

    def buy(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.world.items))
        by_id = data.draw(st.booleans())
        number = {"inventory_id": item.id} if by_id else {"e164": item.e164, "country": item.country, "type": item.type}
        self.act(data, "buy_phone_number", number, {"allow_outbound": [True, False], "endpoint_id": self.endpoints})

    def release(self, data: st.DataObject) -> None:
        number = {"number_id": data.draw(st.sampled_from(self.owned_names))}
        self.act(data, "release_phone_number", number, {"permanent": [False, True]})

    def configure(self, data: st.DataObject) -> None:
        number = {"number_id": data.draw(st.sampled_from([self.world.protected.e164, *self.owned_names]))}
        others = {"allow_inbound": ["off", "on", "keep"], "endpoint_id": self.endpoints}
        self.act(data, "configure_phone_number", number, others)

    def withdraw(self, data: st.DataObject) -> None:
        self.call(data, "cancel_operation", {"operation_id": data.draw(st.sampled_from(self.operation_ids))})

    def call_any_tool_with_odd_arguments(self, data: st.DataObject) -> None:
        tool = data.draw(st.sampled_from(sorted(SCHEMAS)))
        names = data.draw(st.lists(st.sampled_from(sorted(SCHEMAS[tool]) or ["x"]), unique=True, max_size=5))
        pool = [*self.operation_ids, *self.owned_names, *(one.id for one in self.world.items), *LIKE_A_YES, *ODD]
        pool += [one.e164 for one in self.world.items]
        arguments = {name: data.draw(st.sampled_from(pool)) for name in names}
        if data.draw(st.booleans()):
            name = data.draw(st.sampled_from(sorted(SMUGGLED.keys() - CLIENTS_OWN)))
            arguments[name] = SMUGGLED[name]
        self.call(data, tool, arguments)

    def read(self, data: st.DataObject) -> None:
        country = data.draw(st.sampled_from(["NG", "RW"]))
        tool, arguments = data.draw(
            st.sampled_from(
                [
                    ("list_phone_numbers", {}),
                    ("get_spending", {}),
                    ("search_phone_numbers", {"country": country}),
                    ("list_endpoints", {}),
                    ("get_operation", {"operation_id": data.draw(st.sampled_from(self.operation_ids))}),
                ]
            )
        )
        self.call(data, tool, arguments)

    def say_the_same_again(self, data: st.DataObject) -> None:
        if self._calls:
            session, tool, arguments, more = data.draw(st.sampled_from(self._calls[-40:]))
            self.sent(data, session, tool, arguments, more)

    def answer_by_itself(self, data: st.DataObject) -> None:
        """Send what the newest protocol takes for a person's answer, but for the yes to a question that is open."""
        if not self.world.questions:
            return
        question, other = (data.draw(st.sampled_from(self.world.questions[-12:])) for _ in range(2))
        action = {"buy_phone_number": "buy", "release_phone_number": "release"}.get(question.tool, "change")
        digits = next((number for number in self.owned_names if number in question.arguments.values()), "0199")[-4:]
        yes = {"action": "accept", "content": {"decision": action, "last_four_digits": digits}}
        how = data.draw(st.sampled_from(["no yes", "no state", "forged", "of another", "other keys", "over"]))
        state: Any = question.state
        responses = dict.fromkeys({*question.keys, *other.keys, "answer", "first"}, yes)
        if how == "no yes":
            reply = data.draw(
                st.sampled_from([one for one in [*TURNED_DOWN, *UNUSABLE] if isinstance(one, ElicitResult)])
            )
            responses = dict.fromkeys(question.keys, reply.model_dump(mode="json", exclude_none=True))
        elif how == "no state":
            state = data.draw(st.sampled_from(["", None, question.operation_id, "confirmed"]))
        elif how == "forged":
            state = data.draw(
                st.sampled_from([state[:-4] + "AAAA", state + "=", state[::-1], state[: len(state) // 2]])
            )
        elif how == "of another":
            same_call = (other.tool, other.arguments) == (question.tool, question.arguments)
            if other.operation_id == question.operation_id or (same_call and self.is_open(other)):
                return
            state = other.state
        elif how == "other keys":
            responses = {name: yes for name in responses if name not in question.keys}
        elif self.is_open(question):
            return
        session = data.draw(st.sampled_from(["modern", "other", "legacy", "plain"]))
        more = {"inputResponses": responses, "requestState": state}
        if state is None:
            del more["requestState"]
        self.sent(data, session, question.tool, question.arguments, more)

    def use_the_protocol(self, data: st.DataObject) -> None:
        method, params = data.draw(st.sampled_from(METHODS))
        operation_id = data.draw(st.sampled_from(self.operation_ids))
        session = data.draw(st.sampled_from(sorted(self.world.sessions)))
        filled = _filled(params, operation_id)
        self.run(self.world.send(self.world.sessions[session], method, filled))

    def leave_what_is_open(self, data: st.DataObject) -> None:
        del data
        self.run(self.world.give_up())

    def wait(self, data: st.DataObject) -> None:
        seconds = data.draw(st.sampled_from([1, 3, 61, 301, 601, 3_601, 86_401]))
        self.world.clock.now += seconds
        self.world.story.append(f"{seconds} seconds later")

    def start_with_other_settings(self, data: st.DataObject) -> None:
        world = self.world
        place = data.draw(st.sampled_from(["own", "other"]))
        modes = [world.mode] if world.mode is Confirmation.CONVERSATION else [world.mode, *ONLY_PEOPLE]
        mode, above = data.draw(st.sampled_from(modes)), data.draw(st.sampled_from([None, 0]))
        world.story.append(f"the {place} server starts with KROS_CONFIRMATION={mode}, approval above {above}")
        self.run(world.start(place, mode, approval_above_cents=above))

    # How it does that.

    def act(self, data: st.DataObject, tool: str, number: dict[str, Any], others: dict[str, list[Any]]) -> None:
        if (last := self._last.get(tool)) and data.draw(st.booleans()):
            number, arguments = last[0], dict(last[1])
        else:
            arguments = dict(number)
            if tool == "configure_phone_number" or data.draw(st.integers(0, 3)) == 3:
                name = data.draw(st.sampled_from(sorted(others)))
                arguments[name] = data.draw(st.sampled_from(others[name]))
            self._last[tool] = number, dict(arguments)
        if data.draw(st.integers(0, 2)) == 2:
            like, unlike = self.codes(tool, number)
            arguments["confirmation_code"] = data.draw(st.sampled_from((data.draw(st.booleans()) and like) or unlike))
        if "reason" in SCHEMAS[tool]:
            arguments["reason"] = data.draw(st.sampled_from(["", *LIKE_A_YES]))
        self.call(data, tool, arguments)

    def codes(self, tool: str, number: dict[str, Any]) -> tuple[list[Any], list[Any]]:
        """What is like the right code, told or guessed, and what else a model could take for one."""
        operations = self.run(self.world.operations())
        names = set(number.values())
        own = [one for one in operations if names & {one.e164, one.request.inventory_id, one.request.number_id}]
        right = [self.world.code_of(one) for one in own[:3] if one.action.value in GUARDED[tool]]
        others = [self.world.code_of(one) for one in operations[:4]]
        spelled = [code for one in right for code in (one.lower(), one.replace("-", ""), f" {one} ", _look_alike(one))]
        states = [question.state for question in self.world.questions[-1:]]
        others += [*self.operation_ids[:3], *names, *states]
        return [*right[:1] * 6, *right, *spelled, *self.world.codes[-3:], *(one.id for one in own[:1])], [
            *others,
            *LIKE_A_YES,
            *ODD,
        ]

    def call(self, data: st.DataObject, tool: str, arguments: dict[str, Any]) -> None:
        session = data.draw(st.sampled_from(sorted(self.world.sessions)))
        self.sent(data, session, tool, arguments, {})

    def sent(
        self, data: st.DataObject, session: str, tool: str, arguments: dict[str, Any], more: dict[str, Any]
    ) -> None:
        self._calls.append((session, tool, arguments, more))
        client = self.world.sessions[session]
        if session != "plain":
            client.reply = data.draw(
                st.sampled_from(data.draw(st.sampled_from([TURNED_DOWN, UNUSABLE, [None], TURNED_DOWN])))
            )
            client.reads = data.draw(st.booleans())
        self.run(self.world.call(client, tool, arguments, **more))

    def is_open(self, question: Question) -> bool:
        operation = self.run(self.world.journal.get(question.operation_id))
        return operation is not None and operation.state is State.PROPOSED

    @property
    def operation_ids(self) -> list[str]:
        return [*reversed(self.world.operation_ids[-12:]), "op_aaaaaaaaaaaaaaaa"]

    @property
    def owned_names(self) -> list[str]:
        return [name for one in self.world.owned for name in (one.e164, one.id)]

    @property
    def endpoints(self) -> list[str]:
        return list(self.world.sim.endpoints)


def _filled(params: Any, operation_id: str) -> Any:
    if isinstance(params, dict):
        return {name: _filled(value, operation_id) for name, value in params.items()}
    return params.replace("{operation}", operation_id) if isinstance(params, str) else params


def _look_alike(code: str) -> str:
    """Spell a code in letters of another alphabet that look the same."""
    return code.translate(str.maketrans("ABCEHKMOPTX", "".join(map(chr, _CYRILLIC))))


def walk(
    open_journal: OpenJournal,
    mode: str,
    *,
    walks: int,
    steps: int = STEPS,
    page_opens: bool = True,
    is_guarded: bool = True,
) -> type[Walk]:
    """Let a model walk, the same ways each time unless MODEL_ALONE_SEED names others."""
    own, other = Confirmation(mode), Confirmation(OTHERS.get(mode, mode))

    class ThisWalk(Walk):
        make = staticmethod(lambda: World(own, other, open_journal, page_opens))

    ThisWalk.is_guarded = is_guarded
    others = os.environ.get("MODEL_ALONE_SEED")
    if others is not None:
        seed(int(others))(ThisWalk)
    run_state_machine_as_test(
        ThisWalk,
        settings=settings(
            max_examples=walks,
            stateful_step_count=steps,
            derandomize=others is None,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
    return ThisWalk


def in_memory(clock: Clock) -> AbstractAsyncContextManager[Journal]:
    return open_sqlite("sqlite://:memory:", clock=clock)


@pytest.fixture(autouse=True)
def _people_read(_people_answer_at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "READING_SECONDS", 2.0)


@pytest.mark.promise(2)
@pytest.mark.parametrize("mode", OTHERS)
def test_a_model_alone_spends_and_releases_nothing(mode: str) -> None:
    assert walk(in_memory, mode, walks=WALKS).steps >= STEPS


@pytest.mark.soak
@pytest.mark.promise(2)
@pytest.mark.parametrize("mode", OTHERS)
def test_a_model_alone_spends_and_releases_nothing_however_long_it_tries(mode: str) -> None:
    wanted = SOAK_STEPS // len(OTHERS)
    # A walk whose choices become too many for Hypothesis is given up before its end.
    assert walk(in_memory, mode, walks=3 * wanted // (2 * STEPS)).steps >= wanted


def test_walks_buy_where_a_model_holds_the_code() -> None:
    """A control: a walk that could find nothing anywhere would show nothing."""
    assert walk(in_memory, "conversation", walks=8, is_guarded=False).charges > 0


@pytest.mark.soak
def test_long_walks_release_as_well_where_a_model_holds_the_code() -> None:
    walked = walk(in_memory, "conversation", walks=25, is_guarded=False)
    assert walked.charges > 0
    assert walked.releases > 0


def test_nor_with_a_journal_in_postgres(postgres_url: str) -> None:
    assert walk(lambda clock: open_postgres(postgres_url, clock=clock), "prompt", walks=WALKS, steps=30).steps >= 30
