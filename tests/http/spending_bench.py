"""Books of some months, as a company's voice agents would leave them, behind the spending page of a service."""

import random
from dataclasses import replace
from typing import Any

from approvals_bench import Bench

from kros_mcp.krosai import OwnedList, PhoneNumber
from kros_mcp.operations.kept import Listing
from kros_mcp.operations.model import Action, Operation, Request, State, StoredNumber
from kros_mcp.tools.caller import principal_of
from tests.money.expenditure_bench import DAY, ended, enter, quoted, released

PRINCIPALS = (
    *(principal_of("tokens", name) for name in ("lagos-desk", "nairobi-desk", "support-agent", "night-desk-trainee")),
    "https://identity.example/auth/v1|f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
)
PLACES = (
    ("NG", "+234803555", 700),
    ("KE", "+25420555", 500),
    ("GH", "+23330255", 900),
    ("US", "+1415555", 300),
    ("GB", "+44207946", 450),
)
MONTHS = 8


async def fill(bench: Bench) -> list[Operation]:
    """Write the purchases and releases of eight months, some failed, denied or unknown."""
    chosen, now = random.Random(17), bench.clock()  # noqa: S311 - the same each time
    account, journal = bench.runtime.account.id, bench.runtime.account.journal
    made: list[Operation] = []
    for at in range(170):
        country, prefix, monthly = PLACES[min(chosen.randrange(7), chosen.randrange(len(PLACES)))]
        age = chosen.random() ** 1.3 * MONTHS * 30 * DAY
        setup = 200 if country == "GH" else 0
        base = ended(at, now - age, account=account, principal=PRINCIPALS[min(chosen.randrange(6), 4)])
        e164 = f"{prefix}{at:04d}"
        price = {"setup_cents": setup, "monthly_cents": monthly, "due_now_cents": setup + monthly}
        operation = quoted(
            replace(base, e164=e164, reserved_cents=setup + monthly), country=country, e164=e164, **price
        )
        ends = [
            (0.8, _done(operation)),
            (0.87, _failed(operation)),
            (0.94, _denied(operation)),
            (1, _expired(operation)),
        ]
        luck = chosen.random()
        made.append(next(end for most, end in ends if luck <= most))
    bought = [each for each in made if each.state is State.DONE]
    for at, each in enumerate(bought[::6]):
        sent = each.sent_at or 0
        after = sent + (now - sent) * chosen.random()
        gone = released(500 + at, after, account=account, principal=each.principal, e164=each.e164)
        made.append(quoted(gone, monthly_cents=each.quote.monthly_cents, country=each.quote.country, e164=each.e164))
    for at, hours in ((901, 3), (902, 12 * 24)):
        made.append(_unknown(ended(at, now - hours * 3600, account=account, principal=PRINCIPALS[0])))
    await enter(journal, *made)
    return made


async def keep_what_is_owned(bench: Bench, made: list[Operation]) -> None:
    """Write down what is owned after that, as if KrosAI had listed it: some numbers of before, one without a price."""
    gone_numbers = {each.e164 for each in made if each.action is Action.RELEASE}
    bought = [each for each in made if each.action is Action.BUY and each.state is State.DONE]
    kept = [each for each in bought if each.e164 not in gone_numbers]
    numbers = [
        PhoneNumber(f"id_{at}", each.e164, each.quote.country, monthly_cents=each.quote.monthly_cents)
        for at, each in enumerate(kept)
    ]
    older = [PhoneNumber(f"older_{at}", f"+23480255500{at:02d}", "NG", monthly_cents=700) for at in range(6)]
    unpriced = PhoneNumber("unpriced", "+5511955501234", "BR")
    owned = OwnedList((*numbers, *older, unpriced), complete=True)
    account = bench.runtime.account
    await account.journal.keep(account.id, [], Listing(owned, bench.clock() - 30))


def _done(operation: Operation) -> Operation:
    return replace(operation, number=StoredNumber(f"id-{operation.e164}", operation.e164))


def _failed(operation: Operation) -> Operation:
    message = f"{operation.e164} costs more now than was shown; nothing was charged."
    return replace(
        operation, state=State.FAILED, charged="no", changed="no", error_code="PRICE_CHANGED", message=message
    )


def _unknown(operation: Operation) -> Operation:
    note = "KrosAI gave no usable answer; the server goes on looking."
    return replace(operation, state=State.UNKNOWN, charged="unknown", changed="unknown", settled_at=None, note=note)


def _denied(operation: Operation) -> Operation:
    said = {"message": "Denied by tokens|day-desk on the approvals page: there is one in Lagos already"}
    return replace(_unsent(operation), state=State.DECLINED, **said)


def _expired(operation: Operation) -> Operation:
    return replace(_unsent(operation), state=State.EXPIRED)


def _unsent(operation: Operation) -> Operation:
    request = Request(reason="A caller wants a number that people in the city know")
    unsent: dict[str, Any] = {
        "sent_at": None,
        "claimed_at": None,
        "reserved_cents": 0,
        "charged": "no",
        "changed": "no",
    }
    return replace(operation, request=request, **unsent)
