# /// script
# requires-python = ">=3.11"
# dependencies = ["mcp>=2.3,<3"]
# ///
"""The least that an agent of your own does to buy a number: search, ask, bring the code, look again while pending.

NUMBERS_MCP_URL=http://127.0.0.1:8000/mcp NUMBERS_MCP_TOKEN=krosmcp_... uv run docs/examples/plain_agent.py text
"""

import asyncio
import os
from typing import Any

from mcp import Client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

LOOK_AGAIN_SECONDS = 3


async def main() -> None:
    """Buy the cheapest number of a country, if the person says yes."""
    http = create_mcp_http_client(headers={"Authorization": f"Bearer {os.environ['NUMBERS_MCP_TOKEN']}"})
    async with http, Client(streamable_http_client(os.environ["NUMBERS_MCP_URL"], http_client=http)) as kros:
        found = await call(kros, "search_phone_numbers", country=await ask("Type a country: "), limit=1)
        if not found or not found["numbers"]:
            return
        wish = {"inventory_id": found["numbers"][0]["inventory_id"]}
        asked = await call(kros, "buy_phone_number", **wish)
        if not asked or asked["status"] != "confirmation_required":
            return
        if (await ask("Type yes to buy it: ")).lower() != "yes":
            await call(kros, "cancel_operation", operation_id=asked["operation_id"])
            return
        told = await call(kros, "buy_phone_number", **wish, confirmation_code=asked["confirmation_code"])
        while told and told["status"] in {"pending", "unknown"}:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            told = await call(kros, "get_operation", operation_id=asked["operation_id"])


async def ask(words: str) -> str:
    """Ask the person; here by typing."""
    return (await asyncio.to_thread(input, words)).strip()


async def call(kros: Client, tool: str, **arguments: str | int) -> dict[str, Any] | None:
    """Call a tool and say its summary; None if it failed, where `code` says why and `next_step` what to do."""
    result = await kros.call_tool(tool, arguments)
    told = result.structured_content or {}
    print("AGENT:", told.get("summary") or result.content, flush=True)
    return None if result.is_error else told


if __name__ == "__main__":
    asyncio.run(main())
