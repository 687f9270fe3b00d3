"""Reading segments once more, from any head whose state is known, into rows: for a reload, and for a rebuild from raw/.

It is a generator over files alone: no database, no clock, and the same rows at every reading.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from gatherer.derive import state, stretch
from gatherer.derive.derivation import Derivation
from gatherer.derive.rows import Rows
from gatherer.journal.format import Place
from gatherer.journal.reader import JournalReader


@dataclass(frozen=True)
class Batch:
    """What some records became; `end` is the place behind them, `received_us` when the last was written."""

    rows: Rows
    end: Place
    received_us: int


def reread(
    folder: Path,
    first: int,
    wanted: Container[int],
    derivation: Derivation,
    batch_records: int,
    ended: str,
    passing: Callable[[int], None] = lambda segment: None,
) -> Iterator[Batch]:
    """Derive the wanted segments of a lane's folder, from the head of `first` on, where `derivation` begins.

    Behind the last one everything ends, for the reason `ended`. `passing` is called before a segment is read on from:
    the next one must be in the folder when it returns. Raises `JournalCorrupt`.
    """
    passing(first)
    reader = JournalReader(folder, Place(first, 0))
    last_us = 0
    at = first
    while True:
        chunk = reader.read(batch_records)
        over = chunk is None or chunk.segment not in wanted
        if chunk is not None and not over:
            if chunk.segment != at:
                at = chunk.segment
                passing(at)
            if chunk.segment != first and chunk.cut:
                derivation.cut(chunk.cut, chunk.wall_us(0))
                derivation.state = state.fresh(chunk.segment)
            stretch.apply(derivation, chunk.items)
            last_us = chunk.wall_us(last_us, last=True)
        else:
            derivation.cut(ended, last_us)
        yield Batch(derivation.take(), reader.place, last_us)
        if over:
            return
