"""Total loss: production and all gatherers are gone, and history is made again from raw/ alone."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset as ds
import pytest

from common.config.load import load_deduplicator, load_gatherer
from common.numbers import datetime_of_ms
from common.storage.database import connect, owned
from fleet.rebuild import spark
from fleet.rebuild.lives import lives
from fleet.rebuild.local import Rebuild, Rebuilt
from fleet.rebuild.raw import lanes
from gatherer.derive.horizon import BoundsMs
from kalshi_fleet.place import Location
from tests.support.fleet_case import SEAL_WAIT_S, assert_equal, covers_again, judge
from tests.support.scale import LONG
from workshop.rehearsal import s3
from workshop.rehearsal.local import BUCKET, FleetPlan, LocalFleet
from workshop.rehearsal.s3 import CREDENTIALS
from workshop.rehearsal.truth import Truth
from workshop.rehearsal.verdict import compare, sealed_past

Rows = set[tuple[str, ...]]
RELATIONS = {
    "orderbook_deltas": ("ticker", "exchange_ts", "ordinal", "exchange_us", "side", "price", "delta"),
    "trades": ("trade_id", "ticker", "exchange_ts", "ordinal", "yes_price", "count", "taker_side", "is_block"),
    "tickers": ("ticker", "exchange_ts", "price", "yes_bid", "yes_ask", "yes_bid_size", "yes_ask_size", "volume")
    + ("open_interest",),
    "lifecycle_events": ("ticker", "event_type", "exchange_ts", "payload"),
    "orderbook_snapshots": ("ticker", "exchange_ts", "after_ordinal", "yes", "no", "verified", "is_reset"),
    "coverage_gaps": ("ticker", "channel", "started_at", "ended_at", "reason"),
    "unplaced_deltas": ("gatherer_id", "session", "sid", "seq", "ticker", "exchange_ts", "side", "price", "delta"),
    "coverage_held": ("ticker", "channel", "from_ts", "to_ts"),
}
WHERE = {
    "orderbook_snapshots": "source = 'ws'",
    "coverage_gaps": "healed_at IS NULL AND reason <> 'before_subscription' AND channel = 'orderbook_delta'"
    " AND started_at <= '{until}'",  # what was lost with the machines comes after it
    "coverage_held": "channel = 'orderbook_delta'",
}
HELD = """
(SELECT ticker, channel, lower(r) AS from_ts, upper(r) AS to_ts
   FROM (SELECT ticker, channel, unnest(range_agg(r * tstzrange(NULL, '{until}'))) AS r
           FROM coverage_by_gatherer, unnest(held) r GROUP BY 1, 2) x) AS coverage_held
"""


def plain(value: Any) -> str:
    """A value, however it came here."""
    if isinstance(value, Decimal):
        return str(value.normalize())
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.dumps(json.loads(value), sort_keys=True)
    return str(value)


async def produced(dsn: str, truth: Truth) -> dict[str, Rows]:
    """By relation, the rows of production. Coverage up to the exchange's last event."""
    connection, until = await connect(dsn), datetime_of_ms(truth.last_ms + 1)
    try:
        found = {}
        for name, columns in RELATIONS.items():
            source = HELD.format(until=until) if name == "coverage_held" else name
            statement = f"SELECT {', '.join(columns)} FROM {source} WHERE {WHERE.get(name, 'true').format(until=until)}"
            rows = [tuple(map(plain, row)) for row in await connection.fetch(statement)]
            found[name] = set(rows)
            assert len(found[name]) == len(rows), name
        return found
    finally:
        await connection.close()


def written(folder: Path, truth: Truth) -> dict[str, Rows]:
    """By relation, the rows of files that a rebuild has written."""
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    until = datetime_of_ms(truth.last_ms + 1)
    found: dict[str, Any] = {}
    for name, columns in RELATIONS.items():
        if not list(folder.glob(f"{name}/**/*.parquet")):
            found[name] = set()
            continue
        table = ds.dataset(folder / name, format="parquet")  # DuckDB reads it by this name
        statement = f"SELECT {', '.join(columns)} FROM table WHERE {WHERE.get(name, 'true').format(until=until)}"
        rows = db.sql(statement.replace("FROM table", 'FROM "table"')).to_arrow_table().to_pylist()
        del table
        if name == "coverage_held":
            rows = [row | {"to_ts": min(row["to_ts"], until)} for row in rows if row["from_ts"] < until]
        found[name] = {tuple(plain(row[column]) for column in columns) for row in rows}
        assert len(found[name]) == len(rows), name
    return found


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
    lives = ("--create-after", "1", "--close-after", "3")  # a close is a lifecycle message, and a reset of the book
    async with LocalFleet(FleetPlan(simulator=("--markets", "12", "--rate", rate, *lives), **plan)) as fleet:
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
        live = await produced(fleet.production_dsn, truth)
        assert {name for name, rows in live.items() if not rows} <= {"unplaced_deltas", "coverage_gaps"}
        code, _, err = await fleet_command("export", "--config", str(fleet.config("deduplicator")), "--now")
        assert code == 0, err
        for name in ("deduplicator", *fleet.plan.gatherers):
            assert await fleet.terminate(name) == 0, fleet.log_tail(name)

        for name in ("production", *fleet.plan.gatherers):
            shutil.rmtree(fleet.folder / name)
        command = ("rebuild", "--config", str(fleet.config("deduplicator")), "--json")
        code, out, err = await fleet_command(*command, "--gatherer", str(fleet.config("gatherer-a")))
        assert code == 0, err
        done = json.loads(out)
        print(done)
        assert done["inserted"] + done["confirmed"] + done["unplaced"] == done["changes"] and not done["damaged"]

        fleet.start_deduplicator()
        while (status := await fleet.deduplicator_status()) is None or status.epoch is None:
            fleet.check_alive()
            await asyncio.sleep(0.1)
        assert await sealed_past(fleet.production_dsn, truth.last_ms, SEAL_WAIT_S), fleet.log_tail("deduplicator")
        assert_equal(await compare(fleet.production_dsn, truth, strict=True))
        rebuilt = await produced(fleet.production_dsn, truth)
        # The gatherers continued after `live` was read: what they were given then are more books, and no other changes.
        books = "orderbook_snapshots"
        places = {name: {row[:5] for row in rows[books]} for name, rows in (("live", live), ("rebuilt", rebuilt))}
        assert places["live"] and places["live"] <= places["rebuilt"]
        assert {row for row in live[books] if row[-1] == "True"} <= rebuilt[books]
        assert rebuilt == live | {books: rebuilt[books]}

        await asyncio.to_thread(_in_parts, fleet, rebuilt, truth)
        await asyncio.to_thread(_on_spark, fleet, rebuilt, truth)
        await _again(fleet, rebuilt, truth)


