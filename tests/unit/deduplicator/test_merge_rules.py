"""The merge's rules where copies contradict each other, or the exchange does what it should not."""

from __future__ import annotations

import copy as copying
import random

import numpy as np
import pytest

from common.contract.identity import GATHERERS_MAX
from deduplicator.merge import coverage, disputes, heads, identity, intervals
from deduplicator.merge.copies import Copy, Horizon, RunEvent, RunStart, SliceStart, Snapshot
from deduplicator.merge.identity import IdentityStore, StoreFull, pack_content, unpack_content
from deduplicator.merge.merger import NEVER_MS, Limits, Merger
from tests.support.merge_case import GOOD, LIMITS, Row, a_copy, held_of, merged
from tests.support.world import START_MS, Stored, gaps
from tests.support.worlds.memory import Memory


def test_of_three_copies_the_one_that_contradicts_two_is_excluded() -> None:
    """Rule 3: both versions are listed, the first written rows stand, the minority gives nothing from there on."""
    bad = [(1, 0, 5), (1, 1, 6), (2, 0, 99), (3, 0, 8), (4, 0, 9)]
    merger, stored = merged([a_copy(1, GOOD, horizon=3), a_copy(2, GOOD, horizon=3), a_copy(3, bad, horizon=5)])
    assert [c.kind for c in stored.conflicts] == ["conflict"]
    assert stored.deltas == {(1, START_MS + ms, o): (0, 4200, d) for ms, o, d in GOOD}
    assert held_of(merger) == [(START_MS, START_MS + 3)]
    assert stored.alarms["conflict"] == 1


def test_two_copies_that_contradict_each_other_are_both_excluded() -> None:
    """Rule 3 with two copies: what either alone covered after that becomes a gap, reason conflict."""
    bad = [(1, 0, 5), (1, 1, 6), (2, 0, 99), (3, 0, 8)]
    third = a_copy(3, [], start=6, horizon=20)
    _, stored = merged([a_copy(1, GOOD, horizon=5), a_copy(2, bad, horizon=5)], [third])
    assert (1, START_MS + 2, 0) in stored.deltas
    assert stored.gaps == {(1, (START_MS + 2, START_MS + 6)): "conflict"}


def test_the_same_changes_in_another_order_are_disputed_and_the_first_order_is_kept() -> None:
    """Rule 3: equal as a multiset; the run continues."""
    other = [(1, 0, 6), (1, 1, 5), (2, 0, 7), (3, 0, 8), (4, 0, 1)]
    _, stored = merged([a_copy(1, GOOD, horizon=3)], [a_copy(2, other, horizon=9)])
    assert [c.kind for c in stored.conflicts] == ["order_disputed"]
    assert stored.deltas[(1, START_MS + 1, 0)] == (0, 4200, 5)
    assert (1, START_MS + 4, 0) in stored.deltas
    assert not stored.gaps


@pytest.mark.parametrize("copies", [2, 3])
def test_an_order_that_is_disputed_stays_that_when_the_state_is_made_again(copies: int) -> None:
    """Restarted before the claims have come to it: a copy with the changes in another order has them all the same."""
    other: list[Row] = [(1, 0, 6), (1, 1, 5), (2, 0, 7), (3, 0, 8)]
    given = [a_copy(n, other if n == 2 else GOOD, horizon=0) for n in range(1, copies + 1)]
    first, stored = Merger(LIMITS, START_MS - 86_400_000), Stored()
    first.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    changes = first.step(given, 0)
    stored.take(changes)
    again = Merger(LIMITS, START_MS - 86_400_000)
    again.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    for gatherer in range(1, copies + 1):
        again.claims.slices.add((gatherer, 0, 1), coverage.SliceState(7, 1, "orderbook_delta", START_MS))
        run = coverage.RunState((gatherer, 0, 1), 1, 1, "orderbook_delta", START_MS)
        again.claims.restore_run(run)
    new = changes.new
    again.load_identities(new.market, new.exchange_ms, new.ordinal, pack_content(new.side, new.price, new.delta))
    again.remember(given)
    for batch in range(2, 6):
        copies_ = [a_copy(n, [], batch=batch, horizon=20 * batch) for n in range(1, copies + 1)]
        stored.take(again.step(copies_, batch))
    assert [c.kind for c in stored.conflicts] == ["order_disputed"]
    assert again.claims.covered.by(1, START_MS + 1) == set(range(1, copies + 1))


