"""Identities as single integers, and the store of the recent ones.

An identity is (market, exchange millisecond, ordinal). Packed: 20 bits of a dense market index, 31 bits of
milliseconds since the store's base (24.8 days), 13 bits of ordinal. What does not fit raises `StoreFull`, and the
owner begins anew from production with only the recent identities: limits are never silent.

The store knows every identity that was written with a time at or after `floor_ms`; for earlier ones the caller
loads what production has before it asks.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from deduplicator.merge.numbering import Numbering

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
U8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]

ORDINAL_BITS: Final = 13
MS_BITS: Final = 31
MARKET_BITS: Final = 20
ORDINALS: Final = 1 << ORDINAL_BITS
YOUNG_ROWS_MAX: Final = 1 << 18
BASE_BEFORE_MS: Final = 14 * 24 * 3600 * 1000  # copies may come so late; local retention is shorter
PRICE_BITS: Final = 20


class StoreFull(Exception):
    """An identity does not fit the packing any more: begin anew from production."""


def pack_content(side: I64, price: I64, delta: I64) -> I64:
    """Side, price and signed delta as one integer: equal integers if and only if equal content."""
    packed: I64 = (delta << (PRICE_BITS + 1)) | (price << 1) | side
    return packed


def unpack_content(content: I64) -> tuple[I64, I64, I64]:
    """Side, price, delta."""
    return content & 1, (content >> 1) & ((1 << PRICE_BITS) - 1), content >> (PRICE_BITS + 1)


class Rows:
    """Sorted columns: key, content, which gatherers hold the row, which had their group end with it."""

    def __init__(self, key: U64, content: I64, holders: U8, closed: U8) -> None:
        self.key, self.content, self.holders, self.closed = key, content, holders, closed

    @classmethod
    def empty(cls) -> Rows:
        """No rows."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint8))

    def __len__(self) -> int:
        return len(self.key)

    def find(self, keys: U64) -> tuple[I64, Bool]:
        """Positions of keys (of those that are not there: where they would be), and whether they are there."""
        at: I64 = np.searchsorted(self.key, keys)
        return at, self.is_at(at, keys)

    def is_at(self, at: I64, keys: U64) -> Bool:
        """Whether these positions, which may be behind the end or before the beginning, hold these keys."""
        here = (at >= 0) & (at < len(self.key))
        here[here] = self.key[at[here]] == keys[here]
        return here

    def merged(self, other: Rows) -> Rows:
        """Both, sorted; their keys are disjoint."""
        if not len(self.key) or not len(other.key):
            return other if len(other.key) else self
        size = len(self.key) + len(other.key)
        theirs = np.searchsorted(self.key, other.key) + np.arange(len(other.key))
        ours = np.ones(size, np.bool_)
        ours[theirs] = False
        columns = []
        for left, right in (
            (self.key, other.key),
            (self.content, other.content),
            (self.holders, other.holders),
            (self.closed, other.closed),
        ):
            column = np.empty(size, left.dtype)
            column[ours], column[theirs] = left, right
            columns.append(column)
        return Rows(*columns)

    def where(self, keep: Bool) -> Rows:
        """The rows that a mask keeps."""
        return Rows(self.key[keep], self.content[keep], self.holders[keep], self.closed[keep])


class Places(NamedTuple):
    """Where keys are, or would be, in the two parts of a store, until it changes."""

    keys: U64
    at: tuple[I64, I64]
    here: tuple[Bool, Bool]

    @property
    def stored(self) -> Bool:
        """Whether the keys are there."""
        return self.here[0] | self.here[1]


