"""What the environment of whoever runs the tests must not decide."""

import os

import pytest


def forget_settings(patch: pytest.MonkeyPatch) -> None:
    """Take every setting of kros-mcp out of the environment."""
    for name in [name for name in os.environ if name.upper().startswith("KROS_")]:
        patch.delenv(name)
