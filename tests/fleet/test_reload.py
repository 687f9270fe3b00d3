"""A part of the journal loaded again gives the same rows, exactly; what an older reading could not store is healed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from common.storage.database import connect
from tests.support.fleet_case import assert_equal, judge, running
from tests.support.gatherer_case import NAME, check_ordinals, gathering, local, settle, status_of
from workshop.rehearsal.local import FleetPlan, LocalFleet

SAME = {
    "deltas": "run, market, seq, exchange_ms, ordinal, exchange_us, side, price, delta, t.received_us",
    "trades": "slice, seq, trade_id, market, exchange_ms, yes_price, count, taker_side, is_block, t.received_us",
    "tickers": "market, exchange_ms, price, yes_bid, yes_ask, volume, t.received_us",
    "lifecycle": "market, event_type, payload::text, t.received_us",
    "quarantine": "session, sid, seq, reason, t.received_us, frame",
    "breaks": "session, sid, reason, expected, received, at_us",
    "sessions": "session, role, connection, started_us",
    "slices": "slice, session, sid, channel, started_seq, started_us",
    "runs": "run, slice, market, started_seq, cover_from_ms",
    "run_events": "run, event, from_ms, to_ms, reason",
    "snapshots": "run, market, seq, kind, exchange_ms, after_ordinal, agrees, yes, no",
}


async def reload(fleet: LocalFleet, start: datetime, end: datetime | None = None) -> list[dict[str, Any]]:
    """`fleet reload --from START --to END`."""
    command = [
        "reload",
        "--config",
        str(fleet.config(NAME)),
        "--from",
        start.strftime("%Y-%m-%dT%H:%M:%S.%f"),
        "--json",
    ]
    if end is not None:
        command += ["--to", end.strftime("%Y-%m-%dT%H:%M:%S.%f")]
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "fleet", *command],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert ended.returncode == 0, ended.stderr
    result: list[dict[str, Any]] = json.loads(ended.stdout)
    return result


async def test_the_whole_journal_again_gives_the_same_rows() -> None:
    """After breaks, repairs, garbage, a restart and rolled segments, in both lanes of two workers."""
    small = {"journal": {"segment_bytes": "100KiB", "max_bytes": "1GiB"}}
    plan: dict[str, Any] = {"workers": 2, "overrides": small}
    plan["connections"] = {"orderbook": 2, "trade": 1, "ticker": 1, "lifecycle": 1}
    async with gathering("--markets", "10", "--rate", "400", "--close-after", "4", **plan) as fleet:
        await asyncio.sleep(1.5)
        await fleet.fault("drop", count=2, channel="orderbook_delta")
        await fleet.fault("raw", text="garbage", channel="orderbook_delta")
        await asyncio.sleep(1)
        assert await fleet.terminate(NAME) == 0
        fleet.start_gatherer(NAME)
        await fleet.ready(NAME)
        middle = datetime.now(UTC)
        await asyncio.sleep(3)
        await settle(fleet)
        assert (await status_of(fleet)).journal.segments_compressed > 2
        assert await fleet.terminate(NAME) == 0  # every session has ended, in the first reading and in the second
        stopped = datetime.now(UTC)
        fleet.start_gatherer(NAME)
        await fleet.ready(NAME)
        done = await reload(fleet, middle - timedelta(hours=1), stopped)
        assert {one["source_lane"] for one in done} == {0, 1} and all(one["lane"] >= 1000 for one in done)
        compared = 0
        for one in done:
            for table, columns in SAME.items():
                first, again = [
                    sorted(
                        str(tuple(row))
                        for row in await local(
                            fleet,
                            f"SELECT {columns} FROM {table} t JOIN batches b USING (lane, batch)"
                            " WHERE lane = $1 AND b.segment <= $2",
                            lane,
                            one["to_segment"],
                        )
                    )
                    for lane in (one["source_lane"], one["lane"])
                ]
                assert first == again, table
                compared += len(first)
        assert compared > 3000
        await check_ordinals(fleet)

        part = await reload(fleet, middle)
        assert sum(one["frames"] for one in part) < sum(one["frames"] for one in done)
        await check_ordinals(fleet)
        states = {r["state"] for r in await local(fleet, "SELECT state FROM lanes WHERE lane >= 1000")}
        assert states == {"closed"}


async def test_what_could_not_be_stored_is_healed_by_loading_it_again() -> None:
    """The database refused a change; once it is mended the gap closes, and nothing is doubled."""
    plan = FleetPlan(gatherers=(NAME,), simulator=("--markets", "4", "--rate", "200"), hole_wait="2s")
    async with running(plan) as fleet:
        before = datetime.now(UTC) - timedelta(minutes=1)
        await asyncio.sleep(1)
        highest = (await local(fleet, "SELECT max(seq) AS n FROM deltas"))[0]["n"]
        await local(fleet, f"ALTER TABLE deltas ADD CONSTRAINT picky CHECK (seq <> {highest + 300})")
        await asyncio.sleep(5)
        checks = await judge(fleet, strict=False, outages=True)
        assert_equal(checks)
        production = await connect(fleet.production_dsn)
        gaps = await production.fetch("SELECT * FROM coverage_gaps WHERE reason = 'quarantined' AND healed_at IS NULL")
        assert len(gaps) == 1
        await local(fleet, "ALTER TABLE deltas DROP CONSTRAINT picky")
        await reload(fleet, before)
        for _ in range(100):
            left = await production.fetchval(
                "SELECT count(*) FROM coverage_gaps WHERE reason = 'quarantined' AND healed_at IS NULL"
            )
            if not left:
                break
            await asyncio.sleep(0.2)
        assert left == 0, "the gap is healed"
        assert await production.fetchval("SELECT count(*) FROM merge_conflicts") == 0
        await production.close()
        assert_equal(await judge(fleet, strict=False))
