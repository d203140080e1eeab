"""A faithful local KrosAI: the phone-number API over HTTP, with state, two profiles and named faults.

It follows docs/krosai.md and imports nothing else of this package: if client and simulator shared
shapes, they would be wrong together.
"""

from kros_mcp.simulator.catalogue import InventoryItem
from kros_mcp.simulator.pipeline import ReceivedRequest
from kros_mcp.simulator.records import Charge, SimEndpoint, SimNumber
from kros_mcp.simulator.shapes import Shapes, parse_shapes, read_shapes
from kros_mcp.simulator.simulation import Simulator, open_server, transport

__all__ = [
    "Charge",
    "InventoryItem",
    "ReceivedRequest",
    "Shapes",
    "SimEndpoint",
    "SimNumber",
    "Simulator",
    "open_server",
    "parse_shapes",
    "read_shapes",
    "transport",
]
