"""The verdict on a replay: one that tells what happened is equal, and whatever it tells otherwise is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kalshi_fleet as kf
from workshop.rehearsal.replayed import follow
from workshop.rehearsal.truth import Truth
from workshop.rehearsal.verdict import Check

Events = list[kf.Event]
HOUR_MS = 3_600_000


def happened(ms: int, kind: str, ticker: str = "A", **fields: Any) -> dict[str, Any]:
    """A line of the log."""
    return {"kind": kind, "ticker": ticker, "ts_ms": HOUR_MS + ms, **fields}


def delta(ms: int, side: str, price: str, by: str, ticker: str = "A") -> dict[str, Any]:
    """A change."""
    return happened(ms, "delta", ticker, us=0, side=side, price=price, delta=by)


def trade(ms: int, trade_id: str) -> dict[str, Any]:
    """One contract."""
    said: dict[str, Any] = {
        "trade_id": trade_id,
        "yes_price": "0.3000",
        "count": "1.00",
        "taker_side": "no",
        "is_block": False,
    }
    return happened(ms, "trade", **said)


LOG = [
    happened(0, "open", yes=[["0.3000", "5.00"]], no=[]),
    happened(0, "open", "B", yes=[], no=[["0.4000", "2.00"]]),
    delta(5, "yes", "0.3000", "3.00"),
    delta(10, "yes", "0.3000", "-1.00"),
    trade(10, "t1"),
    delta(10, "no", "0.6000", "2.00"),
    happened(10, "reset", yes=[["0.2000", "7.00"]], no=[]),
    delta(20, "no", "0.4000", "-2.00", "B"),
    delta(30, "yes", "0.1000", "1.00"),
    delta(30, "yes", "0.1000", "-1.00"),
    delta(40, "yes", "0.2000", "-7.00"),
    trade(40, "t2"),
    happened(50, "reset", yes=[["0.9000", "1.00"]], no=[]),
]


def replayed() -> Events:
    """A replay of it: A is known of after its first change, and its first reset is seen late."""
    at = HOUR_MS
    return [
        kf.Gap("A", at, at + 7, "orderbook_delta", "before_subscription"),
        kf.Gap("A", at, at + 7, "trade", "before_subscription"),
        kf.Book("B", at, {}, {4000: 200}, "start"),
        kf.Book("A", at + 7, {3000: 800}, {}, "known_again"),
        kf.Change("A", at + 10, 0, "yes", 3000, -100, 700),
        kf.Change("A", at + 10, 1, "no", 6000, 200, 200),
        kf.Trade("A", at + 10, 0, "t1", 3000, 100, "no", False),
        kf.Change("B", at + 20, 0, "no", 4000, -200, 0),
        kf.Reset("A", at + 25, {2000: 700}, {}, "reset"),
        kf.Change("A", at + 30, 0, "yes", 1000, 100, 100),
        kf.Change("A", at + 30, 1, "yes", 1000, -100, 0),
        kf.Change("A", at + 40, 0, "yes", 2000, -700, 0),
        kf.Trade("A", at + 40, 0, "t2", 3000, 100, "no", False),
        kf.Reset("A", at + 60, {9000: 100}, {}, "reset"),
        kf.Gap("A", at + 90, at + 99, "orderbook_delta", "not_recorded"),
    ]


def judged(folder: Path, events: Events, *, strict: bool = True, from_ms: int = 0) -> Check:
    """What the verdict says."""
    log = folder / "truth.ndjson"
    log.write_text("\n".join(map(json.dumps, LOG)))
    check = Check("replay")
    follow(Truth.read(log), events, HOUR_MS + from_ms, check, strict=strict)
    return check


@pytest.mark.parametrize("strict", [True, False])
def test_what_happened_is_equal(tmp_path: Path, strict: bool) -> None:
    """Four ends of a millisecond, of two markets the last book, two trades; one change is from before the first book.
    What was lost when nobody listened any more is no difference."""
    check = judged(tmp_path, replayed(), strict=strict)
    assert (check.compared, check.listed, check.failed) == (4 + 2 + 2, 1, 0), check.examples
    assert check.note == "6 ends of a millisecond, 2 trades"


def test_a_reset_may_be_seen_at_once(tmp_path: Path) -> None:
    """Then the book at the end of its millisecond is the new one."""
    events = replayed()
    events.insert(7, events.pop(8)._replace(at_ms=HOUR_MS + 10))
    assert not judged(tmp_path, events).failed


def test_a_replay_may_begin_late(tmp_path: Path) -> None:
    """What was before is no difference, and the book that it begins with is the log's."""
    begin = HOUR_MS + 26
    started: Events = [kf.Book("A", begin, {2000: 700}, {}, "start"), kf.Book("B", begin, {}, {}, "start")]
    check = judged(tmp_path, [*started, *replayed()[9:]], from_ms=26)
    assert (check.compared, check.failed) == (2 + 2 + 1, 0), check.examples
    started[1] = kf.Book("B", begin, {}, {4000: 200}, "start")
    assert judged(tmp_path, [*started, *replayed()[9:]], from_ms=26).failed == 1


