"""Every fault comes, and none with another that no server could tell from the truth."""

import random
from pathlib import Path

from kros_mcp.simulator.faults import KINDS

from .events import Events
from .watched import WatchedKrosai
from .weather import SPELLS, Weather


def chance_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - must repeat, guards nothing


def test_every_fault_has_a_spell_whose_parameters_it_knows() -> None:
    assert set(SPELLS) == set(KINDS)
    chance = chance_of(0)
    for name, spell in SPELLS.items():
        for on in spell.on:
            WatchedKrosai("reference", 0).faults.switch_on(name, on=on, **spell.params(chance))


def test_what_could_not_be_found_out_together_is_never_on_together(tmp_path: Path) -> None:
    sim, chance, events = WatchedKrosai("guide", 0), chance_of(7), Events(tmp_path / "events.jsonl")
    weather, seen = Weather(sim, chance, events), set[str]()
    for _ in range(3000):
        weather._change()  # noqa: SLF001 - one step of what blows for ever
        switches = sim.faults.switches
        seen.update(switches)
        if "never_listed" in switches:
            assert "stays_for_sale" not in switches
            if switches["never_listed"].params["seconds"] is None:
                assert not {"commits_then_429", "commits_then_refuses", "error_in_success"} & set(switches)
    assert seen == set(KINDS)
    events.close()


def test_a_fault_can_be_left_out(tmp_path: Path) -> None:
    sim, events = WatchedKrosai("guide", 0), Events(tmp_path / "events.jsonl")
    weather = Weather(sim, chance_of(7), events, without=set(KINDS) - {"slow"})
    for _ in range(20):
        weather._change()  # noqa: SLF001 - one step of what blows for ever
    assert set(sim.faults.switches) == {"slow"}
    events.close()
