"""A gatherer's reader and its retention at one table: what goes is read whole, or listed as dropped; never in part."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.config.schema import GathererSource, MergeConfig
from common.contract.tables import TABLES
from deduplicator.read.chain import Cursor
from deduplicator.read.reader import News, Reader
from gatherer.journal.format import Position
from gatherer.load.batch_writer import BatchWriter
from gatherer.upkeep.retention import Retention
from tests.support.databases import new_database
from tests.support.stored_batches import HOUR_US, JOURNAL, batch, fill, nothing_known, retaining

STATEMENTS = 2 + 1 + 1 + len(TABLES)
"""Of one look: lanes and batches, what was dropped, the changes, the other tables."""


class Interrupted:
    """A connection on which something happens before the statement with a number."""

    def __init__(self, connection: asyncpg.Connection, at: int, happens: Any) -> None:
        self._connection, self._left, self._happens = connection, at, happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            await self._happens()

    async def fetch(self, *arguments: Any) -> Any:
        """A statement."""
        await self._count()
        return await self._connection.fetch(*arguments)

    async def copy_from_query(self, *arguments: Any, **options: Any) -> Any:
        """Another one."""
        await self._count()
        return await self._connection.copy_from_query(*arguments, **options)


def reader_of(dsn: str) -> Reader:
    """With a number for each ticker."""
    return Reader(
        GathererSource(id="g", dsn=dsn), MergeConfig(), lambda tickers: asyncio.sleep(0, dict.fromkeys(tickers, 1))
    )


def whole(news: News) -> bool:
    """Whether two batches came with all their rows."""
    (one,) = news.batches
    counts = (len(one.copy.deltas), len(one.copy.slices), len(one.copy.runs), len(one.copy.run_events))
    return {*counts, len(one.copy.horizons), len(one.trades), len(one.tickers)} == {2}


async def test_an_hour_that_is_dropped_between_any_two_statements_of_the_reader(tmp_path: Path) -> None:
    """The batches are taken whole, or not at all and then as dropped: their number of rows is in every table known."""
    async with new_database("gatherer") as made:
        retention = Retention(retaining(tmp_path, max_disk="1%"), made.dsn)
        connection = await asyncpg.connect(made.dsn)
        hours = STATEMENTS + 1
        await fill(connection, tmp_path, hours=hours)
        reader = reader_of(made.dsn)
        await reader.open()
        real = reader._connection
        kept, in_part = 0, 0
        for at in range(1, hours):  # each hour has two batches, and one look drops one hour
            cursors = {0: Cursor(2 * (at - 1))}
            reader._connection = Interrupted(real, at, lambda: retention.look(connection))
            news = await reader.read(cursors, nothing_known, batches_max=2)
            if news.batches:
                assert news.batches[0].copy.dropped or whole(news), f"statement {at}"
                kept += not news.batches[0].copy.dropped
            else:
                assert "are missing in" in news.waiting[0]
                in_part += 1
                (one,) = (await reader.read(cursors, nothing_known, batches_max=2)).batches
                assert one.copy.dropped and not one.trades and one.copy.slices, "what began is known"
        assert kept and in_part, "some hours went before their rows were read, some after"
        assert retention.dropped_unread == 2 * (hours - 1)
        await real.close()  # type: ignore[union-attr]
        await connection.close()


async def test_the_batch_that_stays_as_a_lanes_place_is_marked_empty(tmp_path: Path) -> None:
    """A lane of which nothing came for longer than is kept: a reader that is new takes its last batch as dropped."""
    async with new_database("gatherer") as made:
        connection = await asyncpg.connect(made.dsn)
        last = await fill(connection, tmp_path, hours=2)
        await connection.execute("SELECT acknowledge('first', 1, 0::smallint, $1)", last)
        # All of it is three hours older: the lane's journal has had no writer since.
        for table in ("deltas", "trades", "tickers", "horizons", "run_events"):
            await connection.execute(
                "SELECT ensure_partition(now() - n * interval '1 hour') FROM generate_series(3, 5) n"
            )
            await connection.execute(f"UPDATE {table} SET stored_at = stored_at - interval '3 hours'")
        await connection.execute("UPDATE batches SET loaded_at = loaded_at - interval '3 hours'")
        await Retention(retaining(tmp_path, keep_after_ack="1h"), made.dsn).look(connection)
        left = await connection.fetch("SELECT batch, emptied FROM batches")
        assert [tuple(row) for row in left] == [(last, True)]
        reader = reader_of(made.dsn)
        await reader.open()
        news = await reader.read({0: Cursor(last - 1)}, nothing_known)
        assert news.batches[0].copy.dropped and news.batches[0].end.batch == last and not news.waiting
        await reader.close()
        await connection.close()


async def written_at(connection: asyncpg.Connection, folder: Path, days: list[float]) -> None:
    """A batch at each of these moments of the loader's clock: so many days from now, in the order of their numbers."""
    now_us = time.time_ns() // 1000
    moments = iter(now_us + int(day * 24 * HOUR_US) for day in days)
    at_us = [now_us]
    writer = BatchWriter(connection, 0, folder, JOURNAL, now_us=lambda: at_us[0])
    await writer.resume()
    for n, moment in enumerate(moments, 1):
        at_us[0] = moment
        await writer.write(batch(n), Position(1, n), now_us)


