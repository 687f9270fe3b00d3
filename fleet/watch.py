"""`fleet watch`: one market as the feed brings it: its book, last trades, state, and how old and how whole that is.

It begins with an exact start and applies each step, so that the book is production's at that step. Where that cannot
be gone on with (a reset that was taken back, a step without a block, steps that have left) it begins again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

import pyarrow.compute as pc
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

import kalshi_fleet as kf
from common.contract.channels import ORDERBOOK
from common.contract.sides import SIDES
from common.errors import FleetError
from common.numbers import DOLLAR, datetime_of_ms
from fleet.reading import errors_of_the_library
from kalshi_fleet.moments import written

EVERYTHING: Final = ""
"""Instead of a ticker: all markets that are not named."""
TRADES_KEPT: Final = 50
CHANGES_MORE: Final = 50_000
"""After so many it begins again, with a later book: each is looked at for each screen."""
BEST: Final = 5
LEVELS_SHOWN: Final = 10
TRADES_SHOWN: Final = 5
OTHER_LINES: Final = 11
"""Of the screen: all but levels and trades."""
Row = dict[str, Any]


class Trade(NamedTuple):
    """As the library's exact start and the feed have it."""

    exchange_ms: int
    ordinal: int | None
    yes_price: int
    size: int
    taker_side: int


class NoSuchMarket(FleetError):
    """A market of which nothing was ever seen."""

    def __init__(self, ticker: str) -> None:
        super().__init__(f"no market {ticker} is known")


class WatchedMarket:
    """One market at a step of production."""

    def __init__(self, ticker: str, start: kf.Start) -> None:
        self.ticker, self._start = ticker, start
        self.book = start.books[ticker]
        start.most_changes[ticker] = 2 * len(self.book.changes) + CHANGES_MORE
        self.changed_ms = max((at for at, _ in self.book.changes), default=self.book.base[0])
        self.sealed_ms = -1
        self._trades = [Trade(*trade) for trade in start.trades[ticker]]

    @property
    def step(self) -> int:
        """The last one that was taken."""
        return self._start.step

    @property
    def committed_at(self) -> datetime | None:
        """When that was; None if production does not say."""
        return self._start.committed_at

    def take(self, step: kf.Step) -> bool:
        """The next step; whether it can be gone on from."""
        known = not self._start.apply(step)
        for row in self._mine(step, "changes"):
            self.changed_ms = max(self.changed_ms, row["exchange_ms"])
        names = ("exchange_ms", "ordinal", "yes_price", "count", "taker_side")
        self._trades += [Trade(*(row[name] for name in names)) for row in self._mine(step, "trades")]
        if len(self._trades) > 2 * TRADES_KEPT:
            self._trades = self.trades()[TRADES_KEPT - 1 :: -1]
        self._seal(step)
        return known

    def touched(self, step: kf.Step) -> bool:
        """Whether a step has a row of the market, its seal apart."""
        return any(self._mine(step, name) for name in step.tables if name != "seal")

    def _mine(self, step: kf.Step, name: str) -> list[Row]:
        table = step.tables.get(name)
        if table is None or "ticker" not in table.schema.names:
            return []
        rows: list[Row] = table.filter(pc.equal(table["ticker"], self.ticker)).to_pylist()
        return rows

    def _seal(self, step: kf.Step) -> None:
        """What the market is named with, else what all are; it never falls."""
        if "seal" in step.tables:
            rows = step.tables["seal"].to_pylist()
            sealed = {row["ticker"]: row["sealed_ms"] for row in rows if row["channel"] == ORDERBOOK}
            ms = sealed.get(self.ticker, sealed.get(EVERYTHING))
            self.sealed_ms = max(self.sealed_ms, -1 if ms is None else ms)

    def trades(self) -> list[Trade]:
        """The last ones, in the exchange's order from the newest on."""
        last = 1 << 40
        order = sorted(self._trades, key=lambda one: (one.exchange_ms, last if one.ordinal is None else one.ordinal))
        return order[::-1]

    def row(self) -> Row:
        """All of it as exact values, as the commands print them. Prices of the ask are YES prices."""
        yes, no = (list(levels.items()) for levels in self.book.sides())
        trades = self.trades()
        last = trades[0] if trades else None
        bid, bid_size = yes[0] if yes else (None, 0)
        ask, ask_size = (DOLLAR - no[0][0], no[0][1]) if no else (None, 0)
        both = None if bid is None or ask is None else (bid, ask)
        return {
            "step": self.step,
            "committed_at": self.committed_at,
            "ticker": self.ticker,
            "bid": _dollars(bid),
            "bid_size": _contracts(bid_size),
            "ask": _dollars(ask),
            "ask_size": _contracts(ask_size),
            "spread": both and _dollars(both[1] - both[0]),
            "mid": both and Decimal(sum(both)).scaleb(-4) / 2,
            "imbalance_num": bid_size - ask_size if both else None,
            "imbalance_den": bid_size + ask_size if both else None,
            "yes_5": _contracts(sum(size for _, size in yes[:BEST])),
            "no_5": _contracts(sum(size for _, size in no[:BEST])),
            "yes_all": _contracts(sum(size for _, size in yes)),
            "no_all": _contracts(sum(size for _, size in no)),
            "changed_at": _moment(self.changed_ms),
            "trade_at": last and datetime_of_ms(last.exchange_ms),
            "trade_price": last and _dollars(last.yes_price),
            "trade_count": last and _contracts(last.size),
            "taker_side": last and SIDES[last.taker_side],
            "sealed_until": _moment(self.sealed_ms),
            "proven": self.doubt() is None,
            "gaps": len(self.book.gaps),
            "yes": [[_dollars(price), _contracts(size)] for price, size in yes],
            "no": [[_dollars(price), _contracts(size)] for price, size in no],
        }

    def doubt(self) -> str | None:
        """Why levels may be wrong: a gap of the book since the last book of the exchange."""
        if self.book.known:
            return None
        (start, end), reason = max(self.book.gaps.items(), key=lambda gap: gap[0][1])
        return f"{written(datetime_of_ms(start))} to {written(datetime_of_ms(end))} ({reason})"


