"""Rule 8 over an hour: the columnar check finds what folding book by book finds, and the spool gives the order."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from common.book_hash import mix64, terms
from common.errors import StorageError
from common.numbers import HOUR_MS
from deduplicator.archive.books import NEAR_RESET_MS, BookChecks, PlacedBooks, Stretches
from deduplicator.archive.late import Late
from deduplicator.archive.order import Order, Rows, rows_of
from deduplicator.archive.spool import Spool
from tests.support.scale import LONG

SEEDS = 400 if LONG else 40
START = 1_700_000_000_000 // HOUR_MS * HOUR_MS
NAMES = ["KXA", "KXB", "KXC"]


class Shown(NamedTuple):
    """A book that somebody showed."""

    code: int
    ms: int
    ordinal: int
    book: dict[tuple[int, int], int]
    is_reset: bool
    taken: int


def hour_of(rng: random.Random) -> tuple[list[tuple[int, ...]], list[Shown], list[tuple[int, int, int]]]:
    """Changes (code, ms, ordinal, side, price, delta), books, gaps; some changes are missing."""
    changes: list[tuple[int, ...]] = []
    shown: list[Shown] = []
    gaps: list[tuple[int, int, int]] = []
    for code in range(len(NAMES)):
        book = {(rng.randint(0, 1), rng.randint(1, 9999)): rng.randint(1, 1 << 40) for _ in range(rng.randint(0, 4))}
        if rng.random() < 0.7:
            shown.append(Shown(code, START - 1, 0, dict(book), False, -1))
        ms, ordinal = START, -1
        for _ in range(rng.randint(0, 40)):
            step = rng.choice((0, 0, 1, 40_000))
            ms, ordinal = (ms, ordinal + 1) if not step and ordinal >= 0 else (ms + step, 0)
            if rng.random() < 0.04:  # the exchange replaces the book, perhaps of a market that was quiet
                taken = ms + rng.choice((0, 100_000))
                before, book = quiet(rng, code, book, ms, taken), {(0, 5): 7}
                after = quiet(rng, code, book, taken, taken + 100_000)
                shown += [*before, Shown(code, ms, ordinal, dict(book), True, taken), *after]
                ms, ordinal = max(taken, *(s.ms for s in after), 0) + 1, 0
            level = (rng.randint(0, 1), rng.randint(1, 20))
            delta = rng.choice((rng.randint(1, 9), -book.get(level, 0) or 3))
            book[level] = book.get(level, 0) + delta
            if rng.random() > 0.03:
                changes.append((code, ms, ordinal, *level, delta))
            elif rng.random() < 0.5:
                gaps.append((code, ms, ms + 1))
            if rng.random() < 0.3:
                shown.append(Shown(code, ms, ordinal, {key: size for key, size in book.items() if size}, False, ms))
    return changes, shown, gaps


def quiet(rng: random.Random, code: int, book: dict[tuple[int, int], int], ms: int, until: int) -> list[Shown]:
    """First books of runs that begin while nothing changes."""
    level = {key: size for key, size in book.items() if size}
    times = sorted(rng.randint(ms, until) for _ in range(rng.randint(0, 2)))
    return [Shown(code, at, -1, level, False, at) for at in times if ms < at < until]


def folded(
    changes: list[tuple[int, ...]], shown: list[Shown], gaps: list[tuple[int, int, int]]
) -> tuple[int, list[tuple[int, int]]]:
    """The same, one change after the other: how many were compared, and which are wrong."""
    compared, wrong = 0, []
    for code in range(len(NAMES)):
        mine = [s for s in shown if s.code == code]
        places = [(change[1], change[2]) for change in changes if change[0] == code]
        before = {id(s): sum(place <= (s.ms, s.ordinal) for place in places) for s in mine}
        resets = [at for s in mine if s.is_reset for at in (s.ms, s.taken)]
        book: dict[tuple[int, int], int] = {}
        known: int | None = None
        rest, done = [change for change in changes if change[0] == code], 0
        for s in sorted(mine, key=lambda s: (before[id(s)], s.taken, s.is_reset)):
            for _, _, _, side, price, delta in rest[done : before[id(s)]]:
                book[(side, price)] = book.get((side, price), 0) + delta
            cut = known is None or any(c == code and a < max(s.ms, known) and min(s.ms, known) < b for c, a, b in gaps)
            near = any(abs(at - reset) <= NEAR_RESET_MS for reset in resets for at in (s.ms, s.taken))
            if not (cut or s.is_reset or near):
                compared += 1
                if {key: size for key, size in book.items() if size} != s.book:
                    wrong.append((code, s.ms))
            book, known, done = dict(s.book), s.ms, before[id(s)]
    return compared, wrong


def columnar(
    changes: list[tuple[int, ...]], shown: list[Shown], gaps: list[tuple[int, int, int]], cuts: list[int]
) -> tuple[int, list[tuple[int, int]]]:
    """As the export does it, in blocks."""
    order = Order(NAMES, START)
    shown = sorted(shown, key=lambda s: (s.code, s.ms, s.ordinal))
    code, ms, ordinal = (np.array([s[n] for s in shown], np.int64) for n in range(3))
    before = ms < START
    after = order.keys(code, np.maximum(ms, START), ordinal + 1)
    key = np.where(before, order.first(code), after)
    hashes = [sum(mix64(2 * p + side) * size for (side, p), size in s.book.items()) % (1 << 64) for s in shown]
    taken = np.array([s.taken * 1000 if s.taken >= 0 else -1 for s in shown], np.int64)
    books = PlacedBooks(code, ms, key, taken, np.array(hashes, np.uint64), np.array([s.is_reset for s in shown], bool))
    shuffled = np.random.default_rng(1).permutation(len(shown))
    checks = BookChecks(order, PlacedBooks._make(column[shuffled] for column in books))
    rows = changed(order, changes)
    for block in np.split(rows, cuts):
        checks.add(block)
    columns = [np.array(column, np.int64) for column in zip(*gaps, strict=True)] or [np.empty(0, np.int64)] * 3
    reset, seen = books.is_reset, np.array([s.taken for s in shown], np.int64)
    at = np.concatenate((ms[reset], seen[reset]))
    return checks.result(Stretches(*columns), Stretches(np.tile(code[reset], 2), at, at))


def changed(order: Order, changes: list[tuple[int, ...]]) -> Rows:
    """Rows of changes, in the order that they come in."""
    table = np.array(changes, np.int64).reshape(-1, 6).T
    nothing = np.zeros(table.shape[1], np.int64)
    columns = {"side": table[3], "price": table[4], "delta": table[5], "received_us": nothing, "exchange_us": nothing}
    return rows_of(order.keys(table[0], table[1], table[2]), columns)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_columnar_check_is_the_fold(seed: int) -> None:
    """Wherever the blocks are cut: the same books are compared, and the same are wrong."""
    rng = random.Random(seed)
    changes, shown, gaps = hour_of(rng)
    cuts = sorted(rng.randint(0, len(changes)) for _ in range(rng.randint(0, 5)))
    compared, wrong = columnar(changes, shown, gaps, cuts)
    assert (compared, sorted(wrong)) == tuple(folded(changes, shown, gaps))


def test_the_seeds_hold_what_is_to_be_found() -> None:
    """Books that agree, and books that do not."""
    results = [folded(*hour_of(random.Random(seed))) for seed in range(SEEDS)]
    assert sum(compared for compared, _ in results) > 5 * SEEDS
    assert sum(len(wrong) for _, wrong in results) > SEEDS / 4


def test_columns_of_terms_are_the_scalar_hash() -> None:
    """Also of what is taken away, modulo 2^64."""
    rng = random.Random(3)
    levels = [(rng.randint(0, 1), rng.randint(0, 10_000), rng.randint(-(1 << 50), 1 << 50)) for _ in range(500)]
    side, price, size = (np.array(column, np.int64) for column in zip(*levels, strict=True))
    expected = [mix64(2 * p + s) * n % (1 << 64) for s, p, n in levels]
    assert terms(side.astype(np.int8), price.astype(np.int32), size).tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_a_spool_gives_all_rows_in_order_in_blocks(tmp_path: Path, seed: int) -> None:
    """Runs of any size, of few markets or of half a million; no block is much larger than was asked for."""
    rng = np.random.default_rng(seed)
    key = rng.choice(1 << (40, 54)[seed % 2], 60_000, replace=False)
    columns = {
        name: rng.integers(0, 100, len(key)) for name in ("received_us", "delta", "price", "exchange_us", "side")
    }
    rows = rows_of(key, columns)
    spool = Spool(tmp_path)
    for part in np.split(rows, np.sort(rng.integers(0, len(rows), 6))):
        spool.add(part)
    blocks = list(spool.blocks(16_384))
    assert (np.concatenate(blocks) == rows[np.argsort(key)]).all()
    assert len(blocks) > 2 and max(map(len, blocks)) < 16_384 + 8 * 4096


def test_a_change_that_comes_twice_is_no_archive(tmp_path: Path) -> None:
    """The unique index is the last guard but one."""
    rows = changed(Order(NAMES, START), [(0, START, 0, 0, 1, 1)])
    spool = Spool(tmp_path)
    spool.add(rows)
    spool.add(rows)
    with pytest.raises(StorageError, match="twice"):
        list(spool.blocks(10))


def changes(order: Order, at_ms: int, deltas: list[int]) -> Rows:
    """Changes of one millisecond of the first market."""
    count = len(deltas)
    key = order.keys(np.zeros(count, np.int64), np.full(count, at_ms), np.arange(count))
    same = {name: np.zeros(count, np.int64) for name in ("received_us", "price", "exchange_us", "side")}
    return rows_of(key, {**same, "delta": np.array(deltas)})


def test_late_rows_that_contradict_the_archive_are_counted_and_not_new() -> None:
    """Of another size alone, too; what the archive has is kept."""
    order = Order(["KXA"], HOUR_MS)
    late = Late(changes(order, HOUR_MS + 5, [7, 8, 9]), {})
    late.seen(changes(order, HOUR_MS + 5, [7, 88]))
    assert late.wrong == 1
    assert late.new()["delta"].tolist() == [9]


def test_a_change_of_another_hour_has_no_place_in_this_one() -> None:
    """Its first millisecond is in it, the next hour's first is not."""
    order = Order(["KXA"], HOUR_MS)
    assert len(changes(order, HOUR_MS, [1])) == 1
    for other in (HOUR_MS - 1, 2 * HOUR_MS):
        with pytest.raises(StorageError, match="outside the hour"):
            changes(order, other, [1])


def test_tickers_are_sorted_by_code_point() -> None:
    """As in a manifest, and as readers of Parquet compare strings."""
    order = Order(["KXa", "KXB", "KXA-1", "KXA"], HOUR_MS)
    assert order.names == ["KXA", "KXA-1", "KXB", "KXa"]
    assert order.codes(["KXB", "KXA"]).tolist() == [2, 0]
