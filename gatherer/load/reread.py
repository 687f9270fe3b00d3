"""Reading segments once more, from any head whose state is known, into rows: for a reload, and for a rebuild from raw/.

It reads files alone: no database, no clock, and the same rows at every reading. What cannot be derived, and what its
reader cannot store, is searched for as the loader does it: from the head of the present segment forward again.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.text import storable
from gatherer.derive import state
from gatherer.derive.bulk import stretch
from gatherer.derive.bulk.columns import Columns
from gatherer.derive.derivation import Derivation
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.quarantine import REASON_CHARACTERS_MAX
from gatherer.derive.rows import Rows
from gatherer.journal.format import FrameBlock, Position, Record, flat
from gatherer.journal.reader import Chunk, JournalReader
from gatherer.load.bisection import RefusedRecord, RejectBisector

RECOVER_RECORDS: Final = 20_000


@dataclass(frozen=True)
class RereadBatch:
    """What some records became; `end` is the place after them, `received_us` when the last was written."""

    rows: Rows
    end: Position
    received_us: int
    refused: RefusedRecord | None = None


class Rereading:
    """The batches of the wanted segments of a lane's folder, from the head of `first` on, where the state is `begun`.

    What is open there is announced as begun at `adopt_us`. After the last segment everything ends, for the reason
    `ended`. `passing` is called before a segment is read on from: the next one must be in the folder when it returns.
    """

    def __init__(
        self,
        folder: Path,
        first: int,
        wanted: Container[int],
        bounds: BoundsMs,
        begun: state.DerivationState,
        adopt_us: int,
        batch_records: int,
        ended: str,
        passing: Callable[[int], None] = lambda segment: None,
    ) -> None:
        self._folder, self._first, self._wanted, self._bounds = folder, first, wanted, bounds
        self._adopt_us, self._ended, self._passing = adopt_us, ended, passing
        self._bisector = RejectBisector(batch_records)
        self._refused: dict[tuple[int, int], str] = {}
        self._error: Exception | None = None
        self._last_us = 0
        self._enter(first, begun)

    def refuse(self, error: Exception) -> None:
        """The batch that was given last was not stored, for what one of its records is: others come in its place."""
        self._error = error

    def __iter__(self) -> Iterator[RereadBatch]:
        """Every batch, in order. Raises `JournalCorrupt`, and what was refused of a batch without records."""
        self._passing(self._first)
        self._go_to(Position(self._first, 0))
        while True:
            begins = self._reader.place
            chunk = self._reader.read(self._bisector.limit)
            if chunk is None or chunk.segment not in self._wanted:
                self._derivation.cut(self._ended, self._last_us)
                yield from self._without_records(self._reader.place)
                return
            if chunk.segment != self._at:
                begins = Position(chunk.segment, 0)
                if chunk.cut:
                    self._derivation.cut(chunk.cut, chunk.wall_us(0))
                    yield from self._without_records(begins)
                    self._derivation.state = state.fresh(chunk.segment)
                self._passing(chunk.segment)
                self._enter(chunk.segment, self._derivation.state)
            try:
                batch = self._derive(chunk, begins)
            except MemoryError:
                raise
            except Exception as error:  # any: what it is that cannot be derived is found as what is refused
                self._error = error
            else:
                yield batch
            if self._error is not None:
                why, self._error = f"{type(self._error).__name__}: {self._error}", None
                self._bisector.failed(begins, storable(why, REASON_CHARACTERS_MAX))
                self._go_to(begins)
            else:
                self._bisector.stored(chunk.count)

    def _without_records(self, end: Position) -> Iterator[RereadBatch]:
        yield RereadBatch(self._derivation.take(), end, self._last_us)
        if self._error is not None:
            raise self._error

    def _enter(self, segment: int, present: state.DerivationState) -> None:
        """What is after this head can be derived again from here."""
        self._at, self._head = segment, state.dump(present)

    def _go_to(self, place: Position) -> None:
        """The reader and the derivation as they are at a place of the present segment."""
        self._derivation = Derivation(self._bounds, state.load(self._head))
        if self._at == self._first:
            self._derivation.adopt(self._adopt_us)
        self._reader = JournalReader(self._folder, Position(self._at, 0))
        if place == Position(self._at, 0):
            return
        while self._reader.place < place:
            chunk = self._reader.read(RECOVER_RECORDS)
            assert chunk is not None and chunk.segment == self._at, "a segment that was read is gone"
            items = list(until(chunk.items, place.offset))
            apply(self._derivation, self._at, items, self._refused, stretch.ONE_BY_ONE)
            if chunk.end > place:
                self._reader.back_to(place)
        self._derivation.take()

    def _derive(self, chunk: Chunk, begins: Position) -> RereadBatch:
        refused = None
        if chunk.count and (reason := self._bisector.culprit(chunk.count, begins)):
            refused = RefusedRecord(chunk.segment, chunk.end.offset, reason)
            self._refused[chunk.segment, refused.end] = reason
        min_frames = stretch.ONE_BY_ONE if self._bisector.searching else stretch.BULK_MIN_FRAMES
        apply(self._derivation, chunk.segment, chunk.items, self._refused, min_frames)
        self._last_us = chunk.wall_us(self._last_us, last=True)
        return RereadBatch(self._derivation.take(), chunk.end, self._last_us, refused)


def apply(
    derivation: Derivation,
    segment: int,
    items: list[Record | FrameBlock],
    refused: Mapping[tuple[int, int], str],
    min_frames: int,
    parts: Iterable[Record | Columns] | None = None,
) -> None:
    """Records and blocks (`parts`, if they are prepared already), less what was refused, by segment and end."""
    ends = [end for of, end in refused if of == segment]
    for item in items:
        first = item.start if isinstance(item, FrameBlock) else item.end - 1
        if any(first < end <= item.end for end in ends):
            break
    else:
        for part in stretch.prepare(items, min_frames) if parts is None else parts:
            stretch.apply_part(derivation, part)
        return
    for record in flat(items):
        reason = refused.get((segment, record.end))
        if reason is None:
            derivation.apply(record)
        else:
            derivation.refuse(record, reason)


def until(items: list[Record | FrameBlock], offset: int) -> Iterator[Record | FrameBlock]:
    """What ends at `offset` or before; of the block around it, the frames."""
    for item in items:
        if item.end <= offset:
            yield item
        elif isinstance(item, FrameBlock):
            yield from (record for record in item.records() if record.end <= offset)
