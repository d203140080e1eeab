"""Many connections and a KrosAI that fails now and then; `python -m tests.fleet.load` does it for longer."""

from pathlib import Path

import pytest

from kros_mcp.operations.model import State

from .load import FAULTS, run

pytestmark = pytest.mark.anyio


async def test_many_connections_with_faults_lose_and_duplicate_nothing(tmp_path: Path) -> None:
    result = await run(5, 32, tmp_path)
    assert result.differences == [], result.line()
    assert result.record.unanswered == []
    assert result.faults.keys() == set(FAULTS)
    assert result.faults.total() >= 5
    assert len(result.books.charges) >= 5
    by_key = {}
    for charge in result.books.charges:
        assert by_key.setdefault(charge.idempotency_key, charge) is charge
    ended = {each.id: (each.state, each.charged) for each in result.books.operations}
    for yes in result.books.confirmations:
        expected = (State.DONE, "yes") if yes.operation_id in by_key else (State.FAILED, "no")
        assert ended[yes.operation_id] == expected
    assert len({each.principal for each in result.books.operations}) == 4
