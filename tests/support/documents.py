"""The documents as data: their headings, links, tables, commands and sentences."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PROGRAM = "kros-mcp"
_HTML_LINK = re.compile(r'\b(?:src|srcset|href)="([^"]+)"')
_SHELLS = {"sh", "bash", "console", "shell"}
_SEPARATORS = frozenset({"&&", "||", "|", ";", "&", "(", ")", ">", ">>", "<", "|&", ">&"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_BEFORE_A_PROGRAM = frozenset({"uv", "run", "uvx", "sudo", "exec", "env", "npx", "--"})
_OPTIONS_WITH_A_VALUE = frozenset(
    {"--extra", "--from", "--directory", "--python", "--with", "-u", "-e", "--protocol-era"}
)
_OF_THE_INSPECTOR = frozenset({"--method", "--transport", "--tool-name", "--tool-args-json"})
_PLACEHOLDERS = frozenset({"…", "..."})


@dataclass(frozen=True)
class Document:
    """One Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        """Its path from the project's root."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tokens(self) -> list[Token]:
        return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(self.text)

    @property
    def _inline(self) -> Iterator[Token]:
        for token in self.tokens:
            yield from token.children or ()

    @cached_property
    def anchors(self) -> frozenset[str]:
        """What may stand behind a # in a link to it, as repositories' pages make them of headings."""
        found: dict[str, int] = {}
        anchors = set()
        for before, token in zip(self.tokens, self.tokens[1:], strict=False):
            if before.type == "heading_open":
                words = "".join(child.content for child in token.children or ())
                slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
                anchors.add(f"{slug}-{found[slug]}" if slug in found else slug)
                found[slug] = found.get(slug, 0) + 1
        return frozenset(anchors)

    @cached_property
    def links(self) -> tuple[str, ...]:
        """Every address that it links to or shows, as written."""
        links = [str(token.attrs[key]) for token in self._inline for key in ("href", "src") if key in token.attrs]
        html = [token.content for token in (*self.tokens, *self._inline) if token.type.startswith("html")]
        return tuple(links + [address for each in html for address in _HTML_LINK.findall(each)])

    @cached_property
    def shown_files(self) -> frozenset[Path]:
        """The files that it links to or shows."""
        return frozenset(self.target(link)[0] for link in self.links if "://" not in link)

    def target(self, link: str) -> tuple[Path, str]:
        """Return the file that a relative link means, and the anchor in it."""
        file, _, anchor = link.partition("#")
        return ((self.path.parent / file).resolve() if file else self.path), anchor

    @cached_property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The cells of every row of every table, as written; headings left out."""
        rows: list[list[str]] = []
        for before, token in zip(self.tokens, self.tokens[1:], strict=False):
            if token.type == "tr_open":
                rows.append([])
            if before.type == "td_open":
                rows[-1].append(token.content)
        return tuple(tuple(row) for row in rows if row)

    @cached_property
    def typed(self) -> tuple[tuple[str, ...], ...]:
        """The words after `kros-mcp` in every command of its code blocks."""
        blocks = [token.content for token in self.tokens if token.type == "fence" and token.info.strip() in _SHELLS]
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        return tuple(words for line in lines for words in commands(line.removeprefix("$ ")))

    @cached_property
    def mentioned(self) -> tuple[tuple[str, ...], ...]:
        """The words after `kros-mcp` in every piece of code within its sentences."""
        pieces = [token.content for token in self._inline if token.type == "code_inline"]
        return tuple(words for piece in pieces for words in commands(piece))

    @cached_property
    def modules(self) -> frozenset[str]:
        """The modules that it runs by `python -m`."""
        return frozenset(re.findall(r"python -m (tests[\w.]+)", self.text))

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """What stands in its paragraphs, list items and cells, piece by piece; code counts as one word."""
        spoken = ["".join(map(_words_of, token.children or ())) for token in self.tokens if token.type == "inline"]
        return tuple(sentence for text in spoken for sentence in re.split(r"(?<=[.!?])\s+", text) if sentence)


def _words_of(token: Token) -> str:
    if token.type == "code_inline":
        return "code"
    if token.type in {"softbreak", "hardbreak"}:
        return " "
    return token.content if token.type == "text" else ""


def commands(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the words after `kros-mcp` of each command in a line of a shell."""
    line = re.sub(r"(?<=\s)\d(?=>)", "", line)  # which stream goes into a file
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    statement: list[str] = []
    try:
        words = list(lexer)
    except ValueError:  # a quotation that goes over several lines, which no command of ours does
        return
    for word in (*words, ";"):
        if word not in _SEPARATORS:
            statement.append(word)
            continue
        if (start := _program(statement)) is not None:
            yield tuple(_ours(statement[start + 1 :]))
        statement = []


def _program(statement: list[str]) -> int | None:
    """Return where `kros-mcp` stands as the program that is started; None if it does not."""
    is_value = False
    for at, word in enumerate(statement):
        if word == PROGRAM:
            return at
        known = is_value or word.startswith("-") or word in _BEFORE_A_PROGRAM or _ASSIGNMENT.fullmatch(word)
        if not known and "inspector@" not in word:
            break
        is_value = word in _OPTIONS_WITH_A_VALUE
    # Programs that start another within a container or as somebody else.
    if "exec" in statement and PROGRAM in statement:
        return len(statement) - 1 - statement[::-1].index(PROGRAM)
    return None


def _ours(words: list[str]) -> Iterator[str]:
    if words[:1] in ([each] for each in _PLACEHOLDERS):  # any command
        return
    for word in words:
        if word in _OF_THE_INSPECTOR:
            return
        yield word


@cache
def all_documents() -> tuple[Document, ...]:
    """Return every document for people, in the order of their names."""
    paths = {*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")}
    return tuple(at(path) for path in sorted(paths))


@cache
def at(path: Path) -> Document:
    """Return the document in a file, which is read and parsed once."""
    return Document(path)


def document(name: str) -> Document:
    """Return a document by its path from the project's root."""
    return next(each for each in all_documents() if each.name == name)
