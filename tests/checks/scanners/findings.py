"""Findings of scanners, and the file in which each that stays has its reason."""

import ast
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path


@dataclass(frozen=True, order=True)
class Finding:
    """What a scanner found: by which rule, and where.

    `place` is a thing that the server offers, such as `tool buy_phone_number`, or a function of the sources, such as
    `kros_mcp/krosai/client.py::read`: lines move too often to be named.
    """

    scanner: str
    rule: str
    place: str

    def __str__(self) -> str:
        return f"{self.scanner}: {self.rule} at {self.place}"


@dataclass(frozen=True)
class Scan:
    """One scanner's run."""

    scanner: str
    version: str
    what: str
    """How much of what was scanned."""
    findings: tuple[Finding, ...]
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """Which findings have a reason, which have none, and which reasons have no finding any more."""

    explained: Counter[Finding]
    unexplained: Counter[Finding]
    stale: Counter[Finding]

    @property
    def holds(self) -> bool:
        return not self.unexplained and not self.stale


def compare(found: Iterable[Finding], reasons: Counter[Finding]) -> Verdict:
    """Compare findings with reasons, each as often as it is there."""
    counted = Counter(found)
    return Verdict(counted & reasons, counted - reasons, reasons - counted)


def read_reasons(path: Path) -> Counter[Finding]:
    """Read the file of reasons: tables `[[finding]]` of scanner, rule, place, reason, and `times` where not once.

    Lists `rules` and `places` stand for as many findings: each of the rules at each of the places.

    Raises:
        ValueError: An entry has no reason, stands there twice, or has a word too many or too few.
    """
    reasons: Counter[Finding] = Counter()
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["finding"]:
        if not str(entry.pop("reason", "")).strip():
            raise ValueError(f"{path.name}: an entry has no reason: {entry}")
        times = entry.pop("times", 1)
        rules, places = (entry.pop(f"{name}s", None) or [entry.pop(name, None)] for name in ("rule", "place"))
        for rule, place in product(rules, places):
            try:
                finding = Finding(**entry, **_given(rule=rule, place=place))
            except TypeError as exc:
                raise ValueError(f"{path.name}: an entry is not scanner, rule, place and reason: {entry}") from exc
            if finding in reasons:
                raise ValueError(f"{path.name}: twice the same: {finding}; say how many times")
            reasons[finding] = times
    return reasons


def _given(**words: str | None) -> dict[str, str]:
    return {name: word for name, word in words.items() if word is not None}


def function_at(path: Path, line: int) -> str:
    """Name the innermost function or class that a line of a Python file belongs to; empty outside of all."""
    inside = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return max(inside, key=lambda node: node.lineno).name if inside else ""
