"""A market's book every so often, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kalshi_fleet.answer import GapRow
from kalshi_fleet.columns import BOOKS, MS, PRICE, SIZE, decimals
from kalshi_fleet.events import BOOK_CHANNEL, Levels
from kalshi_fleet.hour import Hour
from kalshi_fleet.market import Market
from kalshi_fleet.moments import HOUR_MS, of_ms
from kalshi_fleet.replay import opened


class Samples:
    """The book of a market at moments (ms, ascending), so many levels a side (None: all): `hour` by hour.

    `gaps`: those that are listed; where the book is not known and none lies, one is added (`not_known_yet`).
    """

    def __init__(self, ticker: str, moments: Sequence[int], depth: int | None, gaps: Sequence[GapRow]) -> None:
        self._ticker, self._moments, self._depth = ticker, moments, depth
        self._market = Market(ticker)
        self._next, self._end_ms = 0, 0
        self.gaps = list(gaps)
        self._at: list[int] = []
        self._side: list[str] = []
        self._level: list[int] = []
        self._price: list[int] = []
        self._size: list[int] = []

    def __len__(self) -> int:
        return len(self._at)

    def hour(self, hour: Hour) -> None:
        """The next hour; moments of hours that are passed over have no book, and nothing is known from before them."""
        if hour.hour_ms != self._end_ms:
            self._market = Market(self._ticker)
        market, until_ms = self._market, hour.hour_ms + HOUR_MS
        self._end_ms = until_ms
        opened(hour, {self._ticker: market})
        lost: int | None = None
        while self._next < len(self._moments) and (at := self._moments[self._next]) < until_ms:
            self._next += 1
            if at < hour.hour_ms:
                continue
            market.advance(at + 1, quiet=True)
            if market.levels is not None:
                self._add(at, market.levels)
            elif lost != market.need_ms:
                lost = market.need_ms
                if not any(gap.started_at <= of_ms(at) < gap.ended_at for gap in self.gaps):
                    self.gaps.append(GapRow(self._ticker, BOOK_CHANNEL, of_ms(at), of_ms(at + 1), "not_known_yet"))
        market.advance(until_ms, quiet=True)

    def _add(self, at_ms: int, levels: Levels) -> None:
        keys = sorted(levels, reverse=True)
        for number, side in ((0, "yes"), (1, "no")):
            mine = [key for key in keys if key & 1 == number][: self._depth]
            self._at += [at_ms] * len(mine)
            self._side += [side] * len(mine)
            self._level += range(len(mine))
            self._price += [key >> 1 for key in mine]
            self._size += [levels[key] for key in mine]

    def table(self) -> Any:
        """`ticker, at, side, level, price, size`."""
        columns = [
            pa.array([self._ticker] * len(self._at), pa.string()),
            pa.array(self._at, pa.int64()).cast(MS),
            pa.array(self._side, pa.string()),
            pa.array(self._level, pa.int32()),
            decimals(np.array(self._price, np.int64), PRICE),
            decimals(np.array(self._size, np.int64), SIZE),
        ]
        return pa.Table.from_arrays(columns, schema=BOOKS)
