"""Draw the picture of `kros-mcp spending` in docs/: a month of operations, told by the command at a terminal.

Run it as `python -m tests.checks.spending_picture [--columns 80] [--output docs/spending-terminal.svg] [-- WORDS…]`;
WORDS are those behind `kros-mcp spending`.
"""

import argparse
import fcntl
import io
import os
import pty
import random
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import OwnedList, PhoneNumber
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.kept import Listing
from kros_mcp.operations.model import Action, Channel, Operation, Quote, Request, State, new_operation_id
from kros_mcp.settings import Settings

KEY = "kros_test_picture"
PRINCIPALS = ("tokens|support-agent", "tokens|lagos-desk", "tokens|night-desk")
MARKETS = {"NG": 700, "GB": 300, "US": 150, "DE": 450}
DAY = 86_400.0


def month_of(account: str, now: float) -> Iterator[Operation]:
    """Some purchases and releases on most days of a month, one unknown, and two that wait."""
    chance = random.Random(7)  # noqa: S311 - must repeat
    first = datetime.fromtimestamp(now, UTC).replace(day=1, hour=9, minute=0, second=0, microsecond=0).timestamp()
    at, number, given_up = first, 0, 0
    while at < now - 3600:
        for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
            number += 1
            yield an_end(account, number, at, chance)
        if number > given_up + 3 and chance.random() < 0.3:
            given_up += 1
            yield gave_up(account, given_up, at + 3600)
        at += DAY
    lost = an_end(account, 90, now - 2 * DAY, chance)
    yield replace(lost, state=State.UNKNOWN, charged="unknown", settled_at=None)
    for each in (91, 92):
        asked = an_end(account, each, now - 1800 * each, chance)
        yield replace(
            asked,
            state=State.PROPOSED,
            channel=Channel.APPROVER,
            expires_at=now + DAY,
            reserved_cents=0,
            claimed_at=None,
            sent_at=None,
            settled_at=None,
            charged="no",
        )


def an_end(account: str, number: int, at: float, chance: random.Random) -> Operation:
    country = chance.choice(tuple(MARKETS))
    cents, e164 = MARKETS[country], f"+2342015550{number:03d}"
    return Operation(
        id=new_operation_id(),
        account=account,
        principal=chance.choice(PRINCIPALS),
        action=Action.BUY,
        e164=e164,
        request=Request(),
        quote=Quote(e164, country, "test", 0, cents, cents),
        created_at=at,
        expires_at=at + 600,
        state=State.DONE,
        channel=Channel.CODE,
        claimed_at=at + 20,
        reserved_cents=cents,
        sent_at=at + 21,
        settled_at=at + 22,
        charged="yes",
        changed="yes",
    )


def gave_up(account: str, number: int, at: float) -> Operation:
    """The release of a number that KrosAI states no price of any more, so that its purchase tells it."""
    bought = an_end(account, number, at, random.Random(number))  # noqa: S311 - any
    bought = replace(bought, quote=replace(bought.quote, setup_cents=None, monthly_cents=None, due_now_cents=None))
    request = Request(number_id=f"id_{number}")
    return replace(bought, action=Action.RELEASE, request=request, reserved_cents=0, charged="no")


async def fill(url: str) -> None:
    """Write the month into a new journal, with the list of owned numbers that a server has read two minutes ago."""
    async with open_journal(url) as journal:
        account, now = Settings(api_key=KEY).account(journal.secret), await journal.now()
        for operation in month_of(account, now):
            await enter(journal, operation)
        numbers = tuple(
            PhoneNumber(f"old_{at}", f"+4930555501{at:02d}", "DE", "local", "active", monthly_cents=450)
            for at in range(12)
        )
        month = list(month_of(account, now))
        given_up = {each.e164 for each in month if each.action is Action.RELEASE}
        bought = [
            PhoneNumber(
                each.id, each.e164, each.quote.country, "local", "active", monthly_cents=each.quote.monthly_cents
            )
            for each in month
            if each.charged == "yes" and each.e164 not in given_up
        ]
        await journal.keep(account, [], Listing(OwnedList((*numbers, *bought), complete=True), now - 120))


async def enter(journal: Journal, operation: Operation) -> None:
    await journal._transact(lambda: journal._insert(operation))  # type: ignore[attr-defined]  # noqa: SLF001 - as it ended


def at_a_terminal(words: list[str], columns: int, url: str) -> str:
    """Return what a command writes to a terminal of its own, with its colours."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KROS_")}
    settings = {"KROS_API_KEY": KEY, "KROS_JOURNAL_URL": url, "KROS_CURRENCY": "USD", "TERM": "xterm", "COLUMNS": ""}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    command = [sys.executable, "-m", "kros_mcp", *words]
    with subprocess.Popen(command, env=environment | settings, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        said = io.BytesIO()
        while piece := read(ours):
            said.write(piece)
    os.close(ours)
    return said.getvalue().decode().replace("\r\n", "\n")


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # as Linux says that the other side has closed it
        return b""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--output", type=Path, default=Path("docs/spending-terminal.svg"))
    parser.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/journal.sqlite3"
        anyio.run(fill, url)
        said = at_a_terminal(["spending", *arguments.words], arguments.columns, url)
    console = Console(record=True, width=arguments.columns, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ kros-mcp spending {' '.join(arguments.words)}\n{said}".rstrip()), soft_wrap=True)
    title = "kros-mcp spending"
    drawn = console.export_svg(title=title, theme=MONOKAI, unique_id="spending")
    drawn = re.sub(r"@font-face \{[^}]*\}\s*", "", drawn)  # the reader's own font: nothing is fetched
    arguments.output.write_text(drawn, encoding="utf-8")
    print(f"{arguments.output} is drawn.")


if __name__ == "__main__":
    main()
