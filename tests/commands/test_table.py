import pytest

from kros_mcp.commands.console import Column, drawn, shortened

COLUMNS = (
    Column("id"),
    Column("cents", right=True),
    Column("who", least=6, leaves=True, below="for "),
    Column("reason", least=10, leaves=True),
)
ROWS = (("op_1", "5.00", "night desk", "it was agreed by phone"), ("op_2", "1,250.00", "day", ""))


def test_with_room_each_row_is_one_line_and_amounts_end_in_one_column() -> None:
    lines = drawn(COLUMNS, ROWS, None)

    assert lines == [
        "id       cents  who         reason",
        "op_1      5.00  night desk  it was agreed by phone",
        "op_2  1,250.00  day",
    ]


def test_what_is_too_long_is_cut_with_an_ellipsis_from_the_right() -> None:
    lines = drawn(COLUMNS, ROWS, 40)

    assert lines[1] == "op_1      5.00  night desk  it was agre…"
    assert max(map(len, lines)) <= 40


@pytest.mark.parametrize("room", [14, 20, 25, 30])
def test_what_does_not_fit_goes_below_its_row_and_not_away(room: int) -> None:
    lines = drawn(COLUMNS, ROWS, room)

    assert max(map(len, lines)) <= room
    assert any(line.startswith("    ") for line in lines)
    assert "op_2  1,250.00" in "\n".join(lines)


def test_a_column_without_a_word_takes_no_room() -> None:
    assert drawn(COLUMNS, [("op_1", "5.00", "", "")], None) == ["id    cents", "op_1   5.00"]


def test_ideographs_count_twice_and_marks_nothing() -> None:
    assert shortened("夜間窓口", 5) == "夜間…"
    assert shortened("e\u0301te\u0301", 3) == "e\u0301te\u0301"
    assert drawn((Column("who"), Column("x")), [("夜間", "1"), ("day", "2")], None)[1:] == ["夜間  1", "day   2"]
