"""`kros-mcp probe`: what KrosAI really answers, read with the key in force, and what follows from it.

It sends GET alone, some fifteen of them. What it prints and writes holds no number, id, name or amount of the account.
"""

import re
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import anyio
import click

from kros_mcp.commands import contact_answers
from kros_mcp.commands.console import working
from kros_mcp.commands.contact_answers import Enquiry
from kros_mcp.commands.contact_comparisons import comparisons
from kros_mcp.commands.contact_conclusions import LISTS, Contact, conclusions
from kros_mcp.commands.contact_report import ContactReport, deliver, require_new
from kros_mcp.commands.group import simulator_option
from kros_mcp.commands.requests_sent import keep_count
from kros_mcp.commands.seen_shapes import (
    LIST_KINDS,
    SeenAnswer,
    as_json,
    error_fields,
    field_json,
    seen_list,
    seen_object,
)
from kros_mcp.errors import InvalidArgumentError, NotFoundError, NotSentError, ProtocolError
from kros_mcp.krosai import FIELDS, Kind, KrosClient, Purpose, RecordKind, asked_for, open_client, value_at
from kros_mcp.krosai.wire import PhoneNumber, read_available, read_phone_number
from kros_mcp.numbering import parse_country
from kros_mcp.operations.account import open_krosai
from kros_mcp.settings import DEFAULT_BASE_URL, Settings, load_settings

if TYPE_CHECKING:
    import httpx

_HELP = """\
Say what KrosAI really answers, and what follows; only reads.

Some fifteen GET requests with the key in force: the owned numbers, the numbers for sale in one country, one number, the
endpoints, an id that does not exist, and a made-up key. What is told are names and forms of fields, and plain words
such as statuses, error codes and a currency; no number, id, name or amount, so that the report can be published.
"""
_EPILOG = """\
\b
examples:
  kros-mcp probe --report krosai.md         a report for a bug report
  kros-mcp probe --json > shapes.json       for kros-mcp simulator --shapes
  kros-mcp probe --simulator                to see what it looks like

\b
exit codes:
  0 all is read   1 a check failed   2 usage or settings
  4 KrosAI unreachable
"""
_KINDS: Final[Mapping[RecordKind, Kind]] = {
    "owned": Kind.OWNED,
    "available": Kind.AVAILABLE,
    "endpoint": Kind.ENDPOINTS,
}
_FILTERS: Final[Mapping[RecordKind, tuple[str, ...]]] = {
    "owned": ("status", "country"),
    "available": ("type", "area_code"),
}
_OTHERS: Final = {"status": ("suspended", "pending"), "country": ("KE", "NG"), "type": ("toll_free", "mobile")}
"""What to filter by where all records state the same, so that it shows whether the filter is heeded."""
_FULL_PAGE: Final = 100
_MOST_UNANSWERED: Final = 2
_PLAIN: Final = re.compile(r"[A-Za-z0-9 _-]{1,40}")
_UUID_LENGTH: Final = 36
_SURELY_FREE_DIGITS: Final = 18


@click.command(help=_HELP, epilog=_EPILOG)
@click.option("--country", default="NG", metavar="CODE", help="where to look for numbers for sale (NG)")
@click.option("--json", "as_json_document", is_flag=True, help="print everything as JSON")
@click.option("--report", "report_file", default="", metavar="FILE", help="write it as Markdown to a new file, too")
@simulator_option("ask a simulated KrosAI; needs no key")
@click.option("--shapes", "shapes_file", metavar="FILE", help="with --simulator: the shapes that it answers in")
def probe(country: str, report_file: str, shapes_file: str | None, *, as_json_document: bool, simulator: bool) -> int:
    """Ask, tell, and return the gravest exit code of what follows.

    Raises:
        KrosError: The settings, the country or the file cannot be used.
    """
    try:
        country = parse_country(country)
    except ValueError as exc:
        raise InvalidArgumentError(str(exc), next_step="Correct --country.") from None
    if report_file:
        require_new(report_file)
    settings = load_settings(simulator=simulator)
    settings.require_api_key()
    if shapes_file is not None and not simulator:
        raise InvalidArgumentError("--shapes goes with --simulator.", next_step="")
    way = _simulated(shapes_file) if simulator else None
    with working("asking KrosAI"):
        made = anyio.run(first_contact, settings, country, way)
    return deliver(made, report_file, as_json=as_json_document)


