"""Rule 14, and what a state that was made again knows: a copy that covers a moment counts there with what it holds."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from common.contract.channels import ORDERBOOK
from deduplicator.merge import identity, intervals
from deduplicator.merge.copies import Copy, Horizon, RunEvent, RunStart, SliceStart
from deduplicator.merge.coverage import RunState, SliceState
from deduplicator.merge.identity import pack_content
from deduplicator.merge.merger import Merger
from tests.support.merge_case import GOOD, LIMITS, Row, a_copy, held_of
from tests.support.world import START_MS, Stored

DAY_MS = 86_400_000


def fresh() -> Merger:
    """A merge of one market."""
    merger = Merger(LIMITS, 0)
    merger.claims.lines.begin(1, ORDERBOOK, START_MS, None)
    return merger


def cut_at(copy: Copy, ms: int) -> Copy:
    """The copy's slice ends there, so that its run is over."""
    copy.horizons = [Horizon(1, START_MS + ms, True, "cut")]
    return copy


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (1, 3, 2)])
def test_a_row_that_two_copies_pass_over_excludes_the_one_that_has_it(order: tuple[int, ...]) -> None:
    """Between two neighbouring rows of a run there is nothing, whichever copy is read first."""
    more: list[Row] = [*GOOD[:2], (2, 0, 7), (2, 1, 50), (3, 0, 8)]
    copies = {1: a_copy(1, GOOD, horizon=4), 2: a_copy(2, GOOD, horizon=4), 3: a_copy(3, more, horizon=4)}
    merger, stored = fresh(), Stored()
    for now, number in enumerate(order):
        stored.take(merger.step([copies[number]], now))
    assert {c.kind for c in stored.conflicts} == {"conflict"}
    stored.take(merger.step([a_copy(n, [(6, 0, 1)], batch=2, horizon=9) for n in (1, 2, 3)], 10))
    assert merger.claims.covered.by(1, START_MS + 6) == {1, 2}, "what was excluded without a majority is back"
    assert 3 not in merger.claims.covered.by(1, START_MS + 3) and merger.claims.covered.anywhere(1, START_MS + 3)
    assert merger.claims.covered.by(1, START_MS + 1) == {1, 2, 3}


def test_a_quiet_copy_shows_that_nothing_happened_once_its_claim_is_past_it() -> None:
    """No row of it comes after the other's: its horizon decides."""
    merger, stored = fresh(), Stored()
    stored.take(merger.step([a_copy(1, [(1, 0, 5), (9, 0, 6)], horizon=2), a_copy(2, [(1, 0, 5)], horizon=2)], 0))
    stored.take(merger.step([a_copy(2, [], batch=2, horizon=9)], 1))
    assert not stored.conflicts, "it may still bring it"
    stored.take(merger.step([a_copy(2, [], batch=3, horizon=10)], 2))
    for later in range(3, 20):
        stored.take(merger.step([], later))
    assert [c.exchange_ms - START_MS for c in stored.conflicts] == [9]
    assert merger.claims.covered.by(1, START_MS + 9) == set()


def test_a_late_copy_cannot_bring_a_row_into_what_a_run_that_ended_covers() -> None:
    """Whatever its age, and though the run that covers it is over; the row does not get in."""
    merger, stored = fresh(), Stored()
    stored.take(merger.step([cut_at(a_copy(1, GOOD), 10), cut_at(a_copy(2, GOOD), 10)], 0))
    stored.take(merger.step([a_copy(3, [*GOOD, (5, 0, 70)], horizon=10)], DAY_MS))
    assert (1, START_MS + 5, 0) not in stored.deltas
    assert [c.kind for c in stored.conflicts] == ["conflict"]
    assert merger.claims.covered.by(1, START_MS + 5) == {1, 2}
    assert stored.received == stored.accounted


def test_a_copy_whose_lane_has_ended_counts_where_it_covers_though_later_rows_follow_at_once() -> None:
    """Rows are looked at in chunks; a lane that has nothing open never goes past the last of one."""
    merger, stored = fresh(), Stored()
    stored.take(
        merger.step([a_copy(1, [(1, 0, 5), (5, 0, 6), (20, 0, 7)], horizon=30), a_copy(2, [(1, 0, 5)], horizon=3)], 0)
    )
    stored.take(merger.step([cut_at(a_copy(2, [], batch=2), 10)], 1))
    for later in range(2, 20):
        stored.take(merger.step([], later))
    assert [c.exchange_ms - START_MS for c in stored.conflicts] == [5]
    stored.take(merger.step([cut_at(a_copy(1, [], batch=2), 40)], 20))
    stored.take(merger.step([], 21))
    assert len(stored.conflicts) == 1


