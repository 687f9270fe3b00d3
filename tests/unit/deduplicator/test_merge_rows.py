"""The merge's rows in small: links, holders, chunks and groups, where a planted fault is seen at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deduplicator.merge import absence, coverage
from deduplicator.merge.absence import Absences
from deduplicator.merge.claims import Claims
from deduplicator.merge.copies import Changes, Copy, Horizon, RunEvent, RunStart, SliceStart, Snapshot
from deduplicator.merge.coverage import RunState, SliceState
from deduplicator.merge.dropped import strip_dropped_rows
from deduplicator.merge.identity import I64, U16, Bool, IdentityStore, pack_content
from deduplicator.merge.joining import Joining
from deduplicator.merge.merger import Limits, Merger, _ranges
from deduplicator.merge.runs import NEVER_MS
from deduplicator.merge.union import contradictions, placed_rows, unite
from tests.support.merge_case import GOOD, LIMITS, Row, a_copy, held_of, merged
from tests.support.world import START_MS, Stored

BOOK = "orderbook_delta"


def store_of(*rows: tuple[int, int, int], linked: tuple[int, ...] = ()) -> IdentityStore:
    """Rows: market, millisecond, ordinal; all held by the first gatherer."""
    store = IdentityStore(START_MS - 10)
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    keys = store.keys(columns[0], columns[1] + START_MS, columns[2])
    order = np.argsort(keys)
    links = np.array(linked or (0,) * len(rows), np.uint16)
    ones = np.ones(len(rows), np.uint16)
    store.insert(keys[order], np.arange(len(rows))[order], ones, links[order])
    return store


def key_of(store: IdentityStore, market: int, ms: int, ordinal: int = 0) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """A key as a column."""
    return store.keys(np.array([market]), np.array([START_MS + ms]), np.array([ordinal]))


def begun(limits: Limits = LIMITS, floor_ms: int = START_MS - 86_400_000) -> tuple[Merger, Stored]:
    """A merge that knows when market 1 began."""
    merger = Merger(limits, floor_ms)
    merger.claims.lines.begin(1, BOOK, START_MS, None)
    return merger, Stored()


# -- the store ---------------------------------------------------------------------------------------------------------


def test_what_lies_at_the_floor_is_kept_and_a_link_to_what_goes_is_cut() -> None:
    """Forgetting: the floor itself is known; the first row that stays is linked to nothing."""
    store = store_of((1, 0, 0), (1, 10, 0), (1, 20, 0), (1, 30, 0), linked=(0, 1, 1, 1))
    store.forget(20, 100)
    assert store.floor_ms == START_MS + 10
    assert store.locate(key_of(store, 1, 10)).stored.all()
    assert store.passed_over(store.locate(key_of(store, 1, 5))).tolist() == [0]
    assert store.passed_over(store.locate(key_of(store, 1, 15))).tolist() == [1]


def test_the_floor_never_falls() -> None:
    """Too many rows raise it; that later there are fewer brings nothing back."""
    store = store_of(*((1, ms, 0) for ms in range(10)))
    store.forget(100, 3)
    floor = store.floor_ms
    assert floor > START_MS
    store.forget(100, 1000)
    assert store.floor_ms == floor


def test_awaited_rows_stay_and_all_keep_their_markets() -> None:
    """Slots are numbered again by forgetting; what is asked for is found under its own market."""
    store = store_of((5, 0, 0), (7, 0, 0), (7, 100, 0), (9, 100, 0))

    def awaited(market: I64, ms: I64, holders: U16) -> Bool:
        assert (ms == START_MS).all() and (holders == 1).all()
        return np.asarray(market == 7)

    store.forget(10, 100, awaited)
    assert len(store) == 3
    assert [len(store.group(market, START_MS)) for market in (5, 7, 9)] == [0, 1, 0]
    assert [row.content for row in store.group(9, START_MS + 100)] == [3]
    assert [row.content for row in store.group(7, START_MS + 100)] == [2]


def test_only_the_next_row_of_a_market_shows_which_gatherers_passed_over_a_place() -> None:
    """Of the old part and the young one the nearer row counts; a row of another market proves nothing."""
    store = store_of((1, 2, 0), (1, 10, 0), (2, 0, 0), linked=(0, 1, 2))
    assert store.passed_over(store.locate(key_of(store, 1, 20))).tolist() == [0]
    store.forget(1000, 1000)  # all is old now
    ones = np.ones(1, np.uint16)
    store.insert(key_of(store, 1, 30), np.zeros(1, np.int64), ones, ones * 4)
    assert store.passed_over(store.locate(key_of(store, 1, 5))).tolist() == [1]
    assert store.passed_over(store.locate(key_of(store, 1, 20))).tolist() == [4]


def test_a_group_has_all_its_pages_and_both_ends_of_each() -> None:
    """Rule 20: an instant may hold any number of changes."""
    store = store_of(*((1, 5, ordinal) for ordinal in (0, 8191, 8192, 20_000)), (1, 6, 0))
    assert [row.ordinal for row in store.group(1, START_MS + 5)] == [0, 8191, 8192, 20_000]


def test_a_bit_that_is_given_on_is_nobodys() -> None:
    """Neither rows nor links remain with it; other bits stay."""
    store = store_of((1, 1, 0), (1, 5, 0), linked=(0, 3))
    store.release(1)
    assert store.holders(store.locate(key_of(store, 1, 5))).tolist() == [0]
    assert store.passed_over(store.locate(key_of(store, 1, 3))).tolist() == [2]


def test_what_is_marked_twice_has_both() -> None:
    """Holders and links add up."""
    store = store_of((1, 1, 0), (1, 5, 0), linked=(0, 1))
    store.mark(store.locate(key_of(store, 1, 5)), np.array([2], np.uint16), np.array([2], np.uint16))
    assert store.holders(store.locate(key_of(store, 1, 5))).tolist() == [3]
    assert store.passed_over(store.locate(key_of(store, 1, 3))).tolist() == [3]


def test_what_is_loaded_keeps_its_own_holders_in_whatever_order_it_comes() -> None:
    """Production's order is not that of keys."""
    store = store_of((1, 0, 0))
    market, ms = np.array([1, 1, 1]), START_MS + np.array([9, 3, 6])
    store.load(market, ms, np.zeros(3, np.int64), ms - START_MS, np.array([9, 3, 6], np.uint16))
    for at in (3, 6, 9):
        assert [(row.content, row.holders) for row in store.group(1, START_MS + at)] == [(at, at)]


# -- uniting -----------------------------------------------------------------------------------------------------------


