"""A real Prometheus scrapes a real fleet that is broken: each alert's expression becomes true, and false again.

The durations of the alerts are promtool's work (`test_alerts.py`); here the expressions' own times are made seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from common.process import end_with_parent_of
from common.storage.database import connect
from fleet.local import BUCKET, GATHERERS, LocalFleet, Plan, free_port
from tests.test_alerts import rules
from tests.test_dashboards import QUERIES

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus (Debian's package)"),
]
WAIT_S = 60.0
NOT_HERE = {
    "ArchiveFailing": "an hour must have passed: tests/test_export_faults.py",
    "BoundNearlyReached": "false again only with a new process",
    "ClockNotProven": "true wherever no time service runs, as here; false only on a synchronised machine",
    "DiskFilling": "needs a disk of its own: tests/test_keeper.py, tests/test_retention.py",
    "DroppedUnread": "needs a disk of its own: tests/test_retention.py",
    "Watchdog": "always true",
}
"""Alerts that are not seen on a fleet by this test, and where what they show is tested."""


def faster(expression: str) -> str:
    """The same expression with its minutes and hours made seconds."""
    expression = re.sub(r"\[\d+[mh]\]", "[8s]", expression)
    expression = re.sub(r"offset 1h", "offset 8s", expression)
    return re.sub(r"([<>]) 60\b", r"\1 4", expression)


class Monitor:
    """A Prometheus and the rules' expressions."""

    def __init__(self, port: int, http: aiohttp.ClientSession) -> None:
        self._url, self._http = f"http://127.0.0.1:{port}/api/v1/query", http
        self.seen: set[str] = set()

    async def holds(self, alert: str) -> bool:
        """Whether the alert's expression has a result now."""
        expression = rules()[alert]["expr"].replace("fleet:gatherers_fresh:count", f"({FRESH})")
        return bool(await self.result(faster(expression)))

    async def becomes(self, holds: bool, *alerts: str) -> None:
        """Wait until all these expressions hold, or none does."""
        for alert in alerts:
            deadline = asyncio.get_running_loop().time() + WAIT_S
            while await self.holds(alert) != holds:
                assert asyncio.get_running_loop().time() < deadline, f"{alert} is not {holds}"
                await asyncio.sleep(0.3)
            if holds:
                self.seen.add(alert)

    async def result(self, query: str) -> list[Any]:
        """What a query gives now."""
        async with self._http.get(self._url, params={"query": query}) as response:
            answer: dict[str, Any] = await response.json()
            assert answer["status"] == "success", answer
            return list(answer["data"]["result"])

    @contextlib.asynccontextmanager
    async def during(self, *alerts: str) -> AsyncIterator[None]:
        """Before the block they do not hold; in it, broken by the caller, they come to; behind it they no longer do."""
        await self.becomes(False, *alerts)
        yield
        await self.becomes(False, *alerts)


FRESH = next(
    rule["expr"]
    for group in yaml.safe_load((Path(__file__).parent.parent / "deploy/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
    if rule.get("record") == "fleet:gatherers_fresh:count"
)


@contextlib.asynccontextmanager
async def prometheus(fleet: LocalFleet) -> AsyncIterator[Monitor]:
    """A server that scrapes the fleet each second."""
    jobs = {"gatherer": GATHERERS, "deduplicator": ("deduplicator",)}
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{fleet.ports[name]}" for name in names]}]}
            for job, names in jobs.items()
        ],
    }
    file, port = fleet.folder / "prometheus.yml", free_port()
    file.write_text(yaml.safe_dump(config))
    with (fleet.folder / "prometheus.log").open("ab") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={fleet.folder / 'tsdb'}"]
            + [f"--web.listen-address=127.0.0.1:{port}", "--query.lookback-delta=3s"],
            stdout=log,
            stderr=log,
            preexec_fn=end_with_parent_of(os.getpid()),
        )
    try:
        async with aiohttp.ClientSession() as http:
            monitor = Monitor(port, http)
            for _ in range(100):
                with contextlib.suppress(aiohttp.ClientError):
                    await monitor.holds("Watchdog")
                    break
                await asyncio.sleep(0.2)
            yield monitor
    finally:
        process.terminate()
        process.wait()


def servers(fleet: LocalFleet) -> list[int]:
    """The processes of production's database."""
    pid = int(next((fleet.folder / "production").rglob("postmaster.pid")).read_text().split()[0])
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


async def workers(fleet: LocalFleet, name: str, kind: str) -> list[int]:
    """Pids of a gatherer's captures or loaders."""
    status = await fleet.status(name)
    assert status is not None
    return [lane[f"{kind}_pid"] for lane in status["lanes"] if lane[f"{kind}_pid"]]


async def _dashboards_have_data(monitor: Monitor) -> None:
    """Every query of a dashboard, on a fleet that is well; of what is counted by its label only what has happened."""
    for query in QUERIES:
        if "deduplicator_checks_total" not in query and "_alarms_total" not in query:
            assert await monitor.result(re.sub(r"\[\d+[mhd]\]", "[8s]", query)), query


