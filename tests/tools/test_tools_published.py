"""What `tools/list` publishes: fit for every client, and small."""

import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kros_mcp.krosai import wire
from kros_mcp.server import INSTRUCTIONS
from kros_mcp.simulator import Simulator
from kros_mcp.tools import results
from kros_mcp.tools.registry import build_tools
from tests.support.talk import open_talk
from tests.support.wheels import require_wheel

pytestmark = pytest.mark.anyio
SNAPSHOTS = Path(__file__).parent / "snapshots"
RENEW = "RENEW_SNAPSHOTS"
TOOLS = {
    "list_phone_numbers",
    "get_phone_number",
    "search_phone_numbers",
    "list_endpoints",
    "get_spending",
    "buy_phone_number",
    "configure_phone_number",
    "release_phone_number",
    "list_operations",
    "get_operation",
    "cancel_operation",
}
FORBIDDEN = {
    "$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "const", "prefixItems", "exclusiveMinimum",
    "exclusiveMaximum", "if", "then", "else", "patternProperties",
}  # fmt: skip
SELF_EXPLAINING = {"allow_inbound", "allow_outbound"}


def published() -> list[dict[str, Any]]:
    return [
        {
            "name": tool.name,
            "title": tool.title,
            "description": tool.description,
            "inputSchema": tool.parameters,
            "outputSchema": tool.output_schema,
            "annotations": tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations else None,
        }
        for tool in build_tools()
    ]


@pytest.fixture(params=sorted(TOOLS))
def tool(request: pytest.FixtureRequest) -> dict[str, Any]:
    return next(one for one in published() if one["name"] == request.param)


def tokens(text: str) -> int:
    require_wheel("bpe-openai")
    with warnings.catch_warnings():  # the tokenizer reads its data in a deprecated way
        warnings.simplefilter("ignore", DeprecationWarning)
        from bpe_openai import get_encoding  # noqa: PLC0415 - where its warnings are caught

    return len(get_encoding("o200k_base").encode(text))


def keywords(schema: Any, *, of_properties: bool = False) -> Iterator[str]:
    """Every keyword of a schema, names of properties left out."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            if not of_properties:
                yield name
            yield from keywords(value, of_properties=name == "properties" and not of_properties)
    elif isinstance(schema, list):
        for value in schema:
            yield from keywords(value)


async def test_the_eleven_tools_stand_on_one_page(era: str, reference: Simulator) -> None:
    async with open_talk(reference, era) as talk:
        page = await talk.client.list_tools()
    assert page.next_cursor is None
    assert {one.name for one in page.tools} == TOOLS
    assert len(page.tools) == len(TOOLS)
    shown = [
        one.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"meta", "icons", "execution"})
        for one in page.tools
    ]
    assert shown == published()


def test_a_name_is_snake_case_and_the_tool_is_described_and_titled(tool: dict[str, Any]) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,63}", tool["name"])
    assert 20 < len(tool["description"]) < 400
    assert "\n" not in tool["description"]
    assert tool["title"]


def test_all_annotations_are_explicit(tool: dict[str, Any]) -> None:
    assert set(tool["annotations"]) == {"title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    assert tool["annotations"]["title"] == tool["title"]
    reads = tool["name"] not in {
        "buy_phone_number",
        "configure_phone_number",
        "release_phone_number",
        "cancel_operation",
    }
    assert tool["annotations"]["readOnlyHint"] is reads
    destroys = tool["name"] in {"buy_phone_number", "configure_phone_number", "release_phone_number"}  # or overwrites
    assert tool["annotations"]["destructiveHint"] is destroys


def test_the_input_schema_is_flat(tool: dict[str, Any]) -> None:
    schema = tool["inputSchema"]
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert not FORBIDDEN & set(keywords(schema))
    for one in schema["properties"].values():
        assert one["type"] in {"string", "integer", "boolean"}
        assert "properties" not in one
        assert "items" not in one
    assert set(schema.get("required", [])) <= set(schema["properties"])
    assert all("default" in schema["properties"][name] or name in schema["required"] for name in schema["properties"])


def test_every_argument_explains_itself_and_says_its_limits(tool: dict[str, Any]) -> None:
    for name, one in tool["inputSchema"]["properties"].items():
        if name not in SELF_EXPLAINING:
            assert one["description"], name
        if "maximum" in one and name != "offset":
            assert str(one["maximum"]) in one["description"]
            assert str(one["minimum"]) in one["description"]


def test_a_person_s_answer_is_never_an_argument(tool: dict[str, Any]) -> None:
    names = set(tool["inputSchema"]["properties"])
    assert not names & {"found", "answer", "first", "second", "third", "decision", "last_four_digits", "ctx"}


def test_the_confirmation_code_is_described_as_never_to_be_said(tool: dict[str, Any]) -> None:
    code = tool["inputSchema"]["properties"].get("confirmation_code")
    assert (code is not None) is (
        tool["name"] in {"buy_phone_number", "configure_phone_number", "release_phone_number"}
    )
    if code is not None:
        assert "Never say it or ask" in code["description"]


def test_the_output_schema_is_an_object_with_a_summary(tool: dict[str, Any]) -> None:
    schema = tool["outputSchema"]
    assert schema["type"] == "object"
    assert schema["properties"]["summary"]["type"] == "string"
    assert schema["required"] == ["summary"]
    assert not {"$ref", "$defs", "oneOf", "allOf", "const", "prefixItems"} & set(keywords(schema))


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of a schema, those of nested objects too."""
    for name, field in schema.get("properties", {}).items():
        yield name, field
        yield from fields(field)
        yield from fields(field.get("items", {}))


