"""The order in which the pages of a list are read outward from a place (krosai-api.md, section 9, rule 6)."""

from kros_mcp.krosai.pages import LARGEST_PAGE, Page
from kros_mcp.krosai.wire import AvailableNumber


class Walk:
    """Plans a reading outward from one place: around it, then after it and before it by turns.

    Args:
        position: KrosAI's offset to begin around; None begins at the start of the list.
    """

    def __init__(self, position: int | None) -> None:
        self._low = max(0, (position or 0) - LARGEST_PAGE // 2)  # everything from here ...
        self._high = self._low  # ... up to here was read
        self._backward = True  # so that the first page, around the place, counts as a forward one
        self._end_reached = False
        self._gap = False
        self._step = LARGEST_PAGE
        self._short_page = 0  # a page that was not full: either the end, or KrosAI gives no more at once
        self._seen: set[str] = set()

    @property
    def over(self) -> bool:
        """Whether no page is left to read."""
        return self._end_reached and self._low == 0

    @property
    def complete(self) -> bool:
        """Whether the list was read from its start to its end, without a gap."""
        return self.over and not self._gap

    def next(self) -> tuple[int, int]:
        """Name the next page to read, as offset and limit."""
        unsure = bool(self._short_page) and not self._end_reached
        self._backward = self._low > 0 and (self._end_reached or not (self._backward or unsure))
        if not self._backward:
            return self._high, LARGEST_PAGE
        offset = max(0, self._low - self._step)
        return offset, self._low - offset

    def saw(self, page: Page[AvailableNumber]) -> None:
        """Take note of the page that `next` named.

        A page that repeats only what was seen means that KrosAI ignores `offset`: nothing more can be read.
        """
        ids = {item.inventory_id for item in page.items}
        if ids and ids <= self._seen:
            self._gap = self._gap or self._low > 0 or page.received >= LARGEST_PAGE
            self._end_reached, self._low = True, 0
            return
        self._seen |= ids
        if self._backward:
            self._saw_before(page)
        else:
            self._saw_after(page)

    def _saw_before(self, page: Page[AvailableNumber]) -> None:
        offset = max(0, self._low - self._step)
        self._gap = self._gap or page.received < self._low - offset
        self._low = offset

    def _saw_after(self, page: Page[AvailableNumber]) -> None:
        if not page.received and self._high == self._low > 0:  # the list is shorter than it was: begin anew
            self._low = self._high = 0
            return
        if self._short_page and page.received:
            self._step, self._short_page = self._short_page, 0
        elif 0 < page.received < self._step:
            self._short_page = page.received
        self._high += page.received
        self._end_reached = not page.received or (page.total is not None and self._high >= page.total)
