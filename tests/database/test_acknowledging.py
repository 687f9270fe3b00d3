"""What a gatherer believes of its reader: the place that the newest epoch acknowledged, also after a restore."""

from __future__ import annotations

import time
from pathlib import Path

import asyncpg

from common.config.schema import GathererSource, MergeConfig
from deduplicator.read.reader import Reader
from deduplicator.store.production import Production
from tests.support.chain_case import Lane, reading, site
from tests.support.databases import new_database


async def numbers(tickers: list[str]) -> dict[str, int]:
    """No ticker is asked for."""
    return dict.fromkeys(tickers, 1)


async def test_a_production_that_was_put_back_is_believed_at_once() -> None:
    """Its next epoch is beyond those that its dump has not, and what it reads again is unread at the gatherer."""
    async with new_database("gatherer") as theirs, new_database("production") as ours:
        gatherer, production = await asyncpg.connect(theirs.dsn), await asyncpg.connect(ours.dsn)
        await gatherer.execute("INSERT INTO lanes (lane) VALUES (0)")
        reader = Reader(GathererSource(id="a", dsn=theirs.dsn), MergeConfig(), numbers)
        await reader.open()

        async def start() -> int:
            made = Production(production, "deduplicator")
            await made.take_lease()
            return made.epoch

        dump = await start()
        assert await reader.acknowledge("deduplicator", dump, 0, 1000)
        before = [await start() for _ in range(3)]  # later in the day: upgrades, a crash
        assert await reader.acknowledge("deduplicator", before[-1], 0, 5000)
        await production.execute("UPDATE store.lease SET epoch = $1", dump)
        epoch = await start()
        assert before == sorted({dump, *before, epoch})[1:-1], "each is beyond those before it"
        assert await reader.acknowledge("deduplicator", epoch, 0, 1001)
        assert await gatherer.fetchval("SELECT batch FROM acknowledged") == 1001
        assert not await reader.acknowledge("deduplicator", before[-1], 0, 6000), "of an older process"
        assert await gatherer.fetchval("SELECT batch FROM acknowledged") == 1001
        await reader.close()
        await gatherer.close()
        await production.close()


async def test_an_epoch_continues_from_one_that_a_clock_ahead_gave() -> None:
    """The lease never goes back, whatever the clock does."""
    async with new_database("production") as ours:
        production = await asyncpg.connect(ours.dsn)
        ahead = time.time_ns() // 1000 + 86_400_000_000
        await production.execute("UPDATE store.lease SET epoch = $1", ahead)
        made = Production(production, "deduplicator")
        await made.take_lease()
        assert made.epoch == ahead + 1
        await production.close()


async def test_a_gatherer_that_takes_no_acknowledgement_is_named(open_folder: Path) -> None:
    """Another one with the same name has acknowledged under a newer epoch; once that is forgotten, all is well."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        async with Lane(zone, 0, open_folder / "journal") as lane:
            await lane.changes("A", *range(5))
            made.start()
            await made.until(A=range(5))
            await made.acknowledged(zone)
            newer = "UPDATE consumers SET epoch = epoch + 1000000, batch = 1 RETURNING batch"
            assert [tuple(row) for row in await zone.fetch(newer)] == [(1,)]
            await lane.changes("A", 5)

            await made.until_status(lambda status: reading(status, "gatherer-a").acknowledgements_refused == 1)
            await made.until(A=range(6))
            assert [tuple(row) for row in await zone.fetch("SELECT batch FROM consumers")] == [(1,)]
            await zone.fetch("DELETE FROM consumers")
            await made.acknowledged(zone)
            await made.until_status(
                lambda status: (
                    "gatherer-a" in status.gatherers and not status.gatherers["gatherer-a"].acknowledgements_refused
                )
            )
