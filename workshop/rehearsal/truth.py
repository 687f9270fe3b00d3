"""The exchange's own log, read back: what should be in production. Nothing here comes from the fleet."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

Level = tuple[str, Decimal]
Identity = tuple[str, int, int]
"""Ticker, exchange millisecond, ordinal."""
Change = tuple[str, Decimal, Decimal, int]
"""Side, price, delta, microseconds within the millisecond."""


@dataclass
class Truth:
    """Everything that happened on the exchange."""

    deltas: dict[Identity, Change] = field(default_factory=dict)
    trades: dict[str, tuple[str, int, Decimal, Decimal, str, bool]] = field(default_factory=dict)
    books: dict[str, dict[Level, Decimal]] = field(default_factory=dict)
    shown: defaultdict[str, list[tuple[int, int, dict[Level, Decimal]]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Books that a market began with or was given without changes: after how many of its changes, when, which."""
    lifecycle: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    lifecycle_ms: defaultdict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    """When each lifecycle event was, by market and type."""
    resets: int = 0
    last_ms: int = 0

    @classmethod
    def read(cls, file: Path) -> Truth:
        """Read a truth log; ordinals are counted here, per market and millisecond, in the log's order."""
        truth = cls()
        last: dict[str, tuple[int, int]] = {}
        changes: defaultdict[str, int] = defaultdict(int)
        with file.open() as lines:
            for line in lines:
                row = json.loads(line)
                kind, ticker = row["kind"], row.get("ticker", "")
                if kind in ("open", "reset"):
                    truth.books[ticker] = {
                        (side, Decimal(price)): Decimal(size) for side in ("yes", "no") for price, size in row[side]
                    }
                    truth.shown[ticker].append((changes[ticker], row["ts_ms"], dict(truth.books[ticker])))
                    truth.resets += kind == "reset"
                elif kind == "delta":
                    ms = row["ts_ms"]
                    before = last.get(ticker, (-1, -1))
                    ordinal = before[1] + 1 if before[0] == ms else 0
                    last[ticker] = (ms, ordinal)
                    changes[ticker] += 1
                    change = (row["side"], Decimal(row["price"]), Decimal(row["delta"]), row["us"])
                    truth.deltas[(ticker, ms, ordinal)] = change
                    truth._apply(ticker, change)
                elif kind == "trade":
                    truth.trades[row["trade_id"]] = (
                        ticker,
                        row["ts_ms"],
                        Decimal(row["yes_price"]),
                        Decimal(row["count"]),
                        row["taker_side"],
                        row["is_block"],
                    )
                elif kind == "lifecycle":
                    truth.lifecycle[(ticker, row["event_type"])] += 1
                    truth.lifecycle_ms[(ticker, row["event_type"])].append(row["ts_ms"])
                truth.last_ms = max(truth.last_ms, row.get("ts_ms", 0))
        return truth

    def trade_ordinals(self) -> dict[str, tuple[int, frozenset[str], frozenset[Identity]]]:
        """By trade: the ordinal of the change that it made; all trades and all changes that are equal to these.

        Among equal ones, which differ in nothing that anybody could see, they go by trade id and ordinal.
        """
        takes: defaultdict[tuple[str, int, str, Decimal, Decimal], list[Identity]] = defaultdict(list)
        for identity, (side, price, delta, _) in sorted(self.deltas.items()):
            takes[*identity[:2], side, price, -delta].append(identity)
        made: defaultdict[tuple[str, int, str, Decimal, Decimal], list[str]] = defaultdict(list)
        for trade_id, (ticker, ms, price, count, taker_side, is_block) in sorted(self.trades.items()):
            if not is_block:
                maker = ("no", 1 - price) if taker_side == "yes" else ("yes", price)
                made[ticker, ms, *maker, count].append(trade_id)
        return {
            trade_id: (identity[2], frozenset(ids), frozenset(takes[content]))
            for content, ids in made.items()
            for trade_id, identity in zip(ids, takes[content], strict=False)
        }

    def _apply(self, ticker: str, change: Change) -> None:
        side, price, delta, _ = change
        book = self.books[ticker]
        size = book.get((side, price), Decimal(0)) + delta
        if size:
            book[(side, price)] = size
        else:
            book.pop((side, price), None)
