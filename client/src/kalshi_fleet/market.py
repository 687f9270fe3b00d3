"""One market's book through time: marks and changes in, events out, hour after hour. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any, Final

import numpy as np

from kalshi_fleet.events import BOOK_CHANNEL, Book, Change, Event, Gap, Levels, Reset, possible, sides
from kalshi_fleet.fold import fold
from kalshi_fleet.timeline import Held, Lost, Mark

PIECE_ROWS: Final = 32_768
NO_MS: Final = -(1 << 62)
SIDES: Final = np.array(["yes", "no"], object)
Part = tuple[Any, list[Event]]
"""Events and their times."""


class Market:
    """A market's book: an hour begins with `open`, time goes by `advance`; `levels` is None while it is not known."""

    def __init__(self, ticker: str) -> None:
        self.ticker = ticker
        self.levels: Levels | None = None
        self.need_ms = NO_MS
        """While the book is lost: it begins again with a book of the exchange from here or later."""
        self._listed: set[tuple[int, str]] = set()
        self._opened = False

    def open(
        self, hour_ms: int, opening: Levels | None, columns: Sequence[Any], marks: Sequence[Mark], lost_until: int
    ) -> list[Event]:
        """Begin an hour: its opening book, the columns (time, ordinal, key, delta) of its changes, and its plan.

        `opening`: None if it is not known. `lost_until`: a gap before the hour that ended there, after which the
        exchange had shown no book when the hour began (`NO_MS`: none). Returns the book, if the opening is another one
        than the changes gave.
        """
        self._at, self._ordinal, self._key, self._delta = columns
        self._marks, self._mark, self._row = marks, 0, 0
        shown: list[Event] = []
        if not self._opened:
            self._opened = True
            if lost_until == NO_MS and opening is not None and possible(opening):
                self.levels = dict(opening)
            else:
                self.need_ms = hour_ms if lost_until == NO_MS else lost_until
        elif self.levels is not None and opening is not None and self.levels != opening and possible(opening):
            self.levels = dict(opening)
            shown.append(self.book(hour_ms, "snapshot"))
        return shown

    def loses(self, at_ms: int) -> bool:
        """Whether the next that happens to the book is that it is lost, at this moment."""
        mark = self._marks[self._mark] if self._mark < len(self._marks) else None
        return isinstance(mark, Lost) and mark.at_ms == at_ms

    def book(self, at_ms: int, reason: str, kind: type[Book] | type[Reset] = Book) -> Event:
        """The whole book, as an event; it must be known."""
        assert self.levels is not None
        return kind(self.ticker, at_ms, *sides(self.levels), reason)

    def advance(self, until_ms: int, *, quiet: bool = False) -> list[Part]:
        """What happens before a moment of the hour. `quiet`: changes are applied and not returned."""
        parts: list[Part] = []
        stop = int(np.searchsorted(self._at, until_ms))
        while self._mark < len(self._marks):
            mark = self._marks[self._mark]
            if mark.at_ms >= until_ms:
                break
            self._mark += 1
            self._changes(max(mark.row, self._row), parts, quiet)
            event = self._lose(mark) if isinstance(mark, Lost) else self._hold(mark)
            if event is not None:
                parts.append((np.array([event.at_ms]), [event]))
        self._changes(stop, parts, quiet)
        return parts

    def _lose(self, mark: Lost) -> Event | None:
        self.levels = None
        self.need_ms = max(self.need_ms, mark.until_ms)
        if (mark.until_ms, mark.reason) in self._listed:
            return None  # it reaches over hours, and each lists it
        self._listed.add((mark.until_ms, mark.reason))
        return Gap(self.ticker, mark.at_ms, mark.until_ms, BOOK_CHANNEL, mark.reason)

    def _hold(self, mark: Held) -> Event | None:
        if self.levels is None:
            if mark.own_ms < self.need_ms or not possible(mark.shown.levels):
                return None
            self.levels, self.need_ms = dict(mark.shown.levels), NO_MS
            return self.book(mark.at_ms, "known_again")
        if self.levels == mark.shown.levels or not possible(mark.shown.levels):
            return None
        self.levels = dict(mark.shown.levels)
        if mark.shown.is_reset:
            return self.book(mark.at_ms, "reset", Reset)
        return self.book(mark.at_ms, "snapshot")

    def _changes(self, stop: int, parts: list[Part], quiet: bool) -> None:
        """Rows up to `stop`; those of a lost book are passed over."""
        while self._row < stop:
            if self.levels is None:
                self._row = stop
                return
            first, last = self._row, min(stop, self._row + PIECE_ROWS)
            self._row = last
            at, key, delta = (np.ascontiguousarray(one[first:last]) for one in (self._at, self._key, self._delta))
            open_ms = int(self._at[last]) if last < len(self._at) else NO_MS
            sizes, bad = fold(self.levels, at, key, delta, open_ms)
            good = len(at) if bad < 0 else int(np.searchsorted(at, at[bad]))
            if not quiet and good:
                parts.append((at[:good], self._events(slice(first, first + good), sizes[:good])))
            if bad >= 0:
                self.levels, self.need_ms = None, int(at[bad]) + 1
                gap = Gap(self.ticker, int(at[bad]), self.need_ms, BOOK_CHANNEL, "impossible_book")
                parts.append((at[bad : bad + 1], [gap]))

    def _events(self, rows: slice, sizes: Any) -> list[Event]:
        key = self._key[rows]
        columns = (
            self._at[rows].tolist(),
            self._ordinal[rows].tolist(),
            SIDES[key & 1].tolist(),
            (key >> 1).tolist(),
            self._delta[rows].tolist(),
            sizes.tolist(),
        )
        # `Change._make` without its frame.
        return list(map(tuple.__new__, repeat(Change), zip(repeat(self.ticker), *columns, strict=False)))
