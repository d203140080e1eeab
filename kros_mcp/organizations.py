"""The organizations for which one service acts: each has books, a runner and a reading of KrosAI of its own.

They share the journal and the key, and nothing else. One is opened when a caller of it comes, or when the journal holds
something of it to be carried out, recovered or looked at, though none of its callers has come yet; and closed again
when nothing of it is under way and nobody has asked for long.
"""

import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import TaskGroup

from kros_mcp.errors import InternalError, KrosError
from kros_mcp.operations.account import Account
from kros_mcp.operations.journal import NamedOrganization
from kros_mcp.operations.task_group import open_task_group
from kros_mcp.settings import Settings, for_organization
from kros_mcp.tools.call import Runtime
from kros_mcp.tools.caller import Caller

logger = logging.getLogger(__name__)

MOST_OPEN: Final = 200
IDLE_SECONDS: Final = 900.0
"""How long nobody must have asked before one is closed; longer than any call goes on without its client."""
LOOK_EVERY_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 30.0
"""How long what could not be opened is left alone, unless one of its callers comes."""

Open = Callable[[Settings, Callable[[], bool]], AbstractAsyncContextManager[Runtime]]
"""Opens what belongs to one organization by its settings; the function says whether this service knows it now."""
Knows = Callable[[str, Collection[str]], bool]
"""Whether a caller may come who names an organization, for which those issuers vouched before."""


class TooManyOrganizationsError(KrosError):
    """As many organizations are open as can be, and all are in use; nothing was done."""

    code = "TOO_MANY_ORGANIZATIONS"
    next_step = "Try again in a minute; after two tries tell the person."


@dataclass
class _Place:
    """One organization that is open, or about to be; `ready` is set once `runtime` or `error` is."""

    organization: str
    ready: anyio.Event = field(default_factory=anyio.Event)
    closing: anyio.Event = field(default_factory=anyio.Event)
    runtime: Runtime | None = None
    error: KrosError | None = None
    issuers: set[str] = field(default_factory=set)
    """Who vouched for callers of it, now or in earlier times."""
    noted: set[str] = field(default_factory=set)
    """Those of whom the journal knows it by this key."""
    users: int = 0
    used_at: float = field(default_factory=anyio.current_time)

    def is_idle(self) -> bool:
        """Whether it can be closed without anybody's noticing."""
        here = self.runtime
        return (
            here is not None
            and not self.users
            and anyio.current_time() - self.used_at >= IDLE_SECONDS
            and here.runner.is_at_rest
            and not here.asking
            and not here.account.changes.is_heard
        )


