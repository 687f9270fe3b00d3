"""Order-book changes read without taking each apart: the exchange writes all of them in one form.

A `Form` is the text between the values, learned from one frame that the JSON decoder has read. Where another frame has
the same text around the same commas, its values lie between, and thousands are read at once as columns of bytes.
Only what then can mean nothing else is taken; any other frame is left to the decoder, so a new key or another order of
keys costs a new form, not an error.

Bytes are compared eight at a time, as numbers; a value's digits are added up within such a number.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.levels import NO, YES
from common.numbers import PRICE_UNITS_MAX
from gatherer.derive.bulk.decoder import NONE

Array = npt.NDArray[Any]
TEXT_BYTES_MAX: Final = 64
LITERAL_BYTES_MAX: Final = 64
PADDING: Final = b" " * (TEXT_BYTES_MAX + LITERAL_BYTES_MAX + 64)
"""What is no change may have its commas anywhere: then windows reach so far beyond the frames, on either side."""
WORD: Final = np.dtype("<u8")
QUOTE, COMMA, SPACE, BACKSLASH, LINE_FEED = b'", \\\n'
NUMBERS: Final = ("sid", "seq", "ts_ms", "sending_ts_ms")
TEXTS: Final = ("market_ticker", "price_dollars", "delta_fp", "side", "ts")
KNOWN: Final = frozenset(NUMBERS + TEXTS)
CHECKED: Final = KNOWN - {"ts"}  # every byte of these values is looked at where they are read
NEEDED: Final = frozenset(("sid", "seq", "ts_ms", "market_ticker", "price_dollars", "delta_fp", "side"))
DIGITS_MAX: Final = {"sid": 8, "seq": 15, "ts_ms": 15, "sending_ts_ms": 15}
FRACTION_AT: Final = 19  # of 2026-11-03T05:06:07.123456Z

_VALUE = re.compile(rb'"(\w+)":("[^"\\]*"|\d+)')
_ZEROS = np.uint64(0x3030303030303030)
_TOPS = np.uint64(0x8080808080808080)
_QUOTES = np.uint64(0x2222222222222222)
_EACH = np.uint64(0x0101010101010101)
_OVER_NINE = np.uint64(0x7676767676767676)
_PAIRS = np.uint64(0x000000FF000000FF)
_HUNDREDS = np.uint64(100 + (1_000_000 << 32))
_ONES = np.uint64(1 + (10_000 << 32))
_HALF, _BYTE, _TWO_BYTES = np.uint64(32), np.uint64(8), np.uint64(16)
_FIRST = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # the mask of a word's first n bytes
_LAST = np.array([((1 << 8 * n) - 1) << 8 * (8 - n) for n in range(9)], np.uint64)
_LEAST = np.array([0, 0] + [10 ** (n - 1) for n in range(2, 16)], np.int64)  # of n digits: none begins with 0
_WITHIN = np.array(
    [[_FIRST[min(max(n - 8 * k, 0), 8)] for k in range(TEXT_BYTES_MAX // 8)] for n in range(TEXT_BYTES_MAX + 1)]
)
_YES_WORD, _NO_WORD = (np.uint64(int.from_bytes(text, "little")) for text in (b"yes", b"no"))
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Text:
    """Frames behind one another, as `bytes` and as words; `starts` and `ends` are where each begins and ends."""

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

    def lines(self, first: int, behind: int) -> bytes:
        """The frames from number `first` on, up to number `behind`."""
        return self.between(self.starts[first], self.ends[behind - 1]) if behind > first else b""

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


@dataclass(frozen=True)
class _Literal:
    """A text between values: it begins `back` bytes before comma number `comma`, or before the frame's end; the first
    where the frame does."""

    text: bytes
    comma: int | None
    back: int

    def at(self, text: Text, frames: Array) -> Array:
        place = text.ends[frames] if self.comma is None else text.comma(frames, self.comma)
        return place - self.back

    def stands(self, text: Text, at: Array) -> Array:
        """Whether it stands there."""
        size = -(-len(self.text) // 8) * 8
        words = text.words(at, size)
        wanted = np.frombuffer(self.text.ljust(size, b"\0"), WORD)
        masks = _FIRST[[min(len(self.text) - k, 8) for k in range(0, size, 8)]]
        same = np.ones(len(at), bool)
        for k, (word, mask) in enumerate(zip(wanted, masks, strict=True)):
            same &= (words[:, k] if mask == _FIRST[8] else words[:, k] & mask) == word
        return same


@dataclass(frozen=True)
class Fields:
    """What was read of `frames` (their numbers, in order): `columns` as `decoder.values`; `ticker` is a place in
    `tickers`, where a name may stand more than once."""

    frames: Array
    columns: list[Array]
    ticker: Array
    tickers: list[str]


class Form:
    """The text between the values, and the values' names."""

    @classmethod
    def of(cls, frame: bytes) -> Form | None:
        """The form of a frame; None if a value that a change needs is missing, or may be in two places."""
        if sys.byteorder != "little":
            return None  # words are compared as such a machine has them
        form = cls(frame)
        known = [name for name in form._names if name in KNOWN]
        anchored = all(literal.comma is not None for literal in form._literals[1:-1])
        short = all(len(literal.text) <= LITERAL_BYTES_MAX for literal in form._literals)
        complete = len(set(known)) == len(known) and set(known) >= NEEDED
        return form if complete and anchored and short else None

    def __init__(self, frame: bytes) -> None:
        self._names: list[str] = []
        self._literals: list[_Literal] = []
        self._commas, self._quotes = frame.count(b","), frame.count(b'"')
        behind = 0
        for match in _VALUE.finditer(frame):
            name, (start, end) = match[1].decode(), match.span(2)
            text = frame[start] == QUOTE
            if name == "type" or text == (name in NUMBERS):
                continue  # a part of the text between
            self._append(frame, behind, start + text)
            self._names.append(name)
            behind = end - text
        self._append(frame, behind, len(frame))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Form) and self._literals == other._literals

    def __hash__(self) -> int:
        return hash(tuple(self._literals))

    def _append(self, frame: bytes, start: int, end: int) -> None:
        mark = frame.find(b",", start, end)
        if mark < 0:
            self._literals.append(_Literal(frame[start:end], None, len(frame) - start))
        else:
            self._literals.append(_Literal(frame[start:end], frame.count(b",", 0, mark), mark - start))

    def read(self, text: Text, frames: Array) -> Fields:
        """The values of those `frames` (numbers, in order) that have this form and usual values."""
        frames = frames[text.usual[frames] & (text.commas[frames] == self._commas)]
        spans: dict[str, tuple[Array, Array]] = {}
        begins = text.starts[frames]
        same = self._literals[0].stands(text, begins)
        for name, before, behind in zip(self._names, self._literals, self._literals[1:], strict=False):
            start, end = begins + len(before.text), behind.at(text, frames)
            same &= (end > start) & behind.stands(text, end)
            spans[name], begins = (start, end), end
        values = _Values(text, spans, same)
        numbers = (values.number(name) for name in ("sid", "seq", "sending_ts_ms", "ts_ms"))
        columns = [*numbers, values.sub_millisecond(), values.side(), values.price(), values.size()]
        ticker, where = values.ticker()
        if not (len(frames) == len(text.starts) and same.all() and text.quotes == self._quotes * len(frames)):
            for name in sorted(spans.keys() - CHECKED):
                values.text(name)  # otherwise every quotation mark there is stands in the text between
        if not values.usual.all():
            taken = np.flatnonzero(values.usual)
            columns = [column[taken] for column in columns]
            frames, ticker = frames[taken], ticker[taken]
        return Fields(frames, columns, ticker, [text.between(a, b).decode() for a, b in where])


