"""Twins of trades in an hour whose changes have left production: of the archive's changes and of those that came late.

Production alone cannot give them: what it has of the hour's changes are the late ones. Looked at are the milliseconds
in which a trade has no ordinal, or a late change came.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from common.contract.identity import ARCHIVED_ORDINAL_BITS as ORDINAL_BITS
from common.distinct import distinct
from common.numbers import ms_of_datetime
from deduplicator.archive.order import I64, Order, Rows
from deduplicator.merge.twins import Takes, twins


class PlacedTrade(NamedTuple):
    """A trade, and its ordinal as it is now."""

    trade_id: str
    exchange_ts: datetime
    ordinal: int | None


class ArchivedTwins:
    """`seen` all changes of the hour, then ask what was `placed`. `rows`: of `trades_to_place`."""

    def __init__(self, rows: Sequence[Any], order: Order) -> None:
        self._rows, self._order = rows, order
        names = ("exchange_ms", "side", "price", "count")
        values = [(ms_of_datetime(row["exchange_ts"]), *(row[name] for name in names[1:])) for row in rows]
        columns = np.array(values, np.int64).reshape(-1, len(names)).T
        self._trades = Takes(order.codes(row["ticker"] for row in rows), *columns)
        self._at = distinct(self._places(self._trades))
        self._changes: list[tuple[Takes, I64]] = []

    def _places(self, takes: Takes) -> I64:
        nothing = np.zeros(len(takes), np.int64)
        places: I64 = self._order.keys(takes.market, takes.exchange_ms, nothing) >> ORDINAL_BITS
        return places

    def seen(self, rows: Rows) -> None:
        """These changes are in the hour."""
        mine = rows[(rows["delta"] < 0) & np.isin(rows["key"] >> ORDINAL_BITS, self._at)]
        code, exchange_ms, ordinal = self._order.unpack(mine["key"])
        columns = (mine[name].astype(np.int64) for name in ("side", "price", "delta"))
        side, price, delta = columns
        self._changes.append((Takes(code, exchange_ms, side, price, -delta), ordinal))

    def placed(self) -> list[PlacedTrade]:
        """The trades whose ordinal is another than production has."""
        if not self._rows or not self._changes:
            return []
        parts = [list(vars(takes).values()) for takes, _ in self._changes]
        changes = Takes(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        ordinals = np.concatenate([ordinal for _, ordinal in self._changes])
        found = twins(self._trades, [row["trade_id"] for row in self._rows], changes, ordinals)
        now = [None if place < 0 else place for place in found.tolist()]
        return [
            PlacedTrade(row["trade_id"], row["exchange_ts"], place)
            for row, place in zip(self._rows, now, strict=True)
            if place != row["ordinal"]
        ]
