"""`python -m tests.checks.examples`: start the voice agents of `docs/examples` as their document says; talk to them.

The examples, the HTTP service, its token and the simulated KrosAI are the real ones, each in a process of its own; in
place of a language model stands `docs/examples/scripted_model.py`. A caller is told of a purchase that KrosAI refused
while it was pending, has another one made while KrosAI is slow, has its calls sent somewhere after the service was
killed and started again, and is refused a second one. What was said aloud and KrosAI's books tell how it went.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.support.processes import KROS_MCP, end_as_by_ctrl_c, open_group, run_group
from tests.support.replicas import Service, open_service

from .clients.environments import uv
from .clients.roster import EXAMPLES
from .clients.world import START_SECONDS, Krosai, environment, open_krosai

AGENTS = ("livekit_agent.py", "pipecat_agent.py")
SCRIPT = "try.sh"
"""Starts all that the document's first command needs, and the least of the agents."""
DOCUMENT = EXAMPLES / "README.md"

_ANSWER_SECONDS = 30.0
_INSTALL_SECONDS = 900.0
_READY = "Type what the caller says"
_SPEAKS = "AGENT: "
_UNSPEAKABLE = re.compile(
    r"\bop_\w+|[0-9a-f]{8}-[0-9a-f]{4}|\b[0-9A-Z]{4}-[0-9A-Z]{4}\b|KROS_|_id\b|confirmation_code|krosmcp_"
)
"""Ids of operations and of KrosAI's, codes, settings, fields and tokens."""


class WrongError(Exception):
    """An example went otherwise than it must."""


@dataclass
class Call:
    """A caller on the line with an agent; `spoken` is all that the agent has said."""

    process: Process
    output: BufferedByteReceiveStream
    spoken: list[str] = field(default_factory=list)

    async def say(self, words: str) -> None:
        """Say something, which an empty line ends the call with."""
        assert self.process.stdin is not None
        await self.process.stdin.send(f"{words}\n".encode())

    async def hear(self, wanted: str, seconds: float = _ANSWER_SECONDS) -> str:
        """Wait until the agent says something with these words in it.

        Raises:
            WrongError: It said something else, or nothing in time.
        """
        line = await self.next_line(seconds, f"{wanted!r} was not said")
        if wanted not in line:
            raise WrongError(f"{line!r} was said where {wanted!r} was expected")
        self.spoken.append(line.removeprefix(_SPEAKS))
        return line

    async def next_line(self, seconds: float, otherwise: str) -> str:
        try:
            with anyio.fail_after(seconds):
                return (await self.output.receive_until(b"\n", 100_000)).decode().strip()
        except TimeoutError:
            raise WrongError(f"{otherwise} within {seconds:.0f} seconds") from None
        except (anyio.EndOfStream, anyio.IncompleteRead):
            raise WrongError(f"{otherwise}: the agent has ended") from None


def unspeakable(spoken: Sequence[str], books: dict[str, Any]) -> list[str]:
    """Return what was said aloud although no caller can do anything with it.

    Args:
        spoken: What the agent said.
        books: The simulated KrosAI's, whose ids must not be heard either.
    """
    ids = {number["id"] for number in books["owned"]} | {number["endpoint_id"] for number in books["owned"]}
    heard = [found for words in spoken for found in _UNSPEAKABLE.findall(words)]
    return heard + [each for each in ids if each and any(each in words for words in spoken)]


async def converse(call: Call, krosai: Krosai, line: "Line") -> None:
    """Be the caller, from the first wish to the refusal."""
    await call.say("I need a phone number in Abuja.")
    await call.hear("Shall I buy it?")
    await krosai.hold_purchases()
    await krosai.refuse_next_purchase()
    await call.say("Yes, please.")
    await call.hear("is under way")
    await krosai.let_go()
    await call.hear("nothing was charged")  # a refusal, too, is told without being asked for
    _same("charges after a refusal", (await krosai.state())["charges"], [])

    await call.say("I need a phone number in Lagos.")
    await call.hear("Shall I buy it?")
    _same("charges before the yes", (await krosai.state())["charges"], [])

    await krosai.hold_purchases()
    began = time.monotonic()
    await call.say("Yes, please.")
    await call.hear("is under way")
    _must(time.monotonic() - began < 6, "the caller heard nothing for six seconds after the yes")
    _same("charges while it is under way", (await krosai.state())["charges"], [])
    await krosai.let_go()
    await call.hear("is bought")  # said by itself: the caller has not asked

    await line.killed_and_started_again()
    await call.say("Send its calls to the support agent.")
    await call.hear('calls go to "Support agent"')

    await call.say("I need another number in Nigeria.")
    await call.hear("nothing was charged")
    await call.say("")

    books = await krosai.state()
    _same("numbers charged for", [charge["cents"] for charge in books["charges"]], [500])
    bought = [number for number in books["owned"] if number["e164"] == books["charges"][0]["e164"]]
    _same("whether its calls go somewhere", [bool(number["endpoint_id"]) for number in bought], [True])
    _same("said aloud", unspeakable(call.spoken, books), [])


@dataclass
class Line:
    """The HTTP service, which can be killed, and started again at its port."""

    settings: dict[str, str]
    folder: Path
    killing: anyio.Event = field(default_factory=anyio.Event)
    running: anyio.Event = field(default_factory=anyio.Event)
    service: Service | None = None
    port: int = 0

    async def run(self) -> None:
        """Keep it running until cancelled."""
        while True:
            log = self.folder / "service.stderr"
            async with open_service(["--port", str(self.port)], self.settings, log) as self.service:
                await self.service.served()
                self.port = self.service.port or 0
                self.running.set()
                await self.killing.wait()
                self.killing = anyio.Event()

    async def killed_and_started_again(self) -> None:
        """Kill it as a crash would, and wait until it serves again."""
        self.running = anyio.Event()
        self.killing.set()
        await self.running.wait()


