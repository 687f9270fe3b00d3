"""The signals of one market: `state, outputs = step(state, events, watermark)`.

Events before the watermark are taken in their canonical order, whole milliseconds at a time; later ones wait in the
state. Seconds are looked at when everything before them is known: those after which a window holds something else.
A signal publishes when its values change. A gap ends what rests on it: totals, buckets and the state before begin again
after it, so that nothing crosses it.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any, Final

import msgspec

from common.contract.sides import NO, YES
from common.errors import FleetError
from common.numbers import DOLLAR
from signals import composite, imbalance, lifecycle, ofi, oi, regime, state, trade_flow, volatility, vpin
from signals import events as kinds
from signals.book import CAME_OR_WENT, FoldedBook, Top
from signals.events import BOOKS, GAPS, LIFECYCLE, TICKS, Event
from signals.outputs import Output, Watermark
from signals.plan import Plan
from signals.view import (
    BOOK_TOTALS,
    MOVES,
    OFI,
    OFI_5,
    PRODUCTS,
    ROWS,
    SHIFT,
    SQUARES,
    TRADE_TOTALS,
    LastTrade,
    Values,
    View,
)
from signals.windows import NEVER, RunningTotals, Sums

OF_THE_FLOW: Final = (ofi, volatility)
OF_THE_TRADES: Final = (trade_flow,)
OF_ALL: Final = (state, imbalance, regime, composite)
"""Signals by the second, by what they rest on: those of sums that did not change need not be computed again."""
TOP: Final = "top"
TOP_VERSION: Final = 1
_IMPOSSIBLE: Final = -1


class LateEvent(FleetError):
    """An event older than the watermark that was given: the state must be made again from before it."""

    def __init__(self, market: str, at_ms: int, watermark_ms: int) -> None:
        self.market, self.at_ms, self.watermark_ms = market, at_ms, watermark_ms
        super().__init__(f"{market}: an event of {at_ms}, after everything before {watermark_ms} was taken")


class SignalState(msgspec.Struct):
    """Everything that a market's signals remember. `encode` and `decode` are exact."""

    market: str
    plan: Plan
    trading: RunningTotals
    flow: RunningTotals
    watermark_ms: int = 0
    pending: list[Any] = []
    """Events that are not before the watermark."""
    book: FoldedBook = msgspec.field(default_factory=FoldedBook)
    yes: Top = []
    no: Top = []
    row: tuple[Top, Top] | None = None
    """The best levels after the last millisecond with a change; None at the beginning of a stretch."""
    known: bool = False
    """Whether the book is."""
    lost_until_ms: int = 0
    """Books and changes before it are of a gap."""
    changed_ms: int = -1
    mid2: int = -1
    """At the last second that was looked at; -1 without two sides."""
    move: int = 0
    move_s: int = -1
    last: LastTrade = LastTrade()
    buckets: list[vpin.Buckets] = []
    totals: oi.InterestTotals = oi.InterestTotals()
    life: lifecycle.Life = msgspec.field(default_factory=lifecycle.Life)
    dirty_s: int = -1
    """The second of the last event, if it was not looked at since."""
    timers: list[int] = []
    published: dict[str, tuple[bool, tuple[int, ...]]] = {}
    numbers: dict[str, tuple[int, int]] = {}
    """Of signals that may publish more than once a millisecond: the last one, and how often in it."""


