"""The person at the terminal: their name, what they are shown to decide on, and what they type."""

import getpass
import os
import sys

from rich.text import Text

from kros_mcp.commands.batch_table import show_numbers, told
from kros_mcp.commands.console import say, say_labelled
from kros_mcp.commands.selection import currency, is_foreign, short
from kros_mcp.errors import InvalidArgumentError, KrosError
from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import clean
from kros_mcp.operations import decisions
from kros_mcp.operations.acts.by_action import act_of
from kros_mcp.operations.events import By
from kros_mcp.operations.journal import Move
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, Operation
from kros_mcp.settings import Environment, Settings
from kros_mcp.times import utc

LEFT_OPEN = "Nothing was decided; it stays open."
AT_A_TERMINAL = " at a terminal"
_ENVIRONMENTS: dict[Environment, tuple[str, str]] = {
    "live": ("LIVE: real money", "red"),
    "test": ("test key", "green"),
    "simulator": ("simulator", "green"),
}
_LABEL_COLUMNS = 14
_LONGEST_NAME = 40


def name() -> str:
    """Return the operating-system account, and who used sudo to become it.

    It comes from the process, since USER and LOGNAME can be set by anybody. SUDO_USER can be too, but whoever
    acts as this account could write the journal itself.
    """
    account = clean(_account(), _LONGEST_NAME)
    behind = clean(os.environ.get("SUDO_USER", ""), _LONGEST_NAME)
    return f"{account} (sudo by {behind})" if behind and behind != account else account


def signature() -> str:
    """Return the person's name for the journal, and whether they sat at a terminal."""
    return name() + (AT_A_TERMINAL if sits_at_a_terminal() else " by a command without a terminal")


def by() -> By:
    """Return who decides, and whether at a terminal, as an event keeps it."""
    return By(name(), "terminal" if sits_at_a_terminal() else "command")


async def decide(settings: Settings, operation_id: str, move: Move) -> Operation:
    """Make the person's decision in the journal, as `decisions.decide` does."""
    async with open_journal(settings.journal_url) as journal:
        return await decisions.decide(journal, operation_id, move, by=by())


def sits_at_a_terminal() -> bool:
    """Whether there is anybody to ask."""
    return sys.stdin.isatty()


def show_question(operation: Operation, account: str | None, settings: Settings, organization: str = "") -> None:
    """Print what the person is to decide on: the question as it was asked, whose account it is, and who asked.

    Args:
        operation: What is decided on.
        account: That of this terminal's key; None without one.
        settings: Of this terminal.
        organization: Whose account it is; empty where that is not known.
    """
    label = currency(operation, account, settings)
    say(act_of(operation).wording.sentence(operation, label))
    print()
    if operation.action.is_several:
        show_numbers(operation, label)
        print()
    other = "; not the account of this terminal's KROS_API_KEY" if is_foreign(operation, account) else ""
    environment = _ENVIRONMENTS[operation.quote.environment]
    show_detail("Account", Text.assemble(f"{short(operation.account)}, ", environment, other))
    if organization:
        show_detail("Organization", clean(organization, LONGEST_NAME_SHOWN))
    show_detail("Operation", f"{operation.id}: {told(operation)}")
    show_detail("Asked for", f"by {clean(operation.principal, LONGEST_NAME_SHOWN)} at {utc(operation.created_at)}.")


def show_detail(label: str, *texts: str | Text) -> None:
    """Print one or more lines to the right of their label."""
    for at, text in enumerate(texts):
        say_labelled("" if at else f"  {label}", text, columns=_LABEL_COLUMNS)


def typed(
    word: str, *, otherwise: str = "leave it open", instead: str = "Run it at a terminal, or add --yes and --reason."
) -> bool:
    """Ask the person to type a word, and return whether they did; Ctrl-D and Ctrl-C are a no.

    Args:
        word: What they are to type.
        otherwise: What anything else does.
        instead: What to do where there is no terminal.

    Raises:
        KrosError: There is no terminal to type at.
    """
    if not sits_at_a_terminal():
        raise KrosError(
            f"There is no terminal to type the word {word!r} at.",
            code="NO_TERMINAL",
            next_step=instead,
        )
    try:
        answer = input(f"Type the word {word} to go on, anything else to {otherwise}: ")
    except (EOFError, KeyboardInterrupt):
        print()
        return False
    return answer.strip().lower() == word


def given_reason(reason: str, *, yes: bool) -> str:
    """Return the reason of the command line as the journal keeps it, empty for none.

    Raises:
        InvalidArgumentError: There is none beside --yes, where nobody is asked for it.
    """
    reason = decisions.kept(reason)
    if yes and not reason:
        raise InvalidArgumentError(
            "--yes needs --reason: what nobody types at a terminal has to say why.",
            next_step='Add --reason "...", which is kept in the journal.',
        )
    return reason


def typed_reason(question: str, *, required: bool) -> str | None:
    """Ask the person for a reason, and return it; None if they gave none."""
    while True:
        try:
            answer = decisions.kept(input(question))
        except (EOFError, KeyboardInterrupt):
            print()
            return None
        if answer or not required:
            return answer
        question = "Please give a reason (Ctrl-D leaves it open): "


def _account() -> str:
    if sys.platform == "win32":
        return getpass.getuser()
    import pwd  # noqa: PLC0415 - not on Windows

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container may run as a user without a name
        return f"user {os.geteuid()}"
