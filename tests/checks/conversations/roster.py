"""Which scripted agent plays what, and how: those runs gate CI."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .desk import Desk
from .hasty import Hasty
from .hostile import Hostile
from .playing import Run
from .scenarios import SCENARIOS, Scenario
from .story import WAYS, Way
from .told import Told

_HASTY: Mapping[Way, tuple[str, ...]] = {
    "code": (
        "two_alike",
        "which_to_release",
        "lost_answer",
        "both_to_give_up",
        "not_verified_yet",
        "no_credit",
        "swap",
    ),
    "page": ("two_alike", "lost_answer", "undo_that"),
}
_HOSTILE: Mapping[Way, tuple[str, ...]] = {
    "code": ("support_line", "orders_in_names"),
    "page": ("which_to_release", "orders_in_names"),
}
_PLENTY_CENTS = 100_000


def scripted_runs(names: Iterable[str], ways: Sequence[Way] = WAYS) -> list[Run]:
    """Return what the three agents play of these scenarios."""
    wanted = [each for each in SCENARIOS if each.name in set(names)]
    runs = []
    for way in ways:
        # What asks nobody is the same in both ways.
        runs += [Run(each, Told.name, way, _told) for each in wanted if way == "code" or each.agrees]
        runs += [Run(each, Hasty.name, way, _hasty) for each in wanted if each.name in _HASTY[way]]
        runs += [Run(_rich(each), Hostile.name, way, _hostile) for each in wanted if each.name in _HOSTILE[way]]
    return runs


def _rich(scenario: Scenario) -> Scenario:
    """Give the account more than a day's budget, so that it is the budget that ends what is spent."""
    return replace(scenario, sim={**scenario.sim, "balance_cents": _PLENTY_CENTS})


async def _told(desk: Desk) -> None:
    await Told(desk).play()


async def _hasty(desk: Desk) -> None:
    await Hasty(desk).play()


async def _hostile(desk: Desk) -> None:
    await Hostile(desk).play()
