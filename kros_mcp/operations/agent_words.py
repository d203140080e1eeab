"""What an agent writes of why it asks: kept and shown as its own words; nothing of it is checked.

It stands below the facts, on one line and in quotation marks that nothing in it can end, so that it passes neither for
a fact nor for a word of ours.
"""

from typing import Final

from kros_mcp.krosai import shortened, unmarked
from kros_mcp.operations.model import Operation

LONGEST: Final = 200
"""Characters that are kept; what goes beyond is cut off, and the cut marked."""
INTRODUCTION: Final = "The agent writes, unchecked:"


def kept(text: str) -> str:
    """Make what an agent wrote fit for the journal: visible characters on one line."""
    return shortened(text, LONGEST)


def plain(reason: str) -> str:
    """Return an agent's reason as it may stand between quotation marks, for every reader; empty if there is none."""
    return unmarked(kept(reason))


def quoted(reason: str) -> str:
    """Return an agent's reason in quotation marks; empty if there is none."""
    shown = plain(reason)
    return f"“{shown}”" if shown else ""


def told(operation: Operation) -> str:
    """Return the line that tells whoever decides what the agent wrote; empty if it wrote nothing."""
    shown = quoted(operation.request.reason)
    return f"{INTRODUCTION} {shown}" if shown else ""
