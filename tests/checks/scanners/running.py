"""How each scanner is run, in an environment of its own, and how its report is read."""

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.processes import KROS_MCP, run_group

from .findings import Finding, Scan, function_at

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "kros_mcp"
_PATIENCE_SECONDS = 300
_CISCO_NEEDS = (3, 11, 4)
# A new version may find more, which is for the person to read who raises the bound.
_VERSIONS = {
    "cisco-ai-mcp-scanner": ">=4.8,<4.9",
    "agent-audit": ">=0.20,<0.21",
    "agentraas": ">=0.14,<0.15",
    "agent-security-harness": ">=4.28,<4.29",
}
_CLEAN = "PATH", "HOME", "LANG", "TMPDIR"


class NothingScannedError(Exception):
    """A scanner ended without having looked at what it was shown."""


class NotTriedError(Exception):
    """A scanner does not run on this Python."""


async def cisco(url: str, token: str) -> Scan:
    """Cisco's scanner: tools over stdio and HTTP, prompts, resources, instructions, and the HTTP service itself."""
    if sys.version_info < _CISCO_NEEDS:
        raise NotTriedError(f"needs Python {'.'.join(map(str, _CISCO_NEEDS))}")
    began = time.perf_counter()
    script = Path(__file__).with_name("cisco.py")
    report = read_json(await run_alone("cisco-ai-mcp-scanner", "python", script, str(KROS_MCP), url, token))
    scanned = report["scanned"]
    if not report["sees_poison"]:
        raise NothingScannedError("cisco-ai-mcp-scanner finds nothing in a poisoned text, so its rules are not there.")
    if report["unfinished"]:
        raise NothingScannedError(f"cisco-ai-mcp-scanner did not finish: {', '.join(report['unfinished'])}.")
    _some("cisco-ai-mcp-scanner", min(scanned.values()))
    what = ", ".join(f"{count} {kind}{'s' if kind != 'instructions' else ''}" for kind, count in scanned.items())
    found = tuple(Finding("cisco-ai-mcp-scanner", rule, place) for rule, place in report["findings"])
    return Scan("cisco-ai-mcp-scanner", report["version"], what, found, time.perf_counter() - began)


async def agent_audit(_url: str, _token: str) -> Scan:
    """agent-audit: the sources, and what it takes each tool to be able to do."""
    began = time.perf_counter()
    everything = ("--severity", "info", "--min-tier", "suppressed", "--format", "json")
    sources = read_json(await run_alone("agent-audit", "agent-audit", "scan", *everything, SOURCES, codes=(0, 1)))
    tools = read_json(
        await run_alone("agent-audit", "agent-audit", "inspect", "--format", "json", "stdio", "--", *_stdio())
    )
    _some("agent-audit", sources["scanned_files"] and tools["tool_count"])
    found = [*map(_of_source, sources["findings"]), *_of_tools(tools)]
    what = f"{sources['scanned_files']} files, {tools['tool_count']} tools"
    return Scan("agent-audit", sources["version"], what, tuple(found), time.perf_counter() - began)


async def agentraas(_url: str, _token: str) -> Scan:
    """agentraas: which tools it takes for risky by their names and annotations."""
    began = time.perf_counter()
    [report] = read_json(await run_alone("agentraas", "agentraas", "scan", "--json", "--", *_stdio()))
    _some("agentraas", len(report["tools"]))
    found = tuple(
        Finding("agentraas", f"{tool['category']}, risk {tool['risk']}", f"tool {tool['name']}")
        for tool in report["tools"]
        if tool["risk"] != "low"
    )
    asked = "from importlib.metadata import version; print(version('agentraas'))"
    version = (await run_alone("agentraas", "python", "-c", asked)).strip()
    return Scan("agentraas", version, f"{len(report['tools'])} tools", found, time.perf_counter() - began)


SCANNERS: dict[str, Callable[[str, str], Awaitable[Scan]]] = {
    "cisco-ai-mcp-scanner": cisco,
    "agent-audit": agent_audit,
    "agentraas": agentraas,
}


def _of_source(one: dict[str, Any]) -> Finding:
    path, line = Path(one["location"]["file_path"]), one["location"]["start_line"]
    function = function_at(path, line) if path.suffix == ".py" else ""
    place = path.relative_to(ROOT).as_posix() + (f"::{function}" if function else "")
    return Finding("agent-audit", one["rule_id"], place)


def _of_tools(report: dict[str, Any]) -> Iterator[Finding]:
    for one in report["findings"]:
        yield Finding("agent-audit", str(one.get("rule_id")), f"tool {one.get('tool_name')}")
    for tool in report["tools"]:
        for permission in tool["permissions"]:
            yield Finding("agent-audit", permission, f"tool {tool['name']}")


def _stdio() -> tuple[str, str]:
    return str(KROS_MCP), "--simulator"


async def run_alone(package: str, *command: str | Path, codes: tuple[int, ...] = (0,)) -> str:
    """Run a program of a package in an environment of its own, without any key; answers its stdout."""
    own = ["uv", "run", "--isolated", "--no-project", "--quiet", "--python", sys.executable]
    own += ["--with", package + _VERSIONS[package]]
    environment = {name: os.environ[name] for name in os.environ if name in _CLEAN or name.startswith(("UV_", "SSL_"))}
    clean = {**environment, "NO_PROXY": "127.0.0.1", "NO_COLOR": "1"}
    done = await run_group([*own, *command], env=clean, seconds=_PATIENCE_SECONDS)
    if done.returncode not in codes:
        raise NothingScannedError(f"{package} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def read_json(text: str) -> Any:
    """Read a report; what a program says before its JSON is passed over."""
    start = min((place for place in (text.find("{"), text.find("[")) if place >= 0), default=0)
    try:
        return json.JSONDecoder().raw_decode(text[start:])[0]
    except json.JSONDecodeError as exc:
        raise NothingScannedError(f"a scanner's report is no JSON: {text[-500:]}") from exc


def _some(scanner: str, count: int) -> None:
    if not count:
        raise NothingScannedError(f"{scanner} looked at nothing.")
