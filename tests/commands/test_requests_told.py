"""What the doctor tells of the requests to KrosAI, and that commands are counted and never refused."""

from pathlib import Path

import anyio
import pytest
from commands_doubles import Command

from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import Kind, Purpose
from kros_mcp.settings import load_settings
from kros_mcp.simulator import Simulator


def use(journal_url: str, counts: dict[tuple[Kind, Purpose], int]) -> int:
    """Let others have sent so many requests just now, and return how many the last 24 hours have then."""

    async def add() -> int:
        async with open_journal(journal_url) as journal:
            key = load_settings().request_key(journal.secret)
            return (await (journal.add_requests(key, counts) if counts else journal.requests(key))).total

    return anyio.run(add)


def line_of(out: str) -> str:
    joined = " ".join(out.split())
    return joined[joined.index("Requests to KrosAI") :]


@pytest.mark.usefixtures("pointed")
def test_the_doctor_tells_the_last_day_by_kind_and_purpose(command: Command, journal_url: str) -> None:
    use(journal_url, {(Kind.OWNED, Purpose.READ): 1_200, (Kind.ORDER, Purpose.ACT): 2})
    told = line_of(command("doctor").out)
    assert told.startswith(
        "Requests to KrosAI with this key in the last 24 hours: 1,202: 1,200 lists of owned numbers, 2 orders; "
        "1,200 to read, 2 for acts."
    )


@pytest.mark.usefixtures("pointed")
@pytest.mark.parametrize(
    ("used", "says"),
    [
        (799, "799 of the 1,000 that KROS_REQUESTS_PER_DAY allows: 799 lists of owned numbers; 799 to read. "),
        (800, "So the background rests."),
        (900, "So reading is refused."),
    ],
)
def test_the_doctor_warns_near_the_end_of_what_is_allowed(
    command: Command, environment: pytest.MonkeyPatch, journal_url: str, used: int, says: str
) -> None:
    environment.setenv("KROS_REQUESTS_PER_DAY", "1000")
    use(journal_url, {(Kind.OWNED, Purpose.READ): used})
    ran = command("doctor")
    assert ran.code == 0
    assert says in line_of(ran.out)
    assert ("raise KROS_REQUESTS_PER_DAY" in ran.out) is (used >= 800)


@pytest.mark.usefixtures("pointed")
def test_too_few_to_be_of_use_are_told(command: Command, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KROS_REQUESTS_PER_DAY", "20")
    assert "a single purchase takes about 20 requests" in " ".join(command("doctor").out.split())


@pytest.mark.usefixtures("pointed")
def test_a_server_that_only_reads_is_said_to_count_in_memory(
    command: Command, environment: pytest.MonkeyPatch, journal_url: str
) -> None:
    use(journal_url, {(Kind.OWNED, Purpose.READ): 1})
    environment.setenv("KROS_READ_ONLY", "true")
    assert "counts its own in memory alone" in line_of(command("doctor").out)
    assert use(journal_url, {}) == 1


def test_what_commands_send_is_counted_and_never_refused(
    command: Command, environment: pytest.MonkeyPatch, pointed: Simulator, journal_url: str
) -> None:
    environment.setenv("KROS_REQUESTS_PER_DAY", "100")
    begun = use(journal_url, {(Kind.OWNED, Purpose.READ): 100})
    for words in (("doctor",), ("reconcile",), ("sip", next(iter(pointed.owned)))):
        before = len(pointed.requests)
        assert command(*words).code in {0, 1}
        assert len(pointed.requests) > before
        assert use(journal_url, {}) == begun + len(pointed.requests)


def test_a_command_that_needs_no_journal_makes_none(command: Command, pointed: Simulator, tmp_path: Path) -> None:
    assert command("sip", next(iter(pointed.owned))).code == 0
    assert list(tmp_path.iterdir()) == []
