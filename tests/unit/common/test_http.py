"""The processes' small HTTP server against clients that ask slowly."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import prometheus_client
import pytest

from common import http
from common.config.schema import HttpConfig
from tests.support.status_case import gatherer


@pytest.mark.parametrize("half", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
async def test_half_a_request_does_not_hold_a_connection_for_ever(half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does none; a client that asks properly is answered meanwhile, on one connection."""
    monkeypatch.setattr(http, "IDLE_S", 0.2)
    registry = prometheus_client.CollectorRegistry()
    async with http.serve(HttpConfig(port=0), registry, lambda: None, gatherer) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(half)
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                    assert answer.status == 200
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
