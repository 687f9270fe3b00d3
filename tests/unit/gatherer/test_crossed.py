"""Rule 8's cheapest check: no two-sided book is crossed at the end of a millisecond (0 of 1,283,367 real states)."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from common.numbers import DOLLAR, HOUR_MS
from deduplicator.archive.crossed import CrossedHour
from deduplicator.archive.order import Order, rows_of
from gatherer.derive import state
from gatherer.derive.bulk import stretch
from gatherer.derive.crossed import is_crossed
from gatherer.derive.derivation import Derivation
from gatherer.derive.horizon import BoundsMs
from gatherer.journal.format import Kind, Record, SessionOpened
from tests.support.scale import LONG

START = 1_700_000_000_000 // HOUR_MS * HOUR_MS
BOUNDS = BoundsMs(disorder=15_000, lag=30_000, sender=1000, clock=200)
Level = tuple[int, int]
Change = tuple[int, int, int, int, int]
"""Code, millisecond, side, price, delta."""


def made(rng: random.Random) -> tuple[dict[int, dict[Level, int]], list[Change]]:
    """Opening books and changes of some markets."""
    books: dict[int, dict[Level, int]] = {}
    changes: list[Change] = []
    for code in range(rng.randrange(1, 5)):
        prices = rng.choice(((1, 4000, 6000, 9999), tuple(range(4000, 6000, 150))))
        book = {(rng.randrange(2), rng.choice(prices)): rng.randrange(1, 9) for _ in range(rng.randrange(4))}
        books[code] = dict(book)
        ms = START
        for _ in range(rng.randrange(60)):
            ms += rng.choice((0, 0, 1, 30_000))
            level = (rng.randrange(2), rng.choice(prices))
            delta = rng.choice((rng.randrange(1, 9), -book.get(level, 0) or 2))
            book[level] = book.get(level, 0) + delta
            changes.append((code, ms, *level, delta))
    return books, changes


def by_hand(books: dict[int, dict[Level, int]], changes: list[Change]) -> tuple[int, dict[int, int]]:
    """Two-sided states at ends of milliseconds, and where one is crossed: once a market, its first."""
    compared = 0
    wrong: dict[int, int] = {}
    now = {code: dict(book) for code, book in books.items()}
    for at, (code, ms, side, price, delta) in enumerate(changes):
        now[code][side, price] = now[code].get((side, price), 0) + delta
        if at + 1 < len(changes) and changes[at + 1][:2] == (code, ms):
            continue
        best = [max((p for (s, p), q in now[code].items() if s == side_ and q > 0), default=0) for side_ in (0, 1)]
        if all(best):
            compared += 1
            if sum(best) >= DOLLAR:
                wrong.setdefault(code, ms)
    return compared, wrong


@pytest.mark.parametrize("seed", range(400 if LONG else 60))
def test_a_whole_hour_is_looked_at_like_state_by_state(seed: int) -> None:
    """Any cut into blocks; markets that continue from one into the next, levels that come and go."""
    rng = random.Random(seed)
    books, changes = made(rng)
    order = Order([f"KX{code}" for code in range(5)], START)
    crossed = CrossedHour(order)
    for code, book in books.items():
        levels = np.array([(s, p, q) for (s, p), q in book.items()], np.int64).reshape(-1, 3)
        codes = np.full(max(1, len(levels)), code)
        crossed.open(codes, np.full(len(codes), bool(len(levels))), *levels.T)
    ordinals: list[int] = []
    last = (-1, -1)
    for code, ms, *_ in changes:
        ordinals.append(ordinals[-1] + 1 if (code, ms) == last else 0)
        last = (code, ms)
    columns = np.array(changes, np.int64).reshape(-1, 5).T
    key = order.keys(columns[0], columns[1], np.array(ordinals, np.int64))
    names = dict(zip(("side", "price", "delta"), columns[2:], strict=True))
    rows = rows_of(key, {**names, "received_us": key, "exchange_us": np.zeros(len(key), np.int64)})
    cuts = sorted({len(changes), *(rng.randrange(len(changes) + 1) for _ in range(rng.randrange(4)))})
    first = 0
    for cut in cuts:
        crossed.add(rows[first:cut])
        first = cut
    compared, wrong = by_hand(books, changes)
    assert dict(crossed.result(set())[1]) == wrong
    assert crossed.compared == compared and crossed.opened == set(books)
    assert not crossed.result(set(wrong))[0]


def test_a_book_is_crossed_if_both_bids_are_a_dollar_together() -> None:
    """Keys are twice the price, and one more for NO; a side that is empty cannot be crossed."""
    assert is_crossed({2 * 6000: 1, 2 * 4000 + 1: 1}) and not is_crossed({2 * 5999: 1, 2 * 4000 + 1: 1})
    assert is_crossed({2 * 9999: 1}) is None and is_crossed({}) is None


def frames(changes: list[tuple[str, str, int]]) -> list[Record]:
    """A session's book of one market, then changes: side, price, milliseconds after the first."""
    opened = msgspec.json.encode(SessionOpened("orderbook", 1, "ws://x", clock_proven=True))
    records = [Record(Kind.OPENED, 1, START * 1000, 0, opened)]
    bodies: list[tuple[str, dict[str, Any], int]] = [
        ("orderbook_snapshot", {"yes_dollars_fp": [["0.4000", "9.00"]], "no_dollars_fp": [["0.5000", "9.00"]]}, 0)
    ]
    for side, price, after in changes:
        body = {"price_dollars": price, "delta_fp": "1.00", "side": side, "ts_ms": START + 10_000 + after}
        bodies.append(("orderbook_delta", body, 10_000 + after))
    for seq, (type_, body, after) in enumerate(bodies, 1):
        frame = {"type": type_, "sid": 1, "seq": seq, "msg": {"market_ticker": "KXA", **body}}
        frame["sending_ts_ms"] = START + after + 1
        records.append(Record(Kind.FRAME, 1, (START + after + 2) * 1000, 0, json.dumps(frame).encode()))
    return records


