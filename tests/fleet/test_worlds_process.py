"""A world that is merged by a real deduplicator, killed at random instants: it always starts, and the result is that of
a merge that was never interrupted."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.numbers import datetime_of_ms, ms_of_datetime
from gatherer.journal.format import Position
from tests.support.deduplicator_process import WAIT_S, Site, busy, new_site, writers
from tests.support.scale import LONG
from tests.support.worlds.judges import held
from tests.support.worlds.kinds import enabled
from tests.support.worlds.memory import Line
from tests.support.worlds.merging import Merging
from tests.support.worlds.shape import GATHERERS
from tests.support.worlds.world import derived

RESTARTS = 25 if LONG else 6  # of each world
HELD = "SELECT market, lower(r), upper(r) FROM store.covered, unnest(held) r WHERE channel = 'orderbook_delta'"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Between empty databases."""
    async with new_site(tmp_path) as made:
        yield made


@pytest.mark.skipif("restores" not in enabled(), reason="switched off in tests/support/worlds/kinds.py")
@pytest.mark.parametrize("seed", range(4 if LONG else 2))
async def test_a_deduplicator_that_is_killed_at_random_always_starts_and_the_result_is_the_same(
    seed: int, site: Site
) -> None:
    """Its markets are deleted and closed, and one gatherer's rows come when the others are through."""
    begins_ms = int(time.time() * 1000) - 600_000
    world = busy(seed, begins_ms)
    lines: list[Line] = [(market, begins_ms, None) for market, *_ in world.lines]
    same = random.Random(f"batches {seed}")
    expected = Merging(world.shape, derived(world, same), lines, random.Random(seed))
    expected.run()
    db = await asyncpg.connect(site.production)
    await db.execute("UPDATE store.lease SET fleet_started_at = $1", datetime_of_ms(begins_ms))
    for ticker in world.exchange.markets:  # so that they have the numbers of the world
        await db.execute("INSERT INTO store.markets (ticker) VALUES ($1)", ticker)

    rng = random.Random(f"kills {seed}")
    lanes = await writers(site, world, random.Random(f"batches {seed}"))
    late = rng.choice(GATHERERS)
    for part in ([key for key in lanes if key[0] != late], [key for key in lanes if key[0] == late]):
        for _ in range(RESTARTS // 2):
            await site.start()
            kill_at = time.monotonic() + rng.uniform(0.0, 1.5)
            for key in part:
                writer, rows = lanes[key]
                for _ in range(rng.randrange(1 + 4 * len(rows) // RESTARTS)):
                    if writer.batch < len(rows):
                        await writer.write(rows[writer.batch], Position(1, writer.batch), begins_ms * 1000)
            await asyncio.sleep(max(0.0, kill_at - time.monotonic()))
            site.kill()
        for writer, rows in (lanes[key] for key in part):
            while writer.batch < len(rows):
                await writer.write(rows[writer.batch], Position(1, writer.batch), begins_ms * 1000)
    await site.start()
    wanted = outcome_of(expected)
    until = time.monotonic() + WAIT_S
    while (outcome := await outcome_in(db)) != wanted and time.monotonic() < until:
        assert site.process is not None and site.process.poll() is None, f"it ended: {site.log()}"
        await asyncio.sleep(0.5)
    for name, value in wanted.items():
        assert outcome[name] == value, name
    site.kill()


def outcome_of(merging: Merging) -> dict[str, Any]:
    """What a merge that was never interrupted came to."""
    memory = merging.memory
    return {
        "changes": {(*identity, *content) for identity, content in memory.deltas.items()},
        "coverage": {(market, *stretch) for market, *_ in merging.lines for stretch in held(merging.merger, market)},
        "gaps": {(market, *stretch) for market, channel, stretch in memory.gaps if channel == "orderbook_delta"},
        "unplaced": {key[1:] for key in memory.unplaced},
    }


async def outcome_in(db: asyncpg.Connection) -> dict[str, Any]:
    """What production has."""
    queries = {
        "changes": "SELECT market, exchange_ts, ordinal, side, price, delta FROM store.deltas",
        "coverage": HELD,
        "gaps": "SELECT market, started_at, ended_at FROM store.gaps WHERE healed_at IS NULL"
        " AND channel = 'orderbook_delta'",
        "unplaced": "SELECT session, sid, seq, run FROM store.unplaced",
    }
    return {
        name: {tuple(ms_of_datetime(v) if hasattr(v, "tzinfo") else v for v in row) for row in await db.fetch(query)}
        for name, query in queries.items()
    }
