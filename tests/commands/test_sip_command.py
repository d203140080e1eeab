import json

import anyio
import pytest
from commands_doubles import SIP_PASSWORD, Command, ask
from mcp import Client

from kros_mcp.server import build_server
from kros_mcp.settings import load_settings
from kros_mcp.simulator import Simulator, open_server


@pytest.mark.parametrize("by", ["id", "e164"])
def test_the_person_at_the_terminal_sees_the_password(command: Command, pointed: Simulator, by: str) -> None:
    number = next(iter(pointed.owned.values()))

    ran = command("sip", number.id if by == "id" else number.e164)

    assert ran.code == 0
    assert SIP_PASSWORD in ran.out
    assert number.e164 in ran.out
    assert {seen.method for seen in pointed.requests} == {"GET"}


@pytest.mark.usefixtures("pointed")
@pytest.mark.parametrize("name", ["+2342015550100", "3f0c8a52-0000-4000-8000-000000000000"])
def test_a_number_that_is_not_owned_ends_with_one(command: Command, name: str) -> None:
    ran = command("sip", name)

    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert SIP_PASSWORD not in ran.out + ran.err


@pytest.mark.usefixtures("pointed")
def test_a_number_that_is_malformed_ends_with_two(command: Command) -> None:
    assert command("sip", "+12").code == 2


def test_without_a_key_it_ends_with_two(command: Command) -> None:
    assert command("sip", "+2342015550100").code == 2


@pytest.mark.usefixtures("no_waits")
def test_an_unreachable_krosai_ends_with_four(command: Command, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KROS_API_KEY", "kros_test_x")
    environment.setenv("KROS_BASE_URL", "http://127.0.0.1:1/v1")

    assert command("sip", "+2342015550100").code == 4


@pytest.mark.anyio
@pytest.mark.parametrize("profile", ["reference", "guide"])
async def test_no_result_of_any_tool_ever_shows_the_password(environment: pytest.MonkeyPatch, profile: str) -> None:
    sim = Simulator("guide" if profile == "guide" else "reference", sip_password=SIP_PASSWORD)
    results: list[dict[str, object]] = []
    async with open_server(sim) as base_url:
        environment.setenv("KROS_BASE_URL", base_url)
        environment.setenv("KROS_API_KEY", sim.api_key)
        async with Client(build_server(load_settings())) as client:
            owned = next(iter(sim.owned.values()))
            found = await ask(client, "search_phone_numbers", country="NG", limit=1)
            wish = {"inventory_id": found["numbers"][0]["inventory_id"]}
            asked = await ask(client, "buy_phone_number", **wish)
            code = asked["confirmation_code"]
            with anyio.fail_after(20):
                for tool, arguments in (
                    ("list_phone_numbers", {}),
                    ("list_endpoints", {}),
                    ("get_spending", {}),
                    ("get_phone_number", {"number_id": owned.id}),
                    ("get_phone_number", {"number_id": owned.e164}),
                    ("configure_phone_number", {"number_id": owned.id, "allow_inbound": "off"}),
                    ("buy_phone_number", {**wish, "confirmation_code": code}),
                    ("get_operation", {"operation_id": asked["operation_id"]}),
                    ("release_phone_number", {"number_id": owned.id}),
                ):
                    result = await client.call_tool(tool, arguments)
                    assert not result.is_error, tool
                    results.append(result.model_dump(mode="json"))

    shown = json.dumps(results)
    assert "kros-mcp sip" in shown
    assert SIP_PASSWORD not in shown
    assert len(sim.charges) == 1
