"""Appending to the journal.

Records reach the kernel within `flush` (so that a kill loses at most that) and the disk within `sync` (so that a
power loss loses at most that). Every start opens a new segment; nobody appends to a segment it did not create.
A writer that failed once is dead: after half a record nothing could be read, so nothing is written there.
Segment numbers only grow, also after the folder was emptied: a new number is at least the second of its creation.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from common.config.schema import JournalConfig
from common.errors import JournalError
from gatherer.journal.format import (
    END_PAYLOAD,
    HEAD_BYTES,
    MAGIC,
    Kind,
    Position,
    SegmentHeader,
    encode,
    parts,
)
from gatherer.journal.inbox import Inbox, drain
from gatherer.journal.segments import begin, journal_uuid, lane_folder, numbering_second, remove_unbegun, segments

BUFFER_BYTES_MAX: Final = 1 << 20
WRITE_PARTS_MAX: Final = 512  # the kernel takes 1024
WRITE_BYTES_MAX: Final = 16 << 20  # then a segment that is full ends, whatever else waits to be written


def _writes(pending: list[bytes]) -> Iterator[list[bytes]]:
    """Whole records, each in three pieces, for one write after another."""
    pieces: list[bytes] = []
    size = 0
    for at in range(0, len(pending), 3):
        pieces += pending[at : at + 3]
        size += len(pending[at + 2])
        if len(pieces) >= WRITE_PARTS_MAX or size >= WRITE_BYTES_MAX:
            yield pieces
            pieces, size = [], 0
    if pieces:
        yield pieces


class JournalWriter:
    """The one appender of a lane's journal."""

    def __init__(self, config: JournalConfig, lane: int) -> None:
        self._config, self._lane = config, lane
        self.folder = lane_folder(config.dir, lane)
        self._uuid = journal_uuid(self.folder)
        self._inboxes: list[Inbox] = []
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._fd = -1
        self._segment = 0
        self._roll_at_s = 0.0
        self._size = self._head_bytes = 0
        self._synced = True
        self._error: BaseException | None = None
        self._dead = asyncio.Event()
        self.records = 0
        self.bytes_written = 0
        # A reader may stand in one that is removed: no later one has its number, or a lower one.
        self._segment = max(remove_unbegun(self.folder, len(MAGIC) + HEAD_BYTES), default=0)
        self._open(continues=False)

    @property
    def place(self) -> Position:
        """Just after the last record that the kernel has."""
        return Position(self._segment, self._size)

    async def died(self) -> None:
        """Wait until writing failed, on any session's behalf; raises what it failed with."""
        await self._dead.wait()
        assert self._error is not None
        raise self._error

    @contextlib.contextmanager
    def _or_dead(self) -> Iterator[None]:
        """What is tried here either succeeds whole, or is the last that is tried."""
        if self._error is not None:
            raise JournalError(f"the journal's writer has failed: {self._error}") from self._error
        try:
            yield
        except BaseException as error:
            self._error = error
            self._dead.set()
            fd, self._fd = self._fd, -1
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)
            raise

    def inbox(self, session: int, epoch_ns: int) -> Inbox:
        """Where a session puts its frames; they are in the kernel after the next `flush`. `close_inbox` ends it."""
        inbox = Inbox(session, epoch_ns)
        self._inboxes.append(inbox)
        return inbox

    def close_inbox(self, inbox: Inbox) -> None:
        """The session is over; what it received is queued."""
        with self._or_dead():
            self._close_block()
            self._inboxes.remove(inbox)

    def _close_block(self) -> None:
        """What arrived becomes records, in front of whatever is queued next."""
        for count, wall_us, mono_us, payload in drain(self._inboxes):
            self._pending += parts(Kind.FRAMES, 0, wall_us, mono_us, payload)
            self._pending_bytes += HEAD_BYTES + len(payload)
            self.records += count

    def append(self, kind: Kind, session: int, payload: bytes, wall_us: int = 0, mono_us: int = 0) -> None:
        """Queue one record; it is in the kernel after the next `flush`."""
        wall_us = wall_us or time.time_ns() // 1000
        mono_us = mono_us or time.monotonic_ns() // 1000
        with self._or_dead():
            self._close_block()
            self._pending += parts(kind, session, wall_us, mono_us, payload)
            self._pending_bytes += HEAD_BYTES + len(payload)
            self.records += 1
        if self._pending_bytes >= BUFFER_BYTES_MAX:
            self.flush()

    def append_struct(self, kind: Kind, session: int, payload: msgspec.Struct) -> None:
        """Queue a record whose payload is JSON."""
        self.append(kind, session, msgspec.json.encode(payload))

    def flush(self) -> None:
        """Hand everything queued to the kernel; raises OSError from the disk, and `JournalError` ever after."""
        with self._or_dead():
            self._close_block()
            if not self._pending and not self._old():
                return
            pending, self._pending, self._pending_bytes = self._pending, [], 0
            for pieces in _writes(pending):
                self._write(pieces)
                if self._size >= self._config.segment_bytes:
                    self._roll()
            if self._old():
                self._roll()

    def _old(self) -> bool:
        """Whether the segment has something that should not wait longer to be finished, and archived."""
        return self._size > self._head_bytes and time.monotonic() >= self._roll_at_s

    def close(self) -> None:
        """End the journal cleanly: a CLOSED record, and everything on the disk."""
        self.append(Kind.CLOSED, 0, END_PAYLOAD)
        self.flush()
        with self._or_dead():
            os.fsync(self._fd)
            self._close_fd()

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, -1  # its number is another file's as soon as it is closed
        os.close(fd)

    async def run(self) -> None:
        """Flush and sync at the configured times, until cancelled."""
        flush_s, sync_s = self._config.flush / 1000, self._config.sync / 1000
        synced = time.monotonic()
        while True:
            await asyncio.sleep(flush_s)
            self.flush()
            if not self._synced and time.monotonic() - synced >= sync_s:
                self._synced = True
                synced = time.monotonic()
                await self._sync()

    async def _sync(self) -> None:
        fd = os.dup(self._fd)  # the segment may roll while the disk is busy
        try:
            await asyncio.to_thread(os.fsync, fd)
        except OSError:
            with self._or_dead():
                raise
        finally:
            os.close(fd)

    def _write(self, pieces: list[bytes]) -> None:
        """All of it, without joining it first; the kernel may take a part at a time."""
        left: list[bytes | memoryview] = list(pieces)
        while left:
            written = os.writev(self._fd, left)
            self._size += written
            self.bytes_written += written
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if left and written:
                left[0] = memoryview(left[0])[written:]
        self._synced = False

    def _roll(self) -> None:
        self._write([encode(Kind.SEALED, 0, time.time_ns() // 1000, time.monotonic_ns() // 1000, END_PAYLOAD)])
        os.fsync(self._fd)
        self._close_fd()
        self._open(continues=True)

    def _open(self, *, continues: bool) -> None:
        before = self._segment
        last = max([before, *segments(self.folder)])
        self._segment = max(last + 1, numbering_second())
        header = SegmentHeader(self._uuid, self._segment, self._lane, continues, follows=before if continues else 0)
        head = encode(Kind.SEGMENT, 0, time.time_ns() // 1000, time.monotonic_ns() // 1000, msgspec.json.encode(header))
        self._fd = begin(self.folder, self._segment, MAGIC + head)
        self._size = self._head_bytes = len(MAGIC) + len(head)
        self.bytes_written += self._size
        self._roll_at_s = time.monotonic() + self._config.segment_age / 1000
