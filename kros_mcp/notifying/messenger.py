"""Delivers the notices that the journal holds, beside all else and never on the way of an act.

Each destination has a task of its own, so that one which hangs delays no other. What is taken from the journal belongs
to this process for a while; if it dies meanwhile, another takes it then. So each notice is delivered at least once.
"""

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import anyio

from kros_mcp.errors import JournalError, KrosError
from kros_mcp.notifying.destinations import destination_id, open_destinations
from kros_mcp.notifying.message import Destination, NotDeliveredError, message_of
from kros_mcp.operations.account import Account
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.notices import Listener, Taken
from kros_mcp.operations.task_group import open_task_group
from kros_mcp.settings import Settings

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS: Final = 1.0
BUDGET_EVERY_SECONDS: Final = 5.0
LISTEN_EVERY_SECONDS: Final = 6 * 3_600.0
"""How often it is written down that a server is here which delivers, and what is old is dropped."""
FINISH_SECONDS: Final = 3.0
"""How long the end of a server waits for what has just happened to be told."""
WRITE_SECONDS: Final = 1.0
"""How long it then waits for the journal."""
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0
"""While the journal is busy; much shorter than a lease, or what was delivered would be taken for lost."""
_PAUSE_AFTER_FAULT_SECONDS: Final = 30.0


@dataclass
class Messenger:
    """Delivers to one destination until cancelled.

    Args:
        destination: Where to.
        journal: What holds the notices.
        settings: Of this server.
    """

    destination: Destination
    journal: Journal
    settings: Settings
    _delivered: dict[str, Taken] = field(default_factory=dict)
    """What the journal has not been told of yet, by the notice's id, as the next."""
    _failed: dict[str, Taken] = field(default_factory=dict)
    _comes_through: bool = True
    """Whether the last try did, or none was made yet: a receiver that is down is warned of once."""

    def __post_init__(self) -> None:
        self._id = destination_id(self.destination, self.journal.secret)
        self._sending = anyio.CancelScope()
        self._until = math.inf

    async def run(self) -> None:
        """Look every second whether something is to be delivered; a failure only delays what comes next."""
        pause, failed = LOOK_EVERY_SECONDS, False
        await anyio.sleep(pause)
        with suppress(Exception):  # what is wrong is told when something is sent
            await self.destination.warm_up()
        while True:
            try:
                while await self.look():
                    pass
                pause, failed = LOOK_EVERY_SECONDS, False
            except KrosError as exc:
                logger.info("notices: %s", exc.code)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS) if failed else _FIRST_PAUSE_SECONDS
                failed = True
            except Exception:
                logger.exception("notices: unexpected failure")
                pause = _PAUSE_AFTER_FAULT_SECONDS
            await anyio.sleep(pause)

    async def look(self) -> bool:
        """Deliver what is due, and return whether something came through, so that more may be.

        Raises:
            JournalError: The journal cannot be used now.
        """
        await self._write_down()
        taken = await self.journal.take_notices(self._id, self.destination.at_once)
        # What is on its way when the server ends is nobody else's for a while, and would be told late or never.
        with anyio.CancelScope(shield=True, deadline=self._until) as self._sending:
            async with anyio.create_task_group() as tasks:
                for each in taken:
                    tasks.start_soon(self._deliver, each)
        came_through = bool(self._delivered)
        await self._write_down()
        return came_through

    async def finish(self) -> None:
        """Deliver what is left; what does not come through another server delivers, or the next one."""
        with anyio.CancelScope(shield=True, deadline=self._until + WRITE_SECONDS):
            try:
                while anyio.current_time() < self._until and await self.look():
                    pass
                await self._write_down()
            except Exception as exc:  # noqa: BLE001 - a server that ends must end
                logger.info("notices: %s", type(exc).__name__)

    def hurry(self, until: float) -> None:
        """Give up at a time, by the loop's clock, what has not come through by then."""
        self._until = self._sending.deadline = until

    async def _write_down(self) -> None:
        if self._delivered or self._failed:
            await self.journal.note_delivery(self._delivered.values(), self._failed.values())
            self._delivered.clear()
            self._failed.clear()

    async def _deliver(self, taken: Taken) -> None:
        try:
            await self.destination.send(message_of(taken, self.settings))
        except NotDeliveredError as exc:
            logger.log(logging.WARNING if self._comes_through else logging.INFO, "notices: %s", exc.message)
            self._comes_through = False
            self._failed[taken.notice.id] = taken
        except Exception as exc:  # noqa: BLE001 - one notice that cannot be told must not stop the others
            logger.warning("notice %s: it cannot be told: %s", taken.notice.id, type(exc).__name__)
            self._failed[taken.notice.id] = taken
        else:
            self._comes_through = True
            self._delivered[taken.notice.id] = taken


class Reporter:
    """Has an account's notices stored for the destinations that are set, and looks at its budget.

    Args:
        account: The account's resources.
        listeners: The destinations, for this account.
    """

    def __init__(self, account: Account, listeners: tuple[Listener, ...]) -> None:
        self._account = account
        self._listeners = listeners
        self._listen_at = 0.0
        self._listens = False

    async def run(self) -> None:
        """Look every few seconds until cancelled; a failure only delays what comes next."""
        while True:
            await anyio.sleep(BUDGET_EVERY_SECONDS if self._listens else LOOK_EVERY_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Say that this server is here, if it is time, and look at the budget; never fails."""
        journal, settings = self._account.journal, self._account.settings
        try:
            if anyio.current_time() >= self._listen_at:
                await journal.listen(self._account.id, self._listeners)
                self._listen_at = anyio.current_time() + LISTEN_EVERY_SECONDS
                self._listens = True
                await journal.tidy_outbox()
            await journal.watch_budget(self._account.id, settings.daily_budget_cents, settings.environment)
        except JournalError as exc:
            logger.info("notices: %s", exc.code)
        except Exception:
            logger.exception("notices: unexpected failure")


@asynccontextmanager
async def open_messenger(account: Account, *, delivers: bool) -> AsyncIterator[None]:
    """Have an account's notices stored while the block lasts, and delivered at its end what has just happened.

    Args:
        account: The account's resources.
        delivers: Whether to deliver here what is stored, for all accounts; where another messenger does, not.

    Raises:
        SettingsError: A destination cannot be used.
    """
    settings, journal = account.settings, account.journal
    destinations = () if settings.read_only or journal.only_reads else open_destinations(settings)
    if not destinations:
        yield
        return
    organization = settings.organization_id or ""
    ids = [destination_id(each, journal.secret) for each in destinations]
    reporter = Reporter(account, tuple(Listener(each, account.id, organization) for each in ids))
    await reporter.look()
    messengers = [Messenger(each, journal, settings) for each in destinations] if delivers else []
    try:
        async with open_task_group() as tasks:
            tasks.start_soon(reporter.run)
            for messenger in messengers:
                tasks.start_soon(messenger.run)
            try:
                yield
            finally:
                for messenger in messengers:
                    messenger.hurry(anyio.current_time() + FINISH_SECONDS)
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as last:
                for messenger in messengers:
                    last.start_soon(messenger.finish)
        with anyio.move_on_after(FINISH_SECONDS, shield=True):
            for each in destinations:
                await each.aclose()