def judged(
    store: IdentityStore, *copies: Copy, kept: list[int] | None = None, before: int = 0
) -> tuple[list[int], list[int]]:
    """Milliseconds at which copies contradict each other or the store; the links of the rows by identity."""
    masks = [copy.deltas.ordinal >= 0 for copy in copies]
    rows = placed_rows(store, list(copies), [1 << n for n in range(len(copies))], masks)
    last = np.full(len(rows.runs), before, np.uint64)
    united = unite(store, rows, last, None if kept is None else np.array(kept))
    found = contradictions(store, rows, united)
    return sorted(ms - START_MS for _, ms in found), united.linked.tolist()


def test_what_lies_between_two_neighbours_of_a_run_contradicts_it() -> None:
    """Stored rows, new ones of another copy, one or many; equal ones are none."""
    ends: list[Row] = [(1, 0, 5), (9, 0, 6)]
    assert judged(store_of(), a_copy(1, ends), a_copy(2, ends)) == ([], [0, 3])
    assert judged(store_of((1, 5, 0)), a_copy(1, ends)) == ([5], [0, 0])
    assert judged(store_of((1, 4, 0), (1, 5, 0)), a_copy(1, ends))[0] == [4, 5]
    three: list[Row] = [(1, 0, 5), (5, 0, 1), (9, 0, 6)]
    assert judged(store_of(), a_copy(1, ends), a_copy(2, three)) == ([5], [0, 2, 2])
    assert judged(store_of(), a_copy(1, [(1, 0, 5)]), a_copy(2, [(1, 0, 4)]))[0] == [1]


def test_what_a_run_passed_over_before_contradicts_what_comes_later() -> None:
    """And what is stored already is contradicted by nobody for being there."""
    store = store_of((1, 1, 0), (1, 9, 0), linked=(0, 4))
    assert judged(store, a_copy(1, [(5, 0, 1)]))[0] == [5]
    same = a_copy(1, [(1, 0, 0), (9, 0, 0)])
    same.deltas.side, same.deltas.price = np.zeros(2, np.int64), np.zeros(2, np.int64)
    store = store_of((1, 9, 0), linked=(4,))
    store.mark(store.locate(key_of(store, 1, 9)), np.array([0], np.uint16), np.array([0], np.uint16))
    one = a_copy(1, [(9, 0, 0)])
    one.deltas.price = np.zeros(1, np.int64)
    assert judged(store, one)[0] == []


def test_a_row_that_is_not_used_links_nothing() -> None:
    """Neither over it, nor from it, nor to a row before the step."""
    copy = a_copy(1, [(3, 0, 1), (5, 0, 2), (7, 0, 3)])
    assert judged(store_of(), copy, kept=[0, 2])[1] == [0, 0]
    store = store_of((1, 1, 0))
    last = int(key_of(store, 1, 1)[0])
    assert judged(store, copy, before=last)[1] == [1, 1, 1]
    assert judged(store, copy, before=last, kept=[1, 2])[1] == [0, 1]
    gone = int(key_of(store, 1, 2)[0])
    assert judged(store, copy, before=gone)[1] == [0, 1, 1], "its last row is not here any more"


def test_what_lies_between_two_batches_of_a_run_contradicts_it() -> None:
    """Stored, or new in the same step."""
    store = store_of((1, 1, 0), (1, 3, 0))
    last = int(key_of(store, 1, 1)[0])
    assert judged(store, a_copy(1, [(7, 0, 1)]), before=last) == ([3], [0])
    store = store_of((1, 1, 0))
    masks = [np.ones(1, np.bool_)] * 2
    rows = placed_rows(store, [a_copy(1, [(7, 0, 1)]), a_copy(2, [(4, 0, 1)])], [1, 2], masks)
    united = unite(store, rows, np.array([last, 0], np.uint64))
    assert contradictions(store, rows, united) == {(1, START_MS + 4): 1}


def test_new_rows_before_the_last_row_of_a_run_are_no_distance() -> None:
    """Another copy brings what is older than where a run continues from, which was stored before."""
    store = store_of((1, 3, 0))
    last = int(key_of(store, 1, 3)[0])
    rows = placed_rows(
        store,
        [a_copy(1, [(7, 0, 1)]), a_copy(2, [(1, 0, 1), (2, 0, 1)])],
        [1, 2],
        [np.ones(1, np.bool_), np.ones(2, np.bool_)],
    )
    united = unite(store, rows, np.array([last, 0], np.uint64))
    assert united.linked.tolist() == [0, 2, 1]
    assert contradictions(store, rows, united) == {}


def test_a_run_that_continues_in_another_page_has_no_neighbour_before_it() -> None:
    """Its last row is in another slot, between which rows of others lie."""
    merger, stored = begun()
    merger.claims.lines.begin(2, BOOK, START_MS, None)
    stored.take(merger.step([a_copy(1, [(1, 0, 5)], horizon=None)], 0))
    other = a_copy(2, [(1, 0, 5)], horizon=None)
    other.deltas.market, other.runs = np.array([2]), [RunStart(1, 1, 2, START_MS)]
    stored.take(merger.step([other], 1))
    stored.take(merger.step([a_copy(1, [(1, 8192, 6)], batch=2, horizon=None)], 2))
    assert not stored.conflicts and not stored.alarms


def test_two_runs_of_a_market_in_one_batch_are_two_copies() -> None:
    """They overlap: neither has what the other has between its own, and nothing lies between the two."""
    copy = a_copy(1, [(1, 0, 5), (2, 0, 6), (2, 0, 6), (3, 0, 7)])
    copy.deltas.run = np.array([1, 1, 2, 2])
    assert judged(store_of(), copy)[0] == []
    copy = a_copy(1, [(1, 0, 5), (1, 0, 5), (2, 0, 6), (3, 0, 7)])
    copy.deltas.run = np.array([1, 2, 2, 1])
    assert judged(store_of(), copy)[0] == [2]
    apart = a_copy(1, [(1, 0, 5), (9, 0, 6)])
    apart.deltas.run = np.array([1, 2])
    assert judged(store_of((1, 5, 0)), apart) == ([], [0, 0])


# -- chunks of absences ------------------------------------------------------------------------------------------------


def waiting(*horizons: int, since: int = 0) -> tuple[Absences, Claims, IdentityStore]:
    """Row 5 of market 1, held by gatherer 1; the next gatherers, a lane each, claim up to these milliseconds."""
    store, claims = store_of((1, 5, 0)), Claims()
    claims.lines.begin(1, BOOK, START_MS, None)
    for gatherer, horizon in enumerate(horizons, 2):
        claims.slices.add((gatherer, 0, 1), SliceState(1, 1, BOOK, START_MS + horizon))
        claims.restore_run(RunState((gatherer, 0, 1), 1, 1, BOOK, START_MS + since))
    absences = Absences(store, claims)
    absences.add(store.all_keys())
    return absences, claims, store


