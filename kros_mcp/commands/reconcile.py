"""`kros-mcp reconcile`: compares the journal with KrosAI, and changes nothing there.

`--known` acknowledges a difference, which fails no more then.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import anyio
import click

from kros_mcp.commands import person
from kros_mcp.commands.acknowledgements import acknowledge, with_acknowledgements
from kros_mcp.commands.console import say, working
from kros_mcp.commands.differences import AccountReading, Acknowledged, Difference, compare, differs
from kros_mcp.commands.findings import fail, ok, report, verdict, warn
from kros_mcp.commands.history import STATES, History, read_history
from kros_mcp.commands.selection import organization_option, settings_of, short
from kros_mcp.errors import InvalidArgumentError, KrosaiError
from kros_mcp.journals.backends import open_journal
from kros_mcp.journals.journal_errors import restored
from kros_mcp.krosai import Inventory, KrosClient, read_all_owned, read_each, read_endpoints, within
from kros_mcp.money import label_of, show_cents
from kros_mcp.operations import dangling, decisions, pruned_note, restoration
from kros_mcp.operations.account import Account, open_krosai
from kros_mcp.operations.adoption import account_in
from kros_mcp.operations.journal import Filter, Journal, every
from kros_mcp.operations.kept import Listing
from kros_mcp.operations.policy import RunRate
from kros_mcp.operations.price_reader import PriceReader
from kros_mcp.operations.pruning import Pruning, of_account
from kros_mcp.operations.run_rate import read_run_rate
from kros_mcp.operations.tally_keeper import counting
from kros_mcp.settings import Settings
from kros_mcp.telemetry_export import exporting_if_installed
from kros_mcp.times import utc

_HELP = """\
Compare the journal with KrosAI; changes nothing there.

Reads all numbers of KROS_API_KEY's account and tells: numbers that this journal has not bought; purchases that KrosAI
does not show; charges that are not what was shown; settings and prices that differ; numbers whose endpoint takes no
calls; outcomes still unknown, and those that were corrected within the last week; what all numbers cost a month.

It sends nothing but GET and settles nothing: a running server does, or a person with kros-mcp settle. After a kros-mcp
restore it enters what was bought since the copy was taken.

--known keeps what was found of an operation, or of the number that it names, from failing again: until it moves on.
"""
_EPILOG = """\
\b
examples:
  kros-mcp reconcile
  kros-mcp reconcile --json | jq '.findings[] | select(.mark == "fail")'
  kros-mcp reconcile --known op_abcdefghijklmnop \\
    --reason "KrosAI took the charge back on 9 May"

\b
exit codes:
  0 nothing needs a person   1 something does   2 usage or settings
  3 journal unusable   4 KrosAI unreachable
