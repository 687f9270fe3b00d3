"""A deduplicator and a reader of its feed, both killed at random instants: what the reader was given is production,
each step once."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from common.numbers import datetime_of_ms
from gatherer.journal.format import Position
from tests.support.databases import Database, new_database
from tests.support.deduplicator_process import Site, busy, new_site, writers
from tests.support.feed_case import Mirror, compare, feed_is_production
from tests.support.feed_reader import consumed
from tests.support.scale import LONG

KILLS = 20 if LONG else 3
WAIT_S = 120


def reader(production: str, own: str, log: Path) -> subprocess.Popen[bytes]:
    """The consumer's process."""
    with log.open("ab") as file:
        command = [sys.executable, "-m", "tests.support.feed_reader", production, own]
        return subprocess.Popen(command, stdout=file, stderr=file, cwd=Path(__file__).parents[2])


async def place_of(own: str) -> int:
    """How far the consumer is."""
    db = await asyncpg.connect(own)
    there = await db.fetchval("SELECT to_regclass('place')")
    place = await db.fetchval("SELECT step FROM place") if there else None
    await db.close()
    return place or 0


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Between empty databases."""
    async with new_site(tmp_path) as made:
        yield made


@pytest.fixture
async def own() -> AsyncIterator[Database]:
    """The consumer's database."""
    async with new_database() as made:
        yield made


async def test_both_may_be_killed_at_any_instant(site: Site, own: Database, tmp_path: Path) -> None:
    """The steps of all writers, without a hole; a second reader from the beginning finds the same."""
    begins_ms = int(time.time() * 1000) - 600_000
    world, rng = busy(7, begins_ms), random.Random("kills")
    db = await asyncpg.connect(site.production)
    await db.execute("UPDATE store.lease SET fleet_started_at = $1", datetime_of_ms(begins_ms))
    for ticker in world.exchange.markets:
        await db.execute("INSERT INTO store.markets (ticker) VALUES ($1)", ticker)
    lanes = await writers(site, world, random.Random("batches"))
    process = reader(site.production, own.dsn, tmp_path / "reader")
    for n in range(KILLS + 1):
        await site.start()
        kill_at = time.monotonic() + rng.uniform(0.2, 1.5)
        for writer, rows in lanes.values():
            until = len(rows) * (n + 1) // (KILLS + 1)
            while writer.batch < until:
                await writer.write(rows[writer.batch], Position(1, writer.batch), begins_ms * 1000)
                if rng.random() < 0.1 and process.poll() is None:
                    process.kill()
                    process.wait()
                    process = reader(site.production, own.dsn, tmp_path / "reader")
        await asyncio.sleep(max(0.0, kill_at - time.monotonic()))
        if n < KILLS:
            site.kill()
        assert process.poll() is None, (tmp_path / "reader").read_text()[-2000:]
    stored, before = -1, -2
    until_s = time.monotonic() + WAIT_S
    while stored != before and time.monotonic() < until_s:  # until all is merged
        before = stored
        await asyncio.sleep(2.5)
        stored = await db.fetchval("SELECT step FROM store.lease")
    site.kill()
    last = await db.fetchval("SELECT step FROM store.lease")
    while await place_of(own.dsn) < last:
        assert process.poll() is None and time.monotonic() < until_s, (tmp_path / "reader").read_text()[-2000:]
        await asyncio.sleep(0.2)
    process.kill()
    process.wait()
    mirror = Mirror()
    await consumed(own.dsn, mirror)
    await compare(db, mirror)
    assert len(mirror.steps) == last > KILLS and mirror.rows["changes"].total() > 100
    assert (await feed_is_production(site.production)).holds() == mirror.holds()
    await db.close()
