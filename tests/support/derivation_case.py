"""Several sessions' frames in one journal, and what is derived from them: many at once against one by one."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import msgspec

from gatherer.derive import state
from gatherer.derive.bulk import stretch
from gatherer.derive.deltas import COLUMNS
from gatherer.derive.derivation import Derivation
from gatherer.derive.rows import Rows
from gatherer.journal.format import Kind, Record, RestBook, Watch
from tests.support.world import BOUNDS, Shape, Station, in_blocks, make_events, ticker

IN_ANY_ORDER = ("run_events", "snapshots", "rest_books")


def compact(payload: bytes) -> bytes:
    """A frame as the exchange writes it: compact, with a line feed."""
    return json.dumps(json.loads(payload), separators=(",", ":")).encode() + b"\n"


def shown(rows: Rows) -> dict[str, Any]:
    """Everything in the rows. Lists whose order means nothing are sorted, positions within a run kept."""
    result: dict[str, Any] = {}
    for name, value in vars(rows).items():
        if name == "deltas":
            columns = ["ticker", *(c for c in COLUMNS if c != "code")]
            result[name] = list(zip(*(value.list(c) for c in columns), strict=True))
        elif name == "run_events":
            result[name] = sorted((tuple(e[1:]) for e in value), key=lambda e: e[0])
        elif name in IN_ANY_ORDER:
            result[name] = sorted(value, key=repr)
        else:
            result[name] = value
    return result


def compare(records: list[Record], rng: random.Random, *, few: int = 1, adopt: bool = False) -> Counter[str]:
    """Both ways, in the same batches; returns what went which way."""
    one, many = (Derivation(BOUNDS, state.fresh(1)) for _ in range(2))
    ways: Counter[str] = Counter()
    single = many.contents.numbered

    def numbered(*given: Any) -> int:
        ways["within"] += 1
        return single(*given)

    many.contents.numbered = numbered  # type: ignore[method-assign, assignment]
    at = 0
    while at < len(records):
        if adopt and rng.random() < 0.3:
            one.adopt(1)
            many.adopt(1)
        size = rng.choice((9, 50, 300, 1000))
        part = records[at : at + size]
        for record in part:
            one.apply(record)
        stretch.apply(many, in_blocks(part, rng), few)
        expected, got = one.take(), many.take()
        for name, value in shown(expected).items():
            assert shown(got)[name] == value, f"{name}, batch at {at}"
        assert msgspec.to_builtins(many.state) == msgspec.to_builtins(one.state), f"state after the batch at {at}"
        ways["rows"] += len(expected.deltas)
        ways["quarantined"] += len(expected.quarantine)
        at += size
    ways["at once"] = ways["rows"] - ways["within"]
    return ways


def journal(seed: int, shape: Shape, stations: int = 3) -> list[Record]:
    """Several sessions' frames in one lane's journal."""
    rng = random.Random(seed)
    records: list[Record] = []
    for number in range(1, stations + 1):
        station = Station(number, random.Random(seed * 10 + number), shape)
        station.play(make_events(random.Random(seed), shape))
        records += station.records
    records.sort(key=lambda r: r.wall_us)
    watched = Watch([ticker(m) for m in range(shape.markets)])
    for at in sorted(rng.sample(range(len(records)), 3), reverse=True):
        us = records[at].wall_us
        book = RestBook(ticker(1), us, us, [("0.4200", "1.00")], [])
        records.insert(at + 3, Record(Kind.REST_BOOK, 0, us, us, msgspec.json.encode(book)))
        records.insert(at, Record(Kind.WATCH, 0, us, us, msgspec.json.encode(watched)))
    for record in records:
        if record.kind == Kind.FRAME:
            record.payload = compact(record.payload)
    return records
