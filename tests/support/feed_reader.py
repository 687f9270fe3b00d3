"""A consumer of the feed as a process: `python -m tests.support.feed_reader PRODUCTION OWN`. It keeps what it was
given, and its place, in a database of its own, in one transaction a step: killed at any instant it has each once."""

from __future__ import annotations

import asyncio
import sys

import asyncpg

from common.feed.block import decode, encode
from common.feed.reader import Feed, FeedStep
from tests.support.feed_case import Mirror

MAKE = (
    "CREATE TABLE IF NOT EXISTS place (only_one boolean PRIMARY KEY DEFAULT true, step bigint NOT NULL,"
    " committed_at timestamptz); "
    "CREATE TABLE IF NOT EXISTS consumed (step bigint NOT NULL, committed_at timestamptz, kind text, rows int,"
    " from_ms bigint, to_ms bigint, block bytea)"
)


async def main(production: str, own: str) -> None:
    """Until it is killed."""
    db = await asyncpg.connect(own)
    await db.execute(MAKE)
    await db.execute("INSERT INTO place (step) VALUES (0) ON CONFLICT DO NOTHING")
    place = await db.fetchrow("SELECT step, committed_at FROM place")
    async for step in Feed(production, place["step"], place["committed_at"], poll_s=0.1):
        async with db.transaction():
            block = encode(step.tables) if step.whole else None
            values = (step.step, step.committed_at, step.kind, step.rows, step.from_ms, step.to_ms, block)
            await db.execute("INSERT INTO consumed VALUES ($1, $2, $3, $4, $5, $6, $7)", *values)
            moved = await db.execute(
                "UPDATE place SET step = $1, committed_at = $2 WHERE step = $1 - 1", step.step, step.committed_at
            )
            assert moved == "UPDATE 1"


async def consumed(own: str, mirror: Mirror) -> None:
    """Give a mirror all that the consumer was given."""
    db = await asyncpg.connect(own)
    for row in await db.fetch("SELECT * FROM consumed ORDER BY step"):
        columns = {name: value for name, value in row.items() if name != "block"}
        block = row["block"]
        mirror.take(FeedStep(**columns, tables={} if block is None else decode(block), whole=block is not None))
    await db.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
