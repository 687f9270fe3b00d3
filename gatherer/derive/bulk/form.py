"""Order-book changes read without taking each apart: the exchange writes all of them in one form.

A `Form` is the text between the values, learned from one frame that the JSON decoder has read. Where another frame has
the same text around the same commas, its values lie between, and thousands are read at once as columns of bytes
(`values`). Any other frame is left to the decoder, so a new key or another order of keys costs a new form, not an
error.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Final

import numpy as np

from gatherer.derive.bulk.text import FIRST, QUOTE, WINDOW_BYTES_MAX, WORD, Array, Text
from gatherer.derive.bulk.values import Values

LITERAL_BYTES_MAX: Final = WINDOW_BYTES_MAX
NUMBERS: Final = ("sid", "seq", "ts_ms", "sending_ts_ms")
TEXTS: Final = ("market_ticker", "price_dollars", "delta_fp", "side", "ts")
KNOWN: Final = frozenset(NUMBERS + TEXTS)
CHECKED: Final = KNOWN - {"ts"}  # every byte of these values is looked at where they are read
NEEDED: Final = frozenset(("sid", "seq", "ts_ms", "market_ticker", "price_dollars", "delta_fp", "side"))

_VALUE = re.compile(rb'"(\w+)":("[^"\\]*"|\d+)')


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
        masks = FIRST[[min(len(self.text) - k, 8) for k in range(0, size, 8)]]
        same = np.ones(len(at), bool)
        for k, (word, mask) in enumerate(zip(wanted, masks, strict=True)):
            same &= (words[:, k] if mask == FIRST[8] else words[:, k] & mask) == word
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
        copied = 0
        for match in _VALUE.finditer(frame):
            name, (start, end) = match[1].decode(), match.span(2)
            text = frame[start] == QUOTE
            if name == "type" or text == (name in NUMBERS):
                continue  # a part of the text between
            self._append(frame, copied, start + text)
            self._names.append(name)
            copied = end - text
        self._append(frame, copied, len(frame))

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
        for name, before, after in zip(self._names, self._literals, self._literals[1:], strict=False):
            start, end = begins + len(before.text), after.at(text, frames)
            same &= (end > start) & after.stands(text, end)
            spans[name], begins = (start, end), end
        values = Values(text, spans, same)
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
