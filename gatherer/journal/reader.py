"""Following the journal from a place, across segments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from common.errors import JournalCorrupt
from gatherer.journal.format import MAGIC, Kind, Place, Record, SegmentHeader, decode
from gatherer.journal.writer import segment_file, segments

READ_BYTES: Final = 8 << 20


@dataclass(frozen=True)
class Chunk:
    """Records of one segment, in order. `cut` says why everything before the first of them is cut off from it:
    all runs end there. `at_head` tells that the chunk starts at the head of a segment."""

    segment: int
    records: list[Record]
    end: Place
    cut: str | None
    at_head: bool
    continues: bool


class JournalReader:
    """Reads a lane's journal forward. It never waits: a chunk without records means that there are none yet."""

    def __init__(self, folder: Path, place: Place | None) -> None:
        self.folder = folder
        present = segments(folder)
        self._cut: str | None = None
        if place is None:
            self._segment, self._offset = (present[0] if present else 0), 0
        else:
            self._segment, self._offset = place.segment, place.offset
            if place.segment not in present:
                later = [n for n in present if n > place.segment]
                self._cut = "segment_missing"
                self._segment, self._offset = (later[0] if later else 0), 0
            elif segment_file(folder, place.segment).stat().st_size < place.offset:
                # The disk lost a tail that the database had already taken in: go on with the next segment.
                self._cut = "journal_shorter_than_place"
                later = [n for n in present if n > place.segment]
                self._segment, self._offset = (later[0] if later else 0), 0
        self._ended = False
        self._finished = False  # the present segment has its SEALED or CLOSED record

    @property
    def place(self) -> Place:
        """Where the next record will be read."""
        return Place(self._segment, self._offset)

    def read(self, limit: int) -> Chunk | None:
        """Up to `limit` records of one segment, or None if there is nothing new."""
        if self._segment == 0 and not self._find_first():
            return None
        file = segment_file(self.folder, self._segment)
        at_head = self._offset == 0
        records: list[Record] = []
        header: SegmentHeader | None = None
        with file.open("rb") as source:
            source.seek(self._offset)
            want = READ_BYTES
            while True:
                source.seek(self._offset)
                data = source.read(want)
                start = 0
                if at_head:
                    if len(data) < len(MAGIC):
                        return self._next_segment(limit)
                    if data[: len(MAGIC)] != MAGIC:
                        raise JournalCorrupt(f"{file} is not a segment of this journal format")
                    start = len(MAGIC)
                for record in decode(data, start, self._offset):
                    records.append(record)
                    if len(records) >= limit:
                        break
                if records or len(data) < want:
                    break
                want *= 4  # one record larger than the read
        if not records:
            return self._next_segment(limit)
        self._offset = records[-1].end
        if at_head:
            header = msgspec.json.decode(records[0].payload, type=SegmentHeader)
            records = records[1:]
        if records and records[-1].kind in (Kind.SEALED, Kind.CLOSED):
            self._finished = True
        cut, self._cut = self._cut, None
        if header is not None and not header.continues and cut is None:
            cut = "process_started"
        return Chunk(self._segment, records, self.place, cut, at_head, header.continues if header else True)

    def _find_first(self) -> bool:
        present = segments(self.folder)
        if not present:
            return False
        self._segment, self._offset = present[0], 0
        return True

    def _next_segment(self, limit: int) -> Chunk | None:
        """Step to the next segment, if this one is finished or was cut off (a later one exists)."""
        later = [n for n in segments(self.folder) if n > self._segment]
        if not later:
            return None
        if not self._finished and not self._grew():
            self._cut = "torn_tail"
        elif not self._finished:
            return None
        self._segment, self._offset, self._finished = later[0], 0, False
        return self.read(limit)

    def _grew(self) -> bool:
        """Whether whole records were appended since the last look: a roll may have happened in between."""
        data = segment_file(self.folder, self._segment).read_bytes()[self._offset :]
        start = len(MAGIC) if self._offset == 0 else 0
        return next(decode(data, start), None) is not None
