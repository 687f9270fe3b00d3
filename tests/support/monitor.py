"""A real Prometheus that scrapes a local fleet each second, and the expressions of the alerts with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from common.process import end_with_parent_of
from tests.support.monitoring import rules
from workshop.rehearsal.local import GATHERERS, LocalFleet, free_port

WAIT_S = 60.0


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
        """Before the block they do not hold; in it, broken by the caller, they come to; after it they no longer do."""
        await self.becomes(False, *alerts)
        yield
        await self.becomes(False, *alerts)


FRESH = next(
    rule["expr"]
    for group in yaml.safe_load((Path(__file__).parents[2] / "deploy/prometheus/alerts.yml").read_text())["groups"]
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


async def workers(fleet: LocalFleet, name: str, kind: str) -> list[int]:
    """Pids of a gatherer's captures or loaders."""
    status = await fleet.gatherer_status(name)
    assert status is not None
    pids = (lane.capture_pid if kind == "capture" else lane.loader_pid for lane in status.lanes)
    return [pid for pid in pids if pid is not None]
