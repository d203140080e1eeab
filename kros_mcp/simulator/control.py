"""The control of the simulator over HTTP, for people and for tests in another process.

There is no authentication, so only callers on the same machine are answered.
"""

import ipaddress
import json
import textwrap
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from kros_mcp.simulator.faults import KIND_GROUPS, KINDS
from kros_mcp.simulator.pipeline import Pipeline
from kros_mcp.simulator.profiles import Kyc
from kros_mcp.simulator.state import SimulatedAccount

_NAME_WIDTH = max(map(len, KINDS))
_Handler = Callable[[Request], Awaitable[Response]]

_PAGE = """The KrosAI simulator, profile {profile}. API under /v1.

Keys
{keys}

State
  GET    /_simulator/state
  PUT    /_simulator/state            {{"balance_cents": 0, "kyc": "pending"}}; kyc: {kyc}
                                      both with ?organization=ID where there are several

Switches for faults
  PUT    /_simulator/faults/NAME      {{"times": 1, "probability": 1, "on": ["purchase"]}}
                                      and parameters of the fault; times null: until switched off
  DELETE /_simulator/faults/NAME
  GET    /_simulator/held/hold        answers once a request is held
  POST   /_simulator/let-go/hold

{faults}
"""


def control_routes(pipeline: Pipeline, keys: Mapping[str, str]) -> list[Route]:
    """Return the routes of the control; `keys` are the API keys to show, by their kind."""

    async def page(_request: Request) -> Response:
        return PlainTextResponse(_page(pipeline, keys))

    async def state(request: Request) -> Response:
        return JSONResponse(_state(pipeline, _asked_for(pipeline, request)))

    async def set_state(request: Request) -> Response:
        account = _asked_for(pipeline, request)
        _set_state(account, await _object_in(request))
        return JSONResponse(_state(pipeline, account))

    async def switch_on(request: Request) -> Response:
        switch = await _object_in(request)
        if not isinstance(switch.get("times", 1), int | None) or not isinstance(
            switch.get("probability", 1), int | float
        ):
            raise TypeError("times must be an integer or null, probability a number.")
        pipeline.faults.switch_on(request.path_params["name"], **switch)
        return Response(status_code=204)

    async def switch_off(request: Request) -> Response:
        pipeline.faults.switch_off(request.path_params["name"])
        return Response(status_code=204)

    async def held(request: Request) -> Response:
        await pipeline.faults.held(request.path_params["name"])
        return JSONResponse({"held": True})

    async def let_go(request: Request) -> Response:
        return JSONResponse({"let_go": pipeline.faults.let_go(request.path_params["name"])})

    return [
        Route("/_simulator", _local(page), methods=["GET"]),
        Route("/_simulator/state", _local(state), methods=["GET"]),
        Route("/_simulator/state", _local(set_state), methods=["PUT"]),
        Route("/_simulator/faults/{name}", _local(switch_on), methods=["PUT"]),
        Route("/_simulator/faults/{name}", _local(switch_off), methods=["DELETE"]),
        Route("/_simulator/held/{name}", _local(held), methods=["GET"]),
        Route("/_simulator/let-go/{name}", _local(let_go), methods=["POST"]),
    ]


def _local(handler: _Handler) -> _Handler:
    """Answer callers on this machine only, and answer a wrong request with a sentence."""

    async def guarded(request: Request) -> Response:
        if request.client is None or not _is_loopback(request.client.host):
            return JSONResponse({"error": "The simulator is controlled from its own machine only"}, 403)
        try:
            return await handler(request)
        except (ValueError, TypeError) as exc:
            return JSONResponse({"error": str(exc)}, 400)

    return guarded


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _object_in(request: Request) -> dict[str, Any]:
    body = await request.json() if await request.body() else {}
    if not isinstance(body, dict):
        raise TypeError("The body must be a JSON object.")
    return body


def _asked_for(pipeline: Pipeline, request: Request) -> SimulatedAccount:
    """Return the organization that a request names, or else the first."""
    named = request.query_params.get("organization", pipeline.account.organization_id)
    if named not in pipeline.account.organizations:
        raise ValueError(f"There is no such organization; there are {', '.join(pipeline.account.organizations)}.")
    return pipeline.account.organizations[named]


def _set_state(account: SimulatedAccount, wanted: Mapping[str, Any]) -> None:
    if unknown := sorted(set(wanted) - {"balance_cents", "kyc"}):
        raise ValueError(f"There is no {unknown[0]} to set; there are balance_cents and kyc.")
    balance_cents = wanted.get("balance_cents", account.balance_cents)
    kyc = wanted.get("kyc", account.kyc)
    if type(balance_cents) is not int or kyc not in get_args(Kyc):
        raise ValueError(f"balance_cents must be an integer, kyc one of {', '.join(get_args(Kyc))}.")
    account.balance_cents, account.kyc = balance_cents, kyc


def _state(pipeline: Pipeline, account: SimulatedAccount) -> dict[str, Any]:
    account.catch_up()
    return {
        "profile": account.profile.name,
        "organization_id": account.organization_id,
        "organizations": list(account.organizations),
        "balance_cents": account.balance_cents,
        "kyc": account.kyc,
        "charges": [asdict(charge) for charge in account.charges],
        "owned": [asdict(number) for number in account.owned.values()],
        "requests": [asdict(seen) for seen in pipeline.requests],
        "faults": dict(pipeline.faults.counts),
        "switched_on": sorted(pipeline.faults.switches),
        "inventory": dict(Counter(item.country for item in account.inventory.values())),
    }


def _page(pipeline: Pipeline, keys: Mapping[str, str]) -> str:
    switches = pipeline.faults.switches
    faults = []
    for heading, kinds in KIND_GROUPS.items():
        faults.append(heading)
        for name, kind in kinds.items():
            on = "ON  " if name in switches else "    "
            parameters = ", ".join(f"{key}={json.dumps(value)}" for key, value in kind.defaults.items())
            says = f"{kind.says} ({parameters})" if parameters else kind.says
            first = f"  {on}{name:{_NAME_WIDTH}} "
            faults.append(textwrap.fill(says, 118, initial_indent=first, subsequent_indent=" " * len(first)))
        faults.append("")
    return _PAGE.format(
        profile=pipeline.account.profile.name,
        keys="\n".join(f"  {what:10} {key}" for what, key in keys.items()),
        kyc=", ".join(get_args(Kyc)),
        faults="\n".join(faults).rstrip(),
    )
