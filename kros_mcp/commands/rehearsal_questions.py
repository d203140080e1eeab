"""What a rehearsal asks: each question with what this program assumes, and what was seen of it."""

from collections.abc import Mapping
from typing import Final

from kros_mcp.commands.contact_report import Comparison
from kros_mcp.commands.findings import Finding, warn

QUESTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "order": ("an order is answered", "200 or 201, and names the number; whatever is less is looked up"),
    "headers": ("headers of a write", "x-request-id comes back; none is relied on"),
    "price": ("price of the bought number", "the answer for one number states it, as it was offered"),
    "flags": ("flags after an order without any", "both stated; outbound on (guide) or off (reference)"),
    "listed": ("when the owned list shows it", "within KROS_SETTLE_SECONDS"),
    "unlisted": ("when offers show it no more", "sometime; the owned list is what counts"),
    "same_key": ("same order, same idempotency key", "the same record; not relied on"),
    "other_key": ("same number, another key", "refused; never sent, as the owned list is read before"),
    "snake": ("changes in snake_case", "heeded; if not, camelCase is tried"),
    "camel": ("changes in camelCase", "heeded; it is only tried where snake_case is not"),
    "change": ("a change is answered", "200 or 202, and shown within 5.5 seconds"),
    "detach_null": ("endpoint_id null", "detaches the number; not sent so far"),
    "detach_empty": ("endpoint_id empty", "unknown; not sent"),
    "release": ("a soft release is answered", "200, 202 or 204"),
    "remains": ("what a release leaves", "an ended record, or none"),
    "back": ("back for sale after a release", "either; not relied on"),
    "release_again": ("a release of what is released", "404, or no change; never sent"),
    "again": ("bought again after its release", "as a new record, or the old one living again"),
    "permanent": ("a permanent delete", "200 or 204, and no record is left"),
}


class QuestionAnswers:
    """What was seen of each question, and what follows from it."""

    def __init__(self) -> None:
        self._seen: dict[str, Comparison] = {}
        self._follows: list[Finding] = []

    def saw(self, question: str, seen: str, *, as_assumed: bool, follows: Finding | None = None) -> None:
        """Note what was seen, and what follows if anything does."""
        topic, assumed = QUESTIONS[question]
        self._seen[question] = Comparison(topic, assumed, seen, "as assumed" if as_assumed else "differs")
        if follows is not None:
            self._follows.append(follows)

    def missed(self, why: str, *questions: str) -> None:
        """Note why questions got no answer; those that have one keep it, and the first reason stays."""
        for question in questions:
            topic, assumed = QUESTIONS[question]
            self._seen.setdefault(question, Comparison(topic, assumed, why, "not seen"))

    def failed(self, why: str, *questions: str) -> None:
        """Note that questions were asked and got no answer, which a person has to know."""
        topics = [QUESTIONS[question][0] for question in questions if question not in self._seen]
        self.missed(why, *questions)
        if topics:
            self._follows.append(
                warn(f"Not answered, {', '.join(topics)}: {why}", "Run it again; if it stays so, report it.")
            )

    def add(self, finding: Finding) -> None:
        """Add what follows from something other than an answer."""
        self._follows.append(finding)

    def comparisons(self, why: str) -> list[Comparison]:
        """Return every question in its order; `why` those that nobody came to were not answered."""
        self.missed(why, *QUESTIONS)
        return [self._seen[question] for question in QUESTIONS]

    @property
    def follows(self) -> list[Finding]:
        """What follows from what was seen."""
        return list(self._follows)
