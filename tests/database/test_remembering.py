"""After a restart the merge remembers what gatherers brought and do not claim yet: read again at the gatherer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from common.storage import migrate
from deduplicator.read.reader import Reader
from deduplicator.store.production import Production
from tests.support.chain_case import BASE_MS, Lane, site
from tests.support.databases import Database


async def numbers(tickers: list[str]) -> dict[str, int]:
    """Production's number of the one market."""
    return dict.fromkeys(tickers, 77)


async def test_what_is_read_again_begins_and_ends_with_the_right_batches(open_folder: Path) -> None:
    """From the first batch that received anything since, to the one at the place, both included."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        async with Lane(zone, 0, open_folder / "journal") as lane:
            for n in range(6):
                await lane.changes("A", n)
        batches = await zone.fetch("SELECT batch, received_us FROM batches WHERE lane = 0 ORDER BY batch")
        of_change = batches[-6:]
        reader = Reader(made.config.gatherers[0], made.config.merge, numbers)
        await reader.open()
        try:
            copy = await reader.recent(0, of_change[4]["batch"], of_change[2]["received_us"])
            assert copy is not None and (copy.from_batch, copy.to_batch) == (
                of_change[2]["batch"],
                of_change[4]["batch"],
            )
            assert (copy.deltas.exchange_ms - BASE_MS).tolist() == [2, 3, 4]
            assert copy.deltas.market.tolist() == [77] * 3
            assert await reader.recent(0, of_change[4]["batch"], of_change[5]["received_us"] + 1) is None
        finally:
            await reader.close()


async def test_the_slowest_slice_that_continues_decides_from_where(server: Database) -> None:
    """By lane, of the order book alone."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    connection = await asyncpg.connect(server.dsn)
    held = Production(connection, "a")
    await held.take_lease()
    gatherer, _ = await held.gatherer("gatherer-a", "0f3c9a77-1111-4222-8333-444455556666")
    for lane, slice_, channel, second, ended in (
        (0, 1, "orderbook_delta", 30, False),
        (0, 2, "orderbook_delta", 20, False),
        (0, 3, "orderbook_delta", 10, True),
        (0, 4, "trade", 5, False),
        (1, 1, "orderbook_delta", 40, False),
    ):
        await connection.execute(
            "INSERT INTO store.slices (gatherer, lane, slice, session, sid, channel, horizon, ended)"
            " VALUES ($1, $2, $3, 7, 1, $4, to_timestamp($5), $6)",
            *(gatherer, lane, slice_, channel, second, ended),
        )
    assert await held.proven_until(gatherer) == {0: 20_000, 1: 40_000}
    await connection.close()
