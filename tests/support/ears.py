"""A client that listens, in either era, and what it was told."""

import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio
from mcp import Client, MCPDeprecationWarning
from mcp.types import ResourceUpdatedNotification

MODERN = "2026-07-28"


@dataclass
class Ears:
    """What a client was told to look at again, in its order."""

    heard: list[str] = field(default_factory=list)
    _news: anyio.Event = field(default_factory=anyio.Event)

    async def hear(self, message: object) -> None:
        """Take whatever the server sends by itself."""
        if isinstance(message, ResourceUpdatedNotification):
            self.heard.append(str(message.params.uri))
            self._news.set()

    async def until(self, *uris: str) -> None:
        """Wait until each of these was told."""
        with anyio.fail_after(20):
            while not set(uris) <= set(self.heard):
                self._news = anyio.Event()
                await self._news.wait()


@asynccontextmanager
async def open_ears(client: Client, *uris: str) -> AsyncIterator[None]:
    """Listen as the client's era does it."""
    if client.protocol_version == MODERN:
        async with client.listen(resource_subscriptions=uris):
            yield
        return
    with legacy():
        for uri in uris:
            await client.subscribe_resource(uri)
    yield
    with legacy():
        for uri in uris:
            await client.unsubscribe_resource(uri)


@contextmanager
def legacy() -> Iterator[None]:
    """Use what only the legacy protocol has, without being told so by the SDK."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        yield