@pytest.mark.parametrize("first", [0, 1])
def test_a_group_that_is_longer_in_one_copy_is_a_conflict(first: int) -> None:
    """Rule 3 compares whole groups: a row that the other copy does not have, after its end, contradicts it."""
    short = [(1, 0, 5), (2, 0, 7), (3, 0, 8)]
    copies = [a_copy(1, short, horizon=3), a_copy(2, [(1, 0, 5), (1, 1, 6), (2, 0, 7), (3, 0, 8)], horizon=3)]
    steps = [[copies[first]], [copies[1 - first]]]
    _, stored = merged(*steps)
    assert [c.kind for c in stored.conflicts] == ["conflict"]
    _, together = merged(copies)
    assert [c.kind for c in together.conflicts] == ["conflict"]


def test_a_short_group_whose_end_is_read_later_is_a_conflict_too() -> None:
    """The first copy's group ends with its next batch, when the other's longer one is stored already."""
    _, stored = merged(
        [a_copy(1, [(1, 0, 5)], horizon=None)],
        [a_copy(2, [(1, 0, 5), (1, 1, 6)], horizon=None)],
        [a_copy(1, [(2, 0, 7)], batch=2)],
    )
    assert [c.kind for c in stored.conflicts] == ["conflict"]


def test_a_contradiction_in_a_group_that_is_still_open_is_awaited() -> None:
    """The copy's rows are not used until its group has ended: then another order differs from other changes."""
    merger = Merger(LIMITS, START_MS - 86_400_000)
    stored = Stored()
    stored.take(merger.step([a_copy(1, GOOD, horizon=3)], 1))
    half = a_copy(2, [(1, 0, 6)], horizon=None)
    changes = merger.step([half], 2)
    assert changes.stalled == {2} and not changes.accounts
    whole = a_copy(2, [(1, 0, 6), (1, 1, 5), (2, 0, 7)], horizon=None)
    changes = merger.step([whole], 3)
    assert not changes.stalled
    assert [c.kind for c in changes.conflicts] == ["order_disputed"]


def test_head_rows_that_no_covering_copy_has_are_a_conflict() -> None:
    """Rule 4: an unknown ordinal never becomes a place by guessing."""
    head = a_copy(2, [(1, -1, 77), (2, 0, 7), (3, 0, 8)], start=2)
    _, stored = merged([a_copy(1, GOOD), head])
    assert [c.kind for c in stored.conflicts] == ["head"]
    assert stored.unplaced, "the row stays listed"
    fits = a_copy(2, [(1, -1, 6), (2, 0, 7), (3, 0, 8)], start=2)
    _, stored = merged([a_copy(1, GOOD), fits])
    assert not stored.conflicts and not stored.unplaced


def test_head_groups_match_where_they_must() -> None:
    """A followed head is a suffix; any other a slice; an empty or longer one never matches."""
    assert heads.matches([2, 3], [1, 2, 3], followed=True)
    assert not heads.matches([1, 2], [1, 2, 3], followed=True)
    assert heads.matches([1, 2], [1, 2, 3], followed=False)
    assert not heads.matches([1, 3], [1, 2, 3], followed=False)
    assert not heads.matches([1, 2, 3, 4], [1, 2, 3], followed=False)


def test_a_step_back_of_exchange_time_is_a_gap_for_all_copies() -> None:
    """Rule 9b: what lies between is claimed by nobody, also where another copy had claimed it."""
    stepping = a_copy(1, [(1, 0, 5), (9, 0, 6)], horizon=4)
    stepping.run_events = [RunEvent(1, "retracts", START_MS + 5, START_MS + 10, "step_back")]
    merger, stored = merged([stepping, a_copy(2, [(1, 0, 5), (9, 0, 6)], horizon=20)])
    assert stored.gaps == {(1, (START_MS + 5, START_MS + 10)): "step_back"}
    line = merger.claims.lines[1, "orderbook_delta"]
    assert line.sealed_ms == START_MS + 20


def test_a_hole_is_written_as_a_gap_only_after_the_wait() -> None:
    """Rule 6: a slower gatherer has `hole_wait` to fill it."""
    merger = Merger(LIMITS, START_MS - 86_400_000)
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    early = a_copy(1, [(1, 0, 5)], horizon=5)
    early.run_events = [RunEvent(1, "ended", START_MS, START_MS + 5, "gap")]
    merger.step([early], 0)
    after = a_copy(2, [], start=8, horizon=30)
    assert not merger.step([after], 10).gaps
    assert not merger.step([], 900).gaps
    filling = a_copy(3, [(1, 0, 5), (6, 0, 1)], horizon=30)
    assert not merger.step([filling], 950).gaps
    assert not merger.step([], 5000).gaps
    assert merger.claims.lines[1, "orderbook_delta"].sealed_ms == START_MS + 30