"""
READING_SECONDS = 120.0
_SHOWN = 8
_ALL = 1_000_000
"""Prices read by themselves: a person has asked, and waits."""


@dataclass
class _Report:
    """What was found, and of what."""

    account: str
    read_at: float
    living: int = 0
    ended: int = 0
    complete: bool = False
    stated: int | None = None
    """How many records KrosAI states, where it shows fewer."""
    rate: RunRate | None = None
    differences: list[Difference] = field(default_factory=list)


@click.command(help=_HELP, epilog=_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="one JSON document with every finding")
@click.option("--known", metavar="ID", help="write down that what is found of this operation or number is known")
@click.option("--reason", default="", help="why it may stay so; goes with --known, kept in the journal")
@organization_option
def reconcile(known: str | None, reason: str, organization: str | None, *, as_json: bool) -> int:
    """Compare, acknowledge what was named, and print every difference.

    Returns:
        0 if nothing needs a person, 1 if something does, 4 if KrosAI cannot be reached.

    Raises:
        KrosError: There is no key, the journal cannot be used, or nothing was found that can be written down as known.
    """
    click.get_current_context().with_resource(exporting_if_installed())
    settings = settings_of(organization)
    settings.require_api_key()
    reason = decisions.kept(reason)
    if (known is None) != (not reason):
        raise InvalidArgumentError(
            "--known and --reason go together: what was found, and why it may stay so.",
            next_step='Such as --known op_abcdefghijklmnop --reason "KrosAI took the charge back".',
        )
    with working("reading all numbers at KrosAI, and the journal"):
        found = anyio.run(_examine_and_acknowledge, settings, known, reason)
    findings = [difference.finding for difference in found.differences]
    if as_json:
        print(json.dumps(_document(found, settings, verdict(findings)), indent=2, ensure_ascii=False))
        return verdict(findings)
    say(f"Account {short(found.account)} ({settings.environment}) at {utc(found.read_at)}: KrosAI and the journal.")
    return report([difference.finding for difference in _gathered(found.differences)])


async def _examine_and_acknowledge(settings: Settings, known: str | None, reason: str) -> _Report:
    async with open_journal(settings.journal_url) as journal:
        found = await _examine(settings, journal)
        found.differences = await with_acknowledgements(journal, found.differences)
        if known is not None:
            await acknowledge(journal, found.differences, known.strip(), by=person.by(), reason=reason)
            found.differences = await with_acknowledgements(journal, found.differences)
    return found


async def _examine(settings: Settings, journal: Journal) -> _Report:
    async with open_krosai(settings) as client, counting(client, journal, settings):
        account = await account_in(settings, journal)
        found = _Report(account, read_at=await journal.now())
        owned: AccountReading | None = None
        # KrosAI first: what the journal does meanwhile is young then, and judged as such.
        try:
            with within(READING_SECONDS):
                read = await read_all_owned(client)
            listing = Listing(read, found.read_at)
            owned = AccountReading(
                read.numbers, read.complete, found.read_at, settings.protected_numbers, read.unreadable
            )
        except KrosaiError as exc:
            found.differences.append(_unread("The owned numbers", exc))
        history = await _read_history(journal, account, settings)
        if owned is None:
            nothing = AccountReading((), complete=False, now=await journal.now(), currency=settings.currency)
            found.differences += compare(history, nothing)
            return found
        owned = replace(owned, now=await journal.now(), currency=settings.currency)
        try:
            with within(READING_SECONDS):
                owned = await _looked_at_closely(client, history, owned)
        except KrosaiError as exc:
            found.differences.append(_unread("Some numbers", exc))
        if (entered := await _completed(settings, journal, client, account, owned)) is not None:
            found.differences.append(entered)
            history = await _read_history(journal, account, settings)
        found.living = sum(len(records) for records in owned.living.values())
        found.ended, found.complete, found.stated = len(owned.ended), owned.complete, read.stated
        differences = compare(history, owned)
        found.differences += [
            _extent(found),
            *_pruned(await journal.prunings(), account, settings),
            *_unreadable(owned),
            *_agreeing(history, owned, differences),
            *differences,
        ]
        resources = Account(settings, journal, client, Inventory(client), account)
        if read.complete:  # kros-mcp prune goes by it
            resources.kept.saw_list(read, found.read_at)
        try:
            with within(READING_SECONDS):
                found.rate = await read_run_rate(resources, listing, alone=_ALL)
            found.differences += _monthly(found.rate, settings)
        except KrosaiError as exc:
            found.differences.append(_unread("The monthly prices", exc))
        finally:
            await PriceReader(resources).write_down()
        found.differences += await _dangling(client, owned)
    return found


async def _read_history(journal: Journal, account: str, settings: Settings) -> History:
    operations = every(journal, Filter(states=STATES))
    return await read_history(operations, account=account, environment=settings.environment, currency=settings.currency)


async def _dangling(client: KrosClient, owned: AccountReading) -> list[Difference]:
    """Return the numbers whose endpoint takes no calls."""
    routed = dangling.routed(owned.numbers)
    if not routed:
        return []
    try:
        with within(READING_SECONDS):
            endpoints = await read_endpoints(client.list_endpoints)
    except KrosaiError as exc:
        what = f"The endpoints could not be read, nor so which numbers go to one that is gone: {exc.message}"
        return [Difference("endpoints_unread", warn(what, "Run kros-mcp doctor."))]
    wrong = dangling.troubles(endpoints, routed)
    to_do = "Route it elsewhere with configure_phone_number, or mend the endpoint in the KrosAI dashboard."
    return [
        Difference("dangling", warn(dangling.warning([number], endpoint_id, what), to_do), number.e164)
        for endpoint_id, what in wrong.items()
        for number in routed[endpoint_id]
    ]


async def _looked_at_closely(client: KrosClient, history: History, owned: AccountReading) -> AccountReading:
    """Read each number that seems to differ, or to be owned twice, by itself: a list may leave things out, or lag."""
    doubtful = [
        one.id
        for e164, records in owned.living.items()
        for one in records
        if len(records) > 1 or differs(history.of(e164), one)
    ]
    closer = await read_each(client, doubtful)
    numbers = (closer.get(number.id, number) for number in owned.numbers)
    return replace(owned, numbers=tuple(number for number in numbers if number is not None))


async def _completed(
    settings: Settings, journal: Journal, client: KrosClient, account: str, owned: AccountReading
) -> Difference | None:
    """Enter what was bought after the copy from which the journal was restored, so that its budgets count it."""
    copied_at = await journal.lacks_since(account)
    if copied_at is None:
        return None
    if not owned.complete:
        return Difference(
            "restored", fail(restored().message, "Run this again until KrosAI's list is read to its end.")
        )
    new = [
        number
        for number in owned.numbers
        if restoration.unknown_to(await journal.sent_since(account, number.e164, 0.0), number, copied_at)
    ]
    try:
        with within(READING_SECONDS):
            closer = await read_each(client, [number.id for number in new])
    except KrosaiError as exc:
        return Difference("restored", fail(f"{restored().message} {exc.message}", "Run this again.", exc.exit_code))
    now, most = await journal.now(), settings.max_purchase_cents
    bought = [
        restoration.entered(
            closer.get(number.id) or number,
            now,
            account=account,
            environment=settings.environment,
            unpriced_cents=most,
        )
        for number in new
    ]
    ended = [restoration.given_up(each) for each, number in zip(bought, new, strict=True) if number.has_ended]
    await journal.enter(account, [*bought, *ended], by=person.by())
    named = ", ".join(operation.e164 for operation in bought) or "none"
    what = f"The journal was restored from a copy; bought since, and entered now: {named}."
    return Difference("entered", warn(what, "This account can be spent from again; who asked for these is not known."))


def _extent(found: _Report) -> Difference:
    beside = f", and {found.ended} ended" if found.ended else ""
    if found.complete:
        numbers = f"{found.living} number{'' if found.living == 1 else 's'}"
        if found.stated is not None:
            what = f"KrosAI shows {numbers} in service{beside}, and states {found.stated} records in all."
            to_do = (
                "It may count what was released long ago. If not, look in the KrosAI dashboard which it does not show."
            )
            return Difference("read", warn(what, to_do))
        return Difference("read", ok(f"KrosAI shows {numbers} in service{beside}."))
    what = f"KrosAI's list was not read to its end; {found.living} numbers in service were seen{beside}."
    return Difference("incomplete", fail(what, "What it does not show is not called missing. Run this again."))


def _pruned(prunings: Sequence[Pruning], account: str, settings: Settings) -> list[Difference]:
    """Return how much of the account's past the journal has forgotten."""
    told = pruned_note.note(of_account(prunings, account), settings.currency)
    return [Difference("pruned", ok(told))] if told else []


