"""The person before a client, who reads prompts and answers them."""

from typing import Any

import anyio
from mcp.client.context import ClientRequestContext
from mcp.types import ElicitRequestParams, ElicitResult, ErrorData

Reply = ElicitResult | ErrorData

DECLINE = ElicitResult(action="decline")
CANCEL = ElicitResult(action="cancel")
ERROR = ErrorData(code=-32603, message="the form could not be drawn")
EMPTY = ElicitResult(action="accept")
MALFORMED = ElicitResult(action="accept", content={"decision": "perhaps"})


def accept(decision: str, digits: str | None = None, count: str | None = None) -> ElicitResult:
    typed = {"last_four_digits": digits, "how_many": count}
    content: dict[str, Any] = {"decision": decision, **{name: text for name, text in typed.items() if text is not None}}
    return ElicitResult(action="accept", content=content)


class Person:
    """Reads prompts and gives the next of the answers; holds the last one back while `thinking`."""

    def __init__(self, *answers: Reply) -> None:
        self.answers = list(answers)
        self.prompts: list[str] = []
        self.forms: list[dict[str, Any]] = []
        self.thinking: anyio.Event | None = None
        self.asked = anyio.Event()

    async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> Reply:  # noqa: ARG002 - by name
        self.prompts.append(params.message)
        self.forms.append(params.model_dump(mode="json", by_alias=True)["requestedSchema"])
        self.asked.set()
        if self.thinking is not None:
            await self.thinking.wait()
        return self.answers.pop(0)
