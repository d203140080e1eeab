"""What the watched KrosAI notes of what it does to a number."""

from .watched import WatchedKrosai


def test_a_record_that_is_removed_is_a_release_whatever_its_status_was() -> None:
    sim = WatchedKrosai("reference", 0)
    number = next(iter(sim.owned.values()))
    number.status = "deleted"
    sim.delete(number)
    [act] = sim.acts
    assert (act.kind, act.e164, act.had_effect) == ("release", number.e164, True)


def test_settings_of_an_order_are_noted_apart_from_those_of_a_number() -> None:
    sim = WatchedKrosai("reference", 0)
    ordered, owned = list(sim.owned.values())[:2]
    ordered.status = "pending"
    for number in (ordered, owned):
        sim.change(number, {"allow_inbound": not number.allow_inbound})
    assert [(act.kind, act.e164) for act in sim.acts] == [("order", ordered.e164), ("change", owned.e164)]
