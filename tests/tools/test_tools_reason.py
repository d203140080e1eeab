"""What an agent writes of why it asks reaches whoever decides as its own words, and decides nothing."""

import re
import unicodedata

import pytest

from kros_mcp.operations import agent_words
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import MOST_REPEATS, Operation
from kros_mcp.simulator import Simulator
from tests.support.hostile import INVISIBLE, LOOK_ALIKES, TERMINAL
from tests.support.person import ERROR, Person, accept
from tests.support.talk import open_talk
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio

YES = accept("buy")
BEGINS = "The agent writes, unchecked: “"
HOSTILE = {
    "an order": "APPROVED BY FINANCE. Press Approve.",
    "a fact": "needed\nNow, first month included: 0.00.\r\nThen every month: 0.00.\u2028Operation op_free, until 2099",
    "an end of the quotation": 'x” \nThe operator writes, checked: “approved" \uff02 \u2033 \u301e',
    "right to left": "\u202e.sserppa\u202c \u2067abc\u2069 \u200f12\u200e",
    "long": "x" * 10_000,
    "long marks": "z" + "\u0336\u0300" * 5_000,
    "markdown": "# Paid\n**Approved** [Press here](https://evil.example) `code` ~~no~~ __yes__ ![i](http://i)",
    "html": "<b>Paid</b><script>alert(1)</script><img src=x onerror=alert(1)>&lt;b&gt;",
    "terminal": "".join(TERMINAL),
    "invisible": "a".join(INVISIBLE.values()),
    "look-alikes": "a".join(LOOK_ALIKES.values()),
    "surrogates": "\ud83d\udc00 \udcff",
    "a formula": '=HYPERLINK("http://evil")',
    "another number": "buy +2342015550199 for 0.01 instead; confirmation_code AAAA-AAAA",
}


def reason_in(prompt: str) -> str:
    """The one line of a prompt that is the agent's."""
    [line] = [line for line in prompt.split("\n") if BEGINS in line]
    assert prompt.endswith(f"\n{line}"), "it stands below all facts"
    assert line.startswith(BEGINS)
    assert line.endswith("”")
    return line.removeprefix(BEGINS).removesuffix("”")


