"""An hour whose changes are in production: changes and opening books, checked on the way (rule 8).

Memory does not grow with the hour: changes are sorted on disk (`spool.py`), everything else comes in its order through
a cursor, some rows at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np

from common.book_hash import terms
from common.comparison import EXAMPLES_MAX, Comparison
from common.contract.sides import NO, YES
from common.numbers import ONE_MS, datetime_of_ms, ms_of_datetime, us_of_datetime
from deduplicator.archive import changes, tables
from deduplicator.archive.books import NEAR_RESET_MS, BookChecks, PlacedBooks, Stretches
from deduplicator.archive.crossed import CrossedHour
from deduplicator.archive.files import Files
from deduplicator.archive.order import ORDINAL_MAX, Numbers, Order, Rows
from deduplicator.archive.reading import read_changes
from deduplicator.archive.source import Source
from deduplicator.archive.spool import Spool
from deduplicator.statements import SQL

RUN_ROWS: Final = 250_000
CHECKED_ROWS: Final = 250_000
"""So many are near enough to the processor to be looked at a quarter faster than a whole block."""
OPENINGS: Final = "orderbook_openings"


class ShownBook(NamedTuple):
    """A book: its last change (`after_ordinal` -1: of a place without one), when it was taken, its hash."""

    market: int
    at_ms: int
    after_ordinal: int
    taken_us: int
    is_reset: bool
    hash: int


class MarketStretch(NamedTuple):
    """A stretch of a market's time."""

    market: int
    start: datetime
    end: datetime


class Whole:
    """The hour of `source`, into `files`."""

    def __init__(self, source: Source, files: Files) -> None:
        self._source, self._files = source, files

    async def write(self, unsealed: Sequence[Any]) -> list[Comparison]:
        """Changes and opening books, compared with the hour's snapshots; and whether a book is ever crossed, and a
        trade has its change.

        A book at or past a market's seal is not: changes before it, or a gap, may still come.
        """
        source = self._source
        tickers = await self._tickers()
        snapshots = await self._snapshots(tickers)
        order = Order(tickers.values(), source.start_ms)
        numbers = Numbers(order, tickers)
        spool = Spool(self._files.folder)
        await read_changes(source, RUN_ROWS, lambda table: spool.add(changes.rows(table, order, numbers)))
        crossed = CrossedHour(order)
        books = BookChecks(order, await self._openings(order, numbers, snapshots, crossed))

        def look(block: Rows) -> None:
            books.add(block)
            for at in range(0, len(block), CHECKED_ROWS):
                crossed.add(block[at : at + CHECKED_ROWS])

        await changes.write(self._files, order, spool, look)
        around = (source.start - NEAR_RESET_MS * ONE_MS, source.until + NEAR_RESET_MS * ONE_MS, list(tickers))
        gaps = [MarketStretch(*row) for row in await source.db.fetch(SQL["check_gaps"], *around)]
        gaps += [
            MarketStretch(market, seal - ONE_MS, source.until) for market, _, seal in unsealed if market in tickers
        ]
        resets = [
            MarketStretch(row["market"], row["at"], row["at"])
            for row in await source.db.fetch(SQL["check_resets"], *around)
        ]
        checked = books.result(_stretches(gaps, numbers), _stretches(resets, numbers))
        # A book is known from the changes alone where none is missing, and nothing but changes made it.
        excused = {reset.market for reset in resets} | {gap.market for gap in gaps if gap.end > source.start}
        unknown = set(numbers.codes(np.array(sorted(excused & tickers.keys()), np.int64)).tolist())
        failed, first = crossed.result(unknown | (set(range(len(order.names))) - crossed.opened))
        return [
            Comparison("books", checked.compared, len(checked.wrong), examples=_examples(order, checked.wrong)),
            Comparison("uncrossed", crossed.compared, failed, examples=_examples(order, first)),
            await self._trades(),
        ]

    async def _tickers(self) -> dict[int, str]:
        """Markets with changes on the hour's day."""
        db, midnight = self._source.db, self._source.start.replace(hour=0)
        await db.execute(SQL["prefer_index"])
        found = await db.fetch(SQL["export_tickers_of_deltas"], midnight, midnight + timedelta(days=1))
        await db.execute(SQL["prefer_nothing"])
        return {row["market"]: row["ticker"] for row in found}

    async def _snapshots(self, tickers: dict[int, str]) -> list[ShownBook]:
        """Books whose places are known. Their markets join `tickers`."""
        found: list[ShownBook] = []
        async for rows in self._source.parts(SQL["check_books"], *self._source.span):
            tickers.update((row["market"], row["ticker"]) for row in rows)
            found += await asyncio.to_thread(_hashed, rows)  # the merge must get its turn
        return found

    async def _openings(
        self, order: Order, numbers: Numbers, snapshots: list[ShownBook], crossed: CrossedHour
    ) -> PlacedBooks:
        """Write the opening books; returns those that are known, and the snapshots."""
        source = self._source
        of_hour = set(order.names)
        known: dict[str, np.uint64] = {}
        kept = await self._kept_openings()
        async with self._files.grouped(OPENINGS, lambda rows: tables.levels_table(rows, source.start_ms)) as add:
            async for rows in source.parts(SQL["export_orderbook_openings"], *source.span):
                mine = [row for row in rows if row["known"] and row["ticker"] in of_hour and row["ticker"] not in kept]
                await asyncio.to_thread(_add_hashes, known, mine)
                await asyncio.to_thread(_open_books, crossed, order, mine)
                levels: list[Any] = []
                for row in rows:
                    levels += kept.get(row["ticker"], () if row["side"] is None else (row,))
                await add(levels)
        return _books(order, numbers, known, snapshots)

    async def _kept_openings(self) -> dict[str, list[dict[str, Any]]]:
        """Levels of opening books as they are archived, of markets whose books cannot be folded here any more."""
        source = self._source
        rows = await source.db.fetch(SQL["openings_in_archive"], source.start)
        kept: dict[str, list[dict[str, Any]]] = {row["ticker"]: [] for row in rows}
        before = self._files.folder / "openings_before.parquet"
        if not kept:
            return kept
        if await asyncio.to_thread(source.archived, OPENINGS, before):
            levels = await asyncio.to_thread(tables.levels_of, before, list(kept))
            for level in levels:
                kept[level["ticker"]].append(level)
        return kept

    async def _trades(self) -> Comparison:
        """Every trade takes a resting order away."""
        check = Comparison("trades")
        async for rows in self._source.parts(SQL["check_trades"], *self._source.span):
            for row in rows:
                check.compared += row["trades"]
                if row["changes"] < row["trades"]:
                    example = {"ticker": row["ticker"], "exchange_ts": str(row["exchange_ts"])}
                    check.fail(example, row["trades"] - row["changes"])
        return check


