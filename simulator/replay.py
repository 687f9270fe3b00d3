"""Replay of recordings: real frames of one market a file, played again as if they happened now.

Each file is shifted by a constant so that all start together; elapsed time is divided by the speed; order is kept
and equal times stay equal, and what shared a millisecond shares one again: a book may be crossed within a millisecond,
never at its end. The shifted times are those of the frames and of the truth log. A late replay holds the
exchange's clock at the event that is due (`Exchange.overdue_us`): stamps never run ahead of it.
"""

from __future__ import annotations

import asyncio
import gzip
import heapq
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from simulator.exchange import Exchange
from simulator.journals import MarketHistory, is_segment, read_journals
from simulator.market import Market, price_units, size_units

CHUNK: Final = 200
DAY_US: Final = 86_400_000_000


@dataclass(frozen=True)
class RecordedEvent:
    """One event of a file: microseconds since the file's first event, and the frame's type and msg.

    `stamp_us`: what a trade's own time is made from, if not from when it is played: that of its change of the book.
    `instant_us`: the offset of the first event of its millisecond; None: it is alone.
    """

    offset_us: int
    type: str
    msg: dict[str, Any]
    stamp_us: int | None = None
    instant_us: int | None = None


def _levels(msg: dict[str, Any], side: str) -> dict[int, int]:
    return {price_units(p): size_units(q) for p, q in msg.get(f"{side}_dollars_fp", [])}


def _us(msg: dict[str, Any]) -> int:
    text = msg.get("ts")
    if isinstance(text, str):
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return int(at.timestamp()) * 1_000_000 + at.microsecond
    return int(msg["ts_ms"]) * 1000


def read_recording(file: Path) -> tuple[str, dict[str, Any], list[RecordedEvent]]:
    """The ticker, the opening snapshot's msg, and the events after it, with offsets that never decrease."""
    opener = gzip.open if file.suffix == ".gz" else open
    events: list[RecordedEvent] = []
    ticker, opening = "", {}
    first = last = 0
    with opener(file, "rt") as lines:
        for number, line in enumerate(lines):
            row = json.loads(line)
            event = row["event"]
            msg = event["msg"]
            if number == 0:
                ticker, opening = msg["market_ticker"], msg
                continue
            at = row["recv_ms"] * 1000 if event["type"] == "orderbook_snapshot" else _us(msg)
            first = first or at
            last = max(last, at)  # a trade may carry the time of a change that came before it
            events.append(RecordedEvent(last - first, event["type"], msg))
    return ticker, opening, with_twins(in_instants(events))


