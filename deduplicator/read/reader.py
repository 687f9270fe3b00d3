"""Reading one gatherer: contiguous batches, as a `Copy` a lane, with market numbers translated to production's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final

import asyncpg
import numpy as np

from common import log
from common.config.schema import GathererSource, MergeConfig
from common.contract.deltas import RECORDED_LAYOUT, Deltas
from common.contract.tables import HOURLY, OF_MARKETS
from common.distinct import distinct
from common.errors import StorageError, described
from common.recent import Recent
from common.storage import copy as binary
from common.storage import migrate
from common.storage.database import DATABASE_ERRORS, REFUSALS, connect
from deduplicator.merge.assembly import assemble
from deduplicator.merge.copies import Copy, RunKey
from deduplicator.merge.dropped import strip_dropped_rows
from deduplicator.merge.identity import I64
from deduplicator.read.chain import Cursor, PutBack, as_columns, differ, why_put_back
from deduplicator.statements import SQL

TABLES: Final = {
    "slices": SQL["read_slices"],
    "runs": SQL["read_runs"],
    "run_events": SQL["read_run_events"],
    "horizons": SQL["read_horizons"],
    "snapshots": SQL["read_snapshots"],
    "trades": SQL["read_trades"],
    "tickers": SQL["read_tickers"],
    "lifecycle": SQL["read_lifecycle"],
    "quarantine": SQL["read_quarantine"],
    "rest_books": SQL["read_rest_books"],
}
"""Of a gatherer, other than its changes: what reads a table's rows of some batches."""
Allot = Callable[[list[str]], Awaitable[dict[str, int]]]
Known = Callable[[int], Awaitable[list[Cursor]]]
"""What production remembers of a lane's batches."""


@dataclass
class Batches:
    """What was read of one lane: the copy for the merge, and the rows of the channels without ordinals."""

    copy: Copy
    numbers: Mapping[Any, int]
    """Production's numbers of the markets, by what the rows below call them."""
    trades: Sequence[Any] = ()
    tickers: Sequence[Any] = ()
    lifecycle: Sequence[Any] = ()
    quarantine: Sequence[Any] = ()
    rest_books: Sequence[Any] = ()
    received_us: int = 0
    frames: int = 0
    unknown_fields: Sequence[str] = ()
    """Fields that the exchange sends and no row keeps, first come across in these batches: `TYPE.FIELD`."""
    digests: Sequence[Cursor] = ()
    """Of each batch."""
    again_until_us: int = 0
    """What was received up to then has been counted: the lane was put back, and is read again."""

    @property
    def end(self) -> Cursor:
        """How far the lane is read with this."""
        digest = self.digests[-1].digest if self.digests else b""
        return Cursor(self.copy.to_batch, digest, self.again_until_us)


KEPT: Final = tuple(table for table in TABLES if table in {one.name for one in fields(Batches)})
"""The tables whose rows go on as they are; those of the others are the copy's."""


@dataclass
class News:
    """What one look at a gatherer brought."""

    batches: list[Batches] = field(default_factory=list)
    put_back: list[PutBack] = field(default_factory=list)
    waiting: dict[int, str] = field(default_factory=dict)
    """By lane: why it cannot be read; the others were."""
    remembered: list[Copy] = field(default_factory=list)
    """Changes of batches that were stored before the merge's state was made."""
    over: dict[RunKey, str] = field(default_factory=dict)
    """Slices that are open in production and of which nothing will come any more, each with the reason."""
    over_known: bool = False
    """Whether it was looked for, and no more may come to be over."""
    agreeing: set[int] = field(default_factory=set)
    """Lanes that are read on from where they are: the chain goes through the place, or there is neither."""
    there: set[int] = field(default_factory=set)
    """Those of them that the gatherer has: the place may be acknowledged."""


class MissingBatch(StorageError):
    """A batch, or rows of one, are missing, and nobody listed them as dropped unread."""