BITS = {1: 1, 2: 2, 3: 4}


def goes_to(claims: Claims, gatherer: int, ms: int) -> None:
    """A horizon moves."""
    copy = Copy(gatherer, 0, 9, 9)
    copy.horizons = [Horizon(1, START_MS + ms, False, "")]
    claims.apply(copy, Changes())


def asked(absences: Absences, times: int = 12) -> list[tuple[int, int]]:
    """Which gatherers lack what, after some looks."""
    found: list[tuple[int, int]] = []
    for _ in range(times):
        found += [(gatherer, ms - START_MS) for gatherer, _, ms in absences.found(BITS)]
    return found


def test_a_gatherer_past_a_row_is_asked_and_at_its_horizon_not_yet() -> None:
    """Once; half-open."""
    absences, claims, _ = waiting(5)
    assert asked(absences) == []
    goes_to(claims, 2, 6)
    assert asked(absences) == [(2, 5)]
    assert asked(absences) == []


def test_a_slower_gatherer_is_asked_later() -> None:
    """What is done for one lane is not done for the others, also for rows that came meanwhile."""
    absences, claims, store = waiting(50, 3)
    assert asked(absences) == [(2, 5)]
    keys = key_of(store, 1, 6)
    store.insert(keys, np.zeros(1, np.int64), np.ones(1, np.uint16), np.zeros(1, np.uint16))
    absences.add(keys)
    assert asked(absences) == [(2, 6)], "the faster one is asked for them as well"
    goes_to(claims, 3, 60)
    assert sorted(asked(absences)) == [(3, 5), (3, 6)]


def test_a_chunk_is_as_long_as_its_last_row() -> None:
    """It is not looked at before."""
    absences, _, store = waiting(7)
    keys = key_of(store, 1, 9)
    store.insert(keys, np.zeros(1, np.int64), np.ones(1, np.uint16), np.zeros(1, np.uint16))
    absences.add(keys)
    assert asked(absences) == []


def test_a_run_whose_slice_is_slower_than_its_lane_is_waited_for() -> None:
    """However often it is looked at meanwhile."""
    absences, claims, _ = waiting(5)
    claims.slices.add((2, 0, 2), SliceState(1, 2, BOOK, START_MS + 100))
    assert asked(absences) == [], "the row at the horizon of the slow slice may still come to be covered"
    goes_to(claims, 2, 30)
    assert asked(absences, 1) == [(2, 5)]


def test_late_rows_are_looked_at_before_they_are_forgotten() -> None:
    """Below the floor nobody is waited for."""
    absences, _, store = waiting(50, 3)
    assert asked(absences, 1) == [], "a slower one may be asked with it"
    absences, _, store = waiting(50, 3)
    store.floor_ms = START_MS + 6
    assert asked(absences, 1) == [(2, 5)]


def test_chunks_are_found_again_when_slots_are_numbered_again() -> None:
    """By place."""
    store, claims = store_of((5, 0, 0), (7, 100, 0)), Claims()
    claims.lines.begin(7, BOOK, START_MS, None)
    claims.slices.add((2, 0, 1), SliceState(1, 1, BOOK, START_MS + 500))
    claims.restore_run(RunState((2, 0, 1), 1, 7, BOOK, START_MS))
    joining = Joining(claims, Limits(1000, 10, 1000, 1000), START_MS - 1000)
    joining.store = store
    joining.absences = Absences(store, claims)
    joining.absences.add(store.all_keys())
    joining.forget()
    assert asked(joining.absences) == [(2, 100)]
    assert absence.PATIENCE_STEPS < 12


def test_what_contradicts_a_claim_is_not_forgotten_before_it_is_looked_at() -> None:
    """A chunk that a claim has come to, and not gone past: a row that the claim's gatherer lacks stays until it has."""
    store, claims = store_of((1, 5, 0), (1, 9, 0), (1, 90_000, 0)), Claims()
    claims.lines.begin(1, BOOK, START_MS, None)
    claims.slices.add((2, 0, 1), SliceState(1, 1, BOOK, START_MS + 7))
    claims.restore_run(RunState((2, 0, 1), 1, 1, BOOK, START_MS))
    joining = Joining(claims, Limits(1000, 10, 1000, 1000), START_MS - 1000)
    joining.store = store
    joining._bits.update(BITS)
    joining.absences = Absences(store, claims)
    joining.absences.add(store.all_keys()[:2])
    assert asked(joining.absences) == []
    joining.forget()
    assert [row.content for row in store.group(1, START_MS + 5)] and not store.group(1, START_MS + 9)
    goes_to(claims, 2, 60)
    assert asked(joining.absences) == [(2, 5)]


# -- joining: which copy has what --------------------------------------------------------------------------------------


def test_a_gatherer_that_covers_a_moment_and_has_nothing_of_it_counts_as_lacking_it() -> None:
    """Rule 14, whichever comes first: two against one, the row is refused, or its bringer is excluded later."""
    quiet: list[Row] = [(1, 0, 5), (9, 0, 6)]
    loud: list[Row] = [(1, 0, 5), (5, 0, 1), (9, 0, 6)]
    merger, stored = begun()
    stored.take(merger.step([a_copy(1, quiet[:1], horizon=8), a_copy(2, quiet[:1], horizon=8)], 0))
    stored.take(merger.step([a_copy(3, loud, horizon=20)], 1))
    assert (1, START_MS + 5, 0) not in stored.deltas and stored.alarms["conflict"] == 1
    assert merger.claims.excluded.since((3, 0, 1)) == START_MS + 5
    merger, stored = begun()
    stored.take(merger.step([a_copy(3, loud[:2], horizon=6)], 0))
    for now, gatherer in enumerate((1, 2), 1):
        stored.take(merger.step([a_copy(gatherer, [(1, 0, 5)], horizon=8)], now))
    for now in range(20):
        stored.take(merger.step([], 10 + now))
    assert stored.alarms["conflict"] >= 1
    assert merger.claims.excluded.since((3, 0, 1)) == START_MS + 5
    assert merger.claims.excluded.since((1, 0, 1)) == NEVER_MS == merger.claims.excluded.since((2, 0, 1))


