"""Templates to responses; Jinja2 is loaded when the first page is asked for."""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

from kros_mcp.http.approvals.session import PATH, Session
from kros_mcp.operations.decisions import LONGEST_REASON

if TYPE_CHECKING:
    import jinja2

_PACKAGE = "kros_mcp.http.approvals"


def page(name: str, session: Session | None, *, status: int = 200, **shown: Any) -> HTMLResponse:  # noqa: ANN401
    """Render a template; whatever it shows is escaped.

    Args:
        name: The template, without its ending.
        session: Whose page it is; None before signing in.
        status: Of the response.
        shown: What the template asks for beside that.
    """
    common = {"path": PATH, "session": session, "longest_reason": LONGEST_REASON, "notice": ""}
    return HTMLResponse(_templates().get_template(f"{name}.html").render({**common, **shown}), status_code=status)


def style() -> Response:
    """Answer the style sheet."""
    return Response(_read("style.css"), media_type="text/css")


@cache
def _read(name: str) -> bytes:
    return (files(_PACKAGE) / name).read_bytes()


@cache
def _templates() -> "jinja2.Environment":
    import jinja2  # noqa: PLC0415 - until somebody approves, nothing needs it

    return jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
