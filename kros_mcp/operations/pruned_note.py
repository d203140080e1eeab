"""What is told where the books lack operations that were pruned."""

from collections.abc import Sequence

from kros_mcp.krosai import clean
from kros_mcp.money import show_cents
from kros_mcp.operations.model import LONGEST_NAME_SHOWN
from kros_mcp.operations.pruning import Pruning
from kros_mcp.times import day_of, utc


def note(prunings: Sequence[Pruning], currency: str = "", *, own: str | None = None) -> str:
    """Return a sentence that operations were deleted: before when, by whom, how many; empty if none were.

    What those of several accounts had taken is not added up: their money may not be of one kind.

    Args:
        prunings: As `pruning.of_account` returns them.
        currency: The label of their amounts.
        own: The account whose label that is; None is everybody's.
    """
    if not prunings:
        return ""
    count, charged = sum(each.operations for each in prunings), sum(each.charged_cents for each in prunings)
    last = max(prunings, key=lambda each: each.at)
    accounts = {each.account for each in prunings}
    taken = show_cents(charged, currency if own in {None, last.account} else "")
    what = f"which had taken {taken}" if len(accounts) == 1 else f"of {len(accounts)} accounts"
    were = "1 operation that had ended" if count == 1 else f"{count:,} operations that had ended"
    return (
        f"Pruned, and in no list or sum: {were} before {day_of(max(each.before for each in prunings))}, {what}; "
        f"last by {clean(last.by, LONGEST_NAME_SHOWN)} on {day_of(last.at)}."
    )


def records(prunings: Sequence[Pruning]) -> list[dict[str, object]]:
    """Return the same for programs: cents as integers, times in UTC."""
    return [
        {
            "account": each.account,
            "before": utc(each.before),
            "at": utc(each.at),
            "by": clean(each.by, LONGEST_NAME_SHOWN),
            "operations": each.operations,
            "charged_cents": each.charged_cents,
            "first_asked_at": None if each.first_at is None else utc(each.first_at),
            "last_asked_at": None if each.last_at is None else utc(each.last_at),
        }
        for each in prunings
    ]