def _unreadable(owned: AccountReading) -> list[Difference]:
    """Return a warning that names the records that could not be read."""
    if not owned.unreadable:
        return []
    named = ", ".join(owned.unreadable[:_SHOWN])
    more = f" and {len(owned.unreadable) - _SHOWN} more" if len(owned.unreadable) > _SHOWN else ""
    what = f"Of {len(owned.unreadable)} of the account's records the number cannot be read: {named}{more}."
    to_do = "No number is called missing meanwhile. Run this again later, or look in the KrosAI dashboard."
    return [Difference("unreadable", warn(what, to_do))]


def _agreeing(history: History, owned: AccountReading, differences: Sequence[Difference]) -> list[Difference]:
    """Return how many numbers are as the journal has them."""
    found = {difference.e164 for difference in differences if difference.kind != "corrected"}
    count = sum(history.of(e164).held is not None and e164 not in found for e164 in owned.living)
    if not count:
        return []
    were = "1 of them was" if count == 1 else f"{count} of them were"
    return [Difference("agree", ok(f"{were} bought by this journal, and as far as it knows nothing has changed."))]


def _unread(what: str, exc: KrosaiError) -> Difference:
    finding = fail(f"{what} could not be read: {exc.message} ({exc.code})", "Run kros-mcp doctor.", exc.exit_code)
    return Difference("unread", finding)


