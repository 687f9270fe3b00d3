"""`fleet probe`: two connections listen to the same busy markets, and what they heard is compared."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlsplit

from common.config.schema import GathererConfig
from common.errors import ExchangeUnavailable
from common.exchange.rest import Rest
from common.exchange.signing import Signer
from fleet.assumptions import Finding, Heard, decode, judge
from gatherer.transport import DialRefused, Socket, SocketClosed, dial

SNAPSHOTS_EVERY_S: Final = 10.0
SUBSCRIBE_BATCH: Final = 200
SETTLE_S: Final = 1.0
"""What was sent before the end may still be on its way."""


class Listener:
    """One connection, and everything that it heard, with the time."""

    def __init__(self, name: str, socket: Socket) -> None:
        self.name, self._socket = name, socket
        self.received: list[tuple[int, bytes]] = []
        self.closed = ""
        self._id = 0
        socket.start(self._on_frame, self._on_closed)

    def _on_frame(self, data: bytes) -> None:
        self.received.append((time.time_ns() // 1000, data))

    def _on_closed(self, reason: str) -> None:
        self.closed = reason or "closed"

    async def subscribe(self, tickers: list[str]) -> None:
        """Books and trades of these markets."""
        for at in range(0, len(tickers), SUBSCRIBE_BATCH):
            some = tickers[at : at + SUBSCRIBE_BATCH]
            await self._command(
                "subscribe", channels=["orderbook_delta", "trade"], market_tickers=some, use_yes_price=False
            )

    async def snapshots(self, tickers: list[str]) -> None:
        """Ask for the books in the stream."""
        sid = next((s for s in map(_book_sid, (data for _, data in self.received)) if s is not None), None)
        if sid is not None:
            await self._command("update_subscription", sids=[sid], action="get_snapshot", market_tickers=tickers)

    async def _command(self, name: str, **params: Any) -> None:
        self._id += 1
        await self._socket.send(json.dumps({"id": self._id, "cmd": name, "params": params}))

    async def close(self) -> None:
        """Hang up."""
        await self._socket.close()


def _book_sid(data: bytes) -> int | None:
    if b'"subscribed"' not in data:
        return None
    msg = json.loads(data)["msg"]
    return int(msg["sid"]) if msg.get("channel") == "orderbook_delta" else None


async def probe(
    config: GathererConfig, seconds: float, markets: int, tell: Callable[[str], None]
) -> tuple[list[Finding], list[Heard]]:
    """Listen for so long to the markets with the greatest volume; raises `ExchangeError`."""
    signer = Signer.of_file(config.kalshi.key_id.get_secret_value(), config.kalshi.private_key_file)
    async with Rest(config.kalshi.rest_url, signer) as rest:
        tickers = await busiest(rest, markets)
    if not tickers:
        raise ExchangeUnavailable("the exchange lists no open market")
    tell(f"listening to {len(tickers)} markets on two connections for {seconds:.0f} s")
    url = config.kalshi.ws_url
    listeners: list[Listener] = []
    try:
        for name in ("first", "second"):
            headers = signer.headers("GET", urlsplit(url).path)
            listeners.append(Listener(name, await dial(config.kalshi.transport, url, headers)))
            await listeners[-1].subscribe(tickers)
        await _listen(listeners, tickers, seconds, tell)
    except (DialRefused, SocketClosed) as error:
        raise ExchangeUnavailable(f"{urlsplit(url).hostname}: {error}") from error
    finally:
        for listener in listeners:
            await listener.close()
    heard = [decode(listener.name, listener.received) for listener in listeners]
    findings = await asyncio.to_thread(judge, heard[0], heard[1], config.bounds)
    return findings, heard


async def _listen(listeners: list[Listener], tickers: list[str], seconds: float, tell: Callable[[str], None]) -> None:
    began = time.monotonic()
    pause = min(SNAPSHOTS_EVERY_S, seconds / 4)
    while (left := began + seconds - time.monotonic()) > 0:
        await asyncio.sleep(min(pause, left))
        for listener in listeners:
            if listener.closed:
                raise SocketClosed(f"the {listener.name} connection was closed: {listener.closed}")
            await listener.snapshots(tickers)
        tell(f"{time.monotonic() - began:.0f} s: {len(listeners[0].received)} and {len(listeners[1].received)} frames")
    await asyncio.sleep(SETTLE_S)


async def busiest(rest: Rest, count: int) -> list[str]:
    """The open markets with the greatest volume of the last day."""
    volumes: list[tuple[Decimal, str]] = []
    async for page in rest.markets(status="open"):
        for market in page:
            volume = Decimal(0)
            with contextlib.suppress(InvalidOperation):
                volume = Decimal(str(market.get("volume_24h_fp") or market.get("volume_fp") or 0))
            volumes.append((volume, market["ticker"]))
    return [ticker for _, ticker in sorted(volumes, reverse=True)[:count]]
