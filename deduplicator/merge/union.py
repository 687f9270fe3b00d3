"""Rules 2 and 3: the first copy of an identity is new; every other confirms it, or contradicts it.

`examine` looks without changing anything; what it finds contradictory is rare and handled row by row in
`disputes`. The common path is columnar: sort by identity, compare neighbours, look up the store.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deduplicator.merge.copies import Deltas
from deduplicator.merge.identity import I64, U8, U64, Bool, IdentityStore, pack_content


@dataclass
class Placed:
    """All rows with known ordinals of one step, of all copies, in the order in which they were given."""

    key: U64
    content: I64
    bit: U8
    """The gatherer's bit."""
    copy: I64
    """Index of the copy."""
    row: I64
    """Index within the copy's deltas."""
    run: I64
    """Index of the run, dense within the step."""
    closes: Bool
    """Whether a later group of the same run follows: the row is the last of its group."""


@dataclass
class Findings:
    """What the comparison says of each row of `Placed`, and of earlier rows."""

    order: I64
    first: Bool
    """By sorted position: the first row of its identity in this step."""
    stored: Bool
    """By sorted position: the identity is in the store."""
    suspicious: set[tuple[int, int]]
    """Groups (market number, millisecond) in which copies contradict each other."""


def placed_rows(store: IdentityStore, copies: list[tuple[int, Deltas, Bool]], runs: list[I64]) -> Placed:
    """Collect rows. Each copy comes as (bit, deltas, mask of rows to take); `runs` are dense run indexes."""
    parts = []
    for index, ((bit, deltas, take), run) in enumerate(zip(copies, runs, strict=True)):
        at = np.nonzero(take)[0]
        order = at[np.lexsort((deltas.seq[at], run[at]))]  # within a run, the journal's order is that of seq
        market, ms = deltas.market[order], deltas.exchange_ms[order]
        key = store.keys(market, ms, deltas.ordinal[order])
        content = pack_content(deltas.side[order], deltas.price[order], deltas.delta[order])
        same_run = np.zeros(len(order), np.bool_)
        later = np.zeros(len(order), np.bool_)
        if len(order) > 1:
            same_run[:-1] = run[order][1:] == run[order][:-1]
            later[:-1] = ms[1:] != ms[:-1]
        parts.append(
            (
                key,
                content,
                np.full(len(order), bit, np.uint8),
                np.full(len(order), index, np.int64),
                order.astype(np.int64),
                run[order],
                same_run & later,
            )
        )
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Placed(*columns)


def examine(store: IdentityStore, rows: Placed, closed_before: tuple[U64, U8]) -> Findings:
    """Compare the rows with each other and with the store.

    `closed_before`: keys of earlier rows whose group ended now because their run went on, with the gatherer's bit.
    """
    order = np.argsort(rows.key, kind="stable")
    key, content = rows.key[order], rows.content[order]
    first = np.ones(len(key), np.bool_)
    first[1:] = key[1:] != key[:-1]
    group = np.cumsum(first) - 1
    unique = key[first]
    found, stored_content, _, _ = store.lookup(unique)
    reference = np.where(found, stored_content, content[first])
    wrong = content != reference[group]

    # A group that ended in one copy must not go on in another.
    one = np.uint64(1)
    closing = rows.closes[order]
    ends = np.concatenate((key[closing], closed_before[0]))
    goes_on = np.isin(ends + one, unique)
    goes_on |= store.lookup(ends + one)[0]
    suspicious_keys = [key[wrong], ends[goes_on]]
    continued = (unique & np.uint64(8191)) > 0
    _, _, _, closed = store.lookup(unique[continued] - one)
    suspicious_keys.append(unique[continued][closed != 0])
    suspicious = {store.unpack(int(k))[:2] for k in np.concatenate(suspicious_keys)}
    return Findings(order, first, found[group] if len(group) else found, suspicious)
