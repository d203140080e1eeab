"""The story of one operation as the spending page tells it: what it is, where it stands, and its moves."""

from dataclasses import dataclass

from kros_mcp.http.spending_page.spending_views import Row, SpendingViews
from kros_mcp.krosai import clean
from kros_mcp.operations import agent_words
from kros_mcp.operations.account import Account
from kros_mcp.operations.batch import Batch
from kros_mcp.operations.record import why
from kros_mcp.operations.status import status
from kros_mcp.operations.story import Line, Story
from kros_mcp.pages.operation_view import ENVIRONMENTS
from kros_mcp.times import minute

_LONGEST_WHY = 1000


@dataclass(frozen=True)
class StoryView:
    """The page of one operation; texts are empty where there is nothing to say."""

    row: Row
    environment: str
    is_live: bool
    status: str
    charged: str
    changed: str
    times: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    batch: str
    items: tuple[Row, ...]
    agent_reason: str
    lines: tuple[Line, ...]


def view_story(account: Account, story: Story) -> StoryView:
    """Put what happened to an operation into words."""
    operation, views = story.operation, SpendingViews(account)
    batch = Batch(operation, story.items) if operation.action.is_several else None
    stands, quote = batch or operation, operation.quote
    word = batch.status if batch and batch.items else status(operation)
    times = {
        "Asked for": operation.created_at,
        "Sent to KrosAI": operation.sent_at,
    }
    facts = [("Number", clean(operation.e164) if batch is None else f"{len(operation.items)} numbers")]
    if operation.action.charges:
        now, monthly = (views.money(cents, [quote.currency]) for cents in (quote.due_now_cents, quote.monthly_cents))
        facts.append(("Price shown", f"{now} now, {monthly} a month"))
    facts += [("Code", clean(operation.error_code))] if operation.error_code else []
    said = clean(why(operation), _LONGEST_WHY)
    facts += [("What is said of it", said)] if said else []
    return StoryView(
        row=views.row(operation),
        environment=ENVIRONMENTS[quote.environment],
        is_live=quote.environment == "live",
        status=word.replace("_", " "),
        charged=stands.charged,
        changed=stands.changed,
        times=tuple((name, f"{minute(at)} UTC") for name, at in times.items() if at is not None),
        facts=tuple(facts),
        batch=operation.batch,
        items=tuple(map(views.row, story.items)),
        agent_reason=agent_words.plain(operation.request.reason),
        lines=story.lines,
    )
