"""REST books against the folded ones (rule 8).

A REST book carries no time: it is right if it equals the folded book at any instant of its request. REST may lag
the stream, so that states are remembered from some time before it.
"""

from __future__ import annotations

from common import levels
from common.contract.sides import NO, YES
from gatherer.derive.rows import RestBookRow, Rows
from gatherer.derive.state import Run, Slice, WatchedBook
from gatherer.journal.format import RestBook


def watch(run: Run, at_us: int) -> None:
    """REST will be asked: from now on every state of the run's book may be the answer. `at_us`: the local clock."""
    pending = run.watched is not None and run.watched.asked_hash is not None
    if run.book is not None and run.claiming and not pending:
        now = levels.book_hash(run.book)
        run.watched = WatchedBook(now, {now}, began_us=at_us)


def changed(out: Rows, run: Run, key: int, delta: int) -> None:
    """A level of a watched book changed."""
    assert run.watched is not None
    _now(out, run, levels.hash_changed(run.watched.hash, key, delta))


def replaced(out: Rows, run: Run) -> None:
    """A snapshot replaced a watched book."""
    assert run.book is not None
    _now(out, run, levels.book_hash(run.book))


def _now(out: Rows, run: Run, present: int) -> None:
    watched = run.watched
    assert watched is not None
    watched.hash = present
    if watched.asked_hash is None:
        watched.seen.add(present)
    elif watched.asked_hash == present:
        _verdict(out, run, 1)


def answer(out: Rows, slice_: Slice | None, run: Run | None, book: RestBook, margin_ms: int) -> None:
    """REST's answer; raises `NumberError` for levels that are no exact numbers."""
    parsed = levels.parse_levels(book.yes, book.no)
    yes, no = levels.flat(parsed, YES), levels.flat(parsed, NO)
    watched = run.watched if run is not None else None
    if run is not None and watched is not None and watched.began_us > book.requested_us:
        # The recorder stood still: what the book was when REST was asked, nobody has seen.
        run.watched = watched = None
    if slice_ is None or run is None or watched is None or watched.asked_hash is not None:
        out.rest_books.append(RestBookRow(book.ticker, book.requested_us, book.answered_us, -1, yes, no))
        out.checked("rest_book", -1)
        return
    watched.asked_hash = levels.book_hash(parsed)
    watched.requested_us, watched.answered_us, watched.yes, watched.no = book.requested_us, book.answered_us, yes, no
    watched.until_ms = book.answered_us // 1000 + margin_ms
    if watched.asked_hash in watched.seen:
        _verdict(out, run, 1)
        return
    watched.seen.clear()
    slice_.awaiting_rest.append(run.ticker)


def proven(out: Rows, slice_: Slice) -> None:
    """The horizon moved: answers that no state met although the stream is complete past them are wrong."""
    waiting = []
    for ticker in slice_.awaiting_rest:
        run = slice_.runs.get(ticker)
        if run is None or run.watched is None or run.watched.asked_hash is None:
            continue
        if slice_.horizon_ms >= run.watched.until_ms:
            out.alarm("rest_book_disagrees")
            _verdict(out, run, 0)
        else:
            waiting.append(ticker)
    slice_.awaiting_rest = waiting


def run_ended(out: Rows, run: Run) -> None:
    """What was not met by now can no longer be compared."""
    if run.watched is not None and run.watched.asked_hash is not None:
        _verdict(out, run, -1)
    run.watched = None


def _verdict(out: Rows, run: Run, agrees: int) -> None:
    watched, run.watched = run.watched, None
    assert watched is not None
    out.rest_books.append(
        RestBookRow(run.ticker, watched.requested_us, watched.answered_us, agrees, watched.yes, watched.no)
    )
    out.checked("rest_book", agrees)
