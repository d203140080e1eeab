"""The story told over the Inspector's command line: every tool once and more, every act held against KrosAI's books."""

import json
from typing import Any

from kros_mcp.simulator import Simulator

from .cli import TOOL_ERROR, Cli
from .walk import Steps, must

TOOLS = [
    "list_phone_numbers",
    "get_phone_number",
    "search_phone_numbers",
    "list_endpoints",
    "get_spending",
    "buy_phone_number",
    "configure_phone_number",
    "release_phone_number",
    "list_operations",
    "get_operation",
    "cancel_operation",
]
PROMPTS = ["set_up_number", "tidy_up_numbers", "review_spending"]
RESOURCES = ["kros://numbers", "kros://spending"]
TEMPLATES = ["kros://operations/{operation_id}"]


class Story:
    """A number is found, bought by code, routed and released; another is almost bought."""

    def __init__(self, cli: Cli, sim: Simulator) -> None:
        self._cli, self._sim = cli, sim
        self._offers: list[dict[str, Any]] = []
        self._endpoint = self._operation = ""

    def steps(self) -> Steps:
        return (
            ("tools/list --strict", self.tools),
            ("prompts/list, prompts/get", self.prompts),
            ("resources/list, resources/read", self.resources),
            ("list_phone_numbers", self.owned),
            ("search_phone_numbers", self.search),
            ("get_spending", self.spending),
            ("list_endpoints", self.endpoints),
            ("buy_phone_number asks", self.ask_to_buy),
            ("buy_phone_number buys", self.buy),
            ("get_phone_number", self.look),
            ("get_phone_number, a tool error", self.look_in_vain),
            ("configure_phone_number", self.route),
            ("get_operation", self.outcome),
            ("list_operations", self.acts),
            ("cancel_operation", self.withdraw),
            ("release_phone_number", self.release),
        )

    async def tools(self) -> None:
        said = await self._cli.ask("tools/list", "--strict")
        must([tool["name"] for tool in said.result["tools"]] == TOOLS, "other tools are listed than the eleven")
        must(not said.findings, f"--strict finds fault with schemas: {json.dumps(said.findings)[:500]}")

    async def prompts(self) -> None:
        said = await self._cli.ask("prompts/list")
        must(
            [prompt["name"] for prompt in said.result["prompts"]] == PROMPTS, "other prompts are listed than the three"
        )
        for name in PROMPTS:
            given = await self._cli.ask("prompts/get", "--prompt-name", name, "--prompt-args", "country=NG")
            must(
                " in NG" in given.result["messages"][0]["content"]["text"],
                f"{name} does not speak of the country given",
            )

    async def resources(self) -> None:
        said = await self._cli.ask("resources/list")
        must([one["uri"] for one in said.result["resources"]] == RESOURCES, "other resources are listed than the two")
        said = await self._cli.ask("resources/templates/list")
        shown = [one["uriTemplate"] for one in said.result["resourceTemplates"]]
        must(shown == TEMPLATES, f"other templates are listed: {shown}")
        numbers, spending = [await self._read(uri) for uri in RESOURCES]
        must(len(numbers["numbers"]) == len(self._living()), "kros://numbers tells of other numbers than KrosAI's")
        must(spending["monthly_run_rate_cents"] == self._run_rate(), "kros://spending tells another run rate")

    async def owned(self) -> None:
        data = await self._cli.call("list_phone_numbers")
        shown = {number["e164"] for number in data["numbers"]}
        must(shown == self._living(), f"other numbers are listed: {shown}")

    async def search(self) -> None:
        data = await self._cli.call("search_phone_numbers", country="NG", type="local", limit=2)
        self._offers = data["numbers"]
        for_sale = {item.e164 for item in self._sim.inventory.values()}
        must(len(self._offers) == 2, f"{len(self._offers)} numbers were found, not 2")
        must({offer["e164"] for offer in self._offers} <= for_sale, "a number was found that is not for sale")

    async def spending(self) -> None:
        data = await self._cli.call("get_spending")
        must(data["environment"] == "test", f"the environment is {data['environment']}")
        must(data["monthly_run_rate_cents"] == self._run_rate(), f"the run rate is {data['monthly_run_rate_cents']}")

    async def endpoints(self) -> None:
        data = await self._cli.call("list_endpoints")
        shown = [endpoint["endpoint_id"] for endpoint in data["endpoints"]]
        must(set(shown) == set(self._sim.endpoints), f"other endpoints are listed: {shown}")
        self._endpoint = shown[0]

    async def ask_to_buy(self) -> None:
        data = await self._cli.call("buy_phone_number", **self._wish(0))
        must(data["status"] == "confirmation_required", f"the status is {data['status']}")
        must(data["confirmation_code"], "no code was given out, though the CLI shows no prompts")
        must(
            data["quote"]["due_now_cents"] == self._offers[0]["due_now_cents"], "another price is quoted than was found"
        )
        must(not self._sim.charges, "the account was charged before anybody said yes")
        self._operation = data["operation_id"]
        self._offers[0]["code"] = data["confirmation_code"]

    async def buy(self) -> None:
        offer = self._offers[0]
        data = await self._cli.call("buy_phone_number", **self._wish(0), confirmation_code=offer["code"])
        must(
            (data["status"], data["charged"]) == ("done", "yes"),
            f"it ended {data['status']}, charged {data['charged']}",
        )
        must(data["operation_id"] == self._operation, "another operation was confirmed than was asked for")
        self._charged_once()

    async def look(self) -> None:
        data = await self._cli.call("get_phone_number", number_id=self._offers[0]["e164"])
        must(data["number_id"] in self._sim.owned, f"{data['number_id']} is not owned")
        must(data["status"] == "active", f"its status is {data['status']}")

    async def look_in_vain(self) -> None:
        data = await self._cli.call("get_phone_number", exits=TOOL_ERROR, number_id=self._offers[1]["e164"])
        must(data["code"] == "NUMBER_NOT_OWNED", f"the code is {data['code']}")
        must((data["charged"], data["changed"]) == ("no", "no"), "it does not say that nothing happened")

    async def route(self) -> None:
        e164 = self._offers[0]["e164"]
        data = await self._cli.call(
            "configure_phone_number", number_id=e164, endpoint_id=self._endpoint, allow_outbound="off"
        )
        must(
            (data["status"], data["changed"]) == ("done", "yes"),
            f"it ended {data['status']}, changed {data['changed']}",
        )
        number = self._sim.owned_by_e164(e164)
        must(number and number.endpoint_id == self._endpoint, "KrosAI does not route it there")
        must(number and number.allow_inbound and not number.allow_outbound, "KrosAI has other flags")

    async def outcome(self) -> None:
        data = await self._cli.call("get_operation", operation_id=self._operation)
        must((data["status"], data["charged"]) == ("done", "yes"), f"it is {data['status']}, charged {data['charged']}")
        must(data["confirmation_code"] is None, "it shows a code")
        same = await self._read(f"kros://operations/{self._operation}")
        must(same == data, "the operation's resource tells something else than the tool")

    async def acts(self) -> None:
        data = await self._cli.call("list_operations", since="today")
        shown = [(one["operation_id"], one["status"]) for one in data["operations"]]
        must(shown == [(self._operation, "done")], f"other acts are listed: {shown}")
        must(data["charged_cents"] == self._sim.charges[0].cents, f"{data['charged_cents']} cents are told as charged")

    async def withdraw(self) -> None:
        asked = await self._cli.call("buy_phone_number", **self._wish(1))
        must(asked["status"] == "confirmation_required", f"the status is {asked['status']}")
        data = await self._cli.call("cancel_operation", operation_id=asked["operation_id"])
        must(
            (data["status"], data["charged"]) == ("cancelled", "no"),
            f"it is {data['status']}, charged {data['charged']}",
        )
        late = await self._cli.call(
            "buy_phone_number", exits=TOOL_ERROR, **self._wish(1), confirmation_code=asked["confirmation_code"]
        )
        must(late["charged"] == "no", "the code of what was cancelled does not say that nothing was charged")
        self._charged_once()

    async def release(self) -> None:
        e164 = self._offers[0]["e164"]
        asked = await self._cli.call("release_phone_number", number_id=e164)
        must(asked["status"] == "confirmation_required", f"the status is {asked['status']}")
        number = self._sim.owned_by_e164(e164)
        must(number and number.status == "active", "it was released before anybody said yes")
        data = await self._cli.call(
            "release_phone_number", number_id=e164, confirmation_code=asked["confirmation_code"]
        )
        must(
            (data["status"], data["changed"]) == ("done", "yes"),
            f"it ended {data['status']}, changed {data['changed']}",
        )
        must(number and number.status == "inactive", f"at KrosAI it is {number and number.status}")
        self._charged_once()

    def _wish(self, place: int) -> dict[str, Any]:
        # By number and not by inventory_id: over stdio each call is a server of its own, which has seen no search.
        return {name: self._offers[place][name] for name in ("e164", "country", "type")}

    def _charged_once(self) -> None:
        charged = [(charge.e164, charge.cents) for charge in self._sim.charges]
        bought = [(self._offers[0]["e164"], self._offers[0]["due_now_cents"])]
        must(charged == bought, f"KrosAI charged {charged} and not {bought}")

    def _living(self) -> set[str]:
        return {number.e164 for number in self._sim.owned.values() if number.status != "inactive"}

    def _run_rate(self) -> int:
        return sum(number.monthly_cost_cents for number in self._sim.owned.values() if number.status == "active")

    async def _read(self, uri: str) -> dict[str, Any]:
        said = await self._cli.ask("resources/read", "--uri", uri)
        data: dict[str, Any] = json.loads(said.result["contents"][0]["text"])
        return data
