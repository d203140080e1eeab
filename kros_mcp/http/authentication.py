"""Which ways of authentication the settings ask for."""

from kros_mcp.errors import SettingsError
from kros_mcp.http.access import Access
from kros_mcp.settings import Settings


def build_access(settings: Settings) -> Access:  # noqa: ARG001 - until there are ways
    """Build what knows the callers.

    Raises:
        SettingsError: The settings name no way to know them, or one that cannot be used.
    """
    raise SettingsError(
        "Nobody is known to this service: it has neither KROS_TOKENS_FILE nor KROS_OAUTH_ISSUER.",
        next_step="Make a token with kros-mcp token, or try it on this machine alone with --no-auth.",
    )
