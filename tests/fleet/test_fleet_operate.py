"""What an operator asks a running fleet, by command line and HTTP; and clean stops."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from common.contract.manifest import decode
from common.storage import migrate
from common.storage.embedded import EmbeddedServer
from tests.support.fleet_case import assert_equal, covers_again, judge, running
from workshop.rehearsal import s3
from workshop.rehearsal.local import BUCKET, FleetPlan, LocalFleet
from workshop.rehearsal.truth import Truth
from workshop.rehearsal.verdict import compare_archive


async def fleet_command(*arguments: str) -> tuple[int, Any]:
    """Run `fleet ... --json`; returns the exit code and what it printed."""
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    command = [sys.executable, "-m", "fleet", *arguments, "--json"]
    ended = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, env=environment
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith(("[", "{"))]
    return ended.returncode, json.loads(lines[-1]) if lines else ended.stderr


async def get(fleet: LocalFleet, name: str, path: str) -> tuple[int, str]:
    """A page of a process's HTTP server."""
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{fleet.ports[name]}{path}") as answer:
        return answer.status, await answer.text()


def value(metrics: str, name: str) -> float:
    """The sum of a metric's samples."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith(name))


async def reported(config: str, folder: Path) -> dict[str, Any]:
    """The lags of the quality report of today, and of yesterday if that was an hour ago."""
    lags: dict[str, Any] = {}
    for day in {f"{datetime.now(UTC) - timedelta(hours=n):%Y-%m-%d}" for n in (0, 1)}:
        code, made = await fleet_command("report", "--config", config, "--day", day, "--output", str(folder))
        assert code == 0, made
        lags = max(lags, made["lags"], key=len)
    return lags


async def browse(config: str, truth: Truth, ticker: str) -> None:
    """Markets, one market, the library's queries, and what comes in."""
    code, listed = await fleet_command("markets", "--config", config, "--sort", "volume")
    assert code == 0 and {market["ticker"] for market in listed} == set(truth.books)
    code, one = await fleet_command("market", ticker, "--config", config)
    assert code == 0 and one["recorded_by"] == "gatherer-a gatherer-b gatherer-c" and one["gaps"] <= 1
    assert (await fleet_command("market", "KXNONE", "--config", config))[0] == 1
    code, library = await fleet_command("query", "--config", config)
    assert code == 0 and {row["name"] for row in library} >= {"changes", "book", "leader"}
    span = ["--from", f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"]
    span += ["--to", f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"]
    code, changes = await fleet_command("query", "changes", "--config", config, "--ticker", ticker, *span)
    assert code == 0 and len(changes) == sum(key[0] == ticker for key in truth.deltas)
    code, output = await fleet_command("query", "changes", "--config", config, *span)
    assert code == 2 and "needs --ticker" in output


async def test_a_running_fleet_answers_its_operator() -> None:
    """Health, readiness, metrics, status, gaps, books, an export of the unfinished hour, and exit codes."""
    plan = FleetPlan(simulator=("--markets", "6", "--rate", "300"), merge={"refill_lag": "1h"})
    async with running(plan) as fleet:
        await fleet.start_s3()
        await asyncio.sleep(3)
        urls = [f"http://127.0.0.1:{fleet.ports[name]}" for name in (*plan.gatherers, "deduplicator")]
        code, states = await fleet_command("status", *urls)
        assert code == 0 and all(state["ready"] == "ready" for state in states.values())
        assert (await fleet_command("status", urls[0], "http://127.0.0.1:1"))[0] == 1
        assert (await fleet_command("status", "--expect", "3", *urls))[0] == 0
        assert (await fleet_command("status", "--expect", "4", *urls))[0] == 1
        for name in ("gatherer-a", "deduplicator"):
            assert await get(fleet, name, "/healthz") == (200, "alive\n")
            assert await get(fleet, name, "/readyz") == (200, "ready\n")
            code, page = await get(fleet, name, "/page/state")
            assert (
                code == 200
                and json.loads(page)["row"]["process"] == name
                and "<title>" in (await get(fleet, name, "/"))[1]
            )
        assert (await get(fleet, "gatherer-a", "/page/markets"))[0] == 404
        found = json.loads((await get(fleet, "deduplicator", "/page/markets?search=kxsim-0"))[1])["markets"]
        assert found and all(market["ticker"].startswith("KXSIM-0") for market in found)
        assert value((await get(fleet, "gatherer-a", "/metrics"))[1], "gatherer_frames_received_total") > 100
        assert value((await get(fleet, "deduplicator", "/metrics"))[1], "deduplicator_delta_copies_total") > 100

        config = str(fleet.config("deduplicator"))
        code, row = await fleet_command("tail", "deltas", "KXSIM-0-T0.00", "--config", config, "--seconds", "3")
        assert code == 0 and row["ticker"] == "KXSIM-0-T0.00" and row["side"] in ("yes", "no")

        fleet.kill("gatherer-c")
        for _ in range(100):
            status, why = await get(fleet, "deduplicator", "/readyz")
            if status == 503:
                break
            await asyncio.sleep(0.1)
        assert status == 503 and "gatherer-c" in why
        others = [url for url in urls if url != f"http://127.0.0.1:{fleet.ports['gatherer-c']}"]
        assert (await fleet_command("status", "--expect", "2", *others))[0] == 1, "one is not read"
        fleet.start_gatherer("gatherer-c")

        assert_equal(await judge(fleet, strict=True))
        code, gaps = await fleet_command("gaps", "--config", config)
        assert code == 0 and {gap["reason"] for gap in gaps} <= {"before_subscription"}
        truth = Truth.read(fleet.truth)
        ticker = "KXSIM-0-T0.00"
        code, book = await fleet_command("book", ticker, "--config", config)
        assert code == 0
        assert {(r["side"], r["price"]): r["size"] for r in book} == {
            (side, str(price)): str(size) for (side, price), size in truth.books[ticker].items()
        }
        await browse(config, truth, ticker)
        async with asyncio.timeout(60):
            while (lags := await reported(config, fleet.folder)).get("production", {}).get("changes") != len(
                truth.deltas
            ):
                await asyncio.sleep(0.5)
        assert lags.keys() == {"production", *plan.gatherers}
        assert all(lag["least_ms"] <= lag["p50_ms"] <= lag["p99_ms"] <= lag["most_ms"] for lag in lags.values())
        for name in plan.gatherers:
            assert await fleet.terminate(name) == 0, fleet.log_tail(name)
        code, exported = await fleet_command("export", "--now", "--config", config)
        assert code == 0, exported
        assert sum(hour["orderbook_deltas"] for hour in exported) == len(truth.deltas)
        client = s3.client(fleet.s3_url)
        keys = [
            o["Key"] for o in client.list_objects_v2(Bucket=BUCKET)["Contents"] if o["Key"].startswith("_manifests")
        ]
        manifests = [decode(client.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys]
        checks = await compare_archive(fleet.production_dsn, client, BUCKET, manifests, truth)
        assert sum(check.compared for check in checks) > len(truth.deltas)
        assert_equal(checks)
        second = fleet.spawn("second", "deduplicator", "--config", config)
        assert await asyncio.to_thread(second.wait, 60) == 2, "the embedded server has an owner already"
        assert "another process owns" in fleet.log_tail("second")
        assert await fleet.terminate("deduplicator") == 0, fleet.log_tail("deduplicator")


NEWER: dict[migrate.Schema, str] = {
    "gatherer": "ALTER TABLE sessions ADD COLUMN more text; ALTER TABLE trades ADD COLUMN more int DEFAULT 7;"
    " ALTER TABLE runs ADD COLUMN more text; CREATE TABLE more ();",
    "production": "ALTER TABLE store.trades ADD COLUMN more int; ALTER TABLE store.runs ADD COLUMN more text;",
}
"""What a next release might apply before its code."""


async def upgrade(dsn: str, schema: migrate.Schema, folder: Path) -> None:
    """Give the database the schema of a next release."""
    newer = folder / f"next-{schema}"
    if not newer.exists():
        shutil.copytree(migrate.folder(schema), newer)
        (newer / "9001_next.sql").write_text(f"-- What the next release has.\n{NEWER[schema]}\n")
    async with EmbeddedServer.of_dsn(dsn) as server:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(migrate, "folder", lambda schema: newer)
            assert await asyncio.to_thread(migrate.migrate, server.dsn, schema) == ["9001_next"]


@pytest.mark.long
async def test_gatherers_replaced_one_after_another_leave_no_gap(open_folder: Path) -> None:
    """The upgrade's runbook, under load: stop, migrate, start; the next one when the check between passes.

    The schema is that of a next release, the code this one's: the way back, before `--post`, is the same.
    """
    async with running(FleetPlan(simulator=("--markets", "12", "--rate", "800"))) as fleet:
        urls = [f"http://127.0.0.1:{fleet.ports[name]}" for name in (*fleet.plan.gatherers, "deduplicator")]
        await asyncio.sleep(3)
        for name in fleet.plan.gatherers:
            assert await fleet.terminate(name) == 0, fleet.log_tail(name)
            await upgrade(fleet.gatherer_dsn(name), "gatherer", open_folder)
            command = [sys.executable, "-m", "fleet", "migrate", "--config", str(fleet.config(name))]
            await asyncio.to_thread(subprocess.run, command, check=True)
            fleet.start_gatherer(name)
            async with asyncio.timeout(60):
                while (await fleet_command("status", "--expect", "3", *urls))[0] != 0:
                    await asyncio.sleep(0.2)
            await covers_again(fleet, name)
        assert await fleet.terminate("deduplicator") == 0
        await upgrade(fleet.production_dsn, "production", open_folder)
        fleet.start_deduplicator()
        checks = await judge(fleet, strict=True)
        assert_equal(checks)
        assert checks[0].compared > 5000 and checks[0].listed == 0
