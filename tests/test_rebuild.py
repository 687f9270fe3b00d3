"""Total loss: production and all gatherers are gone, and history is made anew from raw/ alone."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from common.config.load import load_deduplicator, load_gatherer
from common.numbers import datetime_of_ms
from common.storage.database import connect, owned
from fleet import s3
from fleet.local import BUCKET, LocalFleet, Plan
from fleet.place import Place
from fleet.rebuild.local import Rebuild, Rebuilt
from fleet.s3 import CREDENTIALS
from fleet.truth import Truth
from fleet.verdict import compare, sealed_past
from gatherer.derive.horizon import BoundsMs
from tests.fleet_case import SEAL_WAIT_S, assert_equal, covers_again, judge

LONG = bool(os.environ.get("FLEET_TEST_LONG"))
RELATIONS = {
    "orderbook_deltas": "SELECT ticker, exchange_ts, ordinal, exchange_us, side, price, delta FROM orderbook_deltas",
    "trades": "SELECT trade_id, ticker, exchange_ts, yes_price, count, taker_side, is_block FROM trades",
    "tickers": "SELECT ticker, exchange_ts, price, yes_bid, yes_ask, yes_bid_size, yes_ask_size, volume, open_interest"
    " FROM tickers",
    "lifecycle_events": "SELECT ticker, event_type, exchange_ts, payload FROM lifecycle_events",
    "resets": "SELECT ticker, exchange_ts, after_ordinal, yes, no FROM orderbook_snapshots WHERE is_reset",
    "coverage": "SELECT ticker, channel, range_agg(r * tstzrange(NULL, '{until}'))"
    " FROM coverage_by_gatherer, unnest(held) r GROUP BY 1, 2",
    "gaps": "SELECT ticker, channel, started_at, ended_at, reason FROM coverage_gaps"
    " WHERE healed_at IS NULL AND reason <> 'before_subscription'",
    "unplaced": "SELECT gatherer_id, session, sid, seq, ticker, exchange_ts, side, price, delta FROM unplaced_deltas",
}


async def digests(dsn: str, truth: Truth) -> dict[str, tuple[int, str]]:
    """By relation: how many rows, and a digest of them, sorted. Coverage up to the exchange's last event."""
    connection, until = await connect(dsn), datetime_of_ms(truth.last_ms + 1)
    try:
        found = {}
        for name, statement in RELATIONS.items():
            rows = sorted(repr(tuple(row)) for row in await connection.fetch(statement.format(until=until)))
            found[name] = (len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest())
        return found
    finally:
        await connection.close()


async def fleet_command(*arguments: str) -> tuple[int, str, str]:
    """Run `fleet`; exit code and output."""
    process = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "fleet", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"},
        check=False,
    )
    return process.returncode, process.stdout, process.stderr


async def test_everything_is_made_anew_from_raw_alone() -> None:
    """Gatherers are killed and cut on the way; then all their disks and production are lost."""
    rate, seconds = ("2000", 60) if LONG else ("400", 4)
    plan: dict[str, Any] = {"workers": 2, "connections": {"orderbook": 2, "trade": 1, "ticker": 1, "lifecycle": 1}}
    async with LocalFleet(Plan(simulator=("--markets", "12", "--rate", rate), **plan)) as fleet:
        raw = {"bucket": BUCKET, "prefix": "all", "endpoint_url": fleet.s3_url}
        journal = {"segment_bytes": "1MiB" if LONG else "100KiB", "raw": raw}
        fleet.plan = dataclasses.replace(fleet.plan, overrides={"journal": journal})
        await fleet.start_s3()
        await fleet.start_simulator("--paused")
        for name in fleet.plan.gatherers:
            fleet.start_gatherer(name)
        fleet.start_deduplicator()
        await fleet.ready(*fleet.plan.gatherers, "deduplicator")
        await fleet.control("/resume", {})
        await asyncio.sleep(seconds)
        fleet.kill("gatherer-b")
        await asyncio.sleep(seconds / 4)
        fleet.start_gatherer("gatherer-b")
        await fleet.fault("cut", key="gatherer-a", for_ms=300)
        await covers_again(fleet, "gatherer-b")
        await asyncio.sleep(seconds / 2)
        assert_equal(await judge(fleet, strict=True))
        truth = Truth.read(fleet.truth)
        live = await digests(fleet.production_dsn, truth)
        for name in ("deduplicator", *fleet.plan.gatherers):
            assert await fleet.terminate(name) == 0, fleet.log_tail(name)

        for name in ("production", *fleet.plan.gatherers):
            shutil.rmtree(fleet.folder / name)
        command = ("rebuild", "--config", str(fleet.config("deduplicator")), "--json")
        code, out, err = await fleet_command(*command, "--gatherer", str(fleet.config("gatherer-a")))
        assert code == 0, err
        (done,) = json.loads(out)
        print(done)
        assert done["inserted"] + done["confirmed"] + done["unplaced"] == done["changes"] and not done["damaged"]

        fleet.start_deduplicator()
        while not ((await fleet.status("deduplicator")) or {}).get("epoch"):
            fleet.check_alive()
            await asyncio.sleep(0.1)
        assert await sealed_past(fleet.production_dsn, truth.last_ms, SEAL_WAIT_S), fleet.log_tail("deduplicator")
        assert_equal(await compare(fleet.production_dsn, truth, strict=True))
        assert await digests(fleet.production_dsn, truth) == live

        await _again(fleet, live, truth)


class _Interrupted(Exception):
    """The process ends here."""


async def _again(fleet: LocalFleet, live: dict[str, tuple[int, str]], truth: Truth) -> None:
    """A rebuild that is interrupted goes on; one more changes nothing; one without a segment says which."""
    config = load_deduplicator(fleet.config("deduplicator"))
    gatherer = load_gatherer(fleet.config("gatherer-a"))
    bounds = BoundsMs(*(getattr(gatherer.bounds, name) for name in ("disorder", "lag", "sender", "clock")))
    place = Place(f"s3://{BUCKET}/all/raw", fleet.s3_url, credentials=CREDENTIALS)
    steps = 0

    def interrupt(so_far: Rebuilt) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise _Interrupted

    async def run(name: str, tell: Callable[[Rebuilt], None] = lambda so_far: None) -> Rebuilt:
        work = fleet.folder / f"work-{name}-{steps}"
        async with owned(f"embedded:{fleet.folder / name}", "production") as dsn:
            try:
                return await Rebuild(place, config, bounds, 300, work, tell, step_rows=1000).run(dsn)
            finally:
                results[name] = await digests(dsn, truth)

    results: dict[str, dict[str, tuple[int, str]]] = {}
    with pytest.raises(_Interrupted):
        await run("second", interrupt)
    assert 0 < results["second"]["orderbook_deltas"][0] < live["orderbook_deltas"][0]
    done = await run("second")
    assert results["second"] == live and 0 < done.inserted < live["orderbook_deltas"][0]
    once_more = await run("second")
    assert results["second"] == live and once_more.batches == 0

    client = s3.client(fleet.s3_url)
    keys = [o["Key"] for o in client.list_objects_v2(Bucket=BUCKET, Prefix="all/raw/gatherer=gatherer-c/")["Contents"]]
    victim = sorted(key for key in keys if key.endswith(".journal.zst"))[len(keys) // 4]
    client.put_object(Bucket=BUCKET, Key=victim, Body=b"not what was written")
    damaged = await run("third")
    assert [path.endswith(victim) for path in damaged.damaged] == [True]
    for name in ("orderbook_deltas", "trades", "resets", "gaps"):
        assert results["third"][name] == live[name], f"{name}: two others have it all"
