"""Confirming on a page on the person's screen, which no model sees or answers, and what follows where none opens."""

import anyio
import pytest

from kros_mcp.errors import JournalError
from kros_mcp.operations import channels
from kros_mcp.operations.confirmation import ReleaseAnswer, code_for
from kros_mcp.operations.events import By
from kros_mcp.operations.journal import Journal, Move
from kros_mcp.operations.model import Channel, Operation, State
from kros_mcp.simulator import Simulator
from tests.support.clock import Clock
from tests.support.person import DECLINE, ERROR, Person, accept
from tests.support.screen import ScriptedScreen
from tests.support.talk import Talk, Told, open_talk
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio
BRIEFLY = {"answer_within_seconds": 0.5}
MODES = ("auto", "person", "browser")


async def only_one(journal: Journal) -> Operation:
    [operation] = await journal.list_operations()
    return operation


def waits_for_screen(told: Told) -> bool:
    return (told.outcome, told["waits_for"], told["confirmation_code"]) == ("awaiting_approval", "screen", None)


async def settled(talk: Talk, operation_id: str) -> Told:
    while True:
        looked = await talk.call("get_operation", operation_id=operation_id)
        if looked.outcome != "pending" and looked["waits_for"] is None:
            return looked


@pytest.mark.parametrize("mode", MODES)
async def test_a_yes_on_the_page_buys_in_the_same_call(
    reference: Simulator, era: str, mode: str, journal: Journal
) -> None:
    item, screen = item_of(reference), ScriptedScreen("yes")
    async with open_talk(reference, era, screen=screen, journal=journal, confirmation=mode) as talk:
        done = await talk.buy(item)
        again = await talk.buy(item)
    assert (done.outcome, done["charged"], done["confirmation_code"], done["waits_for"]) == ("done", "yes", None, None)
    assert again["operation_id"] == done["operation_id"]
    operation = await only_one(journal)
    assert (operation.decided_through, operation.confirmed_by) == ("screen", "page on the screen")
    assert [(charge.e164, charge.cents) for charge in reference.charges] == [(item.e164, 500)]
    assert screen.opened == [operation.id]
    assert screen.clients == ["mcp"]


async def test_the_question_is_in_the_journal_before_it_goes_out(reference: Simulator, journal: Journal) -> None:
    screen = ScriptedScreen("no")
    screen.held = anyio.Event()
    async with open_talk(reference, screen=screen, journal=journal) as talk, anyio.create_task_group() as tasks:
        tasks.start_soon(talk.buy, item_of(reference))
        await screen.asked.wait()
        operation = await only_one(journal)
        assert (operation.channel, operation.asked_at is not None, operation.shown_at) == (Channel.SCREEN, True, None)
        screen.held.set()


@pytest.mark.parametrize("mode", MODES)
async def test_a_no_on_the_page_spends_nothing_and_after_three_it_is_not_asked_again(
    reference: Simulator, mode: str
) -> None:
    item, screen = item_of(reference), ScriptedScreen("no")
    async with open_talk(reference, screen=screen, confirmation=mode) as talk:
        for _ in range(3):
            told = await talk.buy(item)
            assert (told.outcome, told["charged"], told["confirmation_code"]) == ("declined", "no", None)
            assert "The person said no on the screen." in told["summary"]
        fourth = await talk.buy(item)
    assert fourth.outcome == "ASKED_TOO_OFTEN"
    assert len(screen.opened) == 3
    assert wrote(reference) == []


async def test_a_release_and_a_protected_change_go_by_the_page(reference: Simulator, era: str) -> None:
    number, protected = reference.owned.values()
    screen = ScriptedScreen(ReleaseAnswer(decision="release", last_four_digits="0000"))
    async with open_talk(reference, era, screen=screen, protected_numbers=protected.e164) as talk:
        slip = await talk.call("release_phone_number", number_id=number.e164)
        assert slip.outcome == "declined"
        assert wrote(reference) == []
        screen.says = "yes"
        released = await talk.call("release_phone_number", number_id=number.e164)
        changed = await talk.call("configure_phone_number", number_id=protected.e164, allow_inbound="off")
    assert (released.outcome, changed.outcome, changed["waits_for"]) == ("done", "done", None)
    assert reference.owned[protected.id].allow_inbound is False


