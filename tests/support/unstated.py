"""A KrosAI whose records do not state where calls go."""

from typing import Any

import pytest

from kros_mcp.simulator import answers


def leave_out_routes(monkeypatch: pytest.MonkeyPatch, *, alone: bool = True, odd: Any = None) -> None:
    """Leave out of KrosAI's answers where calls go.

    Args:
        monkeypatch: Undoes it.
        alone: Whether it is left out of a single number, too.
        odd: What stands there in its place; None for nothing.
    """
    in_lists, single = answers.number_body, answers.number_details
    instead = {} if odd is None else {"endpoint_id": odd}

    def without(body: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in body.items() if name not in {"endpoint_id", "endpoint"}} | instead

    def details(account: Any, number: Any, **more: Any) -> dict[str, Any]:
        body = without(single(account, number, **more))
        return body if alone else body | {"endpoint_id": number.endpoint_id}

    monkeypatch.setattr(answers, "number_body", lambda account, number: without(in_lists(account, number)))
    monkeypatch.setattr(answers, "number_details", details)
