"""How a caller without the right token is refused, as RFC 6750, RFC 9728 and the MCP specification want it.

Each refusal notes its reason for the log line of the request.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from mcp.server.auth.routes import cors_middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kros_mcp import telemetry
from kros_mcp.http.request_body import json_rpc_error
from kros_mcp.tools.specs import IN_CONVERSATION, TOOL_SPECS, Scope

METADATA_PATH = "/.well-known/oauth-protected-resource"
_RETRY_SECONDS = 5
# A client lists tools before it calls one: asked to begin with reading alone, it would never learn of the others.
_FIRST_SCOPES = " ".join(sorted(IN_CONVERSATION))


def metadata_url(resource: str) -> str:
    """Return where the metadata of a protected resource stands: between host and path."""
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
        "scopes_supported": _FIRST_SCOPES.split(),
        "bearer_methods_supported": ["header"],
        "resource_name": "KrosAI phone numbers",
    }

    async def answer(_: Request) -> Response:
        return JSONResponse(metadata, headers={"cache-control": "public, max-age=3600"})

    methods = ["GET", "OPTIONS"]
    paths = (urlsplit(metadata_url(resource)).path, METADATA_PATH)
    return [Route(path, cors_middleware(answer, methods), methods=methods) for path in paths]


def unauthorized(resource: str | None, *, tried: bool) -> Response:
    """Answer 401: no token came, or none that is valid; why it is not valid is told to nobody.

    Args:
        resource: The service's own identifier; None where no authorization server is named.
        tried: Whether a token came at all.
    """
    sentence = (
        "The token is malformed, expired, revoked or not for this service."
        if tried
        else "No token came; send one in the header Authorization, after the word Bearer."
    )
    telemetry.note_refusal("invalid_token" if tried else "no_token")
    error = {"error": "invalid_token"} if tried else {}
    return _challenge(401, sentence, {**error, "scope": _FIRST_SCOPES}, resource)


def forbidden(resource: str | None, scope: Scope, sentence: str) -> Response:
    """Answer 403: the token is valid, and lacks a scope.

    Args:
        resource: The service's own identifier; None where no authorization server is named.
        scope: The one that would do.
        sentence: Why, in ASCII without quotation marks.
    """
    telemetry.note_refusal("insufficient_scope")
    parameters = {"error": "insufficient_scope", "scope": scope, "error_description": sentence}
    return _challenge(403, sentence, parameters, resource)


def tool_forbidden(resource: str | None, tool: str) -> Response:
    """Answer 403: the token is valid, and lacks the scope of a tool."""
    needed = min(TOOL_SPECS[tool].scopes, key=list(Scope).index)
    return forbidden(resource, needed, f"{tool} needs the scope {needed}.")


def tokens_unavailable() -> Response:
    """Answer 503: whether the token is good cannot be told at present, so nobody should throw it away."""
    telemetry.note_refusal("tokens_unavailable")
    headers = {"retry-after": str(_RETRY_SECONDS), "cache-control": "no-store"}
    return json_rpc_error(503, "Tokens cannot be checked now. Try again.", headers)


def _challenge(status: int, sentence: str, parameters: dict[str, str], resource: str | None) -> Response:
    if resource is not None:
        parameters = {**parameters, "resource_metadata": metadata_url(resource)}
    challenge = ", ".join(f'{name}="{value}"' for name, value in parameters.items())
    return json_rpc_error(status, sentence, {"www-authenticate": f"Bearer {challenge}", "cache-control": "no-store"})
