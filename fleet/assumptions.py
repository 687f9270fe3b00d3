"""What the merge assumes of the exchange, judged by what two connections heard of the same markets. No I/O.

Each assumption is counted: how often it was seen to hold, how often it was contradicted, and what is promised only as
long as it holds. What was never seen is said to be so; it is no proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Final

import msgspec

from common.config.schema import Bounds
from common.errors import NumberError
from common.exchange import frames
from common.numbers import parse_price, parse_size

EXAMPLES_MAX: Final = 5
COMPARED_MAX: Final = 20_000
"""Changes of one market that are aligned where the two connections differ; more would take long."""
EDGE_MS: Final = 1_000
"""Trades so close to the beginning or end of what was heard are not judged: their change may lie outside."""

Content = tuple[str, int, int]
Book = dict[tuple[str, int], int]


@dataclass
class Finding:
    """One assumption."""

    assumption: str
    promise: str
    seen: int = 0
    contradicted: int = 0
    note: str = ""
    examples: list[str] = field(default_factory=list)

    def wrong(self, example: str, count: int = 1) -> None:
        """Count contradictions and keep the first few."""
        self.contradicted += count
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(example)

    @property
    def verdict(self) -> str:
        """In one word."""
        return "BROKEN" if self.contradicted else "holds" if self.seen else "not seen"


@dataclass
class Stream:
    """One market on one connection: changes in order, and books with how many changes came before each."""

    times_ms: list[int] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    books: list[tuple[int, Book]] = field(default_factory=list)


@dataclass
class Heard:
    """What one connection heard, decoded."""

    name: str
    streams: dict[str, Stream] = field(default_factory=dict)
    trades: list[tuple[str, int, str, int, int]] = field(default_factory=list)
    """Ticker, millisecond, the maker's side, its price, the count."""
    numbered: int = 0
    breaks: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    lag_ms: int = 0
    disorder_ms: int = 0
    ahead_ms: int = 0
    stamped: int = 0
    transit_ms: list[int] = field(default_factory=list)
    """Receive time less sending time of each frame that says when it was sent."""


