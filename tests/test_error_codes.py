"""The operator's table of codes names every code that the program can give, and none that it cannot."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from kros_mcp.http import health
from kros_mcp.krosai import refusals

ROOT = Path(__file__).parent.parent
_BOUNDED = ("OVER_", "OVER_OWN_")
"""What `policy._Bound.code` puts before the rest of a code."""


def modules() -> list[ast.Module]:
    paths = [path for path in sorted((ROOT / "kros_mcp").rglob("*.py")) if "simulator" not in path.parts]
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


def constants(found: list[ast.Module]) -> dict[str, set[str]]:
    """The texts that names stand for, whichever module gives them."""
    named: dict[str, set[str]] = {}
    for module in found:
        for statement in module.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                    named.setdefault(name, set()).add(text)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))):
                    named.setdefault(name, set()).add(text)
    return named


def texts(value: ast.AST | None, named: dict[str, set[str]]) -> Iterator[str]:
    """The texts that an expression may come to."""
    match value:
        case ast.Constant(value=str(text)):
            yield text
        case ast.Name(id=name):
            yield from named.get(name, ())
        case ast.IfExp(body=one, orelse=other):
            yield from (*texts(one, named), *texts(other, named))
        case ast.BoolOp(values=values):
            for each in values:
                yield from texts(each, named)


def codes(node: ast.AST, named: dict[str, set[str]]) -> Iterator[str]:
    """The codes that a piece of the program gives: `code=…`, a class's `code`, a limit's own."""
    match node:
        case ast.keyword(arg="code", value=value):
            yield from texts(value, named)
        case (
            ast.Assign(targets=[ast.Name(id="code")], value=value)
            | ast.AnnAssign(target=ast.Name(id="code"), value=value)
        ):
            yield from texts(value, named)
        case ast.Call(func=ast.Attribute(attr="code"), args=[value]):
            yield from (before + rest for rest in texts(value, named) for before in _BOUNDED)


def given() -> set[str]:
    """Every code: those in the source, in KrosAI's table, and of `/readyz`."""
    found = modules()
    named = constants(found)
    every = {code for module in found for node in ast.walk(module) for code in codes(node, named)}
    return {code for code in every | {*refusals.REFUSALS, health.SLOW} if re.fullmatch(r"[A-Z][A-Z0-9_]+", code)}


def told() -> list[str]:
    """The codes in the first column of the tables of the operator's page."""
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8").split("\n## Each code\n")[1]
    cells = re.findall(r"^\| (`[A-Z].*?) \|", text, re.MULTILINE)
    return [code for cell in cells for code in re.findall(r"`([A-Z0-9_]+)`", cell)]


def test_the_operators_table_names_every_code_once_and_none_that_is_gone() -> None:
    codes = told()
    assert sorted(codes) == sorted(given())
    assert {"JOURNAL_RESTORED", "OVER_OWN_DAILY_BUDGET", "KYC_PENDING", "PROMPT_UNANSWERED"} <= set(codes)
