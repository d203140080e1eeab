"""A language model at the desk, through any endpoint that speaks OpenAI's chat completions, without their library.

It is given the server's instructions, the tools as functions, and the person's words; it sees text alone.
"""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from .desk import Desk

BASE_URL, KEY, MODEL = "OPENAI_BASE_URL", "OPENAI_API_KEY", "CONVERSATIONS_MODEL"
MOST_CALLS = 40
MOST_ANSWERS = 60
_TRIES = 5
_ANSWER_SECONDS = 180.0
_LONGEST_WAIT_SECONDS = 30.0
_SYSTEM = (
    "You are the assistant in a chat with a person, and act for them with your tools. They see neither the tools nor "
    "what these answer, only what you say; it is read aloud to them, so keep it short. Speak when you have something "
    "to tell or to ask, and wait for their answer."
)


class NotPlayedError(Exception):
    """The endpoint did not do its part, so a run says nothing of this server; the sentence says why."""


@dataclass(frozen=True)
class Endpoint:
    """Where a model answers, and which."""

    base_url: str
    model: str
    key: str = field(default="", repr=False)
    pause_seconds: float = 1.0
    """Before the first repeat; doubled each time."""


def named_in(environment: Mapping[str, str] = os.environ) -> Endpoint | None:
    """Return the endpoint that the environment names; None if it names none."""
    base_url, model = (environment.get(name, "").strip() for name in (BASE_URL, MODEL))
    return Endpoint(base_url, model, environment.get(KEY, "").strip()) if base_url and model else None


@dataclass(frozen=True)
class Model:
    """Plays by one endpoint."""

    endpoint: Endpoint
    http: httpx.AsyncClient

    async def play(self, desk: Desk) -> None:
        """Converse until the person says goodbye.

        Raises:
            NotPlayedError: The endpoint gives no usable answer.
        """
        tools = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.input_schema},
            }
            for tool in desk.tools
        ]
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": f"{_SYSTEM}\n\nWhat the tools' server says:\n{desk.instructions}"},
            {"role": "user", "content": desk.scenario.opening},
        ]
        for _ in range(MOST_ANSWERS):
            answer = await self._answer(messages, tools)
            messages.append(answer)
            words, wanted = str(answer.get("content") or "").strip(), answer.get("tool_calls") or []
            if wanted:
                if words:
                    desk.aside(words)
                for call in wanted:
                    if len(desk.story.calls) >= MOST_CALLS:
                        desk.cut(f"cut after {MOST_CALLS} calls")
                        return
                    messages.append({"role": "tool", "tool_call_id": call["id"], "content": await _called(desk, call)})
                continue
            if not words:
                desk.cut("the model said nothing")
                return
            messages.append({"role": "user", "content": desk.say(words)})
            if desk.person.has_gone:
                return
        desk.cut(f"cut after {MOST_ANSWERS} answers")

    async def _answer(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
        body = {"model": self.endpoint.model, "messages": messages, "tools": tools}
        pause, why = self.endpoint.pause_seconds, ""
        for nth in range(_TRIES):
            try:
                answer = await self.http.post("chat/completions", json=body)
            except httpx.TransportError as exc:
                why, wait = f"could not be reached ({type(exc).__name__})", pause
            else:
                if answer.status_code == httpx.codes.OK:
                    return _message(answer)
                why, wait = f"answered {answer.status_code}", max(pause, _retry_after(answer))
                if answer.status_code != httpx.codes.TOO_MANY_REQUESTS and answer.status_code < 500:
                    break
            if nth + 1 < _TRIES:
                await anyio.sleep(min(wait, _LONGEST_WAIT_SECONDS))
            pause *= 2
        raise NotPlayedError(f"the model's endpoint {why}")


@asynccontextmanager
async def open_model(endpoint: Endpoint) -> AsyncIterator[Model]:
    """Connect to an endpoint."""
    headers = {"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    base_url = endpoint.base_url.rstrip("/") + "/"
    async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=_ANSWER_SECONDS) as http:
        yield Model(endpoint, http)


async def _called(desk: Desk, call: dict[str, Any]) -> str:
    """Do what a model calls for; what it cannot mean is told to it."""
    name, given = str(call["function"].get("name")), call["function"].get("arguments") or "{}"
    if name not in {tool.name for tool in desk.tools}:
        return desk.refuse(name, f"There is no tool {name!r}.")
    try:
        arguments = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        return desk.refuse(name, "The arguments were no JSON object; nothing was called.")
    return await desk.call(name, **arguments)


def _message(answer: httpx.Response) -> dict[str, Any]:
    """Take the assistant's message out of an answer, with those parts alone that are sent back."""
    try:
        message = answer.json()["choices"][0]["message"]
        calls = [
            {"id": str(call["id"]), "type": "function", "function": dict(call["function"])}
            for call in message.get("tool_calls") or []
        ]
        content = message.get("content")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise NotPlayedError("the model's endpoint answered something that is no chat completion") from None
    return {"role": "assistant", "content": content} | ({"tool_calls": calls} if calls else {})


def _retry_after(answer: httpx.Response) -> float:
    try:
        return float(answer.headers.get("retry-after", "0"))
    except ValueError:
        return 0.0
