"""Writing production: everything that one step of the merge decided, and the cursors, in one transaction.

Every transaction begins by locking the lease row of this deduplicator's epoch: no row, and another one has taken
over. After a lost connection the state is read again through the same lock, so that a commit in flight is either
seen or dead.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import asyncpg

from common.distinct import distinct
from common.errors import StateOutdated, StorageError
from common.feed import tables
from common.numbers import DAY_MS, EPOCH, datetime_of_ms, ms_of_datetime
from common.storage import copy as binary
from deduplicator.merge.copies import Changes, Copy, FrameAccount, RunKey, SliceStart
from deduplicator.merge.merger import Limits, Merger
from deduplicator.read.chain import Cursor, PutBack, as_columns
from deduplicator.read.reader import Batches
from deduplicator.statements import SQL
from deduplicator.store import channels, days, decisions, feed, merged_rows, rest_books, restoring, times
from deduplicator.store.days import DAY
from deduplicator.store.lags import Lag
from deduplicator.store.lease import Lease, WriteStep
from deduplicator.store.seals import Sealed

LINES_LAYOUT: Final = tuple(
    (name, "i8") for name in ("market", "seen_ms", "first_ms", "ended_ms", "open_ms", "over_ms")
)
LAG: Final = ("hour_ms", "gatherer", "took", "changes", "least", "most")
PARTITIONED: Final = ("deltas", *(staged.table for staged in channels.IN_DAYS))
CHANGES_OVERLAP: Final = timedelta(minutes=1)
"""A row's time is that of the beginning of its transaction."""


