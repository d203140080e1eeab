"""The routes of the spending page: look, filter, download, and read the story of one operation. Nothing changes."""

import csv
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from kros_mcp.errors import KrosError
from kros_mcp.http.sign_in.page_sessions import PageSession
from kros_mcp.http.sign_in.persons_pages import SPENDING
from kros_mcp.http.sign_in.sign_in import SignIn
from kros_mcp.http.spending_page.books_query import BooksQuery, read_query
from kros_mcp.http.spending_page.spending_views import SpendingViews
from kros_mcp.http.spending_page.story_view import view_story
from kros_mcp.operations.account import Account
from kros_mcp.operations.journal import every
from kros_mcp.operations.model import Operation, is_operation_id
from kros_mcp.operations.spreadsheet import COLUMNS, cells
from kros_mcp.operations.story import read_story

_LINES_AT_ONCE = 200
_NO_OPERATION = "There is no operation of that id in these books."


class SpendingPage:
    """Answers the requests of the page.

    Args:
        sign_in: Who is signed in to it.
    """

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in

    def router(self) -> Router:
        """Return the router of the page's paths."""
        path = SPENDING.path
        return Router(
            redirect_slashes=False,
            routes=[
                *self._sign_in.routes(),
                Route(path, self.show, methods=["GET"]),
                Route(f"{path}/", self.show, methods=["GET"]),
                Route(f"{path}/operations.csv", self.download, methods=["GET"]),
                Route(f"{path}/{{operation_id}}", self.tell, methods=["GET"]),
            ],
        )

    async def show(self, request: Request) -> Response:
        """Show what is spent, or the form to sign in."""
        session = self._sign_in.session(request)
        if session is None:
            return self._sign_in.ask(request)
        try:
            async with self._sign_in.held(session) as here:
                now = await here.account.journal.now()
                view = await SpendingViews(here.account).view(read_query(request.query_params, now), now)
        except KrosError as exc:
            return _trouble(session, exc.message, status=503)
        return SPENDING.render("spending", session=session, view=view)

    async def download(self, request: Request) -> Response:
        """Send the operations that fit as CSV, oldest first, as `kros-mcp export` writes them."""
        session = self._sign_in.session(request)
        if session is None:
            return self._sign_in.ask(request, status=403)
        try:
            async with self._sign_in.held(session) as here:
                query = read_query(request.query_params, await here.account.journal.now())
        except KrosError as exc:
            return _trouble(session, exc.message, status=503)
        return _Download(self._sign_in, session, query)

    async def tell(self, request: Request) -> Response:
        """Show what happened to one operation, move by move."""
        session, operation_id = self._sign_in.session(request), request.path_params["operation_id"]
        if session is None:
            return self._sign_in.ask(request)
        try:
            async with self._sign_in.held(session) as here:
                account = here.account
                operation = await account.journal.get(operation_id) if is_operation_id(operation_id) else None
                if operation is None or operation.account != account.id:
                    return _trouble(session, _NO_OPERATION, status=404)
                view = view_story(account, await read_story(account.journal, operation))
        except KrosError as exc:
            return _trouble(session, exc.message, status=503)
        return SPENDING.render("story", session=session, view=view)


class _Download(Response):
    """Streams a filter's operations while their organization is open; a journal that fails meanwhile breaks it off."""

    def __init__(self, sign_in: SignIn, session: PageSession, query: BooksQuery) -> None:
        super().__init__()
        self._sign_in = sign_in
        self._session = session
        self._query = query

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        async with AsyncExitStack() as stack:
            try:
                here = await stack.enter_async_context(self._sign_in.held(self._session))
                lines = _lines(here.account, self._query)
                first = await anext(lines)
            except KrosError as exc:
                await _trouble(self._session, exc.message, status=503)(scope, receive, send)
                return
            name = "-".join(filter(None, ["operations", self._query.since, self._query.until]))
            headers = {"content-disposition": f'attachment; filename="{name}.csv"'}
            response = StreamingResponse(_joined(first, lines), media_type="text/csv", headers=headers)
            await response(scope, receive, send)


async def _joined(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for each in rest:
        yield each


async def _lines(account: Account, query: BooksQuery) -> AsyncIterator[str]:
    """Yield the lines of the file, many at once; the first after the journal has answered."""
    batch: list[Operation] = []
    is_first = True
    async for operation in every(account.journal, query.listed(account.id)):
        batch.append(operation)
        if len(batch) == _LINES_AT_ONCE:
            yield _written(batch, account.settings.currency, headed=is_first)
            batch, is_first = [], False
    if batch or is_first:
        yield _written(batch, account.settings.currency, headed=is_first)


def _written(operations: list[Operation], currency: str, *, headed: bool) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    if headed:
        writer.writerow(COLUMNS)
    writer.writerows(cells(operation, currency) for operation in operations)
    return file.getvalue()


def _trouble(session: PageSession, sentence: str, *, status: int) -> Response:
    return SPENDING.render("trouble", session=session, status=status, sentence=sentence)
