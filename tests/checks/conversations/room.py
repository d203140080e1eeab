"""The desk for a player outside of this program: it stays open between commands, each of which prints what is shown."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from .desk import Desk, lacking, open_desk, published
from .scenarios import BY_NAME, SCENARIOS
from .story import Way, keep

_OPENS_WITHIN_SECONDS = 60.0
_LEFT_ALONE_SECONDS = 1800.0
_LONGEST_REQUEST = 1_000_000
PLAYER = "player"
_started: list[subprocess.Popen[bytes]] = []
"""Desks that this program has opened; each outlives it, unless it is closed before."""


class DeskError(Exception):
    """The desk cannot do that; the sentence says why."""


def folder() -> Path:
    """Return where this desk is: the folder that DESK names, or one of this user's."""
    named = Path(os.environ.get("DESK") or Path(tempfile.gettempdir()) / f"kros-mcp-desk-{os.getuid()}")
    named.mkdir(mode=0o700, parents=True, exist_ok=True)
    return named.absolute()


def open_room(name: str, way: Way) -> str:
    """Open a scenario in a process of its own; what a model is shown first, and the person's first words.

    Args:
        name: Its name, or its place from 1 on, for players whom a name would tell too much.
        way: Where the person says yes.

    Raises:
        DeskError: There is no such scenario, or a desk is open here already.
    """
    if name.isdecimal() and 1 <= int(name) <= len(SCENARIOS):
        name = SCENARIOS[int(name) - 1].name
    if name not in BY_NAME:
        raise DeskError(f"There is no scenario {name}; there are {', '.join(BY_NAME)}.")
    here = folder()
    if _answers(here):
        raise DeskError("A desk is open here already; close it, or name another folder in DESK.")
    command = [sys.executable, "-m", "tests.checks.conversations", "desk", "serve", name, "--yes", way]
    with (here / "desk.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    _started.append(process)
    until = time.monotonic() + _OPENS_WITHIN_SECONDS
    while not _answers(here):
        if process.poll() is not None or time.monotonic() > until:
            raise DeskError(f"The desk did not open: {(here / 'desk.log').read_text(errors='replace')[-500:]}")
        time.sleep(0.05)
    return ask({"do": "open"})


def ask(wanted: dict[str, Any]) -> str:
    """Ask the open desk for something, and return what it prints.

    Raises:
        DeskError: No desk is open here.
    """
    with socket.socket(socket.AF_UNIX) as to:
        try:
            to.connect(str(folder() / "desk"))
        except OSError:
            raise DeskError("No desk is open here; begin with: desk open NAME") from None
        to.sendall(json.dumps(wanted).encode() + b"\n")
        answer = b""
        while part := to.recv(65_536):
            answer += part
    return answer.decode()


def _answers(here: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as to:
        try:
            to.connect(str(here / "desk"))
        except OSError:
            return False
        to.sendall(b'{"do": "nothing"}\n')
        return bool(to.recv(1))


async def serve(name: str, way: Way) -> None:
    """Keep a scenario open until it is closed, or left alone for half an hour; then keep its story."""
    here = folder()
    stories = Path(os.environ.get("STORIES") or here / "stories")
    own = Path(tempfile.mkdtemp(prefix="kros-mcp-desk-"))
    path = here / "desk"
    path.unlink(missing_ok=True)
    async with open_desk(BY_NAME[name], way, own, agent=PLAYER) as desk:
        story, closed = desk.story, anyio.Event()
        if lacks := lacking(desk.tools, desk.scenario.needs):
            print(f"This server lacks {', '.join(lacks)}, which the scenario is about.", flush=True)
            return
        used = [time.monotonic()]

        async def handle(stream: SocketStream) -> None:
            async with stream:
                used[0] = time.monotonic()
                wanted = json.loads(await BufferedByteReceiveStream(stream).receive_until(b"\n", _LONGEST_REQUEST))
                await stream.send((await _do(desk, wanted)).encode())
                if wanted["do"] == "close":
                    closed.set()
                used[0] = time.monotonic()

        async with await anyio.create_unix_listener(path) as listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, handle)
            while not closed.is_set() and time.monotonic() < used[0] + _LEFT_ALONE_SECONDS:
                with anyio.move_on_after(5):
                    await closed.wait()
            tasks.cancel_scope.cancel()
    keep([story], stories / f"{name}-{way}-{time.strftime('%H%M%S')}-{os.getpid()}.json")
    shutil.rmtree(own, ignore_errors=True)
    path.unlink(missing_ok=True)


async def _do(desk: Desk, wanted: dict[str, Any]) -> str:
    match wanted:
        case {"do": "open"}:
            return f"{published(desk)}\n\nPERSON: {desk.scenario.opening}"
        case {"do": "call", "tool": str(tool), "arguments": dict(arguments)}:
            if tool not in {each.name for each in desk.tools}:
                return desk.refuse(tool, f"There is no tool {tool!r}.")
            return await desk.call(tool, **arguments)
        case {"do": "say", "words": str(words)}:
            return f"PERSON: {desk.say(words)}"
        case {"do": "close"}:
            return f"closed after {len(desk.story.calls)} calls and {desk.story.characters} characters read"
        case _:
            return "."


def command(arguments: Sequence[str]) -> int:
    """Do what `desk …` says; 1 if it cannot."""
    try:
        match list(arguments):
            case ["open", name]:
                print(open_room(name, "code"))
            case ["open", name, "--yes", ("page" | "code") as way]:
                print(open_room(name, way))
            case ["call", tool, *given] if len(given) <= 1:
                print(ask({"do": "call", "tool": tool, "arguments": _object(given[0] if given else "{}")}))
            case ["say", words]:
                print(ask({"do": "say", "words": words}))
            case ["close"]:
                print(ask({"do": "close"}))
                _wait_until_gone()
            case ["serve", name, "--yes", ("page" | "code") as way]:
                anyio.run(serve, name, way)
            case _:
                print("desk open NAME [--yes page|code] | call TOOL ['{…}'] | say WORDS | close", file=sys.stderr)
                return 2
    except DeskError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


def _object(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise DeskError("The arguments must be one JSON object; nothing was called.")
    return given


def _wait_until_gone() -> None:
    """Wait until the story is kept, and the desk can be opened anew."""
    path, until = folder() / "desk", time.monotonic() + _OPENS_WITHIN_SECONDS
    while path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    while _started:
        _started.pop().wait(_OPENS_WITHIN_SECONDS)
