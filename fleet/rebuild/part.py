"""One part of all markets, merged whole in memory: pure, from batches in, to relations out.

It is what production does with the decisions of the merge, for rows that nobody has stored yet. Nothing is given up on
while there is something left to read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from common.contract.channels import ALL_MARKETS_CHANNELS, ORDERBOOK, TRADE
from common.contract.deltas import Deltas
from common.contract.reasons import BEFORE_SUBSCRIPTION
from deduplicator.merge import coverage
from deduplicator.merge.assembly import joined
from deduplicator.merge.copies import Changes, Copy, Unplaced
from deduplicator.merge.intervals import Interval
from deduplicator.merge.merger import Limits, Merger
from deduplicator.merge.twins import NO_TWIN, takes_of_changes, takes_of_trades, twins
from fleet.rebuild.copies import copy_of
from gatherer.derive.rows import LifecycleRow, QuarantineRow, RestBookRow, Rows, TickerRow, TradeRow
from gatherer.derive.state import ALL_MARKETS

STEP_ROWS: Final = 200_000
WAIT_MS: Final = 1
QUIET_STEPS: Final = 2
"""A hole is noticed in one step, and given up on in the next: after so many without a decision there are none."""
ALL: Final = 1 << 60
LIFECYCLE_ONE_EVENT_US: Final = 30_000_000
Book = tuple[int, int, int, bool]
"""Market, exchange millisecond, last ordinal, whether it is a reset."""


class PartBatch(NamedTuple):
    """A part of one batch. `number` counts from 1 in its lane."""

    gatherer: int
    lane: int
    number: int
    rows: Rows


class MarketTimes(NamedTuple):
    """When a market's time line begins, and when it ends if that is known: milliseconds."""

    first_ms: int
    end_ms: int | None


class BookRow(NamedTuple):
    """A book at a place."""

    taken_us: int
    yes: tuple[int, ...]
    no: tuple[int, ...]
    verified: bool | None


