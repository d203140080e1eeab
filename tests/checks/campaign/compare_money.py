"""Compares what was charged with what people confirmed and what the journal says; pure. See `compare.py`."""

from collections import Counter
from collections.abc import Iterator

from kros_mcp.money import show_again
from kros_mcp.operations.model import Action, Operation, Quote, State
from kros_mcp.simulator import Charge

from .shelf import Difference, Shelf

BY_HAND = "Settled by "
WAYS = frozenset({"prompt", "screen", "code"})
"""What the journal calls the ways of a yes, and the campaign's book as well."""
MOST_ORDERS = 2
"""How many POSTs may leave under one key: after a 429 and a look, one more."""


def compare_money(shelf: Shelf) -> Iterator[Difference]:
    yield from _charges(shelf)
    yield from _owned_already(shelf)
    yield from _operations(shelf)
    yield from _batches(shelf)
    yield from _confirmations(shelf)
    yield from _ways(shelf)
    yield from _writes(shelf)
    yield from _caps(shelf)


def _charges(shelf: Shelf) -> Iterator[Difference]:
    for key, charges in shelf.charges.items():
        operation = shelf.operations.get(key)
        first = charges[0]
        if operation is None or not operation.action.charges:
            yield Difference("charge without an operation", key, f"{first.e164} was charged {first.cents} cents.")
            continue
        if len(charges) > 1:
            yield Difference("charged twice", key, f"{len(charges)} charges came of one operation.")
        if not shelf.confirmed[key]:
            yield Difference("charge without a confirmation", key, f"{first.e164}: nobody said yes to it.")
        if first.e164 != operation.e164:
            yield Difference("another number charged", key, f"{first.e164} was charged, {operation.e164} shown.")
        if operation.state is not State.DONE or operation.charged != "yes":
            told = f"{operation.e164} was charged; the journal says {operation.state}, charged {operation.charged}."
            yield Difference("charge that the journal denies", key, told)
        yield from _cents(shelf, operation, first)


def _owned_already(shelf: Shelf) -> Iterator[Difference]:
    """No number is ordered that the account owns, nor charged a second time before it was given up."""
    for order in shelf.books.owned_orders:
        yield Difference("bought though owned", order.key, f"{order.e164} was ordered, and the account owned it.")
    charged: dict[str, Charge] = {}
    for charge in sorted(shelf.books.charges, key=lambda each: each.at):
        before = charged.get(charge.e164)
        if before is not None and not shelf.was_given_up(charge.e164, before.at, charge.at):
            told = f"{charge.e164} was charged, and had been by {before.idempotency_key} without being given up since."
            yield Difference("bought though owned", charge.idempotency_key or "", told)
        charged[charge.e164] = charge


def _cents(shelf: Shelf, operation: Operation, charge: Charge) -> Iterator[Difference]:
    """Hold the cents that were charged against those shown.

    They may differ only if the price moved after the server had read it a last time: in the purchase itself, or
    by a search in between. What KrosAI reports of it afterwards must stand in the operation's note, and count.
    """
    shown = operation.quote.due_now_cents
    if charge.cents == shown:
        corrected = operation.corrected_at is not None
        if operation.note and not corrected and not operation.note.startswith(BY_HAND):
            yield Difference("difference told that is none", operation.id, operation.note)
        return
    if not _price_moved(shelf, operation, charge):
        told = f"{charge.cents} cents were charged, {shown} shown, and the price had not moved since."
        yield Difference("other cents than shown", operation.id, told)
    reported = operation.number.monthly_cents if operation.number is not None else None
    if reported is not None and show_again(reported) not in operation.note:
        told = f"KrosAI charged {charge.cents} cents for {shown} shown; the note says {operation.note!r}."
        yield Difference("price difference not told", operation.id, told)
    if reported is not None and operation.reserved_cents < charge.cents:
        told = f"{charge.cents} cents were charged, {operation.reserved_cents} count against the budget."
        yield Difference("budget counts too little", operation.id, told)


def _price_moved(shelf: Shelf, operation: Operation, charge: Charge) -> bool:
    for move in shelf.books.price_moves:
        if move.key == operation.id:
            return True
        fits = move.country == operation.quote.country and move.type in {"", operation.request.type or move.type}
        if not move.key and fits and (operation.claimed_at or 0) <= move.at <= charge.at:
            return True
    return False


