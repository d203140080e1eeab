"""Every sentence about a batch: one question about several numbers, and what has become of each.

A sentence that asks names every number, and the prompt has a line for each; none shows one number alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from kros_mcp.characters import joined
from kros_mcp.money import common_label, label_of, show_again, show_cents, show_price
from kros_mcp.numbering import country_name, in_country, spoken
from kros_mcp.operations.acts import charge
from kros_mcp.operations.acts.routing import still_lacking
from kros_mcp.operations.batch import Batch, total
from kros_mcp.operations.confirmation import picked
from kros_mcp.operations.model import NAMED_INSTEAD, Operation, Quote, State
from kros_mcp.operations.wording import (
    LATER,
    NO_REFUND,
    ConfigurationWording,
    PurchaseWording,
    ReleaseWording,
    Wording,
    aloud,
    changes,
    environment,
    goes,
    goes_as_asked,
    goes_nowhere,
    is_unstated,
    keep_asking,
    not_applied,
    of_a_test_key,
    refused_before,
    routed,
)

_WHY: Final = {
    "PRICE_CHANGED": "whose price has changed",
    "NOT_SEEN": "not seen for sale any more",
    "NUMBER_NOT_AVAILABLE": "no longer for sale",
    "ALREADY_OWNED": "owned already",
    "ALREADY_RELEASED": "released already",
    "NUMBER_CHANGED": "which has changed meanwhile",
    "INSUFFICIENT_BALANCE": "for lack of credit",
    "NUMBER_BUSY": "acted on by somebody else",
    "INTERRUPTED": "not begun",
    "NOT_BEGUN": "not begun",
}
"""Why one number of a batch failed, in two or three words; its own message says it whole."""
_PLACE: Final = "{}"
"""Stands in a sentence where the numbers belong."""


class SeveralWording(Wording):
    """The words of one kind of act on several numbers under one yes."""

    slip = "That was not what is asked for."

    def named(self, operation: Operation) -> str:
        """Return how a sentence calls what a batch is about."""
        return numbers(len(operation.items))

    def asks(self, operation: Operation) -> str:
        """Write the first line of the prompt."""
        return f"{self.heading} {self.named(operation)}?"

    def sentence(self, operation: Operation, currency: str) -> str:
        """Write what an agent says aloud to ask a person for a yes or a no."""
        return f"{self.statement(operation, currency)} Shall I {self.to_do} {every(len(operation.items))}?"

    def failed(self, operation: Operation) -> str:
        """Write why a batch failed before anything of it was begun; one number may be why none was."""
        told = operation.message
        is_said = "nothing was" in told.lower()
        if is_said and not any(spoken(part.e164) in told for part in operation.parts):
            return told
        rest = "" if is_said else "; nothing was charged or changed"
        return f"{told} None of the {self.named(operation)} was {self.done}{rest}.".strip()

    def ended(self, operation: Operation, currency: str) -> str:
        """Write that a batch was agreed to; what has become of its numbers, `outcome` tells."""
        del currency
        return f"{self.doing.capitalize()} {self.named(operation)} was agreed to; each is told of by itself."

    def rows(self, operation: Operation, currency: str) -> list[str]:
        """Write a line for each number."""
        return [f"{at}. {_place(part)}: {self.row(part, currency)}." for at, part in enumerate(operation.parts, 1)]

    def row(self, part: Operation, currency: str) -> str:
        """Write what a person has to know of one number, beside which it is."""
        raise NotImplementedError

    def outcome(self, batch: Batch, currency: str, now: float | None = None) -> tuple[str, str]:
        """Write what a batch has come to since its yes, and what the agent is to do next."""
        items, count = batch.items, len(batch.items)
        if not items:
            return self.ended(batch.operation, currency), LATER
        unclear = [item for item in items if item.state is State.UNKNOWN]
        match batch.status:
            case "pending":
                done = len(self.as_asked(items))
                so_far = f"{done} of them {_are(done)} {self.done} so far" if done else "no outcome is known yet"
                begun = f"{self.doing.capitalize()} {numbers(count)} is under way: {so_far}."
                return f"{begun}{self._not_done(items)}", LATER
            case "done" if len(self.as_asked(items)) == count:
                told = f"{every(count).capitalize()} numbers are {self.done}{self.result(items, currency)}."
            case "failed":
                told = f"None of the {numbers(count)} was {self.done}; nothing was charged or changed."
            case _:
                done_items = self.as_asked(items)
                done = len(done_items)
                if done or not unclear:
                    result = self.result(done_items, currency) if done else ""
                    told = f"{done or 'None'} of {numbers(count)} {_are(done)} {self._as_done(items)}{result}."
                else:  # to begin with none would deny what may have happened
                    told = f"{self.doing.capitalize()} {numbers(count)} was stopped."
        told += _unclear(self, unclear, currency) + self._not_done(items) + self.unshown(items)
        return told + _noted(items) + _not_applied(items), self._next(batch, unclear, now)

    def as_asked(self, items: Iterable[Operation]) -> list[Operation]:
        """Return those of which it may be said that they are done."""
        return [item for item in items if item.state is State.DONE]

    def unshown(self, items: Iterable[Operation]) -> str:
        """Write, as sentences of their own, what is done and KrosAI does not show yet; empty where there is nothing."""
        del items
        return ""

    def _as_done(self, items: Iterable[Operation]) -> str:
        """Return what those have become that are done as asked, beside others that are done only by half or not."""
        done = [item for item in items if item.state is State.DONE]
        if len(self.as_asked(done)) == len(done):
            return self.done
        unsure = "certainly " if any(item.changed == "unknown" for item in done) else ""
        return f"{unsure}{self.done} as asked"

    def result(self, items: Sequence[Operation], currency: str) -> str:
        """Write what it means that these are done, as the end of a sentence."""
        del items, currency
        return ""

    def _not_done(self, items: Iterable[Operation]) -> str:
        """Name those that failed, and why in a few words."""
        left = [item for item in items if item.error_code == NAMED_INSTEAD]
        apart = f" Nothing was ordered for {joined(spoken(item.e164) for item in left)} itself." if left else ""
        failed = [item for item in items if item.state is State.FAILED and item not in left]
        if not failed:
            return apart
        by_reason: dict[str, list[str]] = defaultdict(list)
        for item in failed:
            by_reason[_why(item.error_code)].append(spoken(item.e164))
        told = (f"{joined(each)}{f', {why}' if why else ''}" for why, each in by_reason.items())
        return f"{apart} Not {self.done}: {'; '.join(told)}."

    def _next(self, batch: Batch, unclear: Sequence[Operation], now: float | None) -> str:
        if unclear:
            return keep_asking(unclear[0], now)
        failed = [item for item in batch.items if item.state is State.FAILED]
        if failed:
            # The same call again would answer this batch, so that the step of a single purchase leads nowhere here.
            steps = {item.next_step for item in failed if item.error_code != "PRICE_CHANGED"} - {""}
            if len(steps) != 1:
                return "Tell the person which were not done; ask again for those alone, only if the person wants it."
            step = steps.pop()
            tell = "" if step.startswith("Tell the person") else "Tell the person which were not done. "
            return f"{tell}{step}"
        if any(item.not_applied for item in batch.items):
            return "Tell the person what was not applied."
        return self.afterwards(batch.operation)


class SeveralPurchaseWording(SeveralWording, PurchaseWording):
    """How the purchase of several numbers is spoken of."""

    def statement(self, operation: Operation, currency: str) -> str:
        """Write the act as one paragraph: an agent says it, an approver reads it; prompts have `particulars`."""
        cost = _cost(operation.quote, currency)
        wanted = _wanted(operation, usual=False, said=True)
        then = f" Then: {wanted}." if wanted else ""
        return aloud(
            operation,
            f"buying {_which(operation)} costs {cost}.{then}{refused_before(operation)}{of_a_test_key(operation)}",
        )

    def consequence(self, operation: Operation, currency: str) -> str:
        """Write what a yes brings about, for somebody who decides outside the conversation."""
        quote, count = operation.quote, len(operation.items)
        cost = _cost(quote, currency)
        if quote.due_now_cents is None and quote.monthly_cents is None:
            cost = "amounts that KrosAI does not state, now and every month"
        wanted = _wanted(operation, usual=False)
        then = f" Then: {wanted}." if wanted else ""
        return (
            f"If you approve, {every(count)} numbers are bought, and the account is charged {cost} until they are "
            f"released.{then} One whose price has changed by then is left out, and nothing is charged for it."
            f"{refused_before(operation)} {environment(operation)}"
        )

    def particulars(self, operation: Operation, currency: str) -> list[str]:
        """Write a line for each number, and what all of them cost."""
        quote, count = operation.quote, len(operation.items)
        wanted, label = _wanted(operation), label_of(quote.currency, currency)
        return [
            *self.rows(operation, currency),
            f"{every(count).capitalize()} now, first month included: {show_cents(quote.due_now_cents, label)}.",
            *([f"Of that, setup: {show_again(quote.setup_cents, label)}."] if quote.setup_cents else []),
            f"Then every month: {show_again(quote.monthly_cents, label)}.",
            environment(operation),
            *([f"Then: {wanted}."] if wanted else []),
            *([refused] if (refused := refused_before(operation).strip()) else []),
        ]

    def row(self, part: Operation, currency: str) -> str:
        """Write what one number costs."""
        label = label_of(part.quote.currency, currency)
        now, monthly = (show_again(cents, label) for cents in (part.quote.due_now_cents, part.quote.monthly_cents))
        return f"{now} now, {monthly} every month"

    def result(self, items: Sequence[Operation], currency: str) -> str:
        """Write what those that are bought have cost, and cost a month."""
        label = common_label((charge.currency_of(item, currency) for item in items), currency)
        quote = replace(
            items[0].quote,
            due_now_cents=total(item.charged_cents for item in items),
            monthly_cents=total(charge.monthly_cents(item) for item in items),
            setup_cents=total(item.quote.setup_cents for item in items),
            currency=label or "",
        )
        its = "its" if len(items) == 1 else "their"
        where = {_route(item, its) for item in items}
        cost = _cost(quote, quote.currency) if label is not None else "amounts in several currencies"
        return f" for {cost}{where.pop() if len(where) == 1 else ''}"

    def unshown(self, items: Iterable[Operation]) -> str:
        """Name those that KrosAI does not list, and those whose settings are to come, as of a single purchase."""
        bought = self.as_asked(items)
        unlisted = [spoken(item.e164) for item in bought if item.look_at is not None]
        unset = [spoken(item.e164) for item in bought if still_lacking(item)]
        told = f" KrosAI does not list {joined(unlisted)} among the owned numbers yet." if unlisted else ""
        return f"{told} The settings of {joined(unset)} are still being applied." if unset else told

    def afterwards(self, operation: Operation) -> str:
        """Write how the numbers get their calls, and how they are given up."""
        route = "" if operation.request.endpoint_id else "Offer to route their calls: configure_phone_number. "
        return f"{route}To give them up: release_phone_number; no refund is known."


class SeveralReleaseWording(SeveralWording, ReleaseWording):
    """How the release of several numbers is spoken of."""

    warning = "Calls to these numbers will stop. This cannot be undone."

    def statement(self, operation: Operation, currency: str) -> str:
        """Write the act as one paragraph: an agent says it, an approver reads it; prompts have `particulars`."""
        del currency
        return aloud(
            operation,
            f"releasing {_which(operation)} means that calls to them will stop; {_routes(operation)}. "
            f"{_finality(operation)} {NO_REFUND}",
        )

    def consequence(self, operation: Operation, currency: str) -> str:
        """Write what a yes brings about, for somebody who decides outside the conversation."""
        del currency
        return (
            f"If you approve, calls to {every(len(operation.items))} numbers stop. {_finality(operation)} {NO_REFUND} "
            f"{environment(operation)}"
        )

    def particulars(self, operation: Operation, currency: str) -> list[str]:
        """Write a line for each number, and what is to be typed."""
        number = spoken(picked(operation))
        typed = f"type the last four digits of {number}, and how many numbers these are"
        return [
            *self.rows(operation, currency),
            f"Calls to them will stop. {_finality(operation)} {NO_REFUND}",
            environment(operation),
            f"To release {every(len(operation.items))}, {typed}.",
        ]

    def row(self, part: Operation, currency: str) -> str:
        """Write where calls to one number go."""
        del currency
        return goes(part, "calls to it")

    def result(self, items: Sequence[Operation], currency: str) -> str:
        """Write what it means that these are released."""
        del currency
        them, they = ("it", "it") if len(items) == 1 else ("them", "they")
        return f"; calls to {them} no longer arrive, and {they} cannot be taken back"


class SeveralConfigurationWording(SeveralWording, ConfigurationWording):
    """How the change of several numbers is spoken of, of which some are protected."""

    heading = "Change"

    def statement(self, operation: Operation, currency: str) -> str:
        """Write the act as one paragraph: an agent says it, an approver reads it; prompts have `particulars`."""
        del currency
        which, wanted = _which(operation), _wanted(operation, said=True)
        now = f"As for calls to them, {_routes(operation)}."
        return aloud(operation, f"this would change {which} some of which are protected: {wanted}. {now}")

    def consequence(self, operation: Operation, currency: str) -> str:
        """Write what a yes brings about, for somebody who decides outside the conversation."""
        del currency
        what = f"{every(len(operation.items))} numbers are changed as is shown"
        return f"If you approve, {what}. Some of them are protected. Nothing is charged. {environment(operation)}"

    def as_asked(self, items: Iterable[Operation]) -> list[Operation]:
        """Return those of which it may be said that they are changed: all that was asked for is applied."""
        return [item for item in super().as_asked(items) if not item.not_applied]

    def result(self, items: Sequence[Operation], currency: str) -> str:
        """Write what those that are changed are now; of each number where they differ."""
        del currency
        changed = _grouped(items, lambda item: changes(item, aloud=True))
        if len(changed) == 1:
            return f": {next(iter(changed))}"
        return f": {'; '.join(f'{joined(each)}: {change}' for change, each in changed.items())}"

    def particulars(self, operation: Operation, currency: str) -> list[str]:
        """Write a line for each number."""
        return [*self.rows(operation, currency), "Some of them are protected.", environment(operation)]

    def row(self, part: Operation, currency: str) -> str:
        """Write what is changed of one number, and where its calls go now."""
        del currency
        return f"{changes(part)}; now: {routed(part)}"


def _route(item: Operation, its: str) -> str:
    """Return where the calls of a number that was bought go, as the end of a sentence; empty where it is not shown."""
    if goes_nowhere(item):
        return f"; {its} calls go nowhere yet"
    if is_unstated(item):
        return f"; where {its} calls go is not stated"
    where = goes_as_asked(item)
    return f"; {its} calls go to {where}" if where else ""


def _cost(quote: Quote, currency: str) -> str:
    """Return what several numbers cost now and every month; of what is due now, what is setup."""
    label = label_of(quote.currency, currency)
    return show_price(quote.due_now_cents, quote.monthly_cents, label, setup_cents=quote.setup_cents)


def numbers(count: int) -> str:
    """Return so many numbers in words."""
    return f"{count} number{'' if count == 1 else 's'}"


def every(count: int) -> str:
    """Return all of so many, as in "Shall I buy all 3?"."""
    return "both" if count == 2 else f"all {count}"  # noqa: PLR2004 - two are both


def _why(code: str) -> str:
    return "as the account's identity is not verified" if code.startswith("KYC_") else _WHY.get(code, "")


def _place(part: Operation) -> str:
    where = f", {country_name(part.quote.country)}" if part.quote.country else ""
    return f"{spoken(part.e164)} ({part.e164}{where})"


def _which(operation: Operation) -> str:
    """Count the numbers and name each, with its country; a comma ends it."""
    parts = operation.parts
    by_country = _grouped(parts, lambda part: in_country(part.quote.country) if part.quote.country else "")
    if len(by_country) == 1:
        [(where, each)] = by_country.items()
        return f"{numbers(len(parts))}{f' {where}' if where else ''}, {joined(each)},"
    placed = (f"{joined(each)} {where}".strip() for where, each in by_country.items())
    return f"{numbers(len(parts))}, {'; '.join(placed)},"


def _wanted(operation: Operation, *, usual: bool = True, said: bool = False) -> str:
    """Return the settings that are wanted; of each number where they differ, be it in an id that is not said."""
    by_change = _grouped(operation.parts, lambda part: changes(part, usual=usual))
    spoken_as = {changes(part, usual=usual): changes(part, usual=usual, aloud=said) for part in operation.parts}
    if len(by_change) == 1:
        return next(iter(spoken_as.values()))
    return "; ".join(f"{joined(each)}: {spoken_as[wanted] or 'nothing else'}" for wanted, each in by_change.items())


def _routes(operation: Operation) -> str:
    """Return where calls to the numbers go now, as a part of a sentence."""
    by_route = _grouped(operation.parts, lambda part: goes(part, _PLACE, aloud=True))
    if len(by_route) == 1:
        return next(iter(by_route)).replace(_PLACE, "they")
    return "; ".join(route.replace(_PLACE, f"those to {joined(each)}") for route, each in by_route.items())


def _grouped(parts: Iterable[Operation], key: Callable[[Operation], str]) -> dict[str, list[str]]:
    """Return the spoken numbers by what they have in common, both in their order."""
    grouped: dict[str, list[str]] = defaultdict(list)
    for part in parts:
        grouped[key(part)].append(spoken(part.e164))
    return dict(grouped)


def _finality(operation: Operation) -> str:
    record = " Their records are deleted too." if any(part.request.permanent for part in operation.parts) else ""
    return f"This cannot be undone.{record}"


def _unclear(wording: Wording, unclear: Sequence[Operation], currency: str) -> str:
    if not unclear:
        return ""
    by_reason = _grouped(unclear, lambda item: wording.not_known(item, _PLACE))
    told = "".join(f" {why.replace(_PLACE, joined(each))}" for why, each in by_reason.items())
    cents = total(item.quote.due_now_cents for item in unclear)
    charges = cents is not None and any(item.action.charges for item in unclear)
    label = common_label((item.quote.currency for item in unclear), currency) or ""
    return f"{told}{f' {show_cents(cents, label)} may have been charged.' if charges else ''}"


def _noted(items: Iterable[Operation]) -> str:
    """Tell what was found beside the outcome, such as another price than was shown, once for all of which it holds."""
    noted = _grouped([item for item in items if item.note and item.state is not State.FAILED], lambda item: item.note)
    return "".join(f" Of {joined(each)}: {note}" for note, each in noted.items())


def _not_applied(items: Iterable[Operation]) -> str:
    """Tell which settings KrosAI did not take, once for all of which it holds."""
    lacking = _grouped([item for item in items if item.not_applied], not_applied)
    return "".join(f" Of {joined(each)}:{told}" for told, each in lacking.items())


def _are(count: int) -> str:
    return "is" if count <= 1 else "are"
