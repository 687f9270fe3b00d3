"""The markets of a stretch that are steady: their ordinals, counted as columns, and their books, folded level by level.

A market is steady if its run has a book and claims, nothing else than changes comes of it in the stretch, and its
exchange times never step back. From where its ordinals are known, all its changes are rows at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.levels import Book
from gatherer.derive.bulk.calm import CalmSession
from gatherer.derive.bulk.columns import Columns
from gatherer.derive.state import Run

Array = npt.NDArray[Any]
UNKNOWN: Final = Run(0, "", 0)  # stands for the run of a market that has none
LEVEL_BITS: Final = 21  # of 2 * price + side


class Steady:
    """The changes of calm sessions, sorted by market, and which of them become rows at once.

    Of a market: `tickers`, `runs`, `firsts` (where its changes begin), `steady`. Of a change: `index` (which frame),
    `of` (which market), `ordinal`, `taken` (its market is steady, and its ordinal known).
    """

    def __init__(self, columns: Columns, calm: Sequence[CalmSession]) -> None:
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
        runs = [session.slice.runs for session in calm]
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

        A run that has not known an ordinal claims from after its first group (rule 1), and its first group with known
        ordinals gives its book a place: both go one by one. Exchange times must not step back.
        """
        cover = np.array([run.cover_from_ms for run in runs], np.int64)
        known = np.array([run.known for run in runs], bool)
        begun = at[self.firsts]
        if (known & (begun >= cover)).all():
            return cover
        floor = np.array([run.floor_ms for run in runs], np.int64)
        cover = np.where(begun < cover, np.minimum(cover, np.maximum(begun + 1, floor)), cover)
        ends = np.append(self.firsts[1:], len(at))
        first_known = self.firsts + np.add.reduceat(at < cover[self.of], self.firsts, dtype=np.int64)
        return np.where(known, cover, at[np.minimum(first_known, ends - 1)] + 1)

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
        return fold_books(books, self.of[self.taken], 2 * columns.price[rows] + columns.side[rows], columns.delta[rows])


def fold_books(books: list[Book], book: Array, level: Array, delta: Array) -> int:
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