def test_a_gatherer_that_comes_later_decides_a_tie() -> None:
    """It holds what is stored, or nothing of it."""
    wrong: list[Row] = [(1, 0, 5), (2, 0, 99), (3, 0, 8)]
    right: list[Row] = [(1, 0, 5), (2, 0, 7), (3, 0, 8)]
    merger, stored = begun()
    stored.take(merger.step([a_copy(1, right, horizon=4), a_copy(2, wrong, horizon=4)], 0))
    assert merger.claims.excluded.since((1, 0, 1)) == START_MS + 2
    stored.take(merger.step([a_copy(3, right, horizon=4)], 1))
    stored.take(merger.step([], 2))
    assert merger.claims.excluded.since((1, 0, 1)) == NEVER_MS
    assert merger.claims.excluded.since((2, 0, 1)) == START_MS + 2
    assert stored.alarms["run_readmitted"] == 1


def test_a_readmitted_run_begins_after_the_last_row_that_was_passed_over() -> None:
    """Rule 3 and 18: what was not used is not claimed, to the millisecond, and what comes then is."""
    wrong: list[Row] = [(1, 0, 5), (2, 0, 99), (3, 0, 8)]
    right: list[Row] = [(1, 0, 5), (2, 0, 7), (6, 0, 8)]
    merger, stored = begun()
    stored.take(merger.step([a_copy(1, right, horizon=7), a_copy(2, wrong, horizon=4)], 0))
    changes = merger.step([a_copy(3, right[:2], horizon=3)], 1)
    stored.take(changes)
    assert merger.claims.runs[(1, 0, 1)].cover_from_ms == START_MS + 7
    assert [part.interval for part in changes.parts] == [(START_MS, START_MS + 2)]
    stored.take(merger.step([a_copy(1, [(8, 0, 1)], batch=2, horizon=20)], 2))
    assert (1, START_MS + 8, 0) in stored.deltas and (1, START_MS + 6, 0) not in stored.deltas


def test_a_snapshot_brings_a_run_back_after_the_last_row_that_was_passed_over() -> None:
    """Not at it."""
    merger, stored = begun()
    rows: list[Row] = [(1, 0, 5), (2, 0, 7), (6, 0, 8)]
    stored.take(merger.step([a_copy(1, rows, horizon=7), a_copy(2, [(1, 0, 5), (2, 0, 99), (3, 0, 1)], horizon=4)], 0))
    right = a_copy(1, [], batch=2, horizon=8)
    right.snapshots = [Snapshot(1, 1, "audit", START_MS + 4, 0, 1, START_MS * 1000, (), ())]
    stored.take(merger.step([right], 1))
    assert merger.claims.runs[(1, 0, 1)].cover_from_ms == START_MS + 7


def test_an_exclusion_that_moves_back_is_one() -> None:
    """A contradiction that is found later and lies earlier: after it is over, the run gives rows again."""
    claims, changes = Claims(), Changes()
    claims.lines.begin(1, BOOK, START_MS, None)
    copy = a_copy(1, [])
    claims.begin(copy, changes)
    claims.apply(copy, changes)
    claims.excluded.exclude(1, {1}, START_MS + 50, changes)
    claims.excluded.exclude(1, {1}, START_MS + 20, changes)
    claims.excluded.readmit(1, {1}, START_MS + 20, changes)
    assert claims.excluded[(1, 0, 1)] == [(START_MS + 20, START_MS + 21)]


def test_a_group_over_two_batches_is_one_version() -> None:
    """What a run brought before belongs to its version."""
    merger, stored = begun()
    stored.take(merger.step([a_copy(1, [(1, 0, 5)], horizon=None), a_copy(2, [(1, 0, 5), (1, 1, 7)], horizon=2)], 0))
    stored.take(merger.step([a_copy(1, [(1, 1, 7), (1, 2, 9), (2, 0, 1)], batch=2, horizon=3)], 1))
    rows: list[Any] = [version["rows"] for conflict in stored.conflicts for version in conflict.versions]
    assert sorted(map(len, rows)) == [2, 3]


def test_rows_after_a_contradiction_give_nothing_and_the_contradicted_group_neither() -> None:
    """Rule 3, in the same step and in later ones."""
    bad: list[Row] = [(1, 0, 5), (2, 0, 99), (4, 0, 9)]
    merger, stored = begun()
    stored.take(
        merger.step(
            [
                a_copy(1, GOOD[:1] + GOOD[2:], horizon=4),
                a_copy(2, GOOD[:1] + GOOD[2:], horizon=4),
                a_copy(3, bad, horizon=5),
            ],
            0,
        )
    )
    again = a_copy(3, [(2, 1, 98), (5, 0, 9)], batch=2, horizon=6)
    stored.take(merger.step([again], 1))
    assert sorted(ms - START_MS for _, ms, _ in stored.deltas) == [1, 2, 3]
    assert stored.deltas[(1, START_MS + 2, 0)] == (0, 4200, 7)
    assert stored.alarms["conflict"] == 1


def test_a_contradiction_whose_end_never_comes_is_judged_after_the_wait() -> None:
    """It holds up its gatherer for `hole_wait`."""
    merger, stored = begun()
    stored.take(merger.step([a_copy(1, GOOD, horizon=3)], 0))
    half = a_copy(2, [(2, 0, 99)], horizon=None)
    assert merger.step([half], 1).stalled == {2}
    assert not merger.step([half], 1500).stalled
    merger, stored = begun()
    stored.take(merger.step([a_copy(1, GOOD, horizon=3)], 0))
    assert merger.step([a_copy(2, [(1, 0, 6)], horizon=1)], 1).stalled == {2}, "at the horizon more may come"
    assert not merger.step([a_copy(2, [(1, 0, 6)], horizon=2)], 1).stalled


def test_after_a_restart_gatherers_that_cover_a_row_hold_it_and_others_are_asked() -> None:
    """Claims are of what is stored."""
    merger, _ = begun()
    claims = merger.claims
    for gatherer, horizon in ((1, 10), (2, 10), (3, 2)):
        claims.slices.add((gatherer, 0, 1), SliceState(1, 1, BOOK, START_MS + horizon))
        claims.restore_run(RunState((gatherer, 0, 1), 1, 1, BOOK, START_MS))
    content = pack_content(np.zeros(2, np.int64), np.full(2, 4200), np.array([5, 6]))
    merger.load_identities(np.ones(2, np.int64), START_MS + np.array([1, 5]), np.zeros(2, np.int64), content)
    held = [row.holders for ms in (1, 5) for row in merger.store.group(1, START_MS + ms)]
    assert [bits.bit_count() for bits in held] == [3, 2]
    stored = Stored()
    for now in range(20):
        stored.take(merger.step([], now))
    assert not stored.conflicts
    copy = a_copy(3, [], batch=2, horizon=20)
    for now in range(20):
        stored.take(merger.step([copy] if now == 0 else [], 100 + now))
    assert [(c.kind, c.exchange_ms) for c in stored.conflicts] == [("conflict", START_MS + 5)]


