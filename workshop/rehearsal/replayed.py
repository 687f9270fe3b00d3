"""The library's replay of the archive against the exchange's own log: every change and trade that it tells, and a
market's book at the end of every millisecond in which it changed.

What the log has of it is folded here, change by change, with nothing of the library or the fleet.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Final, NamedTuple

import kalshi_fleet as kf
from common.numbers import HOUR_MS, datetime_of_ms, ms_of_datetime
from common.storage.embedded import attach_dsn
from kalshi_fleet.events import BOOK_CHANNEL, CONTRACT, DOLLAR
from workshop.rehearsal.truth import Identity, Level, Truth
from workshop.rehearsal.verdict import Check

NAME: Final = "library's replay = exchange"
FIRST_BOOK: Final = frozenset({"before_subscription", "before_fleet", "not_known_yet"})
"""Why a market's book is not known that nobody can know of yet."""
UNEXCUSED: Final = frozenset({"", "impossible_book"})
"""Nothing was replayed, and a record that cannot be."""
Place = tuple[int, str, bool, int, str]
"""Exchange millisecond, ticker, whether it is a trade, ordinal, trade id."""
BEFORE_ALL: Final[Place] = (-1, "", False, -1, "")
LAST: Final = 1 << 40
NEVER_MS: Final = 1 << 60
Levels = dict[int, int]
"""Price (1e-4 dollar) -> size (1e-2 contract)."""


class LogBook(NamedTuple):
    """A market's book as the log makes it."""

    yes: Levels
    no: Levels

    def apply(self, side: str, price: int, delta: int) -> None:
        """The next change."""
        levels = self.yes if side == "yes" else self.no
        if size := levels.get(price, 0) + delta:
            levels[price] = size
        else:
            levels.pop(price, None)


class Happened(NamedTuple):
    """A change of the log, or (`shown`) the book that a market began with or was given without changes."""

    at_ms: int
    side: str
    price: int
    delta: int
    shown: LogBook | None = None


async def compare_replay(archive: kf.Archive, dsn: str, truth: Truth, *, strict: bool) -> Check:
    """The hours that the archive has, up to its last one, and the library's books of production as it is now.

    `strict`: only what a market does before anybody can know of it may be lost. `archive` may hold hours that are
    not finished: nothing happens any more.
    """
    check = Check(NAME)
    tickers = sorted(truth.books)
    try:
        await asyncio.to_thread(_replayed, archive, tickers, truth, check, strict=strict)
        start = await kf.AsyncProduction(attach_dsn(dsn)).snapshot(tickers)
    except kf.KalshiFleetError as error:
        check.fail(f"{type(error).__name__}: {error}")
        return check
    for ticker, book in start.books.items():
        check.compared += 1
        if LogBook(*book.sides()) != _integers(truth.books[ticker]):
            check.fail(f"{ticker}: production's book at step {start.step} is another")
    check.note += f", and {len(start.books)} books of production at step {start.step}"
    return check


def _replayed(archive: kf.Archive, tickers: list[str], truth: Truth, check: Check, *, strict: bool) -> None:
    first_ms = min((shown[0][1] for shown in truth.shown.values()), default=truth.last_ms)
    begin_ms = first_ms - first_ms % HOUR_MS
    now = datetime.now(UTC) + timedelta(hours=1)
    hours = [(row["hour"], row["in_archive"]) for row in archive.coverage(None, datetime_of_ms(begin_ms), now)]
    there = [hour for hour, in_archive in hours if in_archive]
    if not there or ms_of_datetime(there[-1]) + HOUR_MS <= truth.last_ms:
        check.fail("the last hour is not in the archive")
        return
    start = next(hour for hour in there if all(one in there for one, _ in hours if hour <= one <= there[-1]))
    events = archive.replay(tickers, start, there[-1] + timedelta(hours=1), unsealed=True)
    follow(truth, events, ms_of_datetime(start), check, strict=strict)
    replayed, all_hours = (sum(begin <= hour <= there[-1] for hour, _ in hours) for begin in (start, hours[0][0]))
    check.note = f"{replayed} of {all_hours} hours, {len(tickers)} markets: {check.note}"


