"""A relay in front of an S3 endpoint that fails as networks and servers do, at a request of one's choice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web

PASS, UNAVAILABLE, CUT_BEFORE, CUT_AFTER = "pass", "503", "cut before", "cut after"
Hook = Callable[[int, str, str], Awaitable[str]]
"""Called with each request's number, method and path; returns what becomes of it."""
SILENT = {"transfer-encoding", "content-encoding", "connection", "date", "server", "content-length"}


class FaultyS3:
    """Relays to `target`; `CUT_AFTER`: the request is carried out, the answer is lost."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.hook: Hook | None = None
        self.requests: list[tuple[str, str]] = []
        self.url = ""

    async def __aenter__(self) -> FaultyS3:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.ServerRunner(web.Server(self._relay))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _relay(self, request: web.BaseRequest) -> web.StreamResponse:
        number = len(self.requests)
        self.requests.append((request.method, request.path))
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # else the client waits a second
        body = await request.read()
        fate = await self.hook(number, request.method, request.path) if self.hook else PASS
        if fate == UNAVAILABLE:
            return web.Response(status=503, text="<Error><Code>SlowDown</Code></Error>", content_type="application/xml")
        if fate != CUT_BEFORE:
            answer = await self._forward(request, body)
        if fate in (CUT_BEFORE, CUT_AFTER):
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
            raise web.HTTPServiceUnavailable
        return answer

    async def _forward(self, request: web.BaseRequest, body: bytes) -> web.Response:
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in ("content-length", "expect")
        }
        url = f"{self._target}{request.raw_path}"
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in SILENT}
            if request.method == "HEAD" and "Content-Length" in answer.headers:
                kept["Content-Length"] = answer.headers["Content-Length"]
            return web.Response(status=answer.status, headers=kept, body=await answer.read())
