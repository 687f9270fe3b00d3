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
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from common.contract.channels import ORDERBOOK
from common.contract.sides import NO, SIDES, YES
from common.errors import FeedPassed, FleetError
from common.feed.reader import Feed, FeedStep
from common.feed.start import FeedStart, RecordedBook, follow, snapshot
from common.feed.tables import CHANGES, EVERYTHING, GAPS, SEAL, TRADES
from common.levels import flat
from common.numbers import DOLLAR, datetime_of_ms, ms_of_datetime
from common.storage.database import connected
from fleet.moments import written
from fleet.statements import SQL

ANSWER_MS: Final = 30_000
TRADES_KEPT: Final = 50
GAPS_KEPT: Final = 1_000
CHANGES_MORE: Final = 50_000
"""After so many it begins again, with a later book: each is looked at for each screen."""
BEST: Final = 5
LEVELS_SHOWN: Final = 10
TRADES_SHOWN: Final = 5
OTHER_LINES: Final = 11
"""Of the screen: all but levels and trades."""
LISTED: Final = ("left", "added")
Row = dict[str, Any]


class NoSuchMarket(FleetError):
    """A market of which nothing was ever seen."""

    def __init__(self, ticker: str) -> None:
        super().__init__(f"no market {ticker} is known")


class WatchedMarket:
    """One market at a step of production."""

    def __init__(self, ticker: str, start: FeedStart) -> None:
        if ticker not in start.books:
            raise NoSuchMarket(ticker)
        self.ticker = ticker
        self.step, self.committed_at = start.step, start.committed_at
        self.book: RecordedBook = start.books[ticker]
        self.changed_ms = max((at for at, _ in self.book.changes), default=self.book.base[0])
        self.sealed_ms = -1
        self.gaps: dict[tuple[str, int, int], str] = {}
        """By channel, from, to: the reason. Those that touch the book at the start, and all since."""
        self._most = 2 * len(self.book.changes) + CHANGES_MORE
        self._trades: dict[bytes, Row] = {}
        for r in start.trades[ticker]:
            self._trade({**dict(r), "trade_id": r["trade_id"].bytes, "exchange_ms": ms_of_datetime(r["exchange_ts"])})

    def take(self, step: FeedStep) -> bool:
        """The next step; whether it can be gone on from."""
        self.step, self.committed_at = step.step, step.committed_at
        market = self.book.market
        known = step.whole and not follow({market: self.book}, step.tables) and len(self.book.changes) < self._most
        for r in self._mine(step, CHANGES):
            self.changed_ms = max(self.changed_ms, r["exchange_ms"])
        for r in self._mine(step, TRADES):
            self._trade(r)
        for r in self._mine(step, GAPS):
            gap = (r["channel"], r["from_ms"], r["to_ms"])
            # One that was listed at the start is not longer than the market's time line.
            for within in [g for g in self.gaps if g[0] == gap[0] and gap[1] <= g[1] and g[2] <= gap[2]]:
                del self.gaps[within]
            if r["event"] in LISTED:
                self.gaps[gap] = r["reason"]
        while len(self.gaps) > GAPS_KEPT:
            del self.gaps[min(self.gaps, key=lambda gap: gap[2])]
        self._seal(step)
        return known

    def touched(self, step: FeedStep) -> bool:
        """Whether a step has a row of the market, its seal apart."""
        market = self.book.market
        batches = (batch for name, batch in step.tables.items() if name != SEAL and "market" in batch.schema.names)
        return any(market in batch["market"].to_numpy() for batch in batches)

    def _mine(self, step: FeedStep, table: str) -> list[Row]:
        batch = step.tables.get(table)
        if batch is None:
            return []
        at = (batch["market"].to_numpy() == self.book.market).nonzero()[0]
        return batch.take(at).to_pylist() if len(at) else []

    def _seal(self, step: FeedStep) -> None:
        """What a market is named with, else what all are; it never falls."""
        batch = step.tables.get(SEAL)
        if batch is None:
            return
        sealed = {r["market"]: r["sealed_ms"] for r in batch.to_pylist() if r["channel"] == ORDERBOOK}
        ms = sealed.get(self.book.market, sealed.get(EVERYTHING))
        self.sealed_ms = max(self.sealed_ms, -1 if ms is None else ms)

    def _trade(self, row: Row) -> None:
        self._trades[row["trade_id"]] = row
        if len(self._trades) > 2 * TRADES_KEPT:
            self._trades = {r["trade_id"]: r for r in self.trades()[:TRADES_KEPT]}

    def trades(self) -> list[Row]:
        """The last ones, in the exchange's order from the newest on."""
        last = 1 << 40
        return sorted(
            self._trades.values(),
            key=lambda r: (r["exchange_ms"], last if r["ordinal"] is None else r["ordinal"], r["trade_id"]),
            reverse=True,
        )

    def row(self) -> Row:
        """All of it as exact values, as the commands print them. Prices of the ask are YES prices."""
        levels = self.book.folded()
        yes, no = (_pairs(flat(levels, side)) for side in (YES, NO))
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
            "trade_at": last and datetime_of_ms(last["exchange_ms"]),
            "trade_price": last and _dollars(last["yes_price"]),
            "trade_count": last and _contracts(last["count"]),
            "taker_side": last and SIDES[last["taker_side"]],
            "sealed_until": _moment(self.sealed_ms),
            "proven": self.doubt() is None,
            "gaps": len(self.gaps),
            "yes": [[_dollars(price), _contracts(size)] for price, size in yes],
            "no": [[_dollars(price), _contracts(size)] for price, size in no],
        }

    def doubt(self) -> str | None:
        """Why levels may be wrong: a gap of the book since the last book of the exchange."""
        since = self.book.base[0]
        for (channel, start, end), reason in sorted(self.gaps.items(), key=lambda item: -item[0][2]):
            if channel == ORDERBOOK and end > since:
                return f"{written(datetime_of_ms(start))} to {written(datetime_of_ms(end))} ({reason})"
        return None