def settings(fleet: LocalFleet) -> tuple[Location, BoundsMs]:
    """Where the raw archive is, and the bounds with which it was recorded."""
    bounds = BoundsMs.of(load_gatherer(fleet.config("gatherer-a")).bounds)
    return Location(f"s3://{BUCKET}/all/raw", fleet.s3_url, credentials=CREDENTIALS), bounds


def _in_parts(fleet: LocalFleet, rebuilt: dict[str, Rows], truth: Truth) -> None:
    """What Spark's executors do, one after the other; with the long counts, Spark itself."""
    place, bounds = settings(fleet)
    folder = fleet.folder / "parts"
    known = lives(place._replace(location=f"s3://{BUCKET}"))
    assert len(known) == 13 and sum(life.end_ms is not None for life in known.values()) == 1
    now_ms = time.time_ns() // 1_000_000
    plan = spark.SparkPlan(place, Location(str(folder)), lanes(place), bounds, 500, 3, known, now_ms, 8000)
    batches = sorted(pair for index in range(len(plan.lanes)) for pair in spark.derive(plan, index))
    done = spark.summed(
        result
        for part in range(plan.parts)
        for result in spark.merge(plan, part, [pair for pair in batches if pair[0][0] == part])
    )
    assert done.rows["orderbook_deltas"] == len(rebuilt["orderbook_deltas"]) and not done.damaged
    assert written(folder, truth) == rebuilt


def _on_spark(fleet: LocalFleet, rebuilt: dict[str, Rows], truth: Truth) -> None:
    """The command, with Spark on this machine."""
    if importlib.util.find_spec("pyspark") is None:
        if LONG:
            pytest.fail("PySpark is not installed: `make spark`")
        return
    folder = fleet.folder / "spark"
    command = ["rebuild", "--config", str(fleet.config("deduplicator")), "--json", "--engine", "spark"]
    command += ["--gatherer", str(fleet.config("gatherer-a")), "--output", str(folder), "--master", "local[2]"]
    code, out, err = asyncio.run(
        fleet_command(*command, "--archive", f"s3://{BUCKET}", "--endpoint-url", fleet.s3_url, "--partitions", "3")
    )
    assert code == 0, err
    done = json.loads(out)
    assert done["rows"]["orderbook_deltas"] == len(rebuilt["orderbook_deltas"]) and not done["damaged"]
    assert written(folder, truth) == rebuilt


class _Interrupted(Exception):
    """The process ends here."""


async def _again(fleet: LocalFleet, rebuilt: dict[str, Rows], truth: Truth) -> None:
    """A rebuild that is interrupted continues; one more changes nothing; one without a segment names it."""
    config = load_deduplicator(fleet.config("deduplicator"))
    place, bounds = settings(fleet)
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
                results[name] = await produced(dsn, truth)

    results: dict[str, dict[str, Rows]] = {}
    with pytest.raises(_Interrupted):
        await run("second", interrupt)
    assert set() < results["second"]["orderbook_deltas"] < rebuilt["orderbook_deltas"]
    done = await run("second")
    assert results["second"] == rebuilt and 0 < done.inserted < len(rebuilt["orderbook_deltas"])
    once_more = await run("second")
    assert results["second"] == rebuilt and once_more.batches == 0

    client = s3.client(fleet.s3_url)
    keys = [o["Key"] for o in client.list_objects_v2(Bucket=BUCKET, Prefix="all/raw/gatherer=gatherer-c/")["Contents"]]
    victim = min(key for key in keys if key.endswith(".journal.zst"))  # of a time when all three were well
    client.put_object(Bucket=BUCKET, Key=victim, Body=b"not what was written")
    damaged = await run("third")
    assert [path.endswith(victim) for path in damaged.damaged] == [True]
    for name in ("orderbook_deltas", "trades", "coverage_gaps"):
        assert results["third"][name] == rebuilt[name], f"{name}: two others have it all"