def follow(truth: Truth, events: Iterable[kf.Event], from_ms: int, check: Check, *, strict: bool) -> None:
    """Compare what a replay of all the log's markets from a moment on tells with the log."""
    trades: defaultdict[str, set[str]] = defaultdict(set)
    for trade_id, trade in truth.trades.items():
        if trade[1] >= from_ms:
            trades[trade[0]].add(trade_id)
    followers = {
        ticker: Follower(ticker, truth, log, trades[ticker], from_ms, check, strict) for ticker, log in _logs(truth)
    }
    before = BEFORE_ALL
    for event in events:
        followers[event.ticker].take(event)
        place = _place(event, before)
        if place < before or (place == before and isinstance(event, kf.Change | kf.Trade)):
            check.fail(f"{event.ticker} {event.at_ms}: {type(event).__name__} out of order, or twice")
        before = place
    for follower in followers.values():
        follower.end()
    groups, replayed = (sum(getattr(one, name) for one in followers.values()) for name in ("groups", "replayed_trades"))
    check.compared += groups + replayed
    check.note = f"{groups} ends of a millisecond, {replayed} trades"


class Follower:
    """A market: its log and its replay, side by side."""

    def __init__(
        self,
        ticker: str,
        truth: Truth,
        log: Iterable[Happened],
        trades: set[str],
        from_ms: int,
        check: Check,
        strict: bool,
    ) -> None:
        """`trades`: ids of those that are to be replayed."""
        self.ticker, self.truth, self.from_ms, self.check, self.strict = ticker, truth, from_ms, check, strict
        self.groups = self.replayed_trades = 0
        self._groups = ((at_ms, list(group)) for at_ms, group in groupby(log, key=lambda one: one.at_ms))
        self._group = next(self._groups, None)
        """The next millisecond of the log that is not over."""
        self._true = LogBook({}, {})
        self._state = kf.BookState.empty()
        self._reason = ""
        """Why the book is not known."""
        self._ever_known = self._ended = False
        self._at_ms, self._replayed = -1, 0
        """The replay's millisecond, and its changes; more than all where the whole book came or went in it."""
        self._trades = trades
        self._lost_trades: list[kf.Gap] = []

    def take(self, event: kf.Event) -> None:
        """The replay's next event."""
        if self._ended:
            return
        if event.at_ms != self._at_ms:
            self._close(event.at_ms)
            self._at_ms, self._replayed = event.at_ms, 0
        if isinstance(event, kf.Change):
            self._change(event)
        elif isinstance(event, kf.Trade):
            self._trade(event)
        elif isinstance(event, kf.Gap) and event.channel != BOOK_CHANNEL:
            self._lost_trades.append(event)
        elif isinstance(event, kf.Gap):
            if event.at_ms > self.truth.last_ms:  # nobody listens any more
                self._ended = True
                return
            self._reason, self._replayed = event.reason, LAST
        else:
            self._ever_known, self._replayed = True, LAST
        self._state.apply(event)

    def end(self) -> None:
        """There are no more events."""
        self._close(NEVER_MS)
        self._compare(self.truth.last_ms, [self._true])
        for id_ in self._trades:
            at_ms = self.truth.trades[id_][1]
            gaps = [gap for gap in self._lost_trades if gap.at_ms <= at_ms < gap.until_ms]
            if any(gap.reason in FIRST_BOOK or not self.strict for gap in gaps):
                self.check.listed += 1
            else:
                self.check.fail(f"{self.ticker} {at_ms}: trade {id_} is not replayed")

    def _change(self, event: kf.Change) -> None:
        self._replayed += 1
        true = self.truth.deltas.get((self.ticker, event.at_ms, event.ordinal))
        if true is None or (event.side, event.price, event.delta) != (true[0], _price(true[1]), _size(true[2])):
            self.check.fail(f"{event}: {true} on the exchange")

    def _trade(self, event: kf.Trade) -> None:
        true = self.truth.trades.get(event.trade_id)
        said = (event.ticker, event.at_ms, event.yes_price, event.count, event.taker_side, event.is_block)
        if event.trade_id not in self._trades:
            self.check.fail(f"{event}: twice, or not on the exchange")
        elif true is None or said != (*true[:2], _price(true[2]), _size(true[3]), *true[4:]):
            self.check.fail(f"{event}: {true} on the exchange")
        self._trades.discard(event.trade_id)
        self.replayed_trades += 1

    def _close(self, until_ms: int) -> None:
        """All milliseconds before one are over."""
        while self._group is not None and self._group[0] < until_ms:
            at_ms, happened = self._group
            self._group = next(self._groups, None)
            changes = 0
            earlier: list[LogBook] = []
            for one in happened:
                if one.shown is None:
                    self._true.apply(one.side, one.price, one.delta)
                    changes, earlier = changes + 1, []
                else:  # it may have been seen later: until then the book is the one before
                    earlier.append(self._true)
                    self._true = one.shown
            if not changes or at_ms < self.from_ms:
                continue
            self._compare(at_ms, [*earlier, self._true])
            replayed = self._replayed if at_ms == self._at_ms else 0
            if self._state.known and replayed < changes:
                self.check.fail(f"{self.ticker} {at_ms}: {replayed} changes are replayed, {changes} on the exchange")

    def _compare(self, at_ms: int, allowed: list[LogBook]) -> None:
        if self._state.known:
            self.groups += 1
            if (found := LogBook(self._state.yes, self._state.no)) not in allowed:
                self.check.fail(f"{self.ticker} {at_ms}: {_first(found, allowed[0])}")
        elif self._reason in UNEXCUSED or (self.strict and (self._ever_known or self._reason not in FIRST_BOOK)):
            self.check.fail(f"{self.ticker} {at_ms}: no book is known: {self._reason or 'nothing is replayed'}")
        else:
            self.check.listed += 1


