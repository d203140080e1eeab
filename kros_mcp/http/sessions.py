"""Sessions of the legacy protocol, so that one caller's cannot use up everybody's."""

from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

MOST_OF_ONE = 500
"""Sessions that one caller may hold open here; the SDK closes each once it was idle for 30 minutes."""


class SessionManager(StreamableHTTPSessionManager):
    """The SDK's manager, with a bound for each caller beside the one for all."""

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        """Open a session, or none; the SDK then answers 503."""
        if requestor is not None and list(self._session_owners.values()).count(requestor) >= MOST_OF_ONE:
            return None
        return super()._admit_session(requestor)
