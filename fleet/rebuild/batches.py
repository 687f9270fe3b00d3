"""All lanes of a raw archive as one sequence of batches, in the order in which they were received.

The order only keeps what belongs together close together: the merge's result does not depend on it.
"""

from __future__ import annotations

import hashlib
import heapq
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fleet.rebuild.raw import LaneReader, RawLane
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.rows import Rows
from kalshi_fleet.place import Location


class Derived(NamedTuple):
    """One batch of one lane; `number` counts from 1 in its lane."""

    received_us: int
    lane: RawLane
    number: int
    rows: Rows


class LaneHistory:
    """The lanes, each read once. `damaged` grows while they are read."""

    def __init__(
        self, place: Location, lanes: Sequence[RawLane], bounds: BoundsMs, batch_records: int, work: Path
    ) -> None:
        self._bounds, self._batch_records = bounds, batch_records
        self._lanes = lanes
        self._readers = [LaneReader(place, lane, work / f"{lane.gatherer}-{lane.lane}") for lane in lanes]

    @property
    def damaged(self) -> list[str]:
        """Segments that could not be read."""
        return [path for reader in self._readers for path in reader.damaged]

    def batches(self) -> Iterator[Derived]:
        """Every batch of every lane; of one lane in its order. Raises `StorageError`."""
        return heapq.merge(*map(self._of, range(len(self._lanes))), key=_order)

    def _of(self, index: int) -> Iterator[Derived]:
        lane, reader, received_us = self._lanes[index], self._readers[index], 0
        for number, batch in enumerate(reader.batches(self._bounds, self._batch_records), 1):
            received_us = max(received_us, batch.received_us)  # a clock that was set back reorders nothing
            yield Derived(received_us, lane, number, batch.rows)


def _order(derived: Derived) -> tuple[int, str, int, int]:
    return derived.received_us, derived.lane.gatherer, derived.lane.lane, derived.number


def instance(lanes: Sequence[RawLane], bounds: BoundsMs, batch_records: int) -> str:
    """What one gatherer's archived lanes are to production: the same segments, read the same way, are the same.

    A rebuild that was interrupted resumes where it was; one over more segments is another reading of everything.
    """
    segments = [(lane.lane, [(segment.number, segment.bytes) for segment in lane.segments]) for lane in lanes]
    text = repr((bounds, batch_records, segments))
    return str(uuid.UUID(bytes=hashlib.sha256(f"{lanes[0].gatherer} {text}".encode()).digest()[:16]))
