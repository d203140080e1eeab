"""Compares what clients were told with what became of it; pure. See `compare.py`.

What must hold of `charged` and `changed` in an answer about an operation:

- "unknown" is always allowed.
- "yes" is for ever: KrosAI did it, by this operation.
- "no" in an answer that ends the operation (done, failed, declined, cancelled, expired, or a failure of the act)
  is for ever: KrosAI never did it by this operation, neither before nor after.
- "no" in an answer that leaves it open (a question, an approval awaited, a prompt that broke) speaks of that
  moment: the request had not reached KrosAI before the call began. It may be sent after.
- Either is pardoned if KrosAI denied in its answer what it did, or did otherwise later, and the operation was
  corrected since: the server told what it was told, went on looking, and wrote the truth down. So is one about a
  change that showed late and was changed again before anybody could see it.
- A failure that is about the call alone (a wrong code, other settings) says nothing of the operation.
"""

from collections import defaultdict
from collections.abc import Iterator

from kros_mcp.operations.model import Action, Operation

from .books import Answer
from .shelf import Difference, Shelf
from .watched import operation_id_of

ABOUT_THE_CALL = frozenset({"WRONG_CODE", "SETTINGS_DIFFER", "NO_CODE_ISSUED"})
LEAVES_OPEN = frozenset(
    {"confirmation_required", "awaiting_approval", "pending", "unknown", "PROMPT_UNANSWERED", "JOURNAL_UNUSABLE"}
)


def compare_answers(shelf: Shelf) -> Iterator[Difference]:
    happened = _happened(shelf)
    reached: dict[str, float] = {}
    for write in shelf.books.writes:
        reached[write.key] = min(write.at, reached.get(write.key, write.at))
    for answer in shelf.books.answers:
        operation = shelf.operations.get(answer.operation_id)
        if operation is None:
            yield Difference("told of an operation that is none", answer.operation_id, _told(answer, "?", "?"))
            continue
        if answer.outcome in ABOUT_THE_CALL:
            continue
        if any(_is_pardoned(shelf, each, answer) for each in (operation, *shelf.batches[operation.id])):
            continue
        of_it = [operation, *shelf.batches[operation.id]]
        money = "yes" if any(shelf.charges.get(each.id) for each in of_it) else "no"
        account = "yes" if any(each.id in happened for each in of_it) else "no"
        began_after = any(reached.get(each.id, answer.asked_at) < answer.asked_at for each in of_it)
        for_ever = answer.outcome not in LEAVES_OPEN
        # A change that finds everything as wanted is called done; `compare_acts.py` looks whether it was so.
        may_stand_already = operation.action.one is Action.CONFIGURE
        for said, true in ((answer.charged, money), (answer.changed, account)):
            if said == "yes" and true == "no" and not may_stand_already:
                yield Difference("told yes, and it never happened", operation.id, _told(answer, money, account))
            if said == "no" and true == "yes" and (for_ever or began_after):
                yield Difference("told no, and it happened", operation.id, _told(answer, money, account))


def _is_pardoned(shelf: Shelf, operation: Operation, answer: Answer) -> bool:
    corrected = shelf.was_denied(operation) and (operation.corrected_at or 0) >= answer.asked_at
    return corrected or shelf.was_overwritten(operation)


def _happened(shelf: Shelf) -> set[str]:
    """The operations by which KrosAI changed anything of the account."""
    happened = {key for key, charges in shelf.charges.items() if charges}
    by_kind: defaultdict[str, set[str]] = defaultdict(set)
    for act in shelf.books.acts:
        if act.had_effect:
            by_kind[act.kind].add(operation_id_of(act.key))
    return happened | by_kind["release"] | by_kind["change"]


def _told(answer: Answer, money: str, account: str) -> str:
    return (
        f"{answer.by} was told {answer.outcome}, charged {answer.charged}, changed {answer.changed} "
        f"by {answer.tool}; true is charged {money}, changed {account}."
    )