def begin(market: str, since_ms: int, plan: Plan = Plan()) -> SignalState:  # noqa: B008  (frozen)
    """A market whose record begins at `since_ms`: its book is not known yet, and no trade before it is."""
    made = SignalState(market, plan, RunningTotals(TRADE_TOTALS), RunningTotals(BOOK_TOTALS), watermark_ms=since_ms)
    made.trading.start(since_ms)
    made.buckets = [vpin.Buckets() for _ in plan.vpin]
    heappush(made.timers, -(-since_ms // 1000))
    return made


def encode(held: SignalState) -> bytes:
    """The state as bytes."""
    return msgspec.msgpack.encode(held)


def decode(data: bytes) -> SignalState:
    """What was encoded; it continues as the one that was."""
    held = msgspec.msgpack.decode(data, type=SignalState)
    held.pending = [kinds.restored(event) for event in held.pending]
    return held


def step(held: SignalState, events: Iterable[Event], watermark: Watermark) -> tuple[SignalState, list[Output]]:
    """Take events, and everything before the watermark into account. `held` is used up: continue with what is returned.

    Raises `LateEvent` for an event before the watermark of an earlier step.
    """
    waiting = [*held.pending, *events]
    waiting.sort()
    if waiting and waiting[0][0] < held.watermark_ms:
        raise LateEvent(held.market, waiting[0][0], held.watermark_ms)
    ready = [event for event in waiting if event[0] < watermark.ms] if waiting else waiting
    held.pending = waiting[len(ready) :]
    held.watermark_ms = max(held.watermark_ms, watermark.ms)
    fold = _Fold(held, watermark.step)
    fold.take(ready)
    fold.seconds(held.watermark_ms)
    return held, fold.outputs


class _Fold:
    """One step."""

    def __init__(self, held: SignalState, known_step: int) -> None:
        self._held = held
        self._step = known_step
        self._touched = 0
        self._sizes: list[tuple[int, int]] = []
        """Changes of the best levels in this millisecond."""
        self._all_rows = True
        """Whether also a row that changed no best level is looked at: they may be others than in the row before."""
        self._trades: list[kinds.Trade] = []
        self._flow_sums: Sums | None = None
        self._trade_sums: Sums | None = None
        self._open_ms = -2
        self.outputs: list[Output] = []

    def take(self, ready: list[Any]) -> None:
        """Events in their order."""
        held, change = self._held, self._held.book.change
        now, until, rows = -1, -1, False
        for event in ready:
            at = event[0]
            if at != now:
                if rows and held.known:
                    held.flow.now[ROWS] += 1
                    held.changed_ms = now
                if self._touched or self._trades or (rows and self._all_rows):
                    self._millisecond(now, rows)
                if at >= until:
                    self.seconds(at)
                    held.dirty_s = at // 1000
                    until = (held.dirty_s + 1) * 1000
                now, rows = at, False
            if event[1] == BOOKS and not event[3]:
                if held.known:
                    rows = True
                    touched = change(event[4], event[5])
                    if touched:
                        self._touched |= touched
                        self._sizes.append((event[4], event[5]))
                        if touched == _IMPOSSIBLE:
                            self._lose_book()
            else:
                self._other(event)
        if now >= 0:
            if rows and held.known:
                held.flow.now[ROWS] += 1
                held.changed_ms = now
            self._millisecond(now, rows)

    def _other(self, event: Any) -> None:
        rank, held = event[1], self._held
        if rank == BOOKS:
            self._book(event)
        elif rank == GAPS:
            self._gap(event)
        elif rank == TICKS:
            held.totals, values = held.totals.after(event)
            self._publish_often(oi.NAME, oi.VERSION, "", event.at_ms, False, values)
        elif rank == LIFECYCLE:
            values = held.life.take(event)
            self._live(event.at_ms, values)
            self._set_timers(event.at_ms)
        elif event.at_ms >= held.trading.since_ms:
            self._trades.append(event)

    def _book(self, event: kinds.Book) -> None:
        """The book is known from here on. A reset is no flow: the state before it is forgotten."""
        held = self._held
        if event.at_ms < held.lost_until_ms:
            return
        if not held.known:
            held.known, held.row, held.mid2 = True, None, -1
            held.flow.start(event.at_ms)
        elif event.part == kinds.RESET:
            held.row, held.mid2 = None, -1
        held.book.replace(event.levels)
        held.changed_ms = event.at_ms
        self._touched = 3 + CAME_OR_WENT
        self._all_rows = True

    def _gap(self, event: kinds.Gap) -> None:
        held = self._held
        if event.lost & kinds.BOOK_LOST:
            held.lost_until_ms = max(held.lost_until_ms, event.to_ms)
            self._lose_book()
        if event.lost & kinds.TRADES_LOST:
            to_ms = max(event.to_ms, held.trading.since_ms)
            held.trading.start(to_ms)
            held.buckets = [vpin.Buckets() for _ in held.plan.vpin]
            held.last = LastTrade()
            self._forget()
            heappush(held.timers, -(-to_ms // 1000))

        if event.lost & kinds.LIFE_LOST:
            held.life.missed = True

    def _lose_book(self) -> None:
        held = self._held
        held.known, held.row, held.yes, held.no = False, None, [], []
        held.mid2, held.move_s, held.changed_ms = -1, -1, -1
        held.flow.stop()
        self._forget()

    def _forget(self) -> None:
        """What was published, so that everything is published again, and no signal looks back across a gap."""
        self._held.published.clear()
        self._flow_sums = self._trade_sums = None

    def _millisecond(self, at_ms: int, rows: bool) -> None:
        """It is over, and more than levels that nobody looks at, or trades, came: the state after it is looked at."""
        held = self._held
        touched = self._touched
        if held.known and (touched or rows):
            before = held.row
            current = before is not None and before[0] is held.yes and before[1] is held.no
            if touched < CAME_OR_WENT and current:
                self._publish_row(at_ms, self._resize())
            else:
                if touched & 1:
                    held.yes = held.book.top(YES)
                if touched & 2:
                    held.no = held.book.top(NO)
                if rows:
                    self._row(at_ms, before)
        if touched:
            self._touched = 0
            self._sizes.clear()
        if self._trades:
            self._take_trades(at_ms)

    def _resize(self) -> int:
        """Only sizes of the best levels changed: what was added is what came. Returns that of the best level."""
        held, best, every = self._held, 0, 0
        both = min(len(held.yes), len(held.no))
        for key, delta in self._sizes:
            price, top, came = key >> 1, held.yes, delta
            if key & 1:
                top, came = held.no, -delta
            level = 0
            while top[level][0] != price:
                level += 1
            top[level] = (price, top[level][1] + delta)
            if level < both:
                every += came
                if not level:
                    best += came
        totals = held.flow.now
        totals[OFI] += best
        totals[OFI_5] += every
        return best

    def _row(self, at_ms: int, before: tuple[Top, Top] | None) -> None:
        """The best levels, or some of them, are others."""
        held, first = self._held, 0
        if before is not None:
            first, every = ofi.flow(held.yes, held.no, before[0], before[1])
            totals = held.flow.now
            totals[OFI] += first
            totals[OFI_5] += every
        held.row = (held.yes, held.no)
        self._all_rows = held.plan.top
        self._publish_row(at_ms, first)

    def _publish_row(self, at_ms: int, first: int) -> None:
        held = self._held
        if held.plan.top:
            bid, bid_size = held.yes[0] if held.yes else (-1, 0)
            no_bid, ask_size = held.no[0] if held.no else (DOLLAR + 1, 0)
            values = (bid, bid_size, DOLLAR - no_bid, ask_size, first)
            self.outputs.append(Output(TOP, TOP_VERSION, "", held.market, at_ms, 0, self._step, True, values))

    def _take_trades(self, at_ms: int) -> None:
        held, trades = self._held, self._trades
        self._trades = []
        if values := held.life.at_trade():
            self._live(at_ms, values)
        held.last = LastTrade(at_ms, trades[-1].price, trades[-1].signed)
        open_trades = [trade for trade in trades if not trade.is_block]
        for signed, count, swept in trade_flow.orders(open_trades):
            trade_flow.add(held.trading.now, signed, count, swept)
        for rule, buckets in zip(held.plan.vpin, held.buckets, strict=True):
            for trade in open_trades:
                for values in buckets.add(rule, trade.signed):
                    self._publish_often(vpin.NAME, vpin.VERSION, rule.name, at_ms, True, values)

    def _set_timers(self, at_ms: int) -> None:
        held = self._held
        if held.life.close_ms >= 0:
            close_s = -(-held.life.close_ms // 1000)
            for second in (close_s - held.plan.regime.settle_s, close_s):
                if second * 1000 > at_ms and second not in held.timers:
                    heappush(held.timers, second)

    def seconds(self, to_ms: int) -> None:
        """Look at every second up to `to_ms` at which something may be otherwise than before."""
        held = self._held
        while True:
            second = held.dirty_s + 1 if held.dirty_s >= 0 else NEVER
            second = min(second, held.flow.due(), held.trading.due())
            if held.timers and held.timers[0] < second:
                second = held.timers[0]
            if second * 1000 > to_ms:
                return
            while held.timers and held.timers[0] <= second:
                heappop(held.timers)
            self._second(second)

    def _second(self, second: int) -> None:
        held = self._held
        if held.dirty_s >= 0 and held.dirty_s < second:
            held.dirty_s = -1
            if held.known:
                self._move(second)
                held.flow.mark(second - 1)
            if held.trading.since_ms < second * 1000:
                held.trading.mark(second - 1)
        if values := held.life.at_second(second * 1000):
            self._live(second * 1000, values)
        flow = held.flow.close(second, self._flow_sums) if held.known else None
        trades = held.trading.close(second, self._trade_sums)
        opened = held.life.open_ms != self._open_ms
        view = View(
            second,
            held.plan,
            held.yes,
            held.no,
            held.book.yes.total,
            held.book.no.total,
            held.flow,
            held.trading,
            flow,
            trades,
            held.last,
            held.changed_ms,
            held.life.open_ms,
            held.life.close_ms,
            held.life.over,
            held.published,
        )
        if opened or flow is None or flow is not self._flow_sums:
            for signal in OF_THE_FLOW:
                self._publish(signal.NAME, signal.VERSION, second * 1000, signal.second(view))
        if opened or trades is None or trades is not self._trade_sums:
            for signal in OF_THE_TRADES:
                self._publish(signal.NAME, signal.VERSION, second * 1000, signal.second(view))
        for signal in OF_ALL:
            self._publish(signal.NAME, signal.VERSION, second * 1000, signal.second(view))
        self._flow_sums, self._trade_sums, self._open_ms = flow, trades, held.life.open_ms

    def _publish(self, name: str, version: int, at_ms: int, found: Values) -> None:
        """Values of a second, where they are others than before."""
        held = self._held
        for parameters, complete, values in found:
            key = f"{name} {parameters}"
            if held.published.get(key) != (complete, values):
                held.published[key] = (complete, values)
                self.outputs.append(
                    Output(name, version, parameters, held.market, at_ms, 0, self._step, complete, values)
                )

    def _move(self, second: int) -> None:
        """How far the mid is from where it was a second ago: at the last second that was looked at it was the same."""
        held = self._held
        mid2 = DOLLAR - held.no[0][0] + held.yes[0][0] if held.yes and held.no else -1
        if mid2 != held.mid2:
            move = abs(mid2 - held.mid2) if mid2 >= 0 and held.mid2 >= 0 else 0
            if move:
                totals = held.flow.now
                totals[SQUARES] += move * move
                totals[MOVES] += 1
                totals[SHIFT] += mid2 - held.mid2
                if held.move_s == second - 1:
                    totals[PRODUCTS] += move * held.move
                held.move, held.move_s = move, second
            held.mid2 = mid2

    def _live(self, at_ms: int, values: tuple[int, ...]) -> None:
        complete = not self._held.life.missed
        self._publish_often(lifecycle.NAME, lifecycle.VERSION, "", at_ms, complete, values)

    def _publish_often(
        self, name: str, version: int, parameters: str, at_ms: int, complete: bool, values: tuple[int, ...]
    ) -> None:
        """A value of a millisecond, which may have several."""
        held, key = self._held, f"{name} {parameters}"
        last_ms, n = held.numbers.get(key, (-1, -1))
        n = n + 1 if last_ms == at_ms else 0
        held.numbers[key] = (at_ms, n)
        self.outputs.append(Output(name, version, parameters, held.market, at_ms, n, self._step, complete, values))
