"""The feed: what it costs the writer, how long a step takes to a reader, and how fast a reader catches up.

The cost is that of a whole deduplicator that takes in what three gatherers recorded (as in `bench.deduplicator`), with
the feed and without it in turns.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import asyncpg
import numpy as np

from common.contract.deltas import Deltas
from common.feed.reader import Feed
from common.storage import migrate
from common.storage.embedded import EmbeddedServer
from deduplicator.merge.copies import Changes
from deduplicator.store.production import Production
from workshop.bench import deduplicator, without_feed
from workshop.bench.common import scaled
from workshop.bench.statements import SQL

ROWS: Final = 5_000
STEPS: Final = scaled(40, 5)
PACED_STEPS: Final = scaled(100, 20)
PACED_ROWS: Final = 500
PACE_S: Final = 0.1
MARKETS: Final = 400


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


async def _cost(rounds: int) -> tuple[float, float]:
    """Unique rows a second of a deduplicator with and without the feed, alternately, from the same gatherers."""
    rates: dict[str, list[float]] = {"deduplicator": [], without_feed.__name__: []}
    with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as name:
        Path(name).chmod(0o711)
        async with EmbeddedServer(Path(name) / "db") as server:
            gatherers = await deduplicator.fill(server, Path(name))
            admin = await asyncpg.connect(deduplicator.database(server, "template1"))
            for _ in range(rounds):
                for module, found in rates.items():
                    await admin.execute(SQL["drop_production"])
                    await admin.execute(SQL["make_production"])
                    production = deduplicator.database(server, "production")
                    found.append(await deduplicator.merged(Path(name), gatherers, production, module))
            await admin.close()
    print("  " + ", ".join(f"{module} {[round(rate) for rate in found]}" for module, found in rates.items()))
    with_feed, without = rates.values()
    return statistics.median(with_feed), statistics.median(without)


async def _latency(production: Production, dsn: str, place: int) -> list[float]:
    """Milliseconds from a step's row to its reader, at 5,000 changes a second."""
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
    async with asyncio.timeout(60):
        await reading
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


async def run(rounds: int = scaled(5, 1)) -> dict[str, dict[str, Any]]:
    """The four of them."""
    with_feed, without = await _cost(rounds)
    with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as name:
        Path(name).chmod(0o711)
        async with EmbeddedServer(Path(name) / "db") as server:
            await asyncio.to_thread(migrate.migrate, server.dsn, "production")
            db = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
            production = Production(db, "bench")
            await production.take_lease()
            await production.allot([f"KXBENCH-{n}" for n in range(MARKETS)])
            at_ms = int(time.time() * 1000) - 3_600_000
            rng = np.random.default_rng(1)
            for n in range(STEPS):
                await production.store(_changes(rng, ROWS, at_ms + n * 2000), [])
            took = await _latency(production, server.dsn, await db.fetchval(SQL["step"]))
            rows, seconds = await _rate(server.dsn, await db.fetchval(SQL["step"]))
            await db.close()
    ms = statistics.quantiles(took, n=100)
    results: list[tuple[str, float, str, float | None]] = [
        ("feed_cost", round(with_feed), "unique rows/s", round(without)),
        ("feed_p50", round(ms[49], 1), "ms", None),
        ("feed_p99", round(ms[98], 1), "ms", None),
        ("feed_rate", round(rows / seconds), "rows/s", None),
    ]
    return {
        name: {"value": value, "unit": unit, "ceiling": ceiling, "ratio": ceiling and round(value / ceiling, 3)}
        for name, value, unit, ceiling in results
    }
