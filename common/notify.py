"""Notify systemd that the process is up, and that its loop still turns (sd_notify(3)); without systemd nothing happens.

The unit's `WatchdogSec` ends a process whose event loop stands still: one that hangs is worse than one that ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator


def notify(state: str) -> None:
    """Send `READY=1`, `WATCHDOG=1` or the like to systemd's socket, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to, contextlib.suppress(OSError):
        to.connect(address)  # systemd restarts: the next beat finds it again
        to.sendall(state.encode())


@contextlib.asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Ready from here on; as long as the context lasts and the loop turns, systemd is notified in time."""
    notify("READY=1")
    interval_us = int(os.environ.get("WATCHDOG_USEC", "0"))
    task = asyncio.create_task(_beat(interval_us / 3_000_000), name="watchdog") if interval_us else None
    try:
        yield
    finally:
        notify("STOPPING=1")
        if task is not None:
            task.cancel()


async def _beat(interval_s: float) -> None:
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval_s)