def test_holes_are_waited_for_all_at_once() -> None:
    """Rule 6: many short ones after each other hold the seal up once, not once each. A later one has its own wait."""
    merger = Merger(LIMITS, START_MS - 86_400_000)
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    copies = []
    for n in range(1, 9):
        copy = a_copy(n, [], start=10 * n, horizon=10 * n + 5)
        copy.run_events = [RunEvent(1, "ended", START_MS, START_MS + 10 * n + 5, "gap")]
        copies.append(copy)
    assert not merger.step([*copies[:6], a_copy(9, [], start=100, horizon=200)], 0).gaps
    assert not merger.step(copies[6:], 900).gaps
    written = [tuple(ms - START_MS for ms in gap.interval) for gap in merger.step([], 1000).gaps]
    assert written == [(15, 20), (25, 30), (35, 40), (45, 50), (55, 60), (65, 70)]
    written = [tuple(ms - START_MS for ms in gap.interval) for gap in merger.step([], 1900).gaps]
    assert written == [(75, 80), (85, 100)]
    assert (
        merger.claims.covered.sealed_ms(1) == START_MS + 200
        and not merger.claims.lines[1, "orderbook_delta"].hole_since
    )


def test_the_first_stretch_before_the_first_claim_is_no_row() -> None:
    """Rule 21: it follows from the line and the claim. An earlier copy makes it shorter, and no seal falls."""
    merger, stored = Merger(LIMITS, START_MS - 86_400_000), Stored()
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    head = a_copy(2, [(12, -1, 5), (13, 0, 6)], start=20, horizon=30)
    stored.take(merger.step([head], 0))
    assert gaps(merger, stored) == {(1, (START_MS, START_MS + 20)): "before_subscription"} and not stored.gaps
    assert merger.claims.covered.sealed_ms(1) == START_MS + 30
    stored.take(merger.step([], 1))
    assert not merger.heads.open, "what is listed is not looked at in every step"
    early = a_copy(1, [(6, 0, 1)], start=5, horizon=8)
    early.run_events = [RunEvent(1, "ended", START_MS + 5, START_MS + 8, "gap")]
    stored.take(merger.step([early], 2))
    assert merger.claims.covered.sealed_ms(1) == START_MS + 30, "what was sealed stays so"
    assert stored.gaps == {(1, (START_MS + 8, START_MS + 20)): "not_recorded"}
    assert gaps(merger, stored) == {**stored.gaps, (1, (START_MS, START_MS + 5)): "before_subscription"}
    stored.take(merger.step([a_copy(3, [(6, 0, 1), (12, 0, 5), (13, 0, 6)], start=2, horizon=30)], 3))
    stored.take(merger.step([], 4))
    assert gaps(merger, stored) == {(1, (START_MS, START_MS + 2)): "before_subscription"} and not stored.gaps
    assert not stored.unplaced, "head rows that an earlier copy covers find their place"


def test_head_rows_before_the_first_claim_are_looked_at_again_when_an_earlier_copy_comes() -> None:
    """Rule 4: also when it joins the first claim, and no gap row is healed."""
    merger, stored = Merger(LIMITS, START_MS - 86_400_000), Stored()
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    for now, copies in enumerate(([a_copy(2, [(12, -1, 5), (13, 0, 6)], start=20, horizon=30)], [])):
        stored.take(merger.step(copies, now))
    assert stored.unplaced
    stored.take(merger.step([a_copy(3, [(12, 0, 5), (13, 0, 6)], start=2, horizon=30)], 2))
    stored.take(merger.step([], 3))
    assert not stored.unplaced and not stored.gaps


def test_a_first_stretch_that_changes_is_reported_whatever_changes_it() -> None:
    """Rule 22: its hours are stale then, also when a horizon alone moves, long after its run came."""
    merger = Merger(LIMITS, START_MS - 86_400_000)
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    assert merger.step([a_copy(1, [], start=20, horizon=30)], 0).begun == [(START_MS, START_MS + 20)]
    assert not merger.step([a_copy(2, [], start=5, horizon=3)], 1).begun
    for now in (2, 3):
        assert not merger.step([], now).begun
        assert not merger.claims.lines._watched, (
            "a gatherer may be away for hours: its markets are not looked at in each step"
        )
    assert merger.step([a_copy(2, [], batch=2, horizon=25)], 4).begun == [(START_MS, START_MS + 20)]
    assert not merger.step([a_copy(2, [], batch=3, horizon=35)], 5).begun


