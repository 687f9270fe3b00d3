"""The verdict excuses no more than is listed."""

from __future__ import annotations

import asyncio

import asyncpg

from common.numbers import datetime_of_ms, ms_of_datetime
from common.storage import migrate
from tests.support.chain_case import BASE_MS
from tests.support.databases import Database
from workshop.rehearsal.truth import Truth
from workshop.rehearsal.verdict import _deltas


async def test_a_false_row_is_excused_where_it_is_listed_and_nowhere_else(server: Database) -> None:
    """In a gap that a contradiction made, only its own millisecond is known to be disputed."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    db = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    market = await db.fetchval("INSERT INTO store.markets (ticker) VALUES ('A') RETURNING market")
    await db.execute("SELECT store.add_day('deltas', $1::date)", datetime_of_ms(BASE_MS).date())
    for ms in (50, 60):
        await db.execute(
            "INSERT INTO store.deltas (market, exchange_ts, ordinal, exchange_us, side, price, delta, received_at)"
            " VALUES ($1, $2, 0, -1, 0, 1000, 100, $2)",
            market,
            datetime_of_ms(BASE_MS + ms),
        )
    disputed = datetime_of_ms(BASE_MS + 50)
    await db.execute(
        "INSERT INTO store.conflicts (kind, market, exchange_ts, versions) VALUES ('conflict', $1, $2, '[]')",
        market,
        disputed,
    )
    gaps = {("A", "orderbook_delta"): [(BASE_MS, BASE_MS + 100, "conflict")]}
    check, _ = await _deltas(db, Truth(), gaps)
    assert (check.compared, check.listed, check.failed) == (2, 1, 1)
    assert str(ms_of_datetime(disputed) + 10) in check.examples[0]
    await db.close()