def _monthly(rate: RunRate, settings: Settings) -> list[Difference]:
    at_least = "at least " if rate.unpriced or not rate.complete else ""
    cap, label = settings.monthly_commitment_cents, rate.label(settings)
    what = f"All numbers in service cost {at_least}{show_cents(rate.monthly_cents, label or '')}, every month"
    found = []
    refused = " While a cap on the monthly cost is set, no purchase is let through." if cap is not None else ""
    if rate.unread:
        what_is_not = f"The prices of {len(rate.unread)} numbers could not be read just now."
        found.append(Difference("prices_unread", warn(what_is_not, "Run this again in a minute.")))
    if unpriced := rate.unpriced - len(rate.unread):
        them = f"{unpriced} number{'' if unpriced == 1 else 's'} without a price"
        found.append(Difference("unpriced", warn(f"KrosAI shows {them}.", f"Ask KrosAI for it.{refused}")))
    if label is None:
        named = " and ".join(sorted({label_of(each, settings.currency) for each in rate.currencies} - {""}))
        no_sum = f"What all numbers in service cost every month has no sum: their prices are in {named}."
        found.append(Difference("currencies_differ", warn(no_sum, f"Ask KrosAI which is meant.{refused}")))
    elif cap is not None and rate.capped_cents(settings) is None:
        foreign = f"{what}, which cannot be held against the {show_cents(cap, settings.currency)}"
        to_do = f"Set KROS_CURRENCY, and the caps, by what KrosAI states.{refused}"
        found.append(Difference("currencies_differ", warn(f"{foreign} of KROS_MONTHLY_COMMITMENT_CENTS.", to_do)))
    elif cap is None:
        found.append(Difference("run_rate", ok(f"{what}; no cap is set (KROS_MONTHLY_COMMITMENT_CENTS).")))
    elif rate.monthly_cents > cap:
        over = f"{what}, more than the {show_cents(cap, settings.currency)} of KROS_MONTHLY_COMMITMENT_CENTS."
        found.append(Difference("over_commitment", fail(over, "Release what is not needed, or raise the cap.")))
    else:
        of = f"of the {show_cents(cap, settings.currency)} of KROS_MONTHLY_COMMITMENT_CENTS"
        found.append(Difference("run_rate", ok(f"{what}, {of}.")))
    return found


def _gathered(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with the numbers bought outside in one line: there may be hundreds of them."""
    outside = [difference for difference in differences if difference.kind == "bought_outside"]
    if len(outside) < 2:  # noqa: PLR2004 - one is told as it is
        return list(differences)
    named = ", ".join(difference.e164 for difference in outside[:_SHOWN])
    more = f" and {len(outside) - _SHOWN} more (--json lists them)" if len(outside) > _SHOWN else ""
    finding = warn(
        f"{len(outside)} numbers are owned, and this journal has not bought them: {named}{more}.",
        "They were bought in the dashboard, before this server, or through another journal. Nothing to do if you "
        "know them.",
    )
    first = next(at for at, difference in enumerate(differences) if difference.kind == "bought_outside")
    kept = [difference for difference in differences if difference.kind != "bought_outside"]
    return [*kept[:first], Difference("bought_outside", finding), *kept[first:]]


def _document(found: _Report, settings: Settings, exit_code: int) -> dict[str, object]:
    rate = found.rate
    return {
        "account": found.account,
        "environment": settings.environment,
        "read_at": utc(found.read_at),
        "complete": found.complete,
        "numbers_in_service": found.living,
        "numbers_inactive": found.ended,
        "monthly_run_rate_cents": rate.capped_cents(settings) if rate else None,
        "run_rate_complete": rate.complete if rate else False,
        "unpriced_numbers": rate.unpriced if rate else None,
        "monthly_commitment_cents": settings.monthly_commitment_cents,
        "currency": settings.currency or None,
        "exit_code": exit_code,
        "findings": [
            {
                "kind": difference.kind,
                "mark": difference.finding.mark.lower(),
                "e164": difference.e164 or None,
                "operation_id": difference.operation_id or None,
                "what": difference.finding.what,
                "to_do": difference.finding.to_do or None,
                "known": _known(difference.acknowledged),
            }
            for difference in found.differences
        ],
    }


def _known(acknowledged: Acknowledged | None) -> dict[str, str] | None:
    if acknowledged is None:
        return None
    return {"reason": acknowledged.reason, "by": acknowledged.by, "at": utc(acknowledged.at)}
