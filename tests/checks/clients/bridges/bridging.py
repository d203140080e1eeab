"""What all bridges share: one JSON object a line in, one a line out, around a client that somebody else wrote.

A bridge runs in an environment of its own and imports nothing of kros-mcp. It is asked:

    {"do": "connect", "transport": "stdio", "command": …, "args": […], "env": {…}, "prompts": true | false}
    {"do": "connect", "transport": "http", "url": …, "token": …, "prompts": true | false}
    {"do": "call", "tool": …, "arguments": {…}, "answer": null | {"action": …, "content": {…}}}
    {"do": "close"}

`prompts` says whether the client is given a handler for the server's prompts, as its users may or may not do; a
client that takes none disregards it. `answer` is what the handler gives; null is nobody there: it raises.
Answered is with the fields of `Client` to connect (prompts: whether there is a handler now), of `Shown` and
`asked` and `seconds` to call, and with an empty object to close.
"""

import asyncio
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Shown:
    """What a framework hands to its model after a call; `error` is None where it does not say."""

    text: str | None = None
    structured: dict[str, Any] | None = None
    error: bool | None = None


@dataclass
class Client:
    """A connected client, and what it is."""

    client: str
    protocol: str | None
    sees: str
    tools: list[dict[str, Any]]
    call: Callable[[str, dict[str, Any]], Awaitable[Shown]]
    prompts: bool = False


READING_SECONDS = 2.1
"""How long a person reads before turning a prompt down; sooner, the server takes it that nobody has."""


@dataclass
class Person:
    """Whoever answers the prompts of the client."""

    answer: dict[str, Any] | None = None
    asked: list[str] = field(default_factory=list)

    def reply(self, message: str) -> dict[str, Any]:
        """Give the answer to a prompt.

        Raises:
            RuntimeError: Nobody is there.
        """
        self.asked.append(message)
        if self.answer is None:
            raise RuntimeError("nobody is there to answer the prompt")
        if self.answer["action"] != "accept":
            time.sleep(READING_SECONDS)
        return self.answer


Connect = Callable[[dict[str, Any], Person], AbstractAsyncContextManager[Client]]


def run(connect: Connect) -> None:
    """Serve until told to close; whatever else is printed meanwhile goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        asyncio.run(_serve(connect, lambda answer: print(json.dumps(answer), file=answers, flush=True)))
    finally:
        sys.stdout = answers


async def _serve(connect: Connect, tell: Callable[[dict[str, Any]], None]) -> None:
    person = Person()
    wanted = await _heard()
    async with connect(wanted, person) as client:
        tell({name: value for name, value in vars(client).items() if name != "call"})
        while (wanted := await _heard())["do"] == "call":
            person.answer, person.asked = wanted.get("answer"), []
            began = time.perf_counter()
            shown = await _called(client, wanted["tool"], wanted["arguments"])
            seconds = time.perf_counter() - began
            tell({**vars(shown), "asked": "\n\n".join(person.asked) or None, "seconds": seconds})
    tell({})


async def _called(client: Client, tool: str, arguments: dict[str, Any]) -> Shown:
    """Call a tool; what a framework raises is how it tells that a call has failed."""
    try:
        return await client.call(tool, arguments)
    except Exception as exc:  # noqa: BLE001 - whatever a framework raises, and however
        traceback.print_exc()
        return Shown(text=str(exc), error=True)


async def _heard() -> dict[str, Any]:
    line = await asyncio.to_thread(sys.stdin.readline)
    return dict(json.loads(line)) if line else {"do": "close"}