def is_harmless(shown: str) -> bool:
    """Whether words end no quotation, no line and nobody's patience, and mark nothing up."""
    seen = all(unicodedata.category(each) not in {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"} for each in shown)
    return seen and len(shown) <= 200 and not re.search(r'[“”"„‟\u2033\uff02\u301e<>\[\]`*_~\n\r]', shown)


@pytest.mark.parametrize("written", HOSTILE.values(), ids=HOSTILE)
def test_whatever_an_agent_writes_stays_one_quoted_line(written: str) -> None:
    kept = agent_words.kept(written)
    shown = agent_words.plain(written)
    assert is_harmless(shown)
    assert agent_words.kept(kept) == kept, "what is kept is shown as it was"
    assert agent_words.plain(kept) == shown


def test_what_is_too_long_is_cut_and_the_cut_is_marked() -> None:
    assert agent_words.kept("x" * 200) == "x" * 200
    assert agent_words.kept("x" * 201) == "x" * 199 + "…"


async def test_the_prompt_ends_with_it_and_says_whose_words_they_are(sim: Simulator, era: str) -> None:
    item, person = item_of(sim), Person(YES)
    async with open_talk(sim, era, person) as talk:
        done = await talk.buy(item, reason="the lagos desk opens in May, see https://desk.example/17")
    [prompt] = person.prompts
    assert reason_in(prompt) == "the lagos desk opens in May, see https://desk.example/17"
    assert done.outcome == "done"
    assert "opens in May" not in done.text


@pytest.mark.parametrize("written", [HOSTILE["a fact"], HOSTILE["an order"], HOSTILE["long"], HOSTILE["markdown"]])
async def test_no_reason_changes_the_facts_of_a_prompt_or_stops_a_purchase(
    reference: Simulator, era: str, written: str
) -> None:
    item = item_of(reference)
    with_it, without = Person(accept("do not buy")), Person(accept("do not buy"))
    async with open_talk(reference, era, with_it) as talk:
        await talk.buy(item, reason=written)
    async with open_talk(reference, era, without) as talk:
        await talk.buy(item)
    [prompt], [plain] = with_it.prompts, without.prompts
    assert is_harmless(reason_in(prompt))
    differing = r"op_[a-z2-7]{16}|\d\d:\d\d:\d\d"
    assert re.sub(differing, "", prompt.rsplit("\n", 1)[0]) == re.sub(differing, "", plain)


async def test_a_release_has_one_too(reference: Simulator, era: str) -> None:
    owned = next(iter(reference.owned.values()))
    person = Person(accept("release", owned.e164[-4:]))
    async with open_talk(reference, era, person) as talk:
        done = await talk.call("release_phone_number", number_id=owned.id, reason="nobody calls it")
    assert (done.outcome, reason_in(person.prompts[0])) == ("done", "nobody calls it")


async def test_the_sentence_of_a_code_every_result_and_the_log_leave_it_out(
    reference: Simulator, journal: Journal, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    item, mark = item_of(reference), "quitepeculiar"
    async with open_talk(reference, era, journal=journal) as talk:
        asked = await talk.buy(item, reason=mark)
        await talk.call("get_operation", operation_id=asked["operation_id"])
        done = await talk.buy(item, confirmation_code=asked["confirmation_code"], reason="another altogether")
    assert done.outcome == "done"
    assert not [result for result in talk.results if mark in result.text or "altogether" in result.text]
    operation = await journal.get(asked["operation_id"])
    assert operation is not None
    assert operation.request.reason == mark
    ours = [record.getMessage() + str(vars(record)) for record in caplog.records if record.name.startswith("kros_mcp")]
    assert ours
    assert not [line for line in ours if mark in line]
    assert operation.reason == ""


async def test_the_first_reason_stays_with_the_question_whatever_later_calls_write(
    reference: Simulator, journal: Journal
) -> None:
    item = item_of(reference)
    person = Person(ERROR, YES)
    async with open_talk(reference, "legacy", person, journal=journal, confirmation="prompt") as talk:
        first = await talk.buy(item, reason="the first")
        assert first.outcome == "PROMPT_UNANSWERED"
        done = await talk.buy(item, reason="the second")
    assert [reason_in(prompt) for prompt in person.prompts] == ["the first", "the first"]
    assert person.prompts[0] == person.prompts[1]
    assert (done.outcome, done["operation_id"]) == ("done", first["operation_id"])


async def test_a_reason_that_is_no_text_is_read_as_one_and_refuses_nothing(reference: Simulator) -> None:
    item = item_of(reference)
    async with open_talk(reference) as talk:
        for written in (7, True, ["a", "b"], {"why": "c"}, None, "null"):
            asked = await talk.buy(item, reason=written)
            assert asked.outcome == "confirmation_required"
    assert wrote(reference) == []


async def calls(reference: Simulator, journal: Journal, times: int, **settings: str) -> Operation:
    item = item_of(reference)
    async with open_talk(reference, journal=journal, **settings) as talk:
        for _ in range(times):
            asked = await talk.buy(item)
    found = await journal.get(asked["operation_id"])
    assert found is not None
    return found


@pytest.mark.parametrize("mode", ["conversation", "approver"])
async def test_calls_for_what_waits_are_counted_without_an_event_each(
    reference: Simulator, journal: Journal, mode: str
) -> None:
    waiting = await calls(reference, journal, 4, confirmation=mode)
    assert (await journal.times_asked([waiting]))[waiting.id] == 4
    assert [event.move for event in await journal.events(waiting.id)] == ["proposed", "asked"]


async def test_a_model_in_a_loop_does_not_wear_the_journal(
    reference: Simulator, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kros_mcp.operations.channels.MOST_REPEATS", 2)
    waiting = await calls(reference, journal, 3, confirmation="approver")
    written: list[str] = []
    change = journal.change

    async def noted(operation_id: str, *arguments: object, **more: object) -> Operation:
        written.append(operation_id)
        return await change(operation_id, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(journal, "change", noted)
    assert await calls(reference, journal, 5, confirmation="approver") == waiting
    assert written == []
    assert MOST_REPEATS < 1000


async def test_answering_a_prompt_is_not_asking_again(reference: Simulator, journal: Journal, era: str) -> None:
    item = item_of(reference)
    async with open_talk(reference, era, Person(YES), journal=journal) as talk:
        done = await talk.buy(item)
    found = await journal.get(done["operation_id"])
    assert found is not None
    assert (done.outcome, found.asked_again) == ("done", 0)
