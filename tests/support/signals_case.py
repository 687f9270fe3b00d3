"""Real recordings as events of a market, and what oracles.json was made from, computed by the definition."""

from __future__ import annotations

import gzip
import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import levels
from common.contract.sides import NO, YES
from common.numbers import DOLLAR, ms_of_datetime, parse_price, parse_size, parse_time
from signals import events
from signals.events import Event


@dataclass
class Recorded:
    """A recording: its market, events in the canonical order, when it closed."""

    ticker: str
    events: list[Event]
    since_ms: int
    close_ms: int
    open_ms: int


def recorded(file: Path) -> Recorded:
    """The frames of a file as production would have them: with ordinals, twins, and books where they hold."""
    with gzip.open(file, "rt") as lines:
        frames = [json.loads(line) for line in lines]
    changes: list[tuple[int, int, int, int]] = []
    books: list[tuple[int, dict[int, int], int]] = []
    trades: list[dict[str, Any]] = []
    last_ms, ordinal = -1, 0
    for frame in frames:
        kind, msg = frame["event"]["type"], frame["event"]["msg"]
        if kind == "orderbook_snapshot":
            found = levels.parse_levels(msg.get("yes_dollars_fp") or (), msg.get("no_dollars_fp") or ())
            books.append((len(changes), found, frame["recv_ms"]))
        elif kind == "orderbook_delta":
            ordinal = ordinal + 1 if msg["ts_ms"] == last_ms else 0
            last_ms = msg["ts_ms"]
            side = NO if msg["side"] == "no" else YES
            key = 2 * parse_price(msg["price_dollars"]) + side
            changes.append((last_ms, ordinal, key, parse_size(msg["delta_fp"])))
        else:
            trades.append(msg)
    ticker = trades[0]["market_ticker"]
    made: list[Event] = [*events.changes(*zip(*changes, strict=True)), *_trades(trades, changes)]
    for at, found, received_ms in books:  # a book holds just before the changes that come next
        if at < len(changes):
            made.append(events.book(changes[at][0], changes[at][1] - 1, found.items()))
        else:
            made.append(events.book(received_ms, -1, found.items(), events.RESET))
    market = json.loads(next(file.parent.glob(f"{ticker.rsplit('-', 1)[0]}.market.json")).read_text())
    open_ms, close_ms = (_ms(market["response"]["markets"][0][field]) for field in ("open_time", "close_time"))
    made.append(events.lifecycle(changes[0][0] - 1, events.ACTIVATED, open_ms, close_ms))
    since_ms = min(changes[0][0], trades[0]["ts_ms"]) - 1000
    return Recorded(ticker, events.ordered(made), since_ms, close_ms, open_ms)


def _ms(text: str) -> int:
    at = parse_time(text)
    assert at is not None
    return ms_of_datetime(at)


def _trades(trades: list[dict[str, Any]], changes: list[tuple[int, int, int, int]]) -> list[Event]:
    """Each with the ordinal of its twin: the change that it made, of its millisecond, equal ones in their order."""
    takes: dict[tuple[int, int, int], deque[int]] = {}
    for at_ms, ordinal, key, delta in changes:
        takes.setdefault((at_ms, key, delta), deque()).append(ordinal)
    made: list[Event] = []
    for msg in trades:
        price, size = parse_price(msg["yes_price_dollars"]), parse_size(msg["count_fp"])
        taker = YES if msg["taker_outcome_side"] == "yes" else NO
        key = 2 * (DOLLAR - price) + NO if taker == YES else 2 * price + YES
        twins = takes.get((msg["ts_ms"], key, -size))
        made.append(events.trade(msg["ts_ms"], twins.popleft() if twins else None, msg["trade_id"], price, size, taker))
    return made
