"""Who may see a page at all: the browser of the person who runs this server, and nothing in it but a tab of its own."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from kros_mcp.browser.loopback import HOST
from kros_mcp.browser.peer import is_another_users
from kros_mcp.pages.guard import HEADERS

OPENING = "/open/"
"""Before a one-use path."""
POLICY = "default-src 'none'; style-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'"
OF_PAGES = {**HEADERS, "content-security-policy": f"{POLICY}; frame-ancestors 'none'"}


def refusal_of(request: Request, port: int) -> Response | None:
    """Return the answer to what no browser of this person asks for by itself; nothing changes by it.

    Args:
        request: As it came.
        port: Where it is served.
    """
    headers = request.headers
    if headers.get("host") != f"{HOST}:{port}":  # such as a name that another site lets point here
        return PlainTextResponse("Nothing is served under this name.\n", status_code=421)
    if request.method not in {"GET", "POST"}:  # HEAD as well: it would count as a first use, seen by nobody
        return PlainTextResponse("This is not done here.\n", status_code=405)
    if "prefetch" in " ".join(headers.get(name, "") for name in ("sec-purpose", "purpose", "x-moz")).lower():
        return PlainTextResponse("Nothing is fetched before a person opens it.\n", status_code=403)
    if not headers.get("user-agent", "").startswith("Mozilla/"):  # as every browser with windows calls itself
        return PlainTextResponse("This page is for a browser with a window.\n", status_code=403)
    if request.client and is_another_users(request.client, (HOST, port)):
        return PlainTextResponse("This page is for the user who runs this server.\n", status_code=403)
    return None


def not_opened() -> Response:
    """Return the answer to what another page wants to open."""
    return PlainTextResponse("This page is opened by itself, never from within another.\n", status_code=403)


def is_opened_by_person(request: Request) -> bool:
    """Whether a browser has opened an address as a page of its own, not for another site or within a page."""
    site, to = request.headers.get("sec-fetch-site"), request.headers.get("sec-fetch-dest")
    return site in {None, "none", "same-origin"} and to in {None, "document"}
