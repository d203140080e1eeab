"""How the commands on the journal are typed, and what their help teaches; loads nothing."""

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name

SERVER_NAME = "kros"
"""What the server is called in Claude Desktop, unless its person says otherwise."""
_LAST_PORT = 65535
_SERVING = """\
Streamable HTTP at /mcp, both protocol revisions. Who may call stands in KROS_TOKENS_FILE (kros-mcp token makes one),
or in the JWTs of KROS_OAUTH_ISSUER. TLS is the proxy's in front of it; KROS_PUBLIC_URL says where clients reach it.

examples:
  kros-mcp http --simulator --no-auth              for the MCP Inspector, on this machine alone
  KROS_TOKENS_FILE=tokens.toml KROS_PUBLIC_URL=https://numbers.example.com kros-mcp http --host 0.0.0.0
  KROS_TOKENS_FILE=tokens.toml kros-mcp http --stateless --workers 4

exit codes:  0 stopped   2 usage or settings   3 journal unusable
"""
_LETTING_IN = """\
Makes a token, prints it once, and adds its SHA-256 with what its holder may do to the tokens file, which a running
service reads again by itself. --revoke takes a token back: within a second it is refused. --list shows who may what.

scopes:  read, configure, buy, release - what voice agents may do; a tool that is not theirs they do not even see
         approve - for a person at /approvals, and together with no other

examples:
  kros-mcp token support-agent --scopes read,buy --daily-budget-cents 2000 --allowed-countries NG,KE
  kros-mcp token finance --scopes approve --file /etc/kros-mcp/tokens.toml
  kros-mcp token --list
  kros-mcp token --revoke support-agent
  kros-mcp token support-agent --replace | vault kv put secret/support-agent token=-

exit codes:  0 made, listed or revoked   1 the name is taken, or not there   2 usage or settings
"""
_LISTING = """\
Newest first, with who asked, who said yes and why. With an ID: when what happened to it, by whom, through which
channel and in which words.
Without KROS_API_KEY no account is named, and the operations of all accounts are shown.
"now" and "a month" are the price that was shown; the state says whether it was paid.
--state takes the words of the tools as well: awaiting_approval, confirmation_required, pending. --principal NAME finds
tokens|NAME too, where nobody is called just that.

examples:
  kros-mcp operations --state unknown --state sending
  kros-mcp operations op_abcdefghijklmnop
  kros-mcp operations --day 2026-05-03 --principal night-desk
  kros-mcp operations --json --limit 1000 | jq '.operations[] | select(.charged == "unknown")'

exit codes:  0 listed   1 there is no such operation   2 usage or settings   3 journal unusable
"""
_EXPORTING = """\
RFC 4180 in UTF-8, oldest first, one line for each operation; amounts are whole cents where a name ends in _cents.
charged_cents is what a purchase took, as quoted or as KrosAI reported it: 0 if nothing, empty while it is not
known whether it was charged. Where KrosAI states no whole amount of a charge, it is reserved_cents, as the guard
counted it.
The sum of charged_cents by charged_on is what each day (UTC) cost; with --by sent whole days are complete.
A cell that a spreadsheet would take for a formula begins with an apostrophe; e164 keeps its plus sign.

examples:
  kros-mcp export --since 2026-05-01 --until 2026-05-31 --by sent --output may.csv
  kros-mcp export --state done --all-accounts | head

exit codes:  0 written   1 the file is there already   2 usage or settings   3 journal unusable
"""
_RECONCILING = """\
Reads all numbers of KROS_API_KEY's account and tells: numbers that this journal has not bought; purchases that
KrosAI does not show; settings and prices that differ; outcomes still unknown, and those that were corrected within
the last week; what all numbers cost a month.
It sends nothing but GET and settles nothing: a running server does, or a person with kros-mcp settle. After a
kros-mcp restore it enters what was bought since the copy was taken.
--known keeps what was found of an operation, or of the number that it names, from failing again: until it moves on.

examples:
  kros-mcp reconcile
  kros-mcp reconcile --json | jq '.findings[] | select(.mark == "fail")'
  kros-mcp reconcile --known op_abcdefghijklmnop --reason "KrosAI took the charge back on 9 May"

exit codes:  0 nothing needs a person   1 something does   2 usage or settings   3 journal unusable
             4 KrosAI unreachable
"""
_DECIDING = """\
Shows the whole question, who asked, and what the caps leave; then asks for the word and for a reason.
No API key is needed, and an operation of any account in the journal may be decided.

examples:
  kros-mcp operations --state proposed
  kros-mcp {name} op_abcdefghijklmnop
  kros-mcp {name} op_abcdefghijklmnop --yes --reason "agreed with finance"

exit codes:  0 decided   1 left open, or too late   2 usage or settings   3 journal unusable
"""
_SETTLING = """\
Only for what a running server could not find out: look in the KrosAI dashboard first. While the server may still
find it out, within 5 times KROS_SETTLE_SECONDS of its sending, nothing is written down.
It shows the operation, and asks for the outcome's word. If KrosAI then shows otherwise, a running server writes that
down as a correction, and the budgets follow.

examples:
  kros-mcp operations --state unknown
  kros-mcp settle op_abcdefghijklmnop done --reason "invoice of 3 May shows it"
  kros-mcp settle op_abcdefghijklmnop failed --yes --reason "KrosAI confirmed that there is no order"

exit codes:  0 settled   1 left open, too early, or its outcome is not unknown   2 usage or settings
             3 journal unusable
"""
_ADOPTING = """\
For a KROS_API_KEY that replaces another of the same KrosAI account. Without KROS_ORGANIZATION_ID the key names the
account, so that a new one begins with empty budgets and does not look after what is unknown under the old one.
After this it does. It is all or nothing, each operation tells of it, and it cannot be undone.

examples:
  kros-mcp operations --all-accounts
  kros-mcp adopt 1f3a9c2e
  kros-mcp adopt 1f3a9c2e --yes --reason "key rotated on 3 May"

exit codes:  0 handed over   1 left as it is, or refused   2 usage or settings   3 journal unusable
"""
_BACKING_UP = """\
Takes the copy while servers run; the file is whole, new, and readable by you alone. It holds phone numbers, names and
amounts, and no key. A copy of the journal's file by other programs is good only while nothing writes.
Of a journal in PostgreSQL it says which pg_dump line takes the copy.

examples:
  kros-mcp backup /backups/kros-2026-05-03.sqlite3

exit codes:  0 written   1 the file is there already, or PostgreSQL   2 usage or settings   3 journal unusable
"""
_RESTORING = """\
End the servers first. What waited for a yes is expired then, what was being sent is unknown, and nothing is spent until
kros-mcp reconcile has entered what was bought after the copy was taken, for each key that uses the journal. The journal
as it was is kept beside the restored one.
For a journal in PostgreSQL it says which pg_restore line to run; afterwards run kros-mcp restore --after-pg-restore.

examples:
  kros-mcp restore /backups/kros-2026-05-03.sqlite3
  kros-mcp reconcile

exit codes:  0 restored   1 left as it was, or PostgreSQL   2 usage or settings   3 journal unusable
"""
_BUNDLING = """\
Claude Desktop installs the file by a double click, brings Python and all that is needed by itself, asks for the key
and the limits in a form, and keeps the key as a secret. No key and no setting of this terminal is in the file, so
that it can be given away.

examples:
  kros-mcp bundle                                  writes kros.mcpb here
  kros-mcp bundle ~/Desktop/kros.mcpb --force

exit codes:  0 written   1 the file is there already   2 usage, or it cannot be written
"""
_INSTALLING = """\
Writes one entry into Claude Desktop's own configuration file; other servers and settings stay as they are. The file
as it was is kept beside it, and --undo puts it back. The entry holds every KROS_* setting of this terminal, so that a
cap that is set here holds there too, and the key: from KROS_API_KEY, or typed without being shown.

examples:
  kros-mcp install claude-desktop --simulator      to look around; no key, no money
  KROS_MAX_PURCHASE_CENTS=1000 kros-mcp install claude-desktop
  kros-mcp install claude-desktop --print          only shows it; the key is left out
  kros-mcp install claude-desktop --undo

exit codes:  0 done   1 the name is another server's, a setting there would get lost, or kros-mcp will not stay here
             2 usage, settings, or a file that is not usable; it was left as it was
"""


