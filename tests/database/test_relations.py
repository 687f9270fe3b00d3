"""The relations for analysis, on rows that the test puts into production."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from common.storage import migrate
from tests.support.databases import new_database

DAY = datetime(2026, 11, 21, tzinfo=UTC)
TICKERS = ("KXE-A", "KXE-B", "KXE-C", "KXOTHER-A")


@pytest.fixture
async def db() -> AsyncIterator[asyncpg.Connection]:
    """A production with four markets of two events."""
    async with new_database() as server:
        await asyncio.to_thread(migrate.migrate, server.dsn, "production")
        connection = await asyncpg.connect(server.dsn)
        for ticker in TICKERS:
            raw = {
                "ticker": ticker,
                "event_ticker": ticker.rsplit("-", 1)[0],
                "yes_sub_title": ticker,
                "status": "active",
            }
            await connection.execute(
                "INSERT INTO markets (ticker, updated_at, raw) VALUES ($1, now(), $2)", ticker, json.dumps(raw)
            )
            await connection.execute("INSERT INTO store.markets (ticker) VALUES ($1)", ticker)
        event = {"event_ticker": "KXE", "strike_period": "day", "strike_date": "2026-11-21"}
        await connection.execute(
            "INSERT INTO events VALUES ('KXE', DEFAULT, DEFAULT, DEFAULT, DEFAULT, DEFAULT, now(), $1)",
            json.dumps(event),
        )
        for table in ("trades", "tickers"):
            for day in (DAY, DAY + timedelta(days=1)):
                await connection.execute("SELECT store.add_day($1, $2)", table, day.date())
        yield connection
        await connection.close()


async def trade(db: asyncpg.Connection, ticker: str, at: timedelta, price: int, count: int) -> None:
    """A trade so long after the day's beginning."""
    await db.execute(
        "INSERT INTO store.trades SELECT gen_random_uuid(), market, $2, $3, $4, 0, false, now(), 'ws'"
        " FROM store.markets WHERE ticker = $1",
        ticker,
        DAY + at,
        price,
        count,
    )


async def tick(db: asyncpg.Connection, ticker: str, at_s: int, bid: int | None, ask: int | None) -> None:
    """A ticker message."""
    await db.execute(
        "INSERT INTO store.tickers SELECT market, $2, gen_random_uuid(), 5000, $3, $4, 100, 100, 700, 900, now()"
        " FROM store.markets WHERE ticker = $1",
        ticker,
        DAY + timedelta(seconds=at_s),
        bid,
        ask,
    )


