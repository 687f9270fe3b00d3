"""Following the journal from a place, across segments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from common.contract.reasons import JOURNAL_SHORTER, PROCESS_STARTED, SEGMENT_MISSING, TORN_TAIL
from common.errors import JournalCorrupt
from gatherer.journal.format import (
    END_PAYLOAD,
    HEAD_BYTES,
    MAGIC,
    FrameBlock,
    Kind,
    Position,
    Record,
    SegmentHeader,
    block_start,
    decode,
    flat,
)
from gatherer.journal.segments import SegmentBytes, segments

READ_BYTES: Final = 16 << 20
EXACT_BELOW: Final = 4096
END_KINDS: Final = (Kind.SEALED, Kind.CLOSED)
END_BYTES: Final = HEAD_BYTES + len(END_PAYLOAD)


@dataclass(frozen=True)
class Chunk:
    """Records of one segment, in order; frames in whole blocks where they were read whole. `cut`: why everything
    before the first of them is cut off from it: all runs end there. `at_head`: the chunk starts at the head
    of a segment."""

    segment: int
    items: list[Record | FrameBlock]
    count: int
    end: Position
    cut: str | None
    at_head: bool
    continues: bool

    @property
    def records(self) -> Iterator[Record]:
        """One by one, also the frames of blocks."""
        return flat(self.items)

    def wall_us(self, otherwise: int, *, last: bool = False) -> int:
        """When its first (or last) record was written, by the local clock; `otherwise` if there is none."""
        if not self.items:
            return otherwise
        item = self.items[-1 if last else 0]
        return int(item.wall_us[-1 if last else 0]) if isinstance(item, FrameBlock) else item.wall_us


class JournalReader:
    """Reads a lane's journal forward. It never waits: a chunk without records means that there are none yet."""

    def __init__(self, folder: Path, place: Position | None) -> None:
        self.folder = folder
        self._cut: str | None = None
        self._segment = self._offset = 0  # 0: the first segment after `_after` is not there yet
        self._after = self._before = 0
        if place is not None and place != Position(0, 0):
            size = SegmentBytes(folder, place.segment).size()
            if size is not None and size >= place.offset:
                self._segment, self._offset = place.segment, place.offset
            else:
                # Removed, or the disk lost a tail that the database had already taken in: continue after it.
                self._cut = SEGMENT_MISSING if size is None else JOURNAL_SHORTER
                self._after = place.segment
        self.unreadable = 0
        """Bytes at the place that were no whole record at the last look, though there is no later segment."""
        self._bytes: SegmentBytes | None = None
        self._bytes_of = -1
        self._base = 0  # where the block begins that holds the offset
        self._align()
        self._finished = self._at_end()  # the present segment's SEALED or CLOSED record was read

    @property
    def place(self) -> Position:
        """Where the next record will be read."""
        return Position(self._segment, self._offset)

    def back_to(self, place: Position) -> None:
        """Read on from an earlier record of the present segment."""
        self._offset = place.offset
        self._align()
        self._finished = self._at_end()

    def read(self, limit: int) -> Chunk | None:
        """Up to `limit` records of one segment, or None if there is nothing new."""
        later: list[int] = []
        while self._segment or self._find_first():
            chunk = self._here(limit)
            if chunk is not None:
                return chunk
            later = later or [n for n in segments(self.folder) if n > self._segment]
            if not later:
                return None
            if not self._finished:
                # All that the segment will ever have was written before the next one was made: it is looked at once
                # more, as a roll may have come between the two looks.
                chunk = self._here(limit)
                if chunk is not None:
                    return chunk
            self._step(later.pop(0))
        return None

    def _here(self, limit: int) -> Chunk | None:
        """Up to `limit` records of the present segment, or None if it has no more whole ones now."""
        at_head = self._offset == 0
        items = self._next_items(limit, at_head=at_head)
        if not items:
            return None
        first, last = items[0], items[-1]
        self._offset = last.end
        self._base = last.end if isinstance(last, FrameBlock) else last.resume
        header = None
        if at_head and isinstance(first, Record):
            header = msgspec.json.decode(first.payload, type=SegmentHeader)
            del items[0]
        if isinstance(last, Record) and last.kind in END_KINDS:
            self._finished = True
        cut, self._cut = self._cut, None
        if header is not None and cut is None:
            cut = self._cut_before(header)
        count = sum(len(item) if isinstance(item, FrameBlock) else 1 for item in items)
        return Chunk(self._segment, items, count, self.place, cut, at_head, header is None or header.continues)

    def _next_items(self, limit: int, *, at_head: bool) -> list[Record | FrameBlock]:
        """The next whole records, about `limit` of them; none if there are none now."""
        self.unreadable = 0
        want = READ_BYTES
        while True:
            try:
                data = self._source().read(self._base, want)
            except FileNotFoundError:
                return []  # one that never held anything is removed when its lane is opened
            if at_head and len(data) < len(MAGIC):
                return []
            if at_head and data[: len(MAGIC)] != MAGIC:
                raise JournalCorrupt(f"{self.folder}, segment {self._segment}: not of this journal format")
            items = self._first(decode(data, len(MAGIC) if at_head else 0, self._base), limit)
            if items:
                return items
            if len(data) < want:
                self.unreadable = self._base + len(data) - self._offset
                return []
            want *= 4  # one record larger than the read

    def _first(self, decoded: Iterator[Record | FrameBlock], limit: int) -> list[Record | FrameBlock]:
        """So much of what lies after the place as has `limit` records. A block is not cut, as what is left of it would
        be decoded twice, unless a few records are wanted."""
        exact = limit < EXACT_BELOW
        items: list[Record | FrameBlock] = []
        count = 0
        for item in self._after_offset(decoded, exact=exact):
            items.append(item)
            count += len(item) if isinstance(item, FrameBlock) else 1
            if count >= limit and (exact or isinstance(item, FrameBlock) or item.resume == item.end):
                break
        return items

    def _cut_before(self, header: SegmentHeader) -> str | None:
        """Why all before this segment is cut off from it, if it is."""
        cut = None
        if not header.continues:
            cut = PROCESS_STARTED
        elif header.follows and header.follows != self._before:
            cut = SEGMENT_MISSING
        return cut

    def _after_offset(self, decoded: Iterator[Record | FrameBlock], *, exact: bool) -> Iterator[Record | FrameBlock]:
        """What lies after the place; blocks taken apart where it is inside one, or where `exact` is asked for."""
        for item in decoded:
            if item.end <= self._offset:
                continue
            if isinstance(item, FrameBlock) and (exact or item.start < self._offset):
                yield from (record for record in item.records() if record.end > self._offset)
            else:
                yield item

    def _align(self) -> None:
        self._base = self._offset
        if self._segment and self._offset:
            self._base = block_start(self._source().read(0, self._offset + HEAD_BYTES), self._offset)

    def _at_end(self) -> bool:
        start = self._offset - END_BYTES
        if self._segment == 0 or start <= 0:
            return False
        return any(r.kind in END_KINDS for r in flat(decode(self._source().read(start, END_BYTES), 0)))

    def _source(self) -> SegmentBytes:
        if self._bytes is None or self._bytes_of != self._segment:
            self._bytes, self._bytes_of = SegmentBytes(self.folder, self._segment), self._segment
        return self._bytes

    def _find_first(self) -> bool:
        present = [n for n in segments(self.folder) if n > self._after]
        if not present:
            return False
        self._segment, self._offset, self._base = present[0], 0, 0
        return True

    def _step(self, later: int) -> None:
        """Go to the next segment: this one is finished, or was cut off. Of one without a record nothing was lost."""
        if self._offset:
            if not self._finished:
                self._cut = TORN_TAIL
            self._before = self._segment
        self._segment, self._offset, self._base, self._finished = later, 0, 0, False