def _place(event: kf.Event, before: Place) -> Place:
    """Of changes and trades; other events stand where the one before them does."""
    if isinstance(event, kf.Change):
        return event.at_ms, event.ticker, False, event.ordinal, ""
    if isinstance(event, kf.Trade):
        return event.at_ms, event.ticker, True, LAST if event.ordinal is None else event.ordinal, event.trade_id
    same = before[:2] == (event.at_ms, event.ticker)
    return before if same else (event.at_ms, event.ticker, False, -1, "")


def _logs(truth: Truth) -> Iterator[tuple[str, Iterator[Happened]]]:
    """Of each market, what happened in its order."""
    changes: defaultdict[str, list[Identity]] = defaultdict(list)
    for identity in truth.deltas:
        changes[identity[0]].append(identity)
    for ticker in truth.shown:
        yield ticker, _log(truth, changes[ticker], ticker)


def _log(truth: Truth, changes: list[Identity], ticker: str) -> Iterator[Happened]:
    shown = iter([*truth.shown[ticker], (len(changes) + 1, 0, {})])
    after, at_ms, book = next(shown)
    for number in range(len(changes) + 1):
        while after == number:
            yield Happened(at_ms, "", 0, 0, _integers(book))
            after, at_ms, book = next(shown)
        if number < len(changes):
            side, price, delta, _ = truth.deltas[changes[number]]
            yield Happened(changes[number][1], side, _price(price), _size(delta))


def _first(found: LogBook, true: LogBook) -> str:
    for side in ("yes", "no"):
        mine, theirs = getattr(found, side), getattr(true, side)
        for price in sorted({*mine, *theirs}):
            if mine.get(price) != theirs.get(price):
                return f"{side} {price}: {mine.get(price)}, {theirs.get(price)} on the exchange"
    return "equal"


def _integers(book: dict[Level, Decimal]) -> LogBook:
    yes, no = ({_price(p): _size(size) for (s, p), size in book.items() if s == side} for side in ("yes", "no"))
    return LogBook(yes, no)


def _price(dollars: Decimal) -> int:
    return int(dollars * DOLLAR)


def _size(contracts: Decimal) -> int:
    return int(contracts * CONTRACT)
