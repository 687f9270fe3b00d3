"""A world that is merged by a real deduplicator, killed at random instants: it always starts, and the result is that of
a merge that was never interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from common.numbers import datetime_of_ms, ms_of_datetime
from gatherer.derive.rows import Rows
from gatherer.journal.format import Place
from gatherer.load.batch_writer import BatchWriter
from tests.support.databases import new_database
from tests.support.keys import write_key
from tests.support.worlds import deriving
from tests.support.worlds.judges import World, held
from tests.support.worlds.kinds import enabled
from tests.support.worlds.merging import Merging
from tests.support.worlds.shape import GATHERERS
from tests.support.worlds.world import derived, live
from workshop.rehearsal.local import free_port

LONG = bool(os.environ.get("FLEET_TEST_LONG"))
RESTARTS = 25 if LONG else 6  # of each world
KINDS = {"births", "moves", "closes", "resets", "answers", "late_frames", "late_snapshots", "losses", "terminal"}
WAIT_S = 90
BUSY = 100
HELD = "SELECT market, lower(r), upper(r) FROM store.covered, unnest(held) r WHERE channel = 'orderbook_delta'"
JOURNAL = "00000000-0000-0000-0000-000000000001"


class Site:
    """Three gatherers' databases, production's, and the process between them."""

    def __init__(self, folder: Path, gatherers: list[str], production: str) -> None:
        self.folder, self.production = folder, production
        self.gatherers = dict(zip(GATHERERS, gatherers, strict=True))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        key = write_key(folder / "key.pem")
        config: dict[str, Any] = {
            "gatherers": [{"id": f"gatherer-{n}", "dsn": dsn} for n, dsn in self.gatherers.items()],
            "production": {"dsn": production},
            "kalshi": {"rest_url": "http://127.0.0.1:9/trade-api/v2", "key_id": "k", "private_key_file": str(key)},
            "merge": {"hole_wait": "1s", "recent": "500ms", "recent_rows_max": 1000, "metadata_poll": "100ms"}
            | {"read_batches_max": 3},
            "http": {"port": self.port},
        }
        (folder / "deduplicator.yaml").write_text(yaml.safe_dump(config))

    async def start(self) -> None:
        """It always starts."""
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "deduplicator", "--config", str(self.folder / "deduplicator.yaml")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + WAIT_S
        while not await asyncio.to_thread(self._ready):
            assert self.process.poll() is None, f"it ended: {self.log()}"
            assert time.monotonic() < until, f"it is not ready: {self.log()}"
            await asyncio.sleep(0.05)

    def _ready(self) -> bool:
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1).status == 200
        return False

    def log(self) -> str:
        """The end of it."""
        return (self.folder / "log").read_text()[-3000:]

    def kill(self) -> None:
        """At any instant."""
        if self.process is not None:
            assert self.process.poll() is None, f"it ended by itself: {self.log()}"
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Empty databases."""
    async with contextlib.AsyncExitStack() as stack:
        made = [await stack.enter_async_context(new_database("gatherer")) for _ in GATHERERS]
        production = await stack.enter_async_context(new_database("production"))
        running = Site(tmp_path, [database.dsn for database in made], production.dsn)
        yield running
        if running.process is not None:
            running.process.kill()
            running.process.wait()


def busy(seed: int, begins_ms: int) -> World:
    """A world in which enough happens."""
    kinds = sorted(KINDS.intersection(enabled()))
    worlds = (live(number, kinds, begins_ms) for number in itertools.count(1000 * seed))
    return next(w for w in worlds if all(sum(len(lane.delivered) for lane in s.lanes) > BUSY for s in w.stations))


async def writers(
    site: Site, world: World, rng: random.Random
) -> dict[tuple[int, int], tuple[BatchWriter, list[Rows]]]:
    """Of every lane: what writes its batches, and the batches."""
    made = {}
    for station in world.stations:
        for number, lane in enumerate(station.lanes):
            connection = await asyncpg.connect(site.gatherers[station.number])
            writer = BatchWriter(connection, number, None, JOURNAL)
            await writer.resume()
            made[station.number, number] = writer, list(deriving.batches(lane, rng))
    return made


@pytest.mark.skipif("restores" not in enabled(), reason="switched off in tests/support/worlds/kinds.py")
@pytest.mark.parametrize("seed", range(4 if LONG else 2))
async def test_a_deduplicator_that_is_killed_at_random_always_starts_and_the_result_is_the_same(
    seed: int, site: Site
) -> None:
    """Its markets are deleted and closed, and one gatherer's rows come when the others are through."""
    begins_ms = int(time.time() * 1000) - 600_000
    world = busy(seed, begins_ms)
    lines = [(market, begins_ms, None) for market, *_ in world.lines]
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
                        await writer.write(rows[writer.batch], Place(1, writer.batch), begins_ms * 1000)
            await asyncio.sleep(max(0.0, kill_at - time.monotonic()))
            site.kill()
        for writer, rows in (lanes[key] for key in part):
            while writer.batch < len(rows):
                await writer.write(rows[writer.batch], Place(1, writer.batch), begins_ms * 1000)
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
