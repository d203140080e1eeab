"""What a principal of the tokens file asked for is carried out only by a server that still knows them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from approvals_bench import AGENT, NIGHT, SUPPORT, Bench, open_bench, settings_for, text_of

from kros_mcp.http.access import Access, build_access
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations import moves
from kros_mcp.operations.acts.configuration import CONFIGURATION
from kros_mcp.operations.execution import Yes, execute
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Channel, Limits, Operation, Request, State
from kros_mcp.runtime import open_runtime
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport
from kros_mcp.tools.call import Runtime
from tests.support.clock import Clock
from tests.support.issuer import entry, tokens_file

pytestmark = pytest.mark.anyio

APPROVER = entry("night-desk", NIGHT, "approve")
ASKER = entry("support-agent", AGENT, "read", "buy", "release", "configure")
OTHER_RIGHTS = {"buy": ("read", "release", "configure"), "release": ("read", "buy"), "configure": ("read", "buy")}
"""By action, all that the asker may do once the right to that alone is taken away."""


class Tokens:
    """A tokens file that is changed by hand, and seen at once."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, Clock()
        tokens_file(path, ASKER, APPROVER)
        self.access: Access = build_access(Settings(tokens_file=path), clock=self.clock)

    def hold(self, *entries: str) -> None:
        tokens_file(self.path, *entries)
        self.clock.now += 2


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "tokens.toml")


@pytest.fixture
async def bench(tokens: Tokens, journal_url: str) -> AsyncIterator[Bench]:
    async with open_journal(journal_url) as journal, open_bench(who=tokens.access, journal=journal) as opened:
        yield opened


async def asked(bench: Bench, action: str) -> Operation:
    """Let the asker ask for one of the three acts."""
    if action == "buy":
        return await bench.purchase()
    if action == "release":
        return await bench.release()
    account, owned = bench.runtime.account, next(iter(bench.sim.owned.values()))
    number = await account.client.get_number(owned.id)
    wanted = Request(number_id=owned.id, allow_inbound=not number.allow_inbound)
    return await CONFIGURATION.propose(account, SUPPORT, wanted, number)


async def approve(bench: Bench, operation: Operation) -> None:
    """Say yes where this service is not asked, as at a terminal."""
    await bench.runtime.account.journal.change(operation.id, partial(moves.confirm, by="ana"))


async def test_what_somebody_asked_for_whose_token_was_removed_is_not_carried_out(bench: Bench, tokens: Tokens) -> None:
    operation = await bench.purchase()
    tokens.hold(APPROVER)
    await approve(bench, operation)
    failed = await bench.until(operation, State.FAILED)
    assert (failed.error_code, failed.charged, failed.changed) == ("NOT_PERMITTED", "no", "no")
    assert not bench.sim.charges


async def test_what_somebody_asked_for_who_is_still_named_is_carried_out(bench: Bench, tokens: Tokens) -> None:
    operation = await bench.purchase()
    tokens.hold(APPROVER, entry("support-agent", "krosmcp_another_token", "buy"))
    await approve(bench, operation)
    await bench.until(operation, State.DONE)
    assert len(bench.sim.charges) == 1


@pytest.mark.parametrize("action", OTHER_RIGHTS)
async def test_a_right_that_was_taken_away_stops_what_was_asked_for_before(
    tokens: Tokens, journal_url: str, action: str
) -> None:
    sim = Simulator("reference")
    async with (
        open_journal(journal_url) as journal,
        open_bench(sim, who=tokens.access, journal=journal) as bench,
    ):
        operation, owned = await asked(bench, action), dict(sim.owned)
        tokens.hold(APPROVER, entry("support-agent", AGENT, *OTHER_RIGHTS[action]))
        await approve(bench, operation)
        failed = await bench.until(operation, State.FAILED)
    assert (failed.error_code, failed.charged, failed.changed) == ("NOT_PERMITTED", "no", "no")
    assert f"numbers:{action}" in failed.message
    assert (sim.charges, sim.owned) == ([], owned)
    assert {request.method for request in sim.requests} == {"GET"}


async def test_a_yes_in_the_conversation_comes_too_late_for_whom_the_right_was_taken_away(
    tokens: Tokens, journal_url: str
) -> None:
    async with (
        open_journal(journal_url) as journal,
        open_bench(who=tokens.access, journal=journal, confirmation="conversation") as bench,
    ):
        operation = await bench.purchase()
        tokens.hold(APPROVER, entry("support-agent", AGENT, *OTHER_RIGHTS["buy"]))
        failed = await execute(bench.runtime.account, operation.id, Yes(Channel.PROMPT))
        assert (failed.state, failed.error_code) == (State.FAILED, "NOT_PERMITTED")
        assert not bench.sim.charges


async def test_while_the_file_cannot_be_read_what_is_approved_waits(bench: Bench, tokens: Tokens) -> None:
    """A mistake in the file names nobody, and is mended soon."""
    operation = await bench.purchase()
    tokens.hold("[tokens.support-agent")
    await approve(bench, operation)
    await looked_round(bench.runtime)
    assert (await bench.stored(operation)).state is State.CONFIRMED
    tokens.hold(ASKER, APPROVER)
    await bench.until(operation, State.DONE)


