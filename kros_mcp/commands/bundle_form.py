"""The form that a person fills in for the bundle for Claude Desktop; `bundle.py: _MAIN` reads it, then runs the server.

Most lines of the form are settings already. Those that a person writes otherwise than the settings do come in variables
of their own, `KROS_FORM_…`. No setting is called so: a server that is started past this stops, rather than
run without the caps that somebody chose.
"""

import re
from collections.abc import MutableMapping
from typing import Final, NamedTuple

from kros_mcp.errors import SettingsError
from kros_mcp.settings import PREFIX, is_unset

FORM_PREFIX: Final = f"{PREFIX}FORM_"
HUNDREDTHS: Final = 100
"""Cents in a unit, as amounts are shown to people whatever the currency (`money.show_cents`)."""
_MOST_DIGITS: Final = 12
"""Fewer than the settings take in cents; nobody means more."""


class Line(NamedTuple):
    """A line of the form that is written otherwise than its setting.

    Args:
        setting: The setting that it becomes; empty for the simulator, which is no setting.
        title: What the form calls it.
    """

    setting: str
    title: str


AMOUNTS: Final = {
    "max_purchase": Line("max_purchase_cents", "Most for one number (whole units, not cents)"),
    "daily_budget": Line("daily_budget_cents", "Most in 24 hours (whole units, not cents)"),
    "monthly_commitment": Line("monthly_commitment_cents", "Most a month for all numbers (whole units, not cents)"),
    "approval_above": Line("approval_above_cents", "Approver needed above (whole units, not cents)"),
}
"""Named otherwise than the settings, so that what somebody once wrote in cents is never read as units."""
WORDS: Final = {"confirmation": Line("confirmation", "How you say yes")}
SIMULATOR: Final = Line("", "Try it with the simulator")


def variable(name: str) -> str:
    """Return the variable in which a line of the form comes."""
    return FORM_PREFIX + name.upper()


def read(environment: MutableMapping[str, str]) -> list[str]:
    """Turn the form's own variables into settings.

    Args:
        environment: Where they are found, taken away, and replaced by settings. A line that was left empty replaces
            nothing.

    Returns:
        The words of the command line.

    Raises:
        SettingsError: A line is not usable. It names the line as the form does.
    """
    for name, line in AMOUNTS.items():
        if given := _taken(environment, name):
            environment[PREFIX + line.setting.upper()] = str(_cents(given, line.title))
    for name, line in WORDS.items():
        if given := _taken(environment, name):
            environment[PREFIX + line.setting.upper()] = given.lower()
    simulated = _taken(environment, "simulator").lower()
    if simulated not in {"", "true", "false"}:
        raise SettingsError(f"“{SIMULATOR.title}” must be on or off.", next_step="Switch it in the extension's form.")
    return ["--simulator"] if simulated == "true" else []


def _taken(environment: MutableMapping[str, str], name: str) -> str:
    """Take a line out of the environment; empty if nothing was filled in."""
    value = environment.pop(variable(name), "").strip()
    return "" if is_unset(value) else value


def _cents(given: str, title: str) -> int:
    """Return an amount in cents; a point or a comma is refused, since what it parts is not the same everywhere.

    Raises:
        SettingsError: It is anything but a plain whole number.
    """
    if not re.fullmatch(rf"[0-9]{{1,{_MOST_DIGITS}}}", given):
        raise SettingsError(
            f"“{title}” must be whole units of your currency without a point, a comma or a sign, such as 50.",
            next_step="Correct it in the extension's form.",
        )
    return int(given) * HUNDREDTHS
