"""What the check of the examples holds against what is said aloud, and what both examples must share."""

import ast

import pytest

from .clients.roster import EXAMPLES
from .examples import AGENTS, unspeakable

BOOKS = {"owned": [{"id": "num_1", "endpoint_id": "ep-support"}, {"id": "num_2", "endpoint_id": None}]}


@pytest.mark.parametrize(
    "words",
    [
        "Your operation is op_atq2hchsafsfjw64.",
        "It is 2c39aaab-ee77-4745-98ca-874549f2f1ef.",
        "Please say R8QK-YBEM.",
        "Ask for a higher KROS_DAILY_BUDGET_CENTS.",
        "The inventory_id is missing.",
        "The number num_1 is yours.",
        "Its calls go to ep-support.",
    ],
)
def test_an_id_a_code_or_a_setting_that_is_said_aloud_is_noticed(words: str) -> None:
    assert unspeakable(["Hello.", words], BOOKS)


def test_a_quote_may_be_said_aloud() -> None:
    assert unspeakable(["Buying +234 201 555 0100 in Nigeria costs 5.00 now. Shall I buy it?"], BOOKS) == []


def test_both_examples_tell_their_model_the_same() -> None:
    said = []
    for name in AGENTS:
        tree = ast.parse((EXAMPLES / name).read_text(encoding="utf-8"))
        assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
        said.append([ast.unparse(node) for node in assigned if not ast.unparse(node).startswith("server")])
    assert said[0] == said[1]
