"""Seeded lines on stdin: each request whose id can be read is answered, and the server goes on.

They are malformed, cut off, deep and wrongly encoded, and some are none of these.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.pipe import INITIALIZED, MODERN, Program, initialize, open_program, request
from tests.support.talk import ERAS

pytestmark = pytest.mark.anyio

FEW, MANY = 500, 5_000  # in either era
AT_ONCE = 250
MOST_GROWTH_KIB = 64 * 1024
MOST_LOG_BYTES = 32 * 1024
TOOLS = ["list_phone_numbers", "search_phone_numbers", "get_spending", "get_operation", "no_such_tool"]
METHODS = ["ping", "tools/list", "tools/call", "prompts/get", "resources/read", "nothing/of/the/kind", "initialize"]
NOTIFICATIONS = ["notifications/cancelled", "notifications/progress", "notifications/roots/list_changed", "x"]
ODD_TEXTS = ["", "null", "\u0000", "\u202e", "\u2028", "\ufeff", "e\u0301", "\U0001f600", "x" * 5_000, "../..", "%00"]
ODD_VALUES: list[Any] = [None, True, -1, 0, 1.5, 2**63, 10**300, [], {}, [[]], {"": {}}, *ODD_TEXTS]
ODD_IDS = [b"null", b"true", b"1.0", b"{}", b"[]", b"-0", b"1e400", b"1" * 5_000, rb'"\ud800"', b"NaN", b""]


class Lines:
    """Makes lines, and knows which of their ids can be read."""

    def __init__(self, seed: str, era: str) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._envelope = {} if era == "legacy" else MODERN
        self._number = 0
        self._mangle: list[Callable[[bytes], bytes]] = [
            lambda line: line,
            self._cut,
            self._flip,
            self._insert,
            self._deepen,
            self._with_odd_id,
            lambda line: b"[" + line + b"]",
            lambda line: b"\xef\xbb\xbf" + line,
            lambda line: line.decode(errors="replace").encode("utf-16"),
            lambda line: line.replace(b'"jsonrpc"', b'"json"'),
            lambda line: line.replace(b'"2.0"', b"2.0"),
            lambda line: line.replace(b'"method"', b'"methods"'),
            lambda line: line.replace(b'"params": {', rb'"params": {"\udfff": "\ud800", '),
            lambda line: line[:-1] + b', "x": "' + b"\xff\xc0\x80" + b'"}',
            lambda line: line[:-1] + b', "x": NaN, "y": 1e999}',
            lambda line: line + line,
            lambda line: b"\r" + line + b"\r",
        ]

    def next(self) -> tuple[bytes, str]:
        """Make a line; the text is the id that has to be answered, or empty."""
        self._number += 1
        wanted = f"r{self._number}"
        line = json.dumps(self._message(wanted)).encode()
        for _ in range(self._chance.choice((1, 1, 1, 2))):
            line = self._chance.choice(self._mangle)(line)
        line = line.replace(b"\n", b" ")
        return line, wanted if _can_be_read(line, wanted) else ""

    def _message(self, wanted: str) -> dict[str, Any]:
        method = self._chance.choice(METHODS)
        params: dict[str, Any] = {self._chance.choice(["limit", "uri", "x"]): self._odd(), **self._envelope}
        if method == "tools/call":
            arguments = {self._chance.choice(["limit", "country", "status", "operation_id", "x"]): self._odd()}
            params |= {"name": self._chance.choice(TOOLS), "arguments": arguments}
        members = {"id": wanted, "jsonrpc": "2.0", "method": method, "params": params}
        if self._chance.random() < 0.1:
            del members["id"]
            members |= {"method": self._chance.choice(NOTIFICATIONS), "params": params | {"requestId": self._odd()}}
        names = list(members)
        if self._chance.random() < 0.5:
            self._chance.shuffle(names)
        return {name: members[name] for name in names}

    def _odd(self) -> Any:
        return self._chance.choice(ODD_VALUES)

    def _cut(self, line: bytes) -> bytes:
        return line[: self._chance.randrange(1, len(line) + 1)]

    def _flip(self, line: bytes) -> bytes:
        where = self._chance.randrange(len(line))
        return line[:where] + self._chance.randbytes(1) + line[where + 1 :]

    def _insert(self, line: bytes) -> bytes:
        where = self._chance.randrange(len(line))
        return line[:where] + self._chance.randbytes(self._chance.randrange(1, 9)) + line[where:]

    def _deepen(self, line: bytes) -> bytes:
        depth = self._chance.choice((100, 190, 300, 2_000, 60_000))
        opening, closing = self._chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
        return line[:-1] + b', "deep": ' + opening * depth + b"1" + closing * depth + b"}"

    def _with_odd_id(self, line: bytes) -> bytes:
        return line.replace(f'"r{self._number}"'.encode(), self._chance.choice(ODD_IDS))


def _can_be_read(line: bytes, wanted: str) -> bool:
    """Whether whoever looks at a line finds this id: it stands first and whole, or the line is JSON to Python."""
    if line.startswith(f'{{"id": "{wanted}", '.encode()):
        return True
    try:
        data = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return any(
        isinstance(one, dict) and one.get("id") == wanted for one in (data if isinstance(data, list) else [data])
    )


def kibibytes_of(program: Program) -> int:
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.parametrize("lines", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])
@pytest.mark.parametrize("era", ERAS)
async def test_malformed_lines_are_answered_and_leave_nothing_behind(era: str, lines: int) -> None:
    coming = Lines(f"stdio {era}", era)
    async with open_program("--simulator") as program:
        if era == "legacy":
            await program.answer(initialize())
            await program.send(INITIALIZED)
        opened = await program.answer(request("opened", "tools/list", **({} if era == "legacy" else MODERN)))
        assert opened["result"]["tools"]
        before = kibibytes_of(program)
        unanswered: set[object] = set()
        for _ in range(0, lines, AT_ONCE):
            made = [coming.next() for _ in range(AT_ONCE)]
            wanted = {one for _, one in made if one}
            unanswered |= wanted
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(program.send, *(line for line, _ in made))
                heard = await program.answers(wanted)
            unanswered -= set(heard)
        grown = kibibytes_of(program) - before
        last = await program.answer(request("last", "tools/list", **({} if era == "legacy" else MODERN)))
        assert last["result"] == opened["result"]
        program.close()
        await program.rest()
        assert await program.ended() == 0
        logged = program.said()
    assert not unanswered
    assert grown < MOST_GROWTH_KIB
    assert len(logged) < MOST_LOG_BYTES, logged[-2_000:]
    assert "Traceback" not in logged