class _Values:
    """The values of frames by name, each between two places; `usual` becomes false where one may mean anything else."""

    def __init__(self, text: Text, spans: Mapping[str, tuple[Array, Array]], usual: Array) -> None:
        self._text, self._spans, self.usual = text, spans, usual

    def number(self, name: str) -> Array:
        """A whole number, at least 0; `NONE` where no frame has it."""
        if name not in self._spans:
            return np.full(len(self.usual), NONE, np.int64)
        start, end = self._spans[name]
        length = end - start
        self.usual &= length <= DIGITS_MAX[name]
        length = np.clip(length, 0, DIGITS_MAX[name])
        words = self._text.words(end - 16, 16)
        value = self._digits(words[:, 1], np.minimum(length, 8))
        if DIGITS_MAX[name] > 8:
            high = (words[:, 0] ^ _ZEROS) & _LAST[np.maximum(length - 8, 0)]
            alike = bool(len(high)) and bool((high == high[0]).all())  # mostly: times, and numbers in a row
            value += 100_000_000 * self._sum(high[:1] if alike else high)
        self.usual &= value >= _LEAST[length]
        if name in ("sid", "seq"):
            self.usual &= value > 0
        return value

    def price(self) -> Array:
        """A price of one digit and four places, in units of 1e-4 dollar."""
        start, end = self._spans["price_dollars"]
        word = self._text.words(end - 8, 8)[:, 0]
        self.usual &= (end - start == 6) & ((word >> np.uint64(24)) & np.uint64(0xFF) == ord("."))
        whole = ((word >> _TWO_BYTES) & np.uint64(0xFF)).astype(np.int64) - ord("0")
        price = whole * 10_000 + self._digits(word, 4)
        self.usual &= (whole >= 0) & (whole <= 9) & (price <= PRICE_UNITS_MAX)
        return price

    def size(self) -> Array:
        """A signed size of at most eight digits and two places, in units of 1e-2 contract; not zero."""
        start, end = self._spans["delta_fp"]
        words = self._text.words(end - 16, 16)
        tail, word = words[:, 1], (words[:, 0] >> np.uint64(40)) | (words[:, 1] << np.uint64(24))
        negative = self._text.words(start, 8)[:, 0] & np.uint64(0xFF) == ord("-")
        digits = end - start - 3 - negative
        self.usual &= (digits >= 1) & (digits <= 8) & ((tail >> np.uint64(40)) & np.uint64(0xFF) == ord("."))
        size = 100 * self._digits(word, np.clip(digits, 0, 8)) + self._digits(tail, 2)
        self.usual &= size > 0
        return np.where(negative, -size, size)

    def side(self) -> Array:
        """`YES` or `NO`."""
        start, end = self._spans["side"]
        word = self._text.words(start, 8)[:, 0] & _FIRST[np.minimum(end - start, 8)]
        no = word == _NO_WORD
        self.usual &= no | (word == _YES_WORD)
        return np.where(no, NO, YES)

    def sub_millisecond(self) -> Array:
        """As `numbers.sub_millisecond_us` says."""
        if "ts" not in self._spans:
            return np.full(len(self.usual), NONE, np.int64)
        start, end = self._spans["ts"]
        places = end - start - FRACTION_AT - 2
        word = self._text.words(start + FRACTION_AT, 8)[:, 0]
        self.usual &= (places >= 1) & (places <= 6) & (word & np.uint64(0xFF) == ord("."))
        places = np.clip(places, 1, 6)
        zed = (word >> (_BYTE * (places + 1).astype(np.uint64))) & np.uint64(0xFF)
        self.usual &= zed == ord("Z")
        # The digits as the last of a word, what is trimmed as the zeros that it was.
        aligned = ((word ^ _ZEROS) & _FIRST[places + 1]) << _BYTE
        us = self._sum(aligned & _LAST[6]) % 1000
        return np.where(places > 3, us, NONE)

    def text(self, name: str) -> tuple[Array, Array, Array]:
        """A text, which holds no quotation mark: as words with zeros behind it; where it starts; its bytes."""
        start, end = self._spans[name]
        length = end - start
        self.usual &= length <= TEXT_BYTES_MAX
        length = np.clip(length, 0, TEXT_BYTES_MAX)
        used = -(-int(length.max(initial=8)) // 8)
        words = self._text.words(start, 8 * used) & _WITHIN[length, :used]
        quoted = np.zeros(len(length), np.uint64)
        for k in range(used):
            other = words[:, k] ^ _QUOTES  # a zero byte where a quotation mark is
            quoted |= (other - _EACH) & ~other
        self.usual &= quoted & _TOPS == 0
        return words, start, length

    def ticker(self) -> tuple[Array, list[tuple[int, int]]]:
        """Numbers, each for one text, and where that text lies; a text may have several."""
        words, start, length = self.text("market_ticker")
        mixed = np.zeros(len(length), np.uint64)
        for k in range(words.shape[1]):
            mixed = (mixed ^ words[:, k]) * _MIX
            mixed ^= mixed >> np.uint64(29)
        # Sixteen bits are sorted fastest, and bring equal texts together; others may lie between.
        order = np.argsort((mixed >> np.uint64(48)).astype(np.uint16), kind="stable")
        mixed = mixed[order]
        begins = np.concatenate(([True], mixed[1:] != mixed[:-1]))[: len(mixed)]
        firsts, number = order[begins], np.empty(len(order), np.int64)
        number[order] = np.cumsum(begins) - 1
        for k in range(words.shape[1]):
            self.usual &= words[:, k] == words[firsts, k][number]
        return number, list(zip(start[firsts].tolist(), (start + length)[firsts].tolist(), strict=True))

    def _digits(self, word: Array, count: Array | int) -> Array:
        """The number that the last `count` bytes of each word write."""
        return self._sum((word ^ _ZEROS) & _LAST[count])

    def _sum(self, digits: Array) -> Array:
        """A digit in each byte, the last one the units, as a number."""
        self.usual &= ((digits | (digits + _OVER_NINE)) & _TOPS) == 0
        pairs = digits * np.uint64(10) + (digits >> _BYTE)
        fours = (pairs & _PAIRS) * _HUNDREDS + ((pairs >> _TWO_BYTES) & _PAIRS) * _ONES
        return (fours >> _HALF).astype(np.int64)
