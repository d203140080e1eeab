"""The routes of the spending page."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from kros_mcp.http.sign_in.persons_pages import SPENDING
from kros_mcp.http.sign_in.sign_in import SignIn


class SpendingPage:
    """Answers the requests of the page.

    Args:
        sign_in: Who is signed in to it.
    """

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in

    def router(self) -> Router:
        """Return the router of the page's paths."""
        path = SPENDING.path
        return Router(
            redirect_slashes=False,
            routes=[*self._sign_in.routes(), Route(path, self.show, methods=["GET"])],
        )

    async def show(self, request: Request) -> Response:
        """Show what is spent, or the form to sign in."""
        session = self._sign_in.session(request)
        if session is None:
            return self._sign_in.ask(request)
        return SPENDING.render("spending", session=session)