def test_what_is_remembered_is_what_is_stored() -> None:
    """Rows that lost, or were passed over, are not held; neighbours are linked over nothing that is not there."""
    merger, stored = begun()
    one = a_copy(1, [(1, 0, 5), (5, 0, 6)], horizon=None)
    stored.take(merger.step([one], 0))
    again, _ = begun()
    claims = again.claims
    claims.begin(one, Changes())
    claims.begin(a_copy(2, []), Changes())
    content = pack_content(np.zeros(2, np.int64), np.full(2, 4200), np.array([5, 6]))
    again.load_identities(np.ones(2, np.int64), START_MS + np.array([1, 5]), np.zeros(2, np.int64), content)
    other = a_copy(2, [(1, 0, 5), (3, 0, 1), (5, 0, 99)], horizon=None)
    again.remember([one, other])
    held = [[row.holders for row in again.store.group(1, START_MS + ms)] for ms in (1, 3, 5)]
    bits = again.store.holders(again.store.locate(key_of(again.store, 1, 1)))
    assert int(bits[0]).bit_count() == 2 and held[1] == [] and held[2][0].bit_count() == 1
    assert int(again.store.passed_over(again.store.locate(key_of(again.store, 1, 3)))[0]).bit_count() == 1


def test_forgetting_keeps_what_a_run_continues_from() -> None:
    """A run's last row is found again under the store's new numbers; awaited rows keep their holders."""
    merger, stored = begun(Limits(1000, 10, 1000, 1000), START_MS - 5)
    merger.claims.lines.begin(2, BOOK, START_MS, None)
    first = a_copy(1, [(0, 0, 1)], horizon=1)  # a market that is forgotten, before it in the order of slots
    first.deltas.market = np.array([2])
    first.deltas.run = np.array([2])
    first.runs.append(RunStart(2, 1, 2, START_MS))
    stored.take(merger.step([first], 0))
    stored.take(merger.step([a_copy(1, [(20, 0, 5)], batch=2, horizon=21)], 1))
    stored.take(merger.step([a_copy(2, [(25, 0, 6)], start=24, horizon=26)], 2))
    assert merger.store.floor_ms > START_MS
    stored.take(merger.step([a_copy(1, [(30, 0, 7)], batch=3, horizon=31)], 3))
    assert [c.exchange_ms - START_MS for c in stored.conflicts] == [25]


def test_rows_that_their_gatherer_comes_to_claim_are_not_forgotten() -> None:
    """A slow slice of a gatherer whose rows are old already: when its claim comes, it holds them still."""
    merger, stored = begun(Limits(1000, 10, 1000, 1000), START_MS - 5)
    stored.take(merger.step([a_copy(1, [(0, 0, 1)], horizon=-5)], 0))
    fast = a_copy(1, [(100, 0, 9)], batch=2, horizon=None)
    fast.slices = [SliceStart(2, 7, 2, BOOK)]
    fast.runs = [RunStart(2, 2, 2, START_MS)]
    fast.deltas.market, fast.deltas.run = np.array([2]), np.array([2])
    fast.horizons = [Horizon(2, START_MS + 101, False, "")]
    merger.claims.lines.begin(2, BOOK, START_MS, None)
    stored.take(merger.step([fast], 1))
    assert merger.store.floor_ms > START_MS
    assert [row.holders for row in merger.store.group(1, START_MS)] == [1]


def test_a_version_that_was_not_used_has_its_voice_still_when_its_run_is_over() -> None:
    """It has shown that something happened: the row that it continues with does not take that back."""
    merger, stored = begun()
    stored.take(merger.step([a_copy(1, [(1, 0, 5)], horizon=None), a_copy(2, [(1, 0, 5)], horizon=4)], 0))
    stored.take(merger.step([a_copy(3, [(1, 0, 5)], horizon=4)], 1))
    stored.take(merger.step([a_copy(1, [(2, 0, 99)], batch=2, horizon=4)], 2))
    assert merger.claims.excluded.since((1, 0, 1)) == START_MS + 2
    right = a_copy(1, [], batch=3, horizon=None)
    right.snapshots = [Snapshot(1, 1, "audit", START_MS + 5, 0, 1, START_MS * 1000, (), ())]
    stored.take(merger.step([right], 3))
    stored.take(merger.step([a_copy(1, [(7, 0, 3)], batch=4, horizon=8)], 4))
    over = a_copy(1, [], batch=5, horizon=None)
    over.horizons = [Horizon(1, START_MS + 8, True, "cut")]
    stored.take(merger.step([over], 5))
    stored.take(merger.step([a_copy(4, [(1, 0, 5), (2, 0, 99)], horizon=3)], 6))
    assert [merger.claims.excluded.since((who, 0, 1)) for who in (2, 3, 4)] == [START_MS + 2] * 3, "two against two"


def test_a_gatherer_that_holds_all_of_a_group_has_a_vote_before_it_claims_anything() -> None:
    """Rule 3 asks for versions, not for claims."""
    merger, stored = begun()
    right: list[Row] = [(1, 0, 5), (2, 0, 7)]
    stored.take(merger.step([a_copy(n, right, horizon=None) for n in (1, 2)], 0))
    stored.take(merger.step([a_copy(3, [(1, 0, 5), (2, 0, 99), (3, 0, 1)], horizon=4)], 1))
    assert [merger.claims.excluded.since((who, 0, 1)) for who in (1, 2, 3)] == [NEVER_MS, NEVER_MS, START_MS + 2]


def test_a_newcomer_with_another_ones_bit_holds_nothing_of_it() -> None:
    """There are sixteen at a time, and any number one after the other."""
    merger, stored = begun()
    stored.take(merger.step([a_copy(1, [(1, 0, 5)], horizon=2)], 0))
    over = a_copy(1, [], batch=2, horizon=None)
    over.horizons = [Horizon(1, START_MS + 2, True, "cut")]
    stored.take(merger.step([over], 1))
    for gatherer in range(2, 18):
        stored.take(merger.step([a_copy(gatherer, [], start=5000, horizon=None)], gatherer))
    assert [row.holders for row in merger.store.group(1, START_MS + 1)] == [0]


def test_a_line_with_heads_that_wait_for_production_is_looked_at_again() -> None:
    """It is over one step later, when they have their places."""
    merger = Merger(LIMITS, START_MS + 50)
    merger.claims.lines.begin(1, BOOK, START_MS, START_MS + 4)
    covering, head = a_copy(1, [], horizon=10), a_copy(2, [(2, -1, 7)], start=3, horizon=None)
    for copy, to_ms in ((covering, START_MS + 10), (head, -1)):
        copy.run_events = [RunEvent(1, "ended", START_MS, to_ms, "cut")]
    assert not merger.step([covering, head], 0).over
    assert merger.heads_below_floor() == [([1], START_MS + 2, START_MS + 3)]
    merger.load_identities(*(np.array([n]) for n in (1, START_MS + 2, 0, pack_of(7))))
    changes = merger.step([], 1)
    assert len(changes.placed) == 1 and changes.over == [1]


