"""Rules 2 and 3: the first copy of an identity is new; every other confirms it, or contradicts it.

Nothing here changes the store; what is contradictory is rare and handled group by group in `joining`. The common path
is columnar: sort by identity, compare neighbours, look the store up once. Between two neighbouring rows of one run
nothing can lie (an unbroken run holds everything): whatever another copy has there contradicts it, and the reverse.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deduplicator.merge.copies import Copy, RunKey
from deduplicator.merge.identity import (
    I64,
    U16,
    U64,
    Bool,
    IdentityStore,
    Places,
    pack_content,
    slot_shift,
)

Group = tuple[int, int]
"""Market number, exchange millisecond."""


@dataclass
class PlacedRows:
    """All rows with known ordinals of one step, chain after chain. A chain is one run's rows in one slot, in order."""

    key: U64
    content: I64
    bit: U16
    """The gatherer's bit."""
    copy: I64
    """Index of the copy."""
    row: I64
    """Index within the copy's deltas."""
    chain: I64
    """Index into `runs`, dense within the step."""
    runs: list[RunKey]
    begins: I64
    """The first row of each chain."""


@dataclass
class UnitedRows:
    """Rows of `PlacedRows` by identity: each once, with what all copies have of it."""

    order: I64
    """Rows by identity; of one identity in the order in which they were given."""
    starts: I64
    """Where in `order` each identity begins."""
    places: Places
    content: I64
    """Of the stored row, else of the first copy."""
    holders: U16
    linked: U16
    """Bits of the gatherers that have the row, and of those that have nothing between it and the one before it."""
    passed: list[tuple[int, int, int]] = field(default_factory=list)
    """Neighbours in a run between which other rows lie: the two keys, and the gatherer's bit."""


def placed_rows(store: IdentityStore, copies: list[Copy], bits: list[int], masks: list[Bool]) -> PlacedRows:
    """Collect the rows that the masks keep; `bits`: of the copies' gatherers."""
    parts = []
    runs: list[RunKey] = []
    for index, (copy, bit, take) in enumerate(zip(copies, bits, masks, strict=True)):
        deltas = copy.deltas
        at = np.nonzero(take)[0]
        key = store.keys(deltas.market[at], deltas.exchange_ms[at], deltas.ordinal[at])
        by_place = _sorting(key)
        run, sorted_key = deltas.run[at[by_place]], key[by_place]
        other_slot = sorted_key[1:] >> slot_shift() != sorted_key[:-1] >> slot_shift()
        if ((run[1:] != run[:-1]) & ~other_slot).any():
            # A market has several runs here, and they may overlap: each run's rows apart.
            by_place = np.lexsort((key, deltas.run[at]))
            run, sorted_key = deltas.run[at[by_place]], key[by_place]
            other_slot = sorted_key[1:] >> slot_shift() != sorted_key[:-1] >> slot_shift()
        other_chain = other_slot | (run[1:] != run[:-1])
        order = at[by_place]
        number = np.zeros(len(order), np.int64)
        np.cumsum(other_chain, out=number[1:])
        if len(order):
            number += len(runs)
            names = run[np.concatenate(([0], np.nonzero(other_chain)[0] + 1))].tolist()
            runs += [(copy.gatherer, copy.lane, name) for name in names]
        parts.append(
            (
                sorted_key,
                pack_content(deltas.side[order], deltas.price[order], deltas.delta[order]),
                np.full(len(order), bit, np.uint16),
                np.full(len(order), index, np.int64),
                order,
                number,
            )
        )
    key, content, of, copy_, row, chain = (np.concatenate(column) for column in zip(*parts, strict=True))
    begins: I64 = np.searchsorted(chain, np.arange(len(runs)))
    return PlacedRows(key, content, of, copy_, row, chain, runs, begins)


def _sorting(key: U64) -> I64:
    """What sorts keys. Those of a market mostly come in their order: then to sort by market is enough, and cheaper."""
    slot = key >> slot_shift()
    order: I64 = np.argsort(slot.astype(np.uint16), kind="stable")  # a radix sort, as all of NumPy's of 16 bits
    if len(key) and int(slot.max()) >= 1 << 16:
        order = order[np.argsort((slot[order] >> np.uint64(16)).astype(np.uint16), kind="stable")]
    in_order = key[order]
    if (in_order[1:] < in_order[:-1]).any():
        order = np.argsort(key)
    return order


