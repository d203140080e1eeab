"""What `python -m tests.clients` prints, and how it answers what it cannot do."""

import json

import pytest

from .__main__ import parsed
from .journey import PROMPTED, STEPS
from .roster import BRIDGES, ROSTER, in_python
from .table import as_json, lines
from .trying import NO_PROMPTS, Cell, Tried


def tried(name: str, *, prompts: bool = True, **failed: str) -> Tried:
    row = Tried(name, "stdio", f"{name} 1.0", "2025-11-25", "text", seconds=12.3)
    row.cells = {step: Cell("failed", failed[step]) for step in failed}
    row.fill([] if prompts else PROMPTED, "none", NO_PROMPTS)
    for step in STEPS:
        row.cells.setdefault(step, Cell("ok"))
    row.cells = {step: row.cells[step] for step in STEPS}
    return row


def test_the_table_has_a_row_for_each_and_its_reasons_below() -> None:
    printed = lines([tried("one"), tried("two", prompts=False, search="nothing was found")], 61.2)
    head, first, second, *notes = printed
    assert head.split() == ["client", "over", "protocol", "model", "sees", *" ".join(STEPS).split(), "seconds"]
    assert first.split() == ["one", "1.0", "stdio", "2025-11-25", "text", *["ok"] * 9, "12.3"]
    assert second.split()[5:] == ["ok", "FAILED", "ok", "\N{EN DASH}", "\N{EN DASH}", "ok", "ok", "ok", "ok", "12.3"]
    assert head.index("search") == first.index("ok", head.index("search")) == second.index("FAILED")
    assert notes == [
        "",
        f"\N{EN DASH}  {NO_PROMPTS}: two",
        "FAILED  two over stdio, search: nothing was found",
        "",
        "2 clients, 16 steps, 1 FAILED, in 61 seconds",
    ]


def test_a_green_table_says_so() -> None:
    assert lines([tried("one")], 5)[-1] == "1 client, 9 steps, none failed, in 5 seconds"


def test_the_rows_can_be_read_by_programs() -> None:
    [row] = json.loads(as_json([tried("one", search="why")]))
    assert (row["name"], row["transport"], row["cells"]["search"]) == (
        "one",
        "stdio",
        {"verdict": "failed", "reason": "why"},
    )


def test_quick_leaves_out_what_is_heavy_and_names_choose() -> None:
    assert {bridge.name for bridge in parsed(["--quick"]).bridges} == {each.name for each in ROSTER if not each.heavy}
    assert [bridge.name for bridge in parsed(["fastmcp", "google-adk", "fastmcp"]).bridges] == ["fastmcp", "google-adk"]
    assert parsed(["--transport", "http"]).transports == ("http",)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        (["nobody"], "there is no client nobody; there are python-sdk, "),
        (["--at-once", "0"], "--at-once must be 1 or more"),
        (["--quick", "livekit-agents"], "--quick leaves nothing of what was named"),
    ],
)
def test_what_cannot_be_tried_is_told_in_a_sentence(
    wish: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        parsed(wish)
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err


def test_every_bridge_in_python_names_what_it_is_made_of_with_a_range() -> None:
    for path in BRIDGES.glob("*-*.py"):
        [needs] = [line for line in path.read_text().splitlines() if line.startswith("# dependencies")]
        for package in json.loads(needs.partition("=")[2].strip()):
            assert "<" in package, f"{path.name}: {package} has no upper bound"
        assert in_python(path.stem)()[-1] == str(path)