def test_where_nothing_more_will_come_nothing_is_waited_for() -> None:
    """A heal merges in one step; a lane that was left early never goes past what came later."""
    merger = Merger(replace(LIMITS, hole_wait_ms=0), 0)
    left = a_copy(3, [], horizon=1)
    left.lane, left.slices, left.runs = 1, [SliceStart(5, 3, 1, ORDERBOOK)], [RunStart(9, 5, 1, START_MS)]
    left.horizons = [Horizon(5, START_MS + 1, True, "moved")]
    copies = [a_copy(1, [*GOOD, (9, 0, 7)], horizon=20), a_copy(2, GOOD, horizon=20), a_copy(3, GOOD, horizon=20), left]
    changes = merger.step(copies, 0)
    assert [conflict.exchange_ms - START_MS for conflict in changes.conflicts] == [9]
    assert not merger.claims.covered.anywhere(1, START_MS + 9) and merger.claims.covered.anywhere(1, START_MS + 8)


def test_what_is_loaded_at_a_restart_is_looked_at_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many rows at once as are remembered, of many markets: each piece holds a stretch of time."""
    monkeypatch.setattr("deduplicator.merge.absence.CHUNK_ROWS", 10)
    merger = fresh()
    count = 95
    columns = np.arange(count) % 7 + 1, START_MS + np.arange(count) * 3, np.zeros(count, np.int64)
    for market in range(1, 8):
        merger.claims.lines.begin(market, ORDERBOOK, START_MS, None)
    merger.load_identities(*columns, pack_content(columns[2], columns[2] + 4200, columns[2] + 1))
    chunks = merger._joining.absences._chunks
    assert [chunk.rows for chunk in chunks] == [10] * 5 + [9] * 5
    assert all(before.high_ms < after.low_ms for before, after in pairwise(chunks))
    assert all((np.diff(chunk.keys()) > 0).all() for chunk in chunks)


def restored(stored: Stored, floor_ms: int, *, done: dict[int, intervals.Interval]) -> Merger:
    """A state made from production: identities, and what runs that are over hold."""
    merger = Merger(LIMITS, floor_ms)
    merger.claims.lines.begin(1, ORDERBOOK, START_MS, None)
    for gatherer, held in done.items():
        merger.claims.restore_held(1, ORDERBOOK, gatherer, held)
    rows = np.array([(*key, *content) for key, content in stored.deltas.items()], np.int64)
    market, ms, ordinal, side, price, delta = rows.T
    merger.load_identities(market, ms, ordinal, pack_content(side, price, delta))
    return merger


def test_after_a_restart_coverage_counts_for_gatherers_that_are_gone() -> None:
    """Voices follow from what production holds of the claims, not from a memory."""
    stored = Stored()
    first = fresh()
    stored.take(first.step([cut_at(a_copy(1, GOOD), 10), cut_at(a_copy(2, GOOD), 10)], 0))
    held = (START_MS, START_MS + 10)
    merger = restored(stored, 0, done={1: held, 2: held})
    wrong: list[Row] = [(1, 0, 5), (1, 1, 6), (2, 0, 99), (3, 0, 8)]
    stored.take(merger.step([a_copy(3, wrong, horizon=10)], 0))
    assert [c.kind for c in stored.conflicts] == ["conflict"]
    assert merger.claims.covered.by(1, START_MS + 2) == {1, 2}


def test_what_was_brought_before_a_restart_is_no_absence_after_it() -> None:
    """The batches that no claim covers yet are remembered; without that their gatherer would seem to deny them."""
    rows: list[Row] = [*GOOD, (8, 0, 1)]
    for remembered in (True, False):
        stored = Stored()
        copies = [a_copy(1, rows, horizon=3), a_copy(2, rows, horizon=3)]
        stored.take(fresh().step(copies, 0))
        merger = Merger(LIMITS, 0)
        for gatherer in (1, 2):
            merger.claims.slices.add((gatherer, 0, 1), SliceState(7, 1, ORDERBOOK, START_MS + 3))
            merger.claims.restore_run(RunState((gatherer, 0, 1), 1, 1, ORDERBOOK, START_MS))
        merger.claims.lines.begin(1, ORDERBOOK, START_MS, None)
        columns = np.array([(*key, *content) for key, content in stored.deltas.items()], np.int64).T
        market, ms, ordinal, *content = columns
        merger.load_identities(market, ms, ordinal, pack_content(*content))
        if remembered:
            merger.remember(copies)
        for now in range(1, 20):
            stored.take(merger.step([a_copy(g, [], batch=1 + now, horizon=8 + now) for g in (1, 2)], now))
        assert bool(stored.conflicts) is not remembered


def test_what_comes_after_dropped_batches_is_no_neighbour_of_what_was_read_before_a_restart() -> None:
    """The run ended where its rows were lost; what it had brought is remembered, and proves nothing later."""
    stored = Stored()
    before, whole = a_copy(1, [(1, 0, 5)], horizon=2), a_copy(2, [(1, 0, 5), (4, 0, 6), (9, 0, 7)], horizon=20)
    stored.take(fresh().step([before, whole], 0))
    merger = restored(stored, 0, done={1: (START_MS, START_MS + 2), 2: (START_MS, START_MS + 20)})
    over = RunState((1, 0, 1), 1, 1, ORDERBOOK, START_MS, START_MS + 2, reason="dropped_unread")
    merger.claims.restore_guest(over, 7, 1, ended=True)
    merger.remember([before])
    stored.take(merger.step([a_copy(1, [(9, 0, 7)], batch=3, horizon=None)], 1))
    assert not stored.conflicts and stored.received == stored.accounted


def test_what_is_remembered_as_one_copy_across_dropped_batches_makes_no_neighbours() -> None:
    """The reader steps over batches that were emptied: what lay between is not denied to a copy that has it."""
    stored = Stored()
    rows: list[Row] = [(1, 0, 5), (3, 0, 7)]
    stored.take(fresh().step([a_copy(1, rows, horizon=2)], 0))
    merger = restored(stored, 0, done={1: (START_MS, START_MS + 2)})
    over = RunState((1, 0, 1), 1, 1, ORDERBOOK, START_MS, START_MS + 2, reason="dropped_unread")
    merger.claims.restore_guest(over, 7, 1, ended=True)
    merger.remember([a_copy(1, rows, horizon=None)])
    stored.take(merger.step([a_copy(2, [(1, 0, 5), (2, 0, 6), (3, 0, 7)], horizon=20)], 1))
    assert not stored.conflicts and (1, START_MS + 2, 0) in stored.deltas
    assert merger.claims.covered.by(1, START_MS + 2) == {2}


def test_a_gatherer_that_has_given_its_bit_away_has_no_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    """More gatherers than bits in a process's life: a line that leaves is looked at without the one that is gone."""
    monkeypatch.setattr("deduplicator.merge.bits.GATHERERS_MAX", 2)
    merger = Merger(LIMITS, 0)
    merger.claims.lines.begin(1, ORDERBOOK, START_MS, START_MS + 8)
    replaced = a_copy(1, [], horizon=None)
    replaced.horizons = [Horizon(1, START_MS + 20, True, "closed")]
    merger.step([replaced], START_MS + 100)
    for gatherer in (2, 3):
        idle = a_copy(gatherer, [], horizon=1)
        idle.runs = []
        merger.step([idle], START_MS + 100)
    copies = [a_copy(2, [(5, 0, 6)], batch=2, horizon=4), a_copy(3, [], batch=2, horizon=4)]
    for copy, start in zip(copies, (0, 6), strict=True):
        copy.runs = [RunStart(1, 1, 1, START_MS + start)]
        copy.run_events = [RunEvent(1, "ended", START_MS + start, START_MS + 15, "closed")]
    changes = merger.step(copies, START_MS + 101)
    assert changes.over == [1] and not changes.conflicts