async def test_a_yes_in_the_conversation_comes_too_late_for_whom_the_file_names_no_more(
    tokens: Tokens, journal_url: str
) -> None:
    async with (
        open_journal(journal_url) as journal,
        open_bench(who=tokens.access, journal=journal, confirmation="conversation") as bench,
    ):
        operation = await bench.purchase()
        tokens.hold(APPROVER)
        failed = await execute(bench.runtime.account, operation.id, Yes(Channel.PROMPT))
        assert (failed.state, failed.error_code) == (State.FAILED, "NOT_PERMITTED")
        assert not bench.sim.charges


async def looked_round(runtime: Runtime) -> None:
    """Wait until the attendant has looked through the journal once more."""
    await runtime.runner._look_round()  # noqa: SLF001 - it would do so by itself within a second
    await runtime.runner.drain(5)


@asynccontextmanager
async def without_tokens(journal: Journal, sim: Simulator) -> AsyncIterator[Runtime]:
    async with open_runtime(settings_for(sim), transport=transport(sim), journal=journal) as runtime:
        yield runtime


@asynccontextmanager
async def with_an_issuer_alone(journal: Journal, sim: Simulator) -> AsyncIterator[Runtime]:
    access = build_access(
        Settings(oauth_issuer="https://issuer.example", public_url="https://numbers.example.com"), clock=Clock()
    )
    async with open_runtime(
        settings_for(sim),
        transport=transport(sim),
        journal=journal,
        own_limits=access.own_limits,
        own_scopes=access.own_scopes,
    ) as runtime:
        yield runtime


Server = Callable[[Journal, Simulator], AbstractAsyncContextManager[Runtime]]


@pytest.mark.parametrize("server", [without_tokens, with_an_issuer_alone])
async def test_a_server_without_a_tokens_file_leaves_it_to_one_that_has_it(
    tokens: Tokens, journal_url: str, server: Server
) -> None:
    sim = Simulator()
    async with open_journal(journal_url) as journal:
        async with open_bench(sim, who=tokens.access, journal=journal, read_only=False) as bench:
            operation = await bench.purchase()
        async with server(journal, sim) as runtime:
            await journal.change(operation.id, partial(moves.confirm, by="ana"))
            await looked_round(runtime)
            found = await journal.get(operation.id)
            assert found is not None
            assert found.state is State.CONFIRMED
        async with open_bench(sim, who=tokens.access, journal=journal) as bench:
            await bench.until(operation, State.DONE)


async def test_the_page_says_that_it_would_not_be_carried_out_and_takes_no_yes(bench: Bench, tokens: Tokens) -> None:
    operation, browser = await bench.purchase(), await bench.signed_in()
    assert "tokens file" not in text_of(await browser.get(f"/approvals/{operation.id}"))
    form = await browser.form(operation)
    tokens.hold(APPROVER)

    shown = await browser.get(f"/approvals/{operation.id}")
    assert f"Asked for by {SUPPORT} " in text_of(shown)
    assert "The tokens file does not name them any more, so this would not be carried out." in text_of(shown)
    assert 'value="approve"' not in shown.text
    assert "does not name them any more" in text_of(await browser.get())

    answer = await browser.post(f"/approvals/{operation.id}", {**form, "decision": "approve"})
    assert answer.status_code == 403
    assert "nothing was decided" in text_of(answer)
    assert (await bench.stored(operation)).state is State.PROPOSED
    assert (await browser.decide(operation, "deny", "gone")).status_code == 200
    denied = await bench.stored(operation)
    assert denied.state is State.DECLINED
    event = (await bench.runtime.account.journal.events(operation.id))[-1]
    assert (event.move, event.who, event.channel) == ("declined", "tokens|night-desk", "page")


async def test_the_page_names_the_scope_that_is_missing_and_takes_no_yes(bench: Bench, tokens: Tokens) -> None:
    operation, browser = await bench.purchase(), await bench.signed_in()
    form = await browser.form(operation)
    tokens.hold(APPROVER, entry("support-agent", AGENT, *OTHER_RIGHTS["buy"]))

    shown = await browser.get(f"/approvals/{operation.id}")
    assert f"Asked for by {SUPPORT} " in text_of(shown)
    assert "They lack the scope numbers:buy now, so this would not be carried out." in text_of(shown)
    assert 'value="approve"' not in shown.text
    assert "They lack the scope numbers:buy" in text_of(await browser.get())

    answer = await browser.post(f"/approvals/{operation.id}", {**form, "decision": "approve"})
    assert answer.status_code == 403
    assert "numbers:buy" in text_of(answer)
    assert "nothing was decided" in text_of(answer)
    assert (await bench.stored(operation)).state is State.PROPOSED
    assert (await browser.decide(operation, "deny", "gone")).status_code == 200
    assert (await bench.stored(operation)).state is State.DECLINED


async def test_of_whom_an_identity_provider_lets_in_the_page_says_what_it_cannot_know(
    tokens: Tokens, journal_url: str
) -> None:
    everybody = replace(tokens.access, own_limits=lambda _: Limits())
    async with open_journal(journal_url) as journal, open_bench(who=everybody, journal=journal) as bench:
        operation, browser = await bench.purchase("https://issuer.example|user-1"), await bench.signed_in()
        shown = text_of(await browser.get(f"/approvals/{operation.id}"))
        assert "user-1, signed in through issuer.example, asks to buy" in shown
        assert "They signed in through an identity provider; whether it would still let them in is not known" in shown
        assert (await browser.decide(operation, "approve")).status_code == 200
        await bench.until(operation, State.DONE)