def in_instants(events: list[RecordedEvent]) -> list[RecordedEvent]:
    """Each change with the offset of the first change of its millisecond."""
    ms, began = -1, 0
    placed = []
    for event in events:
        if event.type != "orderbook_delta":
            placed.append(event)
            continue
        if (at := _us(event.msg) // 1000) != ms:
            ms, began = at, event.offset_us
        placed.append(replace(event, instant_us=began))
    return placed


def with_twins(events: list[RecordedEvent]) -> list[RecordedEvent]:
    """Trades get the time of their changes, so that both are in one millisecond at any speed, as on the exchange.

    A trade that came before its change is played just before it: the channels are not ordered among each other.
    """
    twins: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
    for number, event in enumerate(events):
        if event.type == "orderbook_delta":
            msg = event.msg
            level = (msg["side"], price_units(msg["price_dollars"]), size_units(msg["delta_fp"]))
            twins[(_us(msg) // 1000, *level)].append(number)
    before: defaultdict[int, list[RecordedEvent]] = defaultdict(list)
    for number, event in enumerate(events):
        found = twins[_twin(event.msg)] if event.type == "trade" else []
        if not found:
            before[number].append(event)
            continue
        twin = found.pop(0)
        at = events[twin].offset_us
        moved = replace(event, offset_us=max(at, event.offset_us), stamp_us=at, instant_us=events[twin].instant_us)
        before[max(twin, number)].append(moved)
    return [event for number in range(len(events)) for event in _in_order(before[number])]


def _in_order(events: list[RecordedEvent]) -> list[RecordedEvent]:
    """Trades that wait for a change, then the change itself: what is played at one place."""
    return sorted(events, key=lambda event: event.type == "orderbook_delta")


def _twin(msg: dict[str, Any]) -> tuple[Any, ...]:
    """The change that a trade makes: the maker's side and price, less the count."""
    yes = price_units(msg["yes_price_dollars"])
    maker = ("yes", yes) if msg["taker_side"] == "no" else ("no", 10_000 - yes)
    return (_us(msg) // 1000, *maker, -size_units(msg["count_fp"]))


def recorded(history: MarketHistory) -> list[RecordedEvent]:
    """A market's history from a journal, with offsets since the journal's first event that never decrease."""
    last = 0
    events = []
    for us, type_, msg in history.events:
        last = max(last, us - history.began_us)
        events.append(RecordedEvent(last, type_, msg))
    return with_twins(in_instants(events))


class Replay:
    """Plays several recordings at once."""

    def __init__(self, exchange: Exchange, files: list[Path], speed: float) -> None:
        """`files`: recordings, and segments of journals."""
        self.exchange, self.speed = exchange, speed
        self._sources: list[tuple[Market, list[RecordedEvent]]] = []
        self.finished = asyncio.Event()
        recordings = [file for file in files if not is_segment(file)]
        sources = [(*read_recording(file), file) for file in recordings]
        segments = [file for file in files if is_segment(file)]
        sources += [(h.ticker, h.opening, recorded(h), segments[0]) for h in read_journals(segments)]
        for ticker, opening, events, file in sources:
            market = Market(
                ticker=ticker,
                event_ticker=ticker.rsplit("-", 1)[0],
                series_ticker=ticker.split("-", 1)[0],
                created_us=exchange.now_us() - 3600_000_000,
                open_us=exchange.now_us() - 900_000_000,
                close_us=exchange.now_us() + DAY_US,
                yes=_levels(opening, "yes"),
                no=_levels(opening, "no"),
                market_id=opening.get("market_id", ""),
            )
            record = file.with_name(ticker.rsplit("-", 1)[0] + ".market.json")
            if record.exists():
                listed = json.loads(record.read_text())["response"]
                market.extra = next((m for m in listed["markets"] if m["ticker"] == ticker), {})
                exchange.events[market.event_ticker] = listed["event"]
            exchange.add_market(market, announce=False)
            self._sources.append((market, events))

    def _merged(self) -> Iterator[tuple[int, int, Market, RecordedEvent]]:
        def of(
            index: int, market: Market, events: list[RecordedEvent]
        ) -> Iterator[tuple[int, int, int, Market, RecordedEvent]]:
            for position, event in enumerate(events):
                yield int(event.offset_us / self.speed), index, position, market, event

        streams = [of(i, market, events) for i, (market, events) in enumerate(self._sources)]
        for offset, index, _, market, event in heapq.merge(*streams, key=lambda row: row[:3]):
            yield offset, index, market, event

    async def run(self) -> None:
        """Play until the last event; then the exchange's clock runs on by itself."""
        exchange = self.exchange
        start = time.time_ns() // 1000
        since_yield = 0
        for offset, _, market, event in self._merged():
            due = start + offset
            exchange.overdue_us = due
            since_yield += 1
            while (wait_s := (due - time.time_ns() // 1000) / 1e6) > 0 or since_yield >= CHUNK:
                since_yield = 0
                await asyncio.sleep(max(0.0, wait_s))
            stamp = due if event.stamp_us is None else start + int(event.stamp_us / self.speed)
            if event.instant_us is not None:
                end = (start + int(event.instant_us / self.speed)) // 1000 * 1000 + 999
                due, stamp = min(due, end), min(stamp, end)
            self._play(market, event, due, stamp)
        exchange.overdue_us = None
        self.finished.set()

    def _play(self, market: Market, event: RecordedEvent, us: int, stamp_us: int) -> None:
        msg = event.msg
        if event.type == "orderbook_delta":
            self.exchange.delta(market, msg["side"], price_units(msg["price_dollars"]), size_units(msg["delta_fp"]), us)
        elif event.type == "trade":
            self.exchange.trade(
                market,
                msg["taker_side"],
                price_units(msg["yes_price_dollars"]),
                size_units(msg["count_fp"]),
                stamp_us // 1000 * 1000,
                msg["trade_id"],
            )
        else:
            self.exchange.reset(market, _levels(msg, "yes"), _levels(msg, "no"), us)
