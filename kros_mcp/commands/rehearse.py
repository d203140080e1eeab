"""`kros-mcp rehearse`: buys a number with a test key, tries everything on it, and releases it again."""

import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import click

from kros_mcp.commands import contact_report, person
from kros_mcp.commands.console import say, working
from kros_mcp.commands.contact_report import ContactReport
from kros_mcp.commands.findings import fail
from kros_mcp.commands.group import simulator_option
from kros_mcp.commands.masking import plain_word
from kros_mcp.commands.rehearsal import Rehearsal
from kros_mcp.commands.rehearsal_plan import KnownToJournal, Plan, survey
from kros_mcp.commands.rehearsal_record import Record, Unsettled, default_record_path, open_record
from kros_mcp.commands.rehearsal_sender import Left, Sender, Waits
from kros_mcp.commands.rehearsal_telling import report_of, show_earlier, show_left, show_plan
from kros_mcp.errors import InvalidArgumentError, RefusedError
from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import KrosClient, Purpose, asked_for, counted
from kros_mcp.numbering import parse_country
from kros_mcp.operations.account import open_krosai
from kros_mcp.operations.policy import check_writable
from kros_mcp.operations.tally_keeper import counting
from kros_mcp.settings import Settings, load_settings
from kros_mcp.times import utc

if TYPE_CHECKING:
    import httpx

_HELP = """\
Buy a number with a test key, try everything on it, and release it.

It answers what no document does: what a repeated order is answered, which spelling of a change is heeded, how long the
lists take to agree, what a release leaves. Each is told as assumed and as seen, in a report that names no number.

It takes a kros_test_ key or --simulator, and never a live one. What a test key is charged is documented nowhere: it
tells what it orders and the highest sum, and asks for a typed yes. It is no operation of the journal and counts in no
budget; kros-mcp reconcile names the number as bought elsewhere while it is owned. It does not run while the journal has
an operation under way or unknown.

Every order, change and release stands in a record before it is sent. What a run that was killed has left owned is found
there by the next one, which offers to release it first. No number is touched that the account owned before.
"""
_EPILOG = """\
\b
examples:
  kros-mcp rehearse --simulator --yes --at-most-cents 2000
  KROS_API_KEY=kros_test_... kros-mcp rehearse --at-most-cents 2000 \\
    --country NG --report rehearsal.md

\b
exit codes:
  0 done, and nothing is left owned
  1 something is left owned, or fails, or the answer was no
  2 usage or settings   3 journal or record unusable   4 KrosAI unreachable
"""
_A_DAY_SECONDS: Final = 86_400.0
_ENDING: Final = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)
Transports = Callable[[], "httpx.AsyncBaseTransport | None"]
"""Makes the way to KrosAI; None for the network."""


@dataclass(frozen=True)
class RehearsalOptions:
    """What the command line says."""

    country: str = "NG"
    type: str = ""
    at_most_cents: int = 0
    permanent: bool = False


@click.command(help=_HELP, epilog=_EPILOG)
@click.option(
    "--at-most-cents", type=click.IntRange(min=0), required=True, metavar="N", help="what all orders may cost"
)
@click.option("--country", default="NG", metavar="CC", help="where the number is to be (NG)")
@click.option("--type", "kind", default="", metavar="TYPE", help="such as local, mobile or toll_free; any if not given")
@click.option("--permanent", is_flag=True, help="delete what the release leaves of it")
@click.option("--record", "record_file", default="", metavar="FILE", help="another file for what is about to be sent")
@click.option("--report", "report_file", default="", metavar="FILE", help="write the report as Markdown, to a new file")
@click.option("--json", "as_json", is_flag=True, help="the report as one JSON document")
@click.option("--yes", is_flag=True, help="ask nothing; with --simulator only")
@simulator_option("replace KrosAI by a simulator in memory; needs no key")
def rehearse(
    at_most_cents: int,
    country: str,
    kind: str,
    record_file: str,
    report_file: str,
    *,
    permanent: bool,
    as_json: bool,
    yes: bool,
    simulator: bool,
) -> int:
    """Ask, rehearse, clear up, and report.

    Returns:
        0 if all was as it should be; 1 if something is left owned or unknown, if something fails, or after a no.

    Raises:
        KrosError: It may not or cannot be rehearsed; nothing was sent.
    """
    settings = load_settings(simulator=simulator)
    require_rehearsable(settings, permanent=permanent)
    if yes and not simulator:
        raise InvalidArgumentError(
            "--yes goes with --simulator alone: what a test key is charged is not known, so a person types the yes.",
            next_step="Leave --yes out, at a terminal.",
        )
    if report_file:
        contact_report.require_new(report_file)
    if kind and plain_word(kind) is None:
        raise InvalidArgumentError("--type is a word such as local or toll_free.", next_step="Correct --type.")
    options = RehearsalOptions(_country(country), kind.lower(), at_most_cents, permanent)
    with ExitStack() as stack:
        if as_json:
            stack.enter_context(redirect_stdout(sys.stderr))  # what a person is asked and told meanwhile
        if simulator and not record_file:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kros-mcp-rehearsal-"))
            record_file = str(Path(folder) / "record.jsonl")
        path = Path(record_file) if record_file else default_record_path()
        record = stack.enter_context(open_record(path))
        run = RehearsalRun(
            settings, record, _transports(settings), agrees=(lambda: True) if yes else _agrees, pace=Waits()
        )
        made = run.start(options)
    if made is None:
        return 1
    return contact_report.deliver(made, report_file, as_json=as_json)


