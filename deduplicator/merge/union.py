"""Rules 2 and 3: the first copy of an identity is new; every other confirms it, or contradicts it.

Nothing here changes the store; what is contradictory is rare and handled row by row in `disputes`. The common path is
columnar: sort by identity, compare neighbours, look the store up once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from deduplicator.merge.copies import Copy, RunKey
from deduplicator.merge.identity import (
    I64,
    MS_BITS,
    ORDINAL_BITS,
    ORDINALS,
    U8,
    U64,
    Bool,
    IdentityStore,
    Places,
    pack_content,
)

GROUP_SHIFT: Final = np.uint64(ORDINAL_BITS)
MARKET_SHIFT: Final = np.uint64(ORDINAL_BITS + MS_BITS)


@dataclass
class Placed:
    """All rows with known ordinals of one step, copy after copy, each copy's by run and place."""

    key: U64
    content: I64
    bit: U8
    """The gatherer's bit."""
    copy: I64
    """Index of the copy."""
    row: I64
    """Index within the copy's deltas."""
    run: I64
    """Index into `runs`, dense within the step."""
    closes: Bool
    """Whether a later group of the same run follows: the row is the last of its group."""
    runs: list[RunKey]
    begins: I64
    """The first row of each run."""


@dataclass
class United:
    """Rows of `Placed` by identity: each once, with what all copies say of it."""

    order: I64
    """Rows by identity; of one identity in the order in which they were given."""
    starts: I64
    """Where in `order` each identity begins."""
    places: Places
    content: I64
    """Of the stored row, else of the first copy."""
    holders: U8
    closed: U8
    """Bits of the gatherers that have the row, and of those whose group ended with it."""


def placed_rows(store: IdentityStore, copies: list[Copy], bits: list[int], masks: list[Bool]) -> Placed:
    """Collect the rows that the masks keep; `bits`: of the copies' gatherers."""
    parts = []
    runs: list[RunKey] = []
    for index, (copy, bit, take) in enumerate(zip(copies, bits, masks, strict=True)):
        deltas = copy.deltas
        at = np.nonzero(take)[0]
        key = store.keys(deltas.market[at], deltas.exchange_ms[at], deltas.ordinal[at])
        by_place = _sorting(key)
        run, sorted_key = deltas.run[at[by_place]], key[by_place]
        other_run = run[1:] != run[:-1]
        if (other_run & (sorted_key[1:] >> MARKET_SHIFT == sorted_key[:-1] >> MARKET_SHIFT)).any():
            # A market has several runs here, and they may overlap. Within a run the journal's order is that of seq.
            by_place = np.lexsort((deltas.seq[at], deltas.run[at]))
            run, sorted_key = deltas.run[at[by_place]], key[by_place]
            other_run = run[1:] != run[:-1]
        order = at[by_place]
        closes = np.zeros(len(order), np.bool_)
        closes[:-1] = ~other_run & (sorted_key[1:] >> GROUP_SHIFT != sorted_key[:-1] >> GROUP_SHIFT)
        number = np.zeros(len(order), np.int64)
        np.cumsum(other_run, out=number[1:])
        if len(order):
            number += len(runs)
            names = run[np.concatenate(([0], np.nonzero(other_run)[0] + 1))].tolist()
            runs += [(copy.gatherer, copy.lane, name) for name in names]
        parts.append(
            (
                sorted_key,
                pack_content(deltas.side[order], deltas.price[order], deltas.delta[order]),
                np.full(len(order), bit, np.uint8),
                np.full(len(order), index, np.int64),
                order,
                number,
                closes,
            )
        )
    key, content, of, copy_, row, number_, closes_ = (np.concatenate(column) for column in zip(*parts, strict=True))
    begins: I64 = np.searchsorted(number_, np.arange(len(runs)))
    return Placed(key, content, of, copy_, row, number_, closes_, runs, begins)


def _sorting(key: U64) -> I64:
    """What sorts keys. Those of a market mostly come in their order: then to sort by market is enough, and cheaper."""
    market = key >> MARKET_SHIFT
    order: I64 = np.argsort(market.astype(np.uint16), kind="stable")  # a radix sort, as all of NumPy's of 16 bits
    if len(key) and int(market.max()) >= 1 << 16:
        order = order[np.argsort((market[order] >> np.uint64(16)).astype(np.uint16), kind="stable")]
    in_order = key[order]
    if (in_order[1:] < in_order[:-1]).any():
        order = np.argsort(key)
    return order


def unite(store: IdentityStore, rows: Placed, kept: I64 | None = None) -> United:
    """The rows (of them those at `kept`, ascending; None: all) by identity."""
    order: I64 = np.argsort(rows.key if kept is None else rows.key[kept], kind="stable")
    if kept is not None:
        order = kept[order]
    key = rows.key[order]
    first = np.ones(len(key), np.bool_)
    first[1:] = key[1:] != key[:-1]
    starts = np.nonzero(first)[0]
    places = store.locate(key[starts])
    content = np.where(places.stored, store.content(places), rows.content[order[starts]])
    bit = rows.bit[order]
    closing = np.where(rows.closes[order], bit, 0).astype(np.uint8)
    if not len(starts):
        return United(order, starts, places, content, bit, closing)
    either = np.bitwise_or.reduceat
    return United(order, starts, places, content, either(bit, starts), either(closing, starts))


def contradictions(store: IdentityStore, rows: Placed, united: United, closed_before: U64) -> set[tuple[int, int]]:
    """Groups (market number, millisecond) in which copies contradict each other, or what is stored.

    `closed_before`: keys of earlier rows whose group ended now, because their run went on.
    """
    unique = united.places.keys
    counts = np.diff(united.starts, append=len(united.order))
    wrong = rows.content[united.order] != np.repeat(united.content, counts)
    # A group that ended in one copy must not go on in another.
    following = store.goes_on(united.places)
    following[:-1] |= unique[1:] == unique[:-1] + np.uint64(1)
    before = store.locate(closed_before)
    at = np.searchsorted(unique, closed_before + np.uint64(1))
    late = store.goes_on(before)
    late[at < len(unique)] |= unique[at[at < len(unique)]] == closed_before[at < len(unique)] + np.uint64(1)
    continued = (unique & np.uint64(ORDINALS - 1) > 0) & store.ended_before(united.places)
    found = (
        rows.key[united.order[wrong]],
        unique[following & (united.closed != 0)],
        closed_before[late],
        unique[continued],
    )
    return {store.unpack(key)[:2] for key in np.concatenate(found).tolist()}