def test_a_late_copy_on_its_way_to_the_first_claim_makes_no_gap() -> None:
    """The first gap is a row meanwhile; a market that nobody ever held keeps its own."""
    merger, stored = Merger(LIMITS, START_MS - 86_400_000), Stored()
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    stored.take(merger.step([a_copy(1, [], start=20, horizon=30)], 0))
    stored.take(merger.step([a_copy(2, [], start=5, horizon=8)], 1))
    assert stored.gaps == {(1, (START_MS, START_MS + 20)): "before_subscription"}
    assert merger.claims.covered.sealed_ms(1) == START_MS + 30
    stored.take(merger.step([a_copy(2, [], batch=2, horizon=25)], 2))
    assert not stored.gaps and gaps(merger, stored) == {(1, (START_MS, START_MS + 5)): "before_subscription"}
    merger, stored = Merger(LIMITS, START_MS - 86_400_000), Stored()
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, START_MS + 50)
    for now in (START_MS + 100, START_MS + 5000):
        stored.take(merger.step([], now))
    assert stored.gaps == {(1, (START_MS, START_MS + 50)): "before_subscription"}
    stored.take(merger.step([a_copy(1, [], start=20, horizon=30)], START_MS + 6000))
    stored.take(merger.step([a_copy(1, [], batch=2, horizon=60)], START_MS + 6001))
    assert not stored.gaps and merger.claims.covered.sealed_ms(1) == START_MS + 60


def test_a_hole_before_a_run_that_proves_nothing_yet_is_not_forgotten() -> None:
    """After an outage a run's horizon is before its beginning: the gap is written once it has passed it."""
    merger = Merger(LIMITS, START_MS - 86_400_000)
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    before = a_copy(1, [(1, 0, 5)], horizon=5)
    before.horizons = [Horizon(1, START_MS + 5, True, "cut")]
    merger.step([before], 0)
    merger.step([a_copy(2, [], start=50, horizon=20)], 1)
    assert not merger.step([], 5000).gaps
    merger.step([a_copy(2, [], batch=2, horizon=60)], 6000)
    changes = merger.step([], 9000)
    assert [gap.interval for gap in changes.gaps] == [(START_MS + 5, START_MS + 50)]


def test_disputes_remember_earlier_voices() -> None:
    """A third copy that comes later decides what two could not."""
    dispute = disputes.Dispute()
    first = disputes.settle({1: (1,), 2: (2,)}, (1,), dispute)
    assert first is not None and first.excluded == 3 and dispute.tied
    assert disputes.settle({1: (1,), 2: (2,)}, (1,), dispute) is None, "nothing new was brought"
    same = disputes.Dispute()
    assert disputes.settle({1: (1, 2), 2: (2, 1)}, (1, 2), same) is not None
    assert disputes.settle({4: (1, 2)}, (1, 2), same) is None, "a further voice for what is stored changes nothing"
    second = disputes.settle({1: (1,), 4: (2,)}, (1,), dispute)
    assert second is not None and second.excluded == 1 and second.readmitted == 2
    assert disputes.settle({1: (1,)}, (1,), disputes.Dispute()) is None


def test_a_copy_that_brings_more_later_has_one_voice_still() -> None:
    """A gatherer's group may grow while it is disputed."""
    dispute = disputes.Dispute()
    disputes.settle({1: (1,), 2: (1, 2), 4: (3,)}, (1,), dispute)
    grown = disputes.settle({1: (1, 2)}, (1,), dispute)
    assert grown is not None and dispute.voices[(1, 2)] == 3 and dispute.voices[(1,)] == 0
    assert grown.excluded == 4 and grown.readmitted == 3


def test_a_batch_read_again_is_no_second_row() -> None:
    """Merging is a set union: idempotent."""
    one = a_copy(1, GOOD)
    _, stored = merged([one], [copying.deepcopy(one)])
    assert stored.deltas == {(1, START_MS + ms, o): (0, 4200, d) for ms, o, d in GOOD}


def test_limits_of_the_identity_are_errors_not_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """More markets than there are slots are refused; a slot that is used no more is given back."""
    monkeypatch.setattr(identity, "SLOT_BITS", 10)
    store = IdentityStore(START_MS)
    with pytest.raises(StoreFull):
        store.keys(np.arange(1025), np.full(1025, START_MS), np.zeros(1025, np.int64))
    store = IdentityStore(START_MS)
    for round_ in range(9):
        market, zeros = np.arange(500) + round_ * 500, np.zeros(500, np.int64)
        keys = np.sort(store.keys(market, np.full(500, START_MS + round_ * 1000), zeros))
        store.insert(keys, zeros, zeros.astype(np.uint16), zeros.astype(np.uint16))
        store.forget(500, 10_000)
        assert len(store) == 500


