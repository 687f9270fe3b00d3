"""The exact start: a step, and of some markets the books and last trades of production as of that step.

All from one snapshot of the database, so that what follows in the feed is exactly what is not in it: no overlap, no
hole, nothing to tell apart. A book keeps the changes after the last book that the exchange showed, as a book that
comes later may stand before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import asyncpg

from kalshi_fleet.events import BOOK_CHANNEL, Levels, sides
from kalshi_fleet.feed import SETTINGS, Step
from kalshi_fleet.moments import of_ms
from kalshi_fleet.statements import SQL

Place = tuple[int, int]
"""Exchange millisecond, ordinal."""
BEFORE_ALL: Final[Place] = (-(1 << 62), -1)
TRADES: Final = 100
CHANGES_MORE: Final = 200_000
"""A book that has so many changes more than at its start is begun again: the exchange has shown none meanwhile."""


@dataclass
class LiveBook:
    """A market's book of a step, as production has it."""

    ticker: str
    base: Place = BEFORE_ALL
    """Of the last book of the exchange."""
    is_reset: bool = False
    levels: Levels = field(default_factory=dict)
    """Of the base."""
    changes: dict[Place, tuple[int, int]] = field(default_factory=dict)
    """After it: level, delta."""
    gaps: dict[tuple[int, int], str] = field(default_factory=dict)
    """Listed stretches of the book: from, up to (ms): the reason."""

    @property
    def known(self) -> bool:
        """Whether no gap touches it: since the last book of the exchange all changes are proven to be there."""
        return all(until <= self.base[0] for _, until in self.gaps)

    def current(self) -> Levels:
        """2 * price + side (0 yes, 1 no) -> size, after all changes. In a gap: the best known."""
        found = dict(self.levels)
        for level, delta in self.changes.values():
            if size := found.get(level, 0) + delta:
                found[level] = size
            else:
                found.pop(level, None)
        return found

    def sides(self) -> tuple[dict[int, int], dict[int, int]]:
        """Bids of yes and of no, price (1e-4 dollar) -> size (1e-2 contract), best first."""
        return sides(self.current())

    def change(self, exchange_ms: int, ordinal: int, side: int, price: int, delta: int) -> None:
        """A change; one from before the base is in it."""
        if (exchange_ms, ordinal) > self.base:
            self.changes[exchange_ms, ordinal] = (2 * price + side, delta)

    def replace(self, place: Place, is_reset: bool, yes: Sequence[int], no: Sequence[int]) -> None:
        """A book of the exchange; one from before the base adds nothing, nor one of a reset's place."""
        if (place, is_reset) < (self.base, self.is_reset):
            return
        self.base, self.is_reset = place, is_reset
        shown = ((0, yes), (1, no))
        self.levels = {
            2 * price + side: size for side, pairs in shown for price, size in zip(pairs[::2], pairs[1::2], strict=True)
        }
        self.changes = {at: change for at, change in self.changes.items() if at > self.base}


@dataclass
class Start:
    """What production holds at a step, of some markets; `apply` takes the next steps.

    `books`: by ticker; a market that production does not know has none. `trades`: the last ones, by ticker, as
    (exchange ms, ordinal or None, YES price, count, taker side 0 or 1), in the exchange's order.
    """

    step: int
    committed_at: datetime | None
    books: dict[str, LiveBook]
    trades: dict[str, list[tuple[int, int | None, int, int, int]]]
    most_changes: dict[str, int] = field(default_factory=dict, repr=False)
    """By ticker: with more than so many after its base a book is begun again."""

    def apply(self, step: Step) -> list[str]:
        """Take the next step into the books. Returns tickers that need another `snapshot`, and are dropped here: a
        reset that was accepted is contradicted, the step is not whole, or the exchange has shown no book for long.

        Raises `ValueError` for a step that is not the next.
        """
        if step.step != self.step + 1:
            raise ValueError(f"step {step.step} does not follow step {self.step}")
        self.step, self.committed_at = step.step, step.committed_at
        lost = set() if step.whole else set(self.books)
        for row in self._rows(step, "changes", ("exchange_ms", "ordinal", "side", "price", "delta")):
            self.books[row[0]].change(*row[1:])
        for ticker, ms, after, is_reset, yes, no, verified in self._rows(
            step, "books", ("exchange_ms", "after_ordinal", "is_reset", "yes", "no", "verified")
        ):
            book = self.books[ticker]
            if verified is not False:
                book.replace((ms, after), is_reset, yes, no)
            elif is_reset and (ms, after) >= book.base:
                lost.add(ticker)
        self._gaps(step)
        lost |= {
            name for name, book in self.books.items() if len(book.changes) > self.most_changes.get(name, CHANGES_MORE)
        }
        for ticker in lost:
            del self.books[ticker]
        return sorted(lost)

    def _gaps(self, step: Step) -> None:
        for ticker, event, channel, begin, end, reason in self._rows(
            step, "gaps", ("event", "channel", "from_ms", "to_ms", "reason")
        ):
            if channel != BOOK_CHANNEL:
                continue
            gaps = self.books[ticker].gaps
            for within in [one for one in gaps if begin <= one[0] and one[1] <= end]:
                del gaps[within]
            if event in ("added", "left"):
                gaps[begin, end] = reason

    def _rows(self, step: Step, table: str, columns: Iterable[str]) -> list[tuple[Any, ...]]:
        found = step.tables.get(table)
        if found is None:
            return []
        rows = zip(*(found[name].to_pylist() for name in ("ticker", *columns)), strict=True)
        return [row for row in rows if row[0] in self.books]


async def snapshot(dsn: str, tickers: Iterable[str], trades: int = TRADES) -> Start:
    """The start for these markets, with so many last trades of each (of the last day)."""
    db = await asyncpg.connect(dsn, server_settings=SETTINGS)
    try:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            at = await db.fetchrow(SQL["feed_now"])
            start = Start(at["step"], at["committed_at"], {}, {})
            for market, ticker in await db.fetch(SQL["feed_numbers"], sorted(set(tickers))):
                book = start.books[ticker] = await _book(db, market, ticker)
                start.most_changes[ticker] = len(book.changes) + CHANGES_MORE
                start.trades[ticker] = [tuple(row) for row in await db.fetch(SQL["feed_trades"], market, trades)]
        return start
    finally:
        db.terminate()


async def _book(db: asyncpg.Connection, market: int, ticker: str) -> LiveBook:
    book = LiveBook(ticker)
    base = await db.fetchrow(SQL["feed_base"], market)
    if base is not None:
        place = (base["exchange_ms"], base["after_ordinal"])
        book.replace(place, base["is_reset"], base["yes"] or [], base["no"] or [])
    since = of_ms(max(book.base[0], 0))
    for row in await db.fetch(SQL["feed_changes"], market, since, book.base[1]):
        book.change(*row)
    for begin, end, reason in await db.fetch(SQL["feed_gaps"], ticker, since):
        book.gaps[begin, end] = reason
    return book
