"""When each segment of a journal begins, and the derivation's state there, which the loader leaves beside it."""

from __future__ import annotations

import os
import zlib
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from common.errors import JournalCorrupt
from gatherer.derive import state
from gatherer.derive.state import DerivationState
from gatherer.journal.format import MAGIC, Record, SegmentHeader, decode
from gatherer.journal.segments import SegmentBytes, state_file, sync_folder

READ_BYTES: Final = 64 << 10


class Beginning(NamedTuple):
    """When a segment begins (microseconds), and whether it continues the one before."""

    began_us: int
    continues: bool


class NoBeginning(Enum):
    """Of a segment that does not state when it begins."""

    EMPTY = "cut off in its first record"
    UNREADABLE = "not to be read"


def beginning(folder: Path, segment: int) -> Beginning | NoBeginning:
    """What a segment states of its beginning."""
    data = SegmentBytes(folder, segment).read(0, READ_BYTES)
    record = next(decode(data, len(MAGIC)), None)
    if isinstance(record, Record):
        return Beginning(record.wall_us, msgspec.json.decode(record.payload, type=SegmentHeader).continues)
    return NoBeginning.UNREADABLE if len(data) == READ_BYTES else NoBeginning.EMPTY


def save(folder: Path, segment: int, present: DerivationState) -> None:
    """Leave the state at a segment's head: whole on the disk, or not at all."""
    file = state_file(folder, segment)
    half = file.with_suffix(".state-new")
    with half.open("wb") as out:
        out.write(state.dump(present))
        out.flush()
        os.fsync(out.fileno())
    half.rename(file)
    sync_folder(folder)


def saved(folder: Path, segment: int) -> DerivationState | None:
    """The state that was left at a segment's head, if one was. Raises `JournalCorrupt` for one that does not read."""
    try:
        return state.load(state_file(folder, segment).read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, zlib.error) as error:
        raise JournalCorrupt(f"the state of segment {segment} does not read: {error}") from error


def state_at(folder: Path, segment: int, begins: Beginning) -> DerivationState | None:
    """The state to read a segment with from its head on; None: it continues one whose state is not known."""
    if not begins.continues:
        return state.fresh(segment)
    try:
        return saved(folder, segment)
    except JournalCorrupt:
        return None
