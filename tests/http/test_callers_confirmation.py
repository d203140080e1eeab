"""How a person agrees may be made stricter for one caller than for the service, and never laxer."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from approvals_bench import AGENT, NIGHT, Bench, open_bench

from kros_mcp.errors import ConfirmationError, OperationError, SettingsError
from kros_mcp.http.access import Access, build_access
from kros_mcp.http.tokens import read_tokens
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations import policy
from kros_mcp.operations.channels import Ways, choose_channel
from kros_mcp.operations.execution import Yes, execute
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Channel, Limits, Operation, State
from kros_mcp.settings import Confirmation, Settings, is_laxer, stricter
from kros_mcp.simulator import InventoryItem, Simulator
from tests.support.clock import Clock
from tests.support.issuer import PUBLIC_URL, URL, Served, entry, open_http, tokens_file
from tests.support.person import Person, accept
from tests.support.upstream import item_of

pytestmark = pytest.mark.anyio

OTHER = "krosmcp_other"
PRICE = 500
BY_CODE, BY_PROMPT = Yes(Channel.CODE), Yes(Channel.PROMPT)
LAXEST_FIRST = (("auto", "conversation"), ("person", "prompt", "browser"), ("approver",))


def asker(**rights: Any) -> str:
    return entry("support-agent", AGENT, "read", "buy", "release", "configure", **rights)


class Tokens:
    """A tokens file that is changed by hand, and seen at once."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, Clock()
        self.hold()
        self.access: Access = build_access(Settings(tokens_file=path), clock=self.clock)

    def hold(self, **rights: Any) -> None:
        tokens_file(self.path, asker(**rights), entry("night-desk", NIGHT, "approve"))
        self.clock.now += 2


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "tokens.toml")


@pytest.fixture
async def journal(journal_url: str) -> AsyncIterator[Journal]:
    async with open_journal(journal_url) as opened:
        yield opened


@pytest.fixture
async def bench(tokens: Tokens, journal: Journal) -> AsyncIterator[Bench]:
    async with open_bench(who=tokens.access, journal=journal, confirmation="conversation") as opened:
        yield opened


async def put(bench: Bench, *, can_ask: bool = False) -> Operation:
    """Let the asker ask for a number, and the person be asked."""
    operation = await bench.purchase()
    found = await choose_channel(bench.runtime.account, operation, Ways(can_ask=can_ask))
    return found.operation


async def buys(served: Served, token: str, item: InventoryItem, person: Person | None = None, **more: str) -> Any:
    answers = person.answer if person else None
    async with served.talks(token, "auto", answers) as client:
        place = {"e164": item.e164, "country": item.country, "type": item.type}
        return (await client.call_tool("buy_phone_number", place | more)).structured_content or {}


def test_of_two_ways_the_stricter_holds_and_of_equals_the_services() -> None:
    for rank, ways in enumerate(LAXEST_FIRST):
        for way in map(Confirmation, ways):
            assert stricter(way, None) is way
            for other_rank, others in enumerate(LAXEST_FIRST):
                for other in map(Confirmation, others):
                    assert stricter(way, other) is (other if other_rank > rank else way)
                    assert is_laxer(way, other) is (rank < other_rank)


def test_of_two_amounts_the_lower_holds_and_one_that_is_set_is_never_lost() -> None:
    for service, own, line in [(None, None, None), (5, None, 5), (None, 7, 7), (5, 7, 5), (5, 0, 0)]:
        settings = Settings(approval_above_cents=service)
        assert policy.approval_above_cents(settings, None, Limits(approval_above_cents=own)) == line


