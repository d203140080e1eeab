"""A stand-in for a language model, for a first try without any account: OpenAI's chat completions on this machine.

It understands a wish for a number in a place, yes and no, and where calls are to go. It does what the tools' texts say:
it says their first line, waits for a yes, and calls again with the code. Take a real model for anything else.

    python docs/examples/scripted_model.py
"""

import argparse
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PLACES = {
    "lagos": {"country": "NG", "area_code": "201"},
    "abuja": {"country": "NG", "area_code": "209"},
    "nigeria": {"country": "NG"},
    "kenya": {"country": "KE"},
    "london": {"country": "GB"},
}
HELP = (
    "I am only a script. Ask me for a number in Lagos, Abuja, Nigeria, Kenya or London, say yes or no, "
    "or say: send its calls to the support agent. Or ask: how did it go?"
)


LOOK: tuple[str, dict[str, Any]] = ("list_operations", {"limit": 1})


def reply(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the next message of the agent: words to say, or one call of a tool."""
    last = messages[-1]
    text = _text(last)
    if last["role"] == "tool":
        if "call list_operations" in text:
            before = _call_of(last, messages)[0]
            return _said("I cannot tell yet. Ask me again soon.") if before == LOOK[0] else _call(*LOOK)
        return _to_result(text)
    if last["role"] != "user":  # the program tells how something has ended that was under way
        return _said(text.split("\n")[1] if "\n" in text else HELP)
    return _to_words(text.lower(), messages)


def _to_words(words: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Do what the caller says."""
    asked = [message for message in messages if message["role"] == "tool" and _value(_text(message), "operation_id")]
    if re.search(r"\b(yes|go ahead|please do)\b", words) and asked and _value(_text(asked[-1]), "confirmation_code"):
        name, arguments = _call_of(asked[-1], messages)
        return _call(name, {**arguments, "confirmation_code": _value(_text(asked[-1]), "confirmation_code")})
    if re.search(r"\bno\b", words) and asked:
        return _call("cancel_operation", {"operation_id": _value(_text(asked[-1]), "operation_id")})
    if to := re.search(r"calls to (?:the )?([\w ]+)", words):
        numbers = [found for each in messages for found in re.findall(r"\+\d[\d ]{6,}\d", _text(each))]
        return _call("configure_phone_number", {"number_id": numbers[-1] if numbers else "", "endpoint_id": to[1]})
    if "how did it go" in words:
        return _call(*LOOK)
    wanted = next((PLACES[place] for place in PLACES if place in words), None)
    return _call("search_phone_numbers", {**wanted, "type": "local", "limit": 1}) if wanted else _said(HELP)


def _to_result(text: str) -> dict[str, Any]:
    """Go from what is for sale to its quote; say the first line of everything else."""
    if offer := re.search(r"^1\. \+\d+; (\S+?)(;|$)", text, re.MULTILINE):
        return _call("buy_phone_number", {"inventory_id": offer[1]})
    if _value(text, "status") == "pending":
        return _said(f"{_first(text)} I will tell you how it ends.")
    return _said(_first(text))


def _first(text: str) -> str:
    return text.split("\n", maxsplit=1)[0]


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    text = content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
    return str(json.loads(text)) if text.startswith('"') else text  # Pipecat gives its model a JSON string


def _value(text: str, name: str) -> str:
    found = re.search(rf"^{name}: (\S+)$", text, re.MULTILINE)
    return found[1] if found else ""


def _call_of(result: dict[str, Any], messages: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    calls = {call["id"]: call["function"] for message in messages for call in message.get("tool_calls") or []}
    function = calls[result["tool_call_id"]]
    return function["name"], json.loads(function["arguments"])


def _said(words: str) -> dict[str, Any]:
    return {"role": "assistant", "content": words}


def _call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "tool_calls": [{"index": 0, "type": "function", "function": function}]}


class Completions(BaseHTTPRequestHandler):
    """Answers `POST /v1/chat/completions`, as one stream of events."""

    def do_POST(self) -> None:
        """Answer one request."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = reply(asked["messages"]) if asked.get("tools") else _said("I cannot reach the number service now.")
        for call in message.get("tool_calls", []):
            call["id"] = f"call_{len(asked['messages'])}"
        why = "tool_calls" if "tool_calls" in message else "stop"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for delta, reason in ((message, None), ({}, why)):
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            chunk = {"id": "scripted", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
            self.wfile.write(f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        """Print nothing for a request."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--port", type=int, default=8300)
    with ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Completions) as server:
        print(f"OPENAI_BASE_URL=http://127.0.0.1:{server.server_port}/v1 OPENAI_API_KEY=none", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("Stopped.")