def _operations(shelf: Shelf) -> Iterator[Difference]:
    for operation in shelf.books.operations:
        if operation.state in {State.CONFIRMED, State.SENDING, State.UNKNOWN}:
            told = f"{operation.action} {operation.e164} is still {operation.state} long after the faults have ended."
            yield Difference("not settled", operation.id, told)
        given_up = shelf.was_given_up(operation.e164, operation.created_at)
        if operation.settings_pending and not given_up and operation.e164 not in shelf.never_shown:
            yield Difference("settings never finished", operation.id, f"{operation.e164}: settings still pending.")
        buys = operation.action is Action.BUY
        if buys and operation.state is State.DONE and not shelf.charges.get(operation.id):
            yield Difference("done without a charge", operation.id, f"{operation.e164} is called bought.")
        if operation.corrected_at is not None and not shelf.was_denied(operation):
            told = f"{operation.e164}: nothing that KrosAI answered was otherwise than it seemed."
            yield Difference("corrected without a reason", operation.id, told)


def _batches(shelf: Shelf) -> Iterator[Difference]:
    """After its yes a batch has one operation for each number that was shown, at the price that was shown; else none.

    Nothing of it is sent once the outcome of one number is not known.
    """
    for batch in shelf.books.operations:
        if not batch.action.is_several:
            continue
        numbers = shelf.batches[batch.id]
        shown: dict[str, Quote] = {item.e164: item.quote for item in batch.items} if batch.state is State.DONE else {}
        if {each.e164: each.quote for each in numbers} != shown or len(numbers) != len(shown):
            found = ", ".join(each.e164 for each in numbers) or "none"
            told = f"It is {batch.state} and about {batch.e164}; there are operations on {found}."
            yield Difference("batch other than shown", batch.id, told)
        if len({each.principal for each in (batch, *numbers)}) > 1:
            yield Difference("batch of several principals", batch.id, batch.e164)
    for operation in shelf.books.operations:
        if operation.error_code == "NOT_BEGUN" and operation.sent_at is not None:
            yield Difference("called not begun, and sent", operation.id, operation.e164)


def _confirmations(shelf: Shelf) -> Iterator[Difference]:
    for yes in shelf.books.confirmations:
        operation = shelf.operations.get(yes.operation_id)
        if operation is None:
            yield Difference("confirmed and not in the journal", yes.operation_id, f"{yes.action} {yes.e164}.")
            continue
        stored = (operation.action, operation.e164, operation.quote.due_now_cents)
        if stored != (yes.action, yes.e164, yes.cents):
            told = f"Shown were {(yes.action, yes.e164, yes.cents)}, the journal holds {stored}."
            yield Difference("another thing shown than stored", yes.operation_id, told)


def _ways(shelf: Shelf) -> Iterator[Difference]:
    """Where the journal says that a yes came from is where somebody gave one."""
    for operation in shelf.books.operations:
        given = {yes.how for yes in shelf.confirmed.get(operation.id, ())}
        through = operation.decided_through
        if operation.confirmed_at is not None and through in WAYS and through not in given:
            told = f"The journal says {through}; people said yes by {sorted(given)}."
            yield Difference("confirmed another way than told", operation.id, told)


def _writes(shelf: Shelf) -> Iterator[Difference]:
    """Nothing leaves without a yes; after an answer other than 429 nothing leaves again, after 429 one order."""
    arrived, orders = Counter[str](), Counter[str]()
    for write in sorted(shelf.books.writes, key=lambda each: each.at):
        if not shelf.confirmed.get(write.key):
            yield Difference("sent without a confirmation", write.key, f"{write.method} arrived at KrosAI.")
        if arrived[write.key]:
            yield Difference("sent twice", write.key, f"A second {write.method} arrived at KrosAI.")
        arrived[write.key] += write.status != 429
        orders[write.key] += write.method == "POST"
        if orders[write.key] > MOST_ORDERS:
            yield Difference("ordered again and again", write.key, f"It is order {orders[write.key]} under that key.")


def _caps(shelf: Shelf) -> Iterator[Difference]:
    limits = shelf.books.limits
    spent = sum(charge.cents for charge in shelf.books.charges)
    if spent > limits.daily_budget_cents:
        yield Difference("daily budget exceeded", "", f"{spent} cents of {limits.daily_budget_cents} were charged.")
    for key in shelf.charges:
        operation = shelf.operations.get(key)
        if operation is None:
            continue
        if (operation.quote.due_now_cents or 0) > limits.max_purchase_cents:
            yield Difference("purchase maximum exceeded", key, f"It was shown at {operation.quote.due_now_cents}.")
        if operation.quote.country not in limits.countries:
            yield Difference("country not allowed", key, f"{operation.e164} is of {operation.quote.country}.")