async def test_one_caller_waits_for_an_approver_where_another_says_yes_in_the_conversation(
    sim: Simulator, tmp_path: Path
) -> None:
    item, above = item_of(sim), {"approval_above_cents": PRICE - 1}
    file = tokens_file(
        tmp_path / "tokens.toml",
        asker(confirmation="approver"),
        entry("other", OTHER, "read", "buy"),
        entry("small", "krosmcp_small", "read", "buy", **above),
    )
    async with open_http(sim, tokens_file=file, confirmation="conversation", tcp=True) as served:
        assert (await buys(served, AGENT, item))["status"] == "awaiting_approval"
        assert (await buys(served, "krosmcp_small", item))["status"] == "awaiting_approval"
        asked = await buys(served, OTHER, item)
        refused = await buys(served, AGENT, item, confirmation_code=asked["confirmation_code"])
        assert refused["code"] == "CODE_NOT_USED"
        assert "this caller's own way of confirming, approver" in refused["next_step"]
        told = {}
        for token in (AGENT, OTHER, "krosmcp_small"):
            async with served.talks(token, "auto") as client:
                spending = (await client.call_tool("get_spending", {})).structured_content or {}
                told[token] = (spending["confirmation"], spending["approval_above_cents"])
    assert told == {
        AGENT: ("approver", None),
        OTHER: ("conversation", None),
        "krosmcp_small": ("conversation", PRICE - 1),
    }
    assert not sim.charges


async def test_what_an_entry_says_that_is_laxer_has_no_effect(tokens: Tokens, sim: Simulator) -> None:
    tokens.hold(confirmation="conversation", approval_above_cents=PRICE)
    async with open_bench(sim, who=tokens.access, confirmation="approver") as bench:
        assert (await put(bench)).channel is Channel.APPROVER
    async with open_bench(sim, who=tokens.access, confirmation="conversation", approval_above_cents=PRICE - 1) as bench:
        assert (await put(bench)).channel is Channel.APPROVER


async def test_a_code_given_out_before_the_caller_was_made_stricter_buys_nothing(bench: Bench, tokens: Tokens) -> None:
    operation = await put(bench)
    assert operation.channel is Channel.CODE
    tokens.hold(confirmation="prompt")

    failed = await execute(bench.runtime.account, operation.id, BY_CODE)

    assert (failed.state, failed.error_code, failed.charged) == (State.FAILED, "YES_NOT_ENOUGH", "no")
    assert not bench.sim.charges
    anew = await put(bench, can_ask=True)
    assert (anew.id == operation.id, anew.channel) == (False, Channel.PROMPT)
    assert (await execute(bench.runtime.account, anew.id, BY_PROMPT)).state is State.DONE


async def test_a_code_does_not_count_where_the_same_was_put_to_a_prompt_meanwhile(bench: Bench, tokens: Tokens) -> None:
    operation = await put(bench)
    tokens.hold(confirmation="prompt")
    assert (await put(bench, can_ask=True)).channel is Channel.PROMPT
    with pytest.raises(OperationError, match="already proposed"):
        await execute(bench.runtime.account, operation.id, BY_CODE)
    assert (await bench.stored(operation)).state is State.PROPOSED
    assert not bench.sim.charges


@pytest.mark.parametrize("stricter_now", [{"confirmation": "approver"}, {"approval_above_cents": PRICE - 1}])
async def test_a_yes_in_a_prompt_does_not_count_once_an_approver_has_to_agree(
    bench: Bench, tokens: Tokens, stricter_now: dict[str, Any]
) -> None:
    operation = await put(bench, can_ask=True)
    tokens.hold(**stricter_now)
    failed = await execute(bench.runtime.account, operation.id, BY_PROMPT)
    assert (failed.state, failed.error_code) == (State.FAILED, "APPROVAL_NEEDED")
    assert (await put(bench)).channel is Channel.APPROVER
    assert not bench.sim.charges


