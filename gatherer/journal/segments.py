"""The files of a lane's journal: names, sizes, beginning, compression, removal.

A segment is `NNN.journal` while it is written (from the moment when its head is on the disk) and `NNN.journal.zst` once
it is compressed; offsets always count uncompressed bytes. Beside it lies the loader's state at its head, `NNN.state`,
and, once it is in the archive, an empty `NNN.archived`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import uuid
from pathlib import Path
from typing import Final

import msgspec
import zstandard

from common import log
from common.errors import JournalCorrupt
from common.unpack import unpacked
from gatherer.journal.format import MAGIC, Record, SegmentHeader, decode

SUFFIX: Final = ".journal"
PACKED_SUFFIX: Final = ".journal.zst"
STATE_SUFFIX: Final = ".state"
ARCHIVED_SUFFIX: Final = ".archived"
UUID_FILE: Final = "journal.uuid"
UNBEGUN_SUFFIX: Final = ".journal-new"
SECOND_MAX: Final = (1 << 31) - (1 << 26)  # in 2035: from there on numbers count segments, and enough are left
HEAD_READ_BYTES: Final = 64 << 10
ZSTD_LEVEL: Final = 3
ZSTD_READ_BYTES_MAX: Final = 1 << 31


def numbering_second() -> int:
    """The present second, as far as numbers are made of it: a clock that is once far ahead must not use them up."""
    return min(int(time.time()), SECOND_MAX)


def lane_folder(folder: Path, lane: int) -> Path:
    """Where a lane's journal is, below the configured folder."""
    return folder / f"lane-{lane}"


def lanes_present(folder: Path) -> list[int]:
    """Lanes that have a journal."""
    found = (entry.name.removeprefix("lane-") for entry in folder.glob("lane-*") if entry.is_dir())
    return sorted(int(name) for name in found if name.isdigit())


def segment_file(folder: Path, segment: int) -> Path:
    """The file of a segment while it is written."""
    return folder / f"{segment:012d}{SUFFIX}"


def packed_file(folder: Path, segment: int) -> Path:
    """The file of a segment once it is compressed."""
    return folder / f"{segment:012d}{PACKED_SUFFIX}"


def state_file(folder: Path, segment: int) -> Path:
    """The loader's state at the segment's head."""
    return folder / f"{segment:012d}{STATE_SUFFIX}"


def archived_file(folder: Path, segment: int) -> Path:
    """Marks that the segment is in the archive."""
    return folder / f"{segment:012d}{ARCHIVED_SUFFIX}"


def segments(folder: Path) -> list[int]:
    """The numbers of the segments in a folder, ascending, compressed or not."""
    names = {file.name.split(".", 1)[0] for suffix in (SUFFIX, PACKED_SUFFIX) for file in folder.glob(f"*{suffix}")}
    return sorted(int(name) for name in names if name.isdigit())


def disk_bytes(folder: Path, segment: int) -> int:
    """What a segment and its state take on the disk."""
    files = (segment_file(folder, segment), packed_file(folder, segment), state_file(folder, segment))
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def journal_uuid(folder: Path) -> str:
    """The identity of a journal folder, made at first use. One that cannot be read is what the segments state."""
    file = folder / UUID_FILE
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        try:
            return str(uuid.UUID(file.read_text().strip()))
        except FileNotFoundError:
            _name_journal(file, str(uuid.uuid4()))
        except ValueError:
            _rename_journal(file)


