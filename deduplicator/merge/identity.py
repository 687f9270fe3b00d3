"""Identities as single integers, and the store of the recent ones.

An identity is (market, exchange millisecond, ordinal). Packed: 21 bits of a dense slot, 30 bits of milliseconds
within a window of time (12.4 days), 13 bits of ordinal within a page. A slot is one market in one window and one page
of ordinals, so a time may be of any age and a millisecond may hold any number of changes; rows of one market that are
in different slots are compared by content and by coverage, and their neighbourhood is not (see `linked`).

The store knows every identity that was written with a time at or after `floor_ms`; for earlier ones the caller
loads what production has before it asks. Each row carries the gatherers that hold it, and those that have shown in
one unbroken run that nothing lies between it and the row before it in its slot (`linked`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from common.contract.identity import GATHERERS_MAX, PRICE_BITS, SIDE_BITS
from deduplicator.merge.numbering import Slots

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
U16 = npt.NDArray[np.uint16]
Bool = npt.NDArray[np.bool_]

ORDINAL_BITS = 13
MS_BITS = 30
SLOT_BITS = 21
YOUNG_ROWS_MAX: Final = 1 << 18

Awaited = Callable[[I64, I64, U16], Bool]
"""Markets, milliseconds and holders of rows: which of them a gatherer that holds them may still come to claim."""


class StoreFull(Exception):
    """More markets changed lately than the packing has slots for: begin again from production."""


def pack_content(side: I64, price: I64, delta: I64) -> I64:
    """Side, price and signed delta as one integer: equal integers if and only if equal content."""
    packed: I64 = (delta << (PRICE_BITS + SIDE_BITS)) | (price << SIDE_BITS) | side
    return packed


def unpack_content(content: I64) -> tuple[I64, I64, I64]:
    """Side, price, delta."""
    return content & 1, (content >> SIDE_BITS) & ((1 << PRICE_BITS) - 1), content >> (PRICE_BITS + SIDE_BITS)


def slot_shift() -> np.uint64:
    """How far a key is shifted to its slot."""
    return np.uint64(MS_BITS + ORDINAL_BITS)


class IdentityRows:
    """Sorted columns: key, content, gatherers that hold the row, gatherers that link it to the one before it."""

    def __init__(self, key: U64, content: I64, holders: U16, linked: U16) -> None:
        self.key, self.content, self.holders, self.linked = key, content, holders, linked

    @classmethod
    def empty(cls) -> IdentityRows:
        """No rows."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.uint16), np.empty(0, np.uint16))

    def __len__(self) -> int:
        return len(self.key)

    def find(self, keys: U64) -> tuple[I64, Bool]:
        """Positions of keys (of those that are not there: where they would be), and whether they are there."""
        at: I64 = np.searchsorted(self.key, keys)
        here = at < len(self.key)
        here[here] = self.key[at[here]] == keys[here]
        return at, here

    def merged(self, other: IdentityRows) -> IdentityRows:
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
            (self.linked, other.linked),
        ):
            column = np.empty(size, left.dtype)
            column[ours], column[theirs] = left, right
            columns.append(column)
        return IdentityRows(*columns)

    def where(self, keep: Bool) -> IdentityRows:
        """The rows that a mask keeps."""
        return IdentityRows(self.key[keep], self.content[keep], self.holders[keep], self.linked[keep])


class Stored(NamedTuple):
    """A stored row of one group."""

    key: int
    ordinal: int
    content: int
    holders: int


class Places(NamedTuple):
    """Where keys are, or would be, in the two parts of a store, until it changes."""

    keys: U64
    at: tuple[I64, I64]
    here: tuple[Bool, Bool]

    @property
    def stored(self) -> Bool:
        """Whether the keys are there."""
        return self.here[0] | self.here[1]

    @property
    def rank(self) -> I64:
        """How many stored keys are smaller."""
        return self.at[0] + self.at[1]


