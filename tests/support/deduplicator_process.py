"""A deduplicator's process between databases, into which worlds of the generator are written."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import yaml

from gatherer.derive.rows import Rows
from gatherer.load.batch_writer import BatchWriter
from tests.support.databases import new_database
from tests.support.keys import write_key
from tests.support.worlds import deriving
from tests.support.worlds.judges import World
from tests.support.worlds.kinds import enabled
from tests.support.worlds.shape import GATHERERS
from tests.support.worlds.world import live
from workshop.rehearsal.local import free_port

KINDS = {"births", "moves", "closes", "resets", "answers", "late_frames", "late_snapshots", "losses", "terminal"}
WAIT_S = 90
BUSY = 100
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
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1).status == 200)
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


@contextlib.asynccontextmanager
async def new_site(folder: Path) -> AsyncIterator[Site]:
    """Between empty databases."""
    async with contextlib.AsyncExitStack() as stack:
        made = [await stack.enter_async_context(new_database("gatherer")) for _ in GATHERERS]
        production = await stack.enter_async_context(new_database("production"))
        running = Site(folder, [database.dsn for database in made], production.dsn)
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