def _port(text: str) -> int:
    """Read a port; getaddrinfo would take 99999 for 34463."""
    port = int(text)
    if not 0 <= port <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to {_LAST_PORT}, not {text}")
    return port


def add_http(commands: Commands) -> None:
    """Add the HTTP service."""
    http = add(commands, "http", "serve over HTTP, for many callers", _SERVING)
    http.add_argument("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
    http.add_argument("--port", type=_port, default=8000, help="on which port (8000); 0 for any that is free")
    http.add_argument(
        "--no-auth", action="store_true", help="let in whoever reaches it; on loopback only, for the MCP Inspector"
    )
    http.add_argument(
        "--stateless",
        action="store_true",
        help="keep no sessions, so that any replica answers any legacy client; those then confirm by code alone",
    )
    http.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the port (1); more than one need --stateless",
    )
    http.add_argument(
        "--log-level",
        choices=("error", "warning", "info", "debug"),
        default="info",
        help="which of its own lines it logs, as JSON on standard error (info)",
    )
    http.add_argument(
        "--simulator",
        action="store_true",
        default=argparse.SUPPRESS,
        help="replace KrosAI by a simulator in memory; needs no key",
    )


def add_desktop(commands: Commands) -> None:
    """Add the two ways into Claude Desktop."""
    install = add(commands, "install", "put this server into Claude Desktop's configuration", _INSTALLING)
    install.add_argument("client", choices=("claude-desktop",), help="which client")
    doing = install.add_mutually_exclusive_group()
    doing.add_argument("--print", action="store_true", dest="show", help="show the entry, and write nothing")
    doing.add_argument("--undo", action="store_true", help="take the entry out, and put back what was there before")
    install.add_argument("--name", default=SERVER_NAME, help="what the server is called there (kros)")
    install.add_argument("--config", metavar="FILE", help="the configuration file, if it is not where it should be")
    install.add_argument(
        "--simulator",
        action="store_true",
        default=argparse.SUPPRESS,
        help="let it run with KrosAI replaced by a simulator in memory; needs no key",
    )

    bundle = add(commands, "bundle", "write a bundle that Claude Desktop installs by a double click", _BUNDLING)
    bundle.add_argument("file", nargs="?", default="kros.mcpb", metavar="FILE", help="what to write (kros.mcpb)")
    bundle.add_argument("--force", action="store_true", help="replace the file if it is there")


