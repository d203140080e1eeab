"""The command line: parse, then import only what that command needs."""

import argparse
import io
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO, cast

from kros_mcp import __version__
from kros_mcp.characters import Harmless
from kros_mcp.commands import usage
from kros_mcp.errors import JournalError, KrosaiError, KrosError, NotFoundError, OperationError

_DESCRIPTION = """\
An MCP server that lets AI agents find, buy, configure and release KrosAI phone numbers, with a guard on spending.

Without a command it serves MCP over stdio: a client such as Claude Desktop starts it, and it reads its settings
from KROS_* environment variables. Everything a person needs at a terminal is a command.
"""
_EPILOG = """\
try it, without an account:
  kros-mcp demo                    watch an agent buy and release a number, safely
  kros-mcp --simulator             serve with KrosAI replaced by a simulator in memory
use it in Claude Desktop:
  kros-mcp install claude-desktop --simulator
run it:
  KROS_API_KEY=kros_test_... kros-mcp
  kros-mcp doctor                  what is set, what is reachable, what to do next
answer for the bill:
  kros-mcp operations              who asked for what, for how much, and how it ended
  kros-mcp reconcile               does the journal agree with KrosAI
  kros-mcp export --output may.csv --since 2026-05-01 --until 2026-05-31
exit codes:
  0 done   1 a check failed or a person is needed   2 usage or settings   3 journal unusable   4 KrosAI unreachable
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    with _harmless_errors():
        arguments = _parsed(words)
        if arguments.command is None:
            code = _ended(arguments)  # its standard output carries the protocol
        else:
            # A person reads our sentence on what failed; a server's log keeps the driver's own lines as well.
            for name in ("psycopg", "psycopg.pool"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            with _harmless_output():
                code = _ended(arguments)
    if arguments.command is None:
        # A thread still waits for stdin, which nothing can interrupt: see stdio_server.leave.
        from kros_mcp.commands.stdio_server import leave  # noqa: PLC0415 - only where the server ran

        leave(code)
    sys.exit(code)


def _parsed(words: list[str]) -> argparse.Namespace:
    parser = _parser()
    if not all(map(_is_text, words)):
        parser.error("an argument is not valid text in UTF-8")
    arguments = parser.parse_args(words)
    if arguments.simulator and arguments.command not in {None, "http", "install"}:
        parser.error("--simulator goes with the server alone; point a command at `kros-mcp simulator` instead")
    return arguments


def _ended(arguments: argparse.Namespace) -> int:
    """Run a command and give its exit code, whatever stopped it."""
    try:
        return _run(arguments)
    except KrosError as exc:
        print(f"kros-mcp: {exc.message} {_next_step(exc)}", file=sys.stderr)  # noqa: T201 - the person's answer
        return exc.exit_code
    except KeyboardInterrupt:
        return 1
    except BrokenPipeError:
        # Whoever read the output has read enough; nothing more can be said on it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception:  # noqa: BLE001 - the process must end even while a thread waits for stdin
        traceback.print_exc()
        return 1


def _is_text(word: str) -> bool:
    """Tell whether a word came as valid text; Python keeps bytes that are none as lone surrogates."""
    return word.isascii() or not any("\ud800" <= character <= "\udfff" for character in word)


@contextmanager
def _harmless_errors() -> Iterator[None]:
    """Let nothing that is written to standard error command the terminal, whoever it came from."""
    with redirect_stderr(cast("TextIO", Harmless(sys.stderr))):
        yield


@contextmanager
def _harmless_output() -> Iterator[None]:
    """Let nothing that is written to standard output command the terminal, nor end a command half-way.

    Characters that the terminal's encoding lacks are escaped, too, as standard error does from the start.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with redirect_stdout(cast("TextIO", Harmless(sys.stdout))):
        yield


def _next_step(exc: KrosError) -> str:
    """Say what a person at a terminal can do; most errors speak to an agent in a conversation."""
    if isinstance(exc, OperationError) and exc.code != "STILL_LOOKING":  # that one says when
        return "See kros-mcp operations."
    if isinstance(exc, JournalError | KrosaiError) and not isinstance(exc, NotFoundError):
        return "See kros-mcp doctor."
    return "" if isinstance(exc, NotFoundError) else exc.next_step


