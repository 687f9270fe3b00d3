"""Real trades through the whole path: the feed's order, and its candles, in production, archive, DuckDB and Python.

The recordings' frames go into the journals of two gatherers that lose some, through the derivation and the merge
into production, to Parquet, and once more through a rebuild in parts. The reference is the order of the file.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import duckdb
import msgspec
import pyarrow.parquet as pq
import pytest

from common.config.schema import DeduplicatorConfig
from common.numbers import datetime_of_ms, ms_of_datetime
from fleet.queries import library
from fleet.queries.archive import Archive
from fleet.rebuild import spark
from fleet.rebuild.local import Rebuild
from fleet.rebuild.raw import lanes
from gatherer.derive.horizon import BoundsMs
from gatherer.journal.format import MAGIC, Ended, Kind, SegmentHeader, SessionOpened, encode
from kalshi_fleet.place import Location
from tests.support.archive_case import copied, running_site
from tests.support.scale import LONG

BOUNDS = BoundsMs(disorder=15_000, lag=30_000, sender=1000, clock=200)
MINUTE_MS = 60_000
LOST = 0.002
FILES = 6 if LONG else 2
Content = tuple[int, Decimal, Decimal, str]
"""Millisecond, price of YES, count, taker's side: trades that are equal in these are not distinguished."""
Candle = tuple[Decimal, Decimal, Decimal, Decimal, Decimal]


def content(row: Any) -> Content:
    """Of a row of any relation of trades."""
    return (ms_of_datetime(row["exchange_ts"]), row["yes_price"], row["count"], row["taker_side"])


class Recording:
    """One file: its market, its trades in its order, and the frames of two subscriptions."""

    def __init__(self, file: Path) -> None:
        self.frames: list[tuple[int, bytes]] = []
        trades: list[Content] = []
        seq = {1: 0, 2: 0}
        with gzip.open(file, "rt") as lines:
            for line in lines:
                row = json.loads(line)
                event, msg = row["event"], row["event"]["msg"]
                sid = 2 if event["type"] == "trade" else 1
                seq[sid] += 1
                frame = {**event, "sid": sid, "seq": seq[sid]}
                self.frames.append((row["recv_ms"], json.dumps(frame, separators=(",", ":")).encode() + b"\n"))
                self.ticker = msg["market_ticker"]
                if sid == 2:
                    price, count = Decimal(msg["yes_price_dollars"]), Decimal(msg["count_fp"])
                    trades.append((msg["ts_ms"], price, count, msg["taker_side"]))
        self.trades = sorted(trades, key=lambda trade: trade[0])
        self.candles = candles(self.trades)
        self.first, self.last = (datetime_of_ms(ms) for ms in (self.frames[0][0], self.trades[-1][0] + MINUTE_MS))


def candles(trades: Iterable[Content]) -> dict[int, Candle]:
    """By minute, from trades in their order: open, high, low, close, volume."""
    of: defaultdict[int, list[Content]] = defaultdict(list)
    for trade in trades:
        of[trade[0] // MINUTE_MS].append(trade)
    return {
        minute: (
            some[0][1],
            max(price for _, price, _, _ in some),
            min(price for _, price, _, _ in some),
            some[-1][1],
            sum((count for _, _, count, _ in some), Decimal(0)),
        )
        for minute, some in of.items()
    }


def journal(recordings: list[Recording], folder: Path, gatherer: int) -> None:
    """What a gatherer that loses a frame now and then has of the recordings, as a segment of its raw archive."""
    rng = random.Random(gatherer)
    first_s = recordings[0].frames[0][0] // 1000
    header = SegmentHeader("journal", first_s, 0, continues=False)
    pieces = [MAGIC, encode(Kind.SEGMENT, 0, 0, 0, msgspec.json.encode(header))]

    def put(kind: Kind, session: int, at_ms: int, payload: bytes) -> None:
        pieces.append(encode(kind, session, at_ms * 1000, at_ms * 1000, payload))

    for number, recording in enumerate(recordings, 1):
        at = recording.frames[0][0] - 1000
        opened = SessionOpened("orderbook", 1, "ws://recording", clock_proven=True)
        put(Kind.OPENED, number, at, msgspec.json.encode(opened))
        for n, (received_ms, frame) in enumerate(recording.frames):
            at = max(at, received_ms) if n else at
            whole = at // 10_000 % 2 == gatherer % 2  # what one of them loses the other has
            if n == 0 or whole or rng.random() > LOST:
                put(Kind.FRAME, number, at, frame)
        put(Kind.ENDED, number, at + 1000, msgspec.json.encode(Ended("over")))
    target = folder / f"gatherer=g{gatherer}" / f"lane-0-{first_s:012d}.journal"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"".join(pieces))


class Rebuilt(Rebuild):
    """Into production, without an exchange that could be asked about the markets."""

    async def _metadata(self, connection: asyncpg.Connection) -> None:
        """Nothing is known of them."""