async def candles(db: asyncpg.Connection, minutes: int) -> list[tuple[Any, ...]]:
    """End (minutes after the day's beginning), open, high, low, close, volume, of the first market."""
    rows = await db.fetch(
        "SELECT * FROM candlesticks WHERE ticker = 'KXE-A' AND period_minutes = $1 ORDER BY end_ts", minutes
    )
    return [
        ((r["end_ts"] - DAY) // timedelta(minutes=1), *(r[n] for n in ("open", "high", "low", "close", "volume")))
        for r in rows
    ]


async def test_candlesticks_are_those_of_the_trades(db: asyncpg.Connection) -> None:
    """A trade at a period's end belongs to the next; a period without trades has none; the function gives the same."""
    for at_s, price, count in ((0, 4000, 100), (10, 4500, 250), (59.999, 3900, 1), (60, 5000, 700), (4000, 100, 100)):
        await trade(db, "KXE-A", timedelta(seconds=at_s), price, count)
    await trade(db, "KXE-A", timedelta(hours=25), 200, 100)
    await trade(db, "KXE-B", timedelta(seconds=5), 9900, 100)

    def dollars(*values: str) -> tuple[Decimal, ...]:
        return tuple(Decimal(v) for v in values)

    assert await candles(db, 1) == [
        (1, *dollars("0.40", "0.45", "0.39", "0.39", "3.51")),
        (2, *dollars("0.50", "0.50", "0.50", "0.50", "7")),
        (67, *dollars("0.01", "0.01", "0.01", "0.01", "1")),
        (1501, *dollars("0.02", "0.02", "0.02", "0.02", "1")),
    ]
    assert [c[0] for c in await candles(db, 60)] == [60, 120, 1560]
    assert await candles(db, 1440) == [
        (1440, *dollars("0.40", "0.50", "0.01", "0.01", "11.51")),
        (2880, *dollars("0.02", "0.02", "0.02", "0.02", "1")),
    ]
    part = await db.fetch("SELECT * FROM candles('KXE-A', 1, $1, $2)", DAY, DAY + timedelta(minutes=2))
    assert [(r["end_ts"], r["close"], r["trades"]) for r in part] == [
        (DAY + timedelta(minutes=1), Decimal("0.39"), 3),
        (DAY + timedelta(minutes=2), Decimal("0.50"), 1),
    ]


async def test_the_leader_of_an_event_is_the_outcome_with_the_highest_middle_of_its_latest_tick(
    db: asyncpg.Connection,
) -> None:
    """Older ticks do not count, one-sided outcomes do not lead, other events stay apart."""
    await tick(db, "KXE-A", 1, 8000, 9000)
    await tick(db, "KXE-A", 5, 2000, 2100)
    await tick(db, "KXE-B", 2, 6000, 6001)
    await tick(db, "KXE-C", 90_000, 9900, None)
    await tick(db, "KXOTHER-A", 1, 9000, 9500)
    rows = await db.fetch("SELECT * FROM event_outcomes_latest WHERE event_ticker = 'KXE' ORDER BY ticker")
    assert [(r["ticker"], r["implied_yes_mid"]) for r in rows] == [
        ("KXE-A", Decimal("0.205")),
        ("KXE-B", Decimal("0.60005")),
        ("KXE-C", None),
    ]
    assert (rows[0]["strike_period"], rows[0]["strike_date"], rows[0]["volume"]) == ("day", "2026-11-21", Decimal(7))
    leaders = await db.fetch("SELECT event_ticker, ticker FROM event_leader_latest ORDER BY event_ticker")
    assert [tuple(r) for r in leaders] == [("KXE", "KXE-B"), ("KXOTHER", "KXOTHER-A")]


async def test_a_market_and_a_time_reach_the_index_and_prune_partitions(db: asyncpg.Connection) -> None:
    """What the views promise: nothing but the asked day and market is read."""
    await db.execute("SET enable_seqscan = off")  # a few rows would be read whole
    within = "exchange_ts >= '2026-11-21 01:00Z' AND exchange_ts < '2026-11-21 02:00Z'"
    for relation in ("trades", "tickers"):
        plan = "\n".join(
            r[0] for r in await db.fetch(f"EXPLAIN SELECT * FROM {relation} WHERE ticker = 'KXE-A' AND {within}")
        )
        assert f"{relation}_p20261121" in plan and f"{relation}_p20261122" not in plan, plan
        assert "Index" in plan, plan
    plan = "\n".join(
        r[0]
        for r in await db.fetch(
            "EXPLAIN SELECT FROM candles('KXE-A', 1, timestamptz '2026-11-21 01:00Z', timestamptz '2026-11-21 02:00Z')"
        )
    )
    assert "trades_p20261121" in plan and "trades_p20261122" not in plan, plan
    plan = "\n".join(
        r[0] for r in await db.fetch("EXPLAIN SELECT * FROM event_outcomes_latest WHERE event_ticker = 'KXE'")
    )
    assert "markets_event_ticker_idx" in plan and "Seq Scan" not in plan, plan


async def test_of_several_that_come_to_a_new_day_at_once_one_makes_it() -> None:
    """The merge, a refill and the housekeeping: none of them fails."""
    async with new_database("production") as made:
        connections = [await asyncpg.connect(made.dsn) for _ in range(6)]
        for number in range(10):
            day = date(2031, 1, 1) + timedelta(days=number)
            await asyncio.gather(*(each.execute("SELECT store.add_day('deltas', $1)", day) for each in connections))
        made_days = await connections[0].fetchval(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'store.deltas'::regclass"
            " AND inhrelid::regclass::text LIKE '%2031%'"
        )
        assert made_days == 10
        for each in connections:
            await each.close()
