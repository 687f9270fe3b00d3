"""The real recordings through three gatherers that break all the time: production equals what was sent, exactly."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import asyncpg

from common.storage.embedded import attach_dsn
from tests.support.fleet_case import assert_equal, judge, replay_over, running
from tests.support.scale import LONG
from workshop.rehearsal.local import GATHERERS, FleetPlan, LocalFleet

BREAKS_LEAST = 20
FILES, SPEED = (6, 6.0) if LONG else (2, 14.0)


async def break_all_but_one(fleet: LocalFleet, rng: random.Random) -> None:
    """For a while one gatherer is left alone and the others are broken again and again; then the next one is."""
    turn = 0
    while not (await fleet.control("/state"))["replay_finished"]:
        broken = [g for n, g in enumerate(GATHERERS) if n != turn % len(GATHERERS)]
        turn += 1
        for _ in range(20):
            kind = rng.choice(("drop", "drop", "duplicate", "cut"))
            await fleet.fault(kind, key=rng.choice(broken), channel="orderbook_delta", count=rng.randrange(1, 4))
            await asyncio.sleep(0.3)
        # What a break left uncovered of a quiet market reaches back by the lag bound: let it pass.
        await asyncio.sleep(3.5)


async def breaks_of(fleet: LocalFleet, gatherer: str) -> int:
    """How many breaks the gatherer's own database lists for its order-book slices."""
    connection = await asyncpg.connect(attach_dsn(fleet.gatherer_dsn(gatherer)))
    try:
        statement = "SELECT count(*) FROM slices WHERE channel = 'orderbook_delta'"
        return int(await connection.fetchval(statement)) - 1
    finally:
        await connection.close()


async def test_production_equals_the_recordings_exactly(recordings: list[Path]) -> None:
    """Order, ordinals, trades and last books, with one gatherer whose frames have no microseconds."""
    files = recordings[:FILES]
    replay = [word for file in files for word in ("--replay", str(file))]
    plan = FleetPlan(simulator=(*replay, "--speed", str(SPEED), "--coarse-ts", "gatherer-b"), hole_wait="20s")
    async with running(plan) as fleet:
        breaking = asyncio.create_task(break_all_but_one(fleet, random.Random(2026)))
        await replay_over(fleet)
        await breaking
        checks = await judge(fleet, strict=True)
        assert_equal(checks)
        for gatherer in GATHERERS:
            assert await breaks_of(fleet, gatherer) >= BREAKS_LEAST
        connection = await asyncpg.connect(attach_dsn(fleet.production_dsn))
        stored = await connection.fetchval("SELECT count(*) FROM orderbook_deltas")
        resets = await connection.fetchval("SELECT count(DISTINCT ticker) FROM orderbook_snapshots WHERE is_reset")
        with_us = await connection.fetchval("SELECT count(*) FROM orderbook_deltas WHERE exchange_us IS NOT NULL")
        await connection.close()
        assert stored == checks[0].compared
        assert resets == len(files), "each recording ends with the empty snapshot of the market's close"
        assert 0 < with_us < stored
