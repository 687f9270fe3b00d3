"""A child process that reads and writes lines: started, listened to, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from common import log
from common.process import backoff_s

STOP_WAIT_S: Final = 60
LINE_BYTES_MAX: Final = 64 << 20
RESTART_FIRST_S: Final = 0.2
RESTART_MOST_S: Final = 10.0
LIVED_S: Final = 30.0  # one that lived so long is started again at once
EXIT_DONE: Final = 3  # the child has nothing left to do


class Child:
    """One supervised child: `python -m MODULE ARGUMENTS... PARENT_PID`."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        received: Callable[[bytes], None],
        first: Callable[[], Iterable[bytes]] = tuple,
        ended: Callable[[int], None] = lambda exit_code: None,
    ) -> None:
        """`first` gives the lines that a new process is sent first; `ended` is called when one ended."""
        self.name, self._module, self._arguments = name, module, tuple(arguments)
        self._received, self._first, self._ended = received, first, ended
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self.restarts = -1

    @property
    def pid(self) -> int | None:
        """The process id, None while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> None:
        """Keep it running until `stop`, or until it reports that it is done."""
        delays = backoff_s(RESTART_FIRST_S, RESTART_MOST_S)
        while not self._stopping:
            await asyncio.sleep(next(delays))
            began = time.monotonic()
            code = await self._once()
            if code == EXIT_DONE:
                return
            self._ended(code)
            if not self._stopping:
                log.get().error("process_ended", process=self.name, exit_code=code)
            if time.monotonic() - began > LIVED_S:
                delays = backoff_s(RESTART_FIRST_S, RESTART_MOST_S)

    async def _once(self) -> int:
        self.restarts += 1
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            *self._arguments,
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
        )
        self._process = process
        if self._stopping:  # asked to stop while it was being started
            process.terminate()
        for data in self._first():
            self.send(data)
        assert process.stdout is not None
        while True:
            try:
                data = await process.stdout.readline()
            except ValueError:  # a line beyond the limit: what it reports is in the database, and the next one is due
                log.get().error("report_too_long", process=self.name, bytes_max=LINE_BYTES_MAX)
                continue
            if not data:
                return await process.wait()
            self._received(data)

    def send(self, data: bytes) -> None:
        """Send it something; without a process nothing happens, a new one gets everything by `first`."""
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(data)

    async def stop(self) -> None:
        """SIGTERM, and wait; a process that does not end is killed."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_WAIT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