@pytest.mark.parametrize(
    ("strict", "channel", "code"),
    [
        ({"confirmation": "approver"}, Channel.APPROVER, "APPROVAL_NEEDED"),
        ({"approval_above_cents": PRICE - 1}, Channel.APPROVER, "APPROVAL_NEEDED"),
        ({"confirmation": "prompt"}, Channel.PROMPT, "YES_NOT_ENOUGH"),
    ],
)
async def test_a_server_that_does_not_know_of_it_yet_holds_to_what_was_asked_for_under_it(
    tokens: Tokens,
    journal: Journal,
    sim: Simulator,
    tmp_path: Path,
    strict: dict[str, Any],
    channel: Channel,
    code: str,
) -> None:
    stale = Tokens(tmp_path / "stale.toml")
    tokens.hold(**strict)
    async with open_bench(sim, who=tokens.access, journal=journal, confirmation="conversation") as bench:
        operation = await bench.purchase()
    async with open_bench(sim, who=stale.access, journal=journal, confirmation="conversation") as bench:
        assert (await put(bench, can_ask=True)).channel is channel
        # As if it had given out a code before it read the operation again.
        await bench.runtime.account.journal.change(
            operation.id, lambda current, _: replace(current, channel=Channel.CODE)
        )
        failed = await execute(bench.runtime.account, operation.id, BY_CODE)
    assert (failed.id, failed.state, failed.error_code) == (operation.id, State.FAILED, code)
    assert not sim.charges


async def test_a_caller_made_laxer_waits_for_what_it_was_asked_under(bench: Bench, tokens: Tokens) -> None:
    tokens.hold(confirmation="approver")
    operation = await put(bench)
    tokens.hold()
    again = await put(bench)
    assert (again.id, again.channel) == (operation.id, Channel.APPROVER)


async def test_a_caller_made_laxer_whose_client_shows_no_prompt_is_told_so_and_given_no_code(
    bench: Bench, tokens: Tokens
) -> None:
    tokens.hold(confirmation="prompt")
    operation = await put(bench, can_ask=True)
    tokens.hold()
    with pytest.raises(ConfirmationError) as refused:
        await put(bench)
    assert (refused.value.code, refused.value.operation_id) == ("PROMPT_UNAVAILABLE", operation.id)


async def test_callers_of_an_identity_provider_have_the_services_way(sim: Simulator) -> None:
    access = build_access(Settings(oauth_issuer=URL, public_url=PUBLIC_URL), clock=Clock())
    async with open_bench(sim, who=access, confirmation="prompt") as bench:
        account = bench.runtime.account
        assert account.confirmation_for(f"{URL}|user-1") is Confirmation.PROMPT
        page = await account.inventory.search(country="NG", type="mobile")
        assert page.items
        operation = await bench.purchase(f"{URL}|user-1")
    assert (operation.limits.confirmation, operation.limits.approval_above_cents) == (None, None)


async def test_without_a_screen_auto_is_as_conversation_and_person_as_prompt(sim: Simulator, tmp_path: Path) -> None:
    item, file = (
        item_of(sim),
        tokens_file(tmp_path / "tokens.toml", asker(), entry("other", OTHER, "buy", confirmation="person")),
    )
    async with open_http(sim, tokens_file=file, confirmation="auto", tcp=True) as served:
        asked = await buys(served, AGENT, item)
        assert (asked["status"], bool(asked["confirmation_code"])) == ("confirmation_required", True)
        refused = await buys(served, OTHER, item)
        assert refused["code"] == "SCREEN_UNAVAILABLE"
        assert "a client that shows prompts, or the operator" in refused["next_step"]  # no browser on that machine
        person = Person(accept("buy"))
        assert (await buys(served, OTHER, item, person))["status"] == "done"
    assert len(person.prompts) == len(sim.charges) == 1


def test_the_tokens_file_gives_nobody_a_browser_page(tmp_path: Path) -> None:
    for way in ("browser", "perhaps", "", 1):
        file = tokens_file(tmp_path / "tokens.toml", asker(confirmation=way))
        with pytest.raises(SettingsError) as refused:
            read_tokens(file)
        ways = "auto, person, prompt, conversation, approver"
        assert refused.value.message.endswith(f"has an unusable confirmation: it must be one of {ways}.")