async def in_production(dsn: str, raw: Path, work: Path) -> None:
    """Derive, merge and store all of it."""
    config = DeduplicatorConfig.model_validate(
        {
            "deduplicator_id": "d",
            "gatherers": [{"id": "g1", "dsn": "postgresql://x/x"}],
            "production": {"dsn": dsn},
            "kalshi": {"rest_url": "http://127.0.0.1:9", "key_id": "k", "private_key_file": "/dev/null"},
            "archive": {"bucket": "archive"},
            "http": {"port": 1},
        }
    )
    work.mkdir()
    done = await Rebuilt(Location(str(raw)), config, BOUNDS, 2000, work, lambda so_far: None).run(dsn)
    assert not done.damaged and done.confirmed > done.inserted * 0.98


def in_parts(raw: Path, output: Path) -> None:
    """What Spark's executors do."""
    place = Location(str(raw))
    now_ms = ms_of_datetime(datetime.now().astimezone())
    plan = spark.SparkPlan(place, Location(str(output)), lanes(place), BOUNDS, 2000, 2, {}, now_ms, 30_000)
    batches = sorted(pair for index in range(len(plan.lanes)) for pair in spark.derive(plan, index))
    for part in range(plan.parts):
        list(spark.merge(plan, part, [pair for pair in batches if pair[0][0] == part]))


async def test_trades_are_in_the_feeds_order_and_no_candle_is_wrong(
    recordings: list[Path], open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every market, wherever one reads them."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    real = sorted(map(Recording, recordings[:FILES]), key=lambda one: one.frames[0][0])
    raw = open_folder / "raw"
    for gatherer in (1, 2):
        journal(real, raw, gatherer)
    async with running_site(open_folder, monkeypatch) as site:
        await site.db.execute("TRUNCATE store.deltas")
        await in_production(site.dsn, raw, open_folder / "work")
        spans = [(one.first.replace(minute=0, second=0, microsecond=0), one.last) for one in real]
        hours = sorted(
            {
                first + n * timedelta(hours=1)
                for first, last in spans
                for n in (0, 1, 2)
                if first + n * timedelta(hours=1) <= last
            }
        )
        for hour in hours:
            manifest = await site.exporter.export_hour(site.db, hour)
            assert manifest.checks["trades"].failed == 0, manifest.checks
        folder = await asyncio.to_thread(copied, site, open_folder)
        await asyncio.to_thread(in_parts, raw, open_folder / "parts")
        archive = Archive(Location("s3://archive", site.s3.meta.endpoint_url))

        def archived(name: str, one: Recording) -> list[dict[str, Any]]:
            values = {"ticker": one.ticker, "from": one.first, "to": one.last}
            return archive.run(library.load_archive()[name].literal(values))

        assert await site.db.fetchval("SELECT count(*) FROM store.trades WHERE ordinal IS NULL") == 0
        wrong_by_id = 0
        for one in real:
            statement, arguments = library.load()["trades"].bound(
                {"ticker": one.ticker, "from": one.first, "to": one.last}
            )
            orders = {
                "production": await site.db.fetch(statement, *arguments),
                "archive": archived("trades", one),
                "Python, as the objects are sorted": in_files(folder, one.ticker),
                **{f"DuckDB, {where.name}": by_duckdb(where, one.ticker) for where in (folder, open_folder / "parts")},
            }
            for name, rows in orders.items():
                order = [content(row) for row in rows]
                assert order == one.trades, f"{one.ticker}: {name}"
                assert candles(order) == one.candles, f"{one.ticker}: {name}"
            shown = {
                "candles()": await site.db.fetch(
                    "SELECT end_ts - interval '1 minute' AS minute, * FROM candles($1, 1, $2, $3)",
                    one.ticker,
                    one.first,
                    one.last,
                ),
                "candlesticks": await site.db.fetch(
                    "SELECT end_ts - interval '1 minute' AS minute, * FROM candlesticks"
                    " WHERE ticker = $1 AND period_minutes = 1",
                    one.ticker,
                ),
                "archive": archived("candles", one),
            }
            for name, rows in shown.items():
                found = {
                    ms_of_datetime(row["minute"]) // MINUTE_MS: tuple(
                        row[field] for field in ("open", "high", "low", "close", "volume")
                    )
                    for row in rows
                }
                assert found == one.candles, f"{one.ticker}: {name}"
            old = await site.db.fetch(
                "SELECT * FROM trades WHERE ticker = $1 ORDER BY exchange_ts, trade_id", one.ticker
            )
            by_id = candles(content(row) for row in old)
            wrong_by_id += sum(by_id[minute] != candle for minute, candle in one.candles.items())
        assert wrong_by_id, "ordered by id some candles are wrong: the test can see the difference"


def in_files(folder: Path, ticker: str) -> list[dict[str, Any]]:
    """Rows of the archive's objects as they stand there, hour by hour."""
    files = sorted((folder / "trades").glob("date=*/hour=*/part.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist() if row["ticker"] == ticker]


def by_duckdb(folder: Path, ticker: str) -> list[dict[str, Any]]:
    """As in docs/formats.md."""
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    found: Any = db.sql(
        f"SELECT * FROM read_parquet('{folder}/trades/*/*/*.parquet', hive_partitioning = true)"
        " WHERE ticker = ? ORDER BY exchange_ts, ordinal, trade_id",
        params=[ticker],
    )
    rows: list[dict[str, Any]] = found.to_arrow_table().to_pylist()
    return rows
