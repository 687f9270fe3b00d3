"""The feed against production: what a reader makes of all steps is what the tables hold, each row once."""

from __future__ import annotations

import asyncio

import asyncpg

from fleet.feed_mirror import Mirror, differences, read_to

__all__ = ["Mirror", "compare", "feed_is_production"]


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
