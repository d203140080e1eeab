from collections.abc import Iterator

import pytest
import stamina


@pytest.fixture
def no_waits() -> Iterator[None]:
    """Let retries follow each other at once."""
    with stamina.set_testing(True, attempts=5):
        yield