@pytest.mark.promise(2)
@pytest.mark.parametrize("mode", MODES)
async def test_no_call_confirms_what_the_page_asks(reference: Simulator, era: str, mode: str, journal: Journal) -> None:
    """Not even with the code that the journal's own secret would give."""
    item, screen = item_of(reference), ScriptedScreen()
    settings = {"confirmation": mode, **BRIEFLY}
    async with open_talk(reference, era, screen=screen, journal=journal, **settings) as talk:
        asked = await talk.buy(item)
        assert waits_for_screen(asked)
        assert asked["summary"].startswith(
            "The question waits on the screen, on a page in the browser; nothing is charged"
        )
        assert asked["next_step"].startswith("Tell the person that the page waits for them")
        assert "opens it again, once a minute has passed" in asked["next_step"]
        operation = await only_one(journal)
        assert operation.shown_at is not None
        for code in (code_for(journal.secret, operation), *["AAAA-AAAA"] * 6):
            guess = await talk.buy(item, confirmation_code=code)
            assert guess.outcome == ("NO_CODE_ISSUED" if mode == "auto" else "CODE_NOT_USED")
        assert waits_for_screen(await talk.call("get_operation", operation_id=operation.id))
        assert (await talk.buy(item))["operation_id"] == operation.id
        assert wrote(reference) == []
        await screen.answer(operation.id, "yes")
        assert (await settled(talk, operation.id)).outcome == "done"
        late = await talk.buy(item, confirmation_code="AAAA-AAAA")
        if mode == "auto":  # what the person agreed to on the page is not called unspent
            assert (late.outcome, late["charged"]) == ("NO_CODE_ISSUED", "yes")
            assert "nothing was charged" not in late["message"]
        assert (await talk.buy(item))["operation_id"] == operation.id
    assert set(screen.opened) == {operation.id}
    assert len(reference.charges) == 1


async def test_a_page_that_is_loaded_again_is_written_down_once(reference: Simulator, journal: Journal) -> None:
    screen = ScriptedScreen()
    async with open_talk(reference, screen=screen, journal=journal, **BRIEFLY) as talk:
        asked = await talk.buy(item_of(reference))
        for _ in range(3):
            assert await screen.fetch(asked["operation_id"])
        moves = [event.move for event in await journal.events(asked["operation_id"])]
    assert moves == ["proposed", "asked", "shown"]


@pytest.mark.promise(2)
async def test_cancelling_and_asking_anew_brings_another_page_and_no_code(reference: Simulator) -> None:
    item, screen = item_of(reference), ScriptedScreen()
    async with open_talk(reference, screen=screen, **BRIEFLY) as talk:
        for _ in range(3):
            asked = await talk.buy(item)
            assert waits_for_screen(asked)
            cancelled = await talk.call("cancel_operation", operation_id=asked["operation_id"])
            assert (cancelled.outcome, cancelled["waits_for"]) == ("cancelled", None)
        assert (await talk.buy(item)).outcome == "ASKED_TOO_OFTEN"
        for operation_id in screen.pages:
            await screen.answer(operation_id, "yes")
            assert (await talk.call("get_operation", operation_id=operation_id)).outcome == "cancelled"
    assert screen.withdrawn == list(screen.pages)
    assert wrote(reference) == []