class Part:
    """The relations of one part, growing with every batch. `started_ms`: the first record of all. `now_ms`: the
    present, which no gap goes beyond. `everywhere`: this part also has what concerns every market.
    `reset_slack_ms`: as of `Limits`; nothing here takes time, so that it cannot be the wait."""

    def __init__(
        self,
        started_ms: int,
        now_ms: int,
        lives: Mapping[str, MarketTimes],
        *,
        everywhere: bool,
        reset_slack_ms: int,
        step_rows: int = STEP_ROWS,
    ) -> None:
        self._started_ms, self._lives, self._step_rows = started_ms, lives, step_rows
        self.numbers: dict[str, int] = {}
        self._merger = Merger(Limits(WAIT_MS, ALL, ALL, reset_slack_ms), 0)
        self._waiting: dict[tuple[int, int], list[Copy]] = {}
        self._rows = 0
        self._now_ms = now_ms
        self._new: list[Deltas] = []
        self.unplaced: dict[tuple[int, ...], Unplaced] = {}
        self.conflicts: list[tuple[str, int, int, Any]] = []
        self._listed: dict[tuple[int, str, Interval], str] = {}
        self.books: dict[Book, BookRow] = {}
        self.rest_books: list[RestBookRow] = []
        self.trades: dict[str, TradeRow] = {}
        self.tickers: dict[tuple[Any, ...], TickerRow] = {}
        self.quarantine: list[tuple[int, QuarantineRow]] = []
        self._lifecycle: dict[tuple[str, str, str], list[LifecycleRow]] = {}
        self.received = 0
        if everywhere:
            everything = self._number(ALL_MARKETS)
            for channel in ALL_MARKETS_CHANNELS:
                self._merger.claims.lines.begin(everything, channel, started_ms, None)

    # -- in ----------------------------------------------------------------------------------------------------

    def take(self, batch: PartBatch) -> None:
        """The next batch; those of one lane come in their order."""
        rows = batch.rows
        for ticker in rows.markets():
            self._number(ticker)
        copy = copy_of(rows, batch.gatherer, batch.lane, batch.number, self.numbers)
        self._waiting.setdefault((batch.gatherer, batch.lane), []).append(copy)
        self._rows += len(copy.deltas)
        self.received += rows.delta_frames
        for trade in rows.trades:
            self._trade(trade)
        for ticker_row in rows.tickers:
            self.tickers.setdefault(ticker_row[:-1], ticker_row)
        for event in rows.lifecycle:
            self._event(event)
        self.rest_books += [book for book in rows.rest_books if book.agrees != 1]
        self.quarantine += [(batch.gatherer, row) for row in rows.quarantine]
        if self._rows >= self._step_rows:
            self._step()

    def _number(self, ticker: str) -> int:
        number = self.numbers.get(ticker)
        if number is None:
            number = self.numbers[ticker] = len(self.numbers) + 1
            if ticker != ALL_MARKETS:
                # Nobody knows when it opened: the widest claim is the honest one.
                life = self._lives.get(ticker, MarketTimes(self._started_ms, None))
                first = max(life.first_ms, self._started_ms)
                self._merger.claims.lines.begin(number, ORDERBOOK, first, life.end_ms)
        return number

    def _trade(self, trade: TradeRow) -> None:
        stored = self.trades.setdefault(trade.trade_id, trade)
        if stored[3:-1] != trade[3:-1]:
            versions = [stored._asdict(), trade._asdict()]
            self.conflicts.append((TRADE, self.numbers[stored.ticker], stored.exchange_ms, versions))

    def _event(self, event: LifecycleRow) -> None:
        """Equal content within 30 seconds is one event."""
        try:
            content = json.dumps(json.loads(event.payload), sort_keys=True)
        except ValueError:
            content = event.payload
        seen = self._lifecycle.setdefault((event.ticker, event.event_type, content), [])
        if all(abs(event.received_us - other.received_us) > LIFECYCLE_ONE_EVENT_US for other in seen):
            seen.append(event)

    def _step(self) -> bool:
        """Merge what has been read; whether anything was decided."""
        copies = [joined(copies) for copies in self._waiting.values()]
        changes = self._merger.step(copies, self._now_ms)
        self._waiting = {(copy.gatherer, copy.lane): [copy] for copy in copies if copy.gatherer in changes.stalled}
        self._rows = sum(len(copy.deltas) for some in self._waiting.values() for copy in some)
        self._decided(changes)
        return bool(copies) or changes.anything()

    def _decided(self, changes: Changes) -> None:
        if len(changes.new):
            self._new.append(changes.new)
        for row in changes.unplaced:
            self.unplaced[_key(row)] = row
        for row in changes.placed:
            self.unplaced.pop(_key(row), None)
        self.conflicts += [(c.kind, c.market, c.exchange_ms, c.versions) for c in changes.conflicts]
        self._listed.update({(gap.market, gap.channel, gap.interval): gap.reason for gap in changes.gaps})
        for heal in changes.heals:
            del self._listed[heal.market, heal.channel, heal.interval]
            self._listed.update({(heal.market, heal.channel, part): heal.reason for part in heal.left})
        for book in changes.books:
            place = (book.market, book.exchange_ms, book.after_ordinal, book.is_reset)
            given = BookRow(book.taken_us, book.yes, book.no, book.verified)
            stored = self.books.setdefault(place, given)
            if given.verified and stored.verified is None and (stored.yes, stored.no) == (given.yes, given.no):
                self.books[place] = stored._replace(verified=True)
        for vote in changes.unverified:
            place = (vote.market, vote.exchange_ms, vote.after_ordinal, True)
            if place in self.books:
                self.books[place] = self.books[place]._replace(verified=False)

    # -- out ---------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Everything is read: whatever is waited for is decided, one hole of a line after the other."""
        quiet = 0
        while quiet < QUIET_STEPS:
            self._now_ms += WAIT_MS + 1
            quiet = 0 if self._step() else quiet + 1

    @property
    def deltas(self) -> Deltas:
        """All changes, by market number, exchange time, ordinal."""
        deltas = Deltas.joined(self._new)
        return deltas.take(np.lexsort((deltas.ordinal, deltas.exchange_ms, deltas.market)))

    def ordinals(self) -> dict[str, int]:
        """By trade id, the ordinal of its twin: the trade's place among those of its millisecond."""
        made = [trade for trade in self.trades.values() if not trade.is_block]
        rows = [(self.numbers[t.ticker], t.exchange_ms, t.yes_price, t.contracts, t.taker_side) for t in made]
        takes = takes_of_trades(*np.array(rows, np.int64).reshape(-1, 5).T)
        found = twins(takes, [trade.trade_id.lower() for trade in made], *takes_of_changes(self.deltas))
        return {t.trade_id: place for t, place in zip(made, found.tolist(), strict=True) if place != NO_TWIN}

    @property
    def gaps(self) -> dict[tuple[int, str, Interval], str]:
        """What nobody provably recorded: market, channel and stretch, with the reason."""
        found, claims = dict(self._listed), self._merger.claims
        for (market, channel), line in claims.lines.items():
            first = coverage.beginning(channel, line, claims.slices)
            if first is not None:
                found[market, channel, first] = BEFORE_SUBSCRIPTION
        return found

    @property
    def lifecycle(self) -> list[LifecycleRow]:
        """All lifecycle events."""
        return [event for events in self._lifecycle.values() for event in events]

    def coverage(self) -> Iterable[tuple[int, str, int | None, int | None, int | None, list[Interval]]]:
        """Market, channel, where its line begins, is sealed until and ends, and what is provably held of it."""
        claims = self._merger.claims
        for (market, channel), line in claims.lines.items():
            sealed = coverage.sealed(channel, line, claims.slices)
            if sealed is not None and line.end_ms is not None:
                sealed = min(sealed, line.end_ms)
            yield market, channel, line.first_ms, sealed, line.end_ms, coverage.covered(line, claims.slices)


def _key(row: Unplaced) -> tuple[int, ...]:
    return (row.gatherer, row.session, row.sid, row.seq, row.run)