def require_rehearsable(settings: Settings, *, permanent: bool) -> None:
    """Raise unless the key is a test key or the simulator's, and writing is allowed.

    Raises:
        RefusedError: `LIVE_KEY`, `READ_ONLY` or `PERMANENT_DELETE_OFF`.
    """
    if settings.environment == "live":
        raise RefusedError(
            "KROS_API_KEY is no test key (kros_test_...), and nothing is rehearsed with any other; nothing was sent.",
            code="LIVE_KEY",
            next_step="Set a kros_test_ key, or add --simulator. There is no way around this.",
        )
    check_writable(settings)
    if permanent and not settings.allow_permanent_delete:
        raise RefusedError(
            "Deleting a number's record for good is switched off (KROS_ALLOW_PERMANENT_DELETE); nothing was sent.",
            code="PERMANENT_DELETE_OFF",
            next_step="Leave --permanent out, or switch it on.",
        )


@dataclass
class RehearsalRun:
    """One run of the command, from what an earlier one left to the report.

    Args:
        settings: Those in force.
        record: Where everything is written before it is sent.
        transports: Makes the way to KrosAI.
        agrees: Asks the person for a yes.
        pace: How it waits.
        listens: Whether Ctrl-C, SIGTERM and a terminal that is closed end the steps and let it clear up.
    """

    settings: Settings
    record: Record
    transports: Transports
    agrees: Callable[[], bool]
    pace: Waits
    listens: bool = True

    def start(self, options: RehearsalOptions) -> ContactReport | None:
        """Clear up after earlier runs, ask, and rehearse; None after a no."""
        if found := anyio.run(self.find_earlier):
            show_earlier([left for _, left in found])
            if not self.agrees():
                say("Nothing was sent. The next run asks again, unless KROS_PROTECTED_NUMBERS names it by then.")
                return None
            left = anyio.run(self.clear, [number for number, _ in found])
            show_left(left)
            if left:
                return None
        plan = anyio.run(self.plan, options)
        show_plan(plan, self.settings)
        if not self.agrees():
            say("Nothing was ordered.")
            return None
        return anyio.run(self.rehearse, plan)

    async def find_earlier(self) -> list[tuple[Unsettled, Left]]:
        """Return what earlier runs on this account have left owned, by what the account shows now.

        What it does not show is looked for by further runs for a day, and then no more.
        """
        found: list[tuple[Unsettled, Left]] = []
        for number in self.record.unsettled_elsewhere(self.settings):
            ordered = f"{number.e164}, ordered at {utc(number.began_at)} for another account, or with another key"
            say(f"This record also names {ordered}: only a run with that one can look for it.")
        unsettled = self.record.unsettled(self.settings)
        if not unsettled:
            return found
        with working("looking for what an earlier run has ordered"):
            async with self._opened() as (client, books):
                for number in unsettled:
                    left = await self._left_by(self._sender(client, books, number), number)
                    found += [(number, left)] if left is not None else []
        return found

    async def _left_by(self, sender: Sender, number: Unsettled) -> Left | None:
        """Return what a run has left owned of a number; None if that is nothing, or unknown, or not to be touched."""
        view = await sender.settle_or_see()
        if view is None:
            return None
        ordered = f"{number.e164} was ordered by an earlier run at {utc(number.began_at)}"
        if why := await sender.why_untouchable():
            is_kept = why.code == "PROTECTED_NUMBER"
            if is_kept:
                sender.forget()
            says = "taken off the record" if is_kept else "on the record"
            say(f"{ordered}. {why.message} It stays as it is, and {says}.")
            return None
        if view.living:
            doubt = "KrosAI refused its order, so somebody else may have bought it" if number.may_be_anothers else ""
            return Left(number.e164, view.living, doubt)
        if view.conclusive and self.pace.now() - number.orders[-1].at >= _A_DAY_SECONDS:
            sender.forget()
            say(f"{ordered}, and KrosAI has not shown it as owned within a day: it is looked for no more.")
        else:
            say(f"{ordered}. What came of it is unknown, and KrosAI does not show it as owned. Later runs look again.")
        return None

    async def clear(self, numbers: list[Unsettled]) -> list[Left]:
        """Release what is owned of these numbers, until a Ctrl-C; return what is left still, or may be."""
        async with self._opened() as (client, books):
            return await self._cleared(*(self._sender(client, books, number) for number in numbers))

    async def plan(self, options: RehearsalOptions) -> Plan:
        """Choose the number."""
        unsettled = self.record.unsettled(self.settings) + self.record.unsettled_elsewhere(self.settings)
        with working("reading what is owned and what is for sale"):
            async with self._opened() as (client, books):
                client.tally.require_room()
                return await survey(
                    client,
                    self.settings,
                    books,
                    country=options.country,
                    kind=options.type,
                    at_most_cents=options.at_most_cents,
                    permanent=options.permanent,
                    except_for=[number.e164 for number in unsettled],
                )

    async def rehearse(self, plan: Plan) -> ContactReport:
        """Do what the person agreed to, and clear up whatever happens."""
        self.record.begin(self.settings, self.pace.now())
        async with self._opened() as (client, books):
            await books.require_quiet()
            sender = self._sender(client, books, agreed_cents=plan.agreed_cents)
            run = Rehearsal(client, plan, sender, self.record.run, self.pace, told=_tell)
            left: Left | None = None
            with counted() as sent:
                try:
                    await self._until_stopped(run)
                finally:
                    try:
                        if left := _not_looked_at(sender):
                            _tell("Looking at what is left owned.")
                            left = next(iter(await self._cleared(sender)), None)
                    finally:  # also where a further Ctrl-C tears it away
                        with suppress(OSError):
                            show_left([left] if left is not None else [])
        return report_of(run, left, self.settings, self.pace.now(), sent.requests)

    async def _until_stopped(self, run: Rehearsal) -> None:
        """Do the steps; a first Ctrl-C ends them between two requests."""
        with anyio.CancelScope() as steps:
            async with _stopping(steps) if self.listens else nullcontext():
                await run.go()
        if steps.cancel_called:
            run.why = "ended before by Ctrl-C or a signal"
            if run.sender.orders:
                ended = "The rehearsal was ended by Ctrl-C or a signal."
                run.notes.add(fail(ended, "Run it again for what is not seen."))

    async def _cleared(self, *senders: Sender) -> list[Left]:
        """Release what is owned of each number; a Ctrl-C ends it between two requests, and what is left is told."""
        found = [_not_looked_at(sender) for sender in senders]
        with anyio.CancelScope(shield=True) as scope:
            async with _stopping(scope) if self.listens else nullcontext():
                for at, sender in enumerate(senders):
                    found[at] = await sender.clear()
        return [left for left in found if left is not None]

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[tuple[KrosClient, KnownToJournal]]:
        async with (
            open_journal(self.settings.journal_url) as journal,
            open_krosai(self.settings, self.transports()) as client,
            counting(client, journal, self.settings),
        ):
            client.tally.learned({}, await journal.requests(self.settings.request_key(journal.secret)))
            with asked_for(Purpose.ACT):  # what it looks at may be all that tells what is owned
                yield client, KnownToJournal(journal, self.settings)

    def _sender(
        self, client: KrosClient, books: KnownToJournal, number: Unsettled | None = None, *, agreed_cents: int = 0
    ) -> Sender:
        since = number.began_at if number is not None else self.pace.now()
        return Sender(
            client,
            self.settings,
            self.record,
            books.unless_known(since - _A_DAY_SECONDS),  # the journal's clock may differ
            agreed_cents=agreed_cents,
            pace=self.pace,
            number=number,
        )


