"""A time line that waits is looked at when what it waits for happens, and in no step before: there are a million."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.contract.channels import ORDERBOOK
from common.contract.deltas import Deltas
from deduplicator.merge import settling
from deduplicator.merge.copies import Copy, Horizon, RunStart, SliceStart
from deduplicator.merge.merger import Merger
from deduplicator.merge.voices import Voices
from deduplicator.merge.waits import Waits
from tests.support.merge_case import LIMITS
from tests.support.world import START_MS, Stored

MARKETS = range(1, 31)
HOUR = 3_600_000
A, B, C = 1, 2, 3


def begin(gatherer: int, slice_: int, from_ms: int) -> Copy:
    """A new subscription of all markets."""
    copy = Copy(gatherer, 0, slice_, slice_)
    copy.slices = [SliceStart(slice_, slice_, 1, ORDERBOOK)]
    copy.runs = [RunStart(slice_ * 1000 + market, slice_, market, START_MS + from_ms) for market in MARKETS]
    copy.horizons = [Horizon(slice_, START_MS + from_ms + 10, False, "")]
    return copy


def horizon(gatherer: int, slice_: int, batch: int, ms: int, *, ended: bool = False) -> Copy:
    """Nothing but that the subscription continues, or ends."""
    copy = Copy(gatherer, 0, batch, batch)
    copy.horizons = [Horizon(slice_, START_MS + ms, ended, "disconnect" if ended else "")]
    return copy


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a line was looked at since the last call."""
    counted: list[int] = []
    settle: Any = settling.settle

    def watched(market: int, *rest: Any) -> Any:
        counted.append(market)
        return settle(market, *rest)

    def since() -> int:
        count = len(counted)
        counted.clear()
        return count

    monkeypatch.setattr(settling, "settle", watched)
    return since


@pytest.fixture
def merger() -> Merger:
    """Three gatherers hold all markets."""
    made = Merger(LIMITS, 0)
    for market in MARKETS:
        made.claims.lines.begin(market, ORDERBOOK, START_MS, None)
    made.step([begin(gatherer, 1, 0) for gatherer in (A, B, C)], 0)
    made.step([horizon(gatherer, 1, 2, 1000) for gatherer in (A, B, C)], 0)
    return made


def test_a_gatherer_that_is_away_costs_no_look_at_the_markets_that_it_held(
    merger: Merger, looks: Callable[[], int]
) -> None:
    """One dies; an hour later the others are cut off and begin again. When it comes back it heals what it held."""
    stored = Stored()
    merger.step([horizon(gatherer, 1, 3, HOUR, ended=True) for gatherer in (A, B)], 1)
    merger.step([begin(gatherer, 2, HOUR + 9000) for gatherer in (A, B)], 2)
    stored.take(merger.step([], LIMITS.hole_wait_ms + 2))
    assert len(stored.gaps) == len(MARKETS)
    looks()
    for n in range(50):
        stored.take(merger.step([horizon(gatherer, 2, 3 + n, HOUR + 9100 + n) for gatherer in (A, B)], 2000 + n))
        stored.take(merger.step([], 3_000_000 + n))
    assert not looks()
    stored.take(merger.step([horizon(C, 1, 3, 30_000)], 4_000_000))
    assert not looks(), "it is not there yet"
    stored.take(merger.step([horizon(C, 1, 4, HOUR + 9000)], 4_000_001))
    stored.take(merger.step([], 4_000_002))
    assert not stored.gaps, "it had recorded through the others' outage"


def test_a_late_copy_heals_each_gap_when_it_is_through_it(merger: Merger) -> None:
    """Not all of them when it is through the last one: it may never come so far."""
    stored = Stored()
    for n in (1, 2):
        merger.step([horizon(gatherer, n, 10 * n, HOUR * n, ended=True) for gatherer in (A, B)], 3 * n)
        merger.step([begin(gatherer, n + 1, HOUR * n + 9000) for gatherer in (A, B)], 3 * n + 1)
    for _ in range(2):
        stored.take(merger.step([], LIMITS.hole_wait_ms + 10))
    assert len(stored.gaps) == 2 * len(MARKETS)
    stored.take(merger.step([horizon(C, 1, 3, HOUR + 9500)], 2000))
    assert {start for _, (start, _) in stored.gaps} == {START_MS + 2 * HOUR}
    stored.take(merger.step([horizon(C, 1, 4, HOUR * 2 + 9000)], 2001))
    assert not stored.gaps


def test_a_hole_is_looked_at_when_its_wait_is_over_or_when_it_is_filled(
    merger: Merger, looks: Callable[[], int]
) -> None:
    """Not in the steps between."""
    stored = Stored()
    merger.step([horizon(gatherer, 1, 3, 2000, ended=True) for gatherer in (A, B, C)], 1)
    merger.step([begin(A, 2, 2500)], 2)
    looks()
    for now in range(3, 20):
        stored.take(merger.step([], now))
    assert not looks() and not stored.gaps
    assert merger.claims.lines.waiting() == set(MARKETS)
    stored.take(merger.step([], LIMITS.hole_wait_ms + 2))
    assert len(stored.gaps) == len(MARKETS) and looks() == len(MARKETS)
    assert not merger.claims.lines.waiting()


