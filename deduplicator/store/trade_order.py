"""Trades in the exchange's order: each gets the ordinal of its twin, whichever of the two comes later.

In the transaction that stores a trade its millisecond is looked at (`place_trade_copies`, `place_refilled_trades`); in
the one that stores a change, the milliseconds of trades that it could be the twin of (here). What a trade gets depends
on what is stored alone: `store.give_ordinals`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import asyncpg
import numpy as np

from common.contract.deltas import Deltas
from common.distinct import distinct
from common.feed.tables import PLACED
from common.storage import copy as binary
from deduplicator.merge.identity import I64
from deduplicator.merge.twins import NO_TWIN, Takes, equal_content, takes_of_changes
from deduplicator.statements import SQL
from deduplicator.store import times
from deduplicator.store.feed import FeedEntry

LAYOUT: Final = (
    ("market", "i8"),
    ("exchange_ts", "i8"),
    ("ordinal", "i4"),
    ("side", "i2"),
    ("price", "i4"),
    ("count", "i8"),
)
APART_MS: Final = 10_000
"""Changes that are farther apart are looked at as two stretches: one late copy must not mean to read a day."""
NEVER: Final = 1 << 40


async def place(db: asyncpg.Connection, new: Deltas, entry: FeedEntry) -> None:
    """Trades that were there before the changes that have just been stored, and may be theirs."""
    changes, ordinals = takes_of_changes(new)
    if not len(changes):
        return
    sides = (side.tolist() for side in _stretches(changes.exchange_ms))
    first, last = times.stored(("from_ms", "to_ms"), zip(*sides, strict=True))
    found = await binary.read(db, LAYOUT, SQL["trades_within"], first, last, first[0], last[-1])
    exchange_ms = binary.us_of_timestamps(found["exchange_ts"]) // 1000
    trades = Takes(found["market"], exchange_ms, found["side"], found["price"], found["count"])
    at = _concerned(trades, found["ordinal"], changes, ordinals)
    if len(at):
        places = zip(found["market"][at].tolist(), exchange_ms[at].tolist(), strict=True)
        given = times.stored(("market", "exchange_ms"), places)
        placed(entry, await db.fetch(SQL["give_ordinals"], *given))


def placed(entry: FeedEntry, trades: Iterable[tuple[Any, ...]]) -> None:
    """Trades that were given an ordinal, or lost theirs: id, market, time, ordinal."""
    entry.add_stored(PLACED, trades)


def _stretches(exchange_ms: I64) -> tuple[I64, I64]:
    """First and last milliseconds of times that lie close together."""
    times = distinct(exchange_ms)
    apart = np.flatnonzero(np.diff(times) > APART_MS)
    return times[np.concatenate(([0], apart + 1))], times[np.concatenate((apart, [len(times) - 1]))]


def _concerned(trades: Takes, has: I64, changes: Takes, ordinals: I64) -> I64:
    """The trades whose twin may be another now: an equal change came, and they have none, or a later one."""
    near = np.isin(changes.exchange_ms, trades.exchange_ms)
    near_changes = Takes(*(column[near] for column in vars(changes).values()))
    mine, theirs = equal_content(trades, near_changes)
    first = np.full(len(mine) + len(theirs), NEVER)
    np.minimum.at(first, theirs, ordinals[near])
    return np.flatnonzero(np.where(has == NO_TWIN, NEVER - 1, has) > first[mine])
