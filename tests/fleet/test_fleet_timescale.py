"""A fleet whose gatherers keep their rows in TimescaleDB: chunks of seconds, compressed and dropped while it records.

It runs where FLEET_TIMESCALE_DSN names a server (a superuser's address) that has the extension preloaded.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
import yaml

from common.storage.database import connect
from common.storage.embedded import EmbeddedServer
from common.storage.migrate import migrate
from tests.support.fleet_case import SEAL_WAIT_S, assert_equal, covers_again, judge
from tests.support.scale import LONG
from workshop.rehearsal.local import GATHERERS, FleetPlan, LocalFleet, free_port
from workshop.rehearsal.truth import Truth
from workshop.rehearsal.verdict import compare, sealed_past

SERVER = os.environ.get("FLEET_TIMESCALE_DSN", "")
SECONDS = 300 if LONG else 60
AWAY_S = 3
FAST = {"chunk": "10s", "compress_after": "10s", "keep_after_ack": "1h", "look": "1s"}
DROPS = "gatherer-c"
"""It keeps a quarter of the time only: what a new consumer does not find there, it has from the others."""
TICKER = "KXSIM-0-T0.00"
CHUNKS = """
SELECT count(*) AS chunks, count(*) FILTER (WHERE is_compressed) AS compressed
  FROM timescaledb_information.chunks WHERE hypertable_name = 'deltas'
"""
SIZES = """
SELECT sum(before_compression_total_bytes) AS before, sum(after_compression_total_bytes) AS after
  FROM chunk_compression_stats('deltas')
"""
UNLOADED = """
SELECT count(*) AS unloaded FROM (SELECT lane, max(batch) AS batch FROM batches GROUP BY lane) l
  LEFT JOIN consumers c ON c.lane = l.lane AND c.consumer = 'deduplicator'
 WHERE c.batch IS DISTINCT FROM l.batch
"""


@pytest_asyncio.fixture
async def databases() -> AsyncIterator[dict[str, str]]:
    """One database a gatherer, migrated."""
    server = await asyncpg.connect(SERVER)
    found = {}
    for name in GATHERERS:
        own = f"fleet_{name.replace('-', '_')}"
        await server.execute(f"DROP DATABASE IF EXISTS {own} WITH (FORCE)")
        await server.execute(f"CREATE DATABASE {own}")
        found[name] = SERVER.rpartition("/")[0] + f"/{own}"
        await asyncio.to_thread(migrate, found[name], "gatherer")
    yield found
    for dsn in found.values():
        await server.execute(f"DROP DATABASE {dsn.rpartition('/')[2]} WITH (FORCE)")
    await server.close()


def change(fleet: LocalFleet, name: str, to: str | None = None, **sections: dict[str, Any]) -> None:
    """Write a process's file with other values, or a copy of it under another name."""
    content = yaml.safe_load(fleet.config(name).read_text())
    for section, values in sections.items():
        content[section] = {**content.get(section, {}), **values}
    if to is not None:
        content["deduplicator_id"] = to
    fleet.config(to or name).write_text(yaml.safe_dump(content, sort_keys=False))