async def first_contact(
    settings: Settings, country: str = "NG", way: "Callable[[], httpx.AsyncBaseTransport] | None" = None
) -> ContactReport:
    """Ask KrosAI everything, and return the report.

    Args:
        settings: Whose key is in force.
        country: Where to look for numbers for sale.
        way: Makes what replaces the network, for each of two clients.

    Raises:
        SettingsError: The key, the address, the proxy or the certificates cannot be used.
    """
    base_url = settings.base_url
    questions = _Questions(base_url, country)
    async with open_krosai(settings, way() if way else None) as client:
        try:
            with asked_for(Purpose.READ, must=True):  # a person asks, so the rest of the day's requests is theirs
                contact = await questions.put(client)
        finally:
            await keep_count(settings, client.tally)
    if not contact.asked["owned"].is_unanswered:
        async with open_client(
            base_url=base_url,
            api_key=f"kros_{'live' if settings.environment == 'live' else 'test'}_{secrets.token_hex(16)}",
            auth_header=settings.auth_header,
            transport=way() if way else None,
        ) as stranger:
            await questions.ask(stranger, "wrong_key", "owned numbers, with a made-up key", Kind.OWNED, {"limit": 1})
    contact = replace(
        contact,
        asked=dict(questions.asked),
        currency=settings.currency,
        allows_unpriced=settings.allow_unpriced,
        caps_monthly=settings.monthly_commitment_cents is not None,
    )
    return ContactReport(
        kind="probe",
        title="First contact with KrosAI",
        circumstances=_circumstances(settings, country),
        facts=[asked.fact() for asked in contact.asked.values()],
        comparisons=comparisons(contact),
        conclusions=conclusions(contact),
        at=time.time(),
        shapes=_shapes(contact),
    )


def _simulated(shapes_file: str | None) -> "Callable[[], httpx.AsyncBaseTransport]":
    from kros_mcp.runtime import simulated  # noqa: PLC0415 - it loads the simulator
    from kros_mcp.simulator import transport  # noqa: PLC0415 - the same

    sim = simulated(shapes_file)
    return lambda: transport(sim)


def _circumstances(settings: Settings, country: str) -> list[str]:
    if settings.simulator:
        asked = "KrosAI is simulated."
    else:
        key = settings.require_api_key()
        known = {"kros_live_": "a live key", "kros_test_": "a test key"}
        kind = next((name for prefix, name in known.items() if key.startswith(prefix)), "a JWT, or of no known kind")
        where = "the default address" if settings.base_url == DEFAULT_BASE_URL else "another address than the default"
        organization = "is" if settings.organization_id else "is not"
        asked = (
            f"The key is {kind}, sent as {settings.auth_header} to {where}; KROS_ORGANIZATION_ID {organization} set."
        )
    return [
        asked,
        f"Numbers for sale were looked for in {country}.",
        "Only GET requests were sent.",
        "What is told are names and forms of fields, and plain words such as statuses; no number, id, name or amount.",
    ]


