from collections import Counter
from pathlib import Path

import pytest

from .findings import Finding, compare, read_reasons

ONE = Finding("scanner", "rule", "tool buy_phone_number")
OTHER = Finding("scanner", "rule", "tool release_phone_number")
ENTRY = '[[finding]]\nscanner = "scanner"\nrule = "rule"\nplace = "tool buy_phone_number"\n'


def test_a_finding_without_reason_and_a_reason_without_finding_both_fail() -> None:
    assert compare([ONE, ONE], Counter({ONE: 2})).holds
    assert compare([ONE, OTHER], Counter({ONE: 1})).unexplained == {OTHER: 1}
    assert compare([ONE], Counter({ONE: 1, OTHER: 1})).stale == {OTHER: 1}
    assert not compare([], Counter({ONE: 1})).holds


def test_one_reason_does_not_cover_a_second_finding_at_the_same_place() -> None:
    verdict = compare([ONE, ONE], Counter({ONE: 1}))

    assert (verdict.explained, verdict.unexplained) == ({ONE: 1}, {ONE: 1})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ENTRY, "no reason"),
        (ENTRY + 'reason = "  "\n', "no reason"),
        (ENTRY + 'reason = "yes"\nseverity = "low"\n', "not scanner, rule, place"),
        ((ENTRY + 'reason = "yes"\n') * 2, "twice"),
        (ENTRY + 'places = ["tool buy_phone_number"]\nreason = "yes"\n', "not scanner, rule, place"),
        (ENTRY.replace('rule = "rule"', "rules = []") + 'reason = "yes"\n', "not scanner, rule, place"),
    ],
)
def test_an_entry_that_explains_nothing_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "explained.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_reasons(path)


def test_every_entry_of_ours_has_a_reason() -> None:
    assert read_reasons(Path(__file__).with_name("explained.toml"))