def test_a_gatherer_finds_a_book_that_stays_crossed_and_none_in_the_midst_of_a_millisecond() -> None:
    """It seems crossed at a batch's end; what comes next shows whether the millisecond had ended."""
    for after, found in ((0, 0), (2000, 1)):
        derivation = Derivation(BOUNDS, state.fresh(1))
        batches = [
            frames([("yes", "0.3000", 0), ("yes", "0.5000", 1500)]),
            frames([("no", "0.1000", 1500 + after)])[2:],
        ]
        counts: dict[str, int] = {}
        for number, batch in enumerate(batches):
            for record in batch:
                frame = record.payload.replace(b'"seq": 2,', b'"seq": 4,') if number else record.payload
                derivation.apply(Record(record.kind, 1, record.wall_us, 0, frame))
            rows = derivation.take()
            for name, count in rows.checks.items():
                counts[name] = counts.get(name, 0) + count
        assert counts.get("uncrossed_book_disagreed", 0) == found
        assert rows.crossed == [("KXA", START + 11_500)] * found


def test_no_real_book_is_ever_crossed(recordings: list[Path]) -> None:
    """The smallest recordings, through the gatherer's derivation: many looks, none of them crossed."""
    looks = 0
    for file in recordings[: 12 if LONG else 3]:
        derivation = Derivation(BOUNDS, state.fresh(1))
        opened = msgspec.json.encode(SessionOpened("orderbook", 1, "ws://x", clock_proven=True))
        records: list[Record] = []
        seq = 0
        with gzip.open(file, "rt") as lines:
            for line in lines:
                row = json.loads(line)
                if not row["event"]["type"].startswith("orderbook_"):
                    continue
                seq += 1
                data = json.dumps({**row["event"], "sid": 1, "seq": seq}, separators=(",", ":")).encode()
                if not records:
                    records.append(Record(Kind.OPENED, 1, row["recv_ms"] * 1000, 0, opened))
                records.append(Record(Kind.FRAME, 1, row["recv_ms"] * 1000, 0, data))
                if len(records) == 200:
                    looks += looked(derivation, records)
                    records = records[:0] or [Record(Kind.WATCH, 0, 0, 0, b'{"tickers":[]}')]
        looks += looked(derivation, records)
    assert looks > 100


def looked(derivation: Derivation, records: list[Record]) -> int:
    """How many books were looked at in this batch; none may be crossed."""
    stretch.apply(derivation, records)
    rows = derivation.take()
    assert not rows.crossed and "uncrossed_book_disagreed" not in rows.checks
    return rows.checks.get("uncrossed_book_agreed", 0)