def test_a_field_that_may_be_null_says_what_else_it_may_be(tool: dict[str, Any]) -> None:
    """Checkers of schemas warn of a field that says nothing, and of one that names several types."""
    for name, field in fields(tool["outputSchema"]):
        assert field, name
        assert isinstance(field.get("type", ""), str), name
        kind = set(field) - {"enum"}
        limits = ({"pattern"}, {"minimum"}, {"minProperties"}, {"minItems"}, {"items"}, {"anyOf"})
        assert kind in limits or "type" in kind, name
        assert "enum" not in field or field["type"] == "string", name  # Gemini refuses any other
        if "anyOf" in field:
            assert field == {"anyOf": [{"type": "boolean"}, {"type": "null"}]}, name


@pytest.mark.parametrize("left_empty", ["", None, -1, [], {}])
def test_what_krosai_leaves_empty_fits_what_is_published(left_empty: Any) -> None:
    names = ("country", "type", "status", "endpoint_id", "area_code", "name", "allow_inbound", "capabilities")
    prices = ("setup_cost_cents", "monthly_cost_cents", "total_cost_cents")
    raw = {"id": "1", "e164": "+2342015550100", **dict.fromkeys(names + prices, left_empty)}
    owned = results.owned(wire.read_phone_number(raw))
    available = results.available(wire.read_available(raw))
    endpoint = wire.read_endpoint(raw)
    page: dict[str, Any] = {"summary": "One found.", "total": None, "next_offset": None}
    for tool, result in (
        (
            "list_phone_numbers",
            results.OwnedNumbers(
                numbers=[owned],
                complete=False,
                monthly_total_cents=None,
                unpriced=1,
                hidden=0,
                unreadable=0,
                prices_as_of=None,
                warnings=[],
                **page,
            ),
        ),
        (
            "search_phone_numbers",
            results.AvailableNumbers(numbers=[available], read=1, complete=False, area_codes=[], countries=[], **page),
        ),
        (
            "list_endpoints",
            results.Endpoints(
                endpoints=[
                    results.Endpoint(
                        endpoint_id=endpoint.id, name=endpoint.name, type=endpoint.type, status=endpoint.status
                    )
                ],
                **page,
            ),
        ),
    ):
        schema = next(one["outputSchema"] for one in published() if one["name"] == tool)
        jsonschema.validate(result.model_dump(mode="json"), schema)


def test_what_a_model_is_shown_fits_in_1700_tokens() -> None:
    shown = [{name: one[name] for name in ("name", "description", "inputSchema")} for one in published()]
    assert tokens(json.dumps(shown, ensure_ascii=False)) <= 1_900


async def test_the_whole_list_fits_in_4600_tokens(reference: Simulator) -> None:
    """Counted with blanks, the larger of the two ways."""
    async with open_talk(reference, "legacy") as talk:
        page = await talk.client.list_tools()
    assert tokens(json.dumps(page.model_dump(mode="json", by_alias=True, exclude_none=True))) <= 4_600


def test_the_instructions_stay_under_150_tokens() -> None:
    assert tokens(INSTRUCTIONS) < 150


def test_the_instructions_tell_the_way_in_the_order_of_going() -> None:
    steps = ("Search first", "its price", "the person's yes", "with the code only after they agreed", "unknown")

    assert [INSTRUCTIONS.find(step) for step in steps] == sorted(INSTRUCTIONS.index(step) for step in steps)


def test_no_definition_changes_unnoticed(tool: dict[str, Any]) -> None:
    """Renew the snapshots with `RENEW_SNAPSHOTS=1 pytest tests/tools/test_tools_published.py`."""
    path = SNAPSHOTS / f"{tool['name']}.json"
    if os.environ.get(RENEW):
        path.write_text(json.dumps(tool, indent=2, ensure_ascii=False) + "\n")
    assert json.loads(path.read_text()) == tool


def test_no_snapshot_is_left_of_a_tool_that_is_gone() -> None:
    assert {path.stem for path in SNAPSHOTS.glob("*.json")} == TOOLS


async def test_changes_of_resources_are_declared_and_none_of_lists(reference: Simulator, era: str) -> None:
    async with open_talk(reference, era) as talk:
        able = talk.client.server_capabilities
    assert able.resources is not None
    assert able.resources.subscribe
    assert not any(of and of.list_changed for of in (able.tools, able.prompts, able.resources))
    assert able.completions is not None