async def try_example(name: str, document: str) -> None:
    """Start one example with everything around it, and talk to it.

    Args:
        name: Its file.
        document: What README shows of a conversation; what the agent says there must have been said.

    Raises:
        WrongError: It went otherwise than it must.
    """
    with tempfile.TemporaryDirectory(prefix="kros-examples-") as place:
        folder = Path(place)
        async with open_krosai(folder, {}) as krosai, anyio.create_task_group() as tasks:
            settings = {**krosai.settings, "KROS_TOKENS_FILE": str(folder / "tokens.toml")}
            wanted = ["--scopes", "read,configure,buy", "--daily-budget-cents", "700"]
            made = await run_group([KROS_MCP, "token", "voice", *wanted], env={**environment(), **settings})
            line = Line(settings, folder)
            tasks.start_soon(line.run)
            await line.running.wait()
            own = {"NUMBERS_MCP_URL": f"http://127.0.0.1:{line.port}/mcp", "NUMBERS_MCP_TOKEN": made.stdout.strip()}
            async with open_model() as model, open_call(name, {**own, **model}, folder) as call:
                await converse(call, krosai, line)
                with anyio.fail_after(_ANSWER_SECONDS):
                    _same("exit code", await call.process.wait(), 0)
            for said in re.findall(rf"^{_SPEAKS}(.*)$", document, re.MULTILINE):
                _must(said in call.spoken, f"{DOCUMENT.name} shows {said!r}, which was not said")
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def open_model() -> AsyncIterator[dict[str, str]]:
    """Start the stand-in for a model; the settings that it prints."""
    command = [sys.executable, str(EXAMPLES / "scripted_model.py"), "--port", "0"]
    async with open_group(command, env=environment(), stderr=None) as process:
        assert process.stdout is not None
        with anyio.fail_after(START_SECONDS):
            told = (await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 1000)).decode()
        yield dict(each.split("=", 1) for each in told.split())


@asynccontextmanager
async def open_call(name: str, settings: dict[str, str], folder: Path) -> AsyncIterator[Call]:
    """Start an example in text mode, and wait until it listens; what it lacks is installed first."""
    command = [uv(), "run", "--quiet", "--python", sys.executable, "--script", str(EXAMPLES / name), "text"]
    log = folder / "agent.stderr"
    with log.open("wb") as stderr:
        async with open_group(command, env={**environment(), **settings}, stdin=PIPE, stderr=stderr) as process:
            assert process.stdout is not None
            call = Call(process, BufferedByteReceiveStream(process.stdout))
            try:
                listens = await call.next_line(_INSTALL_SECONDS, "it does not listen")
                _must(listens.startswith(_READY), f"{listens!r} was printed where {_READY!r} was expected")
                yield call
            except WrongError as exc:
                last = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise WrongError(f"{exc}\nsaid so far: {call.spoken}\n{last}") from None


async def try_script() -> None:
    """Buy a number by the command of the document, in a shell whose settings must not count.

    Raises:
        WrongError: It went otherwise than it must.
    """
    env = {**environment(), "KROS_API_KEY": "kros_live_of_this_shell", "KROS_MAX_PURCHASE_CENTS": "1"}
    command = ["bash", str(EXAMPLES / SCRIPT), "plain"]
    async with open_group(command, stdin=PIPE, stdout=PIPE, stderr=None, env=env) as process:
        assert process.stdin is not None
        await process.stdin.send(b"Nigeria\nyes\n")
        await process.stdin.aclose()
        assert process.stdout is not None
        with anyio.fail_after(_INSTALL_SECONDS):
            told = b"".join([piece async for piece in process.stdout]).decode()
            _same("how the script ended", await process.wait(), 0)
    said = [line for line in told.splitlines() if _SPEAKS in line]
    _must("Shall I buy it?" in told, f"No question was said: {said}")
    _must("is bought" in said[-1], f"Nothing was bought: {said}")
    _must("Charged: 5.00 for 1 number bought." in told, f"The books do not tell of it: {told}")
    _must(not any(_UNSPEAKABLE.search(line) for line in said), f"What cannot be spoken was said: {said}")


async def try_all(names: Sequence[str]) -> dict[str, str]:
    """Try them at once; the reason of each that failed."""
    failed: dict[str, str] = {}
    document = DOCUMENT.read_text(encoding="utf-8")

    async def one(name: str) -> None:
        began = time.monotonic()
        try:
            if name == SCRIPT:
                await try_script()
            else:
                await try_example(name, document)
        except* (WrongError, TimeoutError, OSError) as group:
            failed[name] = "; ".join(str(exc) or type(exc).__name__ for exc in group.exceptions)
        print(f"{name}: {'FAILED' if name in failed else 'ok'}, {time.monotonic() - began:.0f} seconds", flush=True)

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(one, name)
    return failed


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise WrongError(otherwise)


def _same(what: str, found: object, expected: object) -> None:
    _must(found == expected, f"{what}: {found!r} where {expected!r} was expected")


def main() -> int:
    """Try what was asked for; 1 if anything failed."""
    known = (*AGENTS, SCRIPT)
    parser = argparse.ArgumentParser("python -m tests.checks.examples", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which files (all): {', '.join(known)}")
    names = parser.parse_args().names or list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"there is no example {unknown[0]}; there are {', '.join(known)}")
    end_as_by_ctrl_c()
    failed = anyio.run(try_all, names)
    for name, why in failed.items():
        print(f"FAILED  {name}: {why}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
