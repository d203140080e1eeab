"""The KrosAI REST API, typed: read leniently, answered strictly (docs/krosai.md).

This is the face of the package: the rest of the program imports from here, and from `transport` alone besides, which
loads httpx.
"""

from kros_mcp.krosai.cheapest import CheapestFirst
from kros_mcp.krosai.client import OTHER_ORGANIZATION, KeyLimits, KrosClient, open_client
from kros_mcp.krosai.connections import AuthHeader
from kros_mcp.krosai.envelope import find_list, find_object, find_total, read_code
from kros_mcp.krosai.exchange import BeforeSending, Heard, Reply, overheard
from kros_mcp.krosai.fields import FIELDS, RecordKind, value_at
from kros_mcp.krosai.inventory import Inventory, InventoryReading, Sighting
from kros_mcp.krosai.markets import Market
from kros_mcp.krosai.owned import (
    OwnedList,
    OwnedReading,
    find_owned,
    read_all_owned,
    read_each,
    read_owned_in_time,
    read_owned_once,
    read_owned_to_show,
)
from kros_mcp.krosai.paging import LARGEST_PAGE, EndpointList, Gathered, Page, Unreadable, gather, read_endpoints
from kros_mcp.krosai.refusals import ACCOUNT_REFUSED, moment, require_readable
from kros_mcp.krosai.retry import within
from kros_mcp.krosai.sip_credentials import SipCredentials
from kros_mcp.krosai.tally import (
    Asked,
    HourCount,
    Kind,
    Purpose,
    Tally,
    Window,
    asked_for,
    first_hour,
    hour_of,
)
from kros_mcp.krosai.text import clean, is_id, plain_name, quoted, quoted_id, same_name, shortened, unmarked
from kros_mcp.krosai.traffic import counted
from kros_mcp.krosai.wire import (
    NOT_STATED,
    CallEndpoint,
    NumberForSale,
    PhoneNumber,
    has_ended,
    is_pending,
    was_had,
    was_never_owned,
    was_turned_down,
)
from kros_mcp.krosai.writes import UNROUTED, Order, Routing, Spelling, Written

__all__ = [
    "ACCOUNT_REFUSED",
    "FIELDS",
    "LARGEST_PAGE",
    "NOT_STATED",
    "OTHER_ORGANIZATION",
    "UNROUTED",
    "Asked",
    "AuthHeader",
    "BeforeSending",
    "CallEndpoint",
    "CheapestFirst",
    "EndpointList",
    "Gathered",
    "Heard",
    "HourCount",
    "Inventory",
    "InventoryReading",
    "KeyLimits",
    "Kind",
    "KrosClient",
    "Market",
    "NumberForSale",
    "Order",
    "OwnedList",
    "OwnedReading",
    "Page",
    "PhoneNumber",
    "Purpose",
    "RecordKind",
    "Reply",
    "Routing",
    "Sighting",
    "SipCredentials",
    "Spelling",
    "Tally",
    "Unreadable",
    "Window",
    "Written",
    "asked_for",
    "clean",
    "counted",
    "find_list",
    "find_object",
    "find_owned",
    "find_total",
    "first_hour",
    "gather",
    "has_ended",
    "hour_of",
    "is_id",
    "is_pending",
    "moment",
    "open_client",
    "overheard",
    "plain_name",
    "quoted",
    "quoted_id",
    "read_all_owned",
    "read_code",
    "read_each",
    "read_endpoints",
    "read_owned_in_time",
    "read_owned_once",
    "read_owned_to_show",
    "require_readable",
    "same_name",
    "shortened",
    "unmarked",
    "value_at",
    "was_had",
    "was_never_owned",
    "was_turned_down",
    "within",
]
