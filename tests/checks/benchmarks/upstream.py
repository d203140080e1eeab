"""A simulated KrosAI in a process of its own, with enough for sale and enough credit for any measurement.

Prints its base URL, its key and the id of an owned number in one line of JSON, and serves until its stdin closes.
"""

import json
import sys

import anyio

from kros_mcp.simulator import Simulator, open_server


async def main() -> None:
    simulator = Simulator(balance_cents=10**9, extra_inventory={"NG": 2_000})
    number = next(iter(simulator.owned.values()))
    async with open_server(simulator) as base_url:
        told = {"base_url": base_url, "key": simulator.api_key, "number_id": number.id, "e164": number.e164}
        print(json.dumps(told), flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)


anyio.run(main)
