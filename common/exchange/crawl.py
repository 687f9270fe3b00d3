"""Reading one of the exchange's lists, some pages at a time: it resumes where it was, after a failure or a restart.

Lists have no practical end (docs/assumptions.md), and a page may fail: neither stops another list.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from common.exchange.rest import Page, RestClient

OVERLAP_S: Final = 300.0
"""Clocks differ, and a list is no snapshot: what changed so long before the last reading is asked for again."""
FIRST_CHANGES_S: Final = 86_400.0
"""How far back the first reading of changes goes."""
LEFT_OFF_S: Final = 24 * 3600.0
"""A reading that was left off so long ago begins again: its cursor is of another day."""
Take = Callable[[Page], Awaitable[None]]


@dataclass(frozen=True)
class List:
    """A list: its name here, where it is, and how often it is read. `since`: which filter asks for changes only."""

    name: str
    group: str
    path: str
    field: str
    limit: int
    every_s: float
    filters: Mapping[str, str]
    since: str = ""


class Crawl:
    """How far one list is read. Times in seconds since 1970; `whole_s`: when the last whole reading began, or 0."""

    def __init__(self, what: List, clock: Callable[[], float] = time.time) -> None:
        self.what, self._clock = what, clock
        self.began_s = self.whole_s = self.since_s = 0.0
        self.cursor = ""
        self.pages = self.rows = 0

    @property
    def reading(self) -> bool:
        """Whether it stands in the midst of the list."""
        return bool(self.cursor)

    def due(self) -> bool:
        """Whether there is something to read now."""
        return self.reading or not self.whole_s or self._clock() - self.whole_s >= self.what.every_s

    def begin_again(self) -> None:
        """Forget where it was: from the first page on."""
        self.cursor = ""

    async def read(self, rest: RestClient, take: Take, pages_max: int, extra: Mapping[str, str]) -> bool:
        """Read on, at most so many pages; true once the end is reached. What was taken is not asked for again."""
        if self.reading and self._clock() - self.began_s > LEFT_OFF_S:
            self.begin_again()  # what is new stands on the first pages
        if not self.reading:
            self.began_s = self._clock()
            self.pages = self.rows = 0
            self.since_s = (self.whole_s or self.began_s - FIRST_CHANGES_S) - OVERLAP_S
        query: dict[str, str | int] = {**self.what.filters, **extra}
        if self.what.since:
            query[self.what.since] = int(self.since_s)
        for _ in range(pages_max):
            page, following = await rest.page(self.what.path, self.what.field, self.what.limit, self.cursor, **query)
            await take(page)
            self.pages, self.rows, self.cursor = self.pages + 1, self.rows + len(page), following
            if not following:
                return True
        return False

    def finish(self) -> None:
        """The end of the list was reached, and what it showed is believed."""
        self.whole_s = self.began_s
