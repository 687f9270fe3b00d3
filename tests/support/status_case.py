"""A gatherer's and a deduplicator's `/status`, as tests need one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from common.contract.deduplicator_status import DeduplicatorStatus, DeltaTotals, GapTotals, SourceStatus
from common.contract.gatherer_status import GathererStatus, JournalStatus, LoaderStatus, RoleStatus


def gatherer(uptime_s: float = 10.0, frames: int = 0, **changes: Any) -> GathererStatus:
    """One that is well, but for one connection of its trades."""
    return replace(
        GathererStatus(
            "gatherer-a",
            uptime_s,
            "ready",
            markets=7,
            connections={"orderbook": RoleStatus(2, 2, frames), "trade": RoleStatus(2, 1, 0)},
            journal=JournalStatus(3 << 30, 50 << 30, full=False),
            loader=LoaderStatus(12),
        ),
        **changes,
    )


def deduplicator(**changes: Any) -> DeduplicatorStatus:
    """One that reads a gatherer."""
    return replace(
        DeduplicatorStatus(
            "deduplicator",
            10.0,
            "ready",
            gatherers={"gatherer-a": SourceStatus(connected=True, unread_batches=0)},
            time_lines=7,
            deltas=DeltaTotals(1000, 1990),
            lag_ms=90,
            open_gaps={"orderbook_delta": GapTotals(2, 4.5, 4.5), "trade": GapTotals(1, 7200.0)},
        ),
        **changes,
    )


@contextlib.asynccontextmanager
async def another_service(answer: str = '{"status": "up"}', status: int = 200) -> AsyncIterator[int]:
    """A process that is none of the fleet's, and answers any path; gives its port."""

    async def any_path(_: web.Request) -> web.Response:
        return web.Response(text=answer, status=status)

    app = web.Application()
    app.router.add_get("/{path:.*}", any_path)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
