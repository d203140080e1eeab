"""The clients that are tried, and what is expected of each.

A client that shows prompts, or marks failures, must go on doing so: what it loses is a failure, never a dash. A new
client is a script in `bridges` that answers as `bridges/bridging.py` says, and a line here.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .environments import uv

BRIDGES = Path(__file__).parent / "bridges"
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
Transport = Literal["stdio", "http"]
TRANSPORTS: tuple[Transport, ...] = ("stdio", "http")


@dataclass(frozen=True)
class Bridge:
    """A client, and the script that drives it."""

    name: str
    """As it is called where it is published."""
    command: Callable[[], list[str]]
    """Makes the command of its bridge; called when it is about to start, so that it may install what is missing."""
    prompts: bool
    """Whether it shows the server's prompts when it is given a handler for them."""
    marks_failures: bool = True
    """Whether its model is told apart from the words that a call has failed."""
    server_per_call: bool = False
    """Whether, over stdio, it starts a server for each call and waits for its end, which takes some seconds more."""
    heavy: bool = False
    """Whether it brings hundreds of megabytes, and is left out by `--quick`."""


def in_python(name: str) -> Callable[[], list[str]]:
    """Say how a bridge in Python is run: in an environment made of what it names at its top, and of that alone."""

    return lambda: [uv(), "run", "--quiet", "--python", sys.executable, "--script", str(BRIDGES / f"{name}.py")]


def beside(example: str, name: str) -> Callable[[], list[str]]:
    """Say how a bridge is run in the environment of an example: that framework is installed once."""
    module = "tests.checks.clients.environments"
    return lambda: [sys.executable, "-m", module, str(EXAMPLES / example), str(BRIDGES / f"{name}.py")]


def in_node(name: str, *arguments: str) -> Callable[[], list[str]]:
    """Say how a bridge in JavaScript is run: by the project's own Node, with what stands in `tests/checks/node`."""
    return lambda: [sys.executable, "-m", "tests.checks.node", str(BRIDGES / f"{name}.mjs"), *arguments]


ROSTER: tuple[Bridge, ...] = (
    Bridge("python-sdk", in_python("python-sdk"), prompts=True),
    Bridge("typescript-client", in_node("typescript-client", "auto"), prompts=True),
    Bridge("typescript-client-legacy", in_node("typescript-client", "legacy"), prompts=True),
    Bridge("typescript-sdk", in_node("typescript-sdk"), prompts=True),
    Bridge("openai-agents", in_python("openai-agents"), prompts=False, marks_failures=False),
    Bridge("pydantic-ai", in_python("pydantic-ai"), prompts=True),
    Bridge("langchain-mcp-adapters", in_python("langchain-mcp-adapters"), prompts=True, server_per_call=True),
    Bridge("google-adk", in_python("google-adk"), prompts=True),
    Bridge("fastmcp", in_python("fastmcp-client"), prompts=True),
    Bridge("livekit-agents", beside("livekit_agent.py", "livekit-agents"), prompts=False, heavy=True),
    Bridge("pipecat-ai", beside("pipecat_agent.py", "pipecat-ai"), prompts=False, marks_failures=False, heavy=True),
)
