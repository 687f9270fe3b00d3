"""What the merge assumes of the exchange, judged by what two connections received of the same markets. No I/O.

Each assumption (`beliefs.py`) is counted: how often it was seen to hold, and how often it was contradicted. What was
never seen is reported as that; it is no proof. What commands and REST answer is in `experiments.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from common.config.schema import BoundsConfig
from common.contract import channels
from common.contract.sides import NO, NUMBERS, YES
from common.errors import NumberError
from common.exchange import frames
from common.levels import Book, add, flat, parse_levels
from common.numbers import parse_price, parse_size
from fleet.probing.alignment import Content, align
from fleet.probing.beliefs import Measured
from gatherer.derive.crossed import is_crossed

EDGE_MS: Final = 1_000
"""Trades so close to the beginning or end of what was received are not judged: their change may lie outside."""


@dataclass
class ProbedStream:
    """One market on one connection: changes in order, and books with how many changes came before each."""

    times_ms: list[int] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    received_us: list[int] = field(default_factory=list)
    books: list[tuple[int, Book]] = field(default_factory=list)


def add_content(book: Book, content: Content) -> None:
    """The next change of a book."""
    side, price, delta = content
    add(book, 2 * price + NUMBERS[side], delta)


@dataclass
class Capture:
    """What one connection received, decoded."""

    name: str
    streams: dict[str, ProbedStream] = field(default_factory=dict)
    trades: list[tuple[str, int, str, int, int]] = field(default_factory=list)
    """Ticker, millisecond, the maker's side, its price, the count."""
    ids: dict[str, tuple[str, int, str, int, int]] = field(default_factory=dict)
    """The same by the trade's id, block trades left out."""
    numbered: int = 0
    unnumbered: list[str] = field(default_factory=list)
    """Frames of channels that are numbered, without a number."""
    breaks: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    lag_ms: int = 0
    disorder_ms: int = 0
    ahead_ms: int = 0
    stamped: int = 0
    transit_ms: list[int] = field(default_factory=list)
    """Receive time less sending time of each frame with a sending time."""