class IdentityStore:
    """Recent identities: a large old part, and a small young one that is merged into it now and then."""

    def __init__(self, first_ms: int, floor_ms: int) -> None:
        self.base_ms = first_ms - BASE_BEFORE_MS
        self.floor_ms = floor_ms
        self.markets = Numbering()
        self._old, self._young = Rows.empty(), Rows.empty()
        self.newest_ms = floor_ms

    def __len__(self) -> int:
        return len(self._old) + len(self._young)

    def keys(self, market: I64, ms: I64, ordinal: I64) -> U64:
        """Pack identities; raises `StoreFull` if one does not fit."""
        if not len(market):
            return np.empty(0, np.uint64)
        relative = ms - self.base_ms
        if int(relative.min()) < 0 or int(relative.max()) >= 1 << MS_BITS:
            raise StoreFull("a time is too far from the store's base")
        if int(ordinal.max()) >= ORDINALS:
            raise StoreFull("an ordinal is too large")
        index = self.markets.dense(market).astype(np.uint64)
        if len(self.markets) > 1 << MARKET_BITS:
            raise StoreFull("too many markets")
        packed: U64 = np.bitwise_or(
            np.left_shift(index, np.uint64(MS_BITS + ORDINAL_BITS)),
            np.bitwise_or(
                np.left_shift(relative.astype(np.uint64), np.uint64(ORDINAL_BITS)), ordinal.astype(np.uint64)
            ),
        )
        return packed

    def unpack(self, key: int) -> tuple[int, int, int]:
        """Market number, millisecond, ordinal of a key."""
        index = key >> (MS_BITS + ORDINAL_BITS)
        relative = (key >> ORDINAL_BITS) & ((1 << MS_BITS) - 1)
        return self.markets.number(index), relative + self.base_ms, key & (ORDINALS - 1)

    def milliseconds(self, keys: U64) -> I64:
        """The exchange milliseconds of keys."""
        relative: I64 = ((keys >> np.uint64(ORDINAL_BITS)) & np.uint64((1 << MS_BITS) - 1)).astype(np.int64)
        return relative + self.base_ms

    def locate(self, keys: U64) -> Places:
        """Look keys up; sorted ones are found faster."""
        old, young = self._old.find(keys), self._young.find(keys)
        return Places(keys, (old[0], young[0]), (old[1], young[1]))

    def content(self, places: Places) -> I64:
        """The content of the rows, 0 where there is none."""
        content = np.zeros(len(places.keys), np.int64)
        for part, at, here in zip((self._old, self._young), places.at, places.here, strict=True):
            content[here] = part.content[at[here]]
        return content

    def goes_on(self, places: Places) -> Bool:
        """Whether the next ordinal of the same group is there."""
        behind = np.zeros(len(places.keys), np.bool_)
        following = places.keys + np.uint64(1)
        for part, at, here in zip((self._old, self._young), places.at, places.here, strict=True):
            behind |= part.is_at(at + here, following)
        return behind

    def ended_before(self, places: Places) -> Bool:
        """Whether the ordinal before is there, as the last one of its group in some copy."""
        ended = np.zeros(len(places.keys), np.bool_)
        before = places.keys - np.uint64(1)
        for part, at in zip((self._old, self._young), places.at, strict=True):
            there = part.is_at(at - 1, before)
            ended[there] |= part.closed[at[there] - 1] != 0
        return ended

    def mark(self, places: Places, holders: U8, closed: U8) -> None:
        """Add bits to the rows that are there; no key may be given twice."""
        for part, at, here in zip((self._old, self._young), places.at, places.here, strict=True):
            part.holders[at[here]] |= holders[here]
            part.closed[at[here]] |= closed[here]

    def insert(self, key: U64, content: I64, holders: U8, closed: U8) -> None:
        """Add rows that are not there; keys sorted and unique."""
        if not len(key):
            return
        self._young = self._young.merged(Rows(key.copy(), content.copy(), holders.copy(), closed.copy()))
        newest = ((key >> np.uint64(ORDINAL_BITS)) & np.uint64((1 << MS_BITS) - 1)).max()
        self.newest_ms = max(self.newest_ms, int(newest) + self.base_ms)
        if len(self._young) > YOUNG_ROWS_MAX:
            self._old, self._young = self._old.merged(self._young), Rows.empty()

    def load(self, market: I64, ms: I64, ordinal: I64, content: I64) -> None:
        """Add rows that production has; those already here are passed over."""
        keys = self.keys(market, ms, ordinal)
        order = np.argsort(keys)
        keys, content = keys[order], content[order]
        new = ~self.locate(keys).stored
        none = np.zeros(int(new.sum()), np.uint8)
        self.insert(keys[new], content[new], none, none)

    def group(self, market: int, ms: int) -> list[tuple[int, int, int]]:
        """The stored rows of one group: (ordinal, content, holders), by ordinal."""
        return self.range(market, ms, ms + 1)

    def range(self, market: int, from_ms: int, to_ms: int) -> list[tuple[int, int, int]]:
        """The stored rows of a market in a stretch of time."""
        low, high = self.keys(np.array([market, market]), np.array([from_ms, to_ms]), np.array([0, 0]))
        result = []
        for part in (self._old, self._young):
            start, end = np.searchsorted(part.key, (low, high))
            for n in range(int(start), int(end)):
                result.append((int(part.key[n]), int(part.content[n]), int(part.holders[n])))
        return [(key & (ORDINALS - 1), content, holders) for key, content, holders in sorted(result)]

    def forget(self, keep_ms: int, rows_max: int) -> None:
        """Raise the floor: rows older than `keep_ms` before the newest go, more if there are more than `rows_max`."""
        floor = self.newest_ms - keep_ms
        if len(self) > rows_max:
            merged = self._old.merged(self._young)
            stamps = (merged.key >> np.uint64(ORDINAL_BITS)) & np.uint64((1 << MS_BITS) - 1)
            floor = max(
                floor, int(np.partition(stamps, len(stamps) - rows_max)[len(stamps) - rows_max]) + 1 + self.base_ms
            )
        elif floor < self.floor_ms + keep_ms:
            return  # once a window is enough: cutting costs as much as it frees
        for name in ("_old", "_young"):
            part: Rows = getattr(self, name)
            at_ms: I64 = ((part.key >> np.uint64(ORDINAL_BITS)) & np.uint64((1 << MS_BITS) - 1)).astype(np.int64)
            keep: Bool = at_ms + self.base_ms >= floor
            setattr(self, name, part.where(keep))
        self.floor_ms = max(self.floor_ms, floor)