def unite(store: IdentityStore, rows: PlacedRows, before: U64, kept: I64 | None = None) -> UnitedRows:
    """The rows (of them those at `kept`, ascending; None: all) by identity.

    `before`: for each chain, the key of its run's last row of earlier steps in the same slot; 0: none.
    """
    here = np.arange(len(rows.key)) if kept is None else kept
    order: I64 = np.argsort(rows.key[here], kind="stable")
    order = here[order]
    key = rows.key[order]
    first = np.ones(len(key), np.bool_)
    first[1:] = key[1:] != key[:-1]
    starts = np.nonzero(first)[0]
    places = store.locate(key[starts])
    stored = places.stored
    content = np.where(stored, store.content(places), rows.content[order[starts]])
    bit = rows.bit[order]
    if not len(starts):
        return UnitedRows(order, starts, places, content, bit, bit.copy())
    rank = places.rank + np.cumsum(~stored) - ~stored
    rank_of_row = np.empty(len(rows.key), np.int64)
    rank_of_row[order] = rank[np.cumsum(first) - 1]
    linked_row = np.zeros(len(rows.key), np.bool_)
    passed = _link(rows, here, rank_of_row, linked_row)
    passed += _link_before(store, rows, before, here, key[starts][~stored], rank_of_row, linked_row)
    either = np.bitwise_or.reduceat
    linking = np.where(linked_row[order], bit, 0).astype(np.uint16)
    return UnitedRows(order, starts, places, content, either(bit, starts), either(linking, starts), passed)


def _link(rows: PlacedRows, here: I64, rank: I64, linked: Bool) -> list[tuple[int, int, int]]:
    """Neighbours of one chain: adjacent among all rows, or passed over something."""
    left, right = here[:-1], here[1:]
    neighbours = (right == left + 1) & (rows.chain[right] == rows.chain[left])
    distance = rank[right] - rank[left]
    linked[right[neighbours & (distance <= 1)]] = True
    at = right[neighbours & (distance > 1)].tolist()
    return [(int(rows.key[n - 1]), int(rows.key[n]), int(rows.bit[n])) for n in at]


def _link_before(
    store: IdentityStore, rows: PlacedRows, before: U64, here: I64, new: U64, rank: I64, linked: Bool
) -> list[tuple[int, int, int]]:
    """The same for the first row of each chain, and the last one of the same run in earlier steps."""
    chains = np.nonzero((before != 0) & (before < rows.key[rows.begins]))[0]
    at = rows.begins[chains]
    if len(here) < len(rows.key):
        used = np.zeros(len(rows.key), np.bool_)
        used[here] = True
        chains, at = chains[used[at]], at[used[at]]
    places = store.locate(before[chains])
    distance = rank[at] - (places.rank + np.searchsorted(new, before[chains]))
    known = places.stored
    linked[at[known & (distance <= 1)]] = True
    found = np.nonzero(known & (distance > 1))[0].tolist()
    return [(int(before[chains[n]]), int(rows.key[at[n]]), int(rows.bit[at[n]])) for n in found]


def contradictions(store: IdentityStore, rows: PlacedRows, united: UnitedRows) -> dict[Group, int]:
    """Groups in which copies contradict each other, or what is stored.

    With the bits of the gatherers that have shown, in an unbroken run, that they hold no more of it than they brought.
    """
    unique = united.places.keys
    counts = np.diff(united.starts, append=len(united.order))
    wrong = rows.content[united.order] != np.repeat(united.content, counts)
    found: dict[Group, int] = {store.unpack(key)[:2]: 0 for key in rows.key[united.order[wrong]].tolist()}

    def note(key: int, bits: int) -> None:
        group = store.unpack(key)[:2]
        found[group] = found.get(group, 0) | bits

    new = unique[~united.places.stored]
    for low, high, bit in united.passed:
        start, end = np.searchsorted(new, np.array([low, high], np.uint64), side="left")
        for key in [*store.between(low, high).tolist(), *new[start:end].tolist()]:
            if low < key < high:
                note(key, bit)
    objections = store.passed_over(united.places)
    objections[united.places.stored] = 0
    for at in np.nonzero(objections)[0].tolist():
        note(int(unique[at]), int(objections[at]))
    return found
