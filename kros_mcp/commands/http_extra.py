"""The packages that only the HTTP service and its tokens need, and that may be missing."""

import importlib.util

from kros_mcp.errors import GET_EXTRAS, SettingsError

_PACKAGES = ("jwt", "filelock", "pygal")
"""Of the extra `http`; what else it names the page of the stdio server needs as well."""


def require_http_extra(what: str) -> None:
    """Raise where the extra is missing: what needs it would fail later, the sign-in to the approvals page for one.

    Args:
        what: What needs it, as the beginning of a sentence, such as "Tokens need".

    Raises:
        SettingsError: It names the packages, and says how to install them.
    """
    lacking = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if lacking:
        raise SettingsError(
            f"{what} the extra kros-mcp[http], which is not installed ({', '.join(lacking)} missing).",
            next_step=GET_EXTRAS,
        )