class Organizations:
    """The organizations that are open beside the service's own.

    Args:
        own: What is open of the service's own.
        open_one: Opens another.
        knows: Whether this service knows an organization.
        tasks: Serve them.
    """

    def __init__(self, own: Runtime, open_one: Open, knows: Knows, tasks: TaskGroup) -> None:
        self._own = own
        self._open = open_one
        self._knows = knows
        self._tasks = tasks
        self._places: dict[str, _Place] = {}
        self._retry_at: dict[str, float] = {}
        """From when on what could not be opened is tried again without a caller."""
        self._is_closing = False
        self._is_stopping = False
        self._context = copy_context()
        """That of the service, and of no request: background work is no caller's, though one opens the organization."""

    @asynccontextmanager
    async def held(self, caller: Caller) -> AsyncIterator[Runtime]:
        """Keep a caller's organization open while the block lasts.

        Raises:
            KrosError: It cannot be opened now; nothing was done.
        """
        place = self._places.get(caller.organization) or self._begin(caller.organization)
        place.users += 1
        try:
            await place.ready.wait()
            if place.runtime is None:
                raise place.error or InternalError("This server is stopping.")
            await self._note(place, place.runtime, caller.issuer)
            yield place.runtime
        finally:
            place.users -= 1
            place.used_at = anyio.current_time()

    def of(self, organization: str) -> Runtime:
        """Return what is open of an organization.

        Raises:
            RuntimeError: It is not open: whoever asks is nobody, rather than somebody else.
        """
        place = self._places.get(organization)
        if place is None or place.runtime is None:
            raise RuntimeError("an organization is used that is not open")
        return place.runtime

    @property
    def accounts(self) -> tuple[Account, ...]:
        """The accounts that are open."""
        return tuple(place.runtime.account for place in self._places.values() if place.runtime is not None)

    def end_prompts(self) -> None:
        """Take every open prompt back and show none from now on, as a server does that stops."""
        self._is_stopping = True
        for place in self._places.values():
            if place.runtime is not None:
                place.runtime.end_prompts()

    async def look_after(self) -> None:
        """Open what the journal has something of to be looked after, and close what is idle; until cancelled."""
        while not self._is_closing:
            try:
                await self._look_round()
            except KrosError as exc:
                logger.warning("organizations: %s", exc.code)
            except Exception:
                logger.exception("organizations: unexpected failure")
            await anyio.sleep(LOOK_EVERY_SECONDS)

    def close(self) -> None:
        """Open nothing more, and close what is open once what is being sent is settled."""
        self._is_closing = True
        for place in list(self._places.values()):
            self._close(place)

    async def _look_round(self) -> None:
        for place in [place for place in self._places.values() if place.is_idle()]:
            self._close(place)
        journal = self._own.account.journal
        if journal.only_reads:
            return
        restless: dict[str, list[NamedOrganization]] = {}
        for named in await journal.restless_organizations():
            restless.setdefault(named.organization, []).append(named)
        for organization, rows in restless.items():
            if organization in self._places or self._is_closing or not self._is_ours(organization, rows):
                continue
            if anyio.current_time() < self._retry_at.get(organization, 0.0):
                continue
            try:
                self._begin(organization)
            except TooManyOrganizationsError:
                logger.warning("an organization waits to be looked after: %d are open already", len(self._places))
                self._retry_at[organization] = anyio.current_time() + RETRY_SECONDS
                return

    def _is_ours(self, organization: str, rows: Collection[NamedOrganization]) -> bool:
        """Whether to look after an organization: of this address and environment, and known here or of this key.

        What a token names no more is looked after by the key with which it was asked for; another could not see it.
        """
        own = self._own.account
        account = for_organization(own.settings, organization).account(own.journal.secret)
        ours = [row for row in rows if row.account == account]
        if account == own.id or not ours:
            return False
        is_of_key = own.settings.request_key(own.journal.secret) in {row.key for row in ours}
        return is_of_key or self._knows(organization, {row.issuer for row in ours})

    def _begin(self, organization: str) -> _Place:
        if self._is_closing:
            raise InternalError("This server is stopping.")
        if len(self._places) >= MOST_OPEN:
            idle = [place for place in self._places.values() if place.is_idle()]
            if not idle:
                raise TooManyOrganizationsError("Too many organizations are in use here at once; nothing was done.")
            self._close(min(idle, key=lambda place: place.used_at))
        place = self._places[organization] = _Place(organization)
        self._context.copy().run(self._tasks.start_soon, self._serve, place)
        return place

    def _close(self, place: _Place) -> None:
        if self._places.get(place.organization) is place:
            del self._places[place.organization]
        place.closing.set()

    async def _serve(self, place: _Place) -> None:
        """Open one, and close it when it is asked to; whatever fails in that is its callers' to hear."""
        settings = for_organization(self._own.settings, place.organization)
        try:
            async with self._open(settings, lambda: self._knows(place.organization, place.issuers)) as runtime:
                journal, account = runtime.account.journal, runtime.account.id
                place.issuers |= {named.issuer for named in await journal.organizations() if named.account == account}
                runtime.is_stopping = self._is_stopping
                place.runtime = runtime
                place.ready.set()
                await place.closing.wait()
        except KrosError as exc:
            logger.warning("an organization could not be opened: %s", exc.code)
            place.error = exc
        except Exception:
            logger.exception("an organization failed unexpectedly")
            place.error = InternalError("This server failed while opening the caller's organization.")
        finally:
            if place.error is not None:
                self._retry_at[place.organization] = anyio.current_time() + RETRY_SECONDS
            self._close(place)
            place.ready.set()

    async def _note(self, place: _Place, runtime: Runtime, issuer: str) -> None:
        """Write down that a caller has come, before anything of theirs is; whoever vouches for the next is known."""
        account = runtime.account
        if issuer not in place.noted and not account.journal.only_reads:
            key = account.settings.request_key(account.journal.secret)
            await account.journal.note_organization(NamedOrganization(account.id, place.organization, issuer, key))
        place.noted.add(issuer)
        place.issuers.add(issuer)


@asynccontextmanager
async def open_organizations(own: Runtime, open_one: Open, knows: Knows) -> AsyncIterator[Organizations]:
    """Serve other organizations than the service's own; on leaving, what is being sent of any is settled first."""
    async with open_task_group() as tasks:
        organizations = Organizations(own, open_one, knows, tasks)
        looking = anyio.CancelScope()

        async def look_after() -> None:
            with looking:
                await organizations.look_after()

        tasks.start_soon(look_after)
        try:
            yield organizations
        finally:
            looking.cancel()
            own.runner.close()
            organizations.close()