class SameDatabase(StorageError):
    """Another gatherer that is read is the same database, or a copy of it: a cloned disk, or one address twice."""


class Reader:
    """One gatherer's database. `instance` is known once it has answered; `gatherer` is production's number of it."""

    def __init__(self, source: GathererSource, limits: MergeConfig, allot: Allot) -> None:
        self.id = source.id
        self._dsn, self._limits, self._allot = source.dsn.get_secret_value(), limits, allot
        self._connection: asyncpg.Connection | None = None
        self._numbers: Recent[int, int] = Recent()
        self.instance = ""
        self.gatherer = 0
        self.unread_batches = 0

    async def open(self) -> str:
        """Connect; returns the instance's uuid. Raises `StorageError`."""
        self._connection = await connect(self._dsn, self._limits.timeout)
        await migrate.check(self._connection, "gatherer", "fleet migrate --config <the gatherer's file>")
        # An hour of changes has no statistics while it is written: the planner would read the whole of it each time.
        await self._connection.execute(SQL["read_by_index"])
        before, self.instance = self.instance, str(await self._connection.fetchval(SQL["read_instance"]))
        if self.instance != before:
            self._forget_numbers()  # a machine rebuilt under the same name has its own numbers of markets
        return self.instance

    def disown(self) -> None:
        """Its instance is read by another: this one is nobody until it opens another."""
        self.instance, self.gatherer = "", 0

    async def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None and not self._connection.is_closed()

    async def read(
        self,
        cursors: Mapping[int, Cursor],
        known: Known,
        takes: Callable[[int], bool] = lambda lane: True,
        batches_max: int | None = None,
    ) -> News:
        """What is new after the cursors, up to the configured limits, a lane each, of the lanes that are taken.

        All chains are looked at before any row is read: a database that was put back gives markets' numbers to others.
        """
        news = News()
        self.unread_batches = 0
        found: dict[int, list[asyncpg.Record]] = {}
        lasts = {row["lane"]: Cursor(row["batch"], row["digest"]) for row in await self._db().fetch(SQL["read_lanes"])}
        for lane in sorted(filter(takes, {*lasts, *cursors})):
            place, last = cursors.get(lane, Cursor()), lasts.get(lane, Cursor())
            reason = why_put_back(place, last)
            if not reason and last.batch > place.batch:
                rows = await self._db().fetch(
                    SQL["read_batches"], lane, place.batch, batches_max or self._limits.read_batches_max
                )
                follows = rows and rows[0]["batch"] == place.batch + 1  # or the batches between them are gone
                if follows and differ(rows[0]["previous"], place.digest):
                    reason = f"its batch {rows[0]['batch']} follows another one than was read"
                found[lane] = rows
            if reason:
                found.pop(lane, None)
                self._forget_numbers()
                again = await self._db().fetchrow(SQL["read_common"], lane, *as_columns(await known(lane)))
                back = Cursor(again["batch"], again["digest"])
                news.put_back.append(PutBack(lane, place, last.batch, back, reason))
            else:
                news.agreeing.add(lane)
        news.there = news.agreeing & lasts.keys()
        for lane, rows in found.items():
            try:
                if rows:
                    news.batches.append(await self._lane(lane, cursors.get(lane, Cursor()), rows))
            except (MissingBatch, *REFUSALS) as error:
                news.waiting[lane] = f"cannot be read: {error}"
            except DATABASE_ERRORS:
                raise
            except Exception as error:  # whatever it is, it is this lane's: the others are read
                log.get().exception("lane_unreadable", gatherer=self.id, lane=lane)
                news.waiting[lane] = f"cannot be read: {described(error)}"
        return news

    async def _lane(self, lane: int, place: Cursor, rows: list[asyncpg.Record]) -> Batches:
        """What these rows of `batches` stand for, or as much of it as is read at once."""
        done = place.batch
        dropped = await self._dropped(lane, done)
        if (first := rows[0]["batch"]) > done + 1 and await self._are_gone(lane, range(done + 1, first), dropped):
            self.unread_batches += len(rows)
            return await self._hole(lane, range(done + 1, first), Cursor(first - 1, rows[0]["previous"]), place)
        inside = _gone(rows[0], dropped)
        taken: list[asyncpg.Record] = []
        total = 0
        for row in rows:
            if row["batch"] != (expected := done + len(taken) + 1):
                if taken and await self._are_gone(lane, range(expected, row["batch"]), dropped):
                    break
                raise MissingBatch(f"{self.id}: batch {done + len(taken) + 1} of lane {lane} is missing")
            total += row["delta_rows"]
            same = inside == _gone(row, dropped)
            follows = not taken or not differ(row["previous"], taken[-1]["digest"])
            if taken and (total > self._limits.read_rows_max or not same or not follows):
                break
            taken.append(row)
        self.unread_batches += len(rows) - len(taken)
        result = await self._batches(lane, done + 1, taken, dropped=inside)
        result.digests = [Cursor(row["batch"], row["digest"]) for row in taken]
        result.again_until_us = place.again_until_us
        return result

    async def recent(self, lane: int, until_batch: int, since_us: int) -> Copy | None:
        """The changes of batches up to one, as far as they were received since a time; only the changes."""
        limits = (until_batch, since_us, self._limits.recent_rows_max)
        found = await self._db().fetchrow(SQL["read_recent"], lane, *limits)
        if found["first"] is None:
            return None
        copy = Copy(self.gatherer, lane, found["first"], found["last"])
        copy.deltas = await self._deltas(lane, found["first"], found["last"], found["loaded_from"], found["loaded_to"])
        numbers = await self._translate(set(distinct(copy.deltas.market).tolist()))
        copy.deltas.market = _mapped(copy.deltas.market, numbers)
        return copy

    async def missing_slices(self, slices: list[tuple[int, int, int]]) -> list[tuple[int, int, bool]]:
        """Which of these (lane, slice, until when its lane was read in µs) the gatherer does not have; whether they are
        lost, or may still be loaded from the journal."""
        rows = await self._db().fetch(SQL["read_missing_slices"], *(map(list, zip(*slices, strict=True))))
        return [(row["lane"], row["slice"], row["lost"]) for row in rows]

    async def acknowledge(self, consumer: str, epoch: int, lane: int, batch: int) -> bool:
        """Acknowledge to the gatherer what is stored in production; whether it took that: it knows no newer epoch."""
        return bool(await self._db().fetchval(SQL["acknowledge"], consumer, epoch, lane, batch))

    async def _are_gone(self, lane: int, batches: range, dropped: Sequence[range]) -> bool:
        """Whether batches that are not there were dropped: the lane begins after them, or they are listed."""
        if not await self._db().fetchval(SQL["any_batch_before"], lane, batches.start):
            return True
        return all(any(batch in stretch for stretch in dropped) for batch in batches)

    async def _hole(self, lane: int, batches: range, end: Cursor, place: Cursor) -> Batches:
        """Batches that are gone, as a copy that was dropped. What continues of what began in them is still there."""
        copy = Copy(self.gatherer, lane, batches.start, end.batch)
        limits = (lane, copy.from_batch, copy.to_batch)
        slices, runs = (
            await self._db().fetch(SQL["read_slices"], *limits),
            await self._db().fetch(SQL["read_runs"], *limits),
        )
        numbers = await self._translate({row["market"] for row in runs})
        assemble(copy, {"slices": slices, "runs": runs}, numbers)
        self._strip(copy)
        return Batches(copy, numbers, digests=[end], again_until_us=place.again_until_us)

    def _strip(self, copy: Copy) -> None:
        strip_dropped_rows(copy)
        stretch = {"from_batch": copy.from_batch, "to_batch": copy.to_batch}
        log.get().error("dropped_unread", gatherer=self.id, lane=copy.lane, **stretch)

    async def _dropped(self, lane: int, done: int) -> list[range]:
        rows = await self._db().fetch(SQL["read_dropped"], lane, done)
        return [range(row["from_batch"], row["to_batch"] + 1) for row in rows]

    async def _batches(self, lane: int, first: int, rows: list[asyncpg.Record], *, dropped: bool) -> Batches:
        last = rows[-1]["batch"]
        copy = Copy(self.gatherer, lane, first, last)
        copy.delta_frames = sum(row["delta_frames"] for row in rows)
        copy.quarantined = sum(row["delta_poisoned"] for row in rows)
        result = Batches(copy, {}, received_us=rows[-1]["received_us"], frames=sum(row["frames"] for row in rows))
        result.unknown_fields = [name.partition(":")[2] for row in rows for name in row["unknown_fields"]]
        times = [row["loaded_at"] for row in rows]
        stored = (min(times), max(times))  # which hours the batches are in: a clock may have stepped between them
        if any(row["delta_rows"] for row in rows):
            copy.deltas = await self._deltas(lane, first, last, *stored)
        fetched: dict[str, list[asyncpg.Record]] = {}
        for table, statement in TABLES.items():
            within = stored if table in HOURLY else ()
            fetched[table] = await self._db().fetch(statement, lane, first, last, *within)
        # Each statement sees the tables as they are by then: rows that went since the first one are found missing here.
        found = {"deltas": len(copy.deltas)} | {table: len(records) for table, records in fetched.items()}
        if not dropped and (tables := _incomplete(rows, found)):
            raise MissingBatch(
                f"{self.id}: rows of the batches {first} to {last} of lane {lane} are missing in {', '.join(tables)}"
            )
        wanted = set(distinct(copy.deltas.market).tolist())
        for table in OF_MARKETS:
            wanted.update(row["market"] for row in fetched[table])
        numbers = result.numbers = await self._translate(wanted)
        copy.deltas.market = _mapped(copy.deltas.market, numbers)
        assemble(copy, fetched, numbers)
        if dropped:
            self._strip(copy)
        for table in KEPT:
            setattr(result, table, fetched[table])
        return result

    async def _deltas(self, lane: int, first: int, last: int, stored_from: datetime, stored_to: datetime) -> Deltas:
        limits = (lane, first, last, stored_from, stored_to)
        return Deltas(**await binary.read(self._db(), RECORDED_LAYOUT, SQL["read_deltas"], *limits))

    async def _translate(self, wanted: set[int]) -> dict[int, int]:
        """Production's numbers of these markets, among others; those that nothing named for long leave."""
        if new := sorted(self._numbers.missing(wanted)):
            rows = await self._db().fetch(SQL["read_tickers_of"], new)
            allotted = await self._allot([row["ticker"] for row in rows])
            self._numbers.update({row["market"]: allotted[row["ticker"]] for row in rows})
        return self._numbers.current

    def _forget_numbers(self) -> None:
        self._numbers.clear()

    def _db(self) -> Any:
        if self._connection is None:
            raise StorageError(f"{self.id} is not connected")
        return self._connection


def _gone(batch: asyncpg.Record, dropped: Sequence[range]) -> bool:
    """Whether the gatherer dropped a batch's rows."""
    return batch["emptied"] or any(batch["batch"] in stretch for stretch in dropped)


def _incomplete(batches: Sequence[asyncpg.Record], found: Mapping[str, int]) -> list[str]:
    """Tables of which another number of rows was found than these batches were written with."""
    written = Counter({"deltas": sum(batch["delta_rows"] for batch in batches)})
    if any(batch["row_counts"] is None for batch in batches):
        return ["deltas"] if found["deltas"] != written["deltas"] else []
    for batch in batches:
        written.update(json.loads(batch["row_counts"]))
    return [table for table, count in found.items() if count != written[table]]


def _mapped(local: I64, numbers: dict[int, int]) -> I64:
    unique, inverse = np.unique(local, return_inverse=True)
    translated = np.array([numbers[int(number)] for number in unique], np.int64)
    result: I64 = translated[inverse] if len(local) else local
    return result