class Production:
    """The production database, held by one epoch of the lease (a name: of a new one)."""

    def __init__(self, connection: asyncpg.Connection, holder: Lease | str) -> None:
        self._db = connection
        self.lease = Lease(holder) if isinstance(holder, str) else holder
        self._days: set[date] = set()
        self._using = asyncio.Lock()  # the readers ask for numbers while a step is being stored
        self._heals = 0
        self.refused = 0
        """Rows of other channels that the database refused."""
        self.fleet_started_ms = 0

    async def hold_lease(self) -> None:
        """Become the one that writes, or remain it. Raises `Fenced`."""
        await self._as_of(await self.lease.hold(self._db))

    async def take_lease(self) -> None:
        """Become the one that writes; the previous holder of the lease is fenced off from now on."""
        await self._as_of(await self.lease.take(self._db))

    async def resume_lease(self) -> None:
        """After a lost connection: continue with the same epoch, unless another has taken over."""
        await self._as_of(await self.lease.resume(self._db))

    async def _as_of(self, lease: asyncpg.Record) -> None:
        await self._db.execute(SQL["stage"])
        self.fleet_started_ms = ms_of_datetime(lease["fleet_started_at"])
        self._heals = lease["heals"]

    @property
    def epoch(self) -> int:
        """The epoch of the lease; 0 before it is taken."""
        return self.lease.epoch or 0

    async def open_history(self, first_ms: int) -> None:
        """The fleet has records from here on, older than this database."""
        async with self._using, self._step(feed.HISTORY):
            self.fleet_started_ms = ms_of_datetime(
                await self._db.fetchval(SQL["open_history"], datetime_of_ms(first_ms))
            )

    @contextlib.asynccontextmanager
    async def _step(self, kind: str) -> AsyncIterator[WriteStep]:
        """A step, with production as the state was made from it."""
        async with self.lease.step(self._db, kind) as step:
            if step.heals != self._heals:
                raise StateOutdated("fleet heal has written to production")
            yield step

    # -- reading the state -------------------------------------------------------------------------------------

    async def gatherer(self, gatherer_id: str, instance: str) -> tuple[int, dict[int, Cursor]]:
        """Production's number of a gatherer's instance, and its cursors by lane."""
        async with self._using:
            number = await self._db.fetchval(SQL["know_gatherer"], gatherer_id, instance)
            rows = await self._db.fetch(SQL["cursors"], number)
        return number, {row["lane"]: Cursor(row["batch"], row["digest"], row["again_until_us"]) for row in rows}

    async def digests(self, gatherer: int, lane: int) -> list[Cursor]:
        """What is remembered of a lane's batches."""
        async with self._using:
            rows = await self._db.fetch(SQL["digests"], gatherer, lane)
        return [Cursor(row["batch"], row["digest"]) for row in rows]

    async def proven_until(self, gatherer: int) -> dict[int, int]:
        """By lane, up to which millisecond the slowest of a gatherer's open order-book slices is proven complete."""
        async with self._using:
            return {row["lane"]: row["proven_ms"] for row in await self._db.fetch(SQL["proven_until"], gatherer)}

    async def slices_left(self, gatherer_id: str, gatherer: int, configured: list[str]) -> dict[RunKey, bool]:
        """Open slices of a gatherer's previous instances, and of gatherers that are configured no longer: number of
        the instance, lane, slice; whether it was replaced."""
        async with self._using:
            rows = await self._db.fetch(SQL["slices_left"], gatherer_id, gatherer, configured)
        return {(row["gatherer"], row["lane"], row["slice"]): row["replaced"] for row in rows}

    async def open_slices(self, gatherer: int) -> list[tuple[int, int, int]]:
        """Of the gatherer's lanes that were put back the open slices: lane, number, and until when (µs) was
        received what had been read of the lane before."""
        async with self._using:
            rows = await self._db.fetch(SQL["open_slices"], gatherer)
        return [(row["lane"], row["slice"], row["again_until_us"]) for row in rows]

    async def other_slices(self, gatherer: int, lane: int, slices: list[SliceStart]) -> list[int]:
        """Which of these slices have the number of another one."""
        columns = [[s.slice for s in slices], [s.session for s in slices], [s.sid for s in slices]]
        async with self._using:
            args = (gatherer, lane, *columns, [s.channel for s in slices])
            return [row["slice"] for row in await self._db.fetch(SQL["other_slices"], *args)]

    async def put_back(self, gatherer: int, found: PutBack) -> Cursor:
        """From where a lane is read from the next step on: after an earlier batch."""
        async with self._using, self.lease.locked(self._db):
            place, again = found.place.batch, found.again
            args = (gatherer, found.lane, place, found.last_batch, again.batch, again.digest, found.reason)
            until_us = await self._db.fetchval(SQL["put_back"], *args)
            if until_us is None:
                raise StorageError(f"the cursor of gatherer {gatherer} is not where it was read")
        return Cursor(again.batch, again.digest, until_us)

    async def restore(self, limits: Limits, now_ms: int) -> Merger:
        """The merge's state as production knows it."""
        async with self._using:
            return await restoring.restore(self._db, limits, now_ms)

    async def prepare(self, merger: Merger, copies: list[Copy]) -> None:
        """Give the state what production has and a step over these copies needs."""
        async with self._using:
            if runs := merger.missing_runs(copies):
                await restoring.load_guests(self._db, merger, runs)
            if lines := merger.missing_lines(copies):
                await restoring.load_lines(self._db, merger, lines)
            for wanted in (*merger.late(copies), *merger.heads_below_floor()):
                await restoring.load_identities(self._db, merger, wanted)

    async def load_lines(self, merger: Merger, markets: list[int]) -> None:
        """Give the state what production has of the time lines of some markets."""
        async with self._using:
            await restoring.load_lines(self._db, merger, markets)

    # -- numbers and days, allotted before use -----------------------------------------------------------------

    async def allot(self, tickers: list[str]) -> dict[str, int]:
        """Market numbers of tickers."""
        async with self._using:
            rows = await self._db.fetch(SQL["allot_markets"], tickers)
        return {row["ticker"]: row["market"] for row in rows}

    async def _days_of(self, changes: Changes, batches: Iterable[Batches]) -> None:
        days = {int(day) for day in distinct(changes.new.exchange_ms // DAY_MS)}
        for batch in batches:
            for staged in channels.IN_DAYS:
                days.update(row["exchange_ms"] // DAY_MS for row in getattr(batch, staged.table))
        for number in sorted(days):
            day = (EPOCH + number * DAY).date()
            if day not in self._days:
                for table in PARTITIONED:
                    await self._db.execute(SQL["add_day"], table, day)
                self._days.add(day)

    # -- the transaction ---------------------------------------------------------------------------------------

    async def note_lags(self, lags: list[Lag]) -> None:
        """Add to what is known of how long changes took."""
        async with self._using, self.lease.locked(self._db):
            await decisions.each(self._db, SQL["note_lag"], LAG, lags)

    async def store(self, changes: Changes, batches: list[Batches], seal: Sequence[Sealed] = ()) -> None:
        """Store one step and move the cursors. `batches`: those that the step used; `seal`: up to where is sealed what
        is stored then."""
        async with self._using:
            await self._days_of(changes, batches)
            await self._store(changes, batches, seal)

    async def _store(self, changes: Changes, batches: list[Batches], seal: Sequence[Sealed]) -> None:
        db = self._db
        async with self._step(feed.MERGE) as step:
            entry = step.entry
            await days.write(db, changes.new, entry)
            await decisions.write(db, changes, entry)
            self.refused += await channels.store(db, batches, entry)
            entry.add_rows(tables.SEAL, seal)
            await rest_books.store(db, batches)
            unknown = [(b.copy.gatherer, name, b.received_us) for b in batches for name in b.unknown_fields]
            await decisions.each(db, SQL["note_unknown_field"], ("gatherer", "field", "received_us"), unknown)
            read = {(batch.copy.gatherer, batch.copy.lane): batch for batch in batches}
            for account in changes.accounts:
                await self._account(account, read.get((account.gatherer, account.lane)))

    async def _account(self, account: FrameAccount, read: Batches | None) -> None:
        """What became of the frames of some batches; the cursor after them."""
        lane = (account.gatherer, account.lane)
        await self._db.execute(
            SQL["add_account"],
            *lane,
            account.from_batch,
            account.to_batch,
            account.received,
            account.inserted,
            account.confirmed,
            account.disputed,
            account.unplaced,
            account.quarantined,
        )
        at: tuple[object, ...] = (b"", 0, [], [])
        if read is not None:
            at = (read.end.digest, read.received_us, *as_columns(read.digests))
        if await self._db.fetchval(SQL["move_cursor"], *lane, account.to_batch, account.from_batch - 1, *at) is None:
            raise StorageError(f"the cursor of gatherer {account.gatherer} is not where it was read")

    # -- metadata and time lines -------------------------------------------------------------------------------

    async def time_lines(self, since: datetime | None) -> tuple[datetime, Iterator[tuple[int, ...]]]:
        """Markets that are new or changed (None: all that are not long over), preceded by the time to ask from next.

        Each: its number; when it was first seen; begin and end of its time line as stored; when it opened; when it was
        over, once it is determined. Milliseconds, -1: unknown.
        """
        async with self._using, self._db.transaction(readonly=True):
            asked: datetime = await self._db.fetchval(SQL["clock"])
            columns = await binary.read(self._db, LINES_LAYOUT, SQL["time_lines"], since or EPOCH)
        return asked - CHANGES_OVERLAP, binary.rows(columns)

    async def put_time_lines(self, lines: list[tuple[int, int, int | None]]) -> None:
        """Store where time lines begin and end: market and milliseconds."""
        async with self._using, self.lease.step(self._db, feed.LINES) as step:
            columns = times.stored(tables.TABLES[tables.LINES].names, lines)
            await self._db.execute(SQL["reopen_lines"], columns[0])
            merged_rows.lines(step.entry, await self._db.fetch(SQL["put_time_lines"], *columns))
