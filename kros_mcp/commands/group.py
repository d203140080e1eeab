"""The command line: `kros-mcp` as a group of commands, each imported only when it is run."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import click

from kros_mcp import __version__

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

SUMMARIES = {
    "demo": "watch a whole conversation against the simulator",
    "install": "put this server into the configuration of a client",
    "bundle": "write a bundle that Claude Desktop installs by a double click",
    "http": "serve over HTTP, for many callers",
    "token": "make, list or revoke tokens of callers of the HTTP service",
    "simulator": "serve a local KrosAI over HTTP",
    "doctor": "check settings, journal, key and reachability, and say what to do",
    "probe": "say what KrosAI really answers, and what follows; only reads",
    "rehearse": "buy a number with a test key, try everything on it, and release it",
    "sip": "show a number's SIP credentials, here and nowhere else",
    "operations": "list what was asked for, and how it ended",
    "spending": "tell what was spent, what is left, and what numbers cost a month",
    "export": "write every operation down as CSV for accounting",
    "reconcile": "compare the journal with KrosAI; changes nothing there",
    "approve": "say yes to a waiting operation",
    "deny": "say no to a waiting operation",
    "notify": "say whether people are told of what happens, and try it",
    "settle": "say how an operation with an unknown outcome ended",
    "adopt": "hand the operations of a replaced key to this one",
    "backup": "copy the journal to a new file",
    "restore": "put a copy of the journal back",
    "prune": "delete operations that ended long ago",
}
"""Every command and the first sentence of its help, so that `kros-mcp --help` imports none of them."""
_MODULES = {"deny": "approve", "spending": "spending_report"}
"""The modules that are not named like their command."""
_HELP = """\
An MCP server that lets AI agents find, buy, configure and release KrosAI phone numbers, with a guard on spending.

Without a command it serves MCP over stdio: a client such as Claude Desktop starts it, and it reads its settings from
KROS_* environment variables. Everything a person needs at a terminal is a command.
"""
_EPILOG = """\
\b
try it, without an account:
  kros-mcp demo           watch an agent buy and release a number, safely
  kros-mcp --simulator    serve with KrosAI replaced by a simulator in memory

\b
use it in Claude Desktop, Claude Code, Cursor, VS Code or Codex:
  kros-mcp install claude-desktop --simulator

\b
run it:
  KROS_API_KEY=kros_test_... kros-mcp
  kros-mcp doctor         what is set, what is reachable, what to do next
  kros-mcp probe          does KrosAI answer as this program expects

\b
answer for the bill:
  kros-mcp spending       who spent what this month, and what is left
  kros-mcp operations     who asked for what, for how much, and how it ended
  kros-mcp reconcile      does the journal agree with KrosAI
  kros-mcp export --output may.csv --since 2026-05-01 --until 2026-05-31

\b
exit codes:
  0 done   1 a check failed or a person is needed   2 usage or settings
  3 journal unusable   4 KrosAI unreachable
"""


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        del ctx
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        del ctx
        if cmd_name not in SUMMARIES:
            return None
        module = import_module(f"kros_mcp.commands.{_MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.group(
    cls=LazyGroup,
    help=_HELP,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(__version__, message="kros-mcp %(version)s")
@click.option("--simulator", is_flag=True, help="replace KrosAI by a simulator in memory; needs no key")
@click.option("--shapes", metavar="FILE", help="with --simulator: answer in the shapes that probe --json wrote")
@click.pass_context
def kros_mcp(context: click.Context, *, simulator: bool, shapes: str | None) -> None:
    """Refuse `--simulator` and `--shapes` where they mean nothing, and keep the former for the command."""
    if shapes is not None:
        raise click.UsageError("--shapes goes after --simulator with the server alone, or after simulator or probe")
    if simulator and context.invoked_subcommand not in {"http", "install", "probe", "rehearse"}:
        raise click.UsageError(
            "--simulator goes with the server alone; point a command at `kros-mcp simulator` instead"
        )
    context.obj = simulator


def simulator_option(meaning: str) -> Callable[[Decorated], Decorated]:
    """Add `--simulator` to a command, which may stand before its name as well."""
    return click.option(
        "--simulator", is_flag=True, help=meaning, callback=lambda ctx, _parameter, value: value or bool(ctx.obj)
    )
