"""What the probe asks of an exchange, over real sockets: an honest one, and others that answer otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from common.exchange.rest import RestClient
from fleet.probing.assumptions import Capture, decode
from fleet.probing.beliefs import FALSE, HOLDS, Measured
from fleet.probing.experiments import (
    Line,
    ask_books,
    ask_listed,
    ask_status,
    ask_trades,
    busiest,
    compare_books,
    converse,
    heartbeat,
)
from gatherer.capture.transport import dial
from simulator.server import WS_PATH
from tests.support.simulator_case import A, B, World, world

WAIT_S = 1.0
CONVERSED = {"repeat", "ok", "add", "snapshot", "late", "again"}


@asynccontextmanager
async def line(w: World) -> AsyncIterator[Line]:
    """A connection that asks."""
    made = Line("asking", await dial("websockets", f"ws{w.url[4:]}{WS_PATH}", w.signers["ed"].headers("GET", WS_PATH)))
    try:
        yield made
    finally:
        await made.close()


async def fault(w: World, **fields: object) -> None:
    """Break something."""
    async with aiohttp.ClientSession() as http, http.post(f"{w.control}/faults", json=fields) as answer:
        assert answer.status == 200


async def conversed(w: World, *faults: dict[str, object]) -> dict[str, Measured]:
    """All commands, on a connection that meets these faults."""
    async with line(w) as asking:
        while not w.server.sessions:
            await asyncio.sleep(0.01)
        for one in faults:
            await fault(w, **one)
        findings = {finding.check: finding for finding in await converse(asking, [A, B], WAIT_S)}
    assert findings.keys() == CONVERSED
    return findings


def false(findings: dict[str, Measured]) -> set[str]:
    """What does not hold."""
    return {key for key, finding in findings.items() if finding.verdict == FALSE}


async def test_an_honest_exchange_answers_as_is_believed() -> None:
    """Each belief was seen to hold."""
    async with world() as w:
        findings = await conversed(w)
        assert {key: (f.verdict, f.note, f.examples) for key, f in findings.items() if f.verdict != HOLDS} == {}


async def test_what_an_exchange_answers_otherwise_is_reported() -> None:
    """Books that do not come by themselves, markets that continue, silence, lists and books that are wrong."""
    async with world() as w, RestClient(f"{w.url}/trade-api/v2", w.signers["ed"]) as rest:
        assert false(await conversed(w, {"kind": "quiet_add", "for_ms": 60_000})) == {"add"}
        exchange, market = w.server.exchange, w.server.exchange.markets[A]

        async def move() -> None:
            while True:
                exchange.fill(market, "yes", max(market.yes), 1, exchange.now_us())
                await asyncio.sleep(0.02)

        moving = asyncio.create_task(move())
        assert false(await conversed(w, {"kind": "late", "for_ms": 60_000})) == {"late"}
        moving.cancel()
        async with line(w) as quiet:
            assert (await heartbeat(quiet, 1.0, 0.6)).verdict == HOLDS
            await fault(w, kind="mute", for_ms=60_000)
            assert (await heartbeat(quiet, 1.0, 0.6)).verdict == FALSE
        assert (await ask_status(rest)).verdict == HOLDS
        assert (await busiest(rest, 5))[1].verdict == HOLDS
        assert (await ask_listed(rest, {A, B})).verdict == HOLDS
        assert (await ask_listed(rest, {A, "KXGHOST-1"})).examples == ["KXGHOST-1"]
        await fault(w, kind="rest_nonsense", for_ms=500)
        assert (await busiest(rest, 5))[1].verdict == FALSE


async def test_rest_and_stream_are_compared() -> None:
    """Trades by their ids, books by their states; what REST leaves out or adds is reported."""
    async with world() as w, RestClient(f"{w.url}/trade-api/v2", w.signers["ed"]) as rest, line(w) as listening:
        exchange, market = w.server.exchange, w.server.exchange.markets[A]
        id_ = await listening.command("subscribe", channels=["orderbook_delta", "trade"], market_tickers=[A])
        await listening.first(0, lambda f: f.get("id") == id_ and f["msg"]["channel"] == "trade", WAIT_S)
        for _ in range(20):
            exchange.fill(market, "yes", max(market.yes), 1, exchange.now_us())
        await listening.first(0, lambda f: f.get("type") == "trade" and f.get("seq") == 20, WAIT_S)

        async def compared() -> tuple[Measured, Measured, Capture]:
            books = await ask_books(rest, [A])
            capture = decode("first", listening.received)
            now_ms = exchange.now_us() // 1000
            return compare_books(capture, books), await ask_trades(rest, capture, 0, now_ms + 60_000), capture

        books, trades, capture = await compared()
        assert len(capture.ids) == 20
        assert (books.verdict, trades.verdict, trades.compared) == (HOLDS, HOLDS, 20), (books.examples, trades.examples)
        await fault(w, kind="lie", for_ms=60_000)
        await fault(w, kind="short_list", for_ms=60_000)
        books, trades, _ = await compared()
        assert (books.verdict, trades.verdict, trades.failed) == (FALSE, FALSE, 10)


@pytest.mark.parametrize("inactive", [[], [1, 2]])
async def test_the_status_is_read_by_index(inactive: list[int]) -> None:
    """One that is paused is reported as paused, and the belief holds."""
    async with world() as w, RestClient(f"{w.url}/trade-api/v2", w.signers["ed"]) as rest:
        await fault(w, kind="status", inactive=inactive)
        finding = await ask_status(rest)
        assert (finding.verdict, finding.compared) == (HOLDS, 4)
