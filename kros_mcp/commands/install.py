"""`kros-mcp install`: puts this server into a client's configuration, and takes it out again."""

import getpass
import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from kros_mcp.browser.launch import may_open
from kros_mcp.commands import install_file
from kros_mcp.commands.doctor import check_key
from kros_mcp.commands.group import simulator_option
from kros_mcp.commands.install_clients import CLIENTS, InstallClient
from kros_mcp.commands.install_entry import REPLACED_BY_THE_SIMULATOR, entry, is_installed, is_ours, left_out
from kros_mcp.commands.install_file import ConfigFile
from kros_mcp.commands.install_secrets import (
    API_KEY,
    KEY_PLACEHOLDER,
    asked_for,
    key_wanted,
    masked,
    shown,
    without_login,
)
from kros_mcp.errors import InvalidArgumentError, KrosError
from kros_mcp.money import show_cents
from kros_mcp.settings import PREFIX, SECRET_FILES, Confirmation, Settings, load_settings

SERVER_NAME = "kros"
"""What the server is called in a client, unless its person says otherwise."""
_HELP = """\
Put this server into the configuration of a client.

CLIENT is claude-desktop, claude-code, cursor, vscode or codex.

Writes one entry into the client's own configuration file; other servers, settings and comments stay as they are. The
file as it was is kept beside it, and --undo puts it back. The entry holds every KROS_* setting of this terminal, so
that a cap that is set here holds there too, and the key: from KROS_API_KEY, or typed without being shown. VS Code asks
for the key and other secrets itself, so its file holds none.
"""
_EPILOG = """\
\b
examples:
  kros-mcp install claude-desktop --simulator      no key, no money
  KROS_MAX_PURCHASE_CENTS=1000 kros-mcp install claude-code
  kros-mcp install cursor --config .cursor/mcp.json    for one project
  kros-mcp install vscode --config .vscode/mcp.json
  kros-mcp install codex --print                   shows it, without the key
  kros-mcp install codex --undo

\b
exit codes:
  0 done
  1 the name is another server's, a setting there would get lost, or
    kros-mcp will not stay here
  2 usage, settings, or a file that is not usable; it was left as it was
"""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_KEY = re.compile(r"kros_(live|test)_|eyJ|bearer|authorization|@", re.IGNORECASE)
_BEFORE_A_SECRET = re.compile(r"--?[^\s=]*(key|token|secret|passw|auth|header)[^\s=]*", re.IGNORECASE)
_TRY_KEY = "The key was not tried: KROS_API_KEY=... kros-mcp doctor tells whether KrosAI takes it."
_KEEP_APPROVAL = (
    'Keep the approval of buy_phone_number and release_phone_number on: do not choose "Always allow" or the like.'
)


@click.command(help=_HELP, epilog=_EPILOG)
@click.argument("client", type=click.Choice(tuple(CLIENTS)), metavar="CLIENT")
@click.option("--print", "show", is_flag=True, help="show the entry, and write nothing")
@click.option("--undo", is_flag=True, help="take the entry out, and put back what was there before")
@click.option("--name", default=SERVER_NAME, help="what the server is called there (kros)")
@click.option("--config", metavar="FILE", help="the configuration file, if it is not where it should be")
@simulator_option("let it run with KrosAI replaced by a simulator in memory; needs no key")
def install(client: str, name: str, config: str | None, *, show: bool, undo: bool, simulator: bool) -> int:
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
    chosen = CLIENTS[client]
    path = Path(config) if config else chosen.find(sys.platform, Path.home(), os.environ)
    if undo:
        return _undo(chosen, path, name)
    settings = _settings(simulator=simulator, needs_key=not show and chosen.inputs is None)
    given = entry(os.environ, simulator=simulator)
    wanted, questions = _formed(chosen, name, given, simulator=simulator)
    if show:
        return _show(chosen, path, name, wanted, questions)
    written = _put_in(install_file.read(chosen, path), name, wanted, questions)
    pages_open = may_open(_env(written), sys.platform)
    _print_settings(chosen, given, settings, pages_open=pages_open)
    steps = [chosen.restart, chosen.check.format(name=name)]
    if not simulator and chosen.inputs is None:
        steps.append(_TRY_KEY)
    steps += [
        chosen.asks(settings.confirmation, pages_open=pages_open),
        _KEEP_APPROVAL,
        f"To take it out again: {_undo_command(client, name, config)}",
    ]
    print("\n  ".join(["Next:", *steps]))
    return 0


