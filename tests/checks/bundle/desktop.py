"""What Claude Desktop does with a bundle: validates it, unpacks it, fills in the form, starts it, talks to it."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from kros_mcp.simulator import Simulator, open_server
from tests.checks.node import HERE as NODE
from tests.checks.node import node, program

_LIBRARY = NODE / "node_modules" / "@anthropic-ai" / "mcpb" / "dist" / "index.js"
_SUBSTITUTE = Path(__file__).parent / "substitute.mjs"
POLICY = "https://publisher.example/privacy"
"""Named when the bundle is built, as a publisher does."""
LONGEST_START_SECONDS = 240.0
CAP = 7
"""Whole units, filled in at the form, to be found again in cents in the running server."""


@dataclass(frozen=True)
class Talk:
    """What the started server answered."""

    seconds: float
    tools: int
    numbers: int
    max_purchase_cents: int
    quoted: str
    """Live, test or simulator, as a quote says."""


def validate_and_unpack(bundle: Path, folder: Path) -> dict[str, Any]:
    """Let the official tool do both.

    Returns:
        The manifest.

    Raises:
        CalledProcessError: It refuses the bundle; what it said stands on standard output.
        RuntimeError: The policies of `POLICY` are lost.
    """
    mcpb = program("mcpb")
    subprocess.run([*mcpb, "unpack", str(bundle), str(folder)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*mcpb, "validate", str(folder / "manifest.json")], check=True, stdout=subprocess.DEVNULL)
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if not manifest.get("privacy_policies"):
        raise RuntimeError("the privacy policies that were named are not in the manifest")
    return manifest


def started(folder: Path, answers: Mapping[str, object], state: Path) -> StdioServerParameters:
    """Say how Claude Desktop starts the server, once somebody has filled in the form.

    Args:
        folder: The unpacked bundle.
        answers: What they filled in; the rest stays as the form shows it.
        state: Where the journal goes, in place of their own state directory.
    """
    filled = subprocess.run(
        [node(), str(_SUBSTITUTE), str(_LIBRARY), str(folder), json.dumps(dict(answers))],
        check=True,
        capture_output=True,
        text=True,
    )
    config = json.loads(filled.stdout)
    if config is None:
        raise RuntimeError("what the form requires was not filled in")
    surroundings = {
        name: value
        for name, value in os.environ.items()
        if name != "VIRTUAL_ENV" and not name.upper().startswith("KROS_")
    }
    return StdioServerParameters(
        command=config["command"],
        args=config["args"],
        env={**surroundings, **config["env"], "XDG_STATE_HOME": str(state), "NO_PROXY": "127.0.0.1"},
        cwd="/",
    )


async def try_out(folder: Path, state: Path) -> Talk:
    """Start an unpacked bundle before a simulated KrosAI, with its key, its address and a cap filled in; talk to it."""
    sim = Simulator()
    async with open_server(sim) as base_url:
        answers = {"api_key": sim.api_key, "base_url": base_url, "max_purchase": CAP}
        return await talk(started(folder, answers, state))


async def try_simulator(folder: Path, state: Path) -> Talk:
    """Start an unpacked bundle with nothing filled in but the switch of the simulator; talk to it."""
    return await talk(started(folder, {"simulator": True}, state))


async def talk(server: StdioServerParameters) -> Talk:
    """Start it, list its tools, search, ask to buy, and read the caps in force.

    Raises:
        TimeoutError: It did not come up in time.
        RuntimeError: A call failed.
    """
    begun = time.monotonic()
    with anyio.fail_after(LONGEST_START_SECONDS):
        async with Client(server) as client:
            tools = (await client.list_tools()).tools
            seconds = time.monotonic() - begun
            found = await _call(client, "search_phone_numbers", country="NG")
            offered = next(number for number in found["numbers"] if number["due_now_cents"] <= CAP * 100)
            asked = await _call(client, "buy_phone_number", inventory_id=offered["inventory_id"], country="NG")
            spending = await _call(client, "get_spending")
    quoted = asked["quote"]["environment"]
    return Talk(seconds, len(tools), len(found["numbers"]), spending["max_purchase_cents"], quoted)


async def _call(client: Client, tool: str, **arguments: str) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    if result.is_error or result.structured_content is None:
        raise RuntimeError(f"{tool} failed: {result.content}")
    data: dict[str, Any] = result.structured_content
    return data
