"""The services for people that Apprise knows: Slack, Teams, mail, ntfy and many more, each an address of its own kind.

Apprise waits for the network in the thread that calls it, and logs whole addresses: so it has a thread of its own,
which nobody waits for longer than fifteen seconds, and no log.
"""

import asyncio
import importlib.util
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import anyio

from kros_mcp.errors import GET_EXTRAS, SettingsError
from kros_mcp.krosai import clean
from kros_mcp.notifying.message import Message, NotDeliveredError

SEND_SECONDS: Final = 15.0
_TALKATIVE: Final = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib", "charset_normalizer")
_LONGEST_NAME: Final = 30


class Service:
    """One service.

    Args:
        address: As Apprise writes it.
        number: Which of KROS_NOTIFY_URLS it is, from 1.

    Raises:
        SettingsError: Apprise is not installed, or does not know the address.
    """

    at_once = 1

    def __init__(self, address: str, number: int) -> None:
        self._notify, name = _service(address, number)
        self.name = f"{clean(name, _LONGEST_NAME)} ({clean(address.partition('://')[0], _LONGEST_NAME)})"
        self.address = address
        self._is_busy = False

    async def warm_up(self) -> None:
        """What there is to load is loaded when the address is read."""

    async def send(self, message: Message) -> None:
        """Deliver a message's line.

        Raises:
            NotDeliveredError: The service did not take it in time, or has not ended an earlier try.
        """
        if self._is_busy:
            raise NotDeliveredError(f"The service {self.name} has not answered an earlier try yet.")
        done: list[bool] = []
        ended = anyio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            self._is_busy = False
            ended.set()

        def deliver() -> None:
            try:
                done.append(bool(self._notify(body=message.line, title=message.subject, body_format="text")))
            except Exception:  # noqa: BLE001 - a hundred plugins; what they say may hold the address
                done.append(False)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(end)

        threading.Thread(target=deliver, name="kros-mcp notify", daemon=True).start()
        self._is_busy = True  # what the thread ends with is done in this one, and so later
        with anyio.move_on_after(SEND_SECONDS):
            await ended.wait()
        if not done:
            raise NotDeliveredError(f"The service {self.name} did not answer within {SEND_SECONDS:g} seconds.")
        if not done[0]:
            raise NotDeliveredError(
                f"The service {self.name} did not take the message.",
                next_step="Check its address in KROS_NOTIFY_URLS: host, password or token, and who is to be told.",
            )

    async def aclose(self) -> None:
        """There is nothing to let go of."""


def require_installed() -> None:
    """Raise unless Apprise is there.

    Raises:
        SettingsError: It is not.
    """
    if importlib.util.find_spec("apprise") is None:
        raise SettingsError(
            "KROS_NOTIFY_URLS needs the extra kros-mcp[notify], which is not installed.",
            next_step=GET_EXTRAS,
        )


def _service(address: str, number: int) -> tuple[Callable[..., object], str]:
    """Return what sends to an address, and the name of the service there."""
    require_installed()
    import apprise  # noqa: PLC0415 - an extra, and 200 ms

    for name in _TALKATIVE:  # they name addresses, with the tokens in them
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    asset = apprise.AppriseAsset(app_id="kros-mcp", app_desc="kros-mcp", app_url="", async_mode=False)
    plugin = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if plugin is None:
        raise SettingsError(
            f"KROS_NOTIFY_URLS holds an address that Apprise does not know, the {_ordinal(number)}.",
            next_step="Write it as github.com/caronc/apprise says, and separate several by commas.",
        )
    sender = apprise.Apprise(asset=asset)
    sender.add(plugin)
    return sender.notify, str(plugin.service_name)


def _ordinal(number: int) -> str:
    names = ("first", "second", "third", "fourth", "fifth")
    return names[number - 1] if number <= len(names) else f"{number}th"
