"""`fleet heal` mends what production lost, readmits runs, and touches nothing that it need not."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from common.numbers import ONE_MS
from common.storage.database import connect
from tests.support.fleet_case import assert_equal, behind_relays, judge
from workshop.rehearsal.local import FleetPlan, LocalFleet

TICKER = "KXSIM-0-T0.00"


async def heal(
    fleet: LocalFleet, since: datetime, *options: str, until: datetime | None = None
) -> tuple[int, dict[str, Any]]:
    """The command, from a moment to another, or to now."""
    arguments = ["heal", TICKER, "--config", str(fleet.config("deduplicator")), "--from", f"{since:%Y-%m-%dT%H:%M:%S}"]
    moment = until or datetime.now(UTC) + timedelta(seconds=5)
    arguments += ["--to", f"{moment:%Y-%m-%dT%H:%M:%S.%f}"]
    command = [sys.executable, "-m", "fleet", *arguments, "--json", *options]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return process.returncode or 0, json.loads(output)


async def rows_of(db: asyncpg.Connection) -> list[asyncpg.Record]:
    """The market's changes, unhealed gaps and runs."""
    queries = (
        "SELECT exchange_ts, ordinal, side, price, delta FROM orderbook_deltas WHERE ticker = $1 ORDER BY 1, 2",
        "SELECT channel, started_at, ended_at, reason FROM coverage_gaps WHERE ticker = $1 AND healed_at IS NULL",
    )
    return [row for query in queries for row in await db.fetch(query, TICKER)]


async def test_what_production_lost_is_put_back_and_what_it_has_is_left_alone() -> None:
    """Rows deleted, a row changed, excluded runs; the deduplicator continues from there."""
    since = datetime.now(UTC).replace(microsecond=0)
    plan = FleetPlan(simulator=("--markets", "6", "--rate", "400"), hole_wait="3s")
    async with behind_relays(plan) as (fleet, server, _):
        await asyncio.sleep(5)
        await fleet.control("/pause", {})
        await asyncio.sleep(4)
        db = await connect(server.dsn)
        before = await rows_of(db)
        assert len(before) > 100
        code, nothing = await heal(fleet, since)
        assert code == 0 and nothing["inserted"] == 0 and nothing["known"] > 100, nothing
        assert len(nothing["gatherers"]) == 3 and all("changes" in text for text in nothing["gatherers"].values())

        assert await fleet.terminate("deduplicator") == 0  # or a snapshot would readmit the runs
        market = await db.fetchval("SELECT market FROM store.markets WHERE ticker = $1", TICKER)
        times = await db.fetch("SELECT DISTINCT exchange_ts FROM store.deltas WHERE market = $1 ORDER BY 1", market)
        low, high = times[len(times) // 3][0], times[2 * len(times) // 3][0]
        async with db.transaction():
            await db.execute(
                "DELETE FROM store.deltas WHERE market = $1 AND exchange_ts >= $2 AND exchange_ts < $3",
                market,
                low,
                high,
            )
            await db.execute(
                "UPDATE store.runs SET cover_to = $2, ended = true, reason = 'conflict' WHERE market = $1"
                " AND slice IN (SELECT slice FROM store.slices WHERE channel = 'orderbook_delta')",
                market,
                low,
            )
            await db.execute(
                "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)"
                " VALUES ($1, 'orderbook_delta', $2, $3, 'conflict', '{}')",
                market,
                low,
                high,
            )
        _, planned = await heal(fleet, since, "--dry-run")
        assert planned["inserted"] > 30 and planned["runs_restored"] == 3
        assert len(await rows_of(db)) < len(before), "a dry run changes nothing"
        middle = times[len(times) // 2][0]
        _, part = await heal(fleet, since, "--dry-run", until=middle)
        assert 0 < part["inserted"] < planned["inserted"] and part["runs_restored"] == 3
        left = datetime.fromisoformat(part["gaps_left"][0].split(" to ")[0])
        assert left <= middle, "nothing is claimed that was not looked at"
        _, fewer = await heal(fleet, since, "--dry-run", "--without", "gatherer-b")
        assert fewer["runs_restored"] == 2 and fewer["inserted"] == planned["inserted"]
        code, done = await heal(fleet, since)
        assert code == 0 and done == planned and len(done["gaps_healed"]) == 1
        assert await rows_of(db) == before

        await fleet.control("/resume", {})
        await asyncio.sleep(3)
        await fleet.control("/pause", {})
        await asyncio.sleep(1)
        code, ahead = await heal(fleet, since)
        assert code == 0 and ahead["inserted"] > 30, "what the deduplicator has not come to yet"
        fleet.start_deduplicator()
        await fleet.ready("deduplicator")
        await fleet.control("/resume", {})
        await asyncio.sleep(3)
        checks = await judge(fleet, strict=True)  # production was changed by hand: the feed cannot know of it
        assert_equal([check for check in checks if check.check != "feed = production"])
        assert "production_failed" not in fleet.log_tail("deduplicator", 1000), "no row was tried twice"
        await what_it_has_otherwise_is_claimed_by_nobody(fleet, db, since, market, low)
        await db.close()


async def what_it_has_otherwise_is_claimed_by_nobody(
    fleet: LocalFleet, db: asyncpg.Connection, since: datetime, market: int, at: datetime
) -> None:
    """A change with another content, and one that nobody has: reported and left alone, and in a gap from then on."""
    await fleet.control("/pause", {})
    await asyncio.sleep(2)
    change = "UPDATE store.deltas SET delta = delta + 1 WHERE (market, exchange_ts, ordinal) = ($1, $2, 0)"
    assert await db.execute(change, market, at) == "UPDATE 1"
    more = (
        "INSERT INTO store.deltas (market, exchange_ts, ordinal, exchange_us, side, price, delta, received_at)"
        " SELECT market, $3, 0, exchange_us, side, price, 700, received_at FROM store.deltas"
        " WHERE (market, exchange_ts, ordinal) = ($1, $2, 0)"
    )
    silent = at + ONE_MS
    while await db.fetch("SELECT FROM store.deltas WHERE market = $1 AND exchange_ts = $2", market, silent):
        silent += ONE_MS
    assert await db.execute(more, market, at, silent) == "INSERT 0 1"
    changed = await rows_of(db)
    for _ in range(2):  # the second finds what the first has reported
        code, other = await heal(fleet, since)
        assert code == 1 and other["otherwise"] == 1 and other["inserted"] == 0
        now = await rows_of(db)
        assert [row for row in now if len(row) == 5] == [row for row in changed if len(row) == 5], "not overwritten"
        gaps = {
            (row["started_at"], row["ended_at"], row["reason"])
            for row in now
            if len(row) == 4 and row["reason"] == "conflict"
        }
        assert gaps == {(ms, ms + ONE_MS, "conflict") for ms in (at, silent)}
    claims = "SELECT FROM store.claims WHERE market = $1 AND from_ts <= $2 AND to_ts > $2"
    assert not await db.fetch(claims, market, at) and not await db.fetch(claims, market, silent)