def _settings(*, simulator: bool, needs_key: bool) -> Settings:
    """Return the settings, if the server would start with them; ask for the key if there is none and it goes in."""
    settings = load_settings(simulator=simulator)
    if settings.api_key is None and needs_key:
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


def _formed(
    client: InstallClient, name: str, given: dict[str, Any], *, simulator: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return an entry in the client's form, and what the client asks its person for."""
    env: dict[str, str] = given["env"]
    questions: list[dict[str, Any]] = []
    if client.inputs is not None:
        env, questions = asked_for(name, env if simulator else {**key_wanted(env), **env})
    return {"command": given["command"], "args": given["args"], **client.beside, "env": env}, questions


def _put_in(config: ConfigFile, name: str, wanted: dict[str, Any], questions: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the entry, and return it with what stood there besides."""
    there = config.servers.get(name)
    if there is not None and not is_ours(there):
        raise _not_ours(config, name)
    wanted = _merged(there, wanted, config.client)
    if there == wanted and {one["id"] for one in questions} <= config.inputs.keys():
        print(f"{name} stands in {config.path} already, just so; nothing was written.")
        return wanted
    if there is not None and (lost := _lost(there, wanted)):
        raise KrosError(
            f"{name} in {config.path} sets {', '.join(lost)}, which this terminal does not; a cap that gets lost is no "
            "cap, so nothing was written.",
            code="SETTINGS_LOST",
            next_step="Set them here too; or, to do without them, take that entry out first with --undo.",
        )
    install_file.put_in(config, name, wanted, questions, keep_backup=is_installed(there))
    print(f"Written to {config.path}: {name}, which starts {_command(wanted)}.")
    if there is not None:
        print(f"  It replaces an older entry of kros-mcp, which started {_command(there)}.")
    if config.text is not None:
        print(f"  As it was before: {config.backup(name)}")
    in_git = any((folder / ".git").exists() for folder in config.path.parents)
    for path, env in ((config.path, wanted["env"]), (config.backup(name), _env(there))):
        if not _holds_secrets(env) or not path.is_file():
            continue
        if os.name == "posix" and path.stat().st_mode & 0o044:
            print(f"  Others on this machine can read that file, and the key in it: chmod 600 '{path}'")
        if in_git:
            print(f"  {path} lies in a git repository: keep it out of commits, since a key stands in it.")
    return wanted


def _holds_secrets(env: dict[str, Any]) -> bool:
    told = {variable: value for variable, value in env.items() if isinstance(value, str) and "${input:" not in value}
    return any(masked(variable, value) != value for variable, value in told.items())


def _merged(there: dict[str, Any] | None, wanted: dict[str, Any], client: InstallClient) -> dict[str, Any]:
    """Return the new entry with what an older one holds besides and is not a setting of ours."""
    given = {name.upper() for name in wanted["env"]}  # a proxy's variable counts in either case
    others = {
        name: value
        for name, value in _env(there).items()
        if not name.upper().startswith(PREFIX) and name.upper() not in given
    }
    kept = {name: value for name, value in (there or {}).items() if name in client.beside}  # its person's own limits
    return {**(there or {}), **wanted, **kept, "env": {**wanted["env"], **others}}


def _lost(there: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the settings of an older entry that would be gone; not a secret that went into a file, or out of one."""
    needless = REPLACED_BY_THE_SIMULATOR if "--simulator" in wanted["args"] else {API_KEY}
    ours = {name for name in _env(there) if name.upper().startswith(PREFIX)}  # the others stay, or are set anew
    either = {*SECRET_FILES.items(), *((setting, variable) for variable, setting in SECRET_FILES.items())}
    kept = _env(wanted).keys() | {one for one, other in either if other in _env(wanted)}
    return sorted((ours | _set_by_words(there)) - kept - needless)


def _env(found: dict[str, Any] | None) -> dict[str, Any]:
    env = (found or {}).get("env")
    return env if isinstance(env, dict) else {}


def _undo(client: InstallClient, path: Path, name: str) -> int:
    config = install_file.read(client, path)
    if name not in config.servers:
        print(f"There is no {name} in {config.path}; nothing was changed.")
        return 0
    if not is_ours(config.servers[name]):
        raise _not_ours(config, name)
    print(install_file.take_out(config, name))
    print(client.restart)
    return 0


def _not_ours(config: ConfigFile, name: str) -> KrosError:
    return KrosError(
        f"The server {name} in {config.path} is not kros-mcp, and was left as it is.",
        code="NAME_TAKEN",
        next_step="Choose another --name.",
    )


def _show(client: InstallClient, path: Path, name: str, wanted: dict[str, Any], questions: list[dict[str, Any]]) -> int:
    """Print what would stand in the file, with no secret in it; how to go about it goes to standard error."""
    env: dict[str, str] = wanted["env"]
    if client.inputs is None:
        env = {variable: masked(variable, value) for variable, value in env.items()}
        if "--simulator" not in wanted["args"]:
            env = {**dict.fromkeys(key_wanted(env), KEY_PLACEHOLDER), **env}
    asked = {client.inputs: questions} if client.inputs and questions else {}
    print(client.text.written({**asked, client.servers: {name: {**wanted, "env": env}}}).rstrip())
    print(f"This would go into {path}; nothing was written.", file=sys.stderr)
    return 0


def _print_settings(client: InstallClient, given: dict[str, Any], settings: Settings, *, pages_open: bool) -> None:
    """Print the settings that the server will run with, and no secret.

    Args:
        client: Where it runs.
        given: The entry with its secrets.
        settings: What the terminal has set.
        pages_open: Whether a browser opens from where the entry runs.
    """
    env: dict[str, str] = given["env"]
    told = [f"{variable}={shown(variable, value)}" for variable, value in env.items() if variable != API_KEY]
    if settings.simulator:
        print("  KrosAI is simulated in memory: no key, no money, and all is forgotten when it ends.")
    else:
        if client.inputs is None:
            key = check_key(settings)
            print(f"  {key.what} {key.to_do}".rstrip())
        currency = settings.currency
        most, budget = (show_cents(cap, currency) for cap in (settings.max_purchase_cents, settings.daily_budget_cents))
        print(f"  At most {most} for one number, {budget} in 24 hours.")
        if settings.monthly_commitment_cents is None:
            print("  What is bought costs again every month until it is released, and no limit of a month is set:")
            print("  KROS_MONTHLY_COMMITMENT_CENTS sets one.")
    print(f"  Settings: {', '.join(told)}; the others have their defaults." if told else "  Settings: the defaults.")
    if client.inputs is not None and not settings.simulator:
        hidden = {variable: value for variable, value in env.items() if masked(variable, value) != value}
        if secret := key_wanted(env) | hidden:
            print(f"  {client.called} asks for {', '.join(secret)} itself, and keeps it; the file holds no secret.")
    needs_page = settings.confirmation is Confirmation.BROWSER or not client.shows_prompts
    if needs_page and settings.confirmation.opens_pages and not pages_open:
        print("  This terminal has no display to write down, without which no page that asks opens.")
        print("  Run this again at the screen of whoever is to be asked.")
    logins = [variable for variable, value in env.items() if without_login(variable, value) != value]
    if logins and client.inputs is None:
        print(f"  A proxy's login is in {', '.join(logins)}, and so in that file now: keep it from others.")
    if others := left_out(os.environ, env):
        print(f"  Left out, since it does not read them: {', '.join(others)}.")


def _command(found: dict[str, Any]) -> str:
    """Return a command without what its words set, a key, or an address's login: `env KROS_API_KEY=... kros-mcp`."""
    words = [f"{name}=..." if equals else name for name, equals, _ in _words_in_parts(found)]
    hidden = [
        bool(_KEY.search(word) or _BEFORE_A_SECRET.fullmatch(before))
        for before, word in zip(["", *words], words, strict=False)
    ]
    return " ".join(
        [str(found["command"]), *("..." if hide else word for hide, word in zip(hidden, words, strict=True))]
    )


def _set_by_words(found: dict[str, Any]) -> set[str]:
    """Return the settings that a command's own words set."""
    return {name for name, equals, _ in _words_in_parts(found) if equals and name.startswith(PREFIX)}


def _words_in_parts(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    arguments = found.get("args")
    words = arguments if isinstance(arguments, list) else []
    return [word.partition("=") for word in words if isinstance(word, str)]


def _undo_command(client: str, name: str, config: str | None) -> str:
    options = [] if name == SERVER_NAME else ["--name", name]
    options += ["--config", f"'{config}'"] if config else []
    return " ".join([f"kros-mcp install {client} --undo", *options])