def test_an_identity_has_no_last_age_and_no_last_ordinal() -> None:
    """Rules 12 and 20: any exchange time, any number of changes of one millisecond."""
    store = IdentityStore(0)
    ms = np.array([START_MS, START_MS - 400 * 86_400_000, START_MS + (1 << 31), 0, START_MS])
    ordinal = np.array([0, 3, 70_000, 0, 8192])
    keys = store.keys(np.full(5, 9), ms, ordinal)
    assert len(np.unique(keys)) == 5
    assert [store.unpack(key) for key in keys.tolist()] == list(
        zip([9] * 5, ms.tolist(), ordinal.tolist(), strict=True)
    )
    for column, again in zip((np.full(5, 9), ms, ordinal), store.places(keys), strict=True):
        assert (column == again).all()


def test_forgetting_raises_the_floor_and_loading_fills_in() -> None:
    """Identities older than the window are gone, and known to be, by the floor."""
    store = IdentityStore(START_MS - 10)
    ms = START_MS + np.arange(1000)
    zeros, ones = np.zeros(1000, np.int64), np.ones(1000, np.int64)
    keys = store.keys(ones, ms, zeros)
    store.insert(keys, ones, np.ones(1000, np.uint16), np.zeros(1000, np.uint16))
    store.forget(100, 10_000)
    assert len(store) <= 101 and store.floor_ms == START_MS + 899
    assert not store.locate(store.keys(ones[:1], ms[:1], zeros[:1])).stored.any()
    nobody = np.zeros(5, np.uint16)
    assert len(store.load(ones[:5], ms[:5], zeros[:5], ones[:5], nobody)) == 5
    assert store.locate(store.keys(ones[:5], ms[:5], zeros[:5])).stored.all()
    assert len(store.load(ones[:5], ms[:5], zeros[:5], ones[:5], nobody)) == 0
    assert len(store.group(1, START_MS)) == 1


def test_too_many_rows_raise_the_floor_as_well() -> None:
    """The store is bounded by rows, whatever their times."""
    store = IdentityStore(START_MS - 10)
    ms = START_MS + np.arange(1000) // 2
    order = np.arange(1000) % 2
    keys = store.keys(np.ones(1000, np.int64), ms, order)
    store.insert(keys, np.ones(1000, np.int64), np.ones(1000, np.uint16), np.zeros(1000, np.uint16))
    store.forget(10_000, 300)
    assert len(store) <= 300
    assert store.floor_ms > START_MS


def test_a_run_that_a_snapshot_proves_right_is_readmitted_from_there_on() -> None:
    """Of two that contradict each other; what it was passed over for stays a gap, and the other stays excluded."""
    bad = [(1, 0, 5), (1, 1, 6), (2, 0, 99), (3, 0, 8), (4, 0, 9)]
    merger = Merger(LIMITS, START_MS - 86_400_000)
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    stored = Stored()
    stored.take(merger.step([a_copy(1, [*GOOD, (4, 0, 1)], horizon=5), a_copy(2, bad, horizon=5)], 0))
    assert stored.alarms["conflict"] == 1 and (1, START_MS + 4, 0) not in stored.deltas
    right = a_copy(1, [(6, 0, 3), (8, 0, 4)], batch=2, horizon=10)
    right.snapshots = [Snapshot(1, 1, "audit", START_MS + 4, 0, 1, START_MS * 1000, (), ())]
    wrong = a_copy(2, [(6, 0, 7), (8, 0, 9)], batch=2, horizon=10)
    stored.take(merger.step([right, wrong], 1))
    assert stored.alarms["run_readmitted"] == 1
    stored.take(merger.step([a_copy(1, [(9, 0, 2), (12, 0, 5)], batch=3, horizon=20)], 2))
    stored.take(merger.step([a_copy(2, [(9, 0, 1), (12, 0, 1)], batch=3, horizon=20)], 3))
    for later in (2000, 4000):
        stored.take(merger.step([], later))
    seen = {at - START_MS: content[2] for (_, at, _), content in stored.deltas.items() if at > START_MS + 1}
    assert seen == {2: 7, 9: 2, 12: 5}, "rows of the step in which the snapshot came were passed over"
    line = merger.claims.lines[1, "orderbook_delta"]
    assert held_of(merger) == [(START_MS, START_MS + 2), (START_MS + 9, START_MS + 20)]
    assert {gap: why for gap, (why, _) in line.gaps.items()} == {(START_MS + 2, START_MS + 9): "conflict"}
    assert stored.alarms["conflict"] == 1 and stored.received == stored.accounted


