"""Many frames as bytes, and as words: where each begins and ends, where its commas are, which have anything unusual.

Bytes are compared eight at a time, as numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
WINDOW_BYTES_MAX: Final = 64
"""So many bytes are looked at from one place on."""
PADDING: Final = b" " * (3 * WINDOW_BYTES_MAX)
"""What is no change may have its commas anywhere: then windows reach so far beyond the frames, on either side."""
WORD: Final = np.dtype("<u8")
QUOTE, COMMA, SPACE, BACKSLASH, LINE_FEED = b'", \\\n'
FIRST: Final = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # the mask of a word's first n bytes


class Text:
    """Frames one after the other, as `bytes` and as words; `starts` and `ends` are where each begins and ends."""

    def __init__(self, frames: Iterable[bytes | memoryview], lengths: Array) -> None:
        self._padded = b"".join((PADDING, *frames, PADDING))
        self.ends = np.cumsum(lengths) + len(PADDING)
        self.starts = self.ends - lengths
        self.bytes = np.frombuffer(self._padded, np.uint8)

    @functools.cached_property
    def _commas(self) -> Array:
        return np.flatnonzero(self.bytes == COMMA)

    @functools.cached_property
    def _rows(self) -> Array | None:
        """The commas frame by frame, if each frame has equally many."""
        each, rest = divmod(len(self._commas), max(len(self.starts), 1))
        if rest or not each:
            return None
        rows: Array = self._commas.reshape(-1, each)
        return rows if ((rows[:, 0] >= self.starts) & (rows[:, -1] < self.ends)).all() else None

    @functools.cached_property
    def _first(self) -> Array:
        return np.searchsorted(self._commas, self.starts)

    @functools.cached_property
    def commas(self) -> Array:
        """How many commas each frame has."""
        if self._rows is not None:
            return np.full(len(self.starts), self._rows.shape[1])
        counted: Array = np.diff(self._first, append=len(self._commas))  # there are none beside the frames
        return counted

    @functools.cached_property
    def quotes(self) -> int:
        """How many quotation marks there are in all."""
        return int(np.count_nonzero(self.bytes == QUOTE))  # a quarter of the time of `bytes.count`

    @functools.cached_property
    def usual(self) -> Array:
        """Which frames have no escape, no control character but a line feed at the end, and ASCII characters only."""
        usual = np.ones(len(self.starts), bool)
        last = self.ends[self.ends > self.starts] - 1
        lines = np.count_nonzero(self.bytes[last] == LINE_FEED)
        controls = np.count_nonzero(self.bytes.view(np.int8) < SPACE)  # and what is not ASCII: negative
        if controls > lines or b"\\" in self._padded:
            strange = (self.bytes >= 0x80) | (self.bytes == BACKSLASH) | (self.bytes < SPACE)
            strange[last] &= self.bytes[last] != LINE_FEED
            usual[np.searchsorted(self.ends, np.flatnonzero(strange), side="right")] = False
        return usual

    def lines(self, first: int, end: int) -> bytes:
        """The frames from number `first` on, up to number `end`."""
        return self.between(self.starts[first], self.ends[end - 1]) if end > first else b""

    def between(self, start: int, end: int) -> bytes:
        """So many bytes."""
        return self._padded[start:end]

    def comma(self, frames: Array, number: int) -> Array:
        """Where each frame's comma of that number is."""
        if self._rows is not None and len(frames):
            column: Array = self._rows[:, number]
            return column if len(frames) == len(column) else column[frames]
        place: Array = self._commas[self._first[frames] + number]
        return place

    def words(self, at: Array, size: int) -> Array:
        """`size` bytes from each place on, as words: an array of shape (places, size / 8)."""
        windows = np.ndarray((len(self._padded) - size + 1,), f"V{size}", self._padded, 0, (1,))
        words: Array = windows[at].view(WORD).reshape(len(at), size // 8)
        return words