async def test_a_clock_that_was_days_back_while_a_backlog_was_loaded_costs_nothing(tmp_path: Path) -> None:
    """The first unread batch is of today, later ones look five days old: they stay until they are read."""
    async with new_database("gatherer") as made:
        connection = await asyncpg.connect(made.dsn)
        await written_at(connection, tmp_path, [0, -5, -5, -5, 0])
        retention = Retention(retaining(tmp_path), made.dsn)
        reader = reader_of(made.dsn)
        await reader.open()
        for acknowledged in (0, 1, 3):
            await connection.execute("SELECT acknowledge('one', 1, 0::smallint, $1)", acknowledged)
            await retention.look(connection)
            (one,) = (await reader.read({0: Cursor(acknowledged)}, nothing_known)).batches
            assert len(one.copy.deltas) == len(one.trades) == 5 - acknowledged and not one.copy.dropped
        await connection.execute("SELECT acknowledge('one', 1, 0::smallint, 4)")
        await retention.look(connection)
        assert await connection.fetchval("SELECT array_agg(batch ORDER BY batch) FROM deltas") == [1, 5]
        assert not await connection.fetchval("SELECT count(*) FROM dropped_unread")
        await reader.close()
        await connection.close()


async def test_what_a_full_disk_drops_is_listed_whatever_its_clock_was(tmp_path: Path) -> None:
    """Just the batches of the hours that went, in whatever order: those between them are read, and none is unlisted."""
    async with new_database("gatherer") as made:
        connection = await asyncpg.connect(made.dsn)
        await written_at(connection, tmp_path, [-3, 0, -5, -3, 0, -5])
        retention = Retention(retaining(tmp_path, max_disk="1%"), made.dsn)
        reader = reader_of(made.dsn)
        await reader.open()
        for gone in ({3, 6}, {1, 3, 4, 6}):
            while retention.dropped_unread < len(gone):  # an hour that was made ahead and has no rows goes, too
                await retention.look(connection)
            found: dict[int, bool] = {}
            while len(found) < 6:
                (one,) = (await reader.read({0: Cursor(len(found))}, nothing_known)).batches
                for number in range(one.copy.from_batch, one.copy.to_batch + 1):
                    found[number] = one.copy.dropped
                assert one.copy.dropped or len(one.trades) == len(one.copy.deltas) > 0
            assert {number for number, dropped in found.items() if dropped} == gone
        assert retention.dropped_unread == 4
        await reader.close()
        await connection.close()


