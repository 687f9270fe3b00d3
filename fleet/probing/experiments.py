"""What the exchange answers to commands and to REST: the beliefs that listening alone cannot measure.

On a connection of their own, so that nothing here disturbs what is compared. Nothing is traded and nothing is changed:
a read-only key is enough. Each experiment waits a while for an answer; none is believed to mean more than it shows.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from common.contract.channels import LIFECYCLE, ORDERBOOK, SNAPSHOT_TYPE, TRADE
from common.errors import ExchangeError, NumberError
from common.exchange.rest import RestClient, packed
from common.levels import Book, parse_levels
from common.numbers import parse_price, parse_size
from fleet.probing.assumptions import Capture, add_content
from fleet.probing.beliefs import Measured
from gatherer.capture.transport import Socket, SocketClosed

LISTED_TICKERS_MAX: Final = 200
BOOKS_MAX: Final = 20
BOOK_SLACK_US: Final = 1_500_000
"""Between what REST shows and what the stream has brought here."""
POLL_S: Final = 0.02
TRADE_MARKETS_MAX: Final = 10

Frame = dict[str, Any]


class Line:
    """One connection: commands out, frames in, with their times."""

    def __init__(self, name: str, socket: Socket) -> None:
        self.name, self._socket = name, socket
        self.received: list[tuple[int, bytes]] = []
        self.closed = ""
        self._id = 0
        socket.start(self._on_frame, self._on_closed)

    @property
    def received_s(self) -> float:
        """When anything came last, pings included."""
        return self._socket.received_s

    def _on_frame(self, data: bytes) -> None:
        self.received.append((time.time_ns() // 1000, data))

    def _on_closed(self, reason: str) -> None:
        self.closed = reason or "closed"

    async def command(self, name: str, **params: Any) -> int:
        """Send a command; its id."""
        self._id += 1
        await self._socket.send(json.dumps({"id": self._id, "cmd": name, "params": params}))
        return self._id

    async def first(self, since: int, wanted: Callable[[Frame], bool], wait_s: float) -> Frame | None:
        """The first frame from a place on that is wanted; None: it did not come in time."""
        deadline = time.monotonic() + wait_s
        at = since
        while True:
            while at < len(self.received):
                frame = json_of(self.received[at][1])
                at += 1
                if wanted(frame):
                    return frame
            if self.closed:
                raise SocketClosed(f"the {self.name} connection was closed: {self.closed}")
            if time.monotonic() >= deadline:
                return None
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """Hang up."""
        await self._socket.close()


def json_of(data: bytes) -> Frame:
    """A frame, or an empty one if it is none."""
    try:
        frame = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return frame if isinstance(frame, dict) else {}


def body_of(frame: Frame) -> dict[str, Any]:
    """Its body, or an empty one if it has none that could be read."""
    msg = frame.get("msg")
    return msg if isinstance(msg, dict) else {}


def _shape(frame: Frame | None) -> str:
    """An answer in a few words."""
    if frame is None:
        return "silence"
    numbered = "a numbered" if "seq" in frame else "an unnumbered"
    code = f" (code {body_of(frame).get('code')})" if frame.get("type") == "error" else ""
    return f"{numbered} {frame.get('type')}{code}"


async def converse(line: Line, tickers: list[str], wait_s: float) -> list[Measured]:
    """Commands, one after the other, and what is answered to each."""
    repeat = await _repeat(line, wait_s)
    others = await _books(line, tickers, wait_s)
    return [repeat, *others]


async def _repeat(line: Line, wait_s: float) -> Measured:
    """Subscribe to all-market channels, and again."""
    repeat = Measured("repeat")
    for channel in (LIFECYCLE, TRADE):
        id_ = await line.command("subscribe", channels=[channel])
        if await line.first(0, lambda f, id_=id_: f.get("id") == id_, wait_s) is None:  # type: ignore[misc]
            repeat.note = f"{channel}: the first subscribe was not answered"
            continue
        since = len(line.received)
        id_ = await line.command("subscribe", channels=[channel])
        answer = await line.first(since, lambda f, id_=id_: f.get("id") == id_, wait_s)  # type: ignore[misc]
        if answer is not None and answer.get("type") == "ok" and "seq" in answer:
            repeat.compared += 1
        else:
            repeat.fail(f"{channel}: {_shape(answer)}")
    return repeat


async def _books(line: Line, tickers: list[str], wait_s: float) -> list[Measured]:
    """Subscribe to some books, add one, ask for one, delete one, and subscribe again."""
    ok, add, snapshot, late, again = (Measured(key) for key in ("ok", "add", "snapshot", "late", "again"))
    findings = [ok, add, snapshot, late, again]
    held, added = tickers[:-1] or tickers, tickers[-1]

    async def answered(since: int, id_: int) -> Frame | None:
        answer = await line.first(since, lambda f: f.get("id") == id_, wait_s)
        if answer is not None and answer.get("type") in ("ok", "unsubscribed"):
            if "seq" in answer:
                ok.compared += 1
            else:
                ok.fail(_shape(answer))
        return answer

    sid = await _subscribe(line, held, wait_s)
    if sid is None:
        ok.note = "the books' subscribe was not answered"
        return findings
    if added not in held:
        since = len(line.received)
        id_ = await line.command("update_subscription", sids=[sid], action="add_markets", market_tickers=[added])
        await answered(since, id_)
        book = await line.first(since, lambda f: _is_book(f, added), wait_s)
        add.compared += book is not None
        if book is None:
            add.fail(f"{added}: nothing in {wait_s:.1f} s")
    since = len(line.received)
    id_ = await line.command("update_subscription", sids=[sid], action="get_snapshot", market_tickers=[held[0]])
    book = await line.first(since, lambda f: _is_book(f, held[0]) and f.get("id") == id_, wait_s)
    snapshot.compared += book is not None
    if book is None:
        snapshot.fail(f"{held[0]}: {_shape(await line.first(since, lambda f: f.get('id') == id_, 0))}")
    since = len(line.received)
    id_ = await line.command("update_subscription", sids=[sid], action="delete_markets", market_tickers=[held[0]])
    if await answered(since, id_) is not None:
        since = len(line.received)
        after = await line.first(since, lambda f: _is_of(f, sid, held[0]), wait_s)
        late.compared += 1
        if after is not None:
            late.fail(f"{held[0]}: {_shape(after)}")
    since = len(line.received)
    await answered(since, await line.command("unsubscribe", sids=[sid]))
    await _begin_again(line, sid, held, wait_s, again)
    return findings


async def _begin_again(line: Line, sid: int, held: list[str], wait_s: float, again: Measured) -> None:
    since = len(line.received)
    new = await _subscribe(line, held, wait_s)
    if new is None:
        again.note = "the second subscribe was not answered"
        return
    numbered = await line.first(since, lambda f: f.get("sid") == new and "seq" in f, wait_s)
    again.compared += 1
    if new == sid or (numbered is not None and numbered["seq"] != 1):
        again.fail(f"sid {sid}, then {new}, from {numbered['seq'] if numbered else 'no number'} on")


async def _subscribe(line: Line, tickers: list[str], wait_s: float) -> int | None:
    since = len(line.received)
    id_ = await line.command("subscribe", channels=[ORDERBOOK], market_tickers=tickers, use_yes_price=False)
    answer = await line.first(since, lambda f: f.get("id") == id_, wait_s)
    sid = body_of(answer or {}).get("sid")
    return sid if isinstance(sid, int) else None


def _is_book(frame: Frame, ticker: str) -> bool:
    return frame.get("type") == SNAPSHOT_TYPE and body_of(frame).get("market_ticker") == ticker


def _is_of(frame: Frame, sid: int, ticker: str) -> bool:
    """A change or a book of a market on a subscription."""
    return frame.get("sid") == sid and body_of(frame).get("market_ticker") == ticker


async def heartbeat(line: Line, seconds: float, silence_s: float) -> Measured:
    """On a connection without a subscription nothing comes but pings."""
    pings = Measured("pings")
    began = last_s = time.monotonic()
    longest = 0.0
    while (now := time.monotonic()) - began < seconds:
        if line.received_s > last_s:
            pings.compared += 1
            longest, last_s = max(longest, line.received_s - last_s), line.received_s
        await asyncio.sleep(min(POLL_S * 5, seconds / 10))
    longest = max(longest, now - last_s)
    pings.note = f"{pings.compared} in {seconds:.0f} s, at most {longest:.1f} s apart"
    if longest > silence_s or line.closed:
        pings.fail(f"nothing for {longest:.1f} s{', and closed' if line.closed else ''}")
    return pings


async def ask_status(rest: RestClient) -> Measured:
    """Whether the exchange reports how each of its indexes is."""
    finding = Measured("status")
    try:
        status = await rest.exchange_status()
    except ExchangeError as error:
        finding.note = str(error)
        return finding
    indexes = status.get("exchange_index_statuses")
    listed = indexes if isinstance(indexes, list) else ()
    named = [one for one in listed if isinstance(one, dict) and isinstance(one.get("exchange_index"), int)]
    finding.compared = len(named)
    if not named:
        finding.fail(f"exchange_index_statuses is {indexes!r}")
    for one in named:
        if not isinstance(one.get("exchange_active"), bool):
            finding.fail(f"index {one['exchange_index']}: exchange_active is {one.get('exchange_active')!r}")
    return finding


async def busiest(rest: RestClient, count: int) -> tuple[list[str], Measured]:
    """The open markets with the greatest volume of the last day, and whether their list is one."""
    lists = Measured("lists")
    volumes: dict[str, Decimal] = {}
    named: Counter[str] = Counter()
    async for page in rest.markets(status="open"):
        for market in page:
            if not isinstance(market, dict) or not isinstance(market.get("ticker"), str):
                lists.fail(f"{market!r:.100}")
                continue
            named[market["ticker"]] += 1
            try:
                volume = Decimal(str(market.get("volume_24h_fp") or market.get("volume_fp") or 0))
            except InvalidOperation:
                volume = Decimal(0)
            volumes[market["ticker"]] = volume
    lists.compared = len(named)
    for ticker, times in named.items():
        if times > 1:
            lists.fail(f"{ticker} {times} times")
    return sorted(volumes, key=lambda t: (volumes[t], t), reverse=True)[:count], lists


async def ask_listed(rest: RestClient, traded: set[str]) -> Measured:
    """Whether REST knows what the stream of all trades names."""
    finding = Measured("listed")
    known: set[str] = set()
    asked = sorted(traded)[:LISTED_TICKERS_MAX]
    for some in packed(asked):
        rows = await rest.named("/markets", "markets", some)
        known |= {str(row.get("ticker")) for row in rows if isinstance(row, dict)}
    finding.compared = len(known & traded)
    for ticker in asked:
        if ticker not in known:
            finding.fail(ticker)
    return finding


async def ask_trades(rest: RestClient, capture: Capture, from_ms: int, to_ms: int) -> Measured:
    """Whether REST lists the trades that a connection received of the busiest markets, with the same contents."""
    finding = Measured("rest_trades")
    received = {id_: t for id_, t in capture.ids.items() if from_ms <= t[1] < to_ms}
    busy = [ticker for ticker, _ in Counter(t[0] for t in received.values()).most_common(TRADE_MARKETS_MAX)]
    listed: dict[str, tuple[Any, ...]] = {}
    for ticker in busy:
        async for page in rest.trades(ticker=ticker, min_ts=from_ms // 1000 - 1, max_ts=to_ms // 1000 + 1):
            for row in page:
                try:
                    price, count = parse_price(row["yes_price_dollars"]), parse_size(row["count_fp"])
                    listed[row["trade_id"]] = (row["ticker"], price, count)
                except (KeyError, TypeError, NumberError):
                    finding.fail(f"{row!r:.150}")
    for id_, (ticker, _, side, price, count) in received.items():
        if ticker not in busy:
            continue
        found = listed.get(id_)
        yes_price = price if side == "yes" else 10_000 - price
        if found is None:
            finding.fail(f"{ticker} {id_}: not listed")
        elif found != (ticker, yes_price, count):
            finding.fail(f"{ticker} {id_}: {found}")
        else:
            finding.compared += 1
    return finding


RestBook = tuple[int, int, str, Book]
"""When it was asked for and answered (microseconds), the market, the book."""


async def ask_books(rest: RestClient, tickers: list[str]) -> list[RestBook]:
    """Books from REST, each with the time of its request."""
    asked_us = time.time_ns() // 1000
    rows = await rest.orderbooks(tickers[:BOOKS_MAX])
    answered_us = time.time_ns() // 1000
    books: list[RestBook] = []
    for row in rows:
        sides = row["orderbook_fp"]
        book = parse_levels(sides["yes_dollars"] or (), sides["no_dollars"] or ())
        books.append((asked_us, answered_us, row["ticker"], book))
    return books


def compare_books(capture: Capture, books: list[RestBook]) -> Measured:
    """Whether each book from REST was the stream's at some instant around its request."""
    finding = Measured("rest_books")
    if capture.breaks:
        finding.note = "numbers broke on the connection: nothing is compared"
        return finding
    for asked_us, answered_us, ticker, given in books:
        stream = capture.streams.get(ticker)
        if stream is None or not stream.books:
            continue
        place, first = stream.books[0]
        book, found = dict(first), False
        for n in range(place, len(stream.contents)):
            if stream.received_us[n] > answered_us + BOOK_SLACK_US:
                break
            if stream.received_us[n] >= asked_us - BOOK_SLACK_US and book == given:
                found = True
                break
            add_content(book, stream.contents[n])
        finding.compared += 1
        if not found and book != given:
            finding.fail(f"{ticker}: {len(given)} levels in REST, {len(book)} in the stream")
    return finding
