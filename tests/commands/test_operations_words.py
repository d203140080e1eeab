"""The books speak the tools' words, find whom a short name means, and name who decided."""

import csv
import io
import json
import os
import pwd
from functools import partial
from typing import Any

import pytest
from commands_doubles import Command, an_operation, put, settled

from kros_mcp.operations import moves
from kros_mcp.operations.model import Channel, Operation, Request, State

ME = pwd.getpwuid(os.geteuid()).pw_name
AGENT = "tokens|support-agent"


def numbered(at: int, **changes: Any) -> Operation:
    return an_operation(e164=f"+23420155501{at:02d}", **changes)


def rows(command: Command, *words: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(command("export", *words).out)))


def records(command: Command, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(command("operations", "--json", *words).out)["operations"]
    return found


@pytest.fixture
def every_status(journal_url: str) -> dict[str, str]:
    """One operation in each place where one can stand; its id by the tools' word, and by its state."""
    put_there = {
        "awaiting_approval": put(journal_url, numbered(0)),
        "confirmation_required": put(journal_url, numbered(1, channel=Channel.CODE)),
        "confirmed": put(journal_url, numbered(2), partial(moves.confirm, by="ana at a terminal")),
        "sending": put(journal_url, numbered(3), *settled(State.DONE)[:2]),
        "done": put(journal_url, numbered(4), *settled(State.DONE)),
        "unknown": put(journal_url, numbered(5), *settled(State.UNKNOWN)),
    }
    return {word: operation.id for word, operation in put_there.items()}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("awaiting_approval",), {"awaiting_approval"}),
        (("Confirmation_Required",), {"confirmation_required"}),
        (("proposed",), {"awaiting_approval", "confirmation_required"}),
        (("awaiting_approval", "confirmation_required"), {"awaiting_approval", "confirmation_required"}),
        (("proposed", "awaiting_approval"), {"awaiting_approval", "confirmation_required"}),
        (("pending",), {"confirmed", "sending"}),
        (("awaiting_approval", "done"), {"awaiting_approval", "done"}),
        (("unknown",), {"unknown"}),
    ],
)
def test_a_filter_takes_the_words_of_the_tools(
    command: Command, every_status: dict[str, str], words: tuple[str, ...], found: set[str]
) -> None:
    filters = [f"--state={word}" for word in words]
    wanted = {every_status[word] for word in found}
    assert {record["operation_id"] for record in records(command, *filters)} == wanted
    assert {row["operation_id"] for row in rows(command, *filters)} == wanted


def test_a_record_has_the_status_that_the_tools_tell(command: Command, every_status: dict[str, str]) -> None:
    told = {record["operation_id"]: record["status"] for record in records(command)}
    exported = {row["operation_id"]: row["status"] for row in rows(command)}
    words = {word: {"confirmed": "pending", "sending": "pending"}.get(word, word) for word in every_status}
    assert told == exported == {every_status[word]: status for word, status in words.items()}


def test_a_word_that_is_none_names_all_that_are(command: Command) -> None:
    ran = command("operations", "--state", "waiting")
    assert ran.code == 2
    assert "awaiting_approval" in ran.err


def test_a_short_name_finds_the_holder_of_a_token_and_says_so(command: Command, journal_url: str) -> None:
    asked = put(journal_url, numbered(0, principal=AGENT))
    put(journal_url, numbered(1))

    listed = command("operations", "--principal", "support-agent")
    assert asked.id in listed.out
    assert f"support-agent is {AGENT} here" in listed.out
    assert json.loads(command("operations", "--principal", "support-agent", "--json").out)["principal"] == AGENT
    exported = command("export", "--principal", "support-agent")
    assert [row["operation_id"] for row in csv.DictReader(io.StringIO(exported.out))] == [asked.id]
    assert AGENT in exported.err


def test_a_name_that_is_somebodys_own_stays_and_the_other_is_named(command: Command, journal_url: str) -> None:
    own = put(journal_url, numbered(0, principal="support-agent"))
    other = put(journal_url, numbered(1, principal=AGENT))

    listed = command("operations", "--principal", "support-agent").out
    assert own.id in listed
    assert other.id not in listed
    assert f"There is also {AGENT}" in listed


def test_who_decided_is_a_field_for_a_yes_and_for_a_denial(command: Command, journal_url: str) -> None:
    approved, denied = put(journal_url, numbered(0)), put(journal_url, numbered(1))
    waiting = put(journal_url, numbered(2))
    assert command("approve", approved.id, "--yes", "--reason", "agreed").code == 0
    assert command("deny", denied.id, "--yes", "--reason", "too dear").code == 0

    wanted = {approved.id: (ME, "command"), denied.id: (ME, "command"), waiting.id: (None, None)}
    found = {one["operation_id"]: (one["decided_by"], one["decided_through"]) for one in records(command)}
    assert found == wanted
    exported = {row["operation_id"]: (row["decided_by"], row["decided_through"]) for row in rows(command)}
    assert exported == {name: tuple(value or "" for value in values) for name, values in wanted.items()}
    assert f"no: {ME}" in command("operations").out


@pytest.mark.parametrize(
    ("channel", "signature", "told"),
    [
        (Channel.APPROVER, "ana at a terminal", ("ana", "terminal")),
        (Channel.APPROVER, "tokens|night on the approvals page", ("tokens|night", "page")),
        (Channel.APPROVER, "ana by a command without a terminal", ("ana", "command")),
        (Channel.PROMPT, "prompt", ("person", "prompt")),
        (Channel.CODE, "code in conversation", ("local", "code")),
    ],
)
def test_what_was_decided_before_rows_named_it_is_told_from_its_signature(
    command: Command, journal_url: str, channel: Channel, signature: str, told: tuple[str, str]
) -> None:
    put(journal_url, numbered(0, channel=channel), partial(moves.confirm, by=signature))
    [record] = records(command)
    assert (record["decided_by"], record["decided_through"]) == told


def test_the_books_keep_the_agents_reason_apart_from_the_approvers(command: Command, journal_url: str) -> None:
    approved = put(
        journal_url,
        an_operation(request=Request(reason="=the desk\nopens in May")),
        moves.ask_again,
        partial(moves.confirm, by="ana", reason="agreed with finance"),
    )
    [record] = records(command)
    assert (record["reason"], record["agent_reason"]) == ("agreed with finance", "=the desk opens in May")
    assert record["asked_times"] == 2
    [row] = rows(command)
    assert (row["reason"], row["agent_reason"]) == ("agreed with finance", "'=the desk opens in May")
    assert row["asked_times"] == "2"
    listed = " ".join(command("operations").out.split())
    assert "agreed with finance “=the desk opens in May”" in listed
    story = " ".join(command("operations", approved.id).out.split())
    assert "The agent writes, unchecked: “=the desk opens in May”" in story


def test_a_list_tells_how_often_what_waits_was_asked_for(command: Command, journal_url: str) -> None:
    put(journal_url, an_operation(), *[moves.ask_again] * 3)
    put(journal_url, an_operation(e164="+2342015550101"))
    listed = command("operations").out
    assert listed.count("asked 4 times in the last 24 hours.") == 1
    assert "1 times" not in listed