def test_rows_that_were_not_used_are_passed_over_by_nobody() -> None:
    """A run that is readmitted does not count as having nothing where its rows lost."""
    merger, stored = begun()
    stored.take(merger.step([a_copy(1, [(1, 0, 5)], horizon=None)], 0))
    stored.take(merger.step([a_copy(2, [(1, 0, 5), (2, 0, 7)], horizon=3)], 1))
    stored.take(merger.step([a_copy(1, [(2, 0, 99), (4, 0, 1)], batch=2, horizon=5)], 2))
    right = a_copy(1, [], batch=3, horizon=None)
    right.snapshots = [Snapshot(1, 1, "audit", START_MS + 5, 0, 1, START_MS * 1000, (), ())]
    stored.take(merger.step([right], 3))
    stored.take(merger.step([a_copy(1, [(7, 0, 3)], batch=4, horizon=8)], 4))
    assert (1, START_MS + 7, 0) in stored.deltas
    assert stored.alarms["conflict"] == 1


def test_a_run_continues_from_the_last_of_its_rows_whichever_page_they_are_in() -> None:
    """Slots have no order in time."""
    merger, stored = begun()
    stored.take(merger.step([a_copy(1, [(1, 0, 1), (1, 8192, 4), (5, 0, 5)], horizon=None)], 0))
    stored.take(merger.step([a_copy(2, [(6, 0, 6)], start=6, horizon=None)], 1))
    stored.take(merger.step([a_copy(1, [(7, 0, 7)], batch=2, horizon=None)], 2))
    assert [c.exchange_ms - START_MS for c in stored.conflicts] == [6]


def test_new_rows_are_looked_at_when_the_others_have_gone_past_them() -> None:
    """Rule 14 among gatherers that have all been here before."""
    merger, stored = begun()
    stored.take(merger.step([a_copy(n, [(1, 0, 5)], horizon=2) for n in (1, 2, 3)], 0))
    stored.take(merger.step([a_copy(3, [(5, 0, 1)], batch=2, horizon=6)], 1))
    stored.take(merger.step([a_copy(n, [], batch=2, horizon=8) for n in (1, 2)], 2))
    for now in range(20):
        stored.take(merger.step([], 10 + now))
    assert merger.claims.excluded.since((3, 0, 1)) == START_MS + 5
    assert merger.claims.excluded.since((1, 0, 1)) == NEVER_MS


def test_a_claim_that_is_lowered_over_rows_is_asked_about_them() -> None:
    """Rule 14: they were looked at when the run did not claim them yet."""
    merger, stored = begun()
    stored.take(
        merger.step([*(a_copy(n, [(1, 0, 5)], horizon=2) for n in (2, 3)), a_copy(1, [], start=50, horizon=2)], 0)
    )
    stored.take(merger.step([a_copy(3, [(5, 0, 1)], batch=2, horizon=60)], 1))
    stored.take(merger.step([a_copy(1, [], batch=2, horizon=60)], 2))
    for now in range(20):
        stored.take(merger.step([], 3 + now))
    assert not stored.conflicts
    late = a_copy(1, [], batch=3, horizon=70)
    late.run_events = [RunEvent(1, "covers", START_MS + 3, 0, "")]
    stored.take(merger.step([late], 30))
    for now in range(20):
        stored.take(merger.step([], 31 + now))
    assert [c.exchange_ms - START_MS for c in stored.conflicts] == [5]


# -- claims and ranges -------------------------------------------------------------------------------------------------


def test_ranges_are_half_open_and_begin_at_the_floor() -> None:
    """Late rows: the last millisecond is inside; the one at the floor is known."""
    ms = START_MS + np.array([5, 9])
    assert _ranges(np.array([1, 1]), ms) == [([1], START_MS + 5, START_MS + 10)]
    merger, _ = begun(floor_ms=START_MS + 5)
    assert merger.late([a_copy(1, [(4, 0, 1), (5, 0, 1)], horizon=None)]) == [([1], START_MS + 4, START_MS + 5)]
    assert merger.late([a_copy(1, [], start=2, horizon=20)]) == [([], START_MS + 2, START_MS + 5)]


def test_guests_are_what_they_were() -> None:
    """A run that has ended stays over, one that contradicted gives nothing, and what is read of claims changes none."""
    claims = Claims()
    claims.slices.add((1, 0, 1), SliceState(7, 1, BOOK, START_MS + 9))
    over = RunState((1, 0, 5), 1, 1, BOOK, START_MS, START_MS + 3, START_MS + 3, "conflict")
    claims.restore_guest(over, 7, 1, ended=True)
    assert (1, 0, 5) not in claims.runs
    assert dict(claims.excluded.of_lane(1, 0)) == {(1, 0, 5): [(START_MS + 3, NEVER_MS)]}
    silent = RunState((1, 0, 6), 2, 1, BOOK, NEVER_MS)
    claims.restore_guest(silent, 7, 2, ended=False)
    copy = Copy(1, 0, 1, 1)
    copy.run_events = [RunEvent(6, "covers", START_MS, 0, "")]
    changes = Changes()
    claims.apply(copy, changes)
    assert not changes.runs and not claims.lines[1, BOOK].open
    claims.finish()
    assert not dict(claims.excluded.of_lane(1, 0))


def test_a_run_that_is_excluded_is_excluded_after_a_restart() -> None:
    """And claims what it claimed before."""
    merger, _ = begun()
    claims = merger.claims
    claims.slices.add((1, 0, 1), SliceState(7, 1, BOOK, START_MS + 20))
    run = RunState((1, 0, 1), 1, 1, BOOK, START_MS)
    run.excluded_from_ms, run.reason = START_MS + 3, "conflict"
    claims.restore_excluded(run)
    assert held_of(merger) == [(START_MS, START_MS + 3)]
    changes = merger.step([a_copy(1, [(2, 0, 1), (3, 0, 1), (4, 0, 2)], batch=2, horizon=30)], 0)
    assert (changes.new.exchange_ms - START_MS).tolist() == [2]
    assert held_of(merger) == [(START_MS, START_MS + 3)]


