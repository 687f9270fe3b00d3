"""Replay: the hours of some markets as one stream of events in the canonical order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Final, Protocol

import numpy as np

from kalshi_fleet.events import BEFORE_FLEET, BOOK_CHANNEL, TRADE_CHANNEL, Event, Gap, Tickers, Trade, uncollected
from kalshi_fleet.hour import Hour
from kalshi_fleet.market import Market, Part
from kalshi_fleet.moments import Moment

SLICE_ROWS: Final = 50_000
"""So many changes become events at once."""


class Source(Protocol):
    """What can be replayed: an `Archive`, or a `Production`."""

    def replay(
        self, tickers: Tickers, start: Moment, end: Moment, *, trades: bool = True, unsealed: bool = False
    ) -> Iterator[Event]:
        """As `Archive.replay`."""


def opened(hour: Hour, markets: Mapping[str, Market]) -> dict[str, list[Event]]:
    """Put the markets at the beginning of an hour; returns what that shows."""
    return {
        ticker: market.open(
            hour.hour_ms, hour.opening(ticker), hour.columns(ticker), hour.marks[ticker], hour.lost_until(ticker)
        )
        for ticker, market in markets.items()
    }


class Replay:
    """Events from `start_ms` up to `end_ms` of some markets: `hour` by hour, whatever they come from."""

    def __init__(self, tickers: Sequence[str], start_ms: int, end_ms: int, *, trades: bool) -> None:
        self._markets = {ticker: Market(ticker) for ticker in tickers}
        self._start_ms, self._end_ms, self._trades = start_ms, end_ms, trades
        self._listed: set[Gap] = set()
        self._begun = False

    def hour(self, hour: Hour) -> Iterator[Event]:
        """The events of the next hour, to be taken before the hour after it is given. The first has `start_ms`."""
        markets, start_ms = self._markets, self._start_ms
        found = opened(hour, markets)
        made = hour.trades() if self._trades else {}
        lost = hour.other_gaps if self._trades else {}
        at = hour.hour_ms
        if not self._begun:
            found = {ticker: _begin(market, hour, start_ms) for ticker, market in markets.items()}
            self._begun, at = True, start_ms
        for until in hour.slices(SLICE_ROWS):
            stop = min(until, self._end_ms)
            if stop <= at:
                continue
            with uncollected():
                parts: list[Part] = []
                for ticker, market in markets.items():
                    # In a millisecond gaps of trades come before, and trades after, what happens to the book.
                    gaps, sold = _others(lost.get(ticker, ()), made.get(ticker, ()), at, stop, start_ms, self._listed)
                    parts += [_part(gaps), _part(found.pop(ticker, [])), *market.advance(stop), _part(sold)]
                events = _in_order(parts)
            yield from events
            at = stop


def _begin(market: Market, hour: Hour, start_ms: int) -> list[Event]:
    """Go to the start without events; then the book, or the gap that it lies in."""
    parts = market.advance(start_ms, quiet=True)
    if market.loses(start_ms):
        return []  # the gap comes by itself
    if market.levels is not None:
        return [market.book(start_ms, "start")]
    gaps = [event for _, found in parts for event in found if isinstance(event, Gap)]
    if gaps and gaps[-1].until_ms > start_ms:
        return [gaps[-1]._replace(at_ms=start_ms)]
    reason = BEFORE_FLEET if start_ms < hour.recorded_from_ms else "not_known_yet"
    return [Gap(market.ticker, start_ms, max(market.need_ms, start_ms), BOOK_CHANNEL, reason)]


def _others(
    gaps: Sequence[Gap], trades: Sequence[Trade], at_ms: int, stop_ms: int, start_ms: int, listed: set[Gap]
) -> tuple[list[Event], list[Event]]:
    """Of a piece of the hour: gaps of trades, and trades."""
    lost: list[Event] = []
    for gap in gaps:
        begins = max(gap.at_ms, start_ms)
        if gap.channel == TRADE_CHANNEL and gap not in listed and begins < stop_ms and gap.until_ms > start_ms:
            listed.add(gap)
            lost.append(gap._replace(at_ms=max(begins, at_ms)))
    first, last = (bisect_left(trades, moment, key=lambda trade: trade.at_ms) for moment in (at_ms, stop_ms))
    return lost, list(trades[first:last])


def _part(events: Sequence[Event]) -> Part:
    return np.array([event.at_ms for event in events], np.int64), list(events)


def _in_order(parts: list[Part]) -> Iterable[Event]:
    """By time; what has one time in the order that it comes in: by ticker, and of a market what its parts are."""
    parts = [part for part in parts if part[1]]
    if not parts:
        return ()
    found = list(chain.from_iterable(events for _, events in parts))
    times = np.concatenate([at for at, _ in parts])
    if len(parts) == 1 or bool((times[1:] >= times[:-1]).all()):
        return found
    ordered: tuple[Event, ...] = itemgetter(*np.argsort(times, kind="stable").tolist())(found)
    return ordered
