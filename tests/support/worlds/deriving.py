"""Journals through the real derivation: any batches, in blocks or one by one, the state written down and read back."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from typing import Final

from deduplicator.merge.copies import Copy
from fleet.rebuild.copies import copy_of
from gatherer.derive import state
from gatherer.derive.bulk import stretch
from gatherer.derive.derivation import Derivation
from gatherer.derive.rows import Rows
from gatherer.journal.format import FrameBlock, Kind, Record, frames_payload
from tests.support.worlds.shape import BOUNDS
from tests.support.worlds.station import Crash, Lane

BATCH_RECORDS: Final = (1, 3, 15, 15, 60, 200)
NEW_STATE: Final = 0.1


def copies(lane: Lane, number: int, gatherer: int, numbers: dict[str, int], rng: random.Random) -> list[Copy]:
    """The lane's batches as the deduplicator reads them."""
    return [copy_of(rows, gatherer, number, batch, numbers) for batch, rows in enumerate(batches(lane, rng), 1)]


def batches(lane: Lane, rng: random.Random) -> Iterator[Rows]:
    """Cut the records into random batches and derive each."""
    segment = 1
    derivation = Derivation(BOUNDS, state.fresh(segment))
    at = 0
    while at < len(lane.items):
        part = lane.items[at : at + rng.choice(BATCH_RECORDS)]
        at += len(part)
        for records in _between_crashes(part):
            if isinstance(records, Crash):
                segment += 1
                derivation.cut("cut off", 0)
                derivation.state = state.fresh(segment)
            else:
                stretch.apply(derivation, in_blocks(records, rng) if rng.random() < 0.5 else records, min_frames=1)
        yield derivation.take()
        if rng.random() < NEW_STATE:
            derivation = Derivation(BOUNDS, state.load(state.dump(derivation.state)))


def _between_crashes(items: list[Record | Crash]) -> Iterator[list[Record] | Crash]:
    records: list[Record] = []
    for item in items:
        if isinstance(item, Crash):
            yield records
            yield item
            records = []
        else:
            records.append(item)
    yield records


def block(records: list[Record]) -> FrameBlock:
    """Frames as the journal writes them together."""
    sessions, walls, monos = (
        array("q", [getattr(r, name) * unit for r in records])
        for name, unit in (("session", 1), ("wall_us", 1000), ("mono_us", 1000))
    )
    payload = frames_payload(sessions, walls, monos, [r.payload for r in records])
    return FrameBlock(payload, 0, len(payload))


def in_blocks(records: list[Record], rng: random.Random) -> list[Record | FrameBlock]:
    """The same, frames that follow one another in blocks of any size."""
    items: list[Record | FrameBlock] = []
    pending: list[Record] = []
    for record in [*records, None]:
        if record is not None and record.kind == Kind.FRAME:
            pending.append(record)
        if pending and (record is None or record.kind != Kind.FRAME or rng.random() < 0.02):
            items.append(block(pending))
            pending = []
        if record is not None and record.kind != Kind.FRAME:
            items.append(record)
    return items