def decode(name: str, received: Iterable[tuple[int, bytes]]) -> Heard:
    """Frames with their receive times (microseconds) as they are judged."""
    heard = Heard(name)
    due: dict[int, int] = {}
    greatest_ms: dict[int, int] = {}
    for wall_us, data in received:
        try:
            head = frames.HEAD.decode(data)
            if head.sid is not None and head.seq is not None:
                heard.numbered += 1
                if head.seq != due.get(head.sid, 1):
                    heard.breaks.append(f"sid {head.sid}: {head.seq} where {due.get(head.sid, 1)} was due")
                due[head.sid] = head.seq + 1
            if head.sending_ts_ms is not None:
                heard.transit_ms.append(wall_us // 1000 - head.sending_ts_ms)
            match head.type:
                case "orderbook_delta":
                    _delta(heard, head, greatest_ms)
                case "orderbook_snapshot":
                    snapshot = frames.SNAPSHOT.decode(head.msg)
                    stream = heard.streams.setdefault(snapshot.market_ticker, Stream())
                    stream.books.append((len(stream.contents), _book(snapshot)))
                case "trade":
                    _trade(heard, head)
        except (msgspec.MsgspecError, NumberError) as error:
            heard.unreadable.append(f"{data[:120]!r}: {error}")
    return heard


def _delta(heard: Heard, head: frames.Head, greatest_ms: dict[int, int]) -> None:
    msg = frames.DELTA.decode(head.msg)
    stream = heard.streams.setdefault(msg.market_ticker, Stream())
    stream.times_ms.append(msg.ts_ms)
    stream.contents.append((msg.side, parse_price(msg.price_dollars), parse_size(msg.delta_fp)))
    sid = head.sid or 0
    heard.disorder_ms = max(heard.disorder_ms, greatest_ms.get(sid, msg.ts_ms) - msg.ts_ms)
    greatest_ms[sid] = max(greatest_ms.get(sid, msg.ts_ms), msg.ts_ms)
    if head.sending_ts_ms is not None:
        heard.stamped += 1
        heard.lag_ms = max(heard.lag_ms, head.sending_ts_ms - msg.ts_ms)
        heard.ahead_ms = max(heard.ahead_ms, msg.ts_ms - head.sending_ts_ms)


def _trade(heard: Heard, head: frames.Head) -> None:
    msg = frames.TRADE_MSG.decode(head.msg)
    taker = msg.taker_outcome_side or msg.taker_side or {"bid": "yes", "ask": "no"}.get(msg.taker_book_side)
    if msg.is_block_trade:
        return  # made off the book
    price = parse_price(msg.yes_price_dollars)
    maker = ("no", 10_000 - price) if taker == "yes" else ("yes", price)
    heard.trades.append((msg.market_ticker, msg.ts_ms, *maker, parse_size(msg.count_fp)))


def _book(snapshot: frames.SnapshotMsg) -> Book:
    sides = (("yes", snapshot.yes_dollars_fp), ("no", snapshot.no_dollars_fp))
    return {(side, parse_price(p)): parse_size(q) for side, levels in sides for p, q in levels or () if parse_size(q)}


def judge(first: Heard, second: Heard, bounds: Bounds) -> list[Finding]:
    """Every assumption of the merge's page."""
    order = Finding(
        "every connection delivers a market's changes in the same order", "changes are stored in the exchange's order"
    )
    times = Finding("a change has the same time on every connection", "each change is stored once")
    dense = Finding("numbers without a hole mean that nothing is missing", "what is not listed as a gap is complete")
    for heard in (first, second):
        for one in heard.breaks:
            dense.note = f"numbers broke on a connection ({one}): what follows a break is not compared"
    if not dense.note:
        for ticker in sorted(first.streams.keys() & second.streams.keys()):
            _compare(ticker, first.streams[ticker], second.streams[ticker], order, times, dense)
    back = Finding("a market's time never decreases", "changes of one millisecond are told apart by their ordinal")
    books = Finding(
        "a snapshot in the stream contains what came before it, and nothing else", "books are right after a snapshot"
    )
    twins = Finding("every trade takes its size from the book", "trades and changes of the book check each other")
    readable = Finding("every message can be read", "nothing waits in quarantine")
    for heard in (first, second):
        readable.seen += heard.numbered
        for example in heard.unreadable:
            readable.wrong(f"{heard.name}: {example}")
        for ticker, stream in heard.streams.items():
            _never_back(heard.name, ticker, stream, back)
            if not heard.breaks:
                _folds(heard.name, ticker, stream, books)
        _twins(heard, twins)
    return [order, times, dense, back, books, twins, readable, *_bounds(first, second, bounds)]


def _compare(ticker: str, a: Stream, b: Stream, order: Finding, times: Finding, dense: Finding) -> None:
    """Align what both connections heard of a market; what one has before or behind the other proves nothing."""
    one, other = a.contents[:COMPARED_MAX], b.contents[:COMPARED_MAX]
    if not one or not other:
        return
    codes = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    same = [code for code in codes if code[0] == "equal"]
    if not same:
        return
    first, last = codes.index(same[0]), codes.index(same[-1])
    only_one: Counter[Content] = Counter()
    only_other: Counter[Content] = Counter()
    for kind, i, j, k, m in codes[first : last + 1]:
        if kind == "equal":
            matched = j - i
            for finding in (order, times, dense):
                finding.seen += matched
            wrong = [n for n in range(matched) if a.times_ms[i + n] != b.times_ms[k + n]]
            if wrong:
                at = wrong[0]
                times.wrong(f"{ticker}: {a.times_ms[i + at]} and {b.times_ms[k + at]}: {one[i + at]}", len(wrong))
        else:
            only_one.update(one[i:j])
            only_other.update(other[k:m])
    moved = (only_one & only_other).total()
    if moved:
        order.wrong(f"{ticker}: {moved} changes at another place: {next(iter(only_one & only_other))}", moved)
    missing = (only_one - only_other).total() + (only_other - only_one).total()
    if missing:
        example = next(iter((only_one - only_other) + (only_other - only_one)))
        dense.wrong(f"{ticker}: {missing} changes on one connection only: {example}", missing)


def _never_back(name: str, ticker: str, stream: Stream, back: Finding) -> None:
    for before, after in zip(stream.times_ms, stream.times_ms[1:], strict=False):
        back.seen += 1
        if after < before:
            back.wrong(f"{name} {ticker}: {after} after {before}")


def _folds(name: str, ticker: str, stream: Stream, books: Finding) -> None:
    if not stream.books:
        return
    at, book = stream.books[0][0], dict(stream.books[0][1])
    for place, given in stream.books[1:]:
        for side, price, delta in stream.contents[at:place]:
            book[(side, price)] = book.get((side, price), 0) + delta
        at = place
        books.seen += 1
        if {level: size for level, size in book.items() if size} != given:
            books.wrong(f"{name} {ticker}: the book after {place} changes is another than the snapshot")
        book = dict(given)


def _twins(heard: Heard, twins: Finding) -> None:
    times = [ms for stream in heard.streams.values() for ms in stream.times_ms]
    if not times:
        return
    taken = Counter(
        (ticker, ms, *content)
        for ticker, stream in heard.streams.items()
        for ms, content in zip(stream.times_ms, stream.contents, strict=True)
    )
    low, high = min(times) + EDGE_MS, max(times) - EDGE_MS
    for ticker, ms, side, price, count in heard.trades:
        if ticker in heard.streams and low <= ms < high:
            twins.seen += 1
            key = (ticker, ms, side, price, -count)
            if taken[key] <= 0:
                twins.wrong(f"{heard.name} {ticker} {ms}: no change of {-count} at {side} {price}")
            taken[key] -= 1


def _bounds(first: Heard, second: Heard, bounds: Bounds) -> list[Finding]:
    """What is measured against a bound is contradicted from a quarter of it on, as in production."""
    changes = sum(len(s.times_ms) for heard in (first, second) for s in heard.streams.values())
    stamped = first.stamped + second.stamped
    disorder = Finding(
        "markets of one subscription are out of order by less than a quarter of bounds.disorder",
        "coverage begins where it says",
        changes,
        note=f"at most {max(first.disorder_ms, second.disorder_ms)} ms",
    )
    lag = Finding(
        "changes wait in the exchange's queue for less than a quarter of bounds.lag",
        "coverage ends where it says",
        stamped,
        note=f"at most {max(first.lag_ms, second.lag_ms)} ms",
    )
    sender = Finding(
        "no frame is sent before the time that it gives its change",
        "coverage begins and ends where it says",
        stamped,
        note=f"ahead by at most {max(first.ahead_ms, second.ahead_ms)} ms",
    )
    for heard in (first, second):
        if heard.disorder_ms * 4 > bounds.disorder:
            disorder.wrong(f"{heard.name}: {heard.disorder_ms} ms")
        if heard.lag_ms * 4 > bounds.lag:
            lag.wrong(f"{heard.name}: {heard.lag_ms} ms")
        if heard.ahead_ms > 0:
            sender.wrong(f"{heard.name}: {heard.ahead_ms} ms")
    if not stamped:
        sender.note = lag.note = "frames do not say when they were sent: receive times take their place"
    transit = [*first.transit_ms, *second.transit_ms]
    clock = Finding(
        "frames arrive after they were sent, by this machine's clock", "receive times may stand for sending times",
        len(transit),
        note=f"from {min(transit)} to {max(transit)} ms later" if transit else "",
    )  # fmt: skip
    if transit and min(transit) < -bounds.clock:
        clock.wrong(f"{-min(transit)} ms before they were sent: this machine's clock is wrong, or the exchange's")
    return [disorder, lag, sender, clock]