@pytest.mark.parametrize("claims", [True, False])
def test_a_run_that_was_readmitted_never_comes_to_claim_what_was_passed_over(claims: bool) -> None:
    """Whatever its gatherer brings of it later: rows were passed over. One that claims nothing claims nothing then."""
    merger = Merger(LIMITS, START_MS - 86_400_000)
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    first, second = a_copy(1, [*GOOD, (4, 0, 1)], horizon=5), a_copy(2, [*GOOD[:2], (2, 0, 99), (4, 0, 1)], horizon=5)
    if not claims:
        first.runs = [first.runs[0]._replace(cover_from_ms=NEVER_MS)]
    merger.step([first, second], 0)
    run = merger.claims.runs[(1, 0, 1)]
    assert run.excluded_from_ms == START_MS + 2
    right = a_copy(1, [], batch=2, horizon=10)
    right.snapshots = [Snapshot(1, 1, "audit", START_MS + 8, 0, 1, START_MS * 1000, (), ())]
    changes = merger.step([right], 1)
    assert changes.alarms["run_readmitted"] == 1 and changes.runs[run.key].fixed
    later = a_copy(1, [], batch=3, horizon=20)
    later.run_events = [RunEvent(1, "covers", START_MS + 1, START_MS + 1, "")]
    merger.step([later], 2)
    mine = coverage.covered_by(merger.claims.lines[1, "orderbook_delta"], 1, merger.claims.slices)
    stored = changes.runs[run.key]
    if claims:
        assert mine == [(START_MS, START_MS + 2), (START_MS + 9, START_MS + 20)]
        assert stored.cover_from_ms == START_MS + 9
    else:
        assert mine == [] and stored.cover_from_ms == NEVER_MS


def test_a_head_before_its_line_is_placed_by_a_copy_that_comes_late_as_after_a_restart() -> None:
    """It is looked at again when a claim from before the line comes, and as long as that has not come to it."""
    merger, stored = Merger(LIMITS, START_MS - 86_400_000), Stored()
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    stored.take(merger.step([a_copy(1, [(-100, -1, 5), (-99, 0, 6)], start=-99, horizon=-80)], 0))
    ends = a_copy(1, [], batch=2, horizon=None)
    ends.horizons = [Horizon(1, START_MS - 80, True, "cut")]
    again = a_copy(3, [], start=-10, horizon=30)
    for now, copies in enumerate(([ends, again], [], [])):
        stored.take(merger.step(copies, now + 1))
    assert stored.unplaced and not merger.heads.open
    stored.take(merger.step([a_copy(2, [(-100, 0, 5), (-99, 0, 6)], start=-120, horizon=-110)], 5))
    assert stored.unplaced
    for batch, horizon in enumerate((-108, -105, -90), 2):
        stored.take(merger.step([a_copy(2, [], batch=batch, horizon=horizon)], 4 + batch))
    stored.take(merger.step([], 9))
    assert not stored.unplaced


@pytest.mark.parametrize("at", [-5, 60])
def test_a_head_outside_of_a_line_that_is_over_keeps_nothing_open(at: int) -> None:
    """Nothing will ever cover it: the row stays listed as unplaced, and the market is over."""
    merger, stored = Merger(LIMITS, START_MS - 86_400_000), Stored()
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, START_MS + 50)
    first = a_copy(1, [], start=0, horizon=60)
    first.run_events = [RunEvent(1, "ended", START_MS, START_MS + 55, "deleted")]
    head = a_copy(2, [(at, -1, 5)], horizon=60)
    head.runs = [head.runs[0]._replace(cover_from_ms=NEVER_MS)]
    over = []
    for now, copies in enumerate(([first, head], [], [])):
        changes = merger.step(copies, START_MS + 5000 + now)
        stored.take(changes)
        over += changes.over
    assert over and stored.unplaced and not merger.heads.open


def test_a_snapshot_from_before_a_contradiction_proves_nothing() -> None:
    """Nor one of the same millisecond that was read with it; one that is read later does."""
    merger = Merger(LIMITS, START_MS - 86_400_000)
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    first, second = a_copy(1, GOOD, horizon=5), a_copy(2, [(1, 0, 5), (1, 1, 6), (2, 0, 99)], horizon=5)
    audits = [Snapshot(1, 1, "audit", START_MS + ms, 0, 1, START_MS * 1000, (), ()) for ms in (1, 2)]
    first.snapshots = audits
    assert not merger.step([first, second], 0).alarms["run_readmitted"]
    later = a_copy(1, [], batch=2, horizon=6)
    later.snapshots = audits[:1]
    assert not merger.step([later], 1).alarms["run_readmitted"]
    later = a_copy(1, [], batch=3, horizon=7)
    later.snapshots = audits[1:]
    assert merger.step([later], 2).alarms["run_readmitted"] == 1


