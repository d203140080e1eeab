"""The list of a caller's own acts: one sentence of what they came to, then one line for each."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from kros_mcp.characters import joined
from kros_mcp.krosai import clean, plain_name, quoted
from kros_mcp.money import common_label, label_of, show_again, show_cents
from kros_mcp.numbering import in_country
from kros_mcp.operations.events import PERSON
from kros_mcp.operations.journal import Total
from kros_mcp.operations.model import Action, Channel, Operation, State
from kros_mcp.operations.status import status, status_of
from kros_mcp.times import span, spoken_date, spoken_duration, utc
from kros_mcp.tools import results

_DONE: Final = {Action.BUY: "bought", Action.RELEASE: "released", Action.CONFIGURE: "changed"}
_NOTHING: Final = frozenset({State.FAILED, State.DECLINED, State.CANCELLED, State.EXPIRED})
_WHERE: Final = {
    "prompt": "in a prompt",
    "screen": "on the screen",
    "page": "on the approvals page",
    "terminal": "at a terminal",
    "command": "by a command",
}
_LONGEST_NAME: Final = 24
_MOST_NUMBERS: Final = 3
"""Numbers of a batch that its line names; `get_operation` names all."""
_DAY_SECONDS: Final = 86_400.0
_MINUTE_SECONDS: Final = 60.0


def told(
    totals: Sequence[Total],
    page: Sequence[Operation],
    *,
    first: float | None,
    word: str,
    offset: int,
    currency: str,
    pruned_before: float | None = None,
) -> results.Operations:
    """Show a page of a caller's acts, and what all that match come to.

    Args:
        totals: Of all that match.
        page: Those shown, newest first.
        first: From when on they are; None for all.
        word: How the caller said that.
        offset: How many were left out first.
        currency: The operator's label, or empty.
        pruned_before: Before when acts have ended that were deleted since, and would be among these; None for none.
    """
    by_status: dict[str, int] = {}
    for each in totals:
        name = status_of(each.state, each.channel)
        by_status[name] = by_status.get(name, 0) + each.count
    total, following = sum(by_status.values()), offset + len(page)
    return results.Operations(
        summary=_summary(totals, _when(first, word), currency) + _lacks(pruned_before),
        operations=[_row(operation) for operation in page],
        total=total,
        next_offset=following if page and following < total else None,
        since=None if first is None else utc(first),
        charged_cents=sum(each.charged_cents for each in totals),
        unknown_cents=sum(each.unknown_cents for each in totals),
        by_status=by_status,
    )


def text(shown: results.Operations, page: Sequence[Operation], now: float, currency: str) -> str:
    """Write the list as text: what all rows have in common stands once above them."""
    lines = [shown.summary]
    if shown.since:
        lines.append(f"Since {shown.since}; days are those of UTC.")
    counts = ", ".join(f"{count} {name}" for name, count in shown.by_status.items())
    sums = f"charged_cents {shown.charged_cents}, unknown_cents {shown.unknown_cents}"
    lines.append(f"All {shown.total}{': ' * bool(counts)}{counts}; {sums}.")
    columns = [_where, _decision, _batch]
    shared = [column(page[0]) for column in columns if len(page) > 1 and len({column(each) for each in page}) == 1]
    if any(shared):
        told = "; ".join(each.strip(", ") for each in shared if each)
        lines.append(f"Each of these {len(page)}: {told}.")
    apart = [column for column in columns if not (len(page) > 1 and len({column(each) for each in page}) == 1)]
    lines += [_line(operation, apart, now, currency) for operation in page]
    if shown.next_offset is not None:
        lines.append(f"{shown.total - shown.next_offset} more: next_offset {shown.next_offset}")
    if page and not currency and not all(operation.quote.currency for operation in page):
        lines.append("Amounts are in the account currency.")
    return "\n".join(lines)


def _row(operation: Operation) -> results.ListedOperation:
    quote = operation.quote
    return results.ListedOperation(
        operation_id=operation.id,
        what=operation.action.one,
        e164=operation.e164,
        country=quote.country,
        status=status(operation),
        asked_at=utc(operation.created_at),
        due_now_cents=quote.due_now_cents,
        monthly_cents=quote.monthly_cents,
        decided_by=clean(operation.decided_by, 60) or None,
        decided_through=operation.decided_through or None,
        batch=operation.batch or None,
    )


def _line(operation: Operation, columns: Iterable[Callable[[Operation], str]], now: float, currency: str) -> str:
    numbers = operation.e164.split(",")
    number = ",".join(numbers[:_MOST_NUMBERS])
    if len(numbers) > _MOST_NUMBERS:
        number += f" and {len(numbers) - _MOST_NUMBERS} more"
    age = now - operation.created_at
    when = spoken_date(operation.created_at)
    if age < _DAY_SECONDS:
        when = "just now" if age < _MINUTE_SECONDS else f"{span(age)} ago"
    said = f"{operation.action.one} {number}: {status(operation)}, {when}{_price(operation, currency)}"
    return f"{said}{''.join(column(operation) for column in columns)}; {operation.id}"


def _price(operation: Operation, currency: str) -> str:
    """Return what it costs, labelled where it is in another currency than the operator's label says."""
    quote, label = operation.quote, label_of(operation.quote.currency, currency)
    named = "" if label == currency else label
    if not operation.action.charges:
        return "" if quote.monthly_cents is None else f", {show_again(quote.monthly_cents, named)} a month"
    return f", {show_again(quote.due_now_cents, named)} now, {show_again(quote.monthly_cents, named)} a month"