class IdentityStore:
    """Recent identities: a large old part, and a small young one that is merged into it now and then."""

    def __init__(self, floor_ms: int) -> None:
        self.floor_ms = self.newest_ms = floor_ms
        self._slots = Slots()
        self._old, self._young = IdentityRows.empty(), IdentityRows.empty()

    def __len__(self) -> int:
        return len(self._old) + len(self._young)

    # -- keys --------------------------------------------------------------------------------------------------

    def keys(self, market: I64, ms: I64, ordinal: I64) -> U64:
        """Pack identities; raises `StoreFull` if there is no slot for one."""
        if not len(market):
            return np.empty(0, np.uint64)
        slot = self._slots.dense(market, ms >> MS_BITS, ordinal >> ORDINAL_BITS)
        if len(self._slots) > 1 << SLOT_BITS:
            raise StoreFull("too many markets changed at once")
        low = ((ms & ((1 << MS_BITS) - 1)) << ORDINAL_BITS) | (ordinal & ((1 << ORDINAL_BITS) - 1))
        packed: U64 = np.bitwise_or(np.left_shift(slot.astype(np.uint64), slot_shift()), low.astype(np.uint64))
        return packed

    def unpack(self, key: int) -> tuple[int, int, int]:
        """Market number, millisecond, ordinal of a key."""
        market, ms, ordinal = self.places(np.array([key], np.uint64))
        return int(market[0]), int(ms[0]), int(ordinal[0])

    def places(self, keys: U64) -> tuple[I64, I64, I64]:
        """`unpack` of many: markets, milliseconds, ordinals."""
        market, window, page = self._slots.of((keys >> slot_shift()).astype(np.int64))
        low = keys.astype(np.int64)
        ms: I64 = (window << MS_BITS) + ((low >> ORDINAL_BITS) & ((1 << MS_BITS) - 1))
        ordinal: I64 = (page << ORDINAL_BITS) + (low & ((1 << ORDINAL_BITS) - 1))
        return market, ms, ordinal

    def has_slots(self, market: I64, ms: I64, ordinal: I64) -> Bool:
        """Whether anything is stored of the same market, window and page: only then a place is worth a key."""
        return self._slots.known(market, ms >> MS_BITS, ordinal >> ORDINAL_BITS)

    def milliseconds(self, keys: U64) -> I64:
        """The exchange milliseconds of keys."""
        _, window, _ = self._slots.of((keys >> slot_shift()).astype(np.int64))
        ms: I64 = (window << MS_BITS) + ((keys.astype(np.int64) >> ORDINAL_BITS) & ((1 << MS_BITS) - 1))
        return ms

    # -- looking up --------------------------------------------------------------------------------------------

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

    def holders(self, places: Places) -> U16:
        """Which gatherers hold the rows, 0 where there is none."""
        holders = np.zeros(len(places.keys), np.uint16)
        for part, at, here in zip((self._old, self._young), places.at, places.here, strict=True):
            holders[here] = part.holders[at[here]]
        return holders

    def passed_over(self, places: Places) -> U16:
        """For keys that are not there: which gatherers have shown that nothing is at their place.

        Those link the next row of the slot to one before the key.
        """
        top = np.uint64((1 << 64) - 1)
        following = np.full(len(places.keys), top, np.uint64)
        linked = np.zeros(len(places.keys), np.uint16)
        for part, at in zip((self._old, self._young), places.at, strict=True):
            there = np.nonzero(at < len(part))[0]
            key = part.key[at[there]]
            nearer = key < following[there]
            following[there[nearer]] = key[nearer]
            linked[there[nearer]] = part.linked[at[there[nearer]]]
        linked[following >> slot_shift() != places.keys >> slot_shift()] = 0
        return linked

    def between(self, low: int, high: int) -> U64:
        """The stored keys between two keys, neither of them included."""
        parts = []
        for part in (self._old, self._young):
            start = int(np.searchsorted(part.key, np.uint64(low), side="right"))
            end = int(np.searchsorted(part.key, np.uint64(high), side="left"))
            parts.append(part.key[start:end])
        return np.concatenate(parts)

    def of_market(self, market: int, from_ms: int, to_ms: int) -> U64:
        """The stored keys of a market in a stretch of time."""
        parts = [np.empty(0, np.uint64)]
        for window in range(from_ms >> MS_BITS, (to_ms >> MS_BITS) + 1):
            begin_ms = window << MS_BITS
            start, end = max(from_ms - begin_ms, 0), min(to_ms - begin_ms, 1 << MS_BITS)
            for page in self._slots.pages(window):
                slot = self._slots.find(market, window, page)
                if slot is None:
                    continue
                bounds = np.array([(slot << MS_BITS) + start, (slot << MS_BITS) + end], np.uint64)
                for part in (self._old, self._young):
                    low, high = np.searchsorted(part.key, bounds << np.uint64(ORDINAL_BITS)).tolist()
                    parts.append(part.key[low:high])
        return np.concatenate(parts)

    def all_keys(self) -> U64:
        """All stored keys."""
        return np.concatenate((self._old.key, self._young.key))

    def group(self, market: int, ms: int) -> list[Stored]:
        """The stored rows of one group, by ordinal."""
        found: list[Stored] = []
        for page in self._slots.pages(ms >> MS_BITS):
            slot = self._slots.find(market, ms >> MS_BITS, page)
            if slot is None:
                continue
            base = (slot << (MS_BITS + ORDINAL_BITS)) | ((ms & ((1 << MS_BITS) - 1)) << ORDINAL_BITS)
            for part in (self._old, self._young):
                start = int(np.searchsorted(part.key, np.uint64(base)))
                end = int(np.searchsorted(part.key, np.uint64(base + (1 << ORDINAL_BITS) - 1), side="right"))
                for n in range(start, end):
                    key = int(part.key[n])
                    ordinal = (page << ORDINAL_BITS) + (key & ((1 << ORDINAL_BITS) - 1))
                    found.append(Stored(key, ordinal, int(part.content[n]), int(part.holders[n])))
        return sorted(found, key=lambda row: row.ordinal)

    # -- changing ----------------------------------------------------------------------------------------------

    def mark(self, places: Places, holders: U16, linked: U16) -> None:
        """Add bits to the rows that are there; no key may be given twice."""
        for part, at, here in zip((self._old, self._young), places.at, places.here, strict=True):
            part.holders[at[here]] |= holders[here]
            part.linked[at[here]] |= linked[here]

    def release(self, bit: int) -> None:
        """A gatherer's bit is given to another: nothing is known of its previous owner."""
        keep = np.uint16(~bit & ((1 << GATHERERS_MAX) - 1))
        for part in (self._old, self._young):
            part.holders &= keep
            part.linked &= keep

    def insert(self, key: U64, content: I64, holders: U16, linked: U16) -> None:
        """Add rows that are not there; keys sorted and unique."""
        if not len(key):
            return
        self._young = self._young.merged(IdentityRows(key.copy(), content.copy(), holders.copy(), linked.copy()))
        self.newest_ms = max(self.newest_ms, int(self.milliseconds(key).max()))
        if len(self._young) > YOUNG_ROWS_MAX:
            self._old, self._young = self._old.merged(self._young), IdentityRows.empty()

    def load(self, market: I64, ms: I64, ordinal: I64, content: I64, holders: U16) -> U64:
        """Add rows that production has; returns the keys of those that were not here."""
        keys = self.keys(market, ms, ordinal)
        order = np.argsort(keys)
        keys, content, holders = keys[order], content[order], holders[order]
        new = ~self.locate(keys).stored
        self.insert(keys[new], content[new], holders[new], np.zeros(int(new.sum()), np.uint16))
        return keys[new]

    def forgets(self, keep_ms: int, rows_max: int) -> bool:
        """Whether it is time to forget: once a window is enough, as cutting costs as much as it frees."""
        aged = self.newest_ms - keep_ms >= self.floor_ms + keep_ms
        return bool(len(self)) and (aged or len(self) > rows_max or len(self._slots) > 1 << (SLOT_BITS - 1))

    def forget(self, keep_ms: int, rows_max: int, awaited: Awaited | None = None) -> None:
        """Raise the floor: rows older than `keep_ms` before the newest go, more if there are more than `rows_max`.

        `awaited`: which of them are kept all the same, as a gatherer that holds them does not claim them yet.
        Keys are other ones afterwards.
        """
        floor = self.newest_ms - keep_ms
        self._old, self._young = self._old.merged(self._young), IdentityRows.empty()
        ms = self.milliseconds(self._old.key)
        if len(ms) > rows_max:
            floor = max(floor, int(np.partition(ms, len(ms) - rows_max)[len(ms) - rows_max]) + 1)
        keep = ms >= floor
        old = np.nonzero(~keep)[0]
        if awaited is not None and len(old):
            market, _, _ = self.places(self._old.key[old])
            keep[old] = awaited(market, ms[old], self._old.holders[old])
        self._old.linked[np.concatenate(([True], ~keep[:-1]))] = 0  # the row that it was linked to goes
        self._old = self._old.where(keep)
        used, slot = _distinct((self._old.key >> slot_shift()).astype(np.int64))
        self._slots = self._slots.kept(used)
        low = self._old.key & np.uint64((1 << (MS_BITS + ORDINAL_BITS)) - 1)
        self._old.key = np.left_shift(slot.astype(np.uint64), slot_shift()) | low
        self.floor_ms = max(self.floor_ms, floor)


def _distinct(ascending: I64) -> tuple[I64, I64]:
    """The distinct values, and which of them each is."""
    first = np.ones(len(ascending), np.bool_)
    first[1:] = ascending[1:] != ascending[:-1]
    return ascending[first], np.cumsum(first) - 1
