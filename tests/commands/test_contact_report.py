"""What a report of a first contact shows, and what it can never show."""

import json
from pathlib import Path

import pytest

from kros_mcp.commands import console
from kros_mcp.commands.contact_report import (
    Comparison,
    ContactReport,
    Fact,
    deliver,
    markdown,
    require_new,
    show,
    write,
)
from kros_mcp.commands.findings import fail, ok, warn
from kros_mcp.commands.masking import field_name, form, masked, plain_word, plain_words
from kros_mcp.commands.seen_shapes import seen_records
from kros_mcp.errors import KrosError

SECRETS = {
    "a number": "+2348035550123",
    "a spaced number": "+234 803 555 01 23",
    "digits": "2348035550123",
    "a uuid": "0b6f3c1e-93a5-4d0c-8f7d-3f6f0f6f2a11",
    "an id": "pn_8f3a2b1c9d",
    "a webhook secret": "whsec_5f0a9b8c7d6e",
    "a key": "kros_live_8f3a2b1c9d8e7f",
    "a token": "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln",
    "a SIP address": "sip:2348035550123@sip.example.com",
    "an address": "https://acme.example.com/hook?x=1",
    "a mailbox": "jane.doe@example.com",
    "a password": "hunter2hunter2hunter2x",
}


def a_report(secret: str = "") -> ContactReport:
    return ContactReport(
        kind="probe",
        title=f"First contact with KrosAI {secret}",
        circumstances=[f"The key is a test key {secret}."],
        facts=[
            Fact(f"owned numbers {secret}", 200, 41, f"JSON; 10 requests a second {secret}"),
            Fact("x", "no answer"),
        ],
        comparisons=[
            Comparison(
                f"price of an offer {secret}", "monthly_cost_cents | setup_cost_cents", f"none {secret}", "differs"
            ),
            Comparison("list of owned numbers", "a bare list, or phone_numbers", "a bare list", "as assumed"),
        ],
        conclusions=[ok(f"All is read {secret}."), warn("No price: purchases are refused.", f"Set it {secret}.")],
        at=1_795_948_800.0,
        shapes={"lists": {f"owned {secret}": {"path": [secret]}}},
    )


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_text_of_a_report_passes_the_net(
    secret: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = a_report(secret)
    shown = [markdown(made)]
    for room in (None, 80):
        monkeypatch.setattr(console, "terminal_width", lambda room=room: room)
        for as_json in (False, True):
            show(made, as_json=as_json)
            shown.append(capsys.readouterr().out)
    assert [text for text in shown if secret in text] == []


@pytest.mark.parametrize(
    "text",
    [
        "KROS_ALLOW_UNPRICED, kros_test_..., monthly_cost_cents, X-RateLimit-Limit, endpoint.id, e164, address_line2",
        "kros-mcp 0.1.0, 2026-11-29T10:31:02Z, after 1.5 seconds, 100 of 100 records, integer over 2^53",
    ],
)
def test_our_own_words_stay(text: str) -> None:
    assert masked(text) == text


def test_a_number_is_masked_by_its_length() -> None:
    assert masked("it is +2348035550123.") == "it is +…(13 digits)."


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "null"),
        (True, "boolean"),
        (5, "integer"),
        (2**63, "integer over 2^53"),
        (5.0, "number with a point"),
        ("", "text: empty"),
        ("Support agent", "text"),
        ("+2348035550123", "text: E.164"),
        ("2348035550123", "text: 13 digits"),
        ("sandra_2024", "text"),
        ("1" * 200, "text: 200 digits"),
        ("1" * 201, "text"),
        (SECRETS["a uuid"], "text: uuid"),
        ("2026-11-29T10:31:02.000Z", "text: time"),
        ("5.00", "text: decimal"),
        ("sip:x@y", "text: SIP address"),
        ([], "list"),
        (["voice"], "list of texts"),
        ([{}], "list of objects"),
        ({}, "object"),
    ],
)
def test_the_form_of_a_value_says_its_kind_alone(value: object, told: str) -> None:
    assert form(value) == told


def test_what_stands_before_an_underscore_is_told_of_an_id_alone() -> None:
    assert form("pn_8f3a2b", is_id=True) == "text: pn_…"
    seen = seen_records(
        [{"id": "pn_8f3a2b", "endpointId": "ep_8f3a2b", "label": "sandra_2024", "paid": "acme_1"}], "owned"
    )
    assert {each.name: each.forms for each in seen.fields} == {
        "id": ("text: pn_…",),
        "endpointId": ("text: ep_…",),
        "label": ("text",),
        "paid": ("text",),
    }


def test_only_plain_names_and_words_are_let_through() -> None:
    assert [field_name(name) for name in ("endpointId", "e164")] == ["endpointId", "e164"]
    for name in ("+2348035550123", "Acme Ltd", "pn_8f3a2b", "inv-a1b2c3", "deadbeefcafe", "x" * 41, "a4321", 7):
        assert field_name(name) == "(a name that is not plain)"
    assert field_name("abcdefab-cdef-4abc-8def-abcdefabcdef") == "(a name that is not plain)"
    assert plain_word("in_service") == "in_service"
    assert [plain_word(word) for word in ("a1", "two words", 5, None, "")] == [None] * 5
    assert plain_words(["active", "active", "Porting"]) == ["active", "Porting"]
    assert plain_words(["active", "it is +234"]) == plain_words(chr(97 + at) * 3 for at in range(9)) == []


def test_on_a_terminal_no_line_is_wider_than_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "terminal_width", lambda: 80)
    assert show(a_report(), as_json=False) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert text.index("owned numbers") < text.index("price of an offer") < text.index("No price")


def test_the_exit_code_is_that_of_what_follows(capsys: pytest.CaptureFixture[str]) -> None:
    made = ContactReport("rehearse", "t", [], [], [], [fail("It is so.", "Do that.", 4)], 0.0)
    assert show(made, as_json=True) == 4
    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["kind"], document["exit_code"], document["shapes"]) == (1, "rehearse", 4, None)
    assert document["conclusions"] == [{"mark": "fail", "what": "It is so.", "to_do": "Do that."}]


def test_markdown_breaks_no_cell_and_is_written_to_a_new_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    write(a_report(), str(file))
    text = file.read_text()
    assert "monthly_cost_cents \\| setup_cost_cents" in text
    assert len({line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("| ")}) == 1
    with pytest.raises(KrosError, match="is there already"):
        write(a_report(), str(file))
    with pytest.raises(KrosError, match="cannot be written"):
        write(a_report(), str(tmp_path / "none" / "report.md"))


def test_a_report_that_cannot_be_written_is_printed_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KrosError, match="cannot be written"):
        deliver(a_report(), str(tmp_path / "none" / "report.md"), as_json=False)
    assert "What follows" in capsys.readouterr().out
    assert deliver(a_report(), str(tmp_path / "report.md"), as_json=True) == 0
    assert (tmp_path / "report.md").exists()


def test_a_file_that_could_not_be_written_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for path, why in (("link", "is there already"), ("a" * 256, "cannot be written"), ("", "is there already")):
        with pytest.raises(KrosError, match=why):
            require_new(str(tmp_path / path))
