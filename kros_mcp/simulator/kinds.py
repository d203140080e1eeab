"""The named ways in which the simulated KrosAI goes wrong: what each does, whom it strikes, what it takes.

Those of the second and third group are reported of real telephony APIs (krosai-api.md, section 11).
A fault that leaves something behind (a record, an offer, an id) leaves it for good, whether it is on or off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

READS: Final = frozenset({"list_owned", "search", "get", "list_endpoints", "get_endpoint"})
WRITES: Final = frozenset({"purchase", "update", "release"})
OPERATIONS: Final = READS | WRITES


@dataclass(frozen=True)
class Kind:
    """What a fault does, the operations it strikes unless told others, and its parameters."""

    says: str
    strikes: frozenset[str] = OPERATIONS
    defaults: Mapping[str, object] = field(default_factory=dict)


_PURCHASE = frozenset({"purchase"})
_SEARCH = frozenset({"search"})
_LIST_OWNED = frozenset({"list_owned"})
_RECORDS = frozenset({"list_owned", "search", "get"})
_WAIT: Mapping[str, object] = {"in_body": None, "clock_seconds": 0}

_ANY_ANSWER: Mapping[str, Kind] = {
    "error_before": Kind("a 500 without a code before anything is done"),
    "slow": Kind("waits `seconds` before acting, or after it", defaults={"seconds": 1.0, "after": False}),
    "hold": Kind("waits until let go, before acting or after it", defaults={"after": False}),
    "rate_limited": Kind(
        "429 with this Retry-After, and in the body `in_body` instead if given, or nothing if it is empty; its Date is "
        "wrong by `clock_seconds`; nothing is done",
        defaults={"retry_after": "1.5", **_WAIT},
    ),
    "unavailable": Kind("503, otherwise as rate_limited", defaults={"retry_after": "120", **_WAIT}),
    "refuse": Kind("exactly this error; nothing is done", defaults={"status": 400, "code": None, "error": "Refused"}),
    "hostile_names": Kind(
        "endpoints carry names that try to misuse whoever reads them",
        frozenset({"list_endpoints", "get_endpoint", "get"}),
    ),
    "malformed_body": Kind("the answer is cut in its middle; its status stays"),
    "unknown_shape": Kind("the answer is JSON that fits no rule; its status stays"),
    "html_page": Kind("a web page with status 200 in place of the answer"),
}

_WRITTEN: Mapping[str, Kind] = {
    "stolen_number": Kind("someone else takes the number just before it is bought", _PURCHASE),
    "lost_reply": Kind("the write commits, then the connection drops without an answer", WRITES),
    "error_after": Kind("a 500 without a code after the write commits", WRITES),
    "commits_then_429": Kind("the write commits, and is answered 429", _PURCHASE, {"retry_after": "1.5"}),
    "commits_then_refuses": Kind(
        "the write commits, and is answered by exactly this error",
        _PURCHASE,
        {"status": 404, "code": "NUMBER_NOT_AVAILABLE", "error": "The requested number is no longer available"},
    ),
    "error_in_success": Kind(
        "200 with this body, which is an error; nothing is done, or all of it if it commits",
        WRITES,
        {"body": {"errors": [{"message": "Refused"}]}, "commits": False},
    ),
    "pending_order": Kind(
        "a purchase is answered `status_code` and pending; after `seconds` it becomes active and is charged, or it "
        "`ends` rejected, cancelled or failed and is for sale again, or never ends; meanwhile it is listed or not",
        _PURCHASE,
        {"status_code": 202, "ends": "active", "seconds": 5.0, "listed": True},
    ),
    "ended_in_answer": Kind(
        "201 that names the number with this status; nothing is bought, or it is if it commits",
        _PURCHASE,
        {"status": "rejected", "commits": False},
    ),
    "never_listed": Kind(
        "a number is bought and answered 201, and neither listed nor found by its id for `seconds`, or ever",
        _PURCHASE,
        {"seconds": None},
    ),
    "stays_for_sale": Kind(
        "a number that is bought stays in searches for `seconds`, or for as long as it is owned; bought again it is "
        "answered 201 with its record, and charged again or not",
        _PURCHASE,
        {"seconds": None, "charges": True},
    ),
    "old_id_again": Kind("a number that has an ended record is bought back under the id of that record", _PURCHASE),
    "late_change": Kind(
        "a change is answered 200 with the settings of before, and shows after `seconds`",
        frozenset({"update"}),
        {"seconds": 3.0},
    ),
    "ended_word": Kind(
        "a release leaves a record with this status",
        frozenset({"release"}),
        {"status": "released"},
    ),
    "ignore_snake_case": Kind(
        "endpoint_id, allow_inbound and allow_outbound go unheeded", frozenset({"purchase", "update"})
    ),
    "ignore_camel_case": Kind(
        "endpointId, allowInbound and allowOutbound go unheeded", frozenset({"purchase", "update"})
    ),
}

_SHOWN: Mapping[str, Kind] = {
    "price_moves": Kind(
        "the monthly price changes by `cents`, from then on: at=search before the answer, for every "
        "number that fits the search; at=purchase just before charging",
        frozenset({"search", "purchase"}),
        {"cents": 100, "at": "purchase"},
    ),
    "missing_prices": Kind("answers carry no prices", frozenset({"search", "get"})),
    "total_only": Kind("numbers for sale state this total and no other price", _SEARCH, {"cents": 0}),
    "states_currency": Kind("records state this currency", _RECORDS, {"currency": "NGN"}),
    "odd_country": Kind("records state this country; null leaves it out", _RECORDS, {"country": "UK"}),
    "owned_for_sale": Kind(
        "active numbers of the account that fit a search, at most so many, are for sale in it for `seconds`, or for "
        "as long as they are owned; bought they are answered 201 with their record, and charged again or not",
        _SEARCH,
        {"numbers": 100, "seconds": None, "charges": True},
    ),
    "old_records": Kind(
        "of the numbers that a search shows, so many get an ended record among the owned ones: released, deleted, "
        "cancelled, ported_out, failed, expired by turns, or with this status; only those that no search had shown "
        "before, or any",
        _SEARCH,
        {"numbers": 100, "status": None, "only_new": False},
    ),
    "twice_for_sale": Kind(
        "of the numbers that a search shows, so many stand there twice from then on, the second dearer by `cents`",
        _SEARCH,
        {"numbers": 100, "cents": 100},
    ),
    "changing_ids": Kind("inventory ids are new in each search; each is good for buying", _SEARCH),
    "digit_ids": Kind(
        "inventory ids and those of numbers bought are digits only, as text or as integers above 2^53",
        frozenset({"search", "purchase"}),
        {"integers": False},
    ),
    "not_served": Kind("a search is answered 404 without a code", _SEARCH),
    "errors_in_list": Kind(
        "a list is answered 200, empty and with `errors`", frozenset({"list_owned", "search", "list_endpoints"})
    ),
    "unready_record": Kind("the owned list ends with a pending record that has no number yet", _LIST_OWNED),
    "shifting_pages": Kind(
        "a record of an earlier page is gone when a later page of the owned list is read: that page begins one too far",
        _LIST_OWNED,
    ),
    "other_record": Kind("a number is answered under the id of another active number", frozenset({"get"})),
    "no_single_endpoint": Kind("there is no path for one endpoint: 404 without a code", frozenset({"get_endpoint"})),
}

KIND_GROUPS: Mapping[str, Mapping[str, Kind]] = {
    "Faults of any answer": _ANY_ANSWER,
    "Faults of purchases, changes and releases": _WRITTEN,
    "Faults of what is shown": _SHOWN,
}
KINDS: Mapping[str, Kind] = {name: kind for kinds in KIND_GROUPS.values() for name, kind in kinds.items()}
