"""The archive: rows/s of an hour from production to a Parquet file, and bytes a change of real recordings.

The ceiling of the first is the slower of reading the same rows by binary COPY and pyarrow writing them when they are
ready; sending the file to S3 is not in it. Before that the memory of the whole process is measured, as its peak.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import resource
import statistics
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np

from common.contract.deltas import STORED_LAYOUT
from common.errors import FleetError
from common.numbers import HOUR_MS, ms_of_datetime, parse_price, parse_size, sub_millisecond_us
from common.process import keep_freed_memory
from common.storage import copy, migrate
from common.storage.database import connect
from common.storage.embedded import EmbeddedServer
from deduplicator.archive import tables
from deduplicator.archive.hour import ExportedHour
from deduplicator.archive.order import Order, Rows, rows_of
from deduplicator.archive.source import Source
from deduplicator.statements import SQL as DEDUPLICATOR
from workshop.bench.common import scaled
from workshop.bench.statements import SQL

ROWS = scaled(4_000_000, 20_000)
MARKETS = 5000
AT_ONCE = 500_000
HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)


async def _fill(dsn: str) -> None:
    """An hour of changes, in the order of their arrival; few markets are busy."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(SQL["add_day"], HOUR.date())
    await connection.execute(SQL["add_markets"], MARKETS)
    random, start = np.random.default_rng(1), ms_of_datetime(HOUR)
    for first in range(0, ROWS, AT_ONCE):
        count = min(AT_ONCE, ROWS - first)
        ms = start + (first + np.arange(count)) * HOUR_MS // ROWS
        market = np.minimum(random.zipf(1.3, count), MARKETS)
        order = np.lexsort((np.arange(count), ms, market))
        group = np.concatenate(([True], (np.diff(market[order]) != 0) | (np.diff(ms[order]) != 0)))
        ordinal = np.empty(count, np.int64)
        place = np.arange(count)
        ordinal[order] = place - np.maximum.accumulate(np.where(group, place, 0))
        columns = {
            "market": market,
            "exchange_ts": copy.timestamps_us(ms * 1000),
            "ordinal": ordinal,
            "exchange_us": random.integers(0, 1000, count),
            "side": random.integers(0, 2, count),
            "price": random.integers(1, 100, count) * 100,
            "delta": random.integers(-500, 500, count) * 100,
            "received_at": copy.timestamps_us(ms * 1000 + random.integers(5_000, 90_000, count)),
        }
        await copy.write(connection, "store", "deltas", copy.CopyStream(STORED_LAYOUT, columns))
    await connection.execute(SQL["vacuum_deltas"])
    await connection.close()


async def _read(connection: asyncpg.Connection) -> float:
    """Seconds to read the hour by binary COPY, and no more."""

    async def take(data: bytes) -> None:
        pass

    began = time.perf_counter()
    until = HOUR + timedelta(hours=1)
    await connection.copy_from_query(DEDUPLICATOR["export_orderbook_deltas"], HOUR, until, output=take, format="binary")
    return time.perf_counter() - began


