"""One hour of production as Parquet files in a folder, read from one snapshot of the database, and checked on the way.

Memory does not grow with the hour: changes are sorted on disk (`spool.py`), everything else comes in its order through
a cursor, some rows at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common import log
from common.book_hash import terms
from common.comparison import EXAMPLES_MAX, Comparison
from common.errors import StorageError
from common.numbers import ONE_MS, datetime_of_ms, ms_of_datetime, us_of_datetime
from common.storage import copy as binary
from deduplicator.archive import tables
from deduplicator.archive.books import NEAR_RESET_MS, BookChecks, Books, Stretches
from deduplicator.archive.crossed import Crossed
from deduplicator.archive.late import Late
from deduplicator.archive.order import ORDINAL_MAX, ROW, Numbers, Order, Rows, rows_of
from deduplicator.archive.reading import Connect, read_changes
from deduplicator.archive.spool import Spool
from deduplicator.archive.trade_order import ArchivedTwins, Placed
from deduplicator.statements import SQL
from deduplicator.store.days import DELTA_LAYOUT

HOUR: Final = timedelta(hours=1)
RUN_ROWS: Final = 250_000
BLOCK_ROWS: Final = 1_000_000
CHECKED_ROWS: Final = 250_000
"""So many are near enough to the processor to be looked at a quarter faster than a whole block."""
EXPORTS: Final = {
    "trades": SQL["export_trades"],
    "tickers": SQL["export_tickers"],
    "lifecycle_events": SQL["export_lifecycle_events"],
    "orderbook_snapshots": SQL["export_orderbook_snapshots"],
    "coverage_gaps": SQL["export_coverage_gaps"],
    "unplaced_deltas": SQL["export_unplaced_deltas"],
    "markets": SQL["export_markets"],
    "events": SQL["export_events"],
    "series": SQL["export_series"],
}
"""Relations whose rows the database gives in their order."""
CURSOR_ROWS: Final = 20_000
GROUP_ROWS: Final = 200_000
Tell = Callable[[str, int], None]
Shown = tuple[int, int, int, int, bool, int]
"""A book: market, exchange millisecond, last ordinal, when it was taken (microseconds), whether it is a reset, hash."""


@dataclass
class Written:
    """What was written: as of which step; the fleet's first moment; rows by relation; markets whose books are not
    sealed past the hour, and channels of all markets that are not, each with whether it ever began; what was checked;
    what came late; trades then placed."""

    at: datetime
    step: int
    recorded_from: datetime
    rows: dict[str, int]
    unsealed: list[str]
    unsealed_channels: dict[str, bool]
    checks: list[Comparison]
    late: Late | None
    placed: list[Placed]


class Hour:
    """The hour from `start` on, into `folder`: `RELATION.parquet` each.

    `connect` makes another connection to the database; `archived` downloads an object of the hour.
    """

    def __init__(
        self,
        connection: asyncpg.Connection,
        connect: Connect,
        start: datetime,
        folder: Path,
        archived: Callable[[str, Path], bool],
        tell: Tell,
    ) -> None:
        self._db, self._connect, self._start, self._until = connection, connect, start, start + HOUR
        self._folder, self._archived, self._tell = folder, archived, tell
        self._start_ms = ms_of_datetime(start)
        self._rows: dict[str, int] = {}
        self._placed: list[Placed] = []

    def path(self, relation: str) -> Path:
        """The file of a relation."""
        return self._folder / f"{relation}.parquet"

    async def write(self) -> Written:
        """All files. Raises what the database, and `archived`, raise."""
        checks: list[Comparison] = []
        late = None
        async with self._db.transaction(isolation="repeatable_read", readonly=True):
            # Before the snapshot: a day that is dropped behind it would be no rows, and not said to be detached.
            await self._db.execute(SQL["keep_days"])
            at, step, begin = await self._db.fetchrow(SQL["export_begins"])
            unsealed = await self._db.fetch(SQL["unsealed"], self._until)
            channels = dict(await self._db.fetch(SQL["unsealed_channels"], self._until))
            if await self._db.fetchval(SQL["is_detached"], self._start):
                late = await self._unite()
            else:
                checks = [*await self._changes(unsealed), await self._check_trades()]
            for name in EXPORTS:
                await self._relation(name)
        markets = [row["ticker"] for row in unsealed]
        return Written(at, step, begin, self._rows, markets, channels, checks, late, self._placed)

    async def _relation(self, name: str) -> None:
        """One of `EXPORTS`."""
        arguments: tuple[Any, ...] = () if name in tables.DAILY else (self._start, self._until)
        if name == "trades":
            arguments += ([trade.trade_id for trade in self._placed], [trade.ordinal for trade in self._placed])
        file = tables.ParquetFile(self.path(name), name)
        rows: list[Any] = []
        cursor = await self._db.cursor(EXPORTS[name], *arguments)
        while part := await cursor.fetch(CURSOR_ROWS):
            rows += part
            if len(rows) >= GROUP_ROWS:
                await asyncio.to_thread(file.write, tables.rows_table(name, rows))
                rows = []
        await asyncio.to_thread(file.write, tables.rows_table(name, rows))
        self._finish(name, file)

    def _finish(self, name: str, file: tables.ParquetFile) -> None:
        file.close()
        self._rows[name] = file.rows
        self._tell(name, file.rows)

    # -- order-book changes --------------------------------------------------------------------------------------

    async def _changes(self, unsealed: list[Any]) -> list[Comparison]:
        """Changes and opening books, compared with the hour's snapshots; and whether a book is ever crossed.

        A book at or behind a market's seal is not: changes before it, or a gap, may still come.
        """
        midnight = self._start.replace(hour=0)
        await self._db.execute(SQL["prefer_index"])
        found = await self._db.fetch(SQL["export_tickers_of_deltas"], midnight, midnight + timedelta(days=1))
        await self._db.execute(SQL["prefer_nothing"])
        tickers = {row["market"]: row["ticker"] for row in found}
        snapshots = await self._snapshots(tickers)
        order = Order(tickers.values(), self._start_ms)
        numbers = Numbers(order, tickers)
        spool = Spool(self._folder)
        await read_changes(
            self._db, self._connect, self._start, self._until, RUN_ROWS, lambda t: spool.add(_rows(t, order, numbers))
        )
        crossed = Crossed(order)
        checks = BookChecks(order, await self._openings(order, numbers, snapshots, crossed))
        await self._write_changes(order, spool, checks, crossed)
        hour = (self._start - NEAR_RESET_MS * ONE_MS, self._until + NEAR_RESET_MS * ONE_MS, list(tickers))
        gaps = [tuple(row) for row in await self._db.fetch(SQL["check_gaps"], *hour)]
        resets = [(*row, row["at"]) for row in await self._db.fetch(SQL["check_resets"], *hour)]
        gaps += [(market, seal - ONE_MS, self._until) for market, _, seal in unsealed if market in tickers]
        checked = checks.result(_stretches(gaps, numbers), _stretches(resets, numbers))
        examples = [
            {"ticker": order.names[code], "exchange_ts": str(datetime_of_ms(ms))}
            for code, ms in checked.wrong[:EXAMPLES_MAX]
        ]
        # A book is known from the changes alone where none is missing, and nothing but changes made it.
        cut = [market for market, _, until in gaps if until > self._start]
        excused = {market for market, _, _ in resets} | set(cut)
        unknown = set(numbers.codes(np.array(sorted(excused & tickers.keys()), np.int64)).tolist())
        failed, first = crossed.result(unknown | (set(range(len(order.names))) - crossed.opened))
        shown = [{"ticker": order.names[code], "exchange_ts": str(datetime_of_ms(ms))} for code, ms in first]
        return [
            Comparison("books", checked.compared, len(checked.wrong), examples=examples),
            Comparison("uncrossed", crossed.compared, failed, examples=shown[:EXAMPLES_MAX]),
        ]

    async def _snapshots(self, tickers: dict[int, str]) -> list[Shown]:
        """Books whose places are known. Their markets join `tickers`."""
        found: list[Shown] = []
        cursor = await self._db.cursor(SQL["check_books"], self._start, self._until)
        while rows := await cursor.fetch(CURSOR_ROWS):
            tickers.update((row["market"], row["ticker"]) for row in rows)
            found += await asyncio.to_thread(_hashed, rows)  # the merge must get its turn
        return found

    async def _openings(self, order: Order, numbers: Numbers, snapshots: list[Shown], crossed: Crossed) -> Books:
        """Write the opening books; returns those that are known, and the snapshots."""
        name = "orderbook_openings"
        of_hour = set(order.names)
        known: dict[str, np.uint64] = {}
        file = tables.ParquetFile(self.path(name), name)
        levels: list[Any] = []
        kept = await self._kept_openings()
        cursor = await self._db.cursor(SQL["export_orderbook_openings"], self._start, self._until)
        while rows := await cursor.fetch(CURSOR_ROWS):
            mine = [row for row in rows if row["known"] and row["ticker"] in of_hour and row["ticker"] not in kept]
            await asyncio.to_thread(_add_hashes, known, mine)
            await asyncio.to_thread(_open_books, crossed, order, mine)
            for row in rows:
                levels += kept.get(row["ticker"], () if row["side"] is None else (row,))
            if len(levels) >= GROUP_ROWS:
                await asyncio.to_thread(file.write, tables.levels_table(levels, self._start_ms))
                levels = []
        await asyncio.to_thread(file.write, tables.levels_table(levels, self._start_ms))
        self._finish(name, file)
        opened = order.codes(known)
        market, ms, ordinal, taken, reset, hashed = (
            (list(column) for column in zip(*snapshots, strict=True)) if snapshots else ([],) * 6
        )
        codes = numbers.codes(np.array(market, np.int64))
        at_ms = np.array(ms, np.int64)
        behind = order.keys(codes, np.maximum(at_ms, self._start_ms), np.array(ordinal, np.int64) + 1)
        return Books(
            np.concatenate((opened, codes)),
            np.concatenate((np.full(len(opened), self._start_ms - 1), at_ms)),
            np.concatenate((order.first(opened), np.where(at_ms < self._start_ms, order.first(codes), behind))),
            np.concatenate((np.full(len(opened), -1), np.array(taken, np.int64))),
            np.concatenate((np.array(list(known.values()), np.uint64), np.array(hashed, np.uint64))),
            np.concatenate((np.zeros(len(opened), bool), np.array(reset, bool))),
        )

    async def _kept_openings(self) -> dict[str, list[dict[str, Any]]]:
        """Levels of opening books as they are archived, of markets whose books cannot be folded here any more."""
        rows = await self._db.fetch(SQL["openings_in_archive"], self._start)
        kept: dict[str, list[dict[str, Any]]] = {row["ticker"]: [] for row in rows}
        before = self._folder / "openings_before.parquet"
        if not kept:
            return kept
        if await asyncio.to_thread(self._archived, "orderbook_openings", before):
            levels = await asyncio.to_thread(tables.levels_of, before, list(kept))
            for level in levels:
                kept[level["ticker"]].append(level)
        return kept

    async def _write_changes(
        self, order: Order, spool: Spool, checks: BookChecks | None = None, crossed: Crossed | None = None
    ) -> None:
        name = "orderbook_deltas"
        file = tables.ParquetFile(self.path(name), name)

        def ready() -> Iterator[Any]:
            for block in spool.blocks(BLOCK_ROWS):
                if checks is not None:
                    checks.add(block)
                if crossed is not None:
                    for at in range(0, len(block), CHECKED_ROWS):
                        crossed.add(block[at : at + CHECKED_ROWS])
                yield tables.deltas_table(block, order)

        def write() -> None:
            for table in _ahead(ready()):
                file.write(table)
            if not file.rows:
                file.write(tables.deltas_table(np.empty(0, ROW), order))

        await asyncio.to_thread(write)
        self._finish(name, file)

    async def _check_trades(self) -> Comparison:
        """Every trade takes a resting order away."""
        check = Comparison("trades")
        cursor = await self._db.cursor(SQL["check_trades"], self._start, self._until)
        while rows := await cursor.fetch(CURSOR_ROWS):
            for row in rows:
                check.compared += row["trades"]
                if row["changes"] < row["trades"]:
                    example = {"ticker": row["ticker"], "exchange_ts": str(row["exchange_ts"])}
                    check.fail(example, row["trades"] - row["changes"])
        return check

    # -- an hour whose changes have left production --------------------------------------------------------------

    async def _unite(self) -> Late:
        """The archive's changes and those that came later, each identity once; opening books as they were."""
        rows = await self._db.fetch(SQL["export_tickers_of_late"], self._start, self._until)
        tickers = {row["market"]: row["ticker"] for row in rows}
        before = self._folder / "before.parquet"
        exported = await self._db.fetchval(SQL["exported_rows"], self._start)
        there = await self._before("orderbook_deltas", before, exported)
        old = pq.ParquetFile(before) if there else None
        if old is not None and old.metadata.num_rows < (exported or 0):
            raise StorageError(_lacking(self._start, f"{old.metadata.num_rows} changes of {exported}"))
        names = await asyncio.to_thread(_tickers, old) if old is not None else set()
        trades = await self._db.fetch(SQL["trades_to_place"], self._start, self._until)
        order = Order({*names, *tickers.values(), *(row["ticker"] for row in trades)}, self._start_ms)
        numbers = Numbers(order, tickers)
        twins = ArchivedTwins(trades, order)
        columns = await binary.read(self._db, DELTA_LAYOUT, SQL["export_late_deltas"], self._start, self._until)
        late = Late(_rows(columns, order, numbers), columns)
        spool = Spool(self._folder)
        if old is not None:
            for batch in old.iter_batches(RUN_ROWS):
                archived = tables.deltas_rows(pa.Table.from_batches([batch]), order)
                late.seen(archived)
                twins.seen(archived)
                await asyncio.to_thread(spool.add, archived)
        new = late.new()
        twins.seen(new)
        spool.add(new)
        self._placed = twins.placed()
        await self._write_changes(order, spool)
        if late.wrong:
            log.get().error("late_rows_contradict_the_archive", hour=self._start.isoformat(), rows=late.wrong)
        await self._old_openings(exported)
        return late

    async def _before(self, relation: str, file: Path, exported: int | None) -> bool:
        """Download what the archive has; False if it never had the hour (`exported`: its changes, null if so).

        The only copy is there: raises `StorageError` rather than replace what is elsewhere by what came late.
        """
        there = await asyncio.to_thread(self._archived, relation, file)
        if not there and exported is not None:
            raise StorageError(_lacking(self._start, f"no {relation}"))
        return there

    async def _old_openings(self, exported: int | None) -> None:
        name = "orderbook_openings"
        if await self._before(name, self.path(name), exported):
            self._rows[name] = pq.ParquetFile(self.path(name)).metadata.num_rows
            return
        file = tables.ParquetFile(self.path(name), name)  # an hour that had no changes: what came late is all there is
        file.write(tables.levels_table([], self._start_ms))
        self._finish(name, file)


