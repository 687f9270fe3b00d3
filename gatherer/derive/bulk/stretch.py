"""A stretch of frames at once: the same as one record after another, for the frames that nearly all of a journal is.

Changes of steady markets (`steady`) in calm sessions (`calm`) become rows as columns. Everything else goes record by
record through the derivation, in the journal's order, and finds its slice as far proven as it would have been: what
numbers runs, and what asks how far the horizon is, cannot tell the difference.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.exchange import frames
from gatherer.derive import horizon
from gatherer.derive.bulk.calm import CalmSession
from gatherer.derive.bulk.columns import Columns
from gatherer.derive.bulk.steady import Steady
from gatherer.derive.deltas import COLUMNS
from gatherer.derive.derivation import Derivation
from gatherer.journal.format import FrameBlock, Record, flat

Array = npt.NDArray[Any]
BULK_MIN_FRAMES: Final = 200  # fewer are not worth their columns
BULK_MAX_FRAMES: Final = 8192  # more would leave the processor's cache, fewer cost more calls than work
ONE_BY_ONE: Final = sys.maxsize  # as `min_frames`: no frames are worth their columns


def apply(derivation: Derivation, items: Iterable[Record | FrameBlock], min_frames: int = BULK_MIN_FRAMES) -> None:
    """Records and blocks, in order; fewer than `min_frames` frames in a row one by one."""
    for part in prepare(items, min_frames):
        apply_part(derivation, part)


def prepare(items: Iterable[Record | FrameBlock], min_frames: int = BULK_MIN_FRAMES) -> Iterator[Record | Columns]:
    """What `apply_part` takes, in order. It needs no state, so it can be done ahead of the derivation.

    Whatever the frames are, this raises nothing.
    """
    blocks: list[FrameBlock] = []
    count = 0
    for item in items:
        if isinstance(item, FrameBlock):
            blocks.append(item)
            count += len(item)
            if count < BULK_MAX_FRAMES:
                continue
        yield from _prepared(blocks, min_frames)
        blocks, count = [], 0
        if not isinstance(item, FrameBlock):
            yield item
    yield from _prepared(blocks, min_frames)


def apply_part(derivation: Derivation, part: Record | Columns) -> None:
    """One record, which raises nothing, or the frames of a stretch. If those raise (which is not expected), the
    derivation is spoilt: one that begins again where it was can apply them one by one."""
    if isinstance(part, Columns):
        _columns(derivation, part)
    else:
        derivation.apply(part)


def _prepared(blocks: list[FrameBlock], min_frames: int) -> Iterator[Record | Columns]:
    if sum(map(len, blocks)) < max(min_frames, 1):
        yield from flat(blocks)
        return
    try:
        columns = Columns(blocks)
    except Exception:  # any: one by one each frame is handled or kept apart, and the rows are the same
        yield from flat(blocks)
        return
    if (first := columns.others_first()) >= min_frames:
        # A session that begins here is not calm, and a market whose book comes here not steady: what follows may be.
        yield from map(columns.record, range(first))
        columns = columns.after(first)
    if columns.count:
        yield columns


def _columns(derivation: Derivation, columns: Columns) -> None:
    out = derivation.out
    found = (CalmSession.of(derivation.state, columns, index) for index in _by(columns.session))
    calm = [session for session in found if session is not None]
    steady = Steady(columns, calm)
    before = np.zeros(columns.count, np.int64)  # the horizon that each frame of a calm session finds
    for session in calm:
        session.horizons(out, derivation.runs.bounds, columns, before)
    rows_before = len(out.deltas)
    became = _one_by_one(derivation, columns, calm, steady, before)
    _at_once(derivation, columns, steady, before, became, rows_before)
    for session in calm:
        session.end(out)


def _by(keys: Array) -> list[Array]:
    """Where each key stands, in order."""
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)


def _one_by_one(
    derivation: Derivation, columns: Columns, calm: list[CalmSession], steady: Steady, before: Array
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
    derivation: Derivation, columns: Columns, steady: Steady, before: Array, became: list[int], rows_before: int
) -> None:
    """The rows of steady markets, sorted in among those of the frames that `became` rows one by one."""
    out = derivation.out
    taken = steady.index[steady.taken]
    if not len(taken):
        return
    runs = np.array([run.run if run else 0 for run in steady.runs], np.int64)
    known = zip(steady.tickers, steady.steady.tolist(), strict=True)
    codes = np.array([out.deltas.code(ticker) if calm else -1 for ticker, calm in known], np.int64)
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
    out.alarm("level_negative", steady.fold(columns, derivation.contents.crossed.touched))
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
    derivation: Derivation, session: CalmSession, record: Record, head: frames.Envelope | None, horizon_ms: int
) -> None:
    """One frame of a calm session: its number and its share in the horizon are dealt with."""
    horizon.reached(derivation.out, session.slice, horizon_ms)
    derivation.out.frames += 1
    derivation.contents.numbered(session.state, session.slice, record, head or frames.HEAD.decode(record.payload))
