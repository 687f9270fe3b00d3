"""The twin of a trade: the change of the book that it made. Pure.

It is of the same market and millisecond, at the maker's side and price, minus the count. Among trades and changes of
equal content the k-th trade by id has the k-th change by ordinal: a function of what is there, not of when it came.
A cancel of equal content looks like a twin; the rule holds for both. Production applies the same rule in SQL
(`store.place_trades`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from common.contract.deltas import Deltas
from deduplicator.merge.identity import I64

NO_TWIN = -1
UNITS_PER_DOLLAR = 10_000


@dataclass
class Takes:
    """What is taken from the book, as columns: the maker's side and price, and how much."""

    market: I64
    exchange_ms: I64
    side: I64
    price: I64
    count: I64

    def __len__(self) -> int:
        return len(self.market)


def takes_of_trades(market: I64, exchange_ms: I64, yes_price: I64, count: I64, taker_side: I64) -> Takes:
    """Of trades that are no block trades: a taker of YES (0) takes a resting bid of NO, at a dollar less the price."""
    return Takes(
        market, exchange_ms, 1 - taker_side, np.where(taker_side == 1, yes_price, UNITS_PER_DOLLAR - yes_price), count
    )


def takes_of_changes(deltas: Deltas) -> tuple[Takes, I64]:
    """Of the changes that take something away, and their ordinals."""
    at = np.flatnonzero(deltas.delta < 0)
    columns = (deltas.market, deltas.exchange_ms, deltas.side, deltas.price, -deltas.delta, deltas.ordinal)
    *takes, ordinal = (column[at] for column in columns)
    return Takes(*takes), ordinal


def twins(trades: Takes, ids: Sequence[str], changes: Takes, ordinals: I64) -> I64:
    """The ordinal of each trade's twin, or -1. `ids`: the trades' ids, in lower case."""
    mine, theirs = equal_content(trades, changes)
    by_id = np.lexsort((np.array(ids, np.str_), mine)) if len(mine) else np.empty(0, np.int64)
    by_ordinal = np.lexsort((ordinals, theirs))
    there = theirs[by_ordinal]
    wanted = np.searchsorted(there, mine[by_id]) + _nth(mine[by_id])
    found = wanted < np.searchsorted(there, mine[by_id], "right")
    result = np.full(len(mine), NO_TWIN)
    result[by_id[found]] = ordinals[by_ordinal[wanted[found]]]
    return result


def equal_content(one: Takes, other: Takes) -> tuple[I64, I64]:
    """A number for each row of both: equal numbers, equal content."""
    columns = [np.concatenate((getattr(one, f.name), getattr(other, f.name))) for f in fields(Takes)]
    order = np.lexsort(columns)
    differs = np.zeros(len(order), np.bool_)
    for column in columns:
        differs[1:] |= column[order[1:]] != column[order[:-1]]
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(differs)
    return numbers[: len(one)], numbers[len(one) :]


def _nth(grouped: I64) -> I64:
    """Of a column in which equal numbers stand together: how many of the same stand before each."""
    return np.arange(len(grouped)) - np.searchsorted(grouped, grouped)
