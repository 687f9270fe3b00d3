"""Sizes and money: the page's table is the code's, and the bytes that it multiplies are those of frames and rows."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest
import zstandard

from common.storage import migrate
from tests.support.databases import Database
from workshop.generate import sizing
from workshop.generate.sizing import Size

ROWS = 100_000
INTO_PRODUCTION = """
INSERT INTO store.deltas
SELECT 1 + n % 2000, $1::timestamptz + n * interval '1 ms', 0, 5, n % 2, 4200, 100, now()
  FROM generate_series(1, $2::int) n
"""
INTO_GATHERER = """
INSERT INTO deltas (lane, batch, run, market, seq, exchange_ms, ordinal, exchange_us, side, price, delta, received_us,
                    stored_at)
SELECT 0, n / 1000, n % 2000, n % 2000, n, 1790000000000 + n, 0, 5, n % 2, 4200, 100, 1790000000000000 + n, $1
  FROM generate_series(1, $2::int) n
"""
PAGE = Path(__file__).parents[2] / "docs" / "sizing.md"


def test_the_page_is_current() -> None:
    """`python -m workshop.generate.sizing`, between its mark and the next paragraph."""
    text = PAGE.read_text().split("<!-- made by python -m workshop.generate.sizing -->\n")[1].split("\n\n")[0] + "\n"
    assert text == sizing.table([Size(10e6), Size(100e6), Size(400e6)])


def test_more_costs_more() -> None:
    """Each part of the bill grows, or stays, with what happens on the exchange; nothing is free."""
    bills = [Size(n * 1e6).dollars() for n in (1, 10, 50, 100, 200, 400, 800)]
    for small, large in pairwise(bills):
        assert all(0 < small[name] <= large[name] for name in small)
        assert sum(small.values()) < sum(large.values())


def test_frames_weigh_what_the_page_states(recordings: list[Path]) -> None:
    """As received, and compressed as the journal compresses a segment: the smaller recordings, within a third."""
    frames = []
    for file in recordings[:3]:
        with gzip.open(file, "rt") as lines:
            frames += [json.dumps(json.loads(line)["event"], separators=(",", ":")).encode() for line in lines]
    raw = b"".join(frames)
    packed = zstandard.ZstdCompressor(level=3).compress(raw)
    assert len(frames) > 10_000
    assert sizing.FRAME * 0.67 < len(raw) / len(frames) < sizing.FRAME * 1.33
    assert sizing.SEGMENT * 0.5 < len(packed) / len(frames) < sizing.SEGMENT * 1.5


@pytest.mark.parametrize("schema", ["production", "gatherer"])
async def test_rows_weigh_what_the_page_states(server: Database, schema: migrate.Schema) -> None:
    """With their indexes, within a tenth."""
    await asyncio.to_thread(migrate.migrate, server.dsn, schema)
    db = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    day = datetime(2026, 11, 21, tzinfo=UTC)
    if schema == "production":
        await db.execute("SELECT store.add_day('deltas', $1)", day.date())
        await db.execute(INTO_PRODUCTION, day, ROWS)
        table, weight = "store.deltas_p20261121", sizing.PRODUCTION
    else:
        await db.execute("SELECT ensure_partition($1)", day)
        await db.execute(INTO_GATHERER, day, ROWS)
        table, weight = await db.fetchval("SELECT tableoid::regclass::text FROM deltas LIMIT 1"), sizing.ROW
    size = await db.fetchval("SELECT pg_total_relation_size($1::regclass)", table)
    await db.close()
    assert weight * 0.9 < size / ROWS < weight * 1.1
