"""One page of a list of KrosAI's, with what on it could not be read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from kros_mcp.errors import ProtocolError
from kros_mcp.krosai.wire import read_id

T = TypeVar("T")

LARGEST_PAGE: Final = 100  # items, KrosAI's largest page


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record without a usable identity, such as a number that has no E.164 yet.

    Args:
        name: Its id, or else its place in the list as "entry 3"; the same in every reading of an unchanged list.
        position: KrosAI's offset of it.
        id: Its id, if that alone is usable.
    """

    name: str
    position: int
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list.

    Args:
        items: What could be read, and is left after filtering here.
        total: How many there are in all, if KrosAI says so.
        received: How many items KrosAI sent, the unreadable and the filtered ones too. The next offset is this much
            further.
        positions: KrosAI's offset of each item in `items`.
        unreadable: The records that could not be read, whatever the filter.
    """

    items: tuple[T, ...]
    total: int | None
    received: int
    positions: tuple[int, ...]
    unreadable: tuple[Unreadable, ...] = ()

    @classmethod
    def of(cls, items: Iterable[T], *, total: int | None, offset: int) -> "Page[T]":
        """Make a page of all that KrosAI sent from `offset` on.

        A total below what is already on the table is not a total, and is dropped.
        """
        every = tuple(items)
        end = offset + len(every)
        return cls(every, _stated(total, len(every), end), len(every), tuple(range(offset, end)))

    @classmethod
    def read(cls, raw: Sequence[object], read: Callable[[object], T], *, total: int | None, offset: int) -> "Page[T]":
        """Read all that KrosAI sent from `offset` on with `read`; what is a ProtocolError to it is unreadable."""
        found: dict[int, T] = {}
        unreadable: list[Unreadable] = []
        for position, record in enumerate(raw, start=offset):
            try:
                found[position] = read(record)
            except ProtocolError:
                record_id = read_id(record)
                unreadable.append(Unreadable(record_id or f"entry {position + 1}", position, record_id))
        stated = _stated(total, len(raw), offset + len(raw))
        return cls(tuple(found.values()), stated, len(raw), tuple(found), tuple(unreadable))

    def where(self, fits: Callable[[T], bool]) -> "Page[T]":
        """Keep the items that fit; `total` and `received` stay KrosAI's."""
        kept = [(item, at) for item, at in zip(self.items, self.positions, strict=True) if fits(item)]
        items, positions = tuple(item for item, _ in kept), tuple(at for _, at in kept)
        return Page(items, self.total, self.received, positions, self.unreadable)


def _stated(total: int | None, received: int, end: int) -> int | None:
    return None if total is None or (received and total < end) else total
