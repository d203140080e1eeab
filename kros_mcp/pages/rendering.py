"""Turns templates into pages, by Jinja2, which is loaded when the first page is asked for."""

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

_SHARED = "kros_mcp.pages"
_LONGEST_WHOLE = 32
"""Characters that fit a line of the narrowest phone; what is longer may break, rather than leave the screen."""
_WHOLE = re.compile(
    r"""
    \+[0-9][0-9\ ]{5,}[0-9]                                  # a phone number, spoken or not
    | [0-9][0-9,]*\.[0-9]{2}(?:\ [^\s.,;:?!()]+)?            # an amount, with its currency's label
    | [0-9]{4}-[0-9]{2}-[0-9]{2}(?:\ [0-9:]{5,8}(?:\ UTC)?)?  # a time
    | op_[a-z2-7]{16}                                       # an operation
    | tokens\|[\w.@-]+                                      # a caller with a token
    """,
    re.VERBOSE,
)


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


def whole(text: str) -> "Markup":
    """Escape a text, and keep each amount, phone number, time and operation in it on one line.

    The principal of an identity provider, longer than a line, breaks between who vouches for it and its name.
    """
    from markupsafe import Markup  # noqa: PLC0415 - comes with Jinja2

    def breakable(between: str) -> Markup:
        return Markup("|<wbr>").join(between.split("|"))

    span, pieces, end = Markup('<span class="whole">{}</span>'), [], 0
    for found in _WHOLE.finditer(text):
        if len(found[0]) <= _LONGEST_WHOLE:
            pieces += [breakable(text[end : found.start()]), span.format(found[0])]
            end = found.end()
    return Markup("").join([*pieces, breakable(text[end:])])


@cache
def _style_sheet() -> bytes:
    return (files(_SHARED) / "style.css").read_bytes()


@cache
def _templates(package: str) -> "jinja2.Environment":
    import jinja2  # noqa: PLC0415 - until a page is asked for, nothing needs it

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader(_SHARED)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["whole"] = whole
    return environment
