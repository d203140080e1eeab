"""Finds an endpoint in the list, where KrosAI serves none by itself (krosai-api.md, section 6)."""

from http import HTTPStatus
from typing import Final, Protocol

from kros_mcp.errors import NotFoundError, ProtocolError
from kros_mcp.krosai.pages import LARGEST_PAGE, Page
from kros_mcp.krosai.wire import Endpoint

_MOST_PAGES: Final = 20


class ListEndpoints(Protocol):
    """Reads one page of the list of endpoints."""

    async def __call__(self, *, limit: int, offset: int) -> Page[Endpoint]:
        """Read from `offset` on."""
        ...


async def find_endpoint(read: ListEndpoints, endpoint_id: str) -> Endpoint:
    """Read the list until the endpoint is seen.

    Raises:
        NotFoundError: The list was read to its end.
        ProtocolError: It could not be.
    """
    seen: set[str] = set()
    offset = 0
    for _ in range(_MOST_PAGES):
        try:
            page = await read(limit=LARGEST_PAGE, offset=offset)
        except NotFoundError as exc:
            raise ProtocolError("KrosAI shows no list of endpoints.") from exc
        new = {endpoint.id: endpoint for endpoint in page.items if endpoint.id not in seen}
        if endpoint_id in new:
            return new[endpoint_id]
        seen |= new.keys()
        offset += page.received
        # The reference documents no paging for endpoints: a list longer than asked for is the whole of it.
        whole = page.received > LARGEST_PAGE or (page.total is not None and offset >= page.total)
        if whole or not page.received or (not new and page.received < LARGEST_PAGE):
            raise NotFoundError("KrosAI knows no such endpoint in this account.", status=HTTPStatus.NOT_FOUND)
        if not new:
            break
    raise ProtocolError("KrosAI's list of endpoints was not read to its end, and what was read lacks this one.")
