"""What the documents say holds: links, commands, settings, scopes, tools, and how long a sentence may be."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from kros_mcp import __version__
from kros_mcp.commands.group import kros_mcp
from kros_mcp.service_settings import LOOPBACK
from kros_mcp.settings import PREFIX, Settings
from kros_mcp.tools.specs import TOOL_SPECS, Scope
from tests.support.documents import PROGRAM, ROOT, Document, all_documents, at, commands, document

LONGEST_SENTENCE, MOST_LINES = 30, 160
PICTURES = ("*.png", "*.svg")
NEED_NOTHING = (
    "install claude-desktop --simulator",
    "token support-agent --scopes read,buy --daily-budget-cents 2000",
    "token --list",
)
"""Documented commands that are carried out here, in a home of their own; `--help` and the demo are elsewhere."""


EACH = pytest.mark.parametrize("each", [pytest.param(each, id=each.name) for each in all_documents()])


@EACH
def test_every_link_resolves(each: Document) -> None:
    broken = []
    for link in each.links:
        if "://" in link:
            parts = urlsplit(link)
            plain = parts.scheme == "http" and parts.hostname in LOOPBACK
            if not (parts.scheme == "https" or plain) or not parts.hostname or " " in link:
                broken.append(link)
            continue
        file, anchor = each.target(link)
        if not file.exists() or not file.is_relative_to(ROOT):
            broken.append(link)
        elif anchor and anchor not in at(file).anchors:
            broken.append(f"{link}: no such heading")
    assert not broken


@EACH
def test_no_link_installs_a_package_that_is_not_published(each: Document) -> None:
    """Whoever registered its name first would be handed the key of everybody who clicks."""
    assert [link for link in each.links if re.search(r"mcp/install|install-mcp", link)] == []


@EACH
def test_every_command_can_be_typed(each: Document) -> None:
    """Those in code blocks as they stand; those within sentences may leave out what they need."""
    wrong = []
    for words, whole in [*((words, True) for words in each.typed), *((words, False) for words in each.mentioned)]:
        try:
            check(words, whole=whole)
        except click.BadOptionUsage as exc:  # within a sentence, `--known` stands for itself
            wrong += [exc.format_message()] if whole else []
        except click.UsageError as exc:
            wrong.append(f"{PROGRAM} {' '.join(words)}: {exc.format_message()}")
    assert not wrong


def check(words: Sequence[str], *, whole: bool) -> None:
    """Parse a command without running it.

    Raises:
        click.UsageError: It has no such command, option or choice, or lacks something that it needs.
    """
    context = click.Context(kros_mcp, info_name=PROGRAM)
    given, rest, _ = kros_mcp.make_parser(context).parse_args(list(words))
    context.obj = bool(given.get("simulator"))
    if not rest:
        return
    command = kros_mcp.get_command(context, rest[0])
    if command is None:
        raise click.UsageError("no such command")
    if whole and not {"-h", "--help"} & {*rest}:
        command.make_context(rest[0], rest[1:], parent=context)
        return
    inner = click.Context(command, info_name=rest[0], parent=context)
    inner_given, beyond, _ = command.make_parser(inner).parse_args(rest[1:])
    if beyond:
        raise click.UsageError(f"{beyond[0]} means nothing")
    for parameter in command.get_params(inner):
        value = inner_given.get(parameter.name or "")
        if isinstance(value, str) and isinstance(parameter.type, click.Choice):
            parameter.type_cast_value(inner, value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pip install uv && uv run --no-dev kros-mcp demo    # watch", [("demo",)]),
        ("KROS_API_KEY=kros_test_... kros-mcp doctor", [("doctor",)]),
        ("uvx --from ./dist/one.whl kros-mcp demo | tail -n 1", [("demo",)]),
        (
            "npx @modelcontextprotocol/inspector@2 -e A=b uv run kros-mcp --simulator --method tools/list",
            [("--simulator",)],
        ),
        ("podman exec kros-mcp kros-mcp operations --json > all.json", [("operations", "--json")]),
        ("kros-mcp http --port 8001 2> http.log &", [("http", "--port", "8001")]),
        ("uv tool install 'kros-mcp[http]'; systemctl restart kros-mcp", []),
        ('kros-mcp settle op_… done --reason "it shows"', [("settle", "op_…", "done", "--reason", "it shows")]),
    ],
)
def test_a_command_is_found_in_a_line(line: str, words: list[tuple[str, ...]]) -> None:
    assert list(commands(line)) == words


@pytest.mark.parametrize("words", ["buy", "doctor --fix", "install somebody", "--simulate", "settle op_1", "adopt"])
def test_what_cannot_be_typed_is_found(words: str) -> None:
    with pytest.raises(click.UsageError):
        check(words.split(), whole=True)


def test_commands_that_need_nothing_do_what_they_say(tmp_path: Path) -> None:
    documented = {" ".join(words) for each in all_documents() for words in (*each.typed, *each.mentioned)}
    assert {*NEED_NOTHING} <= documented
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    places = {name: str(tmp_path) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "APPDATA", "LOCALAPPDATA")}
    environment = kept | places | {"KROS_TOKENS_FILE": str(tmp_path / "tokens.toml")}
    for words in NEED_NOTHING:
        command = [sys.executable, "-m", "kros_mcp", *words.split()]
        ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{words}: {ran.stderr}"


def test_every_check_that_is_named_is_there() -> None:
    named = {module for each in all_documents() for module in each.modules}
    assert named
    places = {module: ROOT / module.replace(".", "/") for module in named}
    assert not [name for name, path in places.items() if not path.is_dir() and not path.with_suffix(".py").is_file()]


def first_cells(of: str) -> Counter[str]:
    """How often a name of this form begins a row of a table in the documents."""
    cells = [row[0] for each in all_documents() for row in each.rows if row]
    return Counter(name for cell in cells for name in re.findall(rf"^`({of})`$", cell))


def test_every_setting_is_documented_once_with_its_default() -> None:
    fields = {f"{PREFIX}{name.upper()}": field for name, field in Settings.model_fields.items() if name != "simulator"}
    assert first_cells(rf"{PREFIX}\w+") == dict.fromkeys(fields, 1)
    rows = {row[0].strip("`"): row for row in document("docs/settings.md").rows}
    for name, field in fields.items():
        if field.default not in (None, "", ()):
            told = rows[name][1].strip("`").split("`")[0].split(";")[0]
            default = field.default if not isinstance(field.default, tuple) else ",".join(field.default)
            assert told == (f"{default:g}" if isinstance(default, float) else str(default).replace("False", "false"))


def test_every_scope_is_documented_once() -> None:
    assert first_cells(r"numbers:\w+") == dict.fromkeys(Scope, 1)


@pytest.mark.parametrize("name", ["README.md", "docs/tools.md"])
def test_every_tool_is_documented(name: str) -> None:
    assert Counter(
        row[0].strip("`") for row in document(name).rows if row[0].strip("`") in TOOL_SPECS
    ) == dict.fromkeys(TOOL_SPECS, 1)


def test_every_promise_stands_in_its_document() -> None:
    promised = re.findall(r"^(\d+)\. ", document("docs/promises.md").text, re.MULTILINE)
    assert [int(number) for number in promised] == [*range(1, 15)]


def test_the_version_that_is_named_is_the_packages() -> None:
    named = {version for each in all_documents() for version in re.findall(r"kros_mcp-([\d.]+)-py3", each.text)}
    assert named == {__version__}
    assert re.findall(r"^## \[([\d.]+)\]", document("CHANGELOG.md").text, re.MULTILINE)[0] == __version__


def test_readme_is_short_and_its_sentences_are() -> None:
    readme = document("README.md")
    assert len(readme.text.splitlines()) <= MOST_LINES
    assert [
        one
        for one in readme.sentences
        if len([word for word in one.split() if re.search(r"\w", word)]) > LONGEST_SENTENCE
    ] == []


def test_the_table_of_contents_leads_to_every_document() -> None:
    """Straight, or through the README of a folder."""
    contents = document("docs/README.md")
    folders = [at(file) for file in contents.shown_files if file.name == "README.md" and file.exists()]
    reached = {contents.path, *contents.shown_files, *(file for folder in folders for file in folder.shown_files)}
    assert [each.name for each in all_documents() if each.path not in reached] == []


def test_every_picture_is_shown_somewhere() -> None:
    shown = {file for each in all_documents() for file in each.shown_files}
    pictures = {path for form in PICTURES for path in (ROOT / "docs").rglob(form)}
    assert sorted(path.name for path in pictures - shown) == []
