"""The books of runs: where each has its place, and whether snapshots agree with the folded changes.

A book's place is (millisecond, ordinal): after all changes up to there. A run's first placed book is its `base`: just
before the first group with known ordinals that begins after the book came, or where the book is known to hold, once the
horizon has passed that without a change. Later snapshots are an `audit`, or, if they differ from the folded book while
the run is unbroken, a `reset`.

Books go forward only (rule 15). A snapshot holds from the frame at which it came; what the book was before it does not
follow, not even from the changes between: a close, a pause or a settlement empties a book without any.
"""

from __future__ import annotations

from common import levels
from common.contract.sides import NO, YES
from common.exchange import frames
from common.levels import Book
from gatherer.derive.rows import Rows, SnapshotRow
from gatherer.derive.state import Run, Slice


def group_begins(out: Rows, run: Run, at_ms: int) -> None:
    """A group with known ordinals begins: its first change is not applied yet."""
    run.count = 0
    run.known = True
    _place_base(out, run, at_ms)


def take(out: Rows, slice_: Slice, run: Run, book: Book, head: frames.Envelope, taken_us: int, from_ms: int) -> None:
    """A snapshot of a run's market arrived: it replaces the book, and is placed where that is certain.

    `from_ms`: from here on it is the book, unless changes come; 0 if the run begins with it.
    """
    before, agrees = run.book, -1
    if before is not None:
        agrees = int(before == book)
        out.checked("stream_book", agrees)
    if agrees != 1:  # an equal one confirms the one before it, which holds from earlier on
        run.book_from_ms = from_ms
    run.book, run.book_seq, run.book_us = book, head.seq or 0, taken_us
    kind = "reset" if agrees == 0 else "audit"
    if run.placed and run.known:
        _row(out, run, book, kind, run.last_ms, run.count - 1, agrees)
    elif run.placed:
        # Quiet since its base was placed: nothing has changed before the claim's beginning or after it.
        _row(out, run, book, kind, run.cover_from_ms, -1, agrees)
    else:
        if agrees == 0:
            out.alarm("unplaced_snapshot_disagrees")
        if run.claiming:
            slice_.awaiting_place[run.ticker] = True


def place_quiet(out: Rows, slice_: Slice) -> None:
    """Books without a change since they came have a place once the horizon passed their beginning."""
    waiting = {}
    for ticker in slice_.awaiting_place:
        run = slice_.runs.get(ticker)
        if run is None or not run.claiming or run.placed:
            continue
        at_ms = max(run.cover_from_ms, run.book_from_ms, run.last_ms + 1)
        if slice_.horizon_ms >= at_ms:
            _place_base(out, run, at_ms)
        else:
            waiting[ticker] = True
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