def _write(path: Path, folder: Path) -> float:
    """Seconds in which pyarrow writes the file's tables again."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    ready = [file.read_row_group(n).cast(tables.SCHEMAS["orderbook_deltas"]) for n in range(file.num_row_groups)]
    began = time.perf_counter()
    again = tables.ParquetFile(folder / "again.parquet", "orderbook_deltas")
    for table in ready:
        again.write(table)
    again.close()
    return time.perf_counter() - began


async def _exported(dsn: str, connection: asyncpg.Connection, folder: Path) -> float:
    """Seconds in which the hour becomes files."""
    began = time.perf_counter()
    written = await ExportedHour(
        Source(connection, lambda: connect(dsn), HOUR, lambda *_: False), folder, lambda *_: None
    ).write()
    seconds = time.perf_counter() - began
    if written.rows["orderbook_deltas"] != ROWS:
        raise FleetError(f"{written.rows['orderbook_deltas']} rows were written of {ROWS}")
    return seconds


async def run(rounds: int = scaled(5, 2)) -> dict[str, dict[str, Any]]:
    """Both figures, and the memory. The process's first export is not timed; each other is between two ceilings."""
    keep_freed_memory(arenas=1)  # as the deduplicator does; the ceiling's too
    with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        async with EmbeddedServer(folder / "db") as server:
            await asyncio.to_thread(migrate.migrate, server.dsn, "production")
            await _fill(server.dsn)
            connection = await connect(server.dsn)
            await _read(connection)  # so that everything is in the server's memory for all
            await _exported(server.dsn, connection, folder)
            gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
            file = folder / "orderbook_deltas.parquet"
            taken, ready = [], [max(await _read(connection), await asyncio.to_thread(_write, file, folder))]
            for _ in range(rounds):
                taken.append(await _exported(server.dsn, connection, folder))
                ready.append(max(await _read(connection), await asyncio.to_thread(_write, file, folder)))
            await connection.close()
        ratio = statistics.median(sum(ready[n : n + 2]) / 2 / seconds for n, seconds in enumerate(taken))
        rate, ceiling = (round(ROWS / statistics.median(seconds)) for seconds in (taken, ready))
        results = {
            "archive": _result(rate, "rows/s", ceiling, ratio),
            "archive_memory": _result(round(gib, 2), f"GiB at {ROWS:,} rows", 1, gib),
        }
        if recordings := os.environ.get("KALSHI_RECORDINGS"):
            size, rows = await asyncio.to_thread(_recorded, Path(recordings), folder)
            results["archive_bytes"] = _result(round(size / rows, 2), f"bytes a change of {rows:,}", 5, size / rows / 5)
        return results


def _result(value: float, unit: str, ceiling: float, ratio: float) -> dict[str, Any]:
    return {"value": value, "unit": unit, "ceiling": ceiling, "ratio": round(ratio, 2)}


def _recorded(recordings: Path, folder: Path) -> tuple[int, int]:
    """Bytes and rows of hours of real changes. Their receive times are in milliseconds: microseconds are made up."""
    hours: dict[int, list[tuple[Any, ...]]] = {}
    for file in sorted(recordings.rglob("*.ndjson.gz")):
        ordinals: Counter[int] = Counter()
        with gzip.open(file, "rt") as lines:
            for line in lines:
                frame = json.loads(line)
                if frame["event"]["type"] != "orderbook_delta":
                    continue
                msg = frame["event"]["msg"]
                ms = msg["ts_ms"]
                row = (
                    msg["market_ticker"],
                    ms,
                    ordinals[ms],
                    sub_millisecond_us(msg["ts"]),
                    ("yes", "no").index(msg["side"]),
                    parse_price(msg["price_dollars"]),
                    parse_size(msg["delta_fp"]),
                    frame["recv_ms"] * 1000,
                )
                ordinals[ms] += 1
                hours.setdefault(ms // HOUR_MS * HOUR_MS, []).append(row)
    size = 0
    for start, rows in hours.items():
        order = Order((row[0] for row in rows), start)
        file_ = tables.ParquetFile(folder / f"{start}.parquet", "orderbook_deltas")
        file_.write(tables.deltas_table(_block(order, rows), order))
        file_.close()
        size += (folder / f"{start}.parquet").stat().st_size
    return size, sum(map(len, hours.values()))


def _block(order: Order, rows: list[tuple[Any, ...]]) -> Rows:
    tickers, *values = zip(*rows, strict=True)
    ms, ordinal, us, side, price, delta, received = (np.array(value, np.int64) for value in values)
    columns = {"exchange_us": us, "side": side, "price": price, "delta": delta, "received_us": received}
    block = rows_of(order.keys(order.codes(tickers), ms, ordinal), columns)
    ordered: Rows = block[np.argsort(block["key"])]
    return ordered
