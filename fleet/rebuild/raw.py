"""The raw archive: which segments there are, and bringing one here. Its layout: `gatherer/upkeep/upload.py`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import fs

from common.contract.reasons import RAW_ENDED
from common.errors import JournalCorrupt, StorageError
from gatherer.derive import state
from gatherer.derive.horizon import BoundsMs
from gatherer.journal.format import MAGIC
from gatherer.journal.segments import SegmentBytes, packed_file, remove, segment_file, state_file
from gatherer.load import saved_states
from gatherer.load.reread import RereadBatch, Rereading
from kalshi_fleet.place import Location

NAME: Final = re.compile(
    r"gatherer=(?P<gatherer>[^/]+)/(?:.*/)?lane-(?P<lane>\d+)-(?P<segment>\d{12})\.(?P<kind>journal|journal\.zst|state)$"
)


@dataclass(frozen=True)
class Segment:
    """One segment: where it is, its stored size, and where the state at its head is, if that is there."""

    number: int
    path: str
    bytes: int
    state: str | None


@dataclass(frozen=True)
class RawLane:
    """One worker's journal at one gatherer, oldest segment first. Several journals, if its machine was replaced."""

    gatherer: str
    lane: int
    segments: tuple[Segment, ...]

    def __str__(self) -> str:
        return f"{self.gatherer}, lane {self.lane}"


def lanes(place: Location, from_s: int = 0, to_s: int = 1 << 62) -> list[RawLane]:
    """Every lane with the segments that may hold records of [from_s, to_s). Raises `StorageError`.

    A segment's number is the second of its creation; what it holds ends where the next one begins.
    """
    try:
        filesystem, root = place.open()
        found = filesystem.get_file_info(fs.FileSelector(root, recursive=True))
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{place.location} cannot be read: {type(error).__name__}: {error}") from error
    files: defaultdict[tuple[str, int], dict[int, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for entry in found:
        if (match := NAME.search(entry.path)) is not None:
            lane = files[match["gatherer"], int(match["lane"])]
            lane[int(match["segment"])]["state" if match["kind"] == "state" else "journal"] = entry
    result = []
    for (gatherer, number), segments in sorted(files.items()):
        present = [n for n in sorted(segments) if "journal" in segments[n]]
        wanted = [
            Segment(n, segments[n]["journal"].path, segments[n]["journal"].size, _path(segments[n].get("state")))
            for n, end in zip(present, [*present[1:], to_s], strict=True)
            if n < to_s and end > from_s
        ]
        if wanted:
            result.append(RawLane(gatherer, number, tuple(wanted)))
    if not result:
        raise StorageError(f"{place.location} holds no segments of that time; it should hold folders like gatherer=ID/")
    return result


def _path(entry: Any) -> str | None:
    return None if entry is None else str(entry.path)


class LaneReader:
    """One lane, derived segment by segment; only the present one and the next are kept in `folder`."""

    def __init__(self, place: Location, lane: RawLane, folder: Path) -> None:
        self._place, self._lane, self._folder = place, lane, folder
        self._numbers = [segment.number for segment in lane.segments]
        self._filesystem: Any = None
        self.damaged: list[str] = []
        """Segments that could not be read: the runs around each end, as if it had never been there."""
        self._fetched = 0

    def batches(self, bounds: BoundsMs, batch_records: int) -> Iterator[RereadBatch]:
        """Every batch, in order; the last one ends whatever was open. Raises `StorageError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._filesystem, _ = self._place.open()
        first = self._begin()
        if first is None:
            return
        yield from Rereading(
            self._folder,
            first.number,
            frozenset(self._numbers),
            bounds,
            self._state(first),
            first.number * 1_000_000,
            batch_records,
            RAW_ENDED,
            self._passing,
        )
        for number in self._numbers:
            remove(self._folder, number)

    def _begin(self) -> Segment | None:
        """Bring the first segment that can be read."""
        while self._fetched < len(self._lane.segments):
            segment = self._lane.segments[self._fetched]
            if self._fetch():
                return segment
        return None

    def _passing(self, number: int) -> None:
        """Segment `number` is going to be read: the one before is not needed any more, the next one is."""
        at = self._numbers.index(number)
        for done in self._numbers[:at]:
            remove(self._folder, done)
        while self._fetched < len(self._numbers) and not self._fetch():
            continue

    def _fetch(self) -> bool:
        segment = self._lane.segments[self._fetched]
        self._fetched += 1
        packed = segment.path.endswith(".zst")
        target = (packed_file if packed else segment_file)(self._folder, segment.number)
        self._copy(segment.path, target)
        if target.stat().st_size != segment.bytes:
            # Not damage, which is there at every reading: a second reading must give the same batches.
            raise StorageError(
                f"{segment.path} came as {target.stat().st_size} bytes, and has {segment.bytes}; try again"
            )
        try:
            whole = SegmentBytes(self._folder, segment.number).read(0, len(MAGIC)) == MAGIC
        except JournalCorrupt:
            whole = False
        if not whole:
            target.unlink()
            self.damaged.append(segment.path)
        return whole

    def _copy(self, path: str, target: Path) -> None:
        try:
            with self._filesystem.open_input_stream(path, compression=None) as source, target.open("wb") as out:
                while piece := source.read(8 << 20):
                    out.write(piece)
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"{path} cannot be read: {type(error).__name__}: {error}") from error

    def _state(self, segment: Segment) -> state.DerivationState:
        """What was open at the first segment's head, if that is known: its runs are taken up there."""
        begins = saved_states.beginning(self._folder, segment.number)
        if segment.state is None or not isinstance(begins, saved_states.Beginning) or not begins.continues:
            return state.fresh(segment.number)
        self._copy(segment.state, state_file(self._folder, segment.number))
        return saved_states.state_at(self._folder, segment.number, begins) or state.fresh(segment.number)
