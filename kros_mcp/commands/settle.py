"""`kros-mcp settle`: a person who has looked at KrosAI ends an operation whose outcome is unknown.

What KrosAI then shows to be otherwise is written down by a running server as a correction.
"""

import argparse
from functools import partial

import anyio

from kros_mcp.commands import person
from kros_mcp.commands.console import fitted
from kros_mcp.commands.question import labelled, question
from kros_mcp.commands.selection import account_of, require
from kros_mcp.errors import InvalidArgumentError
from kros_mcp.operations import certain, decisions, moves
from kros_mcp.operations.journal import Move
from kros_mcp.operations.journals.backends import open_journal
from kros_mcp.operations.model import Action, Operation, State
from kros_mcp.settings import Settings, load_settings
from kros_mcp.times import utc


def run(arguments: argparse.Namespace) -> int:
    """Show the operation, ask, and write its outcome down with who says so and how they know.

    Returns:
        0 if it was settled, 1 if the person left it open.

    Raises:
        KrosError: The journal cannot be used, or the operation is not there, its outcome is not unknown, or the server
            may still find it out.
    """
    settings = load_settings()
    reason = decisions.kept(arguments.reason)
    if not reason:
        raise InvalidArgumentError("--reason is empty; say how you know.", next_step="")
    move = partial(
        moves.settle_by_hand,
        state=State.DONE if arguments.outcome == "done" else State.FAILED,
        by=person.name(),
        reason=reason,
        settle_seconds=settings.settle_seconds,
    )
    print("\n".join(anyio.run(_question, settings, arguments.operation_id, move)), end="\n\n")
    if not arguments.yes and not person.typed(arguments.outcome):
        print(person.LEFT_OPEN)
        return 1
    settled = anyio.run(_settle, settings, arguments.operation_id, move)
    said = f"Operation {settled.id} is {settled.state} now; charged: {settled.charged}, changed: {settled.changed}."
    if settled.action is Action.BUY or (settled.action is Action.RELEASE and settled.state is State.FAILED):
        said += " If KrosAI then shows otherwise, a running server writes that down as a correction."
    print("\n".join(fitted(said)))
    return 0


async def _question(settings: Settings, operation_id: str, move: Move) -> list[str]:
    async with open_journal(settings.journal_url) as journal:
        operation = await require(journal, operation_id)
        move(operation, await journal.now())  # nobody is asked about what would be refused
        told = [*question(operation, await account_of(settings, journal), settings)]
        if operation.sent_at is not None:
            told += labelled("Sent", f"at {utc(operation.sent_at)}; its outcome is unknown.")
        return told


async def _settle(settings: Settings, operation_id: str, move: Move) -> Operation:
    async with open_journal(settings.journal_url) as journal:
        return await certain.decide(journal, operation_id, move, by=person.by())
