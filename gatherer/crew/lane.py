"""One lane: a journal, the capture that writes it and the loader that reads it, each a process of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from common import log
from common.contract.gatherer_status import LaneStatus
from gatherer.crew.child import Child
from gatherer.crew.reports import (
    CAPTURE_REPORT,
    LOADER_REPORT,
    CaptureReport,
    ConnectionReport,
    LaneCommand,
    LoaderReport,
    line,
)
from gatherer.journal.format import Position


class Lane:
    """A lane's two processes, supervised. Without a worker (`captures` false) it is drained, then closed."""

    def __init__(
        self,
        number: int,
        config_file: Path,
        *,
        captures: bool,
        lanes: int,
        on_batch: Callable[[LoaderReport, Lane], None],
        first_orders: Callable[[int], Iterable[LaneCommand]],
    ) -> None:
        self.number, self.captures = number, captures
        self._on_batch = on_batch
        arguments = [str(config_file), str(number)]
        self.capture = Child(
            f"capture {number}",
            "gatherer.capture.worker",
            [*arguments, str(lanes)],
            self._captured,
            lambda: self._started(first_orders(number)),
        )
        self.loader = Child(
            f"loader {number}",
            "gatherer.load.loader",
            [*arguments, "follow" if captures else "drain"],
            self._loaded,
            ended=self._loader_ended,
        )
        self.report = CaptureReport([], 0, 0, 0, 0, clock_proven=True)
        self.batch = 0
        self.loaded = Position(0, 0)
        self.frames = self.delta_rows = self.quarantined = 0
        self.lag_us = self.claims_still_ms = 0
        self.healthy = False
        self.why_unhealthy = "the loader has not reported yet"
        self.alarms: dict[str, int] = {}
        self.measured_ms: dict[str, int] = {}
        self.checks: dict[str, int] = {}
        self.drained = False
        self._level, self._level_s = Position(0, 0), time.monotonic()
        """How far it was loaded, and when that last moved or was all there is."""

    async def run(self) -> None:
        """Keep both processes running until `stop`; of a lane without a worker, the loader until it is done."""
        if not self.captures:
            await self.loader.run()
            self.drained = True
            log.get().info("lane_closed", lane=self.number)
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.capture.run())
            group.create_task(self.loader.run())

    async def stop(self) -> None:
        """First the capture, which ends its journal; then the loader, which reads it to the end."""
        await self.capture.stop()
        await self.loader.stop()

    def order(self, order: LaneCommand) -> None:
        """Send it to the capture."""
        self.capture.send(line(order))

    @property
    def connections(self) -> list[ConnectionReport]:
        """The lane's connections as last reported; all down while there is no process."""
        if self.capture.pid is None:
            self._all_down()
        return self.report.connections

    def _all_down(self) -> None:
        for connection in self.report.connections:
            connection.up = False

    def _started(self, orders: Iterable[LaneCommand]) -> Iterable[bytes]:
        """A new capture has no connection, whatever the previous one reported last."""
        self._all_down()
        return map(line, orders)

    @property
    def stalled_s(self) -> float:
        """How long nothing was loaded while there was something to load, whatever the loader reports."""
        now_s = time.monotonic()
        if self.loaded != self._level or self.loaded >= Position(self.report.segment, self.report.offset):
            self._level, self._level_s = self.loaded, now_s
        return now_s - self._level_s

    def why_not_loading(self, wait_s: float) -> str | None:
        """Why rows do not come into the database, if they do not; it may stand still for so long."""
        if not self.healthy:
            return self.why_unhealthy
        if self.stalled_s > wait_s:
            return f"nothing was loaded for {self.stalled_s:.0f} s"
        return None

    def status(self) -> LaneStatus:
        """For `/status`."""
        return LaneStatus(
            lane=self.number,
            state="open" if self.captures else ("closed" if self.drained else "draining"),
            capture_pid=self.capture.pid,
            capture_restarts=max(self.capture.restarts, 0),
            loader_pid=self.loader.pid,
            loader_restarts=max(self.loader.restarts, 0),
            healthy=self.healthy,
            batch=self.batch,
            lag_ms=self.lag_us // 1000,
            claims_still_ms=self.claims_still_ms,
            written=(self.report.segment, self.report.offset),
            loaded=(self.loaded.segment, self.loaded.offset),
        )

    def _loader_ended(self, exit_code: int) -> None:
        """Another one is healthy when it reports that."""
        self.healthy, self.why_unhealthy = False, f"the loader ended (exit code {exit_code}) and is started again"

    def _captured(self, data: bytes) -> None:
        self.report = CAPTURE_REPORT.decode(data)
        _ = self.stalled_s  # noted while it is level

    def _loaded(self, data: bytes) -> None:
        report = LOADER_REPORT.decode(data)
        if report.failed:
            self.healthy, self.why_unhealthy = False, report.failed
            return
        self.healthy, self.why_unhealthy = True, ""
        self.batch = report.batch
        self.loaded = Position(report.segment, report.offset)
        _ = self.stalled_s
        self.frames += report.frames
        self.delta_rows += report.delta_rows
        self.quarantined += report.quarantined
        self.lag_us, self.claims_still_ms = report.lag_us, report.claims_still_ms
        for name, count in report.alarms.items():
            self.alarms[name] = self.alarms.get(name, 0) + count
        for name, count in report.checks.items():
            self.checks[name] = self.checks.get(name, 0) + count
        for name, ms in report.measured_ms.items():
            self.measured_ms[name] = max(self.measured_ms.get(name, 0), ms)
        self._on_batch(report, self)