def test_content_packs_exactly() -> None:
    """Side, price and signed size survive; different contents differ."""
    rng = random.Random(3)
    side = np.array([rng.randrange(2) for _ in range(500)])
    price = np.array([rng.randrange(1_000_001) for _ in range(500)])
    delta = np.array([rng.randrange(-(1 << 42) + 1, 1 << 42) for _ in range(500)])
    packed = pack_content(side, price, delta)
    for before, after in zip((side, price, delta), unpack_content(packed), strict=True):
        assert (before == after).all()


def test_intervals() -> None:
    """Half-open intervals that touch join; empty ones vanish."""
    assert intervals.union([(5, 7), (1, 3), (3, 5), (9, 9)]) == [(1, 7)]
    assert intervals.minus([(0, 10)], [(2, 3), (5, 5), (8, 20)]) == [(0, 2), (3, 8)]
    assert intervals.within([(0, 4), (6, 9)], 3, 7) == [(3, 4), (6, 7)]
    assert intervals.covers([(0, 4)], 3) and not intervals.covers([(0, 4)], 4)


def test_what_is_looked_for_in_vain_leaves_with_the_rows() -> None:
    """Rule 21: a market that continues keeps its slot; no gatherer is waited for with its old rows all the same."""
    merger = Merger(Limits(1000, 2000, 1_000_000, 1000), START_MS)
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    waiting = []
    for batch in range(1, 200):
        at = batch * 200
        for gatherer in (1, 2):
            rows = [(at + n, 0, 5) for n in range(20)]
            merger.step([a_copy(gatherer, rows, batch=batch, horizon=at - 100)], at)
        waiting.append(merger._joining.absences.rows)
    assert max(waiting[100:]) <= max(waiting[:100])


def test_machines_may_be_replaced_for_ever() -> None:
    """Of gatherers that have nothing open any more there may be any number; one that comes back is not contradicted."""
    merger = Merger(LIMITS, START_MS)
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    conflicts = []
    for gatherer in range(1, 40):
        at = gatherer * 100
        last = a_copy(gatherer, [(at, 0, 5)], start=at, horizon=at + 100)
        last.horizons = [last.horizons[0]._replace(ended=True)]
        conflicts += merger.step([a_copy(40, [(at, 0, 5)], batch=gatherer, horizon=at + 100), last], at).conflicts
    back = a_copy(1, [(4500, 0, 5)], start=4400, horizon=5000)
    back.slices, back.runs = [SliceStart(2, 8, 1, "orderbook_delta")], [RunStart(2, 2, 1, START_MS + 4400)]
    back.horizons = [Horizon(2, START_MS + 5000, False, "")]
    back.deltas.run[:] = 2
    for copies in ([back], [a_copy(40, [(4500, 0, 5)], batch=40, horizon=5000)], []):
        conflicts += merger.step(copies, 5000).conflicts
    assert not conflicts
    restored = Merger(LIMITS, START_MS)
    for gatherer in range(1, 40):
        restored.claims.restore_held(1, "orderbook_delta", gatherer, (START_MS, START_MS + 10))
    restored.load_identities(*(np.array([n], np.int64) for n in (1, START_MS + 5, 0, 5)))
    assert len(restored.store) == 1


def test_a_run_that_never_claimed_is_over_with_its_slice_after_a_restart_too() -> None:
    """Rule 21: production has nothing of it open, so that neither its slice nor its gatherer is restored for ever."""
    merger, memory = Merger(LIMITS, START_MS - 86_400_000), Memory()
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    for gatherer in range(1, GATHERERS_MAX + 2):
        first = a_copy(gatherer, [(1, 0, 5)], horizon=50)
        first.runs.append(RunStart(2, 1, 1, NEVER_MS))
        last = a_copy(gatherer, [], batch=2, horizon=60)
        last.horizons = [last.horizons[0]._replace(ended=True, reason="closed")]
        for copies in ([first], [last]):
            memory.prepare(merger, copies)
            memory.take(merger.step(copies, gatherer), copies)
    assert not any(run.cover_to_ms is None for run in memory.runs.values())
    restored = memory.restore(LIMITS, 100, [(1, START_MS, None)])
    assert not restored.claims.slices and not restored.claims.runs
    line = restored.claims.lines[1, "orderbook_delta"]
    assert line.last_end == merger.claims.lines[1, "orderbook_delta"].last_end


