"""What a source hands over of an hour: rows, as a replay needs them. Sources are an archive and production."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

HELD_ROWS: Final = 4_000_000
"""So many changes of an hour are held in memory; more are held in a file without a name."""
LAYOUT: Final = (np.int64, np.int32, np.int16, np.int64)
"""Time (ms), ordinal, key (2 * price + side), delta: 22 bytes a change."""
ROOM: Final = 65_536


class Changes:
    """Changes of some markets, as columns; those of a market lie together, in their order.

    `most`: how many they are at most, if that is known.
    """

    def __init__(self, most: int = 0) -> None:
        self._columns = [_room(kind, most) for kind in LAYOUT]
        self._spans: dict[str, tuple[int, int]] = {}
        self._held, self._room = 0, most

    def add(self, names: Sequence[str], codes: Any, columns: Sequence[Any]) -> None:
        """The next ones: the place of each one's ticker in `names`, and the columns of `LAYOUT`.

        A market's rows come together, in one call or in calls that follow each other.
        """
        held, count = self._held, len(codes)
        if not count:
            return
        self._make_room(held + count)
        for column, values in zip(self._columns, columns, strict=True):
            column[held : held + count] = values
        begins = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
        for first, last in zip(begins.tolist(), [*begins[1:].tolist(), count], strict=True):
            name = names[codes[first]]
            self._spans[name] = (self._spans.get(name, (held + first, 0))[0], held + last)
        self._held += count

    def of(self, ticker: str) -> list[Any]:
        """The market's columns."""
        first, last = self._spans.get(ticker, (0, 0))
        return [column[first:last] for column in self._columns]

    def _make_room(self, rows: int) -> None:
        if rows <= self._room:
            return
        self._room = max(rows, 2 * self._room, ROOM)
        before, self._columns = self._columns, [_room(kind, self._room) for kind in LAYOUT]
        for new, old in zip(self._columns, before, strict=True):
            new[: self._held] = old[: self._held]


def _room(kind: Any, rows: int) -> Any:
    if rows <= HELD_ROWS:
        return np.empty(rows, kind)
    with tempfile.TemporaryFile(prefix="kalshi-fleet-") as file:
        return np.memmap(file, kind, "w+", shape=(rows,))


@dataclass(frozen=True)
class Before:
    """Of the hour before: its gaps, and at least of the markets that they are of the books that it shows."""

    gaps: Any
    books: Any


@dataclass(frozen=True)
class Rows:
    """An hour of some markets: Arrow tables in the archive's columns (`openings`, `gaps`, `books`, `trades`)."""

    hour_ms: int
    recorded_from_ms: int
    """The fleet's first moment."""
    changes: Changes
    openings: Any
    """Levels at the hour's beginning."""
    unopened: Collection[str]
    """Markets whose book at the hour's beginning the source does not have. That of another without a level is empty."""
    gaps: Any
    """Those that touch the hour."""
    books: Any
    """Books that the record shows."""
    trades: Any | None
    """None: they were not asked for."""
    before: Before | None
    """None: it was not asked for, or the source does not have it."""
