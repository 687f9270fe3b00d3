"""A gatherer's database with batches of some hours."""

from __future__ import annotations

import time
from pathlib import Path

import asyncpg

from common.config.load import load_gatherer
from common.config.schema import GathererConfig
from deduplicator.read.chain import Cursor
from gatherer.derive import rows
from gatherer.journal.format import Position
from gatherer.load.batch_writer import BatchWriter
from tests.support.gatherer_file import GATHERER, written
from tests.support.keys import write_key

HOUR_US = 3_600_000_000
JOURNAL = "0b0e7f39-7e4c-4b53-9d0b-3c1a7c7a4f00"


def batch(n: int) -> rows.Rows:
    """A batch of one change, one trade, one ticker, with a slice and a run of its own that end in it."""
    out = rows.Rows(delta_frames=1, frames=3)
    out.deltas.append("T", n, n, n, 0, -1, 0, 4700, 100, n)
    out.sessions = [rows.SessionRow(n, "orderbook", 1, "ws://x", False, n)]
    out.slices = [rows.SliceRow(n, n, 1, "orderbook_delta", 1, n)]
    out.runs = [rows.RunRow(n, n, "T", 1, 0)]
    out.run_events = [rows.RunEvent(0, n, "ended", 0, n, "x")]
    out.horizons = [rows.HorizonRow(n, n, True, "x")]
    out.trades = [rows.TradeRow(n, n, f"00000000-0000-0000-0000-{n:012d}", "T", n, 1, 1, 0, False, n)]
    out.tickers = [rows.TickerRow("T", n, None, None, None, None, None, None, None, n)]
    out.breaks = [rows.BreakRow(n, 1, "gap", 1, 2, n)]
    return out


def retaining(folder: Path, **retention: str) -> GathererConfig:
    """A configuration with this retention."""
    text = GATHERER.replace("key.pem", str(write_key(folder / "key.pem")))
    text = text.replace("/var/lib/kalshi/journal", str(folder))
    given = {"keep_after_ack": "2h", "max_disk": "100%", **retention}
    return load_gatherer(
        written(folder, text + f"retention: {{{', '.join(f'{k}: {v}' for k, v in given.items())}}}\n"), {}
    )


async def fill(connection: asyncpg.Connection, folder: Path, hours: int, lane: int = 0) -> int:
    """Two batches an hour, the last in the present one; returns how many."""
    now_us = time.time_ns() // 1000
    at_us = now_us - (hours - 1) * HOUR_US
    writer = BatchWriter(connection, lane, folder, JOURNAL, now_us=lambda: at_us)
    await writer.resume()
    for n in range(2 * hours):
        await writer.write(batch(n + 1), Position(1, n + 1), at_us)
        if n % 2:
            at_us += HOUR_US
    return writer.batch


async def nothing_known(lane: int) -> list[Cursor]:
    """Of a lane's batches."""
    del lane
    return []
