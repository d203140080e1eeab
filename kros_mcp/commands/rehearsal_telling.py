"""What a rehearsal tells the person at the terminal, who has to know the number; and its report, which names none."""

from typing import Final

from kros_mcp.commands import person
from kros_mcp.commands.console import say
from kros_mcp.commands.contact_report import ContactReport
from kros_mcp.commands.findings import Finding, fail, ok, warn
from kros_mcp.commands.rehearsal import Rehearsal
from kros_mcp.commands.rehearsal_plan import Plan
from kros_mcp.commands.rehearsal_sender import Left
from kros_mcp.krosai import quoted, quoted_id
from kros_mcp.money import show_cents, show_price
from kros_mcp.numbering import spoken
from kros_mcp.settings import Settings

_WHAT_FOR: Final = (
    "to have it",
    "again under the same idempotency key",
    "again under another key",
    "once more after its release",
)


def show_earlier(found: list[Left]) -> None:
    """Say what earlier runs have left owned, before a person is asked about it."""
    say("An earlier run was ended before it could release what it had ordered:", "bold")
    for left in found:
        _show_owned(left)
    print()
    say("This releases them softly first, and nothing else. A release cannot be undone.")


def show_plan(plan: Plan, settings: Settings) -> None:
    """Say what is ordered and done, and the highest sum, before a person is asked about it."""
    item, currency = plan.item, settings.currency
    say("What this rehearsal does", "bold")
    person.show_detail("Account", f"{settings.environment}, at {settings.base_url}")
    price = show_price(item.due_now_cents, item.monthly_cents, currency)
    person.show_detail("Orders", f"{item.e164} ({spoken(item.e164)}): {price}.")
    times = "Once" if plan.orders == 1 else f"Up to {plan.orders} times"
    person.show_detail("", f"{times}: {', '.join(_WHAT_FOR[: plan.orders])}.")
    left_out = _WHAT_FOR[plan.orders :]
    if left_out:
        person.show_detail("", f"Left out, since --at-most-cents allows no more: {', '.join(left_out)}.")
    most = f"{show_cents(plan.agreed_cents, currency)} by that price, if KrosAI charges every one of them."
    person.show_detail("At most", most)
    names = " and ".join(
        quoted(endpoint.name) if endpoint.name else quoted_id(endpoint.id) for endpoint in plan.endpoints
    )
    person.show_detail(
        "Routes", f"its calls to {names}, each for some seconds." if names else f"nothing: {plan.no_endpoints}."
    )
    kept = "softly, then deletes what is left of it" if plan.permanent else "softly"
    person.show_detail("Releases", f"it {kept}, which cannot be undone.")
    print()
    if settings.environment == "test":
        say("What a test key is charged is documented nowhere. Take these sums for real money.", "yellow")


def show_left(found: list[Left]) -> None:
    """Say what is left, with its number, since the report names none."""
    for left in found:
        if left.owned:
            say("LEFT OWNED, and charged every month:", "red")
            _show_owned(left)
        else:
            say(f"UNKNOWN: {left.e164} may be owned; {left.why}.", "red")
        say(
            "Run kros-mcp rehearse again, which looks for it first and offers to release it; or release it in KrosAI's "
            "dashboard."
        )


def _show_owned(left: Left) -> None:
    for number in left.owned:
        because = f": {left.why}" if left.why else ""
        say(f"  {number.e164}, id {quoted_id(number.id)}, status {number.status or 'not stated'}{because}")


def report_of(run: Rehearsal, left: Left | None, settings: Settings, at: float, requests: int) -> ContactReport:
    """Return the report of a run, with what is left and what it may have cost first."""
    sender = run.sender
    return ContactReport(
        kind="rehearse",
        title="What KrosAI answered in a rehearsal",
        circumstances=(
            "With the simulator." if settings.simulator else "With a test key.",
            f"In {run.plan.country}{f', {run.plan.type}' if run.plan.type else ''}.",
            f"{requests} requests were sent.",
        ),
        facts=sender.facts,
        comparisons=run.notes.comparisons(run.why),
        conclusions=[*_outcome(run, left, settings), *run.notes.follows],
        at=at,
    )


def _outcome(run: Rehearsal, left: Left | None, settings: Settings) -> list[Finding]:
    """Return what is left and what it may have cost, which every report begins with."""
    sender, currency = run.sender, settings.currency
    if left is None:
        owned = "Nothing that this run has ordered is owned any more."
        if sender.orders and not run.has_bought and not sender.given_up:
            owned = (
                "Nothing that this run has ordered is owned, by what KrosAI answered and by a look at its list then."
            )
        found = [ok(owned)]
    elif left.owned:
        count = f"{len(left.owned)} record{'s' if len(left.owned) != 1 else ''}"
        found = [fail(f"LEFT OWNED: {count} of the number; {left.why}.", "Run kros-mcp rehearse again, or release it.")]
    else:
        found = [fail(f"UNKNOWN whether the number is owned: {left.why}.", "Run kros-mcp rehearse again later.")]
    if not sender.orders:
        return [*found, fail(f"Nothing was ordered: {run.why}.", "Run it again when that is out of the way.")]
    sum_ = show_cents(sender.ordered_cents, currency)
    orders = f"{sender.orders} order{'s were' if sender.orders != 1 else ' was'} sent, {sum_} by the stated prices"
    found.append(ok(f"{orders}, of {show_cents(run.plan.agreed_cents, currency)} agreed to."))
    if sender.given_up and not run.has_bought:
        found.append(
            warn(
                "KrosAI had carried out an order after all: the account showed the number later, and it was released.",
                "Look in KrosAI's dashboard what it was charged.",
            )
        )
    if settings.environment == "test":
        found.append(ok("What the test key was charged stands in KrosAI's dashboard alone: compare it with that."))
    return found