def add_token(commands: Commands) -> None:
    """Add the command that lets somebody in."""
    token = add(commands, "token", "make, list or revoke tokens of callers of the HTTP service", _LETTING_IN)
    token.add_argument(
        "name", nargs="?", metavar="NAME", help="who it is for; with tokens| before it, the principal in the books"
    )
    token.add_argument("--scopes", metavar="SCOPES", help="what it permits, separated by commas")
    for name, meaning in (
        ("daily-budget", "in any 24 hours"),
        ("monthly-commitment", "a month for all numbers it has bought"),
        ("max-purchase", "for one number: setup plus first month"),
    ):
        token.add_argument(f"--{name}-cents", type=int, metavar="N", help=f"its own limit {meaning}")
    token.add_argument("--allowed-countries", metavar="COUNTRIES", help="where it may buy, such as NG,KE")
    token.add_argument("--file", metavar="FILE", help="the tokens file; KROS_TOKENS_FILE if left out")
    token.add_argument(
        "--replace", action="store_true", help="give NAME a new token in place of its old one; its rights stay"
    )
    token.add_argument("--list", action="store_true", help="show every caller, what they may do, and their limits")
    token.add_argument("--revoke", metavar="NAME", help="take the token of NAME back")


def add_books(commands: Commands) -> None:
    """Add the commands that read the books."""
    listing = add(commands, "operations", "list what was asked for, and how it ended", _LISTING)
    listing.add_argument("operation_id", nargs="?", metavar="ID", help="tell the story of this one, move by move")
    _add_filters(listing)
    listing.add_argument("--day", metavar="YYYY-MM-DD", help="only what was asked for on this day (UTC)")
    listing.add_argument("--limit", type=int, default=50, help="how many at most (50)", metavar="N")
    listing.add_argument("--json", action="store_true", help="one JSON document: cents as integers, times in UTC")

    exporting = add(commands, "export", "write every operation down as CSV for accounting", _EXPORTING)
    exporting.add_argument("--csv", action="store_true", help="as CSV, the only form so far and the default")
    _add_filters(exporting)
    exporting.add_argument("--since", metavar="YYYY-MM-DD", help="from this day on (UTC)")
    exporting.add_argument("--until", metavar="YYYY-MM-DD", help="up to and including this day (UTC)")
    exporting.add_argument(
        "--by",
        choices=("asked", "sent"),
        default="asked",
        help="whose day counts: when it was asked for (default), or when it was sent, which is when money moves",
    )
    exporting.add_argument("--output", metavar="FILE", help="a new file, readable by you alone; else standard output")
    exporting.add_argument("--force", action="store_true", help="replace the file if it is there")

    reconcile = add(commands, "reconcile", "compare the journal with KrosAI; changes nothing there", _RECONCILING)
    reconcile.add_argument("--json", action="store_true", help="one JSON document with every finding")
    reconcile.add_argument(
        "--known", metavar="ID", help="write down that what is found of this operation or number is known"
    )
    reconcile.add_argument("--reason", default="", help="why it may stay so; goes with --known, kept in the journal")