def test_an_outage_of_all_is_not_looked_at_while_it_lasts(merger: Merger, looks: Callable[[], int]) -> None:
    """But at the end of a market that ends in it."""
    stored = Stored()
    merger.claims.lines.begin(7, ORDERBOOK, START_MS, START_MS + 5000)
    merger.step([horizon(gatherer, 1, 3, 2000, ended=True) for gatherer in (A, B, C)], 1)
    merger.step([], 2)
    looks()
    for now in range(3, 20):
        stored.take(merger.step([], now))
    assert not looks()
    assert merger.claims.lines.waiting() == set(MARKETS)
    stored.take(merger.step([], START_MS + 5001))
    stored.take(merger.step([], START_MS + 5001 + LIMITS.hole_wait_ms))
    assert stored.gaps == {(7, (START_MS + 2000, START_MS + 5000)): "not_recorded"}


def test_a_gatherer_that_does_not_come_back_holds_no_end_open(merger: Merger) -> None:
    """The others lose a market before its end; the gap up to there is listed once they are past it, and healed if the
    third one returns after all."""
    stored = Stored()
    end_ms = START_MS + 9000
    merger.step([horizon(gatherer, 1, 3, 5000, ended=True) for gatherer in (A, B)], 1)
    merger.claims.lines.begin(7, ORDERBOOK, START_MS, end_ms)
    other = Copy(A, 0, 4, 4)
    other.slices = [SliceStart(9, 9, 1, ORDERBOOK)]
    other.runs = [RunStart(9001, 9, 8, START_MS + 5100)]
    other.horizons = [Horizon(9, START_MS + 8000, False, "")]
    stored.take(merger.step([other], end_ms + 1))
    for n in range(3):
        stored.take(merger.step([], end_ms + 2 + 10_000 * n))
    assert not [market for market, _ in stored.gaps if market == 7], "nobody is past the end: all are late"
    stored.take(merger.step([horizon(A, 9, 5, 9500)], end_ms + 40_000))
    for n in range(3):
        stored.take(merger.step([], end_ms + 41_000 + LIMITS.hole_wait_ms * n))
    assert stored.gaps[7, (START_MS + 5000, end_ms)] == "not_recorded"
    stored.take(merger.step([horizon(C, 1, 3, 9200)], end_ms + 90_000))
    assert not [market for market, _ in stored.gaps if market == 7]


def test_a_market_waits_for_the_least_of_its_moments() -> None:
    """And is due once."""
    waits = Waits()
    for market, moment in ((1, 50), (2, 30), (1, 20), (2, 40)):
        waits.wait(market, moment)
    assert (waits.due(19), waits.due(20), waits.due(29), waits.due(1000)) == ([], [1], [], [2])
    assert not len(waits) and not waits.due(1 << 61)
    waits.wait(2, 5)
    assert waits.due(5) == [2]


def test_a_copy_that_is_wrong_all_over_is_judged_once_a_market(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first group excludes it; each of its thousands of others would be asked about all the same, in one step."""
    asked: list[Any] = []
    of: Any = Voices.of

    def counted(self: Voices, group: Any, *rest: Any) -> Any:
        asked.append(group)
        return of(self, group, *rest)

    def changes(gatherer: int, off_ms: int) -> Copy:
        copy = Copy(gatherer, 0, 3, 3, delta_frames=30 * len(MARKETS))
        at = [(market, n) for market in MARKETS for n in range(30)]
        market, number = np.array(at, np.int64).T
        ones = np.ones(len(at), np.int64)
        copy.deltas = Deltas(
            1000 + market, market, number, START_MS + 2000 + number * 10 + off_ms, ones * 0, -ones, ones * 0,
            4200 * ones, number + 5, START_MS * 1000 * ones,
        )  # fmt: skip
        copy.horizons = [Horizon(1, START_MS + 3000, False, "")]
        return copy

    made = Merger(LIMITS, 0)
    for market in MARKETS:
        made.claims.lines.begin(market, ORDERBOOK, START_MS, None)
    made.step([begin(gatherer, 1, 0) for gatherer in (A, B, C)], 0)
    made.step([changes(A, 0), changes(B, 0)], 1)
    monkeypatch.setattr(Voices, "of", counted)
    stored = Stored()
    stored.take(made.step([changes(C, 3)], 2))
    assert len(stored.conflicts) == 2 * len(MARKETS), "what it has, and what it lacks"
    assert len(asked) <= 3 * len(MARKETS)
    assert not stored.deltas, "nothing of it gets in"
    assert all(made.claims.covered.by(market, START_MS + 2500) == {A, B} for market in MARKETS)
