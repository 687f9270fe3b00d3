"""The feed: what it costs the writer, how long a step takes to a reader, and how fast a reader catches up.

Steps of 5,000 changes as the deduplicator stores them, with the entry written and, in turns, without its block (a row
of kind `other` by the trigger): processor time of this process and of the server's, so that other load counts little.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import asyncpg
import numpy as np

from bench.common import scaled
from common.feed.reader import Feed
from common.storage import migrate
from common.storage.embedded import EmbeddedServer
from deduplicator.feed import Entry
from deduplicator.merge.copies import Changes, Deltas
from deduplicator.production import Production

ROWS: Final = 5_000
STEPS: Final = scaled(40, 5)
PACED_STEPS: Final = scaled(100, 20)
PACED_ROWS: Final = 500
PACE_S: Final = 0.1
MARKETS: Final = 400
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


def _changes(rng: np.random.Generator, rows: int, at_ms: int) -> Changes:
    ms = at_ms + np.sort(rng.integers(0, 1000, rows))
    market = rng.integers(1, MARKETS + 1, rows)
    order = np.lexsort((ms, market))
    market, ms = market[order], ms[order]
    first = np.flatnonzero(np.r_[True, (np.diff(market) != 0) | (np.diff(ms) != 0)])
    ordinal = np.arange(rows) - np.repeat(first, np.diff(np.r_[first, rows]))
    ones = np.ones(rows, np.int64)
    return Changes(
        new=Deltas(
            run=ones, market=market, seq=ones, exchange_ms=ms, ordinal=ordinal,
            exchange_us=rng.integers(0, 1000, rows), side=rng.integers(0, 2, rows),
            price=rng.integers(1, 99, rows) * 100, delta=rng.integers(-50, 51, rows) * 100,
            received_us=ms * 1000 + 20_000 + rng.integers(0, 2000, rows),
        )
    )  # fmt: skip


def _cpu_s(backend: int) -> float:
    """Processor time of this process and of a server's process."""
    fields = Path(f"/proc/{backend}/stat").read_text().rsplit(")", 1)[1].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) * TICK_S


async def _nothing(entry: Entry, db: asyncpg.Connection) -> None:
    """Instead of `Entry.write`."""


async def _cost(production: Production, backend: int) -> tuple[float, float]:
    """Processor seconds of steps with and without their blocks."""
    rng, at_ms = np.random.default_rng(1), int(time.time() * 1000) - 3_600_000
    write: Any = Entry.write
    spent = {True: 0.0, False: 0.0}
    try:
        for n in range(2 * STEPS + 4):
            changes, with_block = _changes(rng, ROWS, at_ms + n * 2000), n % 2 == 0
            Entry.write = write if with_block else _nothing  # type: ignore[method-assign,assignment]
            began = _cpu_s(backend)
            await production.store(changes, [])
            if n >= 4:  # the first make partitions and plans
                spent[with_block] += _cpu_s(backend) - began
    finally:
        Entry.write = write  # type: ignore[method-assign]
    return spent[True], spent[False]


async def _latency(production: Production, dsn: str) -> list[float]:
    """Milliseconds from a step's row to its reader, at 5,000 changes a second."""
    place = await production._db.fetchval("SELECT step FROM store.lease")
    took: list[float] = []

    async def read() -> None:
        async for step in Feed(dsn, place):
            took.append((time.time() - step.committed_at.timestamp()) * 1000)
            if len(took) == PACED_STEPS:
                return

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.5)
    rng, at_ms = np.random.default_rng(2), int(time.time() * 1000)
    for n in range(PACED_STEPS):
        await asyncio.gather(production.store(_changes(rng, PACED_ROWS, at_ms + n * 2000), []), asyncio.sleep(PACE_S))
    await asyncio.wait_for(reading, 60)
    return took


async def _rate(dsn: str, last: int) -> tuple[int, float]:
    """Rows, and the seconds of reading them from the first step on."""
    rows, began = 0, time.perf_counter()
    async for step in Feed(dsn, 0):
        if "changes" in step.tables:
            rows += len(step.tables["changes"]["market"].to_numpy())
        if step.step == last:
            break
    return rows, time.perf_counter() - began


async def run() -> dict[str, dict[str, Any]]:
    """The four of them."""
    with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as name:
        Path(name).chmod(0o711)
        async with EmbeddedServer(Path(name) / "db") as server:
            await asyncio.to_thread(migrate.migrate, server.dsn, "production")
            db = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
            production = Production(db, "bench")
            await production.take_lease()
            await production.allot([f"KXBENCH-{n}" for n in range(MARKETS)])
            backend = await db.fetchval("SELECT pg_backend_pid()")
            with_block, without = await _cost(production, backend)
            took = await _latency(production, server.dsn)
            rows, seconds = await _rate(server.dsn, await db.fetchval("SELECT step FROM store.lease"))
            await db.close()
    ms = statistics.quantiles(took, n=100)
    results: list[tuple[str, float, str, float | None]] = [
        ("feed_cost", round(STEPS * ROWS / with_block), "rows/s of processor", round(STEPS * ROWS / without)),
        ("feed_p50", round(ms[49], 1), "ms", None),
        ("feed_p99", round(ms[98], 1), "ms", None),
        ("feed_rate", round(rows / seconds), "rows/s", None),
    ]
    return {
        name: {"value": value, "unit": unit, "ceiling": ceiling, "ratio": ceiling and round(value / ceiling, 3)}
        for name, value, unit, ceiling in results
    }
