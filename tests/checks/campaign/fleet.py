"""The other way to a server: over HTTP, through a proxy, to whichever of three replicas has its turn.

Whoever strikes a client's server strikes the replica that its latest request went to. Modern clients never
notice but by a call without an answer; legacy ones lose their session with its replica, and connect anew.
"""

import json
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import anyio

from tests.support.callers import open_way
from tests.support.replicas import Fleet, Service, open_fleet, write_tokens

from .chaos import Pace
from .clients import KINDS, Kind
from .events import Events
from .reach import ORGANIZATIONS, Reach, Reached, Transport

REPLICAS = 3
PACE = Pace(kills=0.15, freezes=0.04, restarts=0.03, most_frozen=1)
"""Fewer than over stdio, as three processes stand for eight."""
PRINCIPALS = ("ada", "bola", "chidi", "dayo")
_ISSUER = "tokens|"
_GOOD = {200, 202, 404, 405, 503}
"""What replicas may answer: 404 for a session that died with another, 405 without sessions, 503 while stopping."""
_SETTINGS = {
    "KROS_STATE_KEYS": "a key that the replicas of a campaign share",
    "KROS_ANSWER_WITHIN_SECONDS": "2",
    "KROS_REQUESTS_PER_SECOND": "0",
    "KROS_APPROVAL_ABOVE_CENTS": "1300",
}
_PATIENCE_SECONDS = 5.0


def _kind(kind: Kind) -> Kind:
    how = {"approver": "code", "only": "prompt"}.get(kind.name.rsplit("-", 1)[1], kind.name.rsplit("-", 1)[1])
    name = f"{kind.principal}-{kind.name.split('-')[1]}-{how}"
    return replace(kind, name=name, principal=_ISSUER + kind.principal, settings={})


HTTP_KINDS = tuple(_kind(kind) for kind in KINDS if not kind.page)
"""The same clients, but for those with pages, which a service has none of.

What is dear goes to the approver for all of them, as one service has one set of settings.
"""


def over_http(*, stateless: bool, settings: Iterable[Mapping[str, str]] = ()) -> Transport:
    """Say how clients reach three replicas.

    Args:
        stateless: Whether replicas keep no sessions; legacy clients then confirm by code alone.
        settings: What single replicas are told beside, to prove that a difference is seen.
    """

    @asynccontextmanager
    async def open_transport(common: Mapping[str, str], folder: Path, events: Events) -> AsyncIterator[Reach]:
        named = json.loads(common.get(ORGANIZATIONS, "{}"))
        tokens = {"KROS_TOKENS_FILE": str(write_tokens(folder / "tokens.toml", PRINCIPALS, named))}
        own = [*settings, *([{}] * REPLICAS)][:REPLICAS]
        every = [{**common, **_SETTINGS, **tokens, **each} for each in own]
        words = ["--stateless"] if stateless else []

        def answered(place: int, status: int) -> None:
            if status not in _GOOD:
                events.trouble("A replica answered a status that it should not.", place=place, status=status)

        async with open_fleet(every, folder, *words, patience_seconds=_PATIENCE_SECONDS) as fleet:
            fleet.proxy.on_answer = answered
            fleet.on_start = lambda place, pid: events.note("replica", place=place, pid=pid)
            await fleet.all_up()

            @asynccontextmanager
            async def reach(name: str, _settings: Mapping[str, str], _log: TextIO) -> AsyncIterator[Reached]:
                seat = Seat(fleet, name)
                try:
                    yield seat
                finally:
                    seat.thaw()

            yield reach

    return open_transport


@dataclass
class Seat:
    """A client's place in front of the fleet."""

    fleet: Fleet
    name: str
    _frozen: Service | None = None
    _lost: anyio.Event = field(default_factory=anyio.Event)

    @property
    def way(self) -> Any:
        return open_way(self.fleet.url, self.name.split("-", 1)[0], self.name)

    @property
    def _service(self) -> Service:
        return self.fleet[self.fleet.proxy.last_of.get(self.name, 0)]

    @property
    def pid(self) -> int:
        return self._service.process.pid

    @property
    def returncode(self) -> None:
        return None

    @property
    def frozen(self) -> bool:
        return self._frozen is not None

    @property
    def is_running(self) -> bool:
        return self._service.is_running

    def kill(self) -> None:
        self._service.signal(signal.SIGKILL)

    def terminate(self) -> None:
        self._service.signal(signal.SIGTERM)

    def freeze(self) -> None:
        self._frozen = self._service
        self._frozen.freeze()

    def thaw(self) -> None:
        if self._frozen is not None:
            self._frozen.thaw()
            self._frozen = None

    def session_lost(self) -> None:
        self._lost.set()

    async def ended(self) -> None:
        await self._lost.wait()
