"""`operations`, `approve`, `deny`, `settle`: the journal at a terminal; no API key is needed."""

import argparse
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from kros_mcp.errors import KrosError, OperationError, SettingsError
from kros_mcp.krosai.text import clean
from kros_mcp.operations import model, moves
from kros_mcp.operations.backends import open_journal
from kros_mcp.operations.confirmation import sentence
from kros_mcp.operations.journal import Filter, Journal, Move, missing
from kros_mcp.operations.model import Action, Channel, Operation, State
from kros_mcp.settings import Settings, load_settings
from kros_mcp.tools.results import utc

_Command = Callable[[Journal, Settings, argparse.Namespace], Awaitable[int]]


def run(arguments: argparse.Namespace) -> int:
    """Run one of the journal's commands.

    Raises:
        KrosError: The journal cannot be used, or the operation is not there or past that move.
    """
    settings = load_settings()
    commands: dict[str, _Command] = {"operations": _list, "approve": _decide, "deny": _decide, "settle": _settle}
    command = commands[arguments.command]
    return anyio.run(partial(_with_journal, command, settings, arguments))


async def _with_journal(command: _Command, settings: Settings, arguments: argparse.Namespace) -> int:
    async with open_journal(settings.journal_url) as journal:
        return await command(journal, settings, arguments)


async def _list(journal: Journal, settings: Settings, arguments: argparse.Namespace) -> int:
    unknown = [state for state in arguments.state if state not in list(State)]
    if unknown:
        raise SettingsError(f"{unknown[0]!r} is not a state; choose from {', '.join(State)}.", next_step="")
    del settings
    states = tuple(State(state) for state in arguments.state)
    if arguments.limit < 1:
        raise SettingsError("--limit must be 1 or more.", next_step="")
    operations = await journal.list_operations(Filter(states=states), limit=arguments.limit)
    if not operations:
        print("No operations." if not states else f"No operations that are {' or '.join(states)}.")
        return 0
    rows: list[tuple[str, ...]] = [("when (UTC)", "operation", "what", "price", "state", "who", "confirmed by")]
    rows += [_row(operation) for operation in operations]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    waiting = sum(_awaits_person(operation) for operation in operations)
    if waiting:
        verb = "waits" if waiting == 1 else "wait"
        print(f"\n{waiting} {verb} for a person: kros-mcp approve ID, or kros-mcp deny ID.")
    return 0


async def _decide(journal: Journal, settings: Settings, arguments: argparse.Namespace) -> int:
    operation = await _read(journal, arguments.operation_id)
    approving = arguments.command == "approve"
    if operation.state not in ({State.PROPOSED} if approving else model.WAITING):
        raise model.past(operation)
    if approving and operation.channel is not Channel.APPROVER:
        raise OperationError(
            "This operation was put to the person in the conversation, not to an approver.",
            code="NOT_FOR_APPROVER",
            next_step="Answer it there, or deny it here.",
        )
    print(sentence(operation, settings.currency))
    print(f"Asked for by {clean(operation.principal)} at {utc(operation.created_at)}.")
    print(f"Open until {utc(operation.expires_at)}.")
    word = "approve" if approving else "deny"
    if not arguments.yes and not _typed(word):
        print("Nothing was decided.")
        return 1
    by = f"{_user()} at a terminal"
    reason = clean(arguments.reason)
    move: Move = (
        partial(moves.confirm, by=by, reason=reason)
        if approving
        else partial(moves.end, state=State.DECLINED, reason=f"Denied by {by}. {reason}".strip())
    )
    decided = await journal.change(operation.id, move)
    if decided.state is State.EXPIRED:
        raise model.past(decided)
    if approving:
        print("Approved. The server executes it within two seconds if it runs, else when it is started.")
        print("See kros-mcp operations for its outcome.")
    else:
        print("Denied. Nothing was charged or changed.")
    return 0


async def _settle(journal: Journal, settings: Settings, arguments: argparse.Namespace) -> int:
    del settings
    operation = await _read(journal, arguments.operation_id)
    settled = await journal.change(
        operation.id,
        partial(
            moves.settle_by_hand,
            state=State.DONE if arguments.outcome == "done" else State.FAILED,
            by=_user(),
            reason=clean(arguments.reason, 200),
        ),
    )
    print(f"Operation {settled.id} is {settled.state} now; charged: {settled.charged}, changed: {settled.changed}.")
    return 0


async def _read(journal: Journal, operation_id: str) -> Operation:
    operation = await journal.get(operation_id)
    if operation is None:
        raise missing(operation_id)
    return operation


def _row(operation: Operation) -> tuple[str, ...]:
    priced = operation.action is Action.BUY
    return (
        utc(operation.created_at).replace("T", " ").rstrip("Z"),
        operation.id,
        f"{operation.action} {operation.e164}",
        _price(operation) if priced else "",
        operation.state,
        clean(operation.principal, 24),
        clean(operation.confirmed_by, 40),
    )


def _price(operation: Operation) -> str:
    """Cents as a table shows them, the currency being the same in every row."""
    now, monthly = operation.quote.due_now_cents, operation.quote.monthly_cents
    shown = [f"{cents // 100:,}.{cents % 100:02d}" if cents is not None else "?" for cents in (now, monthly)]
    return f"{shown[0]}, {shown[1]}/month"


def _awaits_person(operation: Operation) -> bool:
    return operation.state is State.PROPOSED and operation.channel is Channel.APPROVER


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "an unnamed user"


def _typed(word: str) -> bool:
    if not sys.stdin.isatty():
        raise KrosError(
            f"There is no terminal to type the word {word!r} at.",
            code="NO_TERMINAL",
            next_step="Run it at a terminal, or add --yes.",
        )
    try:
        typed = input(f"Type the word {word} to go on, anything else to leave it open: ")
    except EOFError:
        return False
    return typed.strip().lower() == word