def without(*places: int) -> Callable[[Events], Events]:
    """A replay that does not tell these."""
    return lambda events: [event for place, event in enumerate(events) if place not in places]


def other(place: int, **fields: Any) -> Callable[[Events], Events]:
    """A replay that tells one otherwise."""
    return lambda events: [*events[:place], events[place]._replace(**fields), *events[place + 1 :]]


def twice(place: int) -> Callable[[Events], Events]:
    """A replay that tells one again."""
    return lambda events: [*events[: place + 1], *events[place:]]


def lost(reason: str) -> Callable[[Events], Events]:
    """A replay that loses B's book."""
    gap = kf.Gap("B", HOUR_MS + 8, HOUR_MS + 30, "orderbook_delta", reason)
    return lambda events: [*events[:4], gap, *without(7)(events)[4:]]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (other(4, delta=-200), "on the exchange"),
        (other(4, side="no"), "on the exchange"),
        (other(4, ordinal=7), "on the exchange"),
        (other(4, size=800), "yes 3000: 800, 700 on the exchange"),
        (other(3, yes={3000: 700, 2900: 100}), "yes 2900: 100, None on the exchange"),
        (other(3, no={1000: 1}), "no 1000: 1, None on the exchange"),
        (without(5), "no 6000: None, 200 on the exchange"),
        (without(9, 10), "0 changes are replayed, 2 on the exchange"),
        (twice(9), "out of order, or twice"),
        (lambda events: [*events[:9], events[10], events[9], *events[11:]], "out of order, or twice"),
        (lambda events: [*events[:7], events[9], *events[7:9], *events[10:]], "out of order, or twice"),
        (without(8), "yes 2000: None"),
        (without(13), "yes 9000: None, 100 on the exchange"),
        (without(6), "trade t1 is not replayed"),
        (without(12), "trade t2 is not replayed"),
        (twice(6), "twice, or not on the exchange"),
        (other(6, trade_id="t3"), "twice, or not on the exchange"),
        (other(6, count=200), "on the exchange"),
        (other(6, ticker="B"), "on the exchange"),
        (lost("impossible_book"), "no book is known: impossible_book"),
        (without(2), "nothing is replayed"),
    ],
)
def test_every_difference_is_found(tmp_path: Path, broken: Callable[[Events], Events], said: str, strict: bool) -> None:
    """Whether outages are expected or not."""
    check = judged(tmp_path, broken(replayed()), strict=strict)
    assert check.failed and any(said in example for example in check.examples), check.examples


@pytest.mark.parametrize("reason", ["not_recorded", "conflict", "before_subscription"])
def test_what_is_lost_is_listed_where_outages_are_expected(tmp_path: Path, reason: str) -> None:
    """And a difference where only a market's first moments may be."""
    outages, none = (judged(tmp_path, lost(reason)(replayed()), strict=strict) for strict in (False, True))
    assert (outages.failed, outages.listed) == (0, 1 + 2) and none.failed == 2


def test_a_lost_trade_is_listed_where_outages_are_expected(tmp_path: Path) -> None:
    """In the gap, and nowhere else."""
    for until, failed in ((41, 0), (40, 1)):
        gap = kf.Gap("A", HOUR_MS + 35, HOUR_MS + until, "trade", "not_recorded")
        events = replayed()
        events[11:13] = [gap, events[11]]
        events = sorted(events, key=lambda event: event.at_ms)
        assert judged(tmp_path, events, strict=False).failed == failed
        assert judged(tmp_path, events).failed == 1
