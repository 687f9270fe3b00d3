"""Many frames at once: the same as one record after another, for the frames that make up nearly all of a journal.

A session is `calm` in a stretch of frames if its one slice goes on through all of them: changes that are rows,
snapshots, and answers that mean nothing but their number. A market is `steady` if its run has a book, no snapshot
comes, and its exchange times never step back. From where ordinals are known, changes of steady markets become rows
as columns. Everything else goes record by record through the derivation, in the journal's order, and finds its slice
as far proven as it would have been: what numbers runs, and what asks how far the horizon is, cannot tell the
difference.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.distinct import distinct
from common.exchange import frames
from common.exchange.names import possible_ticker
from common.levels import Book
from gatherer.derive import horizon, messages
from gatherer.derive.bulk.columns import Columns
from gatherer.derive.bulk.decoder import NONE
from gatherer.derive.deltas import COLUMNS
from gatherer.derive.derivation import Derivation
from gatherer.derive.messages import PAST_MS_MAX
from gatherer.derive.state import Run, SessionState, Slice
from gatherer.journal.format import Block, Record, flat

Array = npt.NDArray[Any]
FEW: Final = 200  # so few frames are not worth their columns
SINGLY: Final = sys.maxsize  # as `few`: no frames are worth them
ENOUGH: Final = 8192  # more would leave the processor's cache, fewer cost more calls than work
UNKNOWN: Final = Run(0, "", 0)  # stands for the run of a market that has none
LEVEL_BITS: Final = 21  # of 2 * price + side


def apply(derivation: Derivation, items: Iterable[Record | Block], few: int = FEW) -> None:
    """Records and blocks, in order; fewer than `few` frames in a row one by one."""
    for part in prepare(items, few):
        apply_part(derivation, part)


def prepare(items: Iterable[Record | Block], few: int = FEW) -> Iterator[Record | Columns]:
    """What `apply_part` takes, in order. It needs no state, so it can be done ahead of the derivation.

    Whatever the frames are, this raises nothing.
    """
    blocks: list[Block] = []
    count = 0
    for item in items:
        if isinstance(item, Block):
            blocks.append(item)
            count += len(item)
            if count < ENOUGH:
                continue
        yield from _prepared(blocks, few)
        blocks, count = [], 0
        if not isinstance(item, Block):
            yield item
    yield from _prepared(blocks, few)


def _prepared(blocks: list[Block], few: int) -> Iterator[Record | Columns]:
    if sum(map(len, blocks)) < max(few, 1):
        yield from flat(blocks)
        return
    try:
        columns = Columns(blocks)
    except Exception:  # any: one by one each frame is handled or kept apart, and the rows are the same
        yield from flat(blocks)
        return
    if (first := columns.others_first()) >= few:
        # A session that begins here is not calm, and a market whose book comes here not steady: what is behind may be.
        yield from map(columns.record, range(first))
        columns = columns.behind(first)
    if columns.count:
        yield columns


def apply_part(derivation: Derivation, part: Record | Columns) -> None:
    """One record, which raises nothing, or the frames of a stretch. If those do (nobody expects it), the derivation is
    spoilt: one that begins again where it was can apply them one by one."""
    if isinstance(part, Columns):
        _columns(derivation, part)
    else:
        derivation.apply(part)


def _columns(derivation: Derivation, columns: Columns) -> None:
    sessions = (_Session(derivation, columns, index) for index in _by(columns.session))
    calm = [session for session in sessions if session.calm]
    steady = _Steady(columns, calm)
    before = np.zeros(columns.count, np.int64)  # the horizon that each frame of a calm session finds
    for session in calm:
        session.horizons(derivation, columns, before)
    rows_before = len(derivation.out.deltas)
    became = _one_by_one(derivation, columns, calm, steady, before)
    _at_once(derivation, columns, steady, before, became, rows_before)
    for session in calm:
        session.end(derivation)


def _by(keys: Array) -> list[Array]:
    """Where each key stands, in order."""
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)


class _Session:
    """One session's frames of the stretch: `index` tells which."""

    def __init__(self, derivation: Derivation, columns: Columns, index: Array) -> None:
        self.index = index
        self.hit: set[str] = set()  # markets that a frame beside the changes is about
        self.heads: dict[int, frames.Head] = {}
        self.state: SessionState | None = derivation.state.sessions.get(int(columns.session[index[0]]))
        self.slice: Slice | None = None
        self.calm = self._is_calm(columns)

    def _is_calm(self, columns: Columns) -> bool:
        if self.state is None:
            return False
        others = self.index[~columns.plain[self.index]].tolist()
        if len(others) * 2 > len(self.index):
            return False
        sids = distinct(columns.sid[self.index[columns.plain[self.index]]])
        if len(sids) != 1:
            return False
        slice_ = self.slice = self.state.slices.get(int(sids[0]))
        if slice_ is None or slice_.channel != frames.ORDERBOOK or slice_.awaiting_first:
            return False
        if not all(self._harmless(columns, slice_, number) for number in others):
            return False
        seq, sending = columns.seq[self.index], columns.sending_ms[self.index]
        if not (seq == slice_.next_seq + np.arange(len(seq))).all():
            return False
        if (sending == NONE).all():
            return True  # then it has changes only
        return bool((np.abs(sending - columns.wall_us[self.index] // 1000) <= PAST_MS_MAX).all())

    def _harmless(self, columns: Columns, slice_: Slice, number: int) -> bool:
        """A frame that touches one market, or none; its number and sending time join the columns."""
        assert self.state is not None
        head = frames.head(columns.record(number).payload)
        if head is None or head.sid != slice_.sid or head.seq is None or head.sending_ts_ms is None:
            return False
        if not (0 < head.seq < 1 << 53 and 0 <= head.sending_ts_ms < 1 << 53):
            return False
        if head.type == "orderbook_snapshot":
            ticker = messages.named_market(head)
            if ticker is None or not possible_ticker(ticker):
                return False
            self.hit.add(ticker)
        elif head.type != "ok" or self._changes_markets(head.id):
            return False
        self.heads[number] = head
        columns.seq[number], columns.sending_ms[number] = head.seq, head.sending_ts_ms
        return True

    def _changes_markets(self, id_: int | None) -> bool:
        """Whether an answer to this command changes what is held."""
        assert self.state is not None
        asked = self.state.asked.get(id_) if id_ is not None else None
        return asked is not None and bool(asked.tickers)

    def horizons(self, derivation: Derivation, columns: Columns, before: Array) -> None:
        """Fill in the horizon that each frame finds, and measure the bounds."""
        assert self.slice is not None
        sending = columns.sending_ms[self.index]
        after = horizon.advance_all(
            derivation.out,
            derivation.bounds,
            self.slice,
            columns.wall_us[self.index] // 1000,
            None if sending[0] == NONE else sending,
            np.where(columns.plain[self.index], columns.at_ms[self.index], -1),
        )
        before[self.index[1:]] = after[:-1]
        before[self.index[0]] = self.slice.horizon_ms
        self._seen_us = int(columns.wall_us[self.index[columns.plain[self.index]][-1]])
        self._reached_ms, self._next_seq = int(after[-1]), int(columns.seq[self.index[-1]]) + 1

    def end(self, derivation: Derivation) -> None:
        """All its frames are applied."""
        assert self.slice is not None
        self.slice.next_seq, self.slice.seen_us = self._next_seq, self._seen_us
        horizon.reached(derivation.out, self.slice, self._reached_ms)


class _Steady:
    """The changes of calm sessions, sorted by market, and which of them become rows at once.

    Of a market: `tickers`, `runs`, `firsts` (where its changes begin), `steady`. Of a change: `index` (which frame),
    `of` (which market), `ordinal`, `taken` (its market is steady, and its ordinal known).
    """

    def __init__(self, columns: Columns, calm: list[_Session]) -> None:
        parts = [session.index[columns.plain[session.index]] for session in calm]
        places = np.repeat(np.arange(len(calm)), [len(part) for part in parts])
        index = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        key = places * len(columns.tickers) + columns.code[index]
        if len(calm) * len(columns.tickers) < 1 << 16:
            key = key.astype(np.uint16)  # sorted in a third of the time
        order = np.argsort(key, kind="stable")
        self.index, key = index[order], key[order]
        self._begins = np.concatenate(([True], key[1:] != key[:-1]))[: len(key)]
        self.firsts = np.flatnonzero(self._begins)
        self.of = np.cumsum(self._begins) - 1
        codes, places = columns.code[self.index[self.firsts]].tolist(), places[order[self.firsts]].tolist()
        self.tickers = [columns.tickers[code] for code in codes]
        runs = [session.slice.runs if session.slice else {} for session in calm]
        self.runs = [runs[place].get(ticker) for place, ticker in zip(places, self.tickers, strict=True)]
        hit = np.zeros(len(places), bool)
        if any(session.hit for session in calm):
            hit[:] = [ticker in calm[place].hit for place, ticker in zip(places, self.tickers, strict=True)]
        self._count(columns.at_ms[self.index], hit)

    def _count(self, at: Array, hit: Array) -> None:
        """Ordinals, and which changes of which markets are taken."""
        begins, firsts = self._begins, self.firsts
        lasts = np.append(firsts[1:], len(at))[: len(firsts)] - 1
        known = [run or UNKNOWN for run in self.runs]
        last = np.array([run.last_ms for run in known], np.int64)
        counted = np.array([run.count for run in known], np.int64)
        previous = np.concatenate(([0], at))[: len(at)]
        previous[firsts] = last
        moved = at != previous
        place = np.arange(len(at))
        group = np.maximum.accumulate(np.where(moved | begins, place, 0))
        self.ordinal = place - group + np.where(moved[group], 0, counted[self.of])
        steps_back = np.zeros(len(firsts), bool)
        steps_back[self.of[at < previous]] = True
        eligible = np.array([_may_be_steady(run) for run in known], bool)
        from_ms = self._known_from(at, known)
        self.steady = eligible & ~hit & ~steps_back & (at[lasts] >= from_ms)
        self.taken = self.steady[self.of]
        if (at[firsts] < from_ms).any():
            self.taken &= at >= from_ms[self.of]

    def _known_from(self, at: Array, runs: list[Run]) -> Array:
        """From which exchange time on a market's changes here have known ordinals, and its book a place.

        A run that has not known an ordinal claims from behind its first group (rule 1), and its first group with known
        ordinals gives its book a place: both go one by one. Exchange times must not step back.
        """
        cover = np.array([run.cover_from_ms for run in runs], np.int64)
        known = np.array([run.known for run in runs], bool)
        begun = at[self.firsts]
        if (known & (begun >= cover)).all():
            return cover
        floor = np.array([run.floor_ms for run in runs], np.int64)
        cover = np.where(begun < cover, np.minimum(cover, np.maximum(begun + 1, floor)), cover)
        behind = np.append(self.firsts[1:], len(at))
        first_known = self.firsts + np.add.reduceat(at < cover[self.of], self.firsts, dtype=np.int64)
        return np.where(known, cover, at[np.minimum(first_known, behind - 1)] + 1)

    def fold(self, columns: Columns, touched: dict[int, Run]) -> int:
        """Apply the changes to the books of steady runs, which join `touched`; returns how often a level became
        negative."""
        steady = np.flatnonzero(self.steady)
        last = np.append(self.firsts[1:], len(self.of))[steady] - 1
        at, counts = columns.at_ms[self.index[last]].tolist(), (self.ordinal[last] + 1).tolist()
        books: list[Book] = [{}] * len(self.runs)
        for market, ms, count in zip(steady.tolist(), at, counts, strict=True):
            run = self.runs[market]
            assert run is not None and run.book is not None
            run.last_ms, run.count = ms, count
            touched[run.run] = run
            books[market] = run.book
        rows = self.index[self.taken]
        return _fold(books, self.of[self.taken], 2 * columns.price[rows] + columns.side[rows], columns.delta[rows])


def _fold(books: list[Book], book: Array, level: Array, delta: Array) -> int:
    """Apply changes, in order, to levels of books (places in `books`); returns how often one became negative."""
    if not len(book):
        return 0
    key = book << LEVEL_BITS | level
    order = np.argsort(key, kind="stable")
    key, delta = key[order], delta[order]
    begins = np.concatenate(([True], key[1:] != key[:-1]))
    firsts = np.flatnonzero(begins)
    of, level = key[firsts] >> LEVEL_BITS, key[firsts] & ((1 << LEVEL_BITS) - 1)
    known = map(dict.get, map(books.__getitem__, of.tolist()), level.tolist(), itertools.repeat(0))
    before = np.fromiter(known, np.int64, len(of))
    # The size after each change: the sum of all so far, less what came before the level's first.
    total = np.cumsum(delta)
    size = total + (before - total[firsts] + delta[firsts])[np.cumsum(begins) - 1]
    after = size[np.append(firsts[1:], len(size)) - 1]
    moved = np.flatnonzero(after != before)  # many an order is gone again after a few frames
    for number, at, left in zip(of[moved].tolist(), level[moved].tolist(), after[moved].tolist(), strict=True):
        if left:  # as `levels.add`
            books[number][at] = left
        else:
            books[number].pop(at, None)
    return int(np.count_nonzero(size < 0))


def _may_be_steady(run: Run) -> bool:
    placed = run.placed or not run.known  # else the next group places it, known or not
    return run.claiming and run.book is not None and run.watched is None and placed


def _one_by_one(
    derivation: Derivation, columns: Columns, calm: list[_Session], steady: _Steady, before: Array
) -> list[int]:
    """What is not steady, in the journal's order; returns the numbers of the frames that became rows."""
    of = np.full(columns.count, -1, np.int64)
    for number, session in enumerate(calm):
        of[session.index] = number
    single = np.ones(columns.count, bool)
    single[steady.index[steady.taken]] = False
    became: list[int] = []
    for number in np.flatnonzero(single).tolist():
        record, count = columns.record(number), len(derivation.out.deltas)
        if of[number] < 0:
            derivation.apply(record)
        else:
            session = calm[of[number]]
            _within(derivation, session, record, session.heads.get(number), int(before[number]))
        if len(derivation.out.deltas) > count:
            became.append(number)
    return became


def _at_once(
    derivation: Derivation, columns: Columns, steady: _Steady, before: Array, became: list[int], rows_before: int
) -> None:
    """The rows of steady markets, sorted in among those of the frames that `became` rows one by one."""
    out = derivation.out
    taken = steady.index[steady.taken]
    if not len(taken):
        return
    runs = np.array([run.run if run else 0 for run in steady.runs], np.int64)
    told = zip(steady.tickers, steady.steady.tolist(), strict=True)
    codes = np.array([out.deltas.code(ticker) if calm else -1 for ticker, calm in told], np.int64)
    of_row = steady.of[steady.taken]
    every = len(taken) == columns.count
    rows = np.arange(columns.count) if every else np.sort(taken)
    back = taken if every else np.searchsorted(rows, taken)
    # What was counted market by market goes back to where the frame stands in the journal.
    counted = {"run": runs[of_row], "code": codes[of_row], "ordinal": steady.ordinal[steady.taken]}
    read = {
        "seq": columns.seq,
        "exchange_ms": columns.at_ms,
        "exchange_us": columns.us,
        "side": columns.side,
        "price": columns.price,
        "delta": columns.delta,
        "received_us": columns.wall_us,
    }
    table = {name: _placed(value, back) for name, value in counted.items()}
    table |= read if every else {name: value[rows] for name, value in read.items()}
    out.alarm("lag_bound_exceeded", int(np.count_nonzero(columns.at_ms[rows] < before[rows])))
    out.alarm("level_negative", steady.fold(columns, derivation.crossed.touched))
    out.frames += len(taken)
    out.delta_frames += len(taken)
    parts = [table[name] for name in COLUMNS]
    if became:
        order = np.argsort(np.concatenate((rows, np.array(became, np.int64))))
        singles = out.deltas.since(rows_before)
        parts = [np.concatenate(both)[order] for both in zip(parts, singles, strict=True)]
    out.deltas.extend(parts)


def _placed(values: Array, places: Array) -> Array:
    placed = np.empty(len(values), np.int64)
    placed[places] = values
    return placed


def _within(
    derivation: Derivation, session: _Session, record: Record, head: frames.Head | None, horizon_ms: int
) -> None:
    """One frame of a calm session: its number and its share in the horizon are dealt with."""
    assert session.state is not None and session.slice is not None
    horizon.reached(derivation.out, session.slice, horizon_ms)
    derivation.out.frames += 1
    derivation.content(session.state, session.slice, record, head or frames.HEAD.decode(record.payload))