def decode(name: str, received: Iterable[tuple[int, bytes]]) -> Capture:
    """Frames with their receive times (microseconds) as they are judged."""
    capture = Capture(name)
    due: dict[int, int] = {}
    greatest_ms: dict[int, int] = {}
    for wall_us, data in received:
        try:
            head = frames.HEAD.decode(data)
            if head.sid is not None and head.seq is not None:
                capture.numbered += 1
                if head.seq != due.get(head.sid, 1):
                    capture.breaks.append(f"sid {head.sid}: {head.seq} where {due.get(head.sid, 1)} was due")
                due[head.sid] = head.seq + 1
            elif head.type in channels.NUMBERED_TYPES:
                capture.unnumbered.append(head.type)
            if head.sending_ts_ms is not None:
                capture.transit_ms.append(wall_us // 1000 - head.sending_ts_ms)
            match head.type:
                case channels.DELTA_TYPE:
                    _delta(capture, head, greatest_ms, wall_us)
                case channels.SNAPSHOT_TYPE:
                    snapshot = frames.SNAPSHOT.decode(head.msg)
                    stream = capture.streams.setdefault(snapshot.market_ticker, ProbedStream())
                    book = parse_levels(snapshot.yes_dollars_fp or (), snapshot.no_dollars_fp or ())
                    stream.books.append((len(stream.contents), book))
                case channels.TRADE:
                    _trade(capture, head)
        except (*frames.UNREADABLE, NumberError) as error:
            capture.unreadable.append(f"{data[:120]!r}: {error}")
    return capture


def _delta(capture: Capture, head: frames.Envelope, greatest_ms: dict[int, int], wall_us: int) -> None:
    msg = frames.DELTA.decode(head.msg)
    if msg.side not in NUMBERS:
        raise NumberError(f"side {msg.side!r} is none")
    stream = capture.streams.setdefault(msg.market_ticker, ProbedStream())
    stream.times_ms.append(msg.ts_ms)
    stream.received_us.append(wall_us)
    stream.contents.append((msg.side, parse_price(msg.price_dollars), parse_size(msg.delta_fp)))
    sid = head.sid or 0
    capture.disorder_ms = max(capture.disorder_ms, greatest_ms.get(sid, msg.ts_ms) - msg.ts_ms)
    greatest_ms[sid] = max(greatest_ms.get(sid, msg.ts_ms), msg.ts_ms)
    if head.sending_ts_ms is not None:
        capture.stamped += 1
        capture.lag_ms = max(capture.lag_ms, head.sending_ts_ms - msg.ts_ms)
        capture.ahead_ms = max(capture.ahead_ms, msg.ts_ms - head.sending_ts_ms)


def _trade(capture: Capture, head: frames.Envelope) -> None:
    msg = frames.TRADE_MSG.decode(head.msg)
    taker = msg.taker_outcome_side or msg.taker_side or ("yes" if msg.taker_book_side == "bid" else "no")
    if msg.is_block_trade:
        return  # made off the book
    price = parse_price(msg.yes_price_dollars)
    maker = ("no", 10_000 - price) if taker == "yes" else ("yes", price)
    trade = (msg.market_ticker, msg.ts_ms, *maker, parse_size(msg.count_fp))
    capture.trades.append(trade)
    capture.ids[msg.trade_id] = trade


def judge(first: Capture, second: Capture, bounds: BoundsConfig, *others: Capture) -> list[Measured]:
    """What two connections received of the same markets, and what `others` received of anything."""
    back, books, twins, uncrossed = Measured("back"), Measured("books"), Measured("twins"), Measured("uncrossed")
    for capture in (first, second):
        for ticker, stream in capture.streams.items():
            _never_back(capture.name, ticker, stream, back)
            if not capture.breaks:
                _folds(capture.name, ticker, stream, books)
                _crossed(capture.name, ticker, stream, uncrossed)
        _twins(capture, twins)
    readable, numbered = _frames((first, second, *others))
    one_market = [back, books, twins, readable, uncrossed, numbered]
    return [*_same(first, second), *one_market, _trades(first, second), *_bounds(first, second, bounds)]


def _frames(connections: Iterable[Capture]) -> tuple[Measured, Measured]:
    """Whether every frame can be read, and has a number where its channel has numbers."""
    readable, numbered = Measured("readable"), Measured("numbered")
    for capture in connections:
        readable.compared += capture.numbered
        numbered.compared += capture.numbered
        for example in capture.unreadable:
            readable.fail(f"{capture.name}: {example}")
        for type_ in capture.unnumbered:
            numbered.fail(f"{capture.name}: {type_}")
    return readable, numbered


def _same(first: Capture, second: Capture) -> list[Measured]:
    """Whether both connections have the same changes, in the same order, at the same times."""
    order, times, dense = Measured("order"), Measured("times"), Measured("dense")
    broken = [one for capture in (first, second) for one in capture.breaks]
    if broken:
        dense.note = f"numbers broke on a connection ({broken[-1]}): what follows a break is not compared"
        return [order, times, dense]
    for ticker in sorted(first.streams.keys() & second.streams.keys()):
        _compare(ticker, first.streams[ticker], second.streams[ticker], order, times, dense)
    return [order, times, dense]


def _compare(ticker: str, a: ProbedStream, b: ProbedStream, order: Measured, times: Measured, dense: Measured) -> None:
    """One market on two connections."""
    aligned = align(a.times_ms, a.contents, b.times_ms, b.contents)
    for at, to, length in aligned.pairs:
        for finding in (order, times, dense):
            finding.compared += length
        wrong = [n for n in range(length) if a.times_ms[at + n] != b.times_ms[to + n]]
        if wrong:
            i, k = at + wrong[0], to + wrong[0]
            times.fail(f"{ticker}: {a.times_ms[i]} and {b.times_ms[k]}: {a.contents[i]}", len(wrong))
    moved = aligned.only_one & aligned.only_other
    if moved:
        order.fail(f"{ticker}: {moved.total()} changes at another place: {next(iter(moved))}", moved.total())
    missing = (aligned.only_one - aligned.only_other) + (aligned.only_other - aligned.only_one)
    if missing:
        example, count = next(iter(missing)), missing.total()
        dense.fail(f"{ticker}: {count} changes on one connection only: {example}", count)


def _crossed(name: str, ticker: str, stream: ProbedStream, uncrossed: Measured) -> None:
    """Fold the book, and look at it after the last change of each millisecond."""
    if not stream.books:
        return
    at, first = stream.books[0]
    book = dict(first)
    for n in range(at, len(stream.contents)):
        add_content(book, stream.contents[n])
        if n + 1 == len(stream.contents) or stream.times_ms[n + 1] == stream.times_ms[n]:
            continue  # the last millisecond may have more
        crossed = is_crossed(book)
        uncrossed.compared += crossed is not None
        if crossed:
            best = [flat(book, side)[0] for side in (YES, NO)]
            uncrossed.fail(f"{name} {ticker} {stream.times_ms[n]}: {best[0]} and {best[1]}")


def _trades(first: Capture, second: Capture) -> Measured:
    """Trades of both connections, and those of only one though the other received earlier and later ones."""
    trades = Measured("trades")
    for capture, other in ((first, second), (second, first)):
        times = [trade[1] for trade in other.ids.values()]
        for id_, trade in capture.ids.items():
            theirs = other.ids.get(id_)
            within = bool(times) and min(times) + EDGE_MS <= trade[1] < max(times) - EDGE_MS
            trades.compared += theirs is not None
            if theirs is not None and theirs != trade:
                trades.fail(f"{id_}: {trade} and {theirs}")
            elif theirs is None and within and not (first.breaks or second.breaks):
                trades.fail(f"{id_}: {trade} on one connection only")
    return trades


def _never_back(name: str, ticker: str, stream: ProbedStream, back: Measured) -> None:
    for before, after in zip(stream.times_ms, stream.times_ms[1:], strict=False):
        back.compared += 1
        if after < before:
            back.fail(f"{name} {ticker}: {after} after {before}")


def _folds(name: str, ticker: str, stream: ProbedStream, books: Measured) -> None:
    if not stream.books:
        return
    at, book = stream.books[0][0], dict(stream.books[0][1])
    for place, given in stream.books[1:]:
        for content in stream.contents[at:place]:
            add_content(book, content)
        at = place
        books.compared += 1
        if book != given:
            books.fail(f"{name} {ticker}: the book after {place} changes is another than the snapshot")
        book = dict(given)


def _twins(capture: Capture, twins: Measured) -> None:
    times = [ms for stream in capture.streams.values() for ms in stream.times_ms]
    if not times:
        return
    taken = Counter(
        (ticker, ms, *content)
        for ticker, stream in capture.streams.items()
        for ms, content in zip(stream.times_ms, stream.contents, strict=True)
    )
    low, high = min(times) + EDGE_MS, max(times) - EDGE_MS
    for ticker, ms, side, price, count in capture.trades:
        if ticker in capture.streams and low <= ms < high:
            twins.compared += 1
            key = (ticker, ms, side, price, -count)
            if taken[key] <= 0:
                twins.fail(f"{capture.name} {ticker} {ms}: no change of {-count} at {side} {price}")
            taken[key] -= 1


def _bounds(first: Capture, second: Capture, bounds: BoundsConfig) -> list[Measured]:
    """What is measured against a bound is contradicted from a quarter of it on, as in production."""
    changes = sum(len(s.times_ms) for capture in (first, second) for s in capture.streams.values())
    stamped = first.stamped + second.stamped
    disorder = Measured("disorder", changes, note=f"at most {max(first.disorder_ms, second.disorder_ms)} ms")
    lag = Measured("lag", stamped, note=f"at most {max(first.lag_ms, second.lag_ms)} ms")
    sender = Measured("sender", stamped, note=f"ahead by at most {max(first.ahead_ms, second.ahead_ms)} ms")
    present = Measured("stamped", stamped)
    if changes > stamped:
        present.fail(f"{changes - stamped} of {changes} changes", changes - stamped)
    for capture in (first, second):
        if capture.disorder_ms * 4 > bounds.disorder:
            disorder.fail(f"{capture.name}: {capture.disorder_ms} ms")
        if capture.lag_ms * 4 > bounds.lag:
            lag.fail(f"{capture.name}: {capture.lag_ms} ms")
        if capture.ahead_ms > 0:
            sender.fail(f"{capture.name}: {capture.ahead_ms} ms")
    if not stamped:
        sender.note = lag.note = "frames have no sending time: receive times take their place"
    transit = [*first.transit_ms, *second.transit_ms]
    note = f"from {min(transit)} to {max(transit)} ms later" if transit else ""
    clock = Measured("clock", len(transit), note=note)
    if transit and min(transit) < -bounds.clock:
        clock.fail(f"{-min(transit)} ms before they were sent: this machine's clock is wrong, or the exchange's")
    return [disorder, lag, sender, present, clock]