def test_a_market_that_is_over_is_not_given_back_before_its_rows_were_looked_at() -> None:
    """Its runs have ended, though the lanes have not gone past them: nobody could look once the line is gone."""
    merger, stored = Merger(LIMITS, 0), Stored()
    merger.claims.lines.begin(1, ORDERBOOK, START_MS, START_MS + 8)
    quiet, other = a_copy(1, [(1, 0, 5)], horizon=1), a_copy(2, [(1, 0, 5), (5, 0, 6)], horizon=1)
    quiet.run_events = [RunEvent(1, "ended", START_MS, START_MS + 10, "deleted")]
    other.run_events = [RunEvent(1, "ended", START_MS, START_MS + 5, "deleted")]
    over: list[int] = []
    for now, copies in enumerate([[quiet, other], [], [], []]):
        changes = merger.step(copies, START_MS + now)
        stored.take(changes)
        merger.give_back(changes.over)
        over += changes.over
    assert [(c.kind, c.exchange_ms - START_MS) for c in stored.conflicts] == [("conflict", 5)]
    for now in (2000, 4000):
        over += merger.step([], START_MS + now).over
    assert over == [1]


def test_a_run_that_nobody_knows_any_more_claims_nothing_and_kills_nothing() -> None:
    """Rule 11: rows, events and horizons of runs and slices that were forgotten; the rest is merged."""
    merger, stored = fresh(), Stored()
    stray = a_copy(1, [(1, 0, 5), (2, -1, 6)], batch=2, horizon=10)
    stray.run_events = [RunEvent(1, "covers", START_MS, 0, ""), RunEvent(1, "ended", START_MS, START_MS + 9, "gap")]
    stray.runs = [RunStart(9, 77, 1, START_MS)]
    stored.take(merger.step([stray, a_copy(2, GOOD, horizon=10)], 0))
    assert stored.received == stored.accounted == len(GOOD) + 2
    assert merger.claims.covered.by(1, START_MS + 3) == {2}
    assert stored.alarms["event_of_unknown_run"] == 2 and stored.alarms["run_of_unknown_slice"] == 1


