"""The books of runs: where each has its place, and whether snapshots agree with the folded changes.

A book's place is (millisecond, ordinal): after all changes up to there. A run's first placed book is its `base`: just
before its first group with known ordinals, or where its claim begins once the horizon has passed that without a
change. Later snapshots are an `audit`, or, if they differ from the folded book while the run is unbroken, a `reset`.
"""

from __future__ import annotations

from common.exchange import frames
from gatherer.derive import levels
from gatherer.derive.rows import NO, YES, Rows, SnapshotRow
from gatherer.derive.state import Book, Run, Slice


def group_begins(out: Rows, run: Run, at_ms: int) -> None:
    """A group with known ordinals begins: its first change is not applied yet."""
    run.count = 0
    if run.known:
        return
    run.known = True
    if run.book is not None:
        _place_base(out, run, at_ms)
    else:
        run.base_ms = at_ms
        run.net_at_base = dict(run.net or {})


def take(out: Rows, slice_: Slice, run: Run, book: Book, head: frames.Head, taken_us: int) -> None:
    """A snapshot of a run's market arrived: it replaces the book, and is placed where that is certain."""
    before, agrees = run.book, -1
    if before is not None:
        agrees = int(before == book)
        out.checked("stream_book", agrees)
    elif head.id is not None and run.known and run.net is not None and run.net_at_base is not None:
        # An answer to get_snapshot, the first book since the run began: what it was at the run's first known
        # group follows. An unsolicited snapshot may be a reset, from which nothing before it follows.
        base = levels.minus(book, run.net, run.net_at_base)
        if all(size > 0 for size in base.values()):
            run.placed = True
            run.book_seq, run.book_us = head.seq or 0, taken_us
            _row(out, run, base, "base", run.base_ms, -1, -1)
    run.book, run.net, run.net_at_base = book, None, None
    run.book_seq, run.book_us = head.seq or 0, taken_us
    kind = "reset" if agrees == 0 else "audit"
    if run.known:
        _row(out, run, book, kind, run.last_ms, run.count - 1, agrees)
        run.placed = True
    elif run.placed:
        # Quiet since its base was placed: nothing has changed before the claim's beginning or after it.
        _row(out, run, book, kind, run.cover_from_ms, -1, agrees)
    else:
        if agrees == 0:
            out.alarm("unplaced_snapshot_disagrees")
        if run.claiming and run.ticker not in slice_.awaiting_place:
            slice_.awaiting_place.append(run.ticker)


def place_quiet(out: Rows, slice_: Slice) -> None:
    """Books of runs without a known change have a place once the horizon passed their beginning."""
    waiting = []
    for ticker in slice_.awaiting_place:
        run = slice_.runs.get(ticker)
        if run is None or not run.claiming or run.placed or run.known:
            continue
        if slice_.horizon_ms >= run.cover_from_ms:
            _place_base(out, run, run.cover_from_ms)
        else:
            waiting.append(ticker)
    slice_.awaiting_place = waiting


def _place_base(out: Rows, run: Run, at_ms: int) -> None:
    """The run's book is that after all changes before `at_ms`."""
    if not run.placed and run.book is not None:
        run.placed = True
        _row(out, run, run.book, "base", at_ms, -1, -1)


def _row(out: Rows, run: Run, book: Book, kind: str, ms: int, ordinal: int, agrees: int) -> None:
    out.snapshots.append(
        SnapshotRow(
            run.run,
            run.ticker,
            run.book_seq,
            kind,
            ms,
            ordinal,
            agrees,
            run.book_us,
            levels.flat(book, YES),
            levels.flat(book, NO),
        )
    )