@asynccontextmanager
async def _stopping(scope: anyio.CancelScope) -> AsyncIterator[None]:
    """Cancel a scope on the first Ctrl-C or other signal to end that comes during the block."""

    async def listen() -> None:
        with suppress(NotImplementedError), anyio.open_signal_receiver(*_ENDING) as signals:
            async for _ in signals:
                scope.cancel()
                return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        yield
        tasks.cancel_scope.cancel()


def _not_looked_at(sender: Sender) -> Left | None:
    """Return what is to be said of the number before it is looked at; None if nothing of it is open."""
    return Left(sender.number.e164, (), "it was not looked at to the end") if sender.number is not None else None


def _tell(text: str) -> None:
    """Tell the person something; a terminal that is gone ends nothing."""
    with suppress(OSError):
        say(text)


def _country(text: str) -> str:
    try:
        return parse_country(text)
    except ValueError as exc:
        raise InvalidArgumentError(str(exc), next_step="Correct --country.") from None


def _transports(settings: Settings) -> Transports:
    if not settings.simulator:
        return lambda: None
    from kros_mcp.simulator import Simulator, transport  # noqa: PLC0415 - only with --simulator

    scopes = ("numbers:read", "numbers:write", "endpoints:read")
    return partial(transport, Simulator(extra_keys={settings.require_api_key(): scopes}))


def _agrees() -> bool:
    return person.typed("yes", otherwise="send nothing", instead="Run it at a terminal; --yes goes with --simulator.")
