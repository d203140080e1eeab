"""A profile made of what a probe has seen: what is taken, what is refused, and how it answers."""

import copy
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from kros_mcp.simulator import Shapes, Simulator, parse_shapes, read_shapes, transport

SHAPES = Path(__file__).parent.parent / "shapes"
ID = {"name": "id", "forms": ["text: uuid"], "role": "id"}


def a_document(**shapes: Any) -> dict[str, Any]:
    return {"format": 1, "kind": "probe", "shapes": shapes}


def owned(**answer: Any) -> dict[str, Any]:
    return a_document(lists={"owned": answer})


async def asked(sim: Simulator, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {sim.api_key}"}
    async with httpx.AsyncClient(transport=transport(sim), base_url="https://simulator.invalid/v1") as client:
        return await client.request(method, path, headers=headers, **more)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "is not what kros-mcp probe --json writes"),
        ({"format": 2, "shapes": {}}, "in format 1"),
        ({"format": 1, "kind": "rehearse", "shapes": None}, "is not what kros-mcp probe"),
        (a_document(lists={"numbers": {}}), "shapes.lists.numbers"),
        (owned(path="a b"), "shapes.lists.owned.path"),
        (owned(path="", beside=[{"name": "success", "forms": ["boolean"]}]), "beside what is bare"),
        (owned(path="data", total="data"), "shapes.lists.owned"),
        (owned(path="data", total="data.total"), "both as a field and as an object"),
        (owned(path="", fields=[{"name": "x", "forms": ["text"]}]), "no field with the role of an id"),
        (owned(path="", fields=[ID, {"name": "x", "forms": []}]), "shapes.lists.owned.fields.1.forms"),
        (owned(path="", fields=[ID, {"name": "x", "forms": ["text: sonnet"]}]), "not a form that is known"),
        (owned(path="", fields=[ID, {"name": "x", "forms": ["text: 0 digits"]}]), "not a form that is known"),
        (owned(path="", fields=[ID, {"name": "x", "forms": ["text"], "role": "soul"}]), "fields.1.role"),
        (owned(path="", fields=[ID, {"name": "../x", "forms": ["text"]}]), "fields.1.name"),
        (owned(path="", fields=[ID, {"name": "id.x", "forms": ["text"]}]), "both as a field and as an object"),
        (a_document(heeds={"owned": {"limit": "yes"}}), "shapes.heeds.owned.limit"),
        (a_document(errors={"wrong_key": {"status": 99}}), "shapes.errors.wrong_key.status"),
    ],
)
def test_a_document_that_is_no_probes_is_refused_and_the_place_named(document: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace(".", r"\.")) as refused:
        parse_shapes(document)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("# First contact")
    (tmp_path / "large.json").write_bytes(b" " * 1_000_001)
    for name, words in (("none.json", "cannot be read"), ("text.json", "is not JSON"), ("large.json", "too large")):
        with pytest.raises(ValueError, match=words):
            read_shapes(tmp_path / name)


@pytest.mark.anyio
async def test_an_answer_has_the_names_and_the_wrapper_that_were_seen() -> None:
    sim = Simulator(shapes=read_shapes(SHAPES / "camel.json"))
    listed = (await asked(sim, "GET", "/phone-numbers", params={"limit": 1})).json()
    [first] = listed["data"]["items"]
    assert listed["meta"]["total"] == len(sim.owned) == 2
    assert (first["phoneNumber"], first["status"], first["type"]) == ("+2348035550199", "ACTIVE", "MOBILE")
    assert "monthlyCostCents" not in first
    single = (await asked(sim, "GET", f"/phone-numbers/{first['id']}")).json()["data"]
    assert single["monthlyCostCents"] == 700
    changed = await asked(sim, "PATCH", f"/phone-numbers/{first['id']}", json={"allowOutbound": True})
    assert changed.json()["data"]["allowOutbound"] is True
    refused = await asked(sim, "POST", "/phone-numbers", json={"inventory_id": "none"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "NUMBER_NOT_AVAILABLE")
    assert [number["status"] for number in (await _of(sim, status="INACTIVE"))] == ["INACTIVE"]
    assert await _of(sim, status="inactive") == []


async def _of(sim: Simulator, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await asked(sim, "GET", "/phone-numbers", params=query)).json()["data"]["items"]
    return found


@pytest.mark.anyio
async def test_what_was_seen_to_go_unheeded_does_so() -> None:
    sim = Simulator(shapes=read_shapes(SHAPES / "digits.json"))
    query = {"action": "available", "country": "KE", "type": "mobile", "limit": 1, "offset": 5}
    found = (await asked(sim, "GET", "/phone-numbers", params=query)).json()
    assert len(found["results"]) == found["totalCount"] == sum(item.country == "KE" for item in sim.inventory.values())
    assert {type(item["id"]) for item in found["results"]} == {int}
    assert min(item["id"] for item in found["results"]) > 2**53
    ordered = await asked(sim, "POST", "/phone-numbers", json={"inventory_id": str(found["results"][0]["id"])})
    assert ordered.status_code == 201
    assert [charge.cents for charge in sim.charges] == [600]


@pytest.mark.anyio
async def test_faults_strike_in_a_dialect_as_well() -> None:
    sim = Simulator(shapes=read_shapes(SHAPES / "envelope.json"))
    sim.faults.switch_on("missing_prices", times=None)
    sim.faults.switch_on("unready_record")
    listed = (await asked(sim, "GET", "/phone-numbers")).json()["data"]
    assert (listed[-1]["phone_number"], listed[-1]["endpoint"]) == (None, None)
    query = {"action": "available", "country": "NG"}
    found = (await asked(sim, "GET", "/phone-numbers", params=query)).json()["data"]
    assert not {"monthly_cents", "setup_cents"} & set(found[0])
    sim.faults.clear()
    sim.faults.switch_on("errors_in_list")
    assert (await asked(sim, "GET", "/phone-numbers")).json()["errors"]


@pytest.mark.anyio
async def test_shapes_of_nothing_are_the_reference() -> None:
    sim, reference = Simulator(shapes=parse_shapes(a_document()), now=lambda: 0.0), Simulator(now=lambda: 0.0)
    assert isinstance(sim.shapes, Shapes)
    for path in ("/phone-numbers", f"/phone-numbers/{next(iter(sim.owned))}", "/endpoints", "/phone-numbers/none"):
        answers = [await asked(one, "GET", path) for one in (sim, reference)]
        assert answers[0].json() == answers[1].json()
    document = json.loads((SHAPES / "camel.json").read_text())
    before = copy.deepcopy(document)
    parse_shapes(document)
    assert document == before
