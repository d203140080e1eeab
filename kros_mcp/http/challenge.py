"""How a caller without the right token is told, as RFC 6750, RFC 9728 and the MCP specification want it.

What answers a request here notes in its log line why, in a word.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from mcp.server.auth.routes import cors_middleware
from mcp_types import INVALID_REQUEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kros_mcp import telemetry
from kros_mcp.tools.caller import IN_CONVERSATION, Scope

METADATA_PATH = "/.well-known/oauth-protected-resource"
_RETRY_SECONDS = 5
# A client lists tools before it calls one: asked to begin with reading alone, it would never learn of the others.
_TO_BEGIN_WITH = " ".join(sorted(IN_CONVERSATION))


def metadata_url(resource: str) -> str:
    """Where the metadata of a protected resource stands: between host and path."""
    url = urlsplit(resource)
    return f"{url.scheme}://{url.netloc}{METADATA_PATH}{url.path}"


def metadata_routes(resource: str, issuers: Sequence[str]) -> list[Route]:
    """Serve the metadata of RFC 9728, by which clients find out whom to ask for a token.

    It stands where the RFC has it for this resource, and at the root too, where some clients look for it first.

    Args:
        resource: The service's own identifier.
        issuers: Its authorization servers, letter by letter as they call themselves: clients compare.
    """
    metadata = {
        "resource": resource,
        "authorization_servers": list(issuers),
        "scopes_supported": _TO_BEGIN_WITH.split(),
        "bearer_methods_supported": ["header"],
        "resource_name": "KrosAI phone numbers",
    }

    async def answer(_: Request) -> Response:
        return JSONResponse(metadata, headers={"cache-control": "public, max-age=3600"})

    methods = ["GET", "OPTIONS"]
    paths = (urlsplit(metadata_url(resource)).path, METADATA_PATH)
    return [Route(path, cors_middleware(answer, methods), methods=methods) for path in paths]


def unauthorized(resource: str | None, *, tried: bool) -> Response:
    """Answer 401: no token came, or none that is valid; why it is not is nobody's business.

    Args:
        resource: The service's own identifier; None where no authorization server is named.
        tried: Whether a token came at all.
    """
    sentence = (
        "The token is malformed, expired, revoked or not for this service."
        if tried
        else "No token came; send one in the header Authorization, after the word Bearer."
    )
    telemetry.refused("invalid_token" if tried else "no_token")
    challenge = {"error": "invalid_token"} if tried else {}
    return _response(401, sentence, {**challenge, "scope": _TO_BEGIN_WITH}, resource)


def forbidden(resource: str | None, scope: Scope, sentence: str) -> Response:
    """Answer 403: the token is valid, and lacks a scope.

    Args:
        resource: The service's own identifier; None where no authorization server is named.
        scope: The one that would do.
        sentence: Why, in ASCII without quotation marks.
    """
    telemetry.refused("insufficient_scope")
    challenge = {"error": "insufficient_scope", "scope": scope, "error_description": sentence}
    return _response(403, sentence, challenge, resource)


def unable() -> Response:
    """Answer 503: whether the token is good cannot be told at present, so nobody should throw it away."""
    telemetry.refused("tokens_unavailable")
    headers = {"retry-after": str(_RETRY_SECONDS), "cache-control": "no-store"}
    return refusal(503, "Tokens cannot be checked now. Try again.", headers)


def too_many(seconds: int) -> Response:
    """Answer 429: the caller's next request is welcome after so long."""
    telemetry.refused("too_many_requests")
    wait = "a second" if seconds == 1 else f"{seconds} seconds"
    return refusal(429, f"Too many requests. Try again in {wait}.", {"retry-after": str(seconds)})


def refusal(
    status: int,
    sentence: str,
    headers: Mapping[str, str],
    *,
    code: int = INVALID_REQUEST,
    request_id: str | int | None = None,
    data: object = None,
) -> Response:
    """Refuse a request as a JSON-RPC error: clients of the SDK tell that sentence, and nothing of any other body.

    Args:
        status: Of HTTP.
        sentence: What is wrong.
        headers: To send beside it.
        code: Of JSON-RPC.
        request_id: The id of the request, where it was read.
        data: What the protocol wants beside the sentence; None for nothing.
    """
    error = {"code": code, "message": sentence} | ({} if data is None else {"data": data})
    body = {"jsonrpc": "2.0", "id": request_id, "error": error}
    return JSONResponse(body, status_code=status, headers=headers)


def _response(status: int, sentence: str, challenge: dict[str, str], resource: str | None) -> Response:
    if resource is not None:
        challenge = {**challenge, "resource_metadata": metadata_url(resource)}
    parameters = ", ".join(f'{name}="{value}"' for name, value in challenge.items())
    headers = {"www-authenticate": f"Bearer {parameters}", "cache-control": "no-store"}
    return refusal(status, sentence, headers)
