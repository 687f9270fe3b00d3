"""An exchange that does nothing but answer subscriptions and send changes as fast as they are taken.

The simulator keeps books and a truth log, which costs more than a gatherer; a benchmark needs a sender that is not
the bottleneck. Frames look like the real ones, and are numbered per subscription.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import struct
import sys
import time
from pathlib import Path
from typing import Any, Final

import picows
from aiohttp import web

TEXT: Final = picows.WSMsgType.TEXT
BURST: Final = 20
FLOOD_FRAMES: Final = 500
CREATED: Final = "2026-11-01T00:00:00Z"


class Client(picows.WSListener):
    """One connection: its subscriptions, and a stream of changes over its markets."""

    ready = 0

    def __init__(self, plan: argparse.Namespace) -> None:
        self._plan = plan
        self._tickers: list[str] = []
        self._seq = 0
        self._sid = 0
        self._left = 0
        self._sender: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """A client came."""
        self._transport = transport

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """It is gone."""
        if self._sender is not None:
            self._sender.cancel()

    def pause_writing(self) -> None:
        """The client is slower than this sender."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._may_write.set()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """A command."""
        if frame.msg_type != TEXT:
            return
        command = json.loads(frame.get_payload_as_bytes())
        params = command["params"]
        tickers = params.get("market_tickers", [])
        if command["cmd"] == "subscribe":
            for channel in params["channels"]:
                self._sid += 1
                self._say({"type": "subscribed", "id": command["id"], "msg": {"channel": channel, "sid": self._sid}})
        elif params.get("action") == "add_markets":
            self._seq += 1
            self._say({"type": "ok", "id": command["id"], "sid": 1, "seq": self._seq})
        for ticker in tickers:
            self._seq += 1
            id_ = {"id": command["id"]} if params.get("action") == "get_snapshot" else {}
            msg = {"market_ticker": ticker, "market_id": ""}
            self._say({"type": "orderbook_snapshot", **id_, "sid": 1, "seq": self._seq, "msg": msg})
        if params.get("action") != "get_snapshot":
            self._tickers += tickers
        if self._tickers and self._sender is None and self._plan.frames:
            self._left = self._plan.frames
            self._sender = asyncio.create_task(self._send_changes())

    def _say(self, message: dict[str, Any]) -> None:
        self._transport.send(TEXT, json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def _send_changes(self) -> None:
        await asyncio.sleep(self._plan.delay)
        heads = [
            f'"msg":{{"market_ticker":"{t}","market_id":"6d0e8a1c-5a3f-4b7e-9d57-0c7f6f1f2a11","price_dollars":"0.'
            for t in self._tickers
        ]
        if self._plan.rate:
            await self._pace(heads)
        else:
            await self._flood(heads)

    def _change(self, heads: list[str], tail: str) -> bytes:
        self._seq += 1
        seq = self._seq
        sign = "" if seq % 2 else "-"
        text = (
            f'{{"type":"orderbook_delta","sid":1,"seq":{seq},{heads[(seq // 2) % len(heads)]}'
            f'{10 + seq // 2 % 80}00","delta_fp":"{sign}{1 + seq // 2 % 500}.00","side":"{"yes" if seq & 2 else "no"}'
        )
        return (text + tail).encode()

    async def _pace(self, heads: list[str]) -> None:
        """So many a second, stamped with the present."""
        due = time.monotonic()
        while self._left > 0:
            tail = _tail(time.time_ns() // 1000)
            for _ in range(min(BURST, self._left)):
                self._transport.send(TEXT, self._change(heads, tail))
                self._left -= 1
            await self._may_write.wait()
            due += BURST / self._plan.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _flood(self, heads: list[str]) -> None:
        """As fast as they are taken: rendered before, so that this sender is not the bottleneck."""
        chunks = []
        while self._left > 0:
            tail = _tail(time.time_ns() // 1000)
            frames = [self._change(heads, tail) for _ in range(min(FLOOD_FRAMES, self._left))]
            self._left -= len(frames)
            chunks.append(b"".join(struct.pack("!BBH", 0x81, 126, len(f)) + f for f in frames))
            await asyncio.sleep(0)
        Client.ready += 1
        while Client.ready < self._plan.connections:
            await asyncio.sleep(0.01)
        for chunk in chunks:
            await self._may_write.wait()
            self._transport.underlying_transport.write(chunk)
            await asyncio.sleep(0)


def _tail(us: int) -> str:
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(us // 1_000_000)) + f".{us % 1_000_000:06d}Z"
    return f'","ts":"{at}","ts_ms":{us // 1000}}},"sending_ts_ms":{us // 1000}}}\n'


def market(number: int) -> dict[str, Any]:
    """A REST market object with what a registry looks at, and some of what makes it large."""
    return {
        "ticker": f"KXBENCH-26NOV{number % 30:02d}-T{number}",
        "event_ticker": f"KXBENCH-26NOV{number % 30:02d}",
        "status": "active",
        "created_time": CREATED,
        "open_time": CREATED,
        "close_time": "2026-12-31T00:00:00Z",
        "title": "a market of the benchmark",
    }


def rest(markets: int) -> web.Application:
    """The listing of all markets by pages."""

    async def listing(request: web.Request) -> web.Response:
        if request.query.get("status") != "open":
            return web.json_response({"markets": [], "cursor": ""})
        start, limit = int(request.query.get("cursor") or 0), int(request.query.get("limit", 100))
        page = [market(n) for n in range(start, min(start + limit, markets))]
        response = web.json_response({"markets": page, "cursor": str(start + limit) if start + limit < markets else ""})
        response.enable_compression()
        return response

    async def status(_: web.Request) -> web.Response:
        return web.json_response({"exchange_active": True})

    async def limits(_: web.Request) -> web.Response:
        read = {"refill_rate": 12_000, "bucket_capacity": 12_000}
        return web.json_response({"usage_tier": "prestige", "read": read, "write": read})

    app = web.Application()
    app.add_routes(
        [
            web.get("/trade-api/v2/markets", listing),
            web.get("/trade-api/v2/exchange/status", status),
            web.get("/trade-api/v2/account/limits", limits),
        ]
    )
    return app


async def main() -> None:
    """Serve until killed; the first line on standard output is JSON with the ports."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=0, help="changes per connection")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="changes per second and connection; 0: as fast as taken"
    )
    parser.add_argument("--delay", type=float, default=1.0, help="seconds between the first subscription and the flow")
    parser.add_argument("--connections", type=int, default=1, help="a flood begins when so many are ready")
    parser.add_argument("--markets", type=int, default=0)
    parser.add_argument("--certificate", type=Path)
    plan = parser.parse_args()
    context = None
    if plan.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(plan.certificate)
    server = await picows.ws_create_server(lambda _: Client(plan), "127.0.0.1", 0, ssl=context)
    runner = web.AppRunner(rest(plan.markets), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"ws": server.sockets[0].getsockname()[1], "rest": runner.addresses[0][1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
