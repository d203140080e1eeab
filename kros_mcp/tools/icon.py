"""One small icon, drawn here, so that no client has to fetch it from anywhere."""

from typing import Final
from urllib.parse import quote

from mcp.types import Icon

# A keypad with the call key lit. The modern protocol sends it with every result, so every byte counts.
SVG: Final = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' stroke-width='4' stroke-linecap='round'>"
    "<rect width='24' height='24' rx='5' fill='#123'/>"
    "<path d='M7 7h0m5 0h0m5 0h0M7 12h0m5 0h0m5 0h0' stroke='#fff'/><path d='M9 18h6' stroke='#3c8'/></svg>"
)


def icon() -> Icon:
    """Draw it as a data URI."""
    drawing = quote(SVG, safe="='/:")
    return Icon(src=f"data:image/svg+xml,{drawing}", mime_type="image/svg+xml", sizes=["any"])
