"""Two organizations under one key, and one subject that calls for either."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.server.auth.provider import AccessToken

from kros_mcp.http.access import Access
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Limits, Operation
from kros_mcp.simulator import Simulator
from kros_mcp.simulator.state import SimulatedAccount
from kros_mcp.tools.call import Runtime
from kros_mcp.tools.caller import caller_token
from kros_mcp.tools.specs import IN_CONVERSATION, Scope
from tests.support.web import Web, open_web

SUBJECT = "same"
PRINCIPAL = f"tokens|{SUBJECT}"


def two_organizations(profile: Any = "reference", **more: Any) -> Simulator:
    return Simulator(profile, organizations=2, **more)


def other_of(sim: Simulator) -> SimulatedAccount:
    assert sim.other is not None
    return sim.other


class Tenants:
    """Takes `one` and `other` for the same subject of the first organization and of the second.

    Whoever wears `-approves` behind it decides there; any other token names the organization itself.
    """

    def __init__(self, sim: Simulator) -> None:
        self.organizations = {"one": "", "other": other_of(sim).organization_id}

    async def verify_token(self, token: str) -> AccessToken | None:
        name = token.removesuffix("-approves")
        subject, scopes = (SUBJECT, IN_CONVERSATION) if name == token else ("approver", frozenset({Scope.APPROVE}))
        return caller_token("tokens", subject, scopes, organization=self.organizations.get(name, name))


def tenants(sim: Simulator, known: Collection[str] | None = None) -> Access:
    """Let both in, each with every right."""

    def knows(organization: str, issuers: Collection[str]) -> bool:
        return "tokens" in issuers if known is None else organization in known

    return Access(Tenants(sim), own_limits=lambda *_, **__: Limits(), knows=knows)


@asynccontextmanager
async def open_tenants(sim: Simulator, journal: Journal | None = None, **chosen: Any) -> AsyncIterator[Web]:
    """Serve both organizations."""
    access = chosen.pop("access", None) or tenants(sim)
    stateless = chosen.pop("stateless", False)
    settings = {"organization_id": sim.organization_id, "confirmation": "conversation", **chosen}
    async with open_web(sim, access, journal=journal, stateless=stateless, **settings) as web:
        yield web


def runtime_of(web: Web, sim: Simulator) -> Runtime:
    """What is open of the second organization."""
    others = web.service.runtime.others
    assert others is not None
    return others.of(other_of(sim).organization_id)


async def until(journal: Journal, operation_id: str, *states: str) -> Operation:
    """Wait until the running service has brought an operation there."""
    with anyio.fail_after(20):
        while (found := await journal.get(operation_id)) is None or found.state not in states:
            await anyio.lowlevel.checkpoint()
    return found
