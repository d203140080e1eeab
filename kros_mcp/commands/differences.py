"""Where the journal and KrosAI differ, and what is to be done about it; pure.

Only what the journal really knows is compared, and from a list that was not read to its end nothing is
concluded about what it does not show. What was told may be corrected while the server watches it: such a
difference warns, and fails only if it stays.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kros_mcp.commands.batch_table import told
from kros_mcp.commands.findings import Finding, fail, ok, warn
from kros_mcp.commands.history import (
    History,
    NumberHistory,
    effective_at,
    is_named_but_not_listed,
    is_watched,
    was_corrected_recently,
)
from kros_mcp.krosai import NOT_STATED, OwnedReading, PhoneNumber, clean
from kros_mcp.money import label_of, show_again
from kros_mcp.operations import moves
from kros_mcp.operations.acts import charge, evidence
from kros_mcp.operations.model import Action, Operation, State
from kros_mcp.operations.policy import LISTING_LAG_SECONDS
from kros_mcp.times import day_of, utc

EXECUTED_WITHIN_SECONDS = 10.0
"""A running server executes what was approved within two seconds; after this, none seems to run."""
_BY_HAND = "look in the KrosAI dashboard and run kros-mcp settle {id} done|failed --reason ..."
_NO_SERVER = "No server of this account seems to run. Start one: it looks again, and corrects what was told."
_NAMES = {"endpoint_id": "the endpoint", "allow_inbound": "inbound", "allow_outbound": "outbound"}


@dataclass(frozen=True)
class Acknowledged:
    """Who acknowledged a difference, why it may stay, and when."""

    reason: str
    by: str
    at: float


@dataclass(frozen=True)
class Difference:
    """One difference: its kind is a stable word, the rest is for people.

    `subject` tells it from others of its kind on the same operation, such as what a setting is now.
    """

    kind: str
    finding: Finding
    e164: str = ""
    operation_id: str = ""
    subject: str = ""
    acknowledged: Acknowledged | None = None


@dataclass(frozen=True)
class AccountReading:
    """What KrosAI shows of the account.

    Args:
        numbers: Every number that was read, ended ones too.
        complete: Whether the list was read to its end.
        now: When, on the journal's clock.
        protected: KROS_PROTECTED_NUMBERS.
        unreadable: Names the records that could not be read; any of them may be a number that is missed.
        currency: The operator's label of amounts, or empty.
    """

    numbers: tuple[PhoneNumber, ...]
    complete: bool
    now: float
    protected: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    currency: str = ""

    @property
    def living(self) -> dict[str, tuple[PhoneNumber, ...]]:
        """The records that have not ended, by E.164; more than one is a number bought more than once."""
        grouped: dict[str, tuple[PhoneNumber, ...]] = {}
        for number in self.numbers:
            if not number.has_ended:
                grouped[number.e164] = (*grouped.get(number.e164, ()), number)
        return grouped

    @property
    def ended(self) -> tuple[PhoneNumber, ...]:
        """The records of numbers that the account has no more, or never got."""
        return tuple(number for number in self.numbers if number.has_ended)


def compare(history: History, account: AccountReading) -> list[Difference]:
    """Return every difference, number by number; then what is still open, and what was corrected."""
    found: list[Difference] = []
    for e164, records in account.living.items():
        found += _living_number(history.of(e164), records, account)
    found += _missing_numbers(history, account)
    named = {difference.operation_id for difference in found}
    found += [_still_open(operation, account.now) for operation in history.open if operation.id not in named]
    found += [_charged_otherwise(one, account.currency) for one in history.otherwise(account.now)]
    found += [_corrected(one) for one in history.corrected if was_corrected_recently(one, account.now)]
    return found


def differs(known: NumberHistory, number: PhoneNumber) -> bool:
    """Whether a number is not as the journal set it, so that it deserves a closer reading."""
    return known.held is not None and any(getattr(number, name) != value for name, (value, _) in known.settings.items())


def _living_number(known: NumberHistory, records: tuple[PhoneNumber, ...], account: AccountReading) -> list[Difference]:
    """Return the differences of one E.164: owned twice, not active, or not as the journal knows it."""
    found = [_owned_twice(known, records)] if len(records) > 1 else []
    found += [_status(number) for number in records if number.status not in {"active", None}]
    # The other record was bought some other way, so that it need not be as the journal set its own.
    bought = known.held.number if known.held is not None else None
    own = [number for number in records if bought is not None and number.id == bought.id] or records
    found += [difference for number in own for difference in _owned(known, number, account)]
    return list(dict.fromkeys(found))


def _owned_twice(known: NumberHistory, records: tuple[PhoneNumber, ...]) -> Difference:
    e164, ids = records[0].e164, " and ".join(number.id for number in records)
    times = {2: "twice"}.get(len(records), f"{len(records)} times")
    named = [f"{one.id} ({one.state})" for one in (known.held, known.doubtful) if one is not None]
    purchases = f" Its purchases in this journal: {', '.join(named)}." if named else ""
    what = f"{e164} is owned {times}: KrosAI shows {ids} in service. It may be charged {times}, every month."
    to_do = f"Look in the KrosAI dashboard which record is needed, and ask KrosAI to take back the rest.{purchases}"
    ours = known.held or known.doubtful
    subject = "+".join(sorted(number.id for number in records))
    return Difference("owned_twice", fail(what, to_do), e164, ours.id if ours is not None else "", subject)


def _status(number: PhoneNumber) -> Difference:
    what = f"{number.e164} ({number.id}) is not active: KrosAI calls it {clean(number.status or '')}."
    to_do = "It may cost money and carry no calls: look in the KrosAI dashboard."
    return Difference("not_active", warn(what, to_do), number.e164)


def _owned(known: NumberHistory, number: PhoneNumber, account: AccountReading) -> list[Difference]:
    if known.held is not None:
        return _settings(known, known.held, number, account) + _price(known.held, number, account.currency)
    doubtful = known.doubtful
    if doubtful is not None and evidence.was_owned_before(doubtful, number.id):
        doubtful = None  # this record was there before it was sent
    found = max(filter(None, (doubtful, known.released, known.elsewhere)), key=effective_at, default=None)
    if found is not None and found is doubtful and not _bought_later(found, number):
        return [_not_known_as_bought(found, account.now)]
    if found is not None and found is known.released and not _bought_later(found, number):
        return [_living_though_released(found, account.now)]
    return [_bought_elsewhere(found, number)]


def _bought_later(operation: Operation, number: PhoneNumber) -> bool:
    """Whether KrosAI dates the number well after an operation, so that something else has bought it."""
    try:
        created = datetime.fromisoformat(number.created_at or "")
    except ValueError:
        return False
    if created.tzinfo is None:  # KrosAI's times are in UTC, whether it says so or not
        created = created.replace(tzinfo=UTC)
    later = created.timestamp() > effective_at(operation) + LISTING_LAG_SECONDS
    return later and operation.state in {State.DONE, State.FAILED}


def _bought_elsewhere(other: Operation | None, number: PhoneNumber) -> Difference:
    if other is not None and other.state is State.DONE and other.action is Action.BUY:
        what = f"{number.e164} was bought under another key of this journal ({other.id})."
        return Difference("bought_under_another_key", ok(what), number.e164, other.id)
    what = f"{number.e164} is owned, and this journal has not bought it."
    to_do = (
        "It was bought in the dashboard, before this server, or through another journal. Nothing to do if you know it."
    )
    return Difference("bought_outside", warn(what, to_do), number.e164)


def _not_known_as_bought(operation: Operation, now: float) -> Difference:
    e164, by = operation.e164, operation.id
    if operation.state is State.SENDING and not moves.is_abandoned(operation, now):
        what = f"{e164} is owned, and its purchase {by} is just being carried out."
        return Difference("under_way", warn(what, "Run this again in a minute."), e164, by)
    if operation.state is State.FAILED:
        because = (operation.error_code or clean(operation.note) or "no code").rstrip(".")
        what = f"{e164} is owned, but its purchase {by} counts as failed ({because})."
        if is_watched(operation, now):
            again = "A running server looks at it again until a day after its sending, and corrects it."
            return Difference("owned_though_failed", warn(what, again), e164, by)
        to_do = (
            "Unless somebody has bought it another way since, it was charged and stands in no budget: look in the "
            f"KrosAI dashboard. KrosAI knows the order by its Idempotency-Key, {by}."
        )
        not_looked = operation.look_at is not None
        return Difference("owned_though_failed", fail(what, _NO_SERVER if not_looked else to_do), e164, by)
    what = f"{e164} is owned, and the outcome of its purchase {by} is unknown: it may have bought it."
    to_do = f"A running server of this account settles it by itself. By hand: {_BY_HAND.format(id=by)}"
    return Difference("owned_though_unknown", fail(what, to_do), e164, by)


def _living_though_released(operation: Operation, now: float) -> Difference:
    e164, by = operation.e164, operation.id
    what = f"{e164} was released by {by} on {day_of(effective_at(operation))}, and KrosAI still shows it as living."
    if _is_young(operation, now):
        finding = warn(what, "KrosAI's list may lag behind by an hour. Run this again later.")
    else:
        finding = fail(what, "It may still cost money: look in the KrosAI dashboard, or release it again.")
    return Difference("living_though_released", finding, e164, by)


def _missing_numbers(history: History, account: AccountReading) -> list[Difference]:
    """Return the numbers that were bought, not released, and are not there."""
    if not account.complete or account.unreadable:
        return []
    living = account.living
    records: dict[str, tuple[PhoneNumber, ...]] = {}
    for number in account.ended:
        records[number.e164] = (*records.get(number.e164, ()), number)
    return [
        _missing(known, known.held, account.now, records.get(e164, ()))
        for e164, known in history.numbers.items()
        if known.held is not None and e164 not in living
    ]


def _missing(known: NumberHistory, bought: Operation, now: float, records: tuple[PhoneNumber, ...]) -> Difference:
    """Return the difference of a purchase that is done, and of which KrosAI shows no record or only ended ones."""
    e164 = bought.e164
    ended_as = clean(records[-1].status or "") if records else ""
    shown = f"KrosAI shows it as {ended_as}" if ended_as else "KrosAI does not show it"
    what = f"{e164} was bought by {bought.id} on {day_of(effective_at(bought))} and not released since, and {shown}."
    other = known.elsewhere
    if known.giving_up is not None:
        by = known.giving_up.id
        finding = fail(what, f"Its release {by} is {known.giving_up.state}. Later, {_BY_HAND.format(id=by)}")
        return Difference("missing", finding, e164, by)
    refused = known.not_released
    if refused is not None and effective_at(refused) >= effective_at(bought):
        return _released_though_failed(what, refused, now)
    if other is not None and effective_at(other) >= effective_at(bought):
        finding = warn(what, f"Under another key of this journal {other.id} did this: {other.action}.")
    elif is_named_but_not_listed(bought) and not _has_ended_since(bought, records):
        return _not_listed(bought, now)
    elif not ended_as and _is_young(bought, now):
        finding = warn(what, "KrosAI's list may lag behind by an hour. Run this again later.")
    else:
        finding = fail(what, "Somebody gave it up outside this journal, or KrosAI withdrew it: look in the dashboard.")
    return Difference("missing", finding, e164, bought.id)


def _has_ended_since(bought: Operation, records: tuple[PhoneNumber, ...]) -> bool:
    """Whether one of the ended records came into being after the purchase was sent."""
    if bought.snapshot is None:
        return bool(records)
    return evidence.given_up_since(bought, OwnedReading(records, complete=True)) is not None


def _not_listed(bought: Operation, now: float) -> Difference:
    e164, by = bought.e164, bought.id
    what = f"{e164} counts as bought by {by} since {day_of(effective_at(bought))}, and KrosAI has never listed it."
    if is_watched(bought, now):
        finding = warn(what, "A running server looks for it until a day after its sending; its cost counts meanwhile.")
    elif bought.look_at is not None:
        finding = fail(what, _NO_SERVER)
    else:
        to_do = (
            "It counts in the budgets: look in the KrosAI dashboard, and ask KrosAI for the number or the money. "
            f"KrosAI knows the order by its Idempotency-Key, {by}."
        )
        finding = fail(what, to_do)
    return Difference("named_but_not_listed", finding, e164, by)


def _released_though_failed(what: str, release: Operation, now: float) -> Difference:
    what = f"{what} Its release {release.id} counts as failed."
    if is_watched(release, now):
        finding = warn(what, "A running server looks at it again until a day after its sending, and corrects it.")
    elif release.look_at is not None:
        finding = fail(what, _NO_SERVER)
    else:
        finding = fail(
            what, "That release may have given it up after all, or somebody else did: look in the dashboard."
        )
    return Difference("missing", finding, release.e164, release.id)


def _corrected(operation: Operation) -> Difference:
    """Return the difference of an operation that was corrected: what was said, and what is so."""
    at = operation.corrected_at or 0.0
    settled_by_it = operation.state is State.DONE and operation.settled_at == at
    said = State.FAILED if settled_by_it else State.DONE
    what = (
        f"{operation.id} ({operation.action} {operation.e164}) was told as {said}, and corrected at {utc(at)}: it is "
        f"{operation.state} now; charged: {operation.charged}, changed: {operation.changed}."
    )
    finding = warn(what, f"Whoever heard the first should hear this. kros-mcp operations {operation.id} tells why.")
    return Difference("corrected", finding, operation.e164, operation.id)


def _settings(
    known: NumberHistory, bought: Operation, number: PhoneNumber, account: AccountReading
) -> list[Difference]:
    e164 = number.e164
    if bought.settings_pending:
        what = f"{e164}: the settings of its purchase {bought.id} are not finished yet."
        return [
            Difference("settings_pending", warn(what, "A running server of this account does it."), e164, bought.id)
        ]
    found = []
    for name, (value, by) in known.settings.items():
        now = getattr(number, name)
        if now == value:
            continue
        says = now != NOT_STATED if name == "endpoint_id" else now is not None
        shown = f"it is {_shown(now)} now" if says else "KrosAI does not say"
        if name in by.not_applied:
            what = f"{e164}: {_NAMES[name]} was to be {_shown(value)} by {by.id}, which KrosAI did not apply; {shown}."
            finding = warn(what, "Set it with configure_phone_number, or in the dashboard.")
            found.append(Difference("not_applied", finding, e164, by.id, f"{name}={_shown(now)}"))
        elif says:
            what = f"{e164}: {_NAMES[name]} differs from what {by.id} ({by.action}) set, {_shown(value)}; {shown}."
            drift = _drift(what, protected=e164 in account.protected)
            found.append(Difference("settings_differ", drift, e164, by.id, f"{name}={_shown(now)}"))
    return found


def _drift(what: str, *, protected: bool) -> Finding:
    if protected:
        return fail(
            what,
            "The number is protected, so that a change through this server would stand in the journal: somebody "
            "changed it in the dashboard, by another key, or before it was protected.",
        )
    return warn(
        what,
        "It may have been changed since through this server, which writes down such changes of protected numbers "
        "only; in the dashboard; or by another key.",
    )


def _price(bought: Operation, number: PhoneNumber, label: str) -> list[Difference]:
    before = charge.monthly_cents(bought)
    was, now = charge.currency_of(bought, label), label_of(number.currency or "", label)
    moved = bool(number.currency) and bool(was) and now != was
    if (number.monthly_cents is None or before is None or number.monthly_cents == before) and not moved:
        return []
    if number.monthly_cents is None or before is None:
        what = f"{number.e164} has its price in {now} now; in {was} when {bought.id} bought it."
    else:
        cents, cents_before = show_again(number.monthly_cents, now), show_again(before, was)
        what = f"{number.e164} costs {cents} a month now; {cents_before} when {bought.id} bought it."
    finding = warn(what, "KrosAI has changed its price.")
    subject = " ".join(filter(None, (str(number.monthly_cents), now if moved else "")))
    return [Difference("price_differs", finding, number.e164, bought.id, subject)]


def _charged_otherwise(bought: Operation, label: str) -> Difference:
    """Return the difference of a purchase that KrosAI charged otherwise than was shown, as it reported then."""
    reported = ", and ".join(charge.differences(bought.quote, bought.number, label))
    what = f"{bought.e164}: for its purchase {bought.id} KrosAI reported {reported}."
    finding = (
        fail(what, "Nobody agreed to that. Look in the KrosAI dashboard what was charged, and ask KrosAI about it.")
        if charge.is_more(bought) or charge.other_currency(bought, label)
        else warn(what, "It is less than was shown, and the books count it as reported.")
    )
    subject = f"{bought.charged_cents} {charge.currency_of(bought, label)}".strip()
    return Difference("charged_otherwise", finding, bought.e164, bought.id, subject)


def _still_open(operation: Operation, now: float) -> Difference:
    by, what = operation.id, told(operation)
    if operation.state is State.UNKNOWN:
        finding = fail(
            f"The outcome of {by} ({what}) is unknown{'; its amount stays reserved' * operation.action.charges}.",
            f"A running server of this account keeps asking KrosAI. By hand: {_BY_HAND.format(id=by)}",
        )
        return Difference("unknown", finding, operation.e164, by)
    if operation.state is State.CONFIRMED:
        found = f"{by} ({what}) is approved and not executed yet."
        since = operation.confirmed_at or operation.created_at
        waits = now - since < EXECUTED_WITHIN_SECONDS
        finding = (
            warn(found, "A running server does it within two seconds.")
            if waits
            else fail(
                found,
                "No server of this account seems to run, or it only reads. Start one, or run kros-mcp deny " + by + ".",
            )
        )
        return Difference("approved_not_executed", finding, operation.e164, by)
    if moves.is_abandoned(operation, now):
        finding = fail(
            f"{by} ({what}) was being sent when its server stopped.",
            "Start a server of this account: it finds out at KrosAI how that ended, and sends nothing twice.",
        )
        return Difference("abandoned", finding, operation.e164, by)
    return Difference("under_way", ok(f"{by} ({what}) is just being carried out."), operation.e164, by)


def _is_young(operation: Operation, now: float) -> bool:
    return 0 <= now - effective_at(operation) < LISTING_LAG_SECONDS


def _shown(value: Any) -> str:  # noqa: ANN401 - an id, a flag or nothing
    if isinstance(value, bool):
        return "on" if value else "off"
    return "empty" if value is None else str(value)