def test_a_copy_of_any_age_is_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 12: years apart, and across the bounds of the packing, which are small here."""
    monkeypatch.setattr(identity, "MS_BITS", 10)
    monkeypatch.setattr(identity, "ORDINAL_BITS", 2)
    rows: list[Row] = [(n * 400, o, 1 + n + o) for n in range(20) for o in range(7)]
    year = 365 * DAY_MS
    merger, stored = fresh(), Stored()
    stored.take(merger.step([a_copy(1, rows, horizon=9000)], 0))
    old = a_copy(2, [(ms - year, o, d) for ms, o, d in rows], start=-2 * year, horizon=9000 - year)
    stored.take(merger.step([old], 1))
    stored.take(merger.step([a_copy(3, rows, horizon=9000)], 2))
    assert len(stored.deltas) == 2 * len(rows) and not stored.conflicts
    wrong = [row for row in rows if row[:2] != (4000, 5)]
    stored.take(merger.step([a_copy(4, wrong, horizon=9000)], 3))
    for later in range(4, 20):
        stored.take(merger.step([], later))
    assert stored.conflicts and 4 not in merger.claims.covered.by(1, START_MS + 4000)


def test_an_instant_holds_any_number_of_changes() -> None:
    """Rule 20: more than one page of ordinals, in three copies that come at different times."""
    rows: list[Row] = [(5, n, 1 + n % 7) for n in range(20_000)] + [(6, 0, 1)]
    merger, stored = fresh(), Stored()
    for now, gatherer in enumerate((1, 2, 3)):
        stored.take(merger.step([a_copy(gatherer, rows, horizon=9)], now))
    assert len(stored.deltas) == 20_001 and not stored.conflicts
    assert merger.claims.covered.by(1, START_MS + 5) == {1, 2, 3}


def test_what_is_retracted_is_kept_where_the_claim_is() -> None:
    """Rule 18: of a run that is over, and of all for a step back; a state that is restored from it claims no more."""
    merger, stored = fresh(), Stored()
    first = cut_at(a_copy(1, GOOD), 10)
    stepping = a_copy(2, [(1, 0, 5), (1, 1, 6), (2, 0, 7), (3, 0, 8)], horizon=9)
    stepping.run_events = [RunEvent(1, "retracts", START_MS + 6, START_MS + 8, "step_back")]
    changes = merger.step([first, stepping], 0)
    stored.take(changes)
    late = merger.step([a_copy(3, [*GOOD, (4, 0, 1)], horizon=9), a_copy(4, [*GOOD, (4, 0, 1)], horizon=9)], 1)
    retractions = [*changes.retractions, *late.retractions]
    assert {(r.gatherer, r.interval[0] - START_MS) for r in retractions} == {(0, 6), (1, 4)}
    again = Merger(LIMITS, 0)
    again.claims.restore_held(1, ORDERBOOK, 1, (START_MS, START_MS + 10))
    for r in retractions:
        again.claims.lines[r.market, r.channel].retract(r.gatherer, r.interval)
    assert held_of(again) == [(START_MS, START_MS + 4)]


def test_ten_instances_each_have_a_voice_of_their_own() -> None:
    """A machine that was replaced gives its bit to a newer one; those that are read at the same time share none."""
    merger, stored = fresh(), Stored()
    now = 0
    for gatherer in range(1, 31):
        last = gatherer > 27
        made = a_copy(gatherer, GOOD if gatherer != 30 else [*GOOD[:3], (3, 0, 80)], horizon=4)
        stored.take(merger.step([made if last else cut_at(made, 4)], now := now + 1))
    assert [c.kind for c in stored.conflicts] == ["conflict"]
    assert merger.claims.covered.by(1, START_MS + 3) >= {28, 29}
    assert 30 not in merger.claims.covered.by(1, START_MS + 3)


def test_what_is_over_leaves_nothing() -> None:
    """Rule 21: markets that are born, traded and ended leave no trace in the state."""
    merger = Merger(LIMITS, 0)
    sizes: list[int] = []
    for n in range(1, 400):
        begin = START_MS + n * 100
        merger.claims.lines.begin(n, ORDERBOOK, begin, begin + 50)
        made = a_copy(1, [(0, 0, 1), (5, 0, 2)], batch=1 if n == 1 else n, horizon=None)
        made.deltas.market[:] = n
        made.deltas.run[:] = n
        made.deltas.exchange_ms += n * 100
        made.slices = [SliceStart(1, 7, 1, ORDERBOOK)] if n == 1 else []
        made.runs = [RunStart(n, 1, n, begin)]
        made.horizons = [Horizon(1, begin + 90, False, "")]
        made.run_events = [RunEvent(n, "ended", begin, begin + 60, "deleted")]
        changes = merger.step([made], n * 100)
        merger.give_back(changes.over)
        claims = merger.claims
        kept: list[Sized] = [
            claims.runs,
            claims.lines,
            claims.runs._of_slice[(1, 0, 1)],
            claims.lines._resident,
            claims.runs._unclaiming,
        ]
        sizes.append(sum(len(one) for one in kept))
    assert max(sizes[10:]) <= max(sizes[:10])


def test_what_is_stored_against_the_majority_is_claimed_by_no_run() -> None:
    """A fast copy dropped a row; the rows first written stand, and the moment is a gap, not covered and missing."""
    short = [row for row in GOOD if row[:2] != (1, 1)]
    merger, stored = fresh(), Stored()
    stored.take(merger.step([a_copy(1, short, horizon=4)], 0))
    stored.take(merger.step([a_copy(2, GOOD, horizon=4), a_copy(3, GOOD, horizon=4)], 1))
    for later in (2000, 4000, 6000):
        stored.take(merger.step([], later))
    assert (1, START_MS + 1, 1) not in stored.deltas
    assert merger.claims.covered.by(1, START_MS + 1) == set() and merger.claims.covered.by(1, START_MS + 3) == {2, 3}
    assert stored.gaps == {(1, (START_MS + 1, START_MS + 2)): "conflict"}


def test_a_contradiction_in_a_run_that_is_over_leaves_the_next_one_alone() -> None:
    """Each counts for itself."""
    merger, stored = fresh(), Stored()
    wrong: list[Row] = [*GOOD, (4, 0, 1)]
    stored.take(merger.step([cut_at(a_copy(1, wrong), 10)], 0))
    after = a_copy(1, [(20, 0, 3)], start=15, horizon=30)
    after.slices, after.runs = [SliceStart(2, 8, 1, ORDERBOOK)], [RunStart(2, 2, 1, START_MS + 15)]
    after.deltas.run[:] = 2
    after.horizons = [Horizon(2, START_MS + 30, False, "")]
    after.from_batch = after.to_batch = 2
    stored.take(merger.step([after], 1))
    late = [cut_at(a_copy(g, GOOD), 10) for g in (2, 3)]
    for now in range(2, 20):
        stored.take(merger.step(late if now == 2 else [], now))
    assert merger.claims.covered.by(1, START_MS + 20) == {1}
    assert merger.claims.covered.by(1, START_MS + 3) == {1, 2, 3}
    assert 1 not in merger.claims.covered.by(1, START_MS + 5)
