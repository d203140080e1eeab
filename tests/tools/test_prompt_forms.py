"""The forms of prompts hold what MCP knows of a form, and nothing else: strict clients show no other."""

import pytest

from kros_mcp.operations.confirmation import (
    Choice,
    ConfigurationAnswer,
    PurchaseAnswer,
    ReleaseAnswer,
    SeveralReleaseAnswer,
)

OF_A_FORM = {"$schema", "type", "properties", "required"}
OF_A_FIELD = {"type", "title", "description", "enum", "minLength", "maxLength", "format", "default"}


@pytest.mark.parametrize("answer", [PurchaseAnswer, ReleaseAnswer, SeveralReleaseAnswer, ConfigurationAnswer])
def test_a_form_has_no_member_that_a_strict_client_turns_down(answer: type[Choice]) -> None:
    form = answer.model_json_schema()

    assert form["required"] == ["decision"]
    assert form["properties"]["decision"]["enum"][0] in {"do not buy", "keep", "do not change"}  # under the cursor

    assert set(form) <= OF_A_FORM
    for field in form["properties"].values():
        assert set(field) <= OF_A_FIELD