def _examples(order: Order, wrong: Iterable[tuple[int, int]]) -> list[dict[str, str]]:
    """The first of the places (code, millisecond) that are wrong."""
    shown = [{"ticker": order.names[code], "exchange_ts": str(datetime_of_ms(ms))} for code, ms in wrong]
    return shown[:EXAMPLES_MAX]


def _stretches(rows: list[MarketStretch], numbers: Numbers) -> Stretches:
    market, begin, end = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    times = [np.array([ms_of_datetime(at) for at in column], np.int64) for column in (begin, end)]
    return Stretches(numbers.codes(np.array(market, np.int64)), *times)


# -- books and their hashes --------------------------------------------------------------------------------------------


def _books(order: Order, numbers: Numbers, known: dict[str, np.uint64], snapshots: list[ShownBook]) -> PlacedBooks:
    """The opening books that are known, by ticker with their hashes, and the snapshots."""
    hour_ms = order.hour_ms
    opened = order.codes(known)
    market, ms, ordinal, taken, reset, hashed = (
        (list(column) for column in zip(*snapshots, strict=True)) if snapshots else ([],) * 6
    )
    codes = numbers.codes(np.array(market, np.int64))
    at_ms = np.array(ms, np.int64)
    after = order.keys(codes, np.maximum(at_ms, hour_ms), np.array(ordinal, np.int64) + 1)
    return PlacedBooks(
        np.concatenate((opened, codes)),
        np.concatenate((np.full(len(opened), hour_ms - 1), at_ms)),
        np.concatenate((order.first(opened), np.where(at_ms < hour_ms, order.first(codes), after))),
        np.concatenate((np.full(len(opened), -1), np.array(taken, np.int64))),
        np.concatenate((np.array(list(known.values()), np.uint64), np.array(hashed, np.uint64))),
        np.concatenate((np.zeros(len(opened), bool), np.array(reset, bool))),
    )


def _hashed(rows: list[Any]) -> list[ShownBook]:
    return [
        ShownBook(
            row["market"],
            ms_of_datetime(row["exchange_ts"]),
            row["after_ordinal"] if row["after_ordinal"] <= ORDINAL_MAX else -1,
            us_of_datetime(row["taken_at"]),
            row["is_reset"],
            (_hash(YES, row["yes"]) + _hash(NO, row["no"])) % (1 << 64),
        )
        for row in rows
    ]


def _hash(side: int, flat: list[int]) -> int:
    levels = np.array(flat, np.int64).reshape(-1, 2)
    return int(terms(np.full(len(levels), side), levels[:, 0], levels[:, 1]).sum(dtype=np.uint64))


def _add_hashes(known: dict[str, np.uint64], rows: list[Any]) -> None:
    """What the levels of opening books add to the hashes of their books."""
    for row in rows:
        known.setdefault(row["ticker"], np.uint64(0))
    levels = [row for row in rows if row["side"] is not None]
    values = np.array([(row["side"], row["price"], row["size"]) for row in levels], np.int64).reshape(-1, 3)
    with np.errstate(over="ignore"):
        for row, term in zip(levels, terms(values[:, 0], values[:, 1], values[:, 2]), strict=True):
            known[row["ticker"]] += term


def _open_books(crossed: CrossedHour, order: Order, rows: list[Any]) -> None:
    """The levels of opening books that are known; a book may have none."""
    codes = order.codes(row["ticker"] for row in rows)
    there = np.array([row["side"] is not None for row in rows], bool)
    values = [(row["side"], row["price"], row["size"]) for row in rows if row["side"] is not None]
    crossed.open(codes, there, *np.array(values, np.int64).reshape(-1, 3).T)