def test_what_a_claim_that_ended_holds_is_retracted_by_a_contradiction() -> None:
    """From its group on, also where the claim begins with it; and it is stored so."""
    claims, changes = Claims(), Changes()
    claims.lines.begin(1, BOOK, START_MS, None)
    claims.restore_held(1, BOOK, 1, (START_MS + 5, START_MS + 9))
    claims.excluded.exclude(1, {1}, START_MS + 5, changes)
    assert [r.interval for r in changes.retractions] == [(START_MS + 5, START_MS + 9)]
    assert not coverage.covered(claims.lines[1, BOOK], claims.slices)
    assert claims.excluded.covers(1, 1, START_MS + 6) and not claims.excluded.covers(2, 1, START_MS + 6)


def test_a_step_back_is_stored_as_what_nobody_claims() -> None:
    """Rule 18."""
    merger, _ = begun()
    stepping = a_copy(1, [(1, 0, 5)], horizon=20)
    stepping.run_events = [RunEvent(1, "retracts", START_MS + 5, START_MS + 10, "step_back")]
    changes = merger.step([stepping], 0)
    assert [(r.gatherer, r.interval) for r in changes.retractions] == [(0, (START_MS + 5, START_MS + 10))]
    assert held_of(merger) == [(START_MS, START_MS + 5), (START_MS + 10, START_MS + 20)]


def test_claims_grow_and_are_reported_of_stored_runs_alone() -> None:
    """A `covers` that comes again later changes nothing; a run of a copy that was stalled is not stored."""
    claims, changes = Claims(), Changes()
    copy = a_copy(1, [], start=5)
    claims.begin(copy, changes)
    claims.excluded.exclude(1, {1}, START_MS + 7, changes)
    assert not changes.runs, "its slice is not stored yet"
    claims = Claims()
    claims.begin(copy, changes)
    claims.excluded.exclude(1, {1}, START_MS + 7, changes)
    copy.run_events = [RunEvent(1, "covers", START_MS + 4, 0, "")]
    claims.apply(copy, changes)
    assert claims.runs[(1, 0, 1)].cover_from_ms == START_MS + 5, "nothing that an excluded run brings widens its claim"
    claims = Claims()
    claims.begin(copy, changes)
    for since in (3, 8):
        copy.run_events = [RunEvent(1, "covers", START_MS + since, 0, "")]
        claims.apply(copy, changes)
    assert claims.runs[(1, 0, 1)].cover_from_ms == START_MS + 3


def test_the_slowest_slice_of_a_gatherer_counts() -> None:
    """Of those of the order book that continue."""
    claims = Claims()
    for number, horizon in enumerate((30, 10, 20)):
        claims.slices.add((1, 0, number), SliceState(1, number, BOOK, START_MS + horizon))
    assert claims.slices.slowest() == {1: START_MS + 10}


def test_coverage_up_to_a_millisecond_does_not_include_it() -> None:
    """Holders are by half-open claims, of many places at once."""
    _, claims, _ = waiting(5, 6)
    column = np.ones(2, np.int64)
    assert claims.covered.holders(column, START_MS + np.array([4, 5]), BITS).tolist() == [6, 4]


# -- heads and time lines ----------------------------------------------------------------------------------------------


def test_heads_that_nothing_matches_are_judged_once() -> None:
    """Production is given their names."""
    merger, _ = begun()
    changes = merger.step([a_copy(1, GOOD), a_copy(2, [(1, -1, 77), (2, 0, 7)], start=2, horizon=3)], 0)
    assert [row.delta for row in changes.judged] == [77]
    assert [c.kind for c in changes.conflicts] == ["head"]


@pytest.mark.parametrize(("to_ms", "fits"), [(1, True), (2, False)])
def test_a_head_whose_run_ended_with_it_may_be_any_part_of_its_group(to_ms: int, fits: bool) -> None:
    """One that its run followed is the end of it."""
    merger, _ = begun()
    head = a_copy(2, [(1, -1, 5)], start=2, horizon=None)
    head.run_events = [RunEvent(1, "ended", START_MS, START_MS + to_ms, "cut")]
    merger.step([head], 0)
    changes = merger.step([a_copy(1, GOOD)], 1)
    assert bool(changes.placed) == fits and bool(changes.judged) != fits


def test_a_restored_head_that_was_followed_is_the_end_of_its_group() -> None:
    """Rule 4 after a restart."""
    merger, _ = begun()
    unplaced = merger.step([a_copy(2, [(1, -1, 5)], start=0, horizon=None)], 0).unplaced
    for followed in (True, False):
        again, _ = begun()
        again.restore_unplaced(unplaced[0], followed=followed)
        changes = again.step([a_copy(1, GOOD)], 1)
        assert bool(changes.placed) != followed


def test_a_line_is_over_when_its_runs_have_ended_and_a_head_after_its_end_finds_its_place_later() -> None:
    """Then it is given back, and not before; a head that nobody covers does not keep it, and is loaded with it."""
    merger, stored = Merger(LIMITS, START_MS - 86_400_000), Stored()
    merger.claims.lines.begin(1, BOOK, START_MS, START_MS + 4)
    head = a_copy(2, [(9, -1, 5)], start=20, horizon=None)
    first = a_copy(1, GOOD, horizon=8)
    stored.take(begins := merger.step([first, head], 0))
    assert not begins.over, "its runs continue"
    first = a_copy(1, [], batch=2, horizon=None)
    first.run_events = [RunEvent(1, "ended", START_MS, START_MS + 8, "cut")]
    second = a_copy(2, [], batch=2, horizon=None)
    second.run_events = [RunEvent(1, "ended", START_MS, -1, "cut")]
    stored.take(changes := merger.step([first, second], 1))
    assert changes.over == [1] and stored.unplaced
    merger.give_back(changes.over)
    third = a_copy(3, [(8, 0, 1), (9, 0, 5)], start=8, horizon=12)
    assert merger.missing_lines([third]) == [1]
    merger.claims.lines.begin(1, BOOK, START_MS, START_MS + 4)
    merger.claims.restore_held(1, BOOK, 1, (START_MS, START_MS + 8))
    for row in begins.unplaced:
        merger.restore_unplaced(row, followed=True)
    stored.take(merger.step([third], 3))
    assert not stored.unplaced
    third = a_copy(3, [], batch=2, horizon=None)
    third.run_events = [RunEvent(1, "ended", START_MS, START_MS + 12, "cut")]
    overs = [*merger.step([third], 4).over, *merger.step([], 5000).over, *merger.step([], 9000).over]
    assert overs == [1]


