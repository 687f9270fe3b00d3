"""Frames of journal blocks as columns: what thousands of order-book changes are decoded to at once.

A frame is `plain` if it is an order-book change that `messages.delta` would take; everything about it is then in the
columns. What is not plain is left to be handled as a record of its own. Nothing is decided here, and nothing depends
on the order of keys but the speed: frames of a known form are read as bytes (`forms.py`), others by the JSON decoder.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.contract.channels import DELTA_TYPE
from common.exchange.frames import DEPTH_MAX
from common.exchange.names import possible_ticker
from gatherer.derive.bulk import decoder
from gatherer.derive.bulk.decoder import NONE
from gatherer.derive.bulk.forms import FORMS
from gatherer.derive.bulk.text import Text
from gatherer.derive.messages import FUTURE_MS_MAX, PAST_MS_MAX
from gatherer.journal.format import FrameBlock, Kind, Record

Array = npt.NDArray[Any]
PIECE_FRAMES: Final = 1024  # one call holds the interpreter: the task that writes must get its turn
PREFIX: Final = f'{{"type":"{DELTA_TYPE}"'.encode()
PLAIN_BYTES_MAX: Final = 2 * DEPTH_MAX
"""A longer change goes by itself, so that nobody needs to look here how deep it is; they have 300 bytes."""
OF_A_FRAME: Final = ("session", "wall_us", "mono_us", "plain")
OF_A_PLAIN_ONE: Final = ("sid", "seq", "sending_ms", "at_ms", "us", "side", "price", "delta", "code")


class _Codes(dict[str, int]):
    """Numbers for texts in the order of their appearance."""

    def __missing__(self, text: str) -> int:
        self[text] = code = len(self)
        return code


class Columns:
    """`count` frames, one value each, in the journal's order.

    Of any frame: `session`, `wall_us`. Of plain ones: `sid`, `seq`, `sending_ms` (`NONE` if absent), `at_ms`, `us`,
    `side`, `price`, `delta`, and `code`, the place of the ticker in `tickers`.
    """

    def __init__(self, blocks: Sequence[FrameBlock]) -> None:
        self.session = np.concatenate([block.sessions for block in blocks])
        self.wall_us = np.concatenate([block.wall_us for block in blocks])
        self.mono_us = np.concatenate([block.mono_us for block in blocks])
        lengths = np.concatenate([block.lengths for block in blocks]).astype(np.int64)
        self.skipped = 0  # frames of the text that come before these
        self._text = Text((block.frames for block in blocks), lengths)
        self.count = len(lengths)
        codes = _Codes()
        likely = self._likely()
        read: list[tuple[Array | list[int], list[Any]]] = []
        if likely.any():
            for fields in FORMS.read(self._text, np.flatnonzero(likely)):
                named = np.array([codes[ticker] for ticker in fields.tickers], np.int64)
                read.append((fields.frames, [*fields.columns, named[fields.ticker]]))
                likely[fields.frames] = False
        if likely.any():
            decoded, at = self._decode_all(likely)
            read.append((at, [*decoder.values(decoded), [codes[frame.msg.market_ticker] for frame in decoded]]))
        self.plain = np.zeros(self.count, bool)
        self.sid, self.seq, self.sending_ms, self.at_ms, *rest = self._assembled(read)
        self.us, self.side, self.price, self.delta, self.code = rest  # as `OF_A_PLAIN_ONE`
        self.tickers = list(codes)
        if impossible := [code for code, ticker in enumerate(self.tickers) if not possible_ticker(ticker)]:
            self.plain &= ~np.isin(self.code, impossible)
        present_ms = self.wall_us // 1000
        sent = (self.sending_ms != NONE) & (np.abs(self.sending_ms - present_ms) <= PAST_MS_MAX)
        present_ms = np.where(sent, self.sending_ms, present_ms)
        self.plain &= (self.price != NONE) & (self.delta != 0)
        self.plain &= (self.at_ms >= present_ms - PAST_MS_MAX) & (self.at_ms <= present_ms + FUTURE_MS_MAX)

    def record(self, number: int) -> Record:
        """One frame as a record of its own; it has no place in the journal."""
        payload = self._text.lines(self.skipped + number, self.skipped + number + 1)
        wall_us, mono_us = int(self.wall_us[number]), int(self.mono_us[number])
        return Record(Kind.FRAME, int(self.session[number]), wall_us, mono_us, payload)

    def others_first(self) -> int:
        """How many frames at the beginning are mostly no changes: the books after a subscription, for one."""
        lead = np.flatnonzero(np.cumsum(np.where(self.plain, -1, 1)) >= 0)
        return int(lead[-1]) + 1 if len(lead) else 0

    def after(self, number: int) -> Columns:
        """The frames from this one on; they share their memory with these."""
        rest = copy.copy(self)
        rest.skipped += number
        rest.count -= number
        for name in (*OF_A_FRAME, *OF_A_PLAIN_ONE):
            setattr(rest, name, getattr(self, name)[number:])
        return rest

    def _assembled(self, read: list[tuple[Array | list[int], list[Any]]]) -> list[Array]:
        """The columns of plain frames from those of some frames each, and which frames are plain."""
        if len(read) == 1 and len(read[0][0]) == self.count:
            self.plain[:] = True
            return [np.asarray(column, np.int64) for column in read[0][1]]
        columns = [np.full(self.count, NONE, np.int64) for _ in OF_A_PLAIN_ONE]
        for frames, values in read:
            self.plain[frames] = True
            for column, value in zip(columns, values, strict=True):
                column[frames] = value
        return columns

    def _likely(self) -> Array:
        """Which frames look like changes: each begins with a brace and ends with a brace and a line feed."""
        data, starts, ends = self._text.bytes, self._text.starts, self._text.ends
        size = ends - starts
        long = (size > len(PREFIX) + 2) & (size <= PLAIN_BYTES_MAX)
        if not long.any():
            return np.zeros(self.count, bool)
        ends = np.where(long, ends, len(PREFIX) + 2)
        starts = np.where(long, starts, 0)
        likely: Array = long & (data[ends - 1] == ord("\n")) & (data[ends - 2] == ord("}"))
        for place in (0, 9, 19):  # the brace, and where a snapshot or a trade has another letter
            likely &= data[starts + place] == PREFIX[place]
        return likely

    def _decode_all(self, likely: Array) -> tuple[list[decoder.Frame], list[int]]:
        """The frames that have no known form, in stretches.

        A value that begins in one of them ends in it: no string holds a line feed, and after a closing brace an
        opening one may only stand between values. So as many values as frames means one in each.
        """
        frames: list[decoder.Frame] = []
        at: list[int] = []
        edges = np.flatnonzero(np.diff(np.concatenate(([False], likely, [False])).astype(np.int8)))
        for begin, end in edges.reshape(-1, 2).tolist():
            for first in range(begin, end, PIECE_FRAMES):
                self._decode(first, min(first + PIECE_FRAMES, end), frames, at)
        return frames, at

    def _decode(self, first: int, end: int, frames: list[decoder.Frame], at: list[int]) -> None:
        """Append what can be decoded; of a stretch that cannot, its halves."""
        decoded = decoder.decode(self._text.lines(first, end))
        if len(decoded) == end - first:
            frames += decoded
            at += range(first, end)
        elif end - first > 1:
            middle = (first + end) // 2
            self._decode(first, middle, frames, at)
            self._decode(middle, end, frames, at)
