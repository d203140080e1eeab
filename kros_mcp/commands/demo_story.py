"""The demo's story: eight scenes and a ledger, each claim checked against the simulator."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TextIO

import anyio

from kros_mcp.commands.console import Column, say, show_table, working
from kros_mcp.commands.demo_conversation import ClaimError, Conversation, Stage, open_conversation
from kros_mcp.journals.backends import open_journal
from kros_mcp.money import show_again
from kros_mcp.numbering import last_four
from kros_mcp.operations.model import Action, Operation, State
from kros_mcp.simulator import SimNumber, Simulator

SETTLED_WITHIN_SECONDS = 20.0
_ASK_EVERY_SECONDS = 0.25
_LEDGER = (Column("what"), Column("the person said", least=12), Column("the journal says", least=16), Column("charged"))
_NEXT = (
    "Next: serve the simulator to a client of your own with `kros-mcp --simulator`; connect Claude Desktop as README "
    "shows; check your own settings with `kros-mcp doctor`."
)


@dataclass
class Story:
    """The story's places and what the person has said so far, by operation."""

    stage: Stage
    sim: Simulator
    base_url: str
    journal_url: str
    log: TextIO
    said: dict[str, str] = field(default_factory=dict)
    begun_with_cents: int = 0

    async def play(self) -> None:
        """Play every scene.

        Raises:
            ClaimError: Something that was said is not so.
        """
        self.begun_with_cents = self.sim.balance_cents
        say(
            "An agent, a person, and kros-mcp between them. Everything is real but KrosAI, which is simulated "
            f"({self.sim.profile.name} profile); no account is touched and no money moves. The agent says the quoted "
            "sentence of each answer; the line below it is a glance at the facts.",
            always_folds=True,
        )
        async with self._talk(prompts=False) as talk:
            first = await self._buy_in_a_chat(talk)
            await self._route(talk, first)
            await self._buy_two(talk)
            await self._meet_a_moved_price(talk)
        async with self._talk(prompts=True) as talk:
            second = await self._buy_by_prompt(talk)
            await self._lose_an_answer(talk)
            await self._look_at_spending(talk)
            await self._release(talk, second)
        await self._settle_up()
        say("Every claim above was checked against the simulator, and held.", "green", always_folds=True)
        say(_NEXT, always_folds=True)

    async def _buy_in_a_chat(self, talk: Conversation) -> str:
        await self.stage.scene(
            "1. A purchase in a chat",
            "This client shows no prompts, as in Claude Desktop's chat. So the agent gets a sentence to say and a "
            "one-time code, and calls again with the code after a yes. It could do that unasked: hence the caps.",
        )
        await self.stage.person("We open in Lagos next week. What would a Nigerian number cost us?")
        found = await talk.call("search_phone_numbers", country="NG", type="local", limit=3)
        number = found["numbers"][0]
        await self.stage.claim("looking cost nothing.", holds=not self.sim.charges)
        await self.stage.person("The first one, please.")
        quoted = await talk.call("buy_phone_number", inventory_id=number["inventory_id"])
        await self.stage.claim(
            "a quote and a question, and nothing charged yet.",
            holds=quoted["status"] == "confirmation_required" and not self.sim.charges,
        )
        await self.stage.person("Yes.")
        self.said[quoted["operation_id"]] = "yes, in the chat"
        bought = await talk.call(
            "buy_phone_number",
            inventory_id=number["inventory_id"],
            confirmation_code=quoted["confirmation_code"],
        )
        await self._claim_bought(bought, number)
        return str(number["e164"])

    async def _route(self, talk: Conversation, e164: str) -> None:
        await self.stage.scene("2. Calls go to the support agent", "The endpoint is found by its name.")
        await self.stage.person("Send its calls to the support agent.")
        listed = await talk.call("list_endpoints")
        endpoint = next(one for one in listed["endpoints"] if one["name"].lower() == "support agent")
        await talk.call("configure_phone_number", number_id=e164, endpoint_id=endpoint["endpoint_id"])
        await self.stage.claim(
            f'calls to {e164} go to "{self._goes_to(e164)}" now, at no cost.',
            holds=self._owned(e164).endpoint_id == endpoint["endpoint_id"] and len(self.sim.charges) == 1,
        )

    async def _buy_two(self, talk: Conversation) -> None:
        await self.stage.scene(
            "3. Two numbers under one yes",
            "One question with every number and the total, one yes, and then one order after the other.",
        )
        await self.stage.person("And two in Ghana, both for the order line.")
        found = await talk.call("search_phone_numbers", country="GH", type="local", limit=2)
        both, before = found["numbers"], len(self.sim.charges)
        wish = {"inventory_id": ",".join(each["inventory_id"] for each in both), "endpoint_id": "Order line"}
        quoted = await talk.call("buy_phone_number", **wish)
        due_now = sum(each["due_now_cents"] for each in both)
        await self.stage.claim(
            f"both numbers and their total, {show_again(due_now)}, are in the question; nothing is charged yet.",
            holds=quoted["quote"]["due_now_cents"] == due_now
            and [each["e164"] for each in quoted["items"]] == [each["e164"] for each in both]
            and len(self.sim.charges) == before,
        )
        await self.stage.person("Yes, both.")
        bought = await talk.call("buy_phone_number", **wish, confirmation_code=quoted["confirmation_code"])
        self.said |= {each["operation_id"]: "yes, to both at once" for each in bought["items"]}
        charged = [charge.cents for charge in self.sim.charges[before:]]
        await self.stage.claim(
            f"two orders left, each for its own number: {' and '.join(show_again(cents) for cents in charged)}.",
            holds=bought["status"] == "done"
            and sorted(charged) == sorted(each["due_now_cents"] for each in both)
            and all(self._goes_to(each["e164"]) == "Order line" for each in both),
        )

    async def _meet_a_moved_price(self, talk: Conversation) -> None:
        await self.stage.scene(
            "4. The price moves between the quote and the yes",
            "The price is read once more just before the money would leave. A yes is a yes to one amount.",
        )
        await self.stage.person("One more of those.")
        charges = len(self.sim.charges)
        found = await talk.ask("search_phone_numbers", country="NG", type="local", limit=3)
        number = found["numbers"][0]
        quoted = await talk.call("buy_phone_number", inventory_id=number["inventory_id"])
        self.sim.faults.switch_on("price_moves", at="search", cents=150)
        await self.stage.krosai("raises the price by 1.50 a month, just now")
        await self.stage.person("Yes.")
        self.said[quoted["operation_id"]] = f"yes, to {show_again(number['due_now_cents'])}"
        moved = await talk.call(
            "buy_phone_number",
            inventory_id=number["inventory_id"],
            confirmation_code=quoted["confirmation_code"],
        )
        old, new = show_again(number["due_now_cents"]), show_again(number["due_now_cents"] + 150)
        await self.stage.claim(
            f"nothing was charged; both prices are told, {old} and {new}, and a new question is asked.",
            holds=len(self.sim.charges) == charges
            and moved["status"] == "confirmation_required"
            and moved["operation_id"] != quoted["operation_id"]
            and old in moved["summary"]
            and new in moved["summary"],
        )
        await self.stage.person("Then no.")
        self.said[moved["operation_id"]] = f"no, to {new}"
        await talk.call("cancel_operation", operation_id=moved["operation_id"])
        await self.stage.claim(
            f"{number['e164']} was not bought.",
            holds=len(self.sim.charges) == charges and self.sim.owned_by_e164(number["e164"]) is None,
        )

    async def _buy_by_prompt(self, talk: Conversation) -> str:
        await self.stage.scene(
            "5. A purchase by the client's own prompt",
            "A second client, with its own server process on the same journal. This one shows prompts: the person "
            "answers the server itself, and no argument of the agent's counts as a yes.",
        )
        await self.stage.person("We need one in Rwanda as well.")
        found = await talk.call("search_phone_numbers", country="RW", type="local", limit=2)
        number = found["numbers"][0]
        talk.person.answers.append({"decision": "buy"})
        bought = await talk.call("buy_phone_number", inventory_id=number["inventory_id"])
        self.said[bought["operation_id"]] = "yes, in the prompt"
        await self._claim_bought(bought, number)
        return str(number["e164"])

    async def _lose_an_answer(self, talk: Conversation) -> None:
        await self.stage.scene(
            "6. An answer is lost, and nothing is bought twice",
            "KrosAI takes the order and the money, then the connection drops. Trying again could pay twice.",
        )
        await self.stage.person("And one in Kenya.")
        found = await talk.call("search_phone_numbers", country="KE", type="local", limit=2)
        number = found["numbers"][0]
        orders, charges = self._orders(), len(self.sim.charges)
        self.sim.faults.switch_on("lost_reply", on=("purchase",))
        self.sim.faults.switch_on("hold", on=("purchase",), after=True)
        await self.stage.krosai("will take the next order without answering, and then cannot be read for a while")
        talk.person.answers.append({"decision": "buy"})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._become_unreadable_once_ordered)
            lost = await talk.call("buy_phone_number", inventory_id=number["inventory_id"])
        self.said[lost["operation_id"]] = "yes, in the prompt"
        await self.stage.claim(
            "KrosAI has charged, the answer never came, and the server says that it does not know.",
            holds=lost["status"] == "unknown" and len(self.sim.charges) == charges + 1,
        )
        await self.stage.agent("That did not work. I will try again.")
        again = await talk.call("buy_phone_number", inventory_id=number["inventory_id"])
        await self.stage.claim(
            "the same operation answers; no second order has left the server.",
            holds=again["operation_id"] == lost["operation_id"] and self._orders() == orders + 1,
        )
        self.sim.faults.clear()
        await self.stage.krosai("can be read again")
        await self._settled(talk, lost["operation_id"])
        settled = await talk.call("get_operation", operation_id=lost["operation_id"])
        charged = [charge.cents for charge in self.sim.charges if charge.e164 == number["e164"]]
        await self.stage.claim(
            f"{number['e164']} is owned, was ordered once and charged exactly once: {show_again(sum(charged))}.",
            holds=settled["status"] == "done"
            and charged == [number["due_now_cents"]]
            and self._orders() == orders + 1
            and self._owned(number["e164"]).status == "active",
        )

    async def _become_unreadable_once_ordered(self) -> None:
        await self.sim.faults.held()
        self.sim.faults.switch_on("html_page", on=("list_owned",), times=None)
        self.sim.faults.let_go()

    async def _look_at_spending(self, talk: Conversation) -> None:
        await self.stage.scene("7. Spending", "The journal counts every purchase of the account, of either client.")
        await self.stage.person("What have we spent today?")
        spending = await talk.call("get_spending")
        charged = sum(charge.cents for charge in self.sim.charges)
        monthly = sum(one.monthly_cost_cents for one in self.sim.owned.values() if one.status != "inactive")
        await self.stage.claim(
            f"the simulator charged {show_again(charged)}, and its numbers cost {show_again(monthly)} a month.",
            holds=(spending["spent_24h_cents"], spending["monthly_run_rate_cents"]) == (charged, monthly),
        )

    async def _release(self, talk: Conversation, e164: str) -> None:
        await self.stage.scene(
            "8. A number is given up",
            "This cannot be undone, so the person types its last four digits.",
        )
        await self.stage.person("We do not need the Rwandan number after all.")
        talk.person.answers.append({"decision": "release", "last_four_digits": last_four(e164)})
        released = await talk.call("release_phone_number", number_id=e164)
        self.said[released["operation_id"]] = "yes, in the prompt"
        left = self.sim.owned_by_e164(e164)
        await self.stage.claim(
            f"{e164} is no longer in service, and nothing else has changed.",
            holds=released["status"] == "done" and (left is None or left.status == "inactive"),
        )

    async def _settle_up(self) -> None:
        await self.stage.scene("The ledger", "What the person said, what the journal says, and what was charged.")
        async with open_journal(self.journal_url) as journal:
            operations = tuple(reversed(await journal.list_operations()))
        show_table(_LEDGER, [self._row(operation) for operation in operations])
        print()
        done = {operation.id for operation in operations if operation.state is State.DONE}
        bought = {one.id: one.quote.due_now_cents for one in operations if one.id in done and one.action is Action.BUY}
        charges = {charge.idempotency_key: charge.cents for charge in self.sim.charges}
        spent = sum(charge.cents for charge in self.sim.charges)
        before, after = self.begun_with_cents, self.sim.balance_cents
        await self.stage.claim(
            "what was done is what the person said yes to, and nothing else.",
            holds=all(self.said.get(operation_id, "").startswith("yes") for operation_id in done),
        )
        await self.stage.claim(
            f"journal and simulator agree: {len(bought)} purchases, {show_again(spent)}.",
            holds=bought == charges and len(charges) == len(self.sim.charges),
        )
        await self.stage.claim(
            f"balance before {show_again(before)}, after {show_again(after)}: {show_again(before - after)} less.",
            holds=before - after == spent,
        )
        print()

    def _row(self, operation: Operation) -> tuple[str, ...]:
        charged = [charge.cents for charge in self.sim.charges if charge.idempotency_key == operation.id]
        reason = f", {operation.error_code}" if operation.state is State.FAILED else ""
        return (
            f"{operation.action} {operation.e164}",
            self.said.get(operation.id, "nothing"),
            f"{operation.state}{reason}",
            show_again(sum(charged)) if charged else "-",
        )

    async def _claim_bought(self, answer: dict[str, Any], number: dict[str, Any]) -> None:
        cents = [charge.cents for charge in self.sim.charges if charge.e164 == number["e164"]]
        await self.stage.claim(
            f"the simulator charged {show_again(sum(cents))} once, and {number['e164']} is owned.",
            holds=answer["status"] == "done"
            and cents == [number["due_now_cents"]]
            and self._owned(number["e164"]).status == "active",
        )

    async def _settled(self, talk: Conversation, operation_id: str) -> None:
        with anyio.fail_after(SETTLED_WITHIN_SECONDS), working("the server looks at KrosAI again"):
            question = partial(talk.ask, "get_operation", operation_id=operation_id)
            while (await question())["status"] == "unknown":  # noqa: ASYNC110 - another process sends no events
                await anyio.sleep(_ASK_EVERY_SECONDS)

    def _talk(self, *, prompts: bool) -> AbstractAsyncContextManager[Conversation]:
        settings = {
            "KROS_BASE_URL": self.base_url,
            "KROS_API_KEY": self.sim.api_key,
            "KROS_CONFIRMATION": "conversation",
            "KROS_JOURNAL_URL": self.journal_url,
        }
        return open_conversation(self.stage, settings, self.log, prompts=prompts)

    def _goes_to(self, e164: str) -> str:
        return self.sim.endpoints[self._owned(e164).endpoint_id or ""].name

    def _owned(self, e164: str) -> SimNumber:
        number = self.sim.owned_by_e164(e164)
        if number is None:
            raise ClaimError(f"{e164} is owned.")
        return number

    def _orders(self) -> int:
        return sum(seen.method == "POST" for seen in self.sim.requests)
