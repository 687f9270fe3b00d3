"""The library's replay: events/s of one core, from the archive's Parquet to events in Python, book checked.

The ceiling is pyarrow reading the same columns of the same rows on one core. The mid wanders through the book, so that
the check for crossed books has work to do; a tenth of the changes are trades.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.contract import manifest as manifests
from common.contract.manifest import ArchivedRelation, Manifest
from common.numbers import HOUR_MS, datetime_of_ms, ms_of_datetime
from deduplicator.archive import tables
from deduplicator.archive.order import Order, rows_of
from workshop.bench.common import scaled
from workshop.bench.statements import SQL

if TYPE_CHECKING:
    import kalshi_fleet as kf

ROWS = scaled(4_000_000, 20_000)
MARKETS = 40
GROUP_ROWS = 1_000_000
LIVE = 50
"""Orders in a book at a time."""
MID_STEP = 1000
HOUR = datetime(2026, 11, 21, 10, tzinfo=UTC)


def _columns(random: np.random.Generator, count: int) -> tuple[Any, Any, Any]:
    """Side, price and delta of a market: every order stays for a while, then goes."""
    orders = np.arange(count // 2 + LIVE)
    mid = 50 + (30 * np.sin(orders / MID_STEP / 6)).astype(np.int64)
    side = random.integers(0, 2, len(orders))
    away = random.integers(1, 10, len(orders))
    price = 100 * np.where(side == 0, mid - away, 100 - mid - away)
    size = 100 * random.integers(1, 50, len(orders))
    after = np.arange(count) - LIVE
    goes = (after >= 0) & (after % 2 == 0)
    which = np.where(after < 0, after + LIVE, np.where(goes, after // 2, LIVE + after // 2))
    return side[which], price[which], np.where(goes, -size[which], size[which])


def _write(folder: Path) -> list[str]:
    random, start = np.random.default_rng(1), ms_of_datetime(HOUR)
    names = [f"KXBENCH-{n:03}" for n in range(MARKETS)]
    order = Order(names, start)
    shares = random.zipf(1.3, MARKETS).astype(np.float64).clip(1, 50)
    counts = (ROWS * shares / shares.sum()).astype(np.int64)
    files = {name: tables.ParquetFile(_path(folder, name), name) for name in tables.HOURLY}
    parts, trades = [], []
    for code, count in enumerate(counts.tolist()):
        ms = start + np.sort(random.integers(0, HOUR_MS, count))
        group = np.concatenate(([True], ms[1:] != ms[:-1]))
        ordinal = np.arange(count) - np.maximum.accumulate(np.where(group, np.arange(count), 0))
        side, price, delta = _columns(random, count)
        nothing = np.zeros(count, np.int64)
        values = {"received_us": ms * 1000, "delta": delta, "price": price, "exchange_us": nothing - 1, "side": side}
        parts.append(rows_of(order.keys(nothing + code, ms, ordinal), values))
        taken = np.flatnonzero(delta < 0)[::5]
        trades.append((names[code], ms[taken], ordinal[taken], price[taken], -delta[taken]))
    rows = np.concatenate(parts)
    for at in range(0, len(rows), GROUP_ROWS):
        files["orderbook_deltas"].write(tables.deltas_table(rows[at : at + GROUP_ROWS], order))
    for name, ms, ordinal, price, size in trades:
        many = len(ms)
        columns = [
            pa.array([f"{name}-{n:08}" for n in range(many)]),
            pa.array([name] * many),
            pa.array(ms).cast(tables.MS),
            pa.array(ordinal.astype(np.int32)),
            tables.decimals(price, tables.PRICE),
            tables.decimals(size, tables.SIZE),
            pa.array(["yes"] * many),
            pa.array([False] * many),
            pa.array(ms * 1000).cast(tables.US),
            pa.array(["ws"] * many),
        ]
        files["trades"].write(pa.Table.from_arrays(columns, schema=tables.SCHEMAS["trades"]))
    for name, file in files.items():
        if not file.rows:
            file.write(tables.SCHEMAS[name].empty_table())
        file.close()
    relations = {name: ArchivedRelation(name, 0, "", "", None, file.rows) for name, file in files.items()}
    manifest = Manifest(HOUR, HOUR, 0, True, HOUR, 0, [], [], 0, {}, "", relations)
    path = folder / manifests.path(HOUR)
    path.parent.mkdir(parents=True)
    path.write_bytes(manifests.encoded(manifest))
    return names


def _path(folder: Path, relation: str) -> Path:
    path = folder / relation / f"date={HOUR:%Y-%m-%d}" / f"hour={HOUR:%H}" / "part.parquet"
    path.parent.mkdir(parents=True)
    return path


def _rate(archive: kf.Archive, names: list[str]) -> tuple[float, int]:
    begun, count = time.process_time(), 0
    last: deque[Any] = deque(maxlen=1)
    events = archive.replay(names, HOUR, datetime_of_ms(ms_of_datetime(HOUR) + HOUR_MS))
    for count, event in enumerate(events, 1):  # noqa: B007  a consumer's loop is part of it
        last.append(event)
    return count / (time.process_time() - begun), count


async def run() -> dict[str, Any]:
    """Measure: all markets at once, and the busiest alone."""
    import kalshi_fleet as kf  # installed beside the fleet; the other benchmarks need not have it
    from kalshi_fleet.archived import COLUMNS

    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    pa.set_cpu_count(1)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            names = _write(folder)
            archive = kf.Archive(folder)
            deltas = folder / f"orderbook_deltas/date={HOUR:%Y-%m-%d}/hour={HOUR:%H}/part.parquet"
            begun = time.process_time()
            read = pq.ParquetFile(deltas, read_dictionary=["ticker", "side"]).read(list(COLUMNS))
            ceiling = len(read) / (time.process_time() - begun)
            del read
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            together, count = _rate(archive, names)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            alone, _ = _rate(archive, [max(names, key=lambda one: archive_rows(archive, one))])
    finally:
        os.sched_setaffinity(0, cores)
    return {
        "replay": _result(alone, "events/s, one market", ceiling),
        "replay_many": _result(together, f"events/s, {MARKETS} markets", ceiling),
        "replay_memory": {"value": round(grown), "unit": f"MiB for {count} events", "ceiling": None, "ratio": None},
    }


def archive_rows(archive: kf.Archive, name: str) -> int:
    """Changes of a market in the hour."""
    found = archive.sql(SQL["count_changes"].format(name))
    return int(found["n"][0].as_py())


def _result(value: float, unit: str, ceiling: float) -> dict[str, Any]:
    return {"value": round(value), "unit": unit, "ceiling": round(ceiling), "ratio": round(value / ceiling, 3)}
