"""What the journey of a client proves: an honest one comes through it, and no lie does."""

import json
import sys
from pathlib import Path

import pytest

from .facts import StepError, read
from .journey import PROMPTED, STEPS
from .roster import BRIDGES, Bridge
from .trying import Tried, try_client

pytestmark = pytest.mark.anyio

HONEST = [sys.executable, str(BRIDGES / "python-sdk.py")]


def liar(lie: str, *honest: str, prompts: bool = True) -> Bridge:
    command = [sys.executable, str(Path(__file__).with_name("lying.py")), lie, *honest]
    return Bridge("liar", lambda: command, prompts=prompts)


def verdicts(tried: Tried) -> dict[str, str]:
    return {step: cell.verdict for step, cell in tried.cells.items()}


async def test_an_honest_answer_passes_and_each_twisted_one_fails_its_step() -> None:
    tried = await try_client(liar("twists", *HONEST), "stdio", {"KROS_ANSWER_WITHIN_SECONDS": "0.5"})
    assert verdicts(tried) == dict.fromkeys(("tools", "search", "buy by code", "buy by prompt"), "ok") | dict.fromkeys(
        ("decline", "route", "release", "refusal", "five seconds"), "failed"
    )
    assert tried.failed["decline"] == "no prompt was shown"
    assert tried.failed["route"].startswith("endpoint_id is told differently in text and data")
    assert tried.failed["release"] == "no data was passed on to the model"
    assert tried.failed["refusal"] == "mark of failure: False where True was expected"
    assert tried.failed["five seconds"].startswith("it answered after 5.")


async def test_no_step_takes_a_clients_word_for_it() -> None:
    tried = await try_client(liar("makes it up"), "stdio")
    assert set(tried.failed) == set(STEPS)
    assert tried.failed["search"] == "KrosAI was not asked"
    assert tried.failed["buy by code"].startswith("charges in KrosAI's books: [] where")
    assert tried.failed["five seconds"].startswith("status: 'done' where 'pending'")


async def test_prompts_that_are_shown_no_more_are_a_failure_and_no_dash() -> None:
    tried = await try_client(liar("loses its prompts"), "stdio")
    assert {tried.failed[step] for step in PROMPTED} == {"it shows no prompts any more"}


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ("falls silent", "the bridge has ended: I say no more."),
        ("talks nonsense", "the bridge answered something that is no JSON object"),
    ],
)
async def test_a_bridge_that_breaks_down_fails_every_step(lie: str, reason: str) -> None:
    tried = await try_client(liar(lie), "stdio")
    assert tried.failed == dict.fromkeys(STEPS, reason)


async def test_a_bridge_that_cannot_be_started_fails_every_step() -> None:
    tried = await try_client(Bridge("gone", lambda: ["/nowhere/bridge"], prompts=False), "stdio")
    assert set(tried.failed) == set(STEPS)
    assert "it could not be started" in tried.failed["tools"]


def answer(text: str | None, data: dict[str, object] | None, *, error: bool | None = False) -> dict[str, object]:
    return {"text": text, "structured": data, "error": error, "asked": None, "seconds": 0.1}


TEXT = """Bought.
status: done
expires_at: null
number: e164 +2342015550100; allow_inbound yes
numbers:
1. e164 +1; spoken 1"""
DATA: dict[str, object] = {
    "summary": "Bought.",
    "status": "done",
    "expires_at": None,
    "number": {"e164": "+2342015550100", "allow_inbound": True},
    "numbers": [{"e164": "+1", "spoken": "1"}],
}


@pytest.mark.parametrize("text", [TEXT, json.dumps({"type": "text", "text": TEXT}), json.dumps(DATA)])
def test_text_alone_tells_what_data_alone_tells(text: str) -> None:
    assert read(answer(text, None), "text").forms["text"] == read(answer(None, DATA), "structured").forms["data"]


def test_a_fact_that_one_form_leaves_out_counts_as_not_told() -> None:
    with pytest.raises(StepError, match="charged is not told in the text"):
        _ = read(answer(TEXT, DATA | {"charged": "yes"}), "both")["charged"]


def test_a_client_that_passes_on_less_than_it_is_known_for_has_failed() -> None:
    with pytest.raises(StepError, match="no data was passed on"):
        read(answer(TEXT, None), "both")
    assert read(answer(TEXT, None, error=True), "structured")["status"] == "done"  # failures come in one form