def _where(operation: Operation) -> str:
    return f" {in_country(operation.quote.country)}" if operation.quote.country else ""


def _decision(operation: Operation) -> str:
    if not operation.decided_by:
        return ""
    name = clean(operation.decided_by, _LONGEST_NAME)
    no = operation.state in {State.DECLINED, State.CANCELLED} and operation.confirmed_at is None
    who = name if plain_name(name) else quoted(name)
    if operation.decided_by == PERSON.who:
        who = "the person"
    said = "no" if no else "yes"
    if operation.decided_through == Channel.CODE:
        return f", {said} in the conversation"
    where = _WHERE.get(operation.decided_through, f"through {operation.decided_through}")
    return f", {said} by {who}{f' {where}' if operation.decided_through else ''}"


def _batch(operation: Operation) -> str:
    return f", batch {operation.batch}" if operation.batch else ""


def _when(first: float | None, word: str) -> str:
    if first is None:
        return "In all"
    if word == "today":
        return "Today"
    if word[-1:] in {"h", "d"}:
        seconds = int(word[:-1]) * (3_600 if word.endswith("h") else 86_400)
        return f"In the last {spoken_duration(seconds).removeprefix('an ').removeprefix('a ')}"
    return f"Since {spoken_date(first)} {utc(first)[:4]}"


def _lacks(pruned_before: float | None) -> str:
    if pruned_before is None:
        return ""
    day = f"{spoken_date(pruned_before)} {utc(pruned_before)[:4]}"
    return f" What ended before {day} may have been deleted from the books, and is not counted then."


def _summary(totals: Sequence[Total], when: str, currency: str) -> str:
    done = [
        f"{verb} {_numbers(count)}{_for(totals, currency) if action is Action.BUY else ''}"
        for action, verb in _DONE.items()
        if (count := sum(each.count for each in totals if each.state is State.DONE and each.action is action))
    ]
    others = []
    for states, one, many in (
        ({State.UNKNOWN}, "one outcome is unknown", "{} outcomes are unknown"),
        ({State.SENDING, State.CONFIRMED}, "one is under way", "{} are under way"),
        ({State.PROPOSED}, "one waits for a yes", "{} wait for a yes"),
        (_NOTHING, "one came to nothing", "{} came to nothing"),
    ):
        if count := sum(each.count for each in totals if each.state in states):
            others.append(one if count == 1 else many.format(count))
    did = f"you {joined(done)}" if done else "you bought, released and changed nothing"
    return f"{when} {did}{'; ' if others else ''}{joined(others)}."


def _for(totals: Sequence[Total], currency: str) -> str:
    label = common_label(frozenset[str]().union(*(each.currencies for each in totals)), currency)
    if label is None:
        return " at prices in several currencies, which cannot be added"
    return f" for {show_cents(sum(each.charged_cents for each in totals), label)}"


def _numbers(count: int) -> str:
    return "one number" if count == 1 else f"{count} numbers"