@dataclass
class _Questions:
    """Puts every question in turn, and keeps the answers; what an answer makes pointless is not asked."""

    base_url: str
    country: str
    asked: dict[str, Enquiry] = field(default_factory=dict)

    async def ask(
        self,
        client: KrosClient,
        name: str,
        what: str,
        kind: Kind,
        query: Mapping[str, str | int] | None = None,
        **more: str,
    ) -> Enquiry:
        """Put one question and keep its answer under a name; once two had no answer, no more are put."""
        if sum(asked.is_unanswered for asked in self.asked.values()) >= _MOST_UNANSWERED:
            unasked = NotSentError("It was not asked, since others had no answer.")
            self.asked[name] = Enquiry(what, self.base_url, 0, error=unasked, put=False)
        else:
            self.asked[name] = await contact_answers.ask(client, self.base_url, what, kind, query, **more)
        return self.asked[name]

    async def put(self, client: KrosClient) -> Contact:
        """Put every question but that with a made-up key."""
        client.warm_up()
        lists: dict[RecordKind, SeenAnswer] = {}
        heeds: dict[RecordKind, dict[str, bool | None]] = {}
        contact = Contact(self.asked, country=self.country)
        for kind in LIST_KINDS:
            query = self._query(kind)
            answer = await self.ask(
                client, kind, self._told(kind), _KINDS[kind], query | {"limit": _FULL_PAGE, "offset": 0}
            )
            if kind == "owned" and (answer.is_unanswered or answer.is_page):
                return contact
            if (seen := seen_list(answer.body, kind)) is not None:
                lists[kind] = seen
                heeds[kind] = await self._heeded(client, kind, seen)
        numbers = _read(lists.get("owned"), read_phone_number)
        offers = _read(lists.get("available"), read_available)
        single: dict[RecordKind, SeenAnswer] = {}
        number = await self._number(client, numbers, single)
        await self._endpoint(client, lists.get("endpoint"), single)
        await self._unknown_id(client, numbers)
        return replace(contact, lists=lists, single=single, numbers=numbers, offers=offers, number=number, heeds=heeds)

    def _query(self, kind: RecordKind) -> dict[str, Any]:
        if kind == "endpoint":
            return {}
        if kind == "owned":
            return {"action": "assigned"}
        return {"action": "available", "country": self.country}

    def _told(self, kind: RecordKind, beside: str = "") -> str:
        where = f" in {self.country}" if kind == "available" else ""
        return f"{LISTS[kind]}{where}{beside}"

    async def _heeded(self, client: KrosClient, kind: RecordKind, whole: SeenAnswer) -> dict[str, bool | None]:
        """Return whether each parameter of a list is heeded; None where it does not show."""
        found: dict[str, bool | None] = {"limit": None, "offset": None}
        if len(whole.raw) > 1:
            page = await self._part(client, kind, "page", ", limit 1, offset 1", {"limit": 1, "offset": 1})
            found = _paged(whole.raw, page.raw, kind) if page is not None else found
        for name in _FILTERS.get(kind, ()):
            found[name] = None
            if (value := _telling(whole.raw, kind, name)) is None:
                continue
            part = await self._part(client, kind, name, f", of one {name}", {name: value, "limit": _FULL_PAGE})
            if part is not None:
                found[name] = _stated(part.raw, kind, name) <= {FIELDS[kind][name].read(value)}
        return found

    async def _part(
        self, client: KrosClient, kind: RecordKind, name: str, told: str, query: Mapping[str, Any]
    ) -> SeenAnswer | None:
        """Return a part of a list; None if it was not read."""
        whole = self._query(kind) | dict(query)
        answer = await self.ask(client, f"{kind}_{name}", self._told(kind, told), _KINDS[kind], whole)
        return seen_list(answer.body, kind)

    async def _number(
        self, client: KrosClient, numbers: Sequence[PhoneNumber], single: dict[RecordKind, SeenAnswer]
    ) -> PhoneNumber | None:
        """Look at one number by itself: one in service, if there is one, and one with an endpoint before others."""
        if not numbers:
            return None
        one = min(numbers, key=lambda number: (number.has_ended, not number.endpoint_id))
        answer = await self.ask(client, "number", "one number", Kind.NUMBER, opaque_id=one.id)
        seen = seen_object(answer.body, "number")
        if seen is None:
            return None
        single["number"] = seen
        return next((read for read in _read(seen, read_phone_number) if read.id == one.id), None)

    async def _endpoint(
        self, client: KrosClient, listed: SeenAnswer | None, single: dict[RecordKind, SeenAnswer]
    ) -> None:
        ids = (
            [FIELDS["endpoint"]["id"].of(record) for record in listed.raw if isinstance(record, dict)] if listed else []
        )
        known = next((each for each in ids if each is not None), None)
        if known is None:
            return
        answer = await self.ask(client, "single_endpoint", "one endpoint", Kind.ENDPOINTS, opaque_id=known)
        if (seen := seen_object(answer.body, "endpoint")) is not None:
            single["endpoint"] = seen

    async def _unknown_id(self, client: KrosClient, numbers: Sequence[PhoneNumber]) -> None:
        made_up = _like(numbers[0].id) if numbers else str(uuid.uuid4())
        await self.ask(client, "unknown_id", "a number that does not exist", Kind.NUMBER, opaque_id=made_up)


