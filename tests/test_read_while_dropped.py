"""A gatherer's reader and its retention at one table: what goes is read whole, or listed as dropped; never in part."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg

from common.config.schema import GathererSource, Merge
from deduplicator.chain import Cursor
from deduplicator.reader import TABLES, News, Reader
from gatherer.retention import Retention
from tests.databases import new_database
from tests.test_local_storage import config, fill, nothing_known

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
    return Reader(GathererSource(id="g", dsn=dsn), Merge(), lambda tickers: asyncio.sleep(0, dict.fromkeys(tickers, 1)))


def whole(news: News) -> bool:
    """Whether two batches came with all their rows."""
    (one,) = news.batches
    counts = (len(one.copy.deltas), len(one.copy.slices), len(one.copy.runs), len(one.copy.run_events))
    return {*counts, len(one.copy.horizons), len(one.trades), len(one.tickers)} == {2}


async def test_an_hour_that_is_dropped_between_any_two_statements_of_the_reader(tmp_path: Path) -> None:
    """The batches are taken whole, or not at all and then as dropped: their number of rows is in every table known."""
    async with new_database("gatherer") as made:
        retention = Retention(config(tmp_path, max_disk="1%"), made.dsn)
        connection = await asyncpg.connect(made.dsn)
        hours = STATEMENTS + 1
        await fill(connection, tmp_path, hours=hours)
        reader = reader_of(made.dsn)
        await reader.open()
        real = reader._connection
        kept, in_part = 0, 0
        for at in range(1, hours):  # each hour has two batches, and one look drops one hour
            cursors = {0: Cursor(2 * (at - 1))}
            reader._connection = Interrupted(real, at, lambda: retention.look(connection))  # type: ignore[assignment]
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


async def test_the_batch_that_stays_as_a_lanes_place_says_that_it_is_empty(tmp_path: Path) -> None:
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
        await Retention(config(tmp_path, keep_after_ack="1h"), made.dsn).look(connection)
        left = await connection.fetch("SELECT batch, emptied FROM batches")
        assert [tuple(row) for row in left] == [(last, True)]
        reader = reader_of(made.dsn)
        await reader.open()
        news = await reader.read({0: Cursor(last - 1)}, nothing_known)
        assert news.batches[0].copy.dropped and news.batches[0].end.batch == last and not news.waiting
        await reader.close()
        await connection.close()