def add_decisions(commands: Commands) -> None:
    """Add the commands by which a person ends something."""
    for name, summary in (("approve", "say yes to a waiting operation"), ("deny", "say no to a waiting operation")):
        deciding = add(commands, name, summary, _DECIDING.format(name=name))
        deciding.add_argument("operation_id", metavar="ID")
        deciding.add_argument("--reason", default="", help="why; kept in the journal")
        deciding.add_argument("--yes", action="store_true", help="ask nothing at the terminal; needs --reason")

    settle = add(commands, "settle", "say how an operation with an unknown outcome ended", _SETTLING)
    settle.add_argument("operation_id", metavar="ID")
    settle.add_argument("outcome", choices=("done", "failed"))
    settle.add_argument("--reason", required=True, help="how you know; kept in the journal")
    settle.add_argument("--yes", action="store_true", help="ask nothing at the terminal")

    adopting = add(commands, "adopt", "hand the operations of a replaced key to this one", _ADOPTING)
    adopting.add_argument("former", metavar="FORMER", help="the former account's name, or how it begins")
    adopting.add_argument("--reason", default="", help="why; kept in the journal")
    adopting.add_argument("--yes", action="store_true", help="ask nothing at the terminal; needs --reason")


def add_copies(commands: Commands) -> None:
    """Add the commands that copy the journal, and put a copy back."""
    backup = add(commands, "backup", "copy the journal to a new file", _BACKING_UP)
    backup.add_argument("file", metavar="FILE", help="the new file")
    restore = add(commands, "restore", "put a copy of the journal back", _RESTORING)
    restore.add_argument("file", nargs="?", metavar="FILE", help="the copy")
    restore.add_argument("--yes", action="store_true", help="ask nothing at the terminal")
    restore.add_argument(
        "--after-pg-restore", action="store_true", help="the copy has been put back into PostgreSQL by pg_restore"
    )


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state", action="append", default=[], metavar="STATE", help="only these, such as unknown; repeatable"
    )
    parser.add_argument("--principal", metavar="NAME", help="only what this principal asked for")
    parser.add_argument(
        "--all-accounts", action="store_true", help="of every key that shares the journal, not of KROS_API_KEY alone"
    )


def add(commands: Commands, name: str, summary: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Add one command; `epilog` stands below its options as it is."""
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