def _read(seen: SeenAnswer | None, read: Callable[[object], Any]) -> tuple[Any, ...]:
    """Return the records of an answer that can be read."""
    found = []
    for record in seen.raw if seen is not None else ():
        try:
            found.append(read(record))
        except ProtocolError:
            continue
    return tuple(found)


def _paged(whole: Sequence[object], page: Sequence[object], kind: RecordKind) -> dict[str, bool | None]:
    """Return whether limit and offset were heeded by a page that was asked for with 1 and 1."""
    first, second = (_identity(record, kind) for record in whole[:2])
    begins = _identity(page[0], kind) if page else None
    offset = {first: False, second: True}.get(begins) if begins is not None and first != second else None
    return {"limit": len(page) == 1 if page else None, "offset": offset}


def _identity(record: object, kind: RecordKind) -> object:
    role = "inventory_id" if kind == "available" else "id"
    return FIELDS[kind][role].of(record) if isinstance(record, dict) else None


def _stated(raw: Sequence[object], kind: RecordKind, role: str) -> set[object]:
    """Return what records state of one thing, as it is read; without those that state nothing."""
    return {FIELDS[kind][role].of(record) for record in raw if isinstance(record, dict)} - {None}


def _telling(raw: Sequence[object], kind: RecordKind, role: str) -> str | None:
    """Return a value that not every record states, in KrosAI's spelling, to filter by; None if there is none."""
    spelt: dict[object, str] = {}
    for record in raw:
        for name in FIELDS[kind][role].names if isinstance(record, dict) else ():
            value = value_at(record, name) if isinstance(record, dict) else None
            read = FIELDS[kind][role].read(value)
            if read is not None and isinstance(value, str) and _PLAIN.fullmatch(value):
                spelt.setdefault(read, value)
    if len(spelt) > 1:
        return list(spelt.values())[-1]
    return next((other for other in _OTHERS.get(role, ()) if spelt and other not in spelt), None)


def _like(known: str) -> str:
    """Return a made-up id of the kind of a known one."""
    prefix, _, rest = known.rpartition("_")
    if known.isdigit():
        return "9" + "".join(secrets.choice("0123456789") for _ in range(max(len(known), _SURELY_FREE_DIGITS) - 1))
    if prefix.isalpha():
        return f"{prefix}_{secrets.token_hex(max(len(rest), _SURELY_FREE_DIGITS) // 2)}"
    return str(uuid.uuid4()) if len(known) == _UUID_LENGTH else secrets.token_hex(12)


def _shapes(contact: Contact) -> dict[str, Any]:
    """Return the shapes that were seen, as `kros-mcp simulator --shapes` takes them."""
    single: dict[str, Any] = {kind: as_json(seen) for kind, seen in contact.single.items()}
    asked = contact.asked.get("single_endpoint")
    if asked is not None and isinstance(asked.error, NotFoundError):
        single["endpoint"] = None
    errors = {
        name: {"status": one.status, "fields": [field_json(each) for each in error_fields(one.reply.body)]}
        for name in ("unknown_id", "wrong_key")
        if (one := contact.asked.get(name)) is not None and one.reply is not None and one.error is not None
    }
    return {
        "lists": {kind: as_json(seen) for kind, seen in contact.lists.items()},
        "single": single,
        "errors": errors,
        "heeds": contact.heeds,
    }
