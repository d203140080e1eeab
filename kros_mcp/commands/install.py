"""`kros-mcp install claude-desktop`: puts this server into Claude Desktop's configuration, and takes it out again."""

import getpass
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from kros_mcp.browser.launch import may_open
from kros_mcp.commands import desktop_config
from kros_mcp.commands.desktop_config import SERVERS, ConfigFile, config_path
from kros_mcp.commands.desktop_entry import (
    API_KEY,
    JOURNAL,
    REPLACED_BY_THE_SIMULATOR,
    entry,
    is_ours,
    left_out,
    without_login,
)
from kros_mcp.commands.doctor import check_key
from kros_mcp.commands.group import simulator_option
from kros_mcp.commands.setting_fields import described
from kros_mcp.errors import InvalidArgumentError, KrosError
from kros_mcp.journals.backends import place
from kros_mcp.money import show_cents
from kros_mcp.settings import PREFIX, Settings, load_settings

SERVER_NAME = "kros"
"""What the server is called in Claude Desktop, unless its person says otherwise."""
_HELP = """\
Put this server into Claude Desktop's configuration.

Writes one entry into Claude Desktop's own configuration file; other servers and settings stay as they are. The file as
it was is kept beside it, and --undo puts it back. The entry holds every KROS_* setting of this terminal, so that a cap
that is set here holds there too, and the key: from KROS_API_KEY, or typed without being shown.
"""
_EPILOG = """\
\b
examples:
  kros-mcp install claude-desktop --simulator      no key, no money
  KROS_MAX_PURCHASE_CENTS=1000 kros-mcp install claude-desktop
  kros-mcp install claude-desktop --print          shows it, without the key
  kros-mcp install claude-desktop --undo

\b
exit codes:
  0 done
  1 the name is another server's, a setting there would get lost, or
    kros-mcp will not stay here
  2 usage, settings, or a file that is not usable; it was left as it was
"""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_KEY = re.compile(r"kros_(live|test)_|eyJ")
_PLACEHOLDER = "put your KrosAI API key here"  # the settings know it for a placeholder
_NEXT = """\
Next:
  Quit Claude Desktop by its tray or menu bar (closing the window is not enough) and start it again.
  One that runs meanwhile may write the file anew without the entry: if it is gone, quit first, then run this again.
{try_key}  Keep the approval of buy_phone_number and release_phone_number on: do not choose "Always allow".
  To take it out again: {undo}
"""
_TRY_KEY = """\
  The key was not tried: KROS_API_KEY=... kros-mcp doctor tells whether KrosAI takes it.
"""


@click.command(help=_HELP, epilog=_EPILOG)
@click.argument("client", type=click.Choice(("claude-desktop",)), expose_value=False)
@click.option("--print", "show", is_flag=True, help="show the entry, and write nothing")
@click.option("--undo", is_flag=True, help="take the entry out, and put back what was there before")
@click.option("--name", default=SERVER_NAME, help="what the server is called there (kros)")
@click.option("--config", metavar="FILE", help="the configuration file, if it is not where it should be")
@simulator_option("let it run with KrosAI replaced by a simulator in memory; needs no key")
def install(name: str, config: str | None, *, show: bool, undo: bool, simulator: bool) -> int:
    """Put the server in, show what would be put in, or take it out.

    Raises:
        KrosError: A setting or the file is not usable, or the name is somebody else's; nothing was changed.
    """
    if show and undo:
        raise click.UsageError("--print and --undo exclude each other")
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            "A server's name is made of up to 32 letters, digits, hyphens and underscores.",
            next_step="Choose another --name.",
        )
    path = Path(config) if config else config_path(sys.platform, Path.home(), os.environ)
    if undo:
        return _undo(path, name)
    settings = _settings(simulator=simulator, may_ask=not show)
    wanted = entry(os.environ, simulator=simulator)
    if show:
        return _show(path, name, wanted)
    _put_in(desktop_config.read(path), name, wanted)
    _print_settings(wanted, settings)
    try_key = "" if simulator else _TRY_KEY
    print(_NEXT.format(try_key=try_key, undo=_undo_command(name, config)), end="")
    return 0


def _settings(*, simulator: bool, may_ask: bool) -> Settings:
    """Return the settings, if the server would start with them; ask for the key if there is none."""
    settings = load_settings(simulator=simulator)
    if settings.api_key is None and may_ask:
        if sys.stdin.isatty():
            os.environ[API_KEY] = _typed_key()  # of this process alone; so it is checked as any other
            settings = load_settings()
        settings.require_api_key()
    settings.require_principal()
    return settings


def _typed_key() -> str:
    try:
        return getpass.getpass("KrosAI API key (it is not shown): ").strip()
    except (EOFError, KeyboardInterrupt):
        raise KrosError("No key was given, so nothing was written.", next_step="") from None


def _put_in(config: ConfigFile, name: str, wanted: dict[str, Any]) -> None:
    there = config.servers.get(name)
    if there is not None and not is_ours(there):
        raise _not_ours(config, name)
    wanted = _merged(there, wanted)
    if there == wanted:
        print(f"{name} stands in {config.path} already, just so; nothing was written.")
        return
    if there is not None and (lost := _lost(there, wanted)):
        raise KrosError(
            f"{name} in {config.path} sets {', '.join(lost)}, which this terminal does not; a cap that gets lost is no "
            "cap, so nothing was written.",
            code="SETTINGS_LOST",
            next_step="Set them here too; or, to do without them, take that entry out first with --undo.",
        )
    desktop_config.put_in(config, name, wanted, keep_backup=there is not None)
    print(f"Written to {config.path}: {name}, which starts {_command(wanted)}.")
    if there is not None:
        print(f"  It replaces an older entry of kros-mcp, which started {_command(there)}.")
    if config.text is not None:
        print(f"  As it was before: {config.backup(name)}")
    if os.name == "posix" and API_KEY in wanted["env"] and config.path.stat().st_mode & 0o044:
        print(f"  Others on this machine can read that file, and the key in it: chmod 600 '{config.path}'")


