"""`fleet probe`: what the fleet believes of the exchange, measured on it in some minutes.

Two connections listen to the same busy markets, and what they received is compared; a third asks; a fourth gets
pings alone. A key that may read is enough.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from common.config.schema import GathererConfig
from common.contract.channels import ORDERBOOK, TRADE
from common.errors import ExchangeError, ExchangeUnavailable
from common.exchange.rest import RestClient
from common.exchange.signing import Signer
from fleet.probing.assumptions import EDGE_MS, Capture, decode, judge
from fleet.probing.beliefs import BELIEFS, Measured
from fleet.probing.experiments import (
    Line,
    RestBook,
    ask_books,
    ask_listed,
    ask_status,
    ask_trades,
    body_of,
    busiest,
    compare_books,
    converse,
    heartbeat,
    json_of,
)
from gatherer.capture.transport import DialRefused, SocketClosed, dial

SNAPSHOTS_EVERY_S: Final = 10.0
SUBSCRIBE_BATCH: Final = 200
ASKED_MARKETS: Final = 3
ANSWER_WAIT_S: Final = 5.0
SETTLE_S: Final = 1.0
"""What was sent before the end may still be on its way."""
TRADES_LISTED_S: Final = 30.0
"""REST lists a trade a moment after the stream has brought it: those of the last seconds are not asked for."""


async def subscribe(line: Line, tickers: list[str]) -> None:
    """Books and trades of these markets."""
    for at in range(0, len(tickers), SUBSCRIBE_BATCH):
        some = tickers[at : at + SUBSCRIBE_BATCH]
        await line.command("subscribe", channels=[ORDERBOOK, TRADE], market_tickers=some, use_yes_price=False)


async def snapshots(line: Line, tickers: list[str]) -> None:
    """Ask for the books in the stream."""
    sid = next((s for s in map(_book_sid, (data for _, data in line.received)) if s is not None), None)
    if sid is not None:
        await line.command("update_subscription", sids=[sid], action="get_snapshot", market_tickers=tickers)


def _book_sid(data: bytes) -> int | None:
    if b'"subscribed"' not in data:
        return None
    msg = body_of(json_of(data))
    sid = msg.get("sid")
    return sid if isinstance(sid, int) and msg.get("channel") == ORDERBOOK else None


async def probe(
    config: GathererConfig, seconds: float, markets: int, report: Callable[[str], None]
) -> tuple[list[Measured], list[Capture]]:
    """Listen for so long to the markets with the greatest volume, and ask meanwhile; raises `ExchangeError`."""
    signer = Signer.of_file(config.kalshi.key_id.get_secret_value(), config.kalshi.private_key_file)
    url = config.kalshi.ws_url
    lines: list[Line] = []
    async with RestClient(config.kalshi.rest_url, signer) as rest:
        tickers, lists = await busiest(rest, markets)
        if not tickers:
            raise ExchangeUnavailable("the exchange lists no open market")
        report(f"listening to {len(tickers)} markets on two connections for {seconds:.0f} s")
        wait_s = min(ANSWER_WAIT_S, seconds / 2)
        silence_s = config.protocol.silence / 1000
        try:
            for name in ("first", "second", "asking", "quiet"):
                headers = signer.headers("GET", urlsplit(url).path)
                lines.append(Line(name, await dial(config.kalshi.transport, url, headers)))
            first, second, asking, quiet = lines
            for line in (first, second):
                await subscribe(line, tickers)
            async with asyncio.TaskGroup() as group:
                talk = group.create_task(converse(asking, tickers[:ASKED_MARKETS], wait_s))
                pings = group.create_task(heartbeat(quiet, seconds, silence_s))
                books = await _listen(lines[:2], tickers, seconds, rest, report)
        except* (DialRefused, SocketClosed) as group:
            error = group.exceptions[0]
            raise ExchangeUnavailable(f"{urlsplit(url).hostname}: {error}") from error
        finally:
            for line in lines:
                await line.close()
        captures = [decode(line.name, line.received) for line in lines[:3]]
        asked = [lists, await ask_status(rest), *talk.result(), pings.result()]
        asked += await _ask_after(rest, captures, seconds)
    asked.append(await asyncio.to_thread(compare_books, captures[0], books))
    judged = await asyncio.to_thread(judge, captures[0], captures[1], config.bounds, captures[2])
    found = {finding.check: finding for finding in (*judged, *asked)}
    return [found[key] for key in BELIEFS], captures


async def _listen(
    listeners: list[Line], tickers: list[str], seconds: float, rest: RestClient, report: Callable[[str], None]
) -> list[RestBook]:
    began = time.monotonic()
    pause = min(SNAPSHOTS_EVERY_S, seconds / 4)
    books: list[RestBook] = []
    while (left := began + seconds - time.monotonic()) > 0:
        await asyncio.sleep(min(pause, left))
        for line in listeners:
            if line.closed:
                raise SocketClosed(f"the {line.name} connection was closed: {line.closed}")
            await snapshots(line, tickers)
        try:
            books += await ask_books(rest, tickers)
        except (ExchangeError, KeyError, TypeError, ValueError) as error:
            report(f"books from REST: {error!r}")
        counts = " and ".join(str(len(line.received)) for line in listeners)
        report(f"{time.monotonic() - began:.0f} s: {counts} frames")
    await asyncio.sleep(SETTLE_S)
    return books


async def _ask_after(rest: RestClient, captures: list[Capture], seconds: float) -> list[Measured]:
    """What REST has of what the stream brought."""
    listed, trades = Measured("listed"), Measured("rest_trades")
    times = [trade[1] for trade in captures[0].ids.values()]
    try:
        listed = await ask_listed(rest, {trade[0] for trade in captures[2].ids.values()})
        if times:
            end_ms = max(times) - int(min(TRADES_LISTED_S, seconds / 4) * 1000)
            trades = await ask_trades(rest, captures[0], min(times) + EDGE_MS, end_ms)
    except ExchangeError as error:
        listed.note = trades.note = str(error)
    return [listed, trades]
