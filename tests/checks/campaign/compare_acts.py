"""Compares releases and settings; pure. See `compare.py`."""

from collections import defaultdict
from collections.abc import Iterator

from kros_mcp.operations.model import Action, Operation, State

from .shelf import Difference, Shelf
from .watched import Act, operation_id_of

NAMES = ("endpoint_id", "allow_inbound", "allow_outbound")


def compare_acts(shelf: Shelf) -> Iterator[Difference]:
    yield from _releases(shelf)
    yield from _others(shelf)
    yield from _protected(shelf)
    yield from _settings_of_purchases(shelf)


def _releases(shelf: Shelf) -> Iterator[Difference]:
    released: defaultdict[str, list[Act]] = defaultdict(list)
    for act in shelf.books.acts:
        if act.kind == "release" and act.had_effect:
            released[act.key].append(act)
    for key, acts in released.items():
        yield from _release(shelf, key, acts)
    for operation in shelf.books.operations:
        done = operation.action is Action.RELEASE and operation.state is State.DONE
        if done and operation.id not in released:
            yield Difference("done without a release", operation.id, f"{operation.e164} is called released.")


def _release(shelf: Shelf, key: str, acts: list[Act]) -> Iterator[Difference]:
    operation, e164 = shelf.operations.get(key), acts[0].e164
    if operation is None or operation.action is not Action.RELEASE:
        yield Difference("release without an operation", key, f"{e164} was given up.")
        return
    if not shelf.confirmed.get(key):
        yield Difference("release without a confirmation", key, f"{e164}: nobody said yes to it.")
    if len(acts) > 1:
        yield Difference("released twice", key, f"{len(acts)} releases came of one operation.")
    if e164 != operation.e164 or e164 in shelf.books.limits.protected:
        yield Difference("wrong number released", key, f"{e164} was given up, {operation.e164} was shown.")
    if operation.state is not State.DONE or operation.changed != "yes":
        told = f"{e164} was given up; the journal says {operation.state}, changed {operation.changed}."
        yield Difference("release that the journal denies", key, told)


def _others(shelf: Shelf) -> Iterator[Difference]:
    """No operation changes another number than its own."""
    for act in shelf.books.acts:
        operation = shelf.operations.get(operation_id_of(act.key))
        if act.kind == "change" and act.had_effect and operation is not None and operation.e164 != act.e164:
            told = f"{act.e164} was changed, {operation.e164} was shown."
            yield Difference("wrong number changed", operation.id, told)


def _protected(shelf: Shelf) -> Iterator[Difference]:
    """Protected numbers change only by a confirmed change that the journal calls done."""
    for act in shelf.books.acts:
        if act.e164 not in shelf.books.limits.protected or act.kind != "change" or not act.had_effect:
            continue
        key = operation_id_of(act.key)
        operation = shelf.operations.get(key)
        if operation is None or operation.action is not Action.CONFIGURE or not shelf.confirmed.get(key):
            yield Difference("change without a confirmation", key, f"The protected {act.e164} was changed.")
        elif (operation.state is not State.DONE or operation.changed != "yes") and not shelf.was_overwritten(operation):
            told = f"{act.e164} was changed; the journal says {operation.state}, changed {operation.changed}."
            yield Difference("change that the journal denies", key, told)
    for operation in shelf.books.operations:
        if operation.action is Action.CONFIGURE and operation.state is State.DONE and operation.changed == "yes":
            then = _settings_at(shelf, operation.e164, operation.settled_at or 0)
            if lacking := _lacking(operation, then):
                told = f"{operation.e164} has {then}; {', '.join(lacking)} should have been set."
                yield Difference("done without the change", operation.id, told)


def _settings_of_purchases(shelf: Shelf) -> Iterator[Difference]:
    """What a purchase was to set is set, or told as not applied; unless somebody has chosen anew."""
    holdings = {each.e164: each for each in shelf.books.holdings if each.status == "active" and each.shown}
    for operation in shelf.books.operations:
        if not operation.action.charges or operation.state is not State.DONE or operation.settings_pending:
            continue
        holding = holdings.get(operation.e164)
        others = {operation_id_of(act.key) for act in shelf.books.acts if act.e164 == operation.e164} - {operation.id}
        if holding is None or others:
            continue
        # Whoever chose what the number has already has changed nothing at KrosAI, and yet has chosen anew.
        lacking = [name for name in _lacking(operation, holding.settings) if name not in operation.settings_superseded]
        if lacking:
            told = f"{operation.e164} has {holding.settings}; not applied is only {operation.not_applied}: {lacking}."
            yield Difference("settings other than confirmed", operation.id, told)


def _lacking(operation: Operation, settings: tuple[object, ...]) -> list[str]:
    wanted = (operation.request.endpoint_id or None, operation.request.allow_inbound, operation.request.allow_outbound)
    shown = (settings[0] or "unrouted", *settings[1:])
    return [
        name
        for name, want, has in zip(NAMES, wanted, shown, strict=True)
        if want is not None and want != has and name not in operation.not_applied
    ]


def _settings_at(shelf: Shelf, e164: str, at: float) -> tuple[object, ...]:
    changes = [act for act in shelf.books.acts if act.kind == "change" and act.e164 == e164]
    earlier = [act.after for act in changes if act.at <= at]
    if earlier:
        return earlier[-1]
    if changes:
        return changes[0].before
    return next((each.settings for each in shelf.books.holdings if each.e164 == e164), (None, None, None))