def _run(arguments: argparse.Namespace) -> int:
    # Each command imports its own module: the server must start fast, and the others need not load it.
    match arguments.command:
        case None:
            from kros_mcp.commands import stdio_server  # noqa: PLC0415

            return stdio_server.run(simulator=arguments.simulator)
        case "http":
            from kros_mcp.commands import http  # noqa: PLC0415

            return http.run(arguments)
        case "token":
            from kros_mcp.commands import token  # noqa: PLC0415

            return token.run(arguments)
        case "demo":
            from kros_mcp.commands import demo  # noqa: PLC0415

            return demo.run(profile=arguments.profile, pace_seconds=arguments.pace)
        case "simulator":
            from kros_mcp.commands import simulator  # noqa: PLC0415

            return simulator.run(host=arguments.host, port=arguments.port, profile=arguments.profile)
        case _:
            return _run_for_operator(arguments)


def _run_for_operator(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "doctor":
            from kros_mcp.commands import doctor  # noqa: PLC0415

            return doctor.run()
        case "sip":
            from kros_mcp.commands import sip  # noqa: PLC0415

            return sip.run(arguments.number)
        case "install":
            from kros_mcp.commands import install  # noqa: PLC0415

            return install.run(arguments)
        case "bundle":
            from kros_mcp.commands import bundle  # noqa: PLC0415

            return bundle.run(arguments)
        case "backup" | "restore":
            return _run_on_copies(arguments)
        case _:
            return _run_on_journal(arguments)


def _run_on_journal(arguments: argparse.Namespace) -> int:
    if arguments.command in {"operations", "export"}:
        return _run_on_books(arguments)
    from kros_mcp.http.exporting import exporting_if_installed  # noqa: PLC0415

    with exporting_if_installed():  # what a person decides at a terminal is counted as what the servers do
        return _run_on_books(arguments)


def _run_on_books(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "operations":
            from kros_mcp.commands import operations, timeline  # noqa: PLC0415

            return operations.run(arguments) if arguments.operation_id is None else timeline.run(arguments)
        case "export":
            from kros_mcp.commands import export  # noqa: PLC0415

            return export.run(arguments)
        case "reconcile":
            from kros_mcp.commands import reconcile  # noqa: PLC0415

            return reconcile.run(arguments)
        case "settle":
            from kros_mcp.commands import settle  # noqa: PLC0415

            return settle.run(arguments)
        case "adopt":
            from kros_mcp.commands import adopt  # noqa: PLC0415

            return adopt.run(arguments)
        case _:
            from kros_mcp.commands import approve  # noqa: PLC0415

            return approve.run(arguments)


def _run_on_copies(arguments: argparse.Namespace) -> int:
    if arguments.command == "backup":
        from kros_mcp.commands import backup  # noqa: PLC0415

        return backup.run(arguments)
    from kros_mcp.commands import restore  # noqa: PLC0415

    return restore.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kros-mcp",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kros-mcp {__version__}")
    parser.add_argument(
        "--simulator", action="store_true", help="replace KrosAI by a simulator in memory; needs no key"
    )
    commands = parser.add_subparsers(dest="command", metavar="command", title="commands")

    demo = usage.add(commands, "demo", "watch a whole conversation against the simulator")
    demo.add_argument("--profile", choices=("reference", "guide"), default="reference", help="which dialect of KrosAI")
    demo.add_argument("--pace", type=float, default=0.0, metavar="SECONDS", help="pause after each step")

    usage.add_desktop(commands)
    usage.add_http(commands)
    usage.add_token(commands)

    simulator = usage.add(commands, "simulator", "serve a local KrosAI over HTTP")
    simulator.add_argument("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
    simulator.add_argument("--port", type=int, default=8100, help="on which port (8100)")
    simulator.add_argument(
        "--profile", choices=("reference", "guide"), default="reference", help="which dialect of KrosAI"
    )

    usage.add(commands, "doctor", "check settings, journal, key and reachability, and say what to do")

    sip = usage.add(commands, "sip", "show a number's SIP credentials, here and nowhere else")
    sip.add_argument("number", metavar="NUMBER", help="its id, or its E.164 such as +2342015550100")

    usage.add_books(commands)
    usage.add_decisions(commands)
    usage.add_copies(commands)
    return parser
