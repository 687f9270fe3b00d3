"""An hour of some markets, as a replay needs it: compact changes, opening books, marks, trades. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from itertools import repeat
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kalshi_fleet.columns import PRICE, SIZE, units
from kalshi_fleet.events import BEFORE_FLEET, BOOK_CHANNEL, CONTRACT, DOLLAR, Gap, Levels, Trade, uncollected
from kalshi_fleet.market import NO_MS
from kalshi_fleet.moments import HOUR_MS
from kalshi_fleet.rows import Before, Rows
from kalshi_fleet.timeline import Mark, Shown, plan

TRADES_ORDER: Final = [(name, "ascending") for name in ("ticker", "exchange_ts", "ordinal", "trade_id")]


class Hour:
    """The hour of some markets, from the rows of a source."""

    def __init__(self, rows: Rows, tickers: Sequence[str]) -> None:
        self.hour_ms, self.tickers = rows.hour_ms, tickers
        self.recorded_from_ms = rows.recorded_from_ms
        self._rows = rows
        self._openings = _openings(rows.openings)
        gaps, shown = _gaps(rows.gaps), _shown(rows.books)
        self.other_gaps = {
            ticker: [Gap(ticker, *gap) for gap in found if gap[2] != BOOK_CHANNEL] for ticker, found in gaps.items()
        }
        self.marks: dict[str, list[Mark]] = {}
        for ticker in tickers:
            at, ordinal, _, _ = self.columns(ticker)
            lost = [
                (begin, until, reason)
                for begin, until, channel, reason in gaps.get(ticker, ())
                if channel == BOOK_CHANNEL and reason != BEFORE_FLEET  # no book is known before: `lost_until`
            ]
            self.marks[ticker] = plan(self.hour_ms, at, ordinal, shown.get(ticker, ()), lost)
        self._lost_until = {} if rows.before is None else _lost_before(rows.before, rows.hour_ms)

    def columns(self, ticker: str) -> list[Any]:
        """Time, ordinal, key (2 * price + side) and delta of the market's changes, in their order."""
        return self._rows.changes.of(ticker)

    def opening(self, ticker: str) -> Levels | None:
        """The market's book at the hour's beginning; None: the source does not have it."""
        return None if ticker in self._rows.unopened else self._openings.get(ticker, {})

    def lost_until(self, ticker: str) -> int:
        """For `Market.open`: where a gap before the hour ended after which no book was shown, or `NO_MS`."""
        if self.recorded_from_ms > self.hour_ms:
            return self.recorded_from_ms
        return self._lost_until.get(ticker, NO_MS)

    def trades(self) -> dict[str, list[Trade]]:
        """Of each market, in the exchange's order."""
        found: dict[str, list[Trade]] = defaultdict(list)
        if self._rows.trades is None:
            return found
        table = self._rows.trades.sort_by(TRADES_ORDER)
        columns = [
            table["ticker"].to_pylist(),
            table["exchange_ts"].cast(pa.int64()).to_pylist(),
            table["ordinal"].to_pylist(),
            table["trade_id"].to_pylist(),
            units(table["yes_price"].cast(PRICE)).tolist(),
            units(table["count"].cast(SIZE)).tolist(),
            table["taker_side"].to_pylist(),
            table["is_block"].to_pylist(),
        ]
        with uncollected():
            for trade in map(tuple.__new__, repeat(Trade), zip(*columns, strict=True)):
                found[trade.ticker].append(trade)
        return found

    def slices(self, rows: int) -> list[int]:
        """Moments that cut the hour in pieces of about so many changes, its end last."""
        counts = np.zeros(HOUR_MS // 1000, np.int64)
        for ticker in self.tickers:
            seconds = (self.columns(ticker)[0] - self.hour_ms) // 1000
            counts += np.bincount(seconds, minlength=len(counts))[: len(counts)]
        bins = np.cumsum(counts) // rows
        cuts = (np.flatnonzero(bins[1:] != bins[:-1]) + 1) * 1000 + self.hour_ms
        return [*cuts.tolist(), self.hour_ms + HOUR_MS]


def _openings(table: Any) -> dict[str, Levels]:
    found: dict[str, Levels] = defaultdict(dict)
    columns = (
        table["ticker"].to_pylist(),
        pc.equal(table["side"], "no").to_pylist(),
        units(table["price"].cast(PRICE)).tolist(),
        units(table["size"].cast(SIZE)).tolist(),
    )
    for ticker, side, price, size in zip(*columns, strict=True):
        found[ticker][2 * price + side] = size
    return found


def _gaps(table: Any) -> dict[str, list[tuple[int, int, str, str]]]:
    """Of each market: from, up to, channel, reason. A healed one is none."""
    found: dict[str, set[tuple[int, int, str, str]]] = defaultdict(set)
    table = table.filter(table["healed_at"].is_null())
    columns = (
        table["ticker"].to_pylist(),
        table["started_at"].cast(pa.int64()).to_pylist(),
        table["ended_at"].cast(pa.int64()).to_pylist(),
        table["channel"].to_pylist(),
        table["reason"].to_pylist(),
    )
    for ticker, *gap in zip(*columns, strict=True):
        found[ticker].add(tuple(gap))
    return {ticker: sorted(gaps) for ticker, gaps in found.items()}


def _shown(table: Any) -> dict[str, list[Shown]]:
    """Books of a known place that are not known to be wrong."""
    found: dict[str, list[Shown]] = defaultdict(list)
    table = table.set_column(table.schema.get_field_index("exchange_ts"), "at", table["exchange_ts"].cast(pa.int64()))
    table = table.set_column(table.schema.get_field_index("taken_at"), "us", table["taken_at"].cast(pa.int64()))
    for row in table.to_pylist():
        if row["at"] is not None and row["verified"] is not False:
            levels = {**_side(row["yes"], 0), **_side(row["no"], 1)}
            folded = row["source"] == "checkpoint"
            found[row["ticker"]].append(
                Shown(row["at"], row["after_ordinal"], row["us"], row["is_reset"], folded, levels)
            )
    return found


def _side(text: str | None, side: int) -> Levels:
    levels = json.loads(text or "[]", parse_float=Decimal, parse_int=Decimal)
    return {
        2 * int(Decimal(price) * DOLLAR) + side: int(Decimal(size) * CONTRACT)
        for price, size in levels
        if Decimal(size)
    }


def _lost_before(before: Before, hour_ms: int) -> dict[str, int]:
    """Markets with a gap that ended in the hour before, and no book of the exchange since: and where it ended."""
    lost: dict[str, int] = {}
    for ticker, gaps in _gaps(before.gaps).items():
        ended = [until for _, until, channel, _ in gaps if channel == BOOK_CHANNEL and until <= hour_ms]
        if ended:
            lost[ticker] = max(ended)
    if lost:
        for ticker, shown in _shown(before.books).items():
            if ticker in lost and any(not one.is_folded and one.at_ms >= lost[ticker] for one in shown):
                del lost[ticker]
    return lost
