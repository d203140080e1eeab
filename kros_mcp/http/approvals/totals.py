"""What several purchases would come to together, in words; pure."""

from kros_mcp.errors import RefusedError
from kros_mcp.krosai import clean
from kros_mcp.money import show_again
from kros_mcp.operations.outlook import Joint
from kros_mcp.settings import Settings

_COUNTED = {
    2: "both", 3: "all three", 4: "all four", 5: "all five", 6: "all six", 7: "all seven", 8: "all eight",
    9: "all nine", 10: "all ten",
}  # fmt: skip  # a table


def words(joint: Joint, settings: Settings, *, left_out: int) -> str:
    """Say what is left once all of them are approved, or that this is more than is left.

    Args:
        joint: What they come to.
        settings: Everybody's caps, and the currency's label.
        left_out: How many other purchases wait that this approver cannot let through, or the guard would refuse.
    """
    every = _COUNTED.get(joint.yeses, f"all {joint.yeses}")
    which = f"{every} purchases{' that can go through' if left_out else ''}"
    if joint.numbers != joint.yeses:
        which += f", {joint.numbers} numbers in all,"
    if joint.refusal is not None and joint.refusal.code == "COMMITMENT_UNKNOWN":
        return f"Whether {which} would go through together is not known now: what all numbers cost a month is not."
    if joint.refusal is not None:
        return f"Approving {which} is more than is left: {_lacking(joint, joint.refusal, settings)}"
    left = _show(joint.left_cents - joint.wanted_cents, settings)
    day = f"{left} left of {_show(settings.daily_budget_cents, settings)} for these 24 hours"
    return f"If you approve {which.removesuffix(',')}: {day}, {_month(joint, settings)}."


def _month(joint: Joint, settings: Settings) -> str:
    if joint.month is None:
        return "and what all numbers then cost a month is not known now"
    least = "" if joint.month.certain else "at least "
    return f"{least}{_show(joint.month.before_cents, settings)} a month for all numbers"


def _lacking(joint: Joint, refusal: RefusedError, settings: Settings) -> str:
    """Say what there is too little of, in a sentence or two."""
    match refusal.code:
        case "OVER_DAILY_BUDGET":
            wanted, left = _show(joint.wanted_cents, settings), _show(joint.left_cents, settings)
            lacking = f"they take {wanted}, and {left} is left for these 24 hours."
        case "OVER_OWN_DAILY_BUDGET":
            lacking = "one who asks has too little left of a budget of its own."
        case "OVER_MONTHLY_COMMITMENT" | "OVER_OWN_MONTHLY_COMMITMENT":
            lacking = "all numbers together would cost more a month than is allowed."
        case "OVER_TOTAL_DAILY_BUDGET":
            lacking = "all organizations share a budget for 24 hours that has too little left."
        case _:
            return clean(refusal.message, 500)
    return f"{lacking} Those approved last would be refused, and nothing charged for them."


def _show(cents: int, settings: Settings) -> str:
    return show_again(cents, settings.currency)
