"""The KrosAI REST API, typed: read leniently, answered strictly (krosai-api.md)."""

from kros_mcp.krosai.client import KrosClient, open_client
from kros_mcp.krosai.connections import AuthHeader
from kros_mcp.krosai.exchange import BeforeSending
from kros_mcp.krosai.inventory import Inventory, InventoryReading, Sighting
from kros_mcp.krosai.orders import Order, Routing, Spelling, Written
from kros_mcp.krosai.owned import OwnedList, OwnedReading, find_owned, read_all_owned
from kros_mcp.krosai.paging import Page, Unreadable
from kros_mcp.krosai.retry import within
from kros_mcp.krosai.sip import SipCredentials
from kros_mcp.krosai.text import clean
from kros_mcp.krosai.wire import CallEndpoint, NumberForSale, PhoneNumber

__all__ = [
    "AuthHeader",
    "BeforeSending",
    "CallEndpoint",
    "Inventory",
    "InventoryReading",
    "KrosClient",
    "NumberForSale",
    "Order",
    "OwnedList",
    "OwnedReading",
    "Page",
    "PhoneNumber",
    "Routing",
    "Sighting",
    "SipCredentials",
    "Spelling",
    "Unreadable",
    "Written",
    "clean",
    "find_owned",
    "open_client",
    "read_all_owned",
    "within",
]
