import pytest

from kros_mcp.times import spoken_duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "1 second"),
        (0.25, "1 second"),
        (2.1, "3 seconds"),
        (89, "89 seconds"),
        (90, "2 minutes"),
        (120, "2 minutes"),
        (121, "3 minutes"),
        (3_600, "an hour"),
        (4_500, "75 minutes"),
        (7_200, "2 hours"),
        (86_400, "a day"),
        (90_000, "25 hours"),
        (172_800, "2 days"),
        (864_000_000, "10,000 days"),
    ],
)
def test_a_duration_is_said_in_plain_words_and_never_too_short(seconds: float, said: str) -> None:
    assert spoken_duration(seconds) == said
