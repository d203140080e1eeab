"""The Inspector's command line: one call, one process."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.checks.node import program
from tests.support.processes import run_group

from .places import Era, Place, surroundings
from .walk import must

OK, TOOL_ERROR = 0, 5


@dataclass(frozen=True)
class Said:
    """What it printed."""

    result: dict[str, Any]
    findings: list[dict[str, Any]]
    """What `--strict` finds wrong with the tools' schemas, warnings too."""


class Cli:
    """Calls one server in one era."""

    def __init__(self, place: Place, era: Era, folder: Path) -> None:
        self._command = [*program("mcp-inspector"), "--cli", *place.target, "--protocol-era", era, "--format", "json"]
        self._environment = surroundings(folder)

    async def ask(self, method: str, *words: str, exits: int = OK) -> Said:
        """Call a method, and see that the Inspector ends as it should.

        Raises:
            DiffersError: It ended with another code.
        """
        command = [*self._command, "--method", method, *words]
        ended = await run_group(command, env=self._environment)
        must(
            ended.returncode == exits,
            f"the Inspector ended with {ended.returncode}, not {exits}: {ended.stderr[-500:]}",
        )
        told = json.loads(ended.stdout)
        return Said(told["result"], told.get("schemaFindings", []))

    async def call(self, tool: str, *, exits: int = OK, **arguments: Any) -> dict[str, Any]:
        """Call a tool; gives the structured content, once the text is seen to say the same first.

        Raises:
            DiffersError: The Inspector ended with another code than `exits`, or text and structure differ.
        """
        words = ("--tool-name", tool, "--tool-args-json", json.dumps(arguments))
        result = (await self.ask("tools/call", *words, exits=exits)).result
        must(bool(result.get("isError")) is (exits == TOOL_ERROR), f"isError is {result.get('isError')}")
        data: dict[str, Any] = result["structuredContent"]
        must(result["content"][0]["text"].startswith(data["summary"]), "text and structured content differ")
        return data
