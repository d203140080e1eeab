"""`kros-mcp settle`: a person who has looked at KrosAI ends an operation whose outcome is unknown."""

import argparse
from functools import partial

import anyio

from kros_mcp.commands.books import person
from kros_mcp.commands.books.choosing import account_of, require
from kros_mcp.commands.books.question import labelled, question
from kros_mcp.commands.books.table import fitted
from kros_mcp.errors import InvalidArgumentError
from kros_mcp.operations import certain, decisions, model, moves
from kros_mcp.operations.journals.backends import open_journal
from kros_mcp.operations.model import Operation, State
from kros_mcp.settings import Settings, load_settings
from kros_mcp.times import utc


def run(arguments: argparse.Namespace) -> int:
    """Write the outcome down, with who says so and how they know; at a terminal only after the word is typed.

    Returns:
        0 if it was settled, 1 if the person left it open.

    Raises:
        KrosError: The journal cannot be used, or the operation is not there or its outcome is not unknown.
    """
    settings = load_settings()
    reason = decisions.kept(arguments.reason)
    if not reason:
        raise InvalidArgumentError("--reason is empty; say how you know.", next_step="")
    # Without a terminal nobody can be asked, and the reason has to do.
    if person.sits_at_a_terminal():
        print("\n".join(anyio.run(_question, settings, arguments.operation_id)), end="\n\n")
        if not person.typed(arguments.outcome):
            print(person.LEFT_OPEN)
            return 1
    settled = anyio.run(_settle, settings, arguments, reason)
    said = f"Operation {settled.id} is {settled.state} now; charged: {settled.charged}, changed: {settled.changed}."
    print("\n".join(fitted(said)))
    return 0


async def _question(settings: Settings, operation_id: str) -> list[str]:
    async with open_journal(settings.journal_url) as journal:
        operation = await require(journal, operation_id)
        if operation.state is not State.UNKNOWN:
            raise model.past(operation)
        told = [*question(operation, await account_of(settings, journal), settings)]
        if operation.sent_at is not None:
            told += labelled("Sent", f"at {utc(operation.sent_at)}; its outcome is unknown.")
        return told


async def _settle(settings: Settings, arguments: argparse.Namespace, reason: str) -> Operation:
    move = partial(
        moves.settle_by_hand,
        state=State.DONE if arguments.outcome == "done" else State.FAILED,
        by=person.name(),
        reason=reason,
        settle_seconds=settings.settle_seconds,
    )
    async with open_journal(settings.journal_url) as journal:
        return await certain.decide(journal, arguments.operation_id, move, by=person.by())