def test_a_run_that_has_ended_is_not_begun_again_by_a_batch_that_is_read_again() -> None:
    """Rule 13: a lane that was put back is read again; what ended does not claim up to where its slice has come."""
    merger, _ = merged([a_copy(1, [(100, 0, 5)], horizon=500)])
    ends = a_copy(1, [], batch=2, horizon=600)
    ends.run_events = [RunEvent(1, "ended", 0, START_MS + 500, "deleted")]
    merger.step([ends], 5000)
    after = a_copy(1, [], batch=3, horizon=6000)
    after.runs = [RunStart(2, 1, 1, START_MS + 5000)]
    assert len(merger.step([after], 6000).gaps) == 0
    assert [gap.interval for gap in merger.step([], 8000).gaps] == [(START_MS + 500, START_MS + 5000)]
    again = a_copy(1, [(100, 0, 5)], horizon=500)
    assert merger.missing_runs([again]) == [(1, 0, 1)]
    ended = coverage.RunState((1, 0, 1), 1, 1, "orderbook_delta", START_MS, START_MS + 500, reason="deleted")
    merger.claims.restore_guest(ended, 7, 1, ended=True)
    changes = merger.step([again], 9000)
    assert not changes.heals and not changes.runs and not changes.conflicts
    assert not merger.claims.covered.anywhere(1, START_MS + 1000)


def test_a_lane_that_waits_is_not_waited_for_row_by_row() -> None:
    """Rule 14: what another lane of a gatherer may come to cover is looked at when that lane goes past it."""
    merger = Merger(LIMITS, START_MS)
    for market in (1, 2):
        merger.claims.lines.begin(market, "orderbook_delta", START_MS, None)

    def second(made: Copy, run: int) -> Copy:
        made.deltas.market[:], made.deltas.run[:] = 2, run
        made.runs = [RunStart(run, 1, 2, START_MS)] if made.slices else []
        return made

    waits = second(a_copy(1, [], horizon=1), 1)
    waits.lane = 1
    both = a_copy(2, [], horizon=1)
    both.runs.append(RunStart(2, 1, 2, START_MS))
    merger.step([a_copy(1, [], horizon=1), waits, both], 0)
    for batch in range(2, 40):
        at = batch * 1000
        rows = [(at + n, 0, 5) for n in range(10)]
        other = second(a_copy(2, rows, batch=batch, horizon=at - 1), 2)
        merger.step([a_copy(1, [], batch=batch, horizon=at - 1), other], at)
    assert merger._joining.absences.waiting == 0
    goes_on = second(a_copy(1, [(2000, 0, 5)], batch=2, horizon=50_000), 1)
    goes_on.lane = 1
    assert [(c.market, c.exchange_ms) for c in merger.step([goes_on], 50_000).conflicts][:1] == [(2, START_MS + 2001)]


def test_a_wrong_copy_of_many_markets_is_judged_in_time() -> None:
    """Rule 3 costs what is contradicted, not that times all that was excluded before."""
    many = 400
    merger = Merger(LIMITS, START_MS)
    copies = []
    for gatherer in (1, 2):
        made = a_copy(gatherer, [(n, 0, gatherer) for n in range(1, many + 1)])
        made.deltas.run[:] = made.deltas.market[:] = np.arange(1, many + 1)
        made.runs = [RunStart(n, 1, n, START_MS) for n in range(1, many + 1)]
        copies.append(made)
    looked: list[int] = []
    since = merger.claims.excluded.since
    merger.claims.excluded.since = lambda key: (looked.append(1), since(key))[1]  # type: ignore[method-assign]
    assert len(merger.step(copies, 0).conflicts) == many
    assert len(looked) <= 2 * many


def test_what_two_copies_bring_at_once_is_not_lost_to_a_faster_one_that_dropped_it() -> None:
    """Rule 14: the majority claims the moment, so its row is stored."""
    merger = Merger(LIMITS, START_MS)
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    merger.step([a_copy(3, [(1, 0, 5)])], 0)
    changes = merger.step([a_copy(1, GOOD[:1] + GOOD[2:]), a_copy(2, GOOD[:1] + GOOD[2:])], 1)
    assert changes.new.exchange_ms.tolist() == [START_MS + 2, START_MS + 3]
    assert merger.claims.covered.by(1, START_MS + 2) == {1, 2}
