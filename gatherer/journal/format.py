"""The journal's bytes. Pure: no files here.

A segment is `MAGIC`, a header record, and records. A record is a fixed head and a payload:

    payload bytes  u32   little endian, like all numbers
    crc32          u32   of the rest of the head and the payload
    kind           u8    and three zero bytes
    session        i64   the session it belongs to, 0 for the journal itself
    wall_us        i64   microseconds since 1970 by the local clock
    mono_us        i64   microseconds of the monotonic clock
    payload

Frames come in blocks, one FRAMES record for what arrived between two flushes. Its payload:

    count          u32
    count times    payload bytes u32, session i64, wall_us i64, mono_us i64
    the payloads   as received, one after the other

A place after a frame inside a block is the block's offset plus the frame's number in it (from 1); after the last one
it is the block's end.

A segment that was finished ends in a SEALED record (the next segment continues the same sessions) or a CLOSED
record (the process ended; so did its sessions). A segment without either was cut off: all runs end there.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from isal import isal_zlib  # the same checksum as zlib's, in a tenth of the time

MAGIC: Final = b"KFJOURN1"
PAYLOAD_BYTES_MAX: Final = 80 << 20  # frames reach 64 MiB
_HEAD = struct.Struct("<IIB3xqqq")
_START = struct.Struct("<II")
_CHECKED = struct.Struct("<B3xqqq")
_COUNT = struct.Struct("<I")
_FRAME_HEAD = np.dtype([("size", "<u4"), ("session", "<i8"), ("wall_us", "<i8"), ("mono_us", "<i8")])
HEAD_BYTES: Final = _HEAD.size
END_PAYLOAD: Final = b"{}"  # of SEALED and CLOSED


class Kind(enum.IntEnum):
    """What a record is."""

    SEGMENT = 1
    OPENED = 2
    FRAME = 3
    COMMAND = 4
    BREAK = 5
    ENDED = 6
    SEALED = 7
    CLOSED = 8
    WATCH = 9
    REST_BOOK = 10
    FRAMES = 11
    CLOCK_UNPROVEN = 12


class SegmentHeader(msgspec.Struct, frozen=True):
    """The first record of a segment. `continues`: the sessions of segment `follows` continue."""

    journal: str
    segment: int
    lane: int
    continues: bool
    format: int = 2
    follows: int = 0


class SessionOpened(msgspec.Struct, frozen=True):
    """Payload of OPENED. `clock_proven`: the local clock was within its bound, so receive times are evidence."""

    role: str
    connection: int
    url: str
    use_yes_price: bool = False
    clock_proven: bool = False


class Break(msgspec.Struct, frozen=True):
    """Payload of BREAK: what the capture saw go wrong on one sid."""

    sid: int
    reason: str
    expected: int = 0
    received: int = 0


class Watch(msgspec.Struct, frozen=True):
    """Payload of WATCH: REST will be asked for these books; from here on every state of theirs may be its answer."""

    tickers: list[str]


class RestBook(msgspec.Struct, frozen=True):
    """Payload of REST_BOOK: a book as REST gave it between two local times; levels as strings, NO prices for NO."""

    ticker: str
    requested_us: int
    answered_us: int
    yes: list[tuple[str, str]] = []
    no: list[tuple[str, str]] = []


class ClockUnproven(msgspec.Struct, frozen=True):
    """Payload of CLOCK_UNPROVEN: why receive times of the sessions that are open are no evidence from here on."""

    reason: str


class Ended(msgspec.Struct, frozen=True):
    """Payload of ENDED: why the session is over."""

    reason: str


@dataclass(slots=True)
class Record:
    """One record. `end` is the offset just after it; `resume` where reading begins for what follows it: the same, but
    inside a block of frames the block's start."""

    kind: int
    session: int
    wall_us: int
    mono_us: int
    payload: bytes
    end: int = 0
    resume: int = 0


