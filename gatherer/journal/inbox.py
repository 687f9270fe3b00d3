"""Frames between their receipt and the journal: an inbox a session, so that taking one costs two appends. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gatherer.journal.format import frames_payload

BLOCK_FRAMES_MAX: Final = 4096
LARGE_FRAME_BYTES: Final = 16 << 10
Array = npt.NDArray[Any]


class Inbox:
    """What one session received since the last flush: `frames` and, for each, nanoseconds of the monotonic clock.

    `epoch_ns`: what the session's wall clock is ahead of that. Both lists are appended to, and emptied in place.
    `drained_frames`, `drained_bytes`: what was taken out so far.
    """

    __slots__ = ("drained_bytes", "drained_frames", "epoch_ns", "frames", "monos_ns", "session")

    def __init__(self, session: int, epoch_ns: int) -> None:
        self.session, self.epoch_ns = session, epoch_ns
        self.frames: list[bytes] = []
        self.monos_ns: list[int] = []
        self.drained_frames = self.drained_bytes = 0


def drain(inboxes: Iterable[Inbox]) -> Iterator[tuple[int, int, int, bytes]]:
    """Empty the inboxes: blocks of frames in the order of their receipt, as payloads of FRAMES records.

    Yields how many frames a block has, microseconds of wall and monotonic clock of its first, and the payload. Large
    frames are alone in theirs: a record has a limit.
    """
    full = [inbox for inbox in inboxes if inbox.frames]
    if not full:
        return
    counts = [len(inbox.frames) for inbox in full]
    monos = np.fromiter(itertools.chain.from_iterable(inbox.monos_ns for inbox in full), np.int64, sum(counts))
    sessions = np.repeat(np.array([inbox.session for inbox in full], np.int64), counts)
    walls = monos + np.repeat(np.array([inbox.epoch_ns for inbox in full], np.int64), counts)
    frames = list(itertools.chain.from_iterable(inbox.frames for inbox in full))
    for inbox in full:
        inbox.drained_frames += len(inbox.frames)
        inbox.drained_bytes += sum(map(len, inbox.frames))
        inbox.frames.clear()
        inbox.monos_ns.clear()
    if len(full) > 1:
        order = np.argsort(monos, kind="stable")
        monos, sessions, walls = monos[order], sessions[order], walls[order]
        frames = [frames[at] for at in order.tolist()]
    for first, end in _cuts(frames):
        part = slice(first, end)
        payload = frames_payload(sessions[part], walls[part], monos[part], frames[part])
        yield end - first, int(walls[first]) // 1000, int(monos[first]) // 1000, payload


def _cuts(frames: list[bytes]) -> Iterator[tuple[int, int]]:
    large = np.flatnonzero(np.fromiter(map(len, frames), np.int64, len(frames)) > LARGE_FRAME_BYTES).tolist()
    edges = sorted({0, len(frames), *large, *(at + 1 for at in large)})
    for first, end in itertools.pairwise(edges):
        for at in range(first, end, BLOCK_FRAMES_MAX):
            yield at, min(at + BLOCK_FRAMES_MAX, end)
