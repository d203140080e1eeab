"""The prompts that a person picks in their client, each the beginning of a conversation.

They speak in the person's name, and ask for nothing that the tools' own guard would let through without a yes.
"""

from collections.abc import Callable
from typing import Annotated, Any

from mcp.server.mcpserver.prompts import Prompt
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS
from pydantic import Field, ValidationError

from kros_mcp.tools.parameters import E164, Country, ExactEndpointId, refusal

_Endpoint = Annotated[ExactEndpointId, Field(description="where its calls shall go, an id; empty to be asked")]
_Country = Annotated[Country, Field(description="code or name, such as NG; empty to be asked")]
_OneCountry = Annotated[Country, Field(description="code or name, such as NG; empty for all countries")]
_Keep = Annotated[E164, Field(description="a number to leave alone whatever it looks like; may be empty")]


async def set_up_number(country: _Country = "", endpoint_id: _Endpoint = "") -> str:
    """Find, buy and route one number, with its price told before and a yes asked for."""
    where = f"in {country}" if country else "in a country that you ask me for"
    to = f"endpoint {endpoint_id}" if endpoint_id else "one of my endpoints (list them, and ask me which)"
    return (
        f"I need one phone number {where}, and its calls shall go to {to}.\n"
        "Search what is for sale, and offer me one number with what it costs now and every month. Ask whether you may "
        "buy it, and wait for my answer. Buy it with that endpoint; where the server asks me on my screen, wait for my "
        "answer there. Then tell me the number, what was charged and where its calls go. If the outcome is unknown, "
        "say so and look it up with get_operation; do not buy another."
    )


async def tidy_up_numbers(country: _OneCountry = "", keep: _Keep = "") -> str:
    """Find owned numbers that look unused, and release those that are named one by one."""
    which = f"my phone numbers in {country}" if country else "all my phone numbers"
    spared = f" Leave {keep} alone." if keep else ""
    return (
        f"Help me tidy up {which}; read every page of them.{spared}\n"
        "Show me those that look unused: no endpoint, neither inbound nor outbound calls allowed, or not active. For "
        "each say why, and what it costs a month, then what all of them cost together. That it is not stated where a "
        "number's calls go is no reason. KrosAI does not tell how often a number is called, so a number that looks "
        "unused may still be in use: say that, and ask me about each. "
        "Change nothing by yourself. Releasing cannot be undone, so release only a number that I have named, one "
        "at a time, and each after its own yes, on my screen where the server asks there."
    )


async def review_spending(country: _OneCountry = "") -> str:
    """Tell what the account's numbers cost, and what may still be spent; changes nothing."""
    which, by_country = (f" in {country}", "") if country else ("", ", by country")
    return (
        f"What do we spend on phone numbers? Read my spending, and every page of my numbers{which}.\n"
        f"Tell me what they cost a month{by_country}, the dearest ones, and those whose price KrosAI does not state; "
        "then what was spent in the last 24 hours, what is left of the limits, and which limits are in force. Amounts "
        "are in cents: show them as money. Do not add up what is not stated, and change nothing."
    )


_PROMPTS: tuple[tuple[Callable[..., Any], str], ...] = (
    (set_up_number, "Set up a number for an agent"),
    (tidy_up_numbers, "Tidy up unused numbers"),
    (review_spending, "What do we spend on numbers"),
)


def build_prompts() -> list[Prompt]:
    """Build every prompt."""
    return [Prompt.from_function(function, title=title) for function, title in _PROMPTS]


def check_arguments(prompt: Prompt, arguments: dict[str, Any]) -> None:
    """Make sure that a prompt takes these arguments by name.

    Raises:
        MCPError: It does not; it names those that it takes.
    """
    known = [argument.name for argument in prompt.arguments or []]
    if unknown := sorted(set(arguments) - set(known)):
        raise MCPError(
            INVALID_PARAMS, f"{unknown[0][:60]!r} is not an argument of this prompt; it takes {', '.join(known)}."
        )


def refused(prompt: Prompt, failure: ValueError) -> Exception:
    """Say in a sentence which argument is not usable; a failure about something else is answered as it is."""
    cause: BaseException | None = failure
    while cause is not None and not isinstance(cause, ValidationError):
        cause = cause.__cause__
    if cause is None:
        return failure
    schema = {"properties": {one.name: {"type": "string"} for one in prompt.arguments or []}}
    return MCPError(INVALID_PARAMS, refusal(cause.errors(include_url=False), schema))