@pytest.mark.timeout(900)
async def test_each_alert_is_seen_on_a_fleet_that_has_its_fault() -> None:
    """One fault after the other; between them the fleet is well again."""
    async with LocalFleet(Plan(simulator=("--markets", "10", "--rate", "300"), merge={"timeout": "3s"})) as fleet:
        raw = {"bucket": BUCKET, "endpoint_url": fleet.s3_url}
        journal = {"segment_bytes": "100KiB", "max_bytes": "700KiB", "raw": raw}
        fleet.plan = dataclasses.replace(fleet.plan, overrides={"journal": journal})
        await fleet.start_simulator()
        for name in GATHERERS:
            fleet.start_gatherer(name)
        fleet.start_deduplicator()
        await fleet.ready(*GATHERERS, "deduplicator")
        async with prometheus(fleet) as monitor:
            await monitor.becomes(True, "RawArchiveFailing")
            await fleet.start_s3()
            await monitor.becomes(False, *set(rules()) - {"Watchdog", "ClockNotProven", "BoundNearlyReached"})

            await _dashboards_have_data(monitor)

            async with monitor.during("GathererDown", "FewerThanThreeCopies"):
                fleet.kill("gatherer-b")
                await monitor.becomes(True, "GathererDown", "FewerThanThreeCopies")
                async with monitor.during("FewerThanTwoCopies", "CoverageLost"):
                    fleet.kill("gatherer-a")
                    await monitor.becomes(True, "FewerThanTwoCopies")
                    fleet.kill("gatherer-c")
                    await asyncio.sleep(2)
                    for name in GATHERERS:
                        fleet.start_gatherer(name)
                    await monitor.becomes(True, "CoverageLost")
            await fleet.ready(*GATHERERS)

            async with monitor.during("LoaderStalled"):
                (loader,) = await workers(fleet, "gatherer-a", "loader")
                os.kill(loader, signal.SIGSTOP)
                await monitor.becomes(True, "LoaderStalled")
                os.kill(loader, signal.SIGCONT)

            async with monitor.during("JournalFilling", "JournalFull"):
                (loader,) = await workers(fleet, "gatherer-b", "loader")
                os.kill(loader, signal.SIGSTOP)
                await monitor.becomes(True, "JournalFilling", "JournalFull")
                os.kill(loader, signal.SIGCONT)
            await fleet.ready(*GATHERERS)

            async with monitor.during("WorkerRestarts"):
                for _ in range(4):
                    for pid in await workers(fleet, "gatherer-b", "capture"):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    await asyncio.sleep(1.2)
                await monitor.becomes(True, "WorkerRestarts")

            async with monitor.during("GathererNotReady"):
                await fleet.fault("cut", key="gatherer-c", for_ms=6000)
                await monitor.becomes(True, "GathererNotReady")

            async with monitor.during("ProductionBehind", "TaskFailing"):
                standing = servers(fleet)
                for pid in standing:
                    os.kill(pid, signal.SIGSTOP)
                await monitor.becomes(True, "ProductionBehind", "TaskFailing")
                for pid in reversed(standing):
                    os.kill(pid, signal.SIGCONT)

            async with monitor.during("DeduplicatorDown", "MetricsAbsent"):
                fleet.kill("deduplicator")
                await monitor.becomes(True, "DeduplicatorDown", "MetricsAbsent")
                fleet.start_deduplicator()
            await fleet.ready("deduplicator")

            async with monitor.during("KeyRefused"):
                await fleet.fault("clock", ahead_ms=60_000)
                await fleet.fault("cut", key="gatherer-a")
                await monitor.becomes(True, "KeyRefused")
                await fleet.fault("clock", ahead_ms=0)
            await fleet.ready(*GATHERERS)

            async with monitor.during("ExchangeInactive"):
                await fleet.fault("maintenance", for_ms=8000)
                await monitor.becomes(True, "ExchangeInactive")
            await fleet.ready(*GATHERERS)

            async with monitor.during("CheckFailed", "AssumptionBroken"):
                await fleet.fault("lie", for_ms=12_000)
                await monitor.becomes(True, "CheckFailed", "AssumptionBroken")

            async with monitor.during("FramesQuarantined"):
                connection = await connect(fleet.production_dsn)
                ticker = await connection.fetchval("SELECT ticker FROM orderbook_deltas LIMIT 1")
                await connection.close()
                odd = {"market_ticker": ticker, "price_dollars": "nonsense"}
                await fleet.fault("odd", ticker=ticker, type="orderbook_delta", msg=odd)
                await monitor.becomes(True, "FramesQuarantined")

            async with monitor.during("CopiesContradict"):
                for _ in range(20):
                    await fleet.fault("hollow", key="gatherer-c", channel="orderbook_delta", count=1)
                    await asyncio.sleep(1)
                    if await monitor.holds("CopiesContradict"):
                        break
                await monitor.becomes(True, "CopiesContradict")
        assert monitor.seen == set(rules()) - set(NOT_HERE)
