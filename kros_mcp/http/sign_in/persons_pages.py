"""The pages of the service that people sign in to, and how one of them is rendered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import HTMLResponse

from kros_mcp.pages import rendering
from kros_mcp.tools.specs import Scope


@dataclass(frozen=True)
class PersonsPage:
    """A page that people sign in to, with a token that has one of its scopes and no other scope.

    Args:
        path: Where it stands.
        name: What it is called.
        package: Whose templates it is made of.
        scopes: Which of them lets somebody in.
        purpose: What for, after "Sign in to".
        refusal: What is said of any other credential.
        back: What leads back to its beginning.
    """

    path: str
    name: str
    package: str
    scopes: frozenset[Scope]
    purpose: str
    refusal: str
    back: str

    def render(self, name: str, *, status: int = 200, **shown: Any) -> HTMLResponse:  # noqa: ANN401
        """Render a template of the page; whatever it shows is escaped.

        Args:
            name: The template, without its ending.
            status: Of the response.
            shown: What the template asks for beside the page: the `session`, None before signing in, and more.
        """
        common: Mapping[str, Any] = {"page": self, "path": self.path, "notice": ""}
        return rendering.page(self.package, name, status=status, **{**common, **shown})


APPROVALS = PersonsPage(
    path="/approvals",
    name="Approvals",
    package="kros_mcp.http.approvals",
    scopes=frozenset({Scope.APPROVE}),
    purpose="approve",
    refusal="That credential does not let anybody approve here.",
    back="See what waits",
)
SPENDING = PersonsPage(
    path="/spending",
    name="Spending",
    package="kros_mcp.http.spending_page",
    scopes=frozenset({Scope.AUDIT, Scope.APPROVE}),
    purpose="see what is spent",
    refusal="That credential does not let anybody see the books here.",
    back="See what is spent",
)
PAGES = (APPROVALS, SPENDING)
"""All of them; whoever signs in to one is signed in to each that is open to them."""
