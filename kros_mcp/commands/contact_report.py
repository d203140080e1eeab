"""A report of what KrosAI was asked and what it really answered: as text, as JSON, and as Markdown for a bug report.

All three are made from one document, and every text of that goes through `masking.masked` once more on its way there.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from kros_mcp import __version__
from kros_mcp.commands.console import Column, say, say_labelled, show_table
from kros_mcp.commands.findings import Finding, report, verdict
from kros_mcp.commands.masking import masked
from kros_mcp.errors import InvalidArgumentError, KrosError
from kros_mcp.times import utc

FORMAT: Final = 1
"""The version of the JSON; it grows when a field goes or changes its meaning."""
Verdict = Literal["as assumed", "differs", "not seen"]
_COLOURS: Final = {"differs": "yellow"}
_ASKED: Final = (
    Column("asked", least=24),
    Column("status"),
    Column("ms", right=True),
    Column("what came", least=24, leaves=True),
)
_VERDICT_COLUMNS: Final = 12
_LONGEST: Final = 255
"""How many bytes the name of a file may have."""


@dataclass(frozen=True)
class Fact:
    """One request, and what came back.

    Args:
        asked: What was asked for, in our words.
        status: The HTTP status, or in our words why there is none.
        milliseconds: How long the answer took; None if there was none.
        came: What else is to be told of it: kind of content, headers, records.
    """

    asked: str
    status: int | str
    milliseconds: int | None = None
    came: str = ""


@dataclass(frozen=True)
class Comparison:
    """What was assumed of one thing, and what was seen of it."""

    topic: str
    assumed: str
    seen: str
    verdict: Verdict


@dataclass(frozen=True)
class ContactReport:
    """What a person reads, keeps or sends on.

    Args:
        kind: Which command made it: "probe" or "rehearse".
        title: Its heading.
        circumstances: Under which it was made, such as the kind of the key; a sentence each.
        facts: What was asked, in its order.
        comparisons: What was assumed and seen.
        conclusions: What follows. Each begins with that, and says what to do.
        at: When it was made, in Unix seconds.
        shapes: The names and wrappers that were seen, as `--shapes` of the simulator takes them.
    """

    kind: Literal["probe", "rehearse"]
    title: str
    circumstances: Sequence[str]
    facts: Sequence[Fact]
    comparisons: Sequence[Comparison]
    conclusions: Sequence[Finding]
    at: float
    shapes: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def exit_code(self) -> int:
        """0, or the gravest exit code of the conclusions."""
        return verdict(self.conclusions)

    def document(self) -> dict[str, Any]:
        """Return all of it as JSON, masked."""
        whole = {
            "format": FORMAT,
            "kind": self.kind,
            "title": self.title,
            "made_by": f"kros-mcp {__version__}",
            "made_at": utc(self.at),
            "circumstances": list(self.circumstances),
            "facts": [vars(fact) for fact in self.facts],
            "findings": [vars(comparison) for comparison in self.comparisons],
            "conclusions": [
                {"mark": one.mark.lower(), "what": one.what, "to_do": one.to_do or None} for one in self.conclusions
            ],
            "exit_code": self.exit_code,
            "shapes": self.shapes,
        }
        return {name: _masked(value) for name, value in whole.items()}


def deliver(made: ContactReport, path: str, *, as_json: bool) -> int:
    """Print a report, and write it to a new file unless the path is empty; return its exit code.

    Raises:
        KrosError: It cannot be written; it was printed.
    """
    try:
        return show(made, as_json=as_json)
    finally:  # also where nobody reads the output to its end
        if path:
            write(made, path)


def show(made: ContactReport, *, as_json: bool) -> int:
    """Print a report as text or as JSON, and return its exit code."""
    document = made.document()
    if as_json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return made.exit_code
    say(document["title"], "bold")
    for sentence in (f"{document['made_by']}, {document['made_at']}.", *document["circumstances"]):
        say(sentence)
    print()
    show_table(_ASKED, [_cells(fact) for fact in document["facts"]])
    print()
    for one in document["findings"]:
        seen = f"{one['topic']}: {one['seen']}"
        if one["verdict"] == "differs":
            seen += f" (assumed: {one['assumed']})"
        style = _COLOURS.get(one["verdict"], "")
        say_labelled(one["verdict"], seen, columns=_VERDICT_COLUMNS, label_style=style)
    print()
    say("What follows", "bold")
    return report([_masked_finding(one) for one in made.conclusions])


def markdown(made: ContactReport) -> str:
    """Return a report as Markdown, with what follows first and the JSON of the shapes last."""
    document = made.document()
    lines = [f"# {_md(document['title'])}", "", f"{document['made_by']}, {document['made_at']}.", ""]
    lines += [f"- {_md(sentence)}" for sentence in document["circumstances"]]
    lines += ["", "## What follows", ""]
    for one in document["conclusions"]:
        to_do = f" → {_md(one['to_do'])}" if one["to_do"] else ""
        lines.append(f"- **{one['mark']}** {_md(one['what'])}{to_do}")
    lines += ["", "## Asked", "", *_md_table([column.title for column in _ASKED], map(_cells, document["facts"]))]
    if document["findings"]:
        rows = [(one["topic"], one["verdict"], one["assumed"], one["seen"]) for one in document["findings"]]
        lines += ["", "## Assumed and seen", "", *_md_table(("topic", "verdict", "assumed", "seen"), rows)]
    if document["shapes"] is not None:
        kept = json.dumps({name: document[name] for name in ("format", "kind", "shapes")}, indent=1, ensure_ascii=False)
        lines += ["", "<details><summary>Shapes, for <code>kros-mcp simulator --shapes FILE</code></summary>", ""]
        lines += ["```json", kept, "```", "", "</details>"]
    return "\n".join([*lines, ""])


def require_new(path: str) -> None:
    """Raise if a report could not be written to a file, before anything is asked for it.

    Raises:
        KrosError: Something has that name already.
        InvalidArgumentError: Its folder is not there or cannot be written, or the name is too long.
    """
    if os.path.lexists(path):
        raise KrosError(
            f"{path} is there already and was left as it is.",
            code="FILE_EXISTS",
            next_step="Name another file for --report.",
        )
    folder = Path(path).absolute().parent
    can_hold = os.access(folder, os.W_OK | os.X_OK) and folder.is_dir()
    if not can_hold or len(os.fsencode(Path(path).name)) > _LONGEST:
        raise _unwritable(path)


def write(made: ContactReport, path: str) -> None:
    """Write a report as Markdown to a new file.

    Raises:
        KrosError: The file is there already.
        InvalidArgumentError: It cannot be written.
    """
    require_new(path)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w", encoding="utf-8") as file:
            file.write(markdown(made))
    except OSError:
        raise _unwritable(path) from None


def _unwritable(path: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{path} cannot be written.", next_step="Name another file for --report.")


def _masked(value: Any) -> Any:  # noqa: ANN401 - JSON of any kind
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {masked(str(name)): _masked(one) for name, one in value.items()}
    return [_masked(one) for one in value] if isinstance(value, list | tuple) else value


def _masked_finding(finding: Finding) -> Finding:
    return Finding(finding.mark, masked(finding.what), masked(finding.to_do), finding.exit_code)


def _cells(fact: Mapping[str, Any]) -> tuple[str, ...]:
    taken = "" if fact["milliseconds"] is None else str(fact["milliseconds"])
    return str(fact["asked"]), str(fact["status"]), taken, str(fact["came"])


def _md(text: str) -> str:
    """Return a text that Markdown shows as it is, in a line or in a cell of a table."""
    shown = text.replace("\\", "\\\\").replace("\n", " ")
    for special in "|*<>`[]":
        shown = shown.replace(special, f"\\{special}")
    return shown


def _md_table(titles: Sequence[str], rows: Any) -> list[str]:  # noqa: ANN401 - any rows of cells
    head = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    return [*head, *(f"| {' | '.join(_md(cell) for cell in row)} |" for row in rows)]
