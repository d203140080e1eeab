"""What is declared of each tool beside its function: title, annotations, and the scopes that let a caller use it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from mcp.types import ToolAnnotations


class Scope(StrEnum):
    """What a token lets its holder do; those in `OF_PEOPLE` go with no other."""

    READ = "numbers:read"
    CONFIGURE = "numbers:configure"
    BUY = "numbers:buy"
    RELEASE = "numbers:release"
    APPROVE = "numbers:approve"
    AUDIT = "numbers:audit"


ACTING = frozenset({Scope.CONFIGURE, Scope.BUY, Scope.RELEASE})
IN_CONVERSATION = ACTING | {Scope.READ}
OF_PEOPLE = frozenset({Scope.APPROVE, Scope.AUDIT})
"""What opens a page to a person, and no tool to anybody."""
READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)
"""It overwrites what was set before, which is what the hint means by destructive."""
SPENDS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)
DESTROYS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)
WITHDRAWS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


def in_company(scopes: frozenset[Scope]) -> Scope | None:
    """Return the scope among some that goes with no other; None if there is none, or it is alone."""
    return next(iter(sorted(scopes & OF_PEOPLE)), None) if len(scopes) > 1 else None


@dataclass(frozen=True)
class ToolSpec:
    """One tool, beside its function and its schema.

    Args:
        title: For people.
        consequence: Annotations without the title.
        scopes: Any one of them lets a caller use it.
        is_guarded: Whether it acts only after a person's yes.
    """

    title: str
    consequence: ToolAnnotations
    scopes: frozenset[Scope]
    is_guarded: bool = False

    @property
    def annotations(self) -> ToolAnnotations:
        """The annotations, the title among them: some directories and clients look for it nowhere else."""
        return self.consequence.model_copy(update={"title": self.title})


_READ = frozenset({Scope.READ})
TOOL_SPECS: Mapping[str, ToolSpec] = MappingProxyType(
    {
        "list_phone_numbers": ToolSpec("List phone numbers", READS, _READ),
        "get_phone_number": ToolSpec("Show a phone number", READS, _READ),
        "search_phone_numbers": ToolSpec("Search numbers for sale", READS, _READ),
        "list_endpoints": ToolSpec("List endpoints", READS, _READ),
        "get_spending": ToolSpec("Show spending", READS, _READ),
        "buy_phone_number": ToolSpec("Buy a phone number", SPENDS, frozenset({Scope.BUY}), is_guarded=True),
        "configure_phone_number": ToolSpec(
            "Configure a phone number", WRITES, frozenset({Scope.CONFIGURE}), is_guarded=True
        ),
        "release_phone_number": ToolSpec(
            "Release a phone number", DESTROYS, frozenset({Scope.RELEASE}), is_guarded=True
        ),
        "list_operations": ToolSpec("List operations", READS, IN_CONVERSATION),
        "get_operation": ToolSpec("Show an operation", READS, IN_CONVERSATION),
        "cancel_operation": ToolSpec("Cancel an operation", WITHDRAWS, ACTING),
    }
)
"""By name, in no order that matters: `registry` publishes them in its own."""
