"""The small HTTP server of every process: /healthz, /readyz, /metrics, /status, and the status page if it is on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

import prometheus_client
from aiohttp import web

from common import redact
from common.config.schema import HttpConfig
from common.contract.status import Status, encoded
from common.page.guard import Handler
from common.page.routes import routes

IDLE_S = 15.0


@contextlib.asynccontextmanager
async def serve(
    http: HttpConfig,
    registry: prometheus_client.CollectorRegistry,
    ready: Callable[[], str | None],
    status: Callable[[], Status],
    pages: Mapping[str, Handler] | None = None,
) -> AsyncIterator[int]:
    """Serve until the end of the block; gives the port. `ready` gives why not, or None; `pages`: see `routes`."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(_: web.Request) -> web.Response:
        why_not = ready()
        return web.Response(text=f"{redact.text(why_not or 'ready')}\n", status=503 if why_not else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=prometheus_client.generate_latest(registry), content_type="text/plain")

    async def state(_: web.Request) -> web.Response:
        return web.json_response(redact.value(encoded(status())))

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/status", state),
        ]
    )
    if http.page is not None:
        app.add_routes(routes(http.page, status, pages or {}))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, http.host, http.port).start()
        async with _without_idlers(runner):
            yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _without_idlers(runner: web.AppRunner) -> AsyncIterator[None]:
    """Close connections that have asked nothing for a while: half a request, or none, holds a socket for ever."""
    idle: set[int] = set()

    async def look() -> None:
        nonlocal idle
        while True:
            await asyncio.sleep(IDLE_S)
            assert runner.server is not None
            connections = runner.server.connections
            waiting = {id(one): one for one in connections if one._current_request is None}  # noqa: SLF001  aiohttp shows it nowhere else
            for number in idle & waiting.keys():
                if (transport := waiting[number].transport) is not None:
                    transport.abort()
            idle = set(waiting)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
