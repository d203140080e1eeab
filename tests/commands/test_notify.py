"""`kros-mcp notify`, and what the doctor says of it: real receivers of several kinds, and no address in any output."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import anyio
import pytest
from aiosmtpd.controller import Controller
from anyio.from_thread import start_blocking_portal
from commands_doubles import Command

from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import PhoneNumber
from kros_mcp.notifying import services
from kros_mcp.operations import notices, restoration
from kros_mcp.operations.notices import Listener
from tests.support.canaries import SECRET as SECRETS
from tests.support.receiver import SECRET, Receiver, open_receiver

TOKEN = "canary7a7a7a7a7a7a"  # noqa: S105 - made up


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_receiver()) as opened:
        yield opened


class Posted(BaseHTTPRequestHandler):
    """Takes what Apprise posts, by path and body."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen.append((self.path, body))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[Any]:
    server = HTTPServer(("127.0.0.1", 0), Posted)
    server.seen, server.status = [], 200  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Mailbox:
    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - as the library calls it
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    monkeypatch.setattr(logging.getLogger("mail.log"), "disabled", True)  # the receiver's own, of all that it hears
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, port
    controller.stop()


@pytest.fixture
def told(environment: pytest.MonkeyPatch, receiver: Receiver) -> Receiver:
    environment.setenv("KROS_WEBHOOK_URL", receiver.url)
    environment.setenv("KROS_WEBHOOK_SECRET", SECRET)
    return receiver


def test_a_test_goes_to_each_destination_and_says_which_came_through(
    command: Command,
    environment: pytest.MonkeyPatch,
    told: Receiver,
    web: Any,
    mailbox: tuple[Mailbox, int],
) -> None:
    box, smtp = mailbox
    port = web.server_port
    addresses = [
        f"json://127.0.0.1:{port}/{TOKEN}",
        f"ntfy://127.0.0.1:{port}/{TOKEN}",
        f"mailto://127.0.0.1:{smtp}?from=kros@example.com&to=boss@example.com,night@example.com&name={TOKEN}",
    ]
    environment.setenv("KROS_NOTIFY_URLS", ",".join(addresses))
    ran = command("notify", "--test")
    assert ran.code == 0, ran.out
    assert ran.out.count("It came through") == 4
    assert [each.type for each in told.taken] == ["test"]
    posted = [json.loads(body) for _, body in web.seen]
    assert len(posted) == 2
    assert {each["message"] for each in posted} == {"This is a test of kros-mcp: its notices come through."}
    assert [mail["Subject"] for mail in box.mails] == ["kros-mcp: a test"] * 2
    assert TOKEN not in ran.out + ran.err
    assert "canary" not in ran.out + ran.err


def test_what_does_not_come_through_is_said_for_each(
    command: Command, environment: pytest.MonkeyPatch, told: Receiver, web: Any
) -> None:
    told.status = web.status = 500
    environment.setenv("KROS_NOTIFY_URLS", f"json://127.0.0.1:{web.server_port}/{TOKEN},json://127.0.0.1:9/{TOKEN}")
    ran = command("notify", "--test")
    assert ran.code == 1
    assert "The webhook http://127.0.0.1 answered 500." in ran.out
    assert ran.out.count("did not take the message") == 2
    assert TOKEN not in ran.out + ran.err


def test_where_nobody_is_told_there_is_nothing_to_try(command: Command) -> None:
    ran = command("notify", "--test")
    assert ran.code == 2
    assert "neither KROS_WEBHOOK_URL nor KROS_NOTIFY_URLS is set" in ran.err
    assert "Nobody is told" in command("notify").out


@pytest.mark.parametrize("arguments", [("notify",), ("notify", "--test"), ("doctor",)])
def test_an_address_that_apprise_does_not_know_is_refused_and_not_shown(
    command: Command, environment: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    environment.setenv("KROS_API_KEY", "kros_test_1")
    environment.setenv("KROS_NOTIFY_URLS", f"ntfy://topic,nothing://{TOKEN}")
    ran = command(*arguments)
    assert ran.code == 2
    assert "an address that Apprise does not know, the second" in " ".join((ran.out + ran.err).split())
    assert TOKEN not in ran.out + ran.err


def test_a_missing_extra_is_said(command: Command, environment: pytest.MonkeyPatch) -> None:
    environment.setattr(services.importlib.util, "find_spec", lambda _: None)
    environment.setenv("KROS_NOTIFY_URLS", f"ntfy://{TOKEN}")
    ran = command("notify")
    assert ran.code == 2
    assert "needs the extra kros-mcp[notify]" in " ".join(ran.out.split())


@pytest.mark.usefixtures("told")
def test_the_doctor_says_where_people_are_told_and_what_could_not_be(command: Command, journal_url: str) -> None:
    """The journal gets a purchase of two days ago, whose notice nobody could take."""
    looked = command("doctor")
    assert "by webhook http://127.0.0.1: none came yet." in " ".join(looked.out.split())
    assert not SECRETS.search(looked.out + looked.err)

    async def leave_one() -> None:
        async with open_journal(journal_url) as journal:
            await journal.listen("a", [Listener("of another server", "a", "")])
            now = await journal.now() - notices.GOOD_SECONDS - 1
            number = PhoneNumber(id="n1", e164="+2348035550101", status="active", monthly_cents=700)
            entered = restoration.entered(number, now, account="a", environment="test", unpriced_cents=0)
            notice = notices.Notice("evt_1", "operation.done", now, "a", {"sequence": 1}, entered.id, 1)
            outbox = journal._outbox  # type: ignore[attr-defined] # noqa: SLF001
            await journal._transact(lambda: outbox.put(notice, (), now))  # type: ignore[attr-defined] # noqa: SLF001

    anyio.run(leave_one)
    said = " ".join(command("doctor").out.split())
    assert "1 notice could not be delivered within a day to destinations that are not set here." in said
    assert command("notify", "--acknowledge").out.startswith("Dropped 1 notice")
    assert "could not be delivered" not in command("notify").out
