"""The words of a batch: one question that names every number, its price and the totals."""

from kros_mcp.money import show_price
from kros_mcp.numbering import spoken
from kros_mcp.operations.model import Operation, State
from kros_mcp.operations.wording import Wording, aloud, capitalized, refused_before


class SeveralWording(Wording):
    """How an act on several numbers under one yes is spoken of.

    Args:
        one: The words of the act on one number.
    """

    def __init__(self, one: Wording) -> None:
        self.to_do, self.doing, self.done = one.to_do, one.doing, one.done
        self.heading, self.warning = one.verb, one.warning
        self._one = one

    def statement(self, operation: Operation, currency: str) -> str:
        """Write the act as one paragraph: how many, what each is, and what they come to."""
        each = " ".join(capitalized(self._one.about(part, currency)) for part in operation.parts)
        said = f"{self.doing} {_count(operation)}. {each} {_total(operation, currency)}".strip()
        return aloud(operation, f"{said}{refused_before(operation)}")

    def particulars(self, operation: Operation, currency: str) -> list[str]:
        """Write what `statement` says as lines, for a client's prompt."""
        each = [self._one.statement(part, currency) for part in operation.parts]
        total = _total(operation, currency)
        return [*each, *([total] if total else [])]

    def ended(self, operation: Operation, currency: str) -> str:
        """Write what was agreed to; each number tells what has become of it."""
        del currency
        return f"{self.doing.capitalize()} {_count(operation)} was agreed to; each of them tells its own outcome."

    def question(self, operation: Operation, currency: str, *, attempt: int = 1) -> str:
        """Write the prompt that a client shows to a person."""
        _, *rest = super().question(operation, currency, attempt=attempt).split("\n")
        numbers = ", ".join(spoken(item.e164) for item in operation.items)
        return "\n".join([f"{self.heading} {_count(operation)}: {numbers}?", *rest])

    def sentence(self, operation: Operation, currency: str) -> str:
        """Write what an agent says aloud to ask a person for a yes or a no."""
        return f"{self.statement(operation, currency)} Shall I {self.to_do} all {len(operation.items)}?"

    def failed(self, operation: Operation) -> str:
        """Write why a batch was not begun."""
        message = operation.message
        if "nothing was" not in message.lower():
            message = f"{message} None of {_count(operation)} was {self.done}; nothing was charged or changed."
        return message.strip()

    def summary(
        self,
        operation: Operation,
        currency: str,
        *,
        code: str = "",
        told: bool = False,
        page: bool = False,
        now: float | None = None,
    ) -> tuple[str, str]:
        """Write where a batch stands, and what the agent is to do next."""
        words, next_step = super().summary(operation, currency, code=code, told=told, page=page, now=now)
        if operation.state in {State.PROPOSED, State.DONE, State.FAILED}:
            return words, next_step
        return words.replace(spoken(operation.e164), _count(operation)), next_step


def _count(operation: Operation) -> str:
    return f"{len(operation.items)} numbers"


def _total(operation: Operation, currency: str) -> str:
    if not operation.action.charges:
        return ""
    cost = show_price(operation.quote.due_now_cents, operation.quote.monthly_cents, currency)
    return f"Together {_count(operation)} cost {cost}."
