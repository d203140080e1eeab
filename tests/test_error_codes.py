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


def trees() -> list[ast.Module]:
    paths = [path for path in sorted((ROOT / "kros_mcp").rglob("*.py")) if "simulator" not in path.parts]
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


def constants(modules: list[ast.Module]) -> dict[str, set[str]]:
    """The texts that names stand for, whichever module gives them."""
    found: dict[str, set[str]] = {}
    for module in modules:
        for statement in module.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Constant):
                target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
                if isinstance(target, ast.Name) and isinstance(statement.value.value, str):
                    found.setdefault(target.id, set()).add(statement.value.value)
    return found


def given() -> set[str]:
    """Every code in the source: of `code=…`, of classes' `code`, of a limit's own, of KrosAI's table, of `/readyz`."""
    modules = trees()
    named = constants(modules)

    def texts(value: ast.AST | None) -> Iterator[str]:
        match value:
            case ast.Constant(value=str(text)):
                yield text
            case ast.Name(id=name):
                yield from named.get(name, ())
            case ast.IfExp(body=one, orelse=other):
                yield from (*texts(one), *texts(other))
            case ast.BoolOp(values=values):
                for each in values:
                    yield from texts(each)

    found = {*refusals.REFUSALS, health.SLOW}
    for module in modules:
        for node in ast.walk(module):
            match node:
                case ast.keyword(arg="code", value=value):
                    found.update(texts(value))
                case ast.Call(func=ast.Attribute(attr="code"), args=[value]):
                    found.update(before + rest for rest in texts(value) for before in _BOUNDED)
                case ast.ClassDef(body=body):
                    for statement in body:
                        match statement:
                            case ast.Assign(targets=[ast.Name(id="code")], value=value):
                                found.update(texts(value))
                            case ast.AnnAssign(target=ast.Name(id="code"), value=value):
                                found.update(texts(value))
    return {code for code in found if re.fullmatch(r"[A-Z][A-Z0-9_]+", code)}


def told() -> list[str]:
    """The codes in the first column of the tables of the operator's page."""
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8").split("\n## Each code\n")[1]
    cells = re.findall(r"^\| (`[A-Z].*?) \|", text, re.MULTILINE)
    return [code for cell in cells for code in re.findall(r"`([A-Z0-9_]+)`", cell)]


def test_the_operators_table_names_every_code_once_and_none_that_is_gone() -> None:
    codes = told()
    assert sorted(codes) == sorted(given())
    assert {"JOURNAL_RESTORED", "OVER_OWN_DAILY_BUDGET", "KYC_PENDING", "PROMPT_UNANSWERED"} <= set(codes)
