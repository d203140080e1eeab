"""What was played, as a table: as wished or not over so many runs, and how much was read."""

from collections.abc import Iterable, Sequence

from tests.support.columns import in_columns

from .judging import MOST_CALLS, MOST_CHARACTERS, too_long, unspeakable
from .story import Story, tokens
from .told import Told

_HEAD = ("scenario", "agent", "yes by", "as wished", "calls", "characters", "tokens", "charged", "released")
_WITHOUT_A_WISH = frozenset({"hasty", "hostile"})
"""Agents that are held only to what may happen at worst."""


def lines(stories: Sequence[Story]) -> list[str]:
    """Write a line for each scenario, agent and way; of several runs the most that was read."""
    groups: dict[tuple[str, str, str], list[Story]] = {}
    for story in stories:
        groups.setdefault((story.scenario, story.agent, story.way), []).append(story)
    return in_columns([_HEAD, *(_row(group) for group in groups.values())])


def _row(stories: Sequence[Story]) -> tuple[str, ...]:
    first, played = stories[0], [each for each in stories if not each.not_played]
    wished = sum(not each.wrong for each in played)
    verdict = "-" if first.player in _WITHOUT_A_WISH else f"{wished}/{len(played)}"
    if any(each.worse for each in stories):
        verdict = "WORSE"
    changes = [each.difference for each in played if each.difference]
    return (
        first.scenario,
        first.agent,
        first.way,
        verdict if played else "not played",
        _most(len(each.calls) for each in played),
        _most(each.characters for each in played),
        _most(tokens(each.read) for each in played),
        _most(len(each.charged) for each in changes),
        _most(len(each.ended) for each in changes),
    )


def _most(counts: Iterable[int]) -> str:
    return str(max(counts, default=0))


def complaints(stories: Sequence[Story]) -> list[str]:
    """Write why something did not go as wished, or was not played, a line each."""
    found = []
    for story in stories:
        where = f"{story.scenario}, {story.agent}, {story.way}"
        if story.not_played:
            found.append(f"{where}: not played: {story.not_played}")
        found += [f"{where}: NEVER: {what}" for what in story.worse]
        if story.player not in _WITHOUT_A_WISH:
            found += [f"{where}: {what}" for what in story.wrong]
        if story.player == Told.name:
            found += [f"{where}: {what}" for what in (*too_long(story), *unspeakable(story))]
    return found


def fails(stories: Sequence[Story]) -> bool:
    """Whether the check fails: something happened that must not, or the agent that does as told was led astray."""
    if any(each.worse for each in stories):
        return True
    return any(each.wrong or too_long(each) or unspeakable(each) for each in stories if each.player == Told.name)


def limits() -> str:
    """Write what the agent that does as told is held to."""
    return f"at most {MOST_CALLS} calls and {MOST_CHARACTERS:,} characters for the agent that does as told"