def _name_journal(file: Path, name: str) -> None:
    """Give a journal its identity, if it has none: of two processes that make one, the first wins."""
    half = file.with_suffix(f".new-{os.getpid()}")
    with half.open("w") as out:
        out.write(f"{name}\n")
        out.flush()
        os.fsync(out.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(half, file)
        sync_folder(file.parent)
    half.unlink()


def _rename_journal(file: Path) -> None:
    """A power loss left the name of the identity's file alone: put what it was in its place, else nothing."""
    fd = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # of two processes, the second must not remove what the first made
        try:
            uuid.UUID(file.read_text().strip())
        except FileNotFoundError:
            pass
        except ValueError:
            was = _named_by_segments(file.parent)
            log.get().error("journal_uuid_unreadable", folder=str(file.parent), was=was or "unknown: a new one begins")
            file.unlink()
            if was is not None:
                _name_journal(file, was)
    finally:
        os.close(fd)


def _named_by_segments(folder: Path) -> str | None:
    for number in reversed(segments(folder)):
        try:
            head = next(decode(SegmentBytes(folder, number).read(0, HEAD_READ_BYTES), len(MAGIC)), None)
            if isinstance(head, Record):
                return str(uuid.UUID(msgspec.json.decode(head.payload, type=SegmentHeader).journal))
        except (JournalCorrupt, msgspec.MsgspecError, ValueError, OSError):
            continue
    return None


def begin(folder: Path, segment: int, head: bytes) -> int:
    """Make a segment and leave it open after its head. Raises `OSError`; none has its name before it has its head."""
    half = folder / f"{segment:012d}{UNBEGUN_SUFFIX}"
    fd = os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        if os.writev(fd, [head]) < len(head):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(half))
        os.fsync(fd)
        os.link(half, segment_file(folder, segment))
        sync_folder(folder)
    except BaseException:
        os.close(fd)
        raise
    finally:
        half.unlink()
    return fd


def remove_unbegun(folder: Path, head_bytes: int) -> list[int]:
    """Remove segments that have not even `head_bytes`, and what a start that failed left; returns their numbers.

    For the one that opens the lane: no other process makes segments then.
    """
    for half in folder.glob(f"*{UNBEGUN_SUFFIX}"):
        half.unlink()
    files = [(number, segment_file(folder, number)) for number in segments(folder)]
    unbegun = [number for number, file in files if file.exists() and file.stat().st_size < head_bytes]
    for number in unbegun:
        remove(folder, number)
    return unbegun


def compress(folder: Path, segment: int) -> int:
    """Replace a finished segment by its compressed form; returns the bytes saved. Synced before the original goes."""
    source, target = segment_file(folder, segment), packed_file(folder, segment)
    size = source.stat().st_size
    half = target.with_suffix(".zst-new")
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
    with source.open("rb") as reader, half.open("wb") as writer:
        compressor.copy_stream(reader, writer, size=size)
        writer.flush()
        os.fsync(writer.fileno())
    half.rename(target)
    sync_folder(folder)
    source.unlink()
    return size - target.stat().st_size


def remove(folder: Path, segment: int) -> None:
    """Remove a segment and what lies beside it."""
    for file in (segment_file, packed_file, state_file, archived_file):
        file(folder, segment).unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the folder's entries to the disk: a new file's name must survive a power loss as its bytes do."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class SegmentBytes:
    """The bytes of one segment, whichever form it has at the moment."""

    def __init__(self, folder: Path, segment: int) -> None:
        self._folder, self._segment = folder, segment
        self._unpacked: bytes | None = None

    def size(self) -> int | None:
        """Uncompressed bytes, or None if there is no such segment."""
        if self._unpacked is not None:
            return len(self._unpacked)
        try:
            return segment_file(self._folder, self._segment).stat().st_size
        except FileNotFoundError:
            return len(self._unpacked) if self._unpack() and self._unpacked is not None else None

    def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on."""
        if self._unpacked is None:
            try:
                with segment_file(self._folder, self._segment).open("rb") as source:
                    source.seek(offset)
                    return source.read(count)
            except FileNotFoundError:
                if not self._unpack():
                    raise
        assert self._unpacked is not None
        return self._unpacked[offset : offset + count]

    def _unpack(self) -> bool:
        file = packed_file(self._folder, self._segment)
        try:
            packed = file.read_bytes()
        except FileNotFoundError:
            return False
        try:
            self._unpacked = unpacked(packed, ZSTD_READ_BYTES_MAX)
        except zstandard.ZstdError as error:
            raise JournalCorrupt(f"{file} cannot be decompressed: {error}") from error
        return True