def _pairs(values: list[int]) -> list[tuple[int, int]]:
    return list(zip(values[::2], values[1::2], strict=True))


def _dollars(price: int | None) -> Decimal | None:
    return None if price is None else Decimal(price).scaleb(-4)


def _contracts(size: int) -> Decimal:
    return Decimal(size).scaleb(-2)


def _moment(ms: int) -> datetime | None:
    return datetime_of_ms(ms) if ms >= 0 else None


async def begin(dsn: str, ticker: str) -> WatchedMarket:
    """The market as production has it now. Raises `NoSuchMarket`."""
    async with connected(dsn, ANSWER_MS) as db:
        watched = WatchedMarket(ticker, await snapshot(db, [ticker], TRADES_KEPT))
        for gap in await db.fetch(
            SQL["gap_before_book"], ticker, watched.committed_at or await db.fetchval(SQL["clock"])
        ):
            key = (ORDERBOOK, ms_of_datetime(gap["started_at"]), ms_of_datetime(gap["ended_at"]))
            watched.gaps[key] = gap["reason"]
        return watched


async def steps(dsn: str, ticker: str) -> AsyncIterator[tuple[WatchedMarket, bool]]:
    """The market at the start and after each step, for ever; and whether that step had something of it."""
    while True:
        watched = await begin(dsn, ticker)
        yield watched, True
        try:
            async for step in Feed(dsn, watched.step, watched.committed_at):
                known = watched.take(step)
                if not known:
                    break
                yield watched, watched.touched(step)
        except FeedPassed:  # it slept; what is shown is the present
            continue


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
    for r in trades:
        at = written(datetime_of_ms(r["exchange_ms"]))
        done.add_row(at, SIDES[r["taker_side"]], str(_dollars(r["yes_price"])), str(_contracts(r["count"])))
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