def _merged(there: dict[str, Any] | None, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the new entry with what an older one holds besides and is not a setting of ours."""
    given = {name.upper() for name in wanted["env"]}  # a proxy's variable counts in either case
    others = {
        name: value
        for name, value in _env(there).items()
        if not name.upper().startswith(PREFIX) and name.upper() not in given
    }
    return {**(there or {}), **wanted, "env": {**wanted["env"], **others}}


def _lost(there: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the settings of an older entry that would be gone."""
    needless = REPLACED_BY_THE_SIMULATOR if "--simulator" in wanted["args"] else {API_KEY}
    ours = {name for name in _env(there) if name.upper().startswith(PREFIX)}  # the others stay, or are set anew
    return sorted((ours | _set_by_words(there)) - _env(wanted).keys() - needless)


def _env(found: dict[str, Any] | None) -> dict[str, Any]:
    env = (found or {}).get("env")
    return env if isinstance(env, dict) else {}


def _undo(path: Path, name: str) -> int:
    config = desktop_config.read(path)
    if name not in config.servers:
        print(f"There is no {name} in {config.path}; nothing was changed.")
        return 0
    if not is_ours(config.servers[name]):
        raise _not_ours(config, name)
    print(desktop_config.take_out(config, name))
    print("Quit Claude Desktop by its tray or menu bar, and start it again.")
    return 0


def _not_ours(config: ConfigFile, name: str) -> KrosError:
    return KrosError(
        f"The server {name} in {config.path} is not kros-mcp, and was left as it is.",
        code="NAME_TAKEN",
        next_step="Choose another --name.",
    )


def _show(path: Path, name: str, wanted: dict[str, Any]) -> int:
    """Print what would stand in the file, with no secret in it; how to go about it goes to standard error."""
    env: dict[str, str] = wanted["env"]
    masked = {variable: _masked(variable, value) for variable, value in env.items()}
    if "--simulator" not in wanted["args"]:
        masked = {API_KEY: _PLACEHOLDER, **masked}
    print(json.dumps({SERVERS: {name: {**wanted, "env": masked}}}, indent=2, ensure_ascii=False))
    print(f"This would go into {path}; nothing was written.", file=sys.stderr)
    return 0


def _masked(variable: str, value: str) -> str:
    if variable == API_KEY:
        return _PLACEHOLDER
    if _is_secret(variable):
        return "put its value here"
    is_database = variable == JOURNAL and not value.startswith("sqlite:")
    shown = place(value) if is_database else without_login(variable, value)
    return value if shown == value else f"put the address of {shown} here"


def _print_settings(wanted: dict[str, Any], settings: Settings) -> None:
    """Print the settings that the server will run with, and no secret."""
    env: dict[str, str] = wanted["env"]
    shown = [f"{variable}={_shown(variable, value)}" for variable, value in env.items() if variable != API_KEY]
    if API_KEY in env:
        key, currency = check_key(settings), settings.currency
        print(f"  {key.what} {key.to_do}".rstrip())
        most, budget = (show_cents(cap, currency) for cap in (settings.max_purchase_cents, settings.daily_budget_cents))
        print(f"  At most {most} for one number, {budget} in 24 hours.")
    if settings.simulator:
        print("  KrosAI is simulated in memory: no key, no money, and all is forgotten when it ends.")
    print(f"  Settings: {', '.join(shown)}; the others have their defaults." if shown else "  Settings: the defaults.")
    if settings.confirmation.opens_pages and not may_open(env, sys.platform):
        print("  This terminal has no display to write down, without which no page that asks opens.")
        print("  Run this again at the screen of whoever is to be asked.")
    if logins := [variable for variable, value in env.items() if without_login(variable, value) != value]:
        print(f"  A proxy's login is in {', '.join(logins)}, and so in that file now: keep it from others.")
    if others := left_out(os.environ, env):
        print(f"  Left out, since it does not read them: {', '.join(others)}.")


def _is_secret(variable: str) -> bool:
    """Whether a setting of ours, beside the key and the journal, is never shown."""
    return variable != JOURNAL and any(field.secret for field in described().values() if field.variable == variable)


def _shown(variable: str, value: str) -> str:
    if _is_secret(variable):
        return "***"
    return place(value) if variable == JOURNAL else without_login(variable, value)


def _command(found: dict[str, Any]) -> str:
    """Return a command without what its words set: as in `env KROS_API_KEY=... kros-mcp`, it may be a key."""
    shown = (f"{name}=..." if equals else name for name, equals, _ in _words_in_parts(found))
    return " ".join([str(found["command"]), *("..." if _KEY.match(word) else word for word in shown)])


def _set_by_words(found: dict[str, Any]) -> set[str]:
    """Return the settings that a command's own words set."""
    return {name for name, equals, _ in _words_in_parts(found) if equals and name.startswith(PREFIX)}


def _words_in_parts(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    arguments = found.get("args")
    words = arguments if isinstance(arguments, list) else []
    return [word.partition("=") for word in words if isinstance(word, str)]


def _undo_command(name: str, config: str | None) -> str:
    options = [] if name == SERVER_NAME else ["--name", name]
    options += ["--config", f"'{config}'"] if config else []
    return " ".join(["kros-mcp install claude-desktop --undo", *options])