async def fleet_command(*arguments: str) -> tuple[int, Any]:
    """`fleet ... --json`: its exit code, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fleet", *arguments, "--json", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return process.returncode or 0, json.loads(output)


async def one(dsn: str, query: str) -> asyncpg.Record:
    """A row of a database."""
    connection = await connect(dsn)
    try:
        row = await connection.fetchrow(query)
        assert row is not None
        return row
    finally:
        await connection.close()


async def spoil(dsn: str) -> int:
    """Take the middle third of a market out of production, and its runs' claims; returns how many changes that are."""
    db = await connect(dsn)
    try:
        market = await db.fetchval("SELECT market FROM store.markets WHERE ticker = $1", TICKER)
        times = await db.fetch("SELECT DISTINCT exchange_ts FROM store.deltas WHERE market = $1 ORDER BY 1", market)
        low, high = times[len(times) // 3][0], times[2 * len(times) // 3][0]
        async with db.transaction():
            gone = await db.execute(
                "DELETE FROM store.deltas WHERE market = $1 AND exchange_ts >= $2 AND exchange_ts < $3",
                market, low, high,
            )  # fmt: skip
            await db.execute(
                "UPDATE store.runs SET cover_to = $2, ended = true, reason = 'conflict' WHERE market = $1 "
                "AND slice IN (SELECT slice FROM store.slices WHERE channel = 'orderbook_delta') AND cover_to > $2",
                market, low,
            )  # fmt: skip
            await db.execute(
                "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)"
                " VALUES ($1, 'orderbook_delta', $2, $3, 'conflict', '{}')",
                market, low, high,
            )  # fmt: skip
        return int(gone.split()[-1])
    finally:
        await db.close()


@pytest.mark.skipif(not SERVER, reason="FLEET_TIMESCALE_DSN names no server")
@pytest.mark.timeout(SECONDS + 900)
async def test_a_fleet_on_timescaledb_ends_with_what_the_exchange_logged(
    databases: dict[str, str], own_server: EmbeddedServer
) -> None:
    """A gatherer is killed, another's connections are cut; compressed chunks are read by `verify`, by a consumer that
    begins at the first batch, and by `heal`; a journal is loaded again beside them."""
    since = datetime.now(UTC).replace(microsecond=0)
    await asyncio.to_thread(migrate, own_server.dsn, "production")
    plan = FleetPlan(overrides={"retention": FAST}, simulator=("--markets", "12", "--rate", "200"))
    async with LocalFleet(plan) as fleet:
        fleet.databases = {**databases, "production": own_server.dsn}
        await fleet.start_simulator("--paused")
        for name, dsn in databases.items():
            change(fleet, name, database={"dsn": dsn})
        change(fleet, DROPS, retention={"keep_after_ack": f"{SECONDS // 4}s"})
        for name in plan.gatherers:
            fleet.start_gatherer(name)
        fleet.start_deduplicator()
        await fleet.ready(*plan.gatherers, "deduplicator")
        await fleet.control("/resume", {})

        await asyncio.sleep(SECONDS / 3)
        fleet.kill("gatherer-a")
        await asyncio.sleep(AWAY_S)
        fleet.start_gatherer("gatherer-a")
        await covers_again(fleet, "gatherer-a")
        assert await fleet.fault("cut", key="gatherer-b") > 0
        await covers_again(fleet, "gatherer-b")
        await asyncio.sleep(2 * SECONDS / 3)
        assert_equal(await judge(fleet, strict=True))
        truth = Truth.read(fleet.truth)

        for name, dsn in databases.items():
            chunks, size = await one(dsn, CHUNKS), await one(dsn, SIZES)
            assert name == DROPS or chunks["compressed"] > max(2, chunks["chunks"] / 2), f"{name}: {dict(chunks)}"
            first = await one(dsn, "SELECT (SELECT min(batch) FROM batches) AS batch, count(*) AS rows FROM deltas")
            assert (first["batch"] > 1) == (name == DROPS), f"{name}: {first['batch']}"
            print(f"{name}: {dict(chunks)}, {dict(first)}, bytes {dict(size)}")

        config = str(fleet.config("deduplicator"))
        code, findings = await fleet_command("verify", "--config", config)
        assert code == 0, findings

        connection = await connect(own_server.dsn)
        await connection.execute("CREATE DATABASE second")
        await connection.close()
        second = own_server.dsn.replace("@/kalshi?", "@/second?")
        await asyncio.to_thread(migrate, second, "production")
        fleet.ports["second"] = free_port()
        change(fleet, "deduplicator", to="second", production={"dsn": second}, http={"port": fleet.ports["second"]})
        fleet.spawn("second", "deduplicator", "--config", str(fleet.config("second")))
        assert await sealed_past(second, truth.last_ms, SEAL_WAIT_S), fleet.log_tail("second", 40)
        assert_equal(await compare(second, truth, strict=False, outages=True))
        assert await fleet.terminate("second") == 0

        code, loaded = await fleet_command(
            "reload", "--config", str(fleet.config("gatherer-b")), "--from", f"{since:%Y-%m-%dT%H:%M:%S}"
        )
        assert code == 0 and sum(part["frames"] for part in loaded) > 1000
        async with asyncio.timeout(SEAL_WAIT_S):
            while (await one(databases["gatherer-b"], UNLOADED))["unloaded"] > 0:
                await asyncio.sleep(0.2)
        assert_equal(await compare(own_server.dsn, truth, strict=True))

        assert await fleet.terminate("deduplicator") == 0
        gone = await spoil(own_server.dsn)
        stretch = ("--from", f"{since:%Y-%m-%dT%H:%M:%S}", "--to", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}")
        code, healed = await fleet_command("heal", TICKER, "--config", config, *stretch)
        assert code == 0 and healed["inserted"] == gone > 0, healed
        assert_equal(await compare(own_server.dsn, truth, strict=True))
