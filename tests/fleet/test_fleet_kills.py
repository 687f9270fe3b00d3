"""kill -9 of every process at random moments changes nothing in production."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.support.fleet_case import assert_equal, covers_again, judge, replay_over, running
from tests.support.scale import LONG
from workshop.rehearsal.local import GATHERERS, FleetPlan

ROUNDS = 2 if LONG else 1
SEEDS = range(20 if LONG else 1)


@pytest.mark.parametrize("seed", SEEDS)
async def test_kills_change_nothing(seed: int) -> None:
    """The deduplicator three times, each gatherer once a round; one gatherer is down at a time."""
    folder = os.environ.get("KALSHI_RECORDINGS")
    files = sorted(Path(folder).rglob("*.ndjson.gz"), key=lambda f: f.stat().st_size)[:1] if folder else []
    replay = [word for file in files for word in ("--replay", str(file), "--speed", "25")]
    rng = random.Random(7 + seed)
    synthetic = ("--markets", "10", "--rate", "400", "--close-after", "12", "--create-after", "6")
    often = {"checkpoints": {"changes": 100, "interval": "2s"}}
    async with running(FleetPlan(simulator=(*synthetic, *replay), hole_wait="30s", production=often)) as fleet:
        for _ in range(ROUNDS):
            for gatherer in GATHERERS:
                await asyncio.sleep(rng.uniform(0.2, 2.0))
                fleet.kill("deduplicator")
                await asyncio.sleep(rng.uniform(0.0, 0.5))
                fleet.start_deduplicator()
                await asyncio.sleep(rng.uniform(0.2, 1.5))
                fleet.kill(gatherer)
                await asyncio.sleep(rng.uniform(0.0, 1.0))
                fleet.start_gatherer(gatherer)
                await fleet.ready(gatherer)
                await covers_again(fleet, gatherer)
        await replay_over(fleet)
        assert_equal(await judge(fleet, strict=True))
