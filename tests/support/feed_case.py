"""The feed against production: what a reader makes of all steps is what the tables hold, each row once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import asyncpg

from common.feed import tables
from common.feed.reader import FeedStep
from workshop.rehearsal.feed_mirror import Mirror, differences, read_to

__all__ = ["Mirror", "canonical", "compare", "feed_is_production"]


async def compare(db: asyncpg.Connection, mirror: Mirror) -> None:
    """What the mirror holds is what production holds."""
    assert mirror.steps == list(range(1, len(mirror.steps) + 1))
    assert await differences(db, mirror) == []


async def feed_is_production(dsn: str) -> Mirror:
    """Read all that there is, and compare it."""
    db = await asyncpg.connect(dsn)
    mirror = Mirror()
    try:
        await asyncio.wait_for(read_to(dsn, mirror, await db.fetchval("SELECT step FROM store.lease")), 60)
        await compare(db, mirror)
    finally:
        await db.close()
    return mirror


LAST = 1 << 40
"""The place of a trade without a twin."""


def canonical(steps: Iterable[FeedStep]) -> list[tuple[Any, ...]]:
    """What happened, in the canonical order: by time and market; in a millisecond changes by ordinal, trades by
    their twin's, tickers, lifecycle. Without what depends on whose copy came first: receive times, sources."""
    found: list[tuple[Any, ...]] = []
    trades: dict[bytes, dict[str, Any]] = {}
    for step in steps:
        rows = {name: batch.to_pylist() for name, batch in step.tables.items()}
        for r in rows.get(tables.CHANGES, ()):
            row = (r["ordinal"], r["side"], r["price"], r["delta"], r["exchange_us"])
            found.append((r["exchange_ms"], r["market"], 0, *row))
        trades.update({r["trade_id"]: r for r in rows.get(tables.TRADES, ())})
        for r in rows.get(tables.PLACED, ()):
            trades[r["trade_id"]]["ordinal"] = r["ordinal"]
        for r in rows.get(tables.TICKERS, ()):
            values = [-1 if value is None else value for name, value in r.items() if name != "received_us"]
            found.append((r["exchange_ms"], r["market"], 2, *values))
        events = rows.get(tables.LIFECYCLE, ())
        found += [(r["exchange_ms"] or 0, r["market"], 3, r["event_type"], r["payload"]) for r in events]
    for r in trades.values():
        place = LAST if r["ordinal"] is None else r["ordinal"]
        row = (r["trade_id"], r["yes_price"], r["count"], r["taker_side"], r["is_block"])
        found.append((r["exchange_ms"], r["market"], 1, place, *row))
    return sorted(found)