def _dollars(price: int | None) -> Decimal | None:
    return None if price is None else Decimal(price).scaleb(-4)


def _contracts(size: int) -> Decimal:
    return Decimal(size).scaleb(-2)


def _moment(ms: int) -> datetime | None:
    return datetime_of_ms(ms) if ms >= 0 else None


async def begin(dsn: str, ticker: str) -> WatchedMarket:
    """The market as production has it now. Raises `NoSuchMarket`, `StorageError`."""
    with errors_of_the_library(dsn):
        try:
            return WatchedMarket(ticker, await kf.AsyncProduction(dsn).snapshot(ticker, TRADES_KEPT))
        except kf.UnknownMarket:
            raise NoSuchMarket(ticker) from None


async def steps(dsn: str, ticker: str) -> AsyncIterator[tuple[WatchedMarket, bool]]:
    """The market at the start and after each step, for ever; and whether that step had something of it. Raises
    `NoSuchMarket`, `FeedError`, `StorageError`."""
    while True:
        watched = await begin(dsn, ticker)
        yield watched, True
        with errors_of_the_library(dsn), contextlib.suppress(kf.FeedPassed):  # it slept; what is shown is the present
            async with contextlib.aclosing(
                kf.AsyncProduction(dsn).feed(watched.step, ticker, watched.committed_at)
            ) as reading:
                async for step in reading:
                    if not watched.take(step):
                        break
                    yield watched, watched.touched(step)


async def watch(
    dsn: str, ticker: str, hz: float, show: Callable[[WatchedMarket], None], each: Callable[[WatchedMarket], None]
) -> None:
    """Show the market so often a second at most, for ever; `each`: after every step with something of it."""
    latest: WatchedMarket | None = None

    async def follow_feed() -> None:
        nonlocal latest
        async for watched, touched in steps(dsn, ticker):
            latest = watched
            if touched:
                each(watched)

    reading = asyncio.create_task(follow_feed())
    try:
        while not reading.done():
            began = time.monotonic()
            if latest is not None:
                show(latest)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.001, 1 / hz - (time.monotonic() - began))):
                    await asyncio.shield(reading)
        reading.result()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def screen(watched: WatchedMarket, now: datetime, height: int) -> RenderableType:
    """For a terminal of any width from 60 columns on, and so many lines."""
    row = watched.row()
    trades = watched.trades()[: TRADES_SHOWN if height >= OTHER_LINES + TRADES_SHOWN + 3 else 1]
    levels = max(1, min(LEVELS_SHOWN, height - OTHER_LINES - max(len(trades), 1)))
    ladder = Table(expand=False, pad_edge=False)
    for name in ("bid size", "bid", "ask", "ask size"):
        ladder.add_column(name, justify="right", min_width=10, no_wrap=True)
    for n in range(max(1, min(levels, max(len(row["yes"]), len(row["no"]))))):
        bid = [str(value) for value in reversed(row["yes"][n])] if n < len(row["yes"]) else ["", ""]
        ask = [str(1 - row["no"][n][0]), str(row["no"][n][1])] if n < len(row["no"]) else ["", ""]
        ladder.add_row(*(Text(value) for value in (*bid, *ask)))
    done = Table(expand=False, pad_edge=False)
    for name in ("traded", "taker", "price", "count"):
        done.add_column(name, justify="right" if name in ("price", "count") else "left", no_wrap=True)
    for one in trades:
        at = written(datetime_of_ms(one.exchange_ms))
        done.add_row(at, SIDES[one.taker_side], str(_dollars(one.yes_price)), str(_contracts(one.size)))
    doubt = watched.doubt()
    return Group(
        Text(f"{watched.ticker}  step {row['step']}", style="bold"),
        Text(f"spread {_or(row['spread'])}  mid {_or(row['mid'])}  imbalance {_ratio(row)}"),
        Text(f"best {BEST}: {row['yes_5']} / {row['no_5']}  all: {row['yes_all']} / {row['no_all']}"),
        ladder,
        done if trades else Text("no trades of the last day"),
        Text(f"changed {_ago(row['changed_at'], now)}, production {_ago(row['committed_at'], now)}"),
        Text(f"sealed until {_or(row['sealed_until'] and written(row['sealed_until']))}"),
        Text("no gap" if doubt is None else f"levels may be wrong: gap {doubt}", style="" if doubt is None else "red"),
    )


def _or(value: Any) -> str:
    return "-" if value is None else str(value)


def _ratio(row: Row) -> str:
    num, den = row["imbalance_num"], row["imbalance_den"]
    return f"{100 * num // den:+d} %" if den else "-"


def _ago(at: datetime | None, now: datetime) -> str:
    return "-" if at is None else f"{max(0.0, (now - at).total_seconds()):.1f} s ago"
