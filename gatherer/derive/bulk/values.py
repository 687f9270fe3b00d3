"""The values that frames have between two places each, eight bytes at a time: digits are added up within a word.

Only what can mean nothing else is taken: digits are digits, no number begins with a zero, no text holds a quotation
mark, prices have four places and sizes two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from common.contract.sides import NO, YES
from common.numbers import PRICE_UNITS_MAX
from gatherer.derive.bulk.decoder import NONE
from gatherer.derive.bulk.text import FIRST, WINDOW_BYTES_MAX, Array, Text

TEXT_BYTES_MAX: Final = WINDOW_BYTES_MAX
DIGITS_MAX: Final = {"sid": 8, "seq": 15, "ts_ms": 15, "sending_ts_ms": 15}
FRACTION_AT: Final = 19  # of 2026-11-03T05:06:07.123456Z

_ZEROS = np.uint64(0x3030303030303030)
_TOPS = np.uint64(0x8080808080808080)
_QUOTES = np.uint64(0x2222222222222222)
_EACH = np.uint64(0x0101010101010101)
_OVER_NINE = np.uint64(0x7676767676767676)
_PAIRS = np.uint64(0x000000FF000000FF)
_HUNDREDS = np.uint64(100 + (1_000_000 << 32))
_ONES = np.uint64(1 + (10_000 << 32))
_HALF, _BYTE, _TWO_BYTES = np.uint64(32), np.uint64(8), np.uint64(16)
_LAST = np.array([((1 << 8 * n) - 1) << 8 * (8 - n) for n in range(9)], np.uint64)
_LEAST = np.array([0, 0] + [10 ** (n - 1) for n in range(2, 16)], np.int64)  # of n digits: none begins with 0
_WITHIN = np.array(
    [[FIRST[min(max(n - 8 * k, 0), 8)] for k in range(TEXT_BYTES_MAX // 8)] for n in range(TEXT_BYTES_MAX + 1)]
)
_YES_WORD, _NO_WORD = (np.uint64(int.from_bytes(text, "little")) for text in (b"yes", b"no"))
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Values:
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
            same = bool(len(high)) and bool((high == high[0]).all())  # mostly: times, and numbers in a row
            value += 100_000_000 * self._sum(high[:1] if same else high)
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
        word = self._text.words(start, 8)[:, 0] & FIRST[np.minimum(end - start, 8)]
        no = word == _NO_WORD
        self.usual &= no | (word == _YES_WORD)
        return np.where(no, NO, YES)

    def sub_millisecond(self) -> Array:
        """As `numbers.sub_millisecond_us`."""
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
        aligned = ((word ^ _ZEROS) & FIRST[places + 1]) << _BYTE
        us = self._sum(aligned & _LAST[6]) % 1000
        return np.where(places > 3, us, NONE)

    def text(self, name: str) -> tuple[Array, Array, Array]:
        """A text, which holds no quotation mark: as words with zeros after it; where it starts; its bytes."""
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