async def test_what_is_stored_into_an_hour_that_is_being_dropped_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader's clock is back in that hour just then: its batch goes with the hour, after the list was made."""
    async with new_database("gatherer") as made:
        connection, loading = await asyncpg.connect(made.dsn), await asyncpg.connect(made.dsn)
        await written_at(connection, tmp_path, [-5, -5])
        await connection.execute("SELECT acknowledge('one', 1, 0::smallint, 2)")
        retention = Retention(retaining(tmp_path), made.dsn)
        older = retention._drop_older

        async def after_a_batch(*arguments: Any) -> None:
            await written_at(loading, tmp_path, [-5])
            await older(*arguments)

        monkeypatch.setattr(retention, "_drop_older", after_a_batch)
        await retention.look(connection)
        assert not await connection.fetchval("SELECT count(*) FROM deltas")
        rows = await connection.fetch("SELECT from_batch, to_batch FROM dropped_unread")
        assert [tuple(row) for row in rows] == [(3, 3)] and retention.dropped_unread == 1
        await connection.close()
        await loading.close()


async def test_a_reader_that_is_new_to_an_old_gatherer_continues_after_what_is_gone(tmp_path: Path) -> None:
    """So does one whose place was put back to before it: a dropped copy takes its place, and claims nothing."""
    async with new_database("gatherer") as made:
        connection = await asyncpg.connect(made.dsn)
        last = await fill(connection, tmp_path, hours=5)
        digests = {row["batch"]: row["digest"] for row in await connection.fetch("SELECT batch, digest FROM batches")}
        # The slice of batch 2 continues: its end is not there, so it and its run stay.
        await connection.execute("UPDATE horizons SET ended = false WHERE batch = 2")
        await connection.execute("SELECT acknowledge('first', 1, 0::smallint, $1)", last)
        await Retention(retaining(tmp_path), made.dsn).look(connection)
        first = await connection.fetchval("SELECT min(batch) FROM batches")
        assert first == 5
        reader = reader_of(made.dsn)
        await reader.open()
        for place in (Cursor(), Cursor(1, digests[1]), Cursor(3, digests[3]), Cursor(4, digests[4])):
            news = await reader.read({0: place}, nothing_known)
            assert not news.put_back and not news.waiting
            (one,) = news.batches
            if place.batch < first - 1:
                assert (one.copy.dropped, one.copy.from_batch, one.copy.to_batch) == (True, place.batch + 1, first - 1)
                assert [start.slice for start in one.copy.slices] == [start.run for start in one.copy.runs]
                assert [start.slice for start in one.copy.slices] == ([2] if place.batch < 2 else [])
                assert one.end == Cursor(first - 1, digests[first - 1]), "the chain continues from there"
                (one,) = (await reader.read({0: one.end}, nothing_known)).batches
            assert (one.copy.dropped, one.copy.from_batch, one.copy.to_batch) == (False, first, last)
            assert len(one.trades) == last - first + 1
        await reader.close()
        await connection.close()


async def test_batches_that_a_person_gave_up_are_passed_over_and_no_others(tmp_path: Path) -> None:
    """As of ADR 38: those that are listed, whether or not their rows are there; in the middle of a lane, too."""
    async with new_database("gatherer") as made:
        connection = await asyncpg.connect(made.dsn)
        await fill(connection, tmp_path, hours=4)
        await connection.execute("DELETE FROM batches WHERE batch IN (4, 5)")
        reader = reader_of(made.dsn)
        await reader.open()
        for place in (2, 3):
            news = await reader.read({0: Cursor(place)}, nothing_known)
            assert not news.batches and "batch 4 of lane 0 is missing" in news.waiting[0]
        listed = "INSERT INTO dropped_unread (lane, from_batch, to_batch, from_us, to_us) VALUES (0, $1, $1, 0, 0)"
        await connection.execute(listed, 4)
        news = await reader.read({0: Cursor(3)}, nothing_known)
        assert not news.batches, "one of the two is not listed"
        await connection.execute(listed, 5)
        for place, until, dropped in ((2, 3, False), (3, 5, True), (5, 8, False)):
            news = await reader.read({0: Cursor(place)}, nothing_known)
            (one,) = news.batches
            assert (one.copy.from_batch, one.copy.to_batch, one.copy.dropped) == (place + 1, until, dropped)
        await reader.close()
        await connection.close()
