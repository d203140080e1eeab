"""`kros-mcp settle`: a person who has looked at KrosAI ends an operation whose outcome is unknown.

What KrosAI then shows to be otherwise is written down by a running server as a correction.
"""

from functools import partial

import anyio
import click

from kros_mcp.commands import person
from kros_mcp.commands.console import say
from kros_mcp.commands.selection import account_of, organization_of, organization_option, require, settings_of
from kros_mcp.errors import InvalidArgumentError
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations import decisions, moves
from kros_mcp.operations.journal import Move
from kros_mcp.operations.model import Action, Operation, State
from kros_mcp.settings import Settings
from kros_mcp.telemetry_export import exporting_if_installed
from kros_mcp.times import utc

_HELP = """\
Say how an operation with an unknown outcome ended.

Only for what a running server could not find out: look in the KrosAI dashboard first. While the server may still find
it out, within 5 times KROS_SETTLE_SECONDS of its sending, nothing is written down.

It shows the operation, and asks for the outcome's word. If KrosAI then shows otherwise, a running server writes that
down as a correction, and the budgets follow.
"""
_EPILOG = """\
\b
examples:
  kros-mcp operations --state unknown
  kros-mcp settle op_abcdefghijklmnop done \\
    --reason "invoice of 3 May shows it"
  kros-mcp settle op_abcdefghijklmnop failed --yes \\
    --reason "KrosAI confirmed that there is no order"

\b
exit codes:
  0 settled   1 left open, too early, or its outcome is not unknown
  2 usage or settings   3 journal unusable
"""


@click.command(help=_HELP, epilog=_EPILOG)
@click.argument("operation_id", metavar="ID")
@click.argument("outcome", type=click.Choice(("done", "failed")))
@click.option("--reason", required=True, help="how you know; kept in the journal")
@click.option("--yes", is_flag=True, help="ask nothing at the terminal")
@organization_option
def settle(operation_id: str, outcome: str, reason: str, organization: str | None, *, yes: bool) -> int:
    """Show the operation, ask, and write its outcome down with who says so and how they know.

    Returns:
        0 if it was settled, 1 if the person left it open.

    Raises:
        KrosError: The journal cannot be used, or the operation is not there, its outcome is not unknown, or the server
            may still find it out.
    """
    click.get_current_context().with_resource(exporting_if_installed())
    settings = settings_of(organization)
    reason = decisions.kept(reason)
    if not reason:
        raise InvalidArgumentError("--reason is empty; say how you know.", next_step="")
    move = partial(
        moves.settle_by_hand,
        state=State.DONE if outcome == "done" else State.FAILED,
        by=person.name(),
        reason=reason,
        settle_seconds=settings.settle_seconds,
    )
    operation, account, named = anyio.run(_read, settings, operation_id, move, organization is not None)
    person.show_question(operation, account, settings, named)
    if operation.sent_at is not None:
        person.show_detail("Sent", f"at {utc(operation.sent_at)}; its outcome is unknown.")
    print()
    if not yes and not person.typed(outcome):
        print(person.LEFT_OPEN)
        return 1
    settled = anyio.run(person.decide, settings, operation_id, move)
    said = f"Operation {settled.id} is {settled.state} now; charged: {settled.charged}, changed: {settled.changed}."
    if settled.action is Action.BUY or (settled.action is Action.RELEASE and settled.state is State.FAILED):
        said += " If KrosAI then shows otherwise, a running server writes that down as a correction."
    say(said)
    return 0


async def _read(settings: Settings, operation_id: str, move: Move, only_own: bool) -> tuple[Operation, str | None, str]:
    """Return the operation, the account of this terminal's key, and the operation's organization if it is known.

    Raises:
        KrosError: There is no such operation, or it cannot be settled: nobody is asked about what would be refused.
    """
    async with open_journal(settings.journal_url) as journal:
        account = await account_of(settings, journal)
        operation = await require(journal, operation_id, account if only_own else None)
        move(operation, await journal.now())
        return operation, account, await organization_of(journal, operation)