def _lacking(hour: datetime, what: str) -> str:
    return (
        f"the archive has {what} of {hour.isoformat()}, which was exported and has left production: copy the objects"
        " that the archive had to the place that it has now (archive.bucket, archive.prefix)"
    )


def _rows(table: Any, order: Order, numbers: Numbers) -> Rows:
    """Of changes as columns, or as a structured array, of production's form."""
    exchange_ms = binary.us_of_timestamps(table["exchange_ts"].astype(np.int64)) // 1000
    key = order.keys(numbers.codes(table["market"].astype(np.int64)), exchange_ms, table["ordinal"])
    names = ("exchange_us", "side", "price", "delta")
    columns = {name: table[name] for name in names}
    return rows_of(key, {**columns, "received_us": binary.us_of_timestamps(table["received_at"].astype(np.int64))})


def _ahead(items: Iterator[Any]) -> Iterator[Any]:
    """The same, each made in another thread while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item


def _hashed(rows: list[Any]) -> list[Shown]:
    return [
        (
            row["market"],
            ms_of_datetime(row["exchange_ts"]),
            row["after_ordinal"] if row["after_ordinal"] <= ORDINAL_MAX else -1,
            us_of_datetime(row["taken_at"]),
            row["is_reset"],
            (_hash(0, row["yes"]) + _hash(1, row["no"])) % (1 << 64),
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


def _open_books(crossed: Crossed, order: Order, rows: list[Any]) -> None:
    """The levels of opening books that are known; a book may have none."""
    codes = order.codes(row["ticker"] for row in rows)
    there = np.array([row["side"] is not None for row in rows], bool)
    values = [(row["side"], row["price"], row["size"]) for row in rows if row["side"] is not None]
    crossed.open(codes, there, *np.array(values, np.int64).reshape(-1, 3).T)


def _stretches(rows: list[tuple[int, datetime, datetime]], numbers: Numbers) -> Stretches:
    market, begin, end = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    times = [np.array([ms_of_datetime(at) for at in column], np.int64) for column in (begin, end)]
    return Stretches(numbers.codes(np.array(market, np.int64)), *times)


def _tickers(file: Any) -> set[str]:
    names: set[str] = set()
    for batch in file.iter_batches(RUN_ROWS, columns=["ticker"]):
        names.update(batch.column(0).cast(pa.string()).unique().to_pylist())
    return names