def test_heads_in_a_gap_are_looked_at_when_it_is_healed() -> None:
    """A copy that comes late covers them."""
    merger, stored = begun()
    early = a_copy(1, [(1, 0, 5)], horizon=None)
    early.horizons = [Horizon(1, START_MS + 2, True, "cut")]
    late = a_copy(2, [(4, -1, 6), (6, 0, 1)], start=5, horizon=10)
    stored.take(merger.step([early, late], 0))
    for now in (2000, 4000, 6000):
        stored.take(merger.step([], now))
    assert stored.gaps and stored.unplaced
    stored.take(merger.step([a_copy(3, [(1, 0, 5), (4, 0, 6), (6, 0, 1)], horizon=20)], 7000))
    for now in (9000, 11_000):
        stored.take(merger.step([], now))
    assert not stored.gaps and not stored.unplaced


def test_heads_below_the_floor_wait_until_production_was_asked() -> None:
    """They are no conflict with what is forgotten."""
    merger, _ = begun(floor_ms=START_MS + 5)
    head = a_copy(2, [(1, -1, 6), (7, 0, 7)], start=7, horizon=10)
    changes = merger.step([head], 0)
    merger.claims.restore_held(1, BOOK, 1, (START_MS, START_MS + 6))
    changes = merger.step([], 1)
    assert not changes.judged and not changes.placed
    assert merger.heads_below_floor() == [([1], START_MS + 1, START_MS + 2)]
    content = pack_content(np.zeros(1, np.int64), np.full(1, 4200), np.array([6]))
    merger.load_identities(np.ones(1, np.int64), START_MS + np.ones(1, np.int64), np.zeros(1, np.int64), content)
    assert len(merger.step([], 2).placed) == 1


def test_what_was_dropped_unread_contradicts_nobody() -> None:
    """A run has no neighbours over it, and an open head lost its rest."""
    merger, stored = begun()
    stored.take(merger.step([a_copy(1, [(1, 0, 5)], horizon=2)], 0))
    dropped = Copy(1, 0, 2, 2, dropped=True)
    stored.take(merger.step([dropped], 1))
    merger.step([a_copy(2, [(1, 0, 5), (4, 0, 6)], horizon=5)], 2)
    changes = merger.step([a_copy(1, [(6, 0, 7)], batch=3, horizon=None)], 3)
    assert not changes.conflicts
    merger, stored = begun()
    merger.step([a_copy(1, [(4, -1, 6)], start=5, horizon=None)], 0)
    merger.step([Copy(1, 0, 2, 2, dropped=True)], 1)
    changes = merger.step([a_copy(2, [(1, 0, 5), (4, 0, 6), (4, 1, 9), (6, 0, 2)], horizon=9)], 2)
    assert not changes.placed and not changes.judged


def test_of_what_was_dropped_unread_only_what_is_certain_stays() -> None:
    """No rows, no claim, no snapshot; where time stepped back, and what ended, which no batch repeats."""
    copy = a_copy(1, GOOD)
    copy.horizons += [Horizon(1, START_MS + 300, True, "cut")]
    copy.quarantined = 2
    back = RunEvent(1, "retracts", START_MS + 5, START_MS + 10, "step_back")
    copy.run_events = [RunEvent(1, "covers", START_MS, 0, ""), back]
    copy.snapshots = [Snapshot(1, 1, "audit", START_MS + 4, 0, 1, START_MS * 1000, (), ())]
    strip_dropped_rows(copy)
    assert copy.dropped and copy.run_events == [back] and copy.slices and copy.runs
    assert not copy.snapshots and not len(copy.deltas) and copy.delta_frames == 2
    merger, _ = merged([a_copy(1, GOOD, horizon=4)])
    copy.slices, copy.runs = [], []
    merger.step([copy], 5000)
    assert not merger.claims.slices and not merger.claims.runs
    assert merger.claims.lines[1, BOOK].held_by(1) == [(START_MS, START_MS + 4)], "it proves no more than before"
    assert merger.claims.lines[1, BOOK].last_end == {1: "dropped_unread"}


def test_gaps_end_with_the_market_and_heal_by_parts() -> None:
    """Rules 5 to 7: no gap beyond the end of a time line; of one that is filled in part the rest stays."""
    claims, changes = Claims(), Changes()
    claims.lines.begin(1, BOOK, START_MS, START_MS + 50)
    claims.restore_held(1, BOOK, 1, (START_MS, START_MS + 10))
    claims.restore_held(1, BOOK, 1, (START_MS + 80, START_MS + 90))
    claims.lines.settle(changes, START_MS + 100, 0)
    assert [gap.interval for gap in changes.gaps] == [(START_MS + 10, START_MS + 50)]
    claims.restore_held(1, BOOK, 2, (START_MS + 20, START_MS + 30))
    changes = Changes()
    claims.lines.settle(changes, START_MS + 100, 0)
    left = [(START_MS + 10, START_MS + 20), (START_MS + 30, START_MS + 50)]
    assert [heal.left for heal in changes.heals] == [left]
    assert sorted(claims.lines[1, BOOK].gaps) == left


def test_a_line_that_is_over_is_reported_once_nothing_of_it_is_open() -> None:
    """Neither a run that continues past its end nor a head without a place."""
    merger = Merger(LIMITS, START_MS - 86_400_000)
    merger.claims.lines.begin(1, BOOK, START_MS, START_MS + 4)
    assert not merger.step([a_copy(1, GOOD, horizon=10)], 0).over
    ended = a_copy(1, [], batch=2, horizon=None)
    ended.run_events = [RunEvent(1, "ended", START_MS, START_MS + 10, "cut")]
    row = merger.step([a_copy(2, [(20, -1, 5)], start=30, horizon=None)], 1).unplaced[0]
    assert not merger.step([ended], 2).over
    assert not merger.step([], 3).over
    merger.claims.restore_held(1, BOOK, 3, (START_MS + 19, START_MS + 30))
    merger.load_identities(*(np.array([n]) for n in (1, row.exchange_ms, 0, pack_of(5))))
    second = a_copy(2, [], batch=2, horizon=None)
    second.run_events = [RunEvent(1, "ended", START_MS, -1, "cut")]
    overs = [merger.step([second], 4), *(merger.step([], 5000 * n) for n in (1, 2, 3))]
    assert [placed.delta for step in overs for placed in step.placed] == [5]
    assert [market for step in overs for market in step.over] == [1]


def pack_of(delta: int) -> int:
    """The content of a change as `a_copy` makes it."""
    return int(pack_content(np.zeros(1, np.int64), np.full(1, 4200), np.array([delta]))[0])


def test_a_horizon_never_steps_back() -> None:
    """A lane that is read again shows less at first."""
    _, claims, _ = waiting(20)
    goes_to(claims, 2, 5)
    assert claims.slices[(2, 0, 1)].horizon_ms == START_MS + 20
