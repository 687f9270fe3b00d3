"""Frames of journal blocks as columns: what thousands of order-book changes are decoded to at once.

A frame is `plain` if it is an order-book change that `messages.delta` would take; everything about it is then in the
columns. What is not plain is left to be handled as a record of its own. Nothing is decided here, and nothing depends
on the order of keys but the speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from common.errors import NumberError
from common.numbers import parse_price, parse_size, sub_millisecond_us
from gatherer.derive.messages import FUTURE_MS_MAX, PAST_MS_MAX, possible_ticker
from gatherer.derive.rows import NO, YES
from gatherer.journal.format import Block, Kind, Record

Array = npt.NDArray[Any]
PIECE_FRAMES: Final = 1024  # one call holds the interpreter: the task that writes must get its turn
PREFIX: Final = b'{"type":"orderbook_delta"'
TS_CHARACTERS: Final = 27  # 2026-11-03T05:06:07.123456Z
REMEMBERED_MAX: Final = 100_000
NONE: Final = -1
Whole = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class _Msg(msgspec.Struct, gc=False):
    market_ticker: str
    price_dollars: str
    delta_fp: str
    side: Literal["yes", "no"]
    ts_ms: Whole
    ts: str | None = None


class _Frame(msgspec.Struct, gc=False):
    type: Literal["orderbook_delta"]
    sid: Annotated[int, msgspec.Meta(ge=1, le=(1 << 31) - 1)]
    seq: Annotated[int, msgspec.Meta(ge=1, le=1 << 53)]
    msg: _Msg
    sending_ts_ms: Whole | None = None
    id: None = None  # an answer to a command may prove more than its number


_DECODER: Final = msgspec.json.Decoder(_Frame)


class _Prices(dict[str, int]):
    """Prices by their text; what is none is `NONE`."""

    def __missing__(self, text: str) -> int:
        try:
            self[text] = value = parse_price(text)
        except NumberError:
            return NONE
        return value


class _Sizes(dict[str, int]):
    """Sizes by their text; what is none is 0, which no change has."""

    def __missing__(self, text: str) -> int:
        try:
            self[text] = value = parse_size(text)
        except NumberError:
            return 0
        return value


class _Codes(dict[str, int]):
    """Numbers for texts in the order of their appearance."""

    def __missing__(self, text: str) -> int:
        self[text] = code = len(self)
        return code


_prices: Final = _Prices()
_sizes: Final = _Sizes()
_SIDES: Final = {"yes": YES, "no": NO}


class Columns:
    """`count` frames, one value each, in the journal's order.

    Of any frame: `session`, `wall_us`. Of plain ones: `sid`, `seq`, `sending_ms` (`NONE` if absent), `at_ms`, `us`,
    `side`, `price`, `delta`, and `code`, the place of the ticker in `tickers`.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.session = np.concatenate([block.sessions for block in blocks])
        self.wall_us = np.concatenate([block.wall_us for block in blocks])
        self.mono_us = np.concatenate([block.mono_us for block in blocks])
        lengths = np.concatenate([block.lengths for block in blocks]).astype(np.int64)
        self._data = b"".join(block.frames for block in blocks)
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths
        self.count = len(lengths)
        codes = _Codes()
        if len(_prices) > REMEMBERED_MAX or len(_sizes) > REMEMBERED_MAX:
            _prices.clear()
            _sizes.clear()
        frames: list[_Frame] = []
        at: list[int] = []
        for first, behind in self._candidates():
            self._decode(first, behind, frames, at)
        messages = [frame.msg for frame in frames]
        self.plain = np.zeros(self.count, bool)
        index = np.array(at, np.int64)
        self.plain[index] = True
        self.sid = self._column(index, [frame.sid for frame in frames])
        self.seq = self._column(index, [frame.seq for frame in frames])
        self.sending_ms = self._column(index, _or_none([frame.sending_ts_ms for frame in frames]))
        self.at_ms = self._column(index, [msg.ts_ms for msg in messages])
        self.price = self._column(index, [_prices[msg.price_dollars] for msg in messages])
        self.delta = self._column(index, [_sizes[msg.delta_fp] for msg in messages])
        self.side = self._column(index, [_SIDES[msg.side] for msg in messages])
        self.code = self._column(index, [codes[msg.market_ticker] for msg in messages])
        self.us = self._column(index, _sub_millisecond_us([msg.ts for msg in messages]))
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
        payload = self._data[self._starts[number] : self._ends[number]]
        wall_us, mono_us = int(self.wall_us[number]), int(self.mono_us[number])
        return Record(Kind.FRAME, int(self.session[number]), wall_us, mono_us, payload)

    def _column(self, index: Array, values: Sequence[int] | Array) -> Array:
        if len(index) == self.count:
            return np.asarray(values, np.int64)
        column = np.full(self.count, NONE, np.int64)
        column[index] = values
        return column

    def _candidates(self) -> list[tuple[int, int]]:
        """Stretches of frames that look like changes: first, behind the last.

        Each begins with a brace and ends with a brace and a line feed. Then a value that begins in one frame ends in
        it: no string holds a line feed, and behind a closing brace an opening one may only stand between values. So
        as many values as frames means one in each.
        """
        data = np.frombuffer(self._data, np.uint8)
        long = self._ends - self._starts > len(PREFIX) + 2
        ends = np.where(long, self._ends, len(PREFIX) + 2)
        starts = np.where(long, self._starts, 0)
        if not len(data) or not long.any():
            return []
        likely = long & (data[ends - 1] == ord("\n")) & (data[ends - 2] == ord("}"))
        for place in (0, 9, 19):  # the brace, and where a snapshot or a trade has another letter
            likely &= data[starts + place] == PREFIX[place]
        edges = np.flatnonzero(np.diff(np.concatenate(([False], likely, [False])).astype(np.int8)))
        return [
            (first, min(first + PIECE_FRAMES, int(behind)))
            for begin, behind in edges.reshape(-1, 2)
            for first in range(int(begin), int(behind), PIECE_FRAMES)
        ]

    def _decode(self, first: int, behind: int, frames: list[_Frame], at: list[int]) -> None:
        """Append what can be decoded; of a stretch that cannot, its halves."""
        try:
            decoded = _DECODER.decode_lines(self._data[self._starts[first] : self._ends[behind - 1]])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            decoded = []
        if len(decoded) == behind - first:
            frames += decoded
            at += range(first, behind)
        elif behind - first > 1:
            middle = (first + behind) // 2
            self._decode(first, middle, frames, at)
            self._decode(middle, behind, frames, at)


def _or_none(values: list[int | None]) -> list[int]:
    return [NONE if value is None else value for value in values]


def _sub_millisecond_us(texts: list[str | None]) -> Sequence[int] | Array:
    """`sub_millisecond_us` of each; the usual form all at once."""
    present = [text for text in texts if text is not None]
    if len(present) == len(texts):
        joined = "".join(present).encode()
        if len(joined) == TS_CHARACTERS * len(present) and set(map(len, present)) == {TS_CHARACTERS}:
            table = np.frombuffer(joined, np.uint8).reshape(-1, TS_CHARACTERS)
            digits = table[:, 20:26] - ord("0")  # what is below "0" wraps round to more than 9
            usual = (table[:, 19] == ord(".")).all() and (table[:, 26] == ord("Z")).all() and (digits <= 9).all()
            if usual:
                last = digits[:, 3:].astype(np.int64)
                return last[:, 0] * 100 + last[:, 1] * 10 + last[:, 2]
    return [sub_millisecond_us(text) for text in texts]
