"""`kros-mcp settle`: a person who has looked at KrosAI ends an operation whose outcome is unknown."""

import argparse
from functools import partial

import anyio

from kros_mcp.commands.books import certain, person
from kros_mcp.errors import InvalidArgumentError
from kros_mcp.operations import moves
from kros_mcp.operations.journals.backends import open_journal
from kros_mcp.operations.model import Operation, State
from kros_mcp.settings import Settings, load_settings


def run(arguments: argparse.Namespace) -> int:
    """Write the outcome down, with who says so and how they know.

    Raises:
        KrosError: The journal cannot be used, or the operation is not there or its outcome is not unknown.
    """
    settings = load_settings()
    reason = person.kept(arguments.reason)
    if not reason:
        raise InvalidArgumentError("--reason is empty; say how you know.", next_step="")
    settled = anyio.run(_settle, settings, arguments, reason)
    print(f"Operation {settled.id} is {settled.state} now; charged: {settled.charged}, changed: {settled.changed}.")
    return 0


async def _settle(settings: Settings, arguments: argparse.Namespace, reason: str) -> Operation:
    move = partial(
        moves.settle_by_hand,
        state=State.DONE if arguments.outcome == "done" else State.FAILED,
        by=person.name(),
        reason=reason,
    )
    async with open_journal(settings.journal_url) as journal:
        return await certain.decide(journal, arguments.operation_id, move)