class FrameBlock:
    """A FRAMES record, not taken apart: columns of equal length, one value a frame, and the frames one after the other.

    `start` and `end` are file offsets, as a record's. `lengths` are bytes.
    """

    __slots__ = ("end", "frames", "lengths", "mono_us", "sessions", "start", "wall_us")

    def __init__(self, payload: bytes | memoryview, start: int, end: int) -> None:
        (count,) = _COUNT.unpack_from(payload)
        heads = np.frombuffer(payload, _FRAME_HEAD, count, _COUNT.size)
        self.start, self.end = start, end
        self.lengths: npt.NDArray[Any] = heads["size"]
        self.sessions: npt.NDArray[Any] = heads["session"]
        self.wall_us: npt.NDArray[Any] = heads["wall_us"]
        self.mono_us: npt.NDArray[Any] = heads["mono_us"]
        self.frames = memoryview(payload)[_COUNT.size + heads.nbytes :]

    def __len__(self) -> int:
        return len(self.lengths)

    def records(self) -> Iterator[Record]:
        """Its frames as records of their own."""
        at, count = 0, len(self)
        columns = (column.tolist() for column in (self.lengths, self.sessions, self.wall_us, self.mono_us))
        for number, (size, session, wall_us, mono_us) in enumerate(zip(*columns, strict=True), 1):
            end, resume = (self.start + number, self.start) if number < count else (self.end, self.end)
            yield Record(Kind.FRAME, session, wall_us, mono_us, bytes(self.frames[at : at + size]), end, resume)
            at += size


@dataclass(frozen=True, order=True)
class Position:
    """A position in a lane's journal."""

    segment: int
    offset: int


def parts(kind: int, session: int, wall_us: int, mono_us: int, payload: bytes) -> tuple[bytes, bytes, bytes]:
    """One record as the pieces of its bytes, so that the payload is not copied."""
    checked = _CHECKED.pack(kind, session, wall_us, mono_us)
    return _START.pack(len(payload), isal_zlib.crc32(payload, isal_zlib.crc32(checked))), checked, payload


def encode(kind: int, session: int, wall_us: int, mono_us: int, payload: bytes) -> bytes:
    """One record as bytes."""
    return b"".join(parts(kind, session, wall_us, mono_us, payload))


def decode(data: bytes | memoryview, start: int, base: int = 0) -> Iterator[Record | FrameBlock]:
    """The whole records in `data` from index `start` on; stops before the first that is cut off or damaged.

    `base` is the file offset of `data[0]`; a record's `end` is a file offset. Frames come as whole blocks.
    """
    view = memoryview(data)
    at = start
    while at + HEAD_BYTES <= len(view):
        size, crc, kind, session, wall_us, mono_us = _HEAD.unpack_from(view, at)
        end = at + HEAD_BYTES + size
        if size > PAYLOAD_BYTES_MAX or end > len(view):
            return
        payload = view[at + HEAD_BYTES : end]
        if isal_zlib.crc32(payload, isal_zlib.crc32(_CHECKED.pack(kind, session, wall_us, mono_us))) != crc:
            return
        if kind == Kind.FRAMES:
            yield FrameBlock(payload, base + at, base + end)
        else:
            yield Record(kind, session, wall_us, mono_us, bytes(payload), base + end, base + end)
        at = end


def flat(items: Iterable[Record | FrameBlock]) -> Iterator[Record]:
    """One by one, also the frames of blocks."""
    for item in items:
        if isinstance(item, FrameBlock):
            yield from item.records()
        else:
            yield item


def frames_payload(
    sessions: npt.ArrayLike, walls_ns: npt.ArrayLike, monos_ns: npt.ArrayLike, frames: list[bytes]
) -> bytes:
    """The payload of a FRAMES record from columns; times are cut to microseconds."""
    heads = np.empty(len(frames), _FRAME_HEAD)
    heads["size"] = np.fromiter(map(len, frames), np.uint32, len(frames))
    heads["session"] = sessions
    heads["wall_us"] = np.asarray(walls_ns, np.int64) // 1000
    heads["mono_us"] = np.asarray(monos_ns, np.int64) // 1000
    return b"".join((_COUNT.pack(len(frames)), heads.tobytes(), *frames))


def block_start(data: bytes | memoryview, offset: int) -> int:
    """Where the record begins that holds the place `offset`, in a segment's bytes; `offset` itself at a boundary."""
    at = len(MAGIC)
    while at + HEAD_BYTES <= len(data):
        end = at + HEAD_BYTES + int.from_bytes(data[at : at + 4], "little")
        if offset < end:
            return min(at, offset)
        at = end
    return offset