async def test_cancelling_ends_the_call_that_waits_for_the_page(reference: Simulator, journal: Journal) -> None:
    item, screen = item_of(reference), ScriptedScreen()
    async with (
        open_talk(reference, "legacy", screen=screen, journal=journal) as talk,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(talk.buy, item)
        await screen.fetched.wait()
        operation = await only_one(journal)
        await talk.call("cancel_operation", operation_id=operation.id)
    assert [told.outcome for told in talk.results] == ["cancelled", "cancelled"]


async def test_a_journal_that_fails_after_the_yes_leaves_the_charge_unknown(
    reference: Simulator, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable(operation_id: str) -> Operation | None:
        raise JournalError(f"{operation_id} cannot be read.")

    class Failing(ScriptedScreen):
        async def answer(self, operation_id: str, says: object) -> None:
            await super().answer(operation_id, says)
            monkeypatch.setattr(journal, "get", unreadable)

    async with open_talk(reference, screen=Failing("yes"), journal=journal) as talk:
        told = await talk.buy(item_of(reference))
    assert (told.failed, told["charged"]) == (True, "unknown")


async def test_where_no_browser_opens_auto_asks_by_code_and_says_so_once(
    sim: Simulator, era: str, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    item, screen = item_of(sim), ScriptedScreen(fetches=False)
    async with open_talk(sim, era, screen=screen, journal=journal) as talk:
        asked = await talk.buy(item)
        assert (asked.outcome, asked["waits_for"], bool(asked["confirmation_code"])) == (
            "confirmation_required",
            None,
            True,
        )
        assert asked["next_step"].startswith("No browser opened here, so ")
        assert caplog.text.count(f"operation {asked['operation_id']}: no browser opened its page") == 1
        again = await talk.buy(item)
        assert (again["operation_id"], again["confirmation_code"]) == (
            asked["operation_id"],
            asked["confirmation_code"],
        )
        assert again["summary"].startswith("With a test key, buying ")
        assert screen.withdrawn == [asked["operation_id"]]
        assert not await screen.fetch(asked["operation_id"])  # a late browser gets nothing
        done = await talk.buy(item, confirmation_code=asked["confirmation_code"])
    assert done.outcome == "done"
    assert len(screen.opened) == 1
    assert [charge.e164 for charge in sim.charges] == [item.e164]


@pytest.mark.parametrize("mode", ["person", "browser"])
async def test_where_no_browser_opens_and_only_a_person_counts_it_is_refused(
    reference: Simulator, mode: str, journal: Journal
) -> None:
    """As often as it is tried: nobody has turned it down."""
    item, screen = item_of(reference), ScriptedScreen(fetches=False)
    async with open_talk(reference, screen=screen, journal=journal, confirmation=mode) as talk:
        for _ in range(4):
            refused = await talk.buy(item)
            assert (refused.outcome, refused["charged"]) == ("SCREEN_UNAVAILABLE", "no")
            assert "no browser opened the page" in refused["message"]
        looked = await talk.call("get_operation", operation_id=refused["operation_id"])
    assert (looked.outcome, looked["confirmation_code"]) == ("cancelled", None)
    assert "No browser opened the page" in looked["summary"]
    assert looked["next_step"].startswith("Tell the person that they need a browser that opens here")
    assert wrote(reference) == []


@pytest.mark.parametrize("mode", ["person", "browser"])
async def test_where_there_is_no_screen_only_a_person_counts_and_nothing_is_stored(
    reference: Simulator, era: str, mode: str, journal: Journal
) -> None:
    person = None if mode == "person" else Person()
    async with open_talk(reference, era, person, journal=journal, confirmation=mode) as talk:
        for refused in (
            await talk.buy(item_of(reference)),
            await talk.call("release_phone_number", number_id=next(iter(reference.owned))),
        ):
            assert refused.outcome == "SCREEN_UNAVAILABLE"
            assert ("browser" in refused["message"]) is (mode == "browser")
            assert "KROS_" not in refused["message"]
            assert f"KROS_CONFIRMATION={mode} now" in refused["next_step"]
    assert await journal.list_operations() == ()


async def test_a_page_that_cannot_be_opened_for_an_error_is_one_that_is_not_opened(reference: Simulator) -> None:
    class Broken(ScriptedScreen):
        async def show(self, operation: Operation, *, client: str = "") -> bool:
            raise RuntimeError(operation.id + client)

    async with open_talk(reference, screen=Broken()) as talk:
        asked = await talk.buy(item_of(reference))
    assert asked.outcome == "confirmation_required"


@pytest.mark.parametrize("mode", ["auto", "person"])
async def test_a_client_s_own_prompt_comes_before_the_page(reference: Simulator, era: str, mode: str) -> None:
    item, person, screen = item_of(reference), Person(DECLINE, accept("buy")), ScriptedScreen("yes")
    async with open_talk(reference, era, person, screen=screen, confirmation=mode) as talk:
        assert (await talk.buy(item)).outcome == "declined"
        assert (await talk.buy(item)).outcome == "done"
    assert screen.opened == []


async def test_the_browser_is_asked_even_where_a_client_shows_prompts(reference: Simulator, era: str) -> None:
    item, person, screen = item_of(reference), Person(), ScriptedScreen("yes")
    async with open_talk(reference, era, person, screen=screen, confirmation="browser") as talk:
        assert (await talk.buy(item)).outcome == "done"
    assert (len(screen.opened), person.prompts) == (1, [])


@pytest.mark.parametrize("mode", ["auto", "person"])
async def test_a_prompt_that_nobody_answered_is_followed_by_the_page(reference: Simulator, mode: str) -> None:
    item, person, screen = item_of(reference), Person(ERROR), ScriptedScreen("yes")
    async with open_talk(reference, "legacy", person, screen=screen, confirmation=mode) as talk:
        assert (await talk.buy(item)).outcome == "PROMPT_UNANSWERED"
        assert screen.opened == []
        assert (await talk.buy(item)).outcome == "done"
    assert len(person.prompts) == 1


@pytest.mark.parametrize("mode", ["auto", "person"])
async def test_a_prompt_that_nobody_can_have_read_is_followed_by_the_page(
    reference: Simulator, era: str, mode: str, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "READING_SECONDS", 2.0)
    item, person, screen = item_of(reference), Person(DECLINE), ScriptedScreen("yes")
    async with open_talk(reference, era, person, screen=screen, journal=journal, confirmation=mode) as talk:
        assert (await talk.buy(item)).outcome == "done"
    assert len(person.prompts) == 1
    assert (await only_one(journal)).decided_through == "screen"


@pytest.mark.parametrize(
    "settings", [{"confirmation": "conversation"}, {"confirmation": "approver"}, {"approval_above_cents": 100}]
)
async def test_no_page_opens_where_another_way_is_chosen(reference: Simulator, settings: dict[str, object]) -> None:
    screen = ScriptedScreen("yes")
    async with open_talk(reference, screen=screen, **settings) as talk:
        asked = await talk.buy(item_of(reference))
    assert asked["waits_for"] == (None if "conversation" in settings.values() else "approver")
    assert screen.opened == []


async def test_a_call_whose_time_is_up_says_that_the_page_is_being_opened(reference: Simulator) -> None:
    item, screen = item_of(reference), ScriptedScreen(fetches=False)
    screen.held = anyio.Event()
    async with open_talk(reference, screen=screen, **BRIEFLY) as talk:
        asked = await talk.buy(item)
        assert waits_for_screen(asked)
        assert "is being opened" in asked["summary"]
        assert "in ten seconds" not in asked["summary"]
        screen.held.set()
        looked = await settled(talk, asked["operation_id"])
        assert (looked.outcome, looked["confirmation_code"]) == ("confirmation_required", None)
        again = await talk.buy(item)
        assert again["operation_id"] == asked["operation_id"]
        assert again["next_step"].startswith("No browser opened here, so ")
        assert (await talk.buy(item, confirmation_code=again["confirmation_code"])).outcome == "done"
    assert len(screen.opened) == 1
    assert len(reference.charges) == 1


async def test_a_page_that_opens_after_the_call_is_answered_all_the_same(reference: Simulator) -> None:
    item, screen = item_of(reference), ScriptedScreen("yes")
    screen.held = anyio.Event()
    async with open_talk(reference, screen=screen, **BRIEFLY) as talk:
        asked = await talk.buy(item)
        assert waits_for_screen(asked)
        screen.held.set()
        assert (await settled(talk, asked["operation_id"])).outcome == "done"
    assert len(reference.charges) == 1


@pytest.mark.promise(2)
async def test_a_browser_that_fetches_while_the_server_gives_up_keeps_the_question(
    reference: Simulator, journal: Journal
) -> None:
    class Late(ScriptedScreen):
        async def show(self, operation: Operation, *, client: str = "") -> bool:
            await super().show(operation, client=client)
            return False

    item, screen = item_of(reference), Late()
    async with open_talk(reference, screen=screen, journal=journal, **BRIEFLY) as talk:
        asked = await talk.buy(item)
        assert waits_for_screen(asked)
        assert waits_for_screen(await talk.buy(item))
        code = code_for(journal.secret, await only_one(journal))
        assert (await talk.buy(item, confirmation_code=code)).outcome == "NO_CODE_ISSUED"
    assert screen.withdrawn == [asked["operation_id"]]  # by the end of the server
    assert wrote(reference) == []


@pytest.mark.promise(2)
@pytest.mark.parametrize("other", ["conversation", "auto", "prompt"])
async def test_what_one_server_shows_no_other_asks(
    reference: Simulator, era: str, journal: Journal, other: str
) -> None:
    """Two servers of one person share a journal; the other has no screen."""
    item, screen, person = item_of(reference), ScriptedScreen(), Person() if other == "prompt" else None
    async with (
        open_talk(reference, era, screen=screen, journal=journal, **BRIEFLY) as talk,
        open_talk(reference, era, person, journal=journal, confirmation=other) as second,
    ):
        asked = await talk.buy(item)
        met = await second.buy(item)
        assert waits_for_screen(met)
        assert met["operation_id"] == asked["operation_id"]
        code = code_for(journal.secret, await only_one(journal))
        guess = await second.buy(item, confirmation_code=code)
        assert guess.outcome == ("CODE_NOT_USED" if other == "prompt" else "NO_CODE_ISSUED")
        assert wrote(reference) == []
        await screen.answer(asked["operation_id"], "yes")
        assert (await settled(second, asked["operation_id"])).outcome == "done"
    assert person is None or person.prompts == []
    assert len(reference.charges) == 1


async def test_what_another_server_asks_in_the_conversation_is_not_shown_any_more(
    reference: Simulator, journal: Journal
) -> None:
    item, screen = item_of(reference), ScriptedScreen("yes")
    screen.held = anyio.Event()
    async with (
        open_talk(reference, screen=screen, journal=journal, **BRIEFLY) as talk,
        open_talk(reference, journal=journal, confirmation="conversation") as second,
    ):
        assert waits_for_screen(await talk.buy(item))
        asked = await second.buy(item)
        assert asked["confirmation_code"]
        screen.held.set()
        here = await talk.buy(item)
        assert (here["operation_id"], here["confirmation_code"]) == (asked["operation_id"], asked["confirmation_code"])
        assert screen.pages == {}
        assert (await talk.buy(item, confirmation_code=asked["confirmation_code"])).outcome == "done"
    assert len(reference.charges) == 1


@pytest.mark.promise(2)
@pytest.mark.parametrize("mode", ["person", "browser"])
async def test_where_only_a_person_counts_no_code_is_told_that_another_server_gave_out(
    reference: Simulator, journal: Journal, mode: str
) -> None:
    item, screen = item_of(reference), ScriptedScreen(fetches=False)
    screen.held = anyio.Event()
    async with (
        open_talk(reference, screen=screen, journal=journal, confirmation=mode) as strict,
        open_talk(reference, journal=journal, confirmation="conversation") as lax,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(strict.buy, item)
            await screen.asked.wait()
            asked = await lax.buy(item)
            screen.held.set()
        [told] = strict.results
    assert asked["confirmation_code"]
    assert (told["operation_id"], told["confirmation_code"]) == (asked["operation_id"], None)
    assert asked["confirmation_code"] not in told.text
    assert told["summary"].startswith("With a test key, buying ")


@pytest.mark.promise(2)
async def test_a_code_given_before_is_worth_nothing_once_a_page_has_asked(
    reference: Simulator, journal: Journal
) -> None:
    item, screen = item_of(reference), ScriptedScreen()
    async with open_talk(reference, journal=journal, confirmation="conversation") as lax:
        code = (await lax.buy(item))["confirmation_code"]
        async with open_talk(reference, screen=screen, journal=journal, confirmation="person", **BRIEFLY) as strict:
            assert waits_for_screen(await strict.buy(item))
        assert (await lax.buy(item, confirmation_code=code)).outcome == "NO_CODE_ISSUED"
    assert wrote(reference) == []


async def test_what_nobody_answers_in_time_is_told_as_over(
    reference: Simulator, journal: Journal, clock: Clock
) -> None:
    screen = ScriptedScreen()
    async with open_talk(reference, screen=screen, journal=journal, **BRIEFLY) as talk:
        asked = await talk.buy(item_of(reference))
        clock.now += 601
        told = await talk.call("get_operation", operation_id=asked["operation_id"])
    assert (told.outcome, told["charged"]) == ("expired", "no")
    assert told["summary"].startswith("Buying +234 201 555 0100 has expired; nothing was charged or changed. Nobody")
    assert wrote(reference) == []


async def test_a_server_that_ends_cancels_what_waits_for_its_page(reference: Simulator, journal: Journal) -> None:
    item, screen = item_of(reference), ScriptedScreen()
    async with open_talk(reference, screen=screen, journal=journal, **BRIEFLY) as talk:
        await talk.buy(item)
    operation = await only_one(journal)
    assert (operation.state, operation.decided_by) == (State.CANCELLED, "")
    assert "The server that asked on the screen has ended" in operation.message
    assert screen.withdrawn == [operation.id]
    async with open_talk(reference, screen=ScriptedScreen("yes"), journal=journal) as talk:
        assert (await talk.buy(item)).outcome == "done"


async def test_a_page_that_is_fetched_while_the_server_ends_waits_for_nobody(
    reference: Simulator, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, change = ScriptedScreen(), journal.change
    screen.held = anyio.Event()
    async with open_talk(reference, screen=screen, journal=journal, **BRIEFLY) as talk:
        asked = [(await talk.buy(item_of(reference, nth=nth)))["operation_id"] for nth in (0, 1)]

        async def ending(operation_id: str, move: Move, *, by: By) -> Operation:
            monkeypatch.setattr(journal, "change", change)
            await screen.fetch(next(other for other in asked if other != operation_id))
            return await change(operation_id, move, by=by)

        monkeypatch.setattr(journal, "change", ending)
    assert len(screen.pages) == 1
    assert {operation.state for operation in await journal.list_operations()} == {State.CANCELLED}


async def test_a_server_that_ends_leaves_what_another_shows(
    reference: Simulator, journal: Journal, clock: Clock
) -> None:
    item, first, second = item_of(reference), ScriptedScreen(), ScriptedScreen()
    async with open_talk(reference, screen=second, journal=journal, **BRIEFLY) as stays:
        async with open_talk(reference, screen=first, journal=journal, **BRIEFLY) as ends:
            asked = await ends.buy(item)
            clock.now += 1
            assert (await stays.buy(item))["operation_id"] == asked["operation_id"]
        assert (await only_one(journal)).state is State.PROPOSED
        await second.answer(asked["operation_id"], "yes")
        assert (await settled(stays, asked["operation_id"])).outcome == "done"
    assert len(reference.charges) == 1


async def test_a_price_that_moved_is_asked_about_on_the_page_again(
    reference: Simulator, era: str, journal: Journal
) -> None:
    item = item_of(reference)

    class Moving(ScriptedScreen):
        async def answer(self, operation_id: str, says: object) -> None:
            item.monthly_cost_cents += 150 * (len(self.opened) == 1)
            await super().answer(operation_id, says)

    screen = Moving("yes")
    async with open_talk(reference, era, screen=screen, journal=journal) as talk:
        done = await talk.buy(item)
    assert (done.outcome, done["confirmation_code"], len(screen.opened)) == ("done", None, 2)
    assert [page.quote.due_now_cents for page in screen.pages.values()] == [500, 650]
    assert [charge.cents for charge in reference.charges] == [650]


async def test_a_journal_that_fails_after_the_yes_to_a_new_price_leaves_the_charge_unknown(
    reference: Simulator, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = item_of(reference)

    async def unreadable(operation_id: str) -> Operation | None:
        raise JournalError(f"{operation_id} cannot be read.")

    class Moving(ScriptedScreen):
        async def answer(self, operation_id: str, says: object) -> None:
            item.monthly_cost_cents += 150 * (len(self.opened) == 1)
            await super().answer(operation_id, says)
            if len(self.opened) == 2:
                monkeypatch.setattr(journal, "get", unreadable)

    async with open_talk(reference, screen=Moving("yes"), journal=journal) as talk:
        told = await talk.buy(item)
    assert (told.failed, told["charged"]) == (True, "unknown")


@pytest.mark.promise(2)
async def test_a_price_that_moved_after_a_page_brings_no_code(reference: Simulator, journal: Journal) -> None:
    item = item_of(reference)

    class Moving(ScriptedScreen):
        async def answer(self, operation_id: str, says: object) -> None:
            item.monthly_cost_cents += 150
            self.fetches = False
            await super().answer(operation_id, says)

    async with open_talk(reference, screen=Moving("yes"), journal=journal) as talk:
        moved = await talk.buy(item)
    assert (moved.outcome, moved["charged"]) == ("PRICE_CHANGED", "no")
    assert {operation.state for operation in await journal.list_operations()} == {State.FAILED, State.CANCELLED}
    assert wrote(reference) == []


@pytest.mark.parametrize(
    ("mode", "prompts", "screen", "way"),
    [
        ("auto", True, True, "prompt"),
        ("auto", False, True, "screen"),
        ("auto", False, False, "code"),
        ("browser", True, True, "screen"),
        ("browser", True, False, None),
        ("prompt", False, True, None),
        ("conversation", False, True, "code"),
        ("approver", True, True, "approver"),
    ],
)
async def test_spending_says_how_a_person_would_be_asked(
    reference: Simulator, mode: str, prompts: bool, screen: bool, way: str | None
) -> None:
    shows = ScriptedScreen() if screen else None
    person = Person() if prompts else None
    async with open_talk(reference, "auto", person, screen=shows, confirmation=mode) as talk:
        told = await talk.call("get_spending")
    assert (told["confirmation"], told["confirmation_way"]) == (mode, way)
    assert "Buying and releasing need " in told["summary"]
    assert ("where none opens, in the conversation" in told["summary"]) is (mode == "auto" and way == "screen")


@pytest.mark.parametrize(("mode", "way"), [("auto", "code"), ("person", None), ("browser", None)])
async def test_spending_promises_no_page_where_there_is_no_display(
    reference: Simulator, mode: str, way: str | None
) -> None:
    screen = ScriptedScreen(fetches=False)
    screen.has_display = False
    async with open_talk(reference, screen=screen, confirmation=mode) as talk:
        told = await talk.call("get_spending")
    assert told["confirmation_way"] == way
    assert "on the screen" not in told["summary"]
