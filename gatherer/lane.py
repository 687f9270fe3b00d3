"""The loader's process as its parent sees it: started, listened to, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from common import log
from common.process import backoff_s
from gatherer.journal.format import Place

STOP_WAIT_S: Final = 60
LINE_BYTES_MAX: Final = 64 << 20


class Lane:
    """One lane's loader, supervised."""

    def __init__(self, config_file: Path, on_batch: Callable[[dict[str, Any]], None]) -> None:
        self._config_file, self._on_batch = config_file, on_batch
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self.batch = 0
        self.place = Place(0, 0)
        self.frames = self.delta_rows = self.quarantined = 0
        self.lag_us = 0
        self.restarts = -1
        self.healthy = False
        self.alarms: dict[str, int] = {}

    async def run(self) -> None:
        """Keep the loader running until `stop`."""
        delays = backoff_s(0.2, 10.0)
        while not self._stopping:
            await asyncio.sleep(next(delays))
            self.restarts += 1
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gatherer.loader",
                str(self._config_file),
                str(os.getpid()),
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
            )
            assert self._process.stdout is not None
            async for line in self._process.stdout:
                self._heard(json.loads(line))
            code = await self._process.wait()
            self.healthy = False
            if not self._stopping:
                log.get().error("loader_ended", exit_code=code)

    async def stop(self) -> None:
        """Let the loader finish what is in the journal, then end it."""
        self._stopping = True
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_WAIT_S)
        except TimeoutError:
            self._process.kill()

    @property
    def pid(self) -> int | None:
        """The loader's process id."""
        return self._process.pid if self._process else None

    def _heard(self, message: dict[str, Any]) -> None:
        if "failed" in message:
            self.healthy = False
            return
        self.healthy = True
        self.batch = message["batch"]
        self.place = Place(message["segment"], message["offset"])
        self.frames += message["frames"]
        self.delta_rows += message["delta_rows"]
        self.quarantined += message["quarantined"]
        self.lag_us = message["lag_us"]
        for name, count in message["alarms"].items():
            self.alarms[name] = self.alarms.get(name, 0) + count
        self._on_batch(message)
