"""The program `kros-mcp`: the server over stdio where no command is named, else that command.

The server alone goes past click and rich: it does not need them, and a client waits for its start.
"""

import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from typing import TextIO, cast

from kros_mcp.characters import EscapingStream
from kros_mcp.errors import JournalError, KrosaiError, KrosError, NotFoundError, OperationError


def main(argv: Sequence[str] | None = None) -> None:
    """Run the server or one command, and leave with its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    shapes_file = _shapes_file(words)
    serves = set(words) <= {"--simulator"} or shapes_file is not None
    with _harmless_errors():
        if serves:
            from kros_mcp.commands.stderr_buffer import buffered_errors  # noqa: PLC0415 - for the server alone

            with buffered_errors():
                code = _exit_code(
                    partial(_serve, simulator=bool(words), shapes_file=shapes_file)
                )  # its standard output carries the protocol
        else:
            # A person reads our sentence on what failed; a server's log keeps the driver's own lines as well.
            for name in ("psycopg", "psycopg.pool"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            with _harmless_output():
                code = _exit_code(partial(_run_command, words))
    if serves:
        # A thread still waits for stdin, which nothing can interrupt: see stdio_server.leave.
        from kros_mcp.commands.stdio_server import leave  # noqa: PLC0415 - only where the server ran

        leave(code)
    sys.exit(code)


def _serve(*, simulator: bool, shapes_file: str | None) -> int:
    from kros_mcp.commands import stdio_server  # noqa: PLC0415 - the commands need none of it

    if shapes_file is None:
        return stdio_server.run(simulator=simulator)
    return stdio_server.run(simulator=True, shapes_file=shapes_file)


def _shapes_file(words: list[str]) -> str | None:
    """Return the file of `--simulator --shapes FILE`; None if that is not what was typed."""
    match words:
        case ["--simulator", "--shapes", file] | ["--shapes", file, "--simulator"]:
            return file
    return None


def _run_command(words: list[str]) -> int:
    import click  # noqa: PLC0415 - the server starts without it

    from kros_mcp.commands.group import kros_mcp  # noqa: PLC0415 - it loads click

    try:
        # Python keeps bytes that are no valid text as lone surrogates.
        if any("\ud800" <= character <= "\udfff" for word in words for character in word):
            raise click.UsageError("an argument is not valid text in UTF-8", click.Context(kros_mcp, None, "kros-mcp"))
        with kros_mcp.make_context("kros-mcp", list(words)) as context:
            return int(kros_mcp.invoke(context) or 0)
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.Abort:
        return 1
    except click.ClickException as exc:
        exc.show(sys.stderr)  # named, so that it is the stream that escapes what would command a terminal
        return exc.exit_code


def _exit_code(run: Callable[[], int]) -> int:
    """Run something and return its exit code, whatever stopped it."""
    try:
        return run()
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


def _next_step(exc: KrosError) -> str:
    """Return what a person at a terminal can do; most errors speak to an agent in a conversation."""
    if isinstance(exc, OperationError) and exc.code not in {"STILL_LOOKING", "PRUNED_MEANWHILE"}:  # these say when
        return "See kros-mcp operations."
    if isinstance(exc, JournalError | KrosaiError) and not isinstance(exc, NotFoundError):
        return "See kros-mcp doctor."
    return "" if isinstance(exc, NotFoundError) else exc.next_step


@contextmanager
def _harmless_errors() -> Iterator[None]:
    """Escape everything that is written to standard error and could command the terminal, whoever wrote it."""
    with redirect_stderr(cast("TextIO", EscapingStream(sys.stderr))):
        yield


@contextmanager
def _harmless_output() -> Iterator[None]:
    """Escape everything that is written to standard output and could command the terminal.

    Characters that the terminal's encoding lacks are escaped, too, as on standard error, so that they end no command
    half-way.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with redirect_stdout(cast("TextIO", EscapingStream(sys.stdout))):
        yield
