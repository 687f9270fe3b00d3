"""Loader: rows a second from the journal to committed, against binary COPY of ready columns into the same table."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np

from common.config.schema import DatabaseConfig, ExchangeConfig, GathererConfig, JournalConfig, LoadConfig
from common.storage import copy, migrate
from common.storage.embedded import EmbeddedServer
from gatherer.journal.format import Kind, SessionOpened
from gatherer.journal.inbox import Inbox
from gatherer.journal.writer import JournalWriter
from gatherer.load.batch_writer import DELTA_LAYOUT
from gatherer.load.loader import Loader, suit_process
from workshop.bench.common import scaled
from workshop.bench.statements import SQL

ROWS = scaled(1_800_000, 20_000)
MARKETS = 500
BATCH = LoadConfig().batch_records  # as the loader's: each is a transaction
FLUSH = 1_000  # the capture writes every 20 ms: so many at 50,000 frames a second


def write_journal(config: JournalConfig, rows: int = ROWS) -> None:
    """One session with a book and many changes for each of its markets."""
    journal = JournalWriter(config, 0)
    opened = SessionOpened("orderbook", 1, "ws://bench", clock_proven=True)
    journal.append_struct(Kind.OPENED, 1, opened)
    inbox = journal.inbox(1, 0)
    tickers = [f"KXBENCH-26NOV{n % 30:02d}-T{n}" for n in range(MARKETS)]
    seq = 0
    now_us = time.time_ns() // 1000 - rows * 20
    for ticker in tickers:
        seq += 1
        _frame(inbox, now_us, "orderbook_snapshot", seq, {"market_ticker": ticker, "market_id": "x"})
    for n in range(rows):
        seq += 1
        now_us += 20
        msg = {
            "market_ticker": tickers[n // 2 % MARKETS],
            "market_id": "6d0e8a1c-5a3f-4b7e-9d57-0c7f6f1f2a11",
            "price_dollars": f"0.{10 + n // 2 % 80}00",
            "delta_fp": f"{'' if n % 2 == 0 else '-'}{1 + n // 2 % 500}.00",
            "side": "yes" if n // 2 % 2 else "no",
            "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_us // 1_000_000)) + f".{now_us % 1_000_000:06d}Z",
            "ts_ms": now_us // 1000,
        }
        _frame(inbox, now_us, "orderbook_delta", seq, msg)
        if n % FLUSH == 0:
            journal.flush()
    journal.close()


def _frame(inbox: Inbox, us: int, type_: str, seq: int, msg: dict[str, Any]) -> None:
    frame = {"type": type_, "sid": 1, "seq": seq, "msg": msg, "sending_ts_ms": us // 1000}
    inbox.frames.append(json.dumps(frame, separators=(",", ":")).encode() + b"\n")
    inbox.monos_ns.append(us * 1000)


async def ceiling(dsn: str) -> float:
    """Rows a second of COPY alone: the same columns, the same batches, ready before."""
    connection = await asyncpg.connect(dsn)
    rng = np.random.default_rng(1)
    await connection.execute(SQL["partition"])
    await connection.execute(SQL["empty_deltas"])
    stored_us = time.time_ns() // 1000 - copy.PG_EPOCH_US
    batches = []
    for n in range(ROWS // BATCH):
        columns = {name: rng.integers(0, 1000, BATCH) for name, _ in DELTA_LAYOUT}
        columns |= {"batch": np.full(BATCH, n), "stored_at": np.full(BATCH, stored_us)}
        batches.append(columns)
    began = time.perf_counter()
    for columns in batches:
        await copy.write(connection, "public", "deltas", copy.CopyStream(DELTA_LAYOUT, columns))
    rate = ROWS / (time.perf_counter() - began)
    await connection.execute(SQL["empty_deltas"])
    await connection.close()
    return rate


async def loaded(config: GathererConfig, dsn: str, rows: int = ROWS) -> float:
    """Rows a second of the loader, from the first record to the last commit."""
    loader = Loader(config, dsn, 0, drain=True, report=lambda _: None)
    began = time.perf_counter()
    await loader.run(asyncio.Event())
    rate = rows / (time.perf_counter() - began)
    connection = await asyncpg.connect(dsn)
    count = await connection.fetchval(SQL["count_deltas"])
    assert count == rows, f"the loader stored {count} of {rows} rows"
    await connection.close()
    return rate


async def run(rounds: int = scaled(5, 2)) -> dict[str, dict[str, Any]]:
    """On a fresh database each time, between two ceilings: what a shared machine does meanwhile befalls all three."""
    ready, full, ratios = [], [], []
    suit_process()  # the ceiling's too
    with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        written = JournalConfig(dir=folder / "journal")
        write_journal(written)
        for n in range(rounds):
            exchange = ExchangeConfig(rest_url="http://127.0.0.1:9", key_id="x", private_key_file=folder / "x")
            journal = JournalConfig(dir=folder / f"journal-{n}")
            shutil.copytree(written.dir, journal.dir, copy_function=os.link)
            config = GathererConfig(
                gatherer_id="bench", kalshi=exchange, database=DatabaseConfig(dsn="embedded:x"), journal=journal
            )
            async with EmbeddedServer(folder / f"db-{n}") as server:
                await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
                before = await ceiling(server.dsn)
                full.append(await loaded(config, server.dsn))
                ready.append((before + await ceiling(server.dsn)) / 2)
                ratios.append(full[-1] / ready[-1])
    value, top, ratio = (statistics.median(each) for each in (full, ready, ratios))
    return {"loader": {"value": round(value), "unit": "rows/s", "ceiling": round(top), "ratio": round(ratio, 3)}}
