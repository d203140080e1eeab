"""Turns templates into pages, by Jinja2, which is loaded when the first page is asked for."""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

if TYPE_CHECKING:
    import jinja2

_SHARED = "kros_mcp.pages"


def page(package: str, name: str, *, status: int = 200, **shown: Any) -> HTMLResponse:  # noqa: ANN401
    """Render a template; whatever it shows is escaped.

    Args:
        package: Whose folder `templates` has it; the shared ones are found from everywhere.
        name: The template, without its ending.
        status: Of the response.
        shown: What the template asks for.
    """
    return HTMLResponse(_templates(package).get_template(f"{name}.html").render(shown), status_code=status)


def style() -> Response:
    """Return the style sheet of all pages."""
    return Response(_style_sheet(), media_type="text/css")


@cache
def _style_sheet() -> bytes:
    return (files(_SHARED) / "style.css").read_bytes()


@cache
def _templates(package: str) -> "jinja2.Environment":
    import jinja2  # noqa: PLC0415 - until a page is asked for, nothing needs it

    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader(_SHARED)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
