"""The statements of the merge's page, on virtual time, through the real derivation and the real merge."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime

import pytest

from deduplicator.merge import coverage, intervals
from deduplicator.merge.dropped import strip_dropped_rows
from tests.support.scale import LONG
from tests.support.world import (
    START_MS,
    Event,
    Shape,
    Station,
    Stored,
    derive,
    gaps,
    held,
    live,
    make_events,
    merge,
)

TURN = int(os.environ.get("FLEET_SEED", datetime.now(UTC).toordinal() * 10_000))
"""Half of the seeds are the same every day, half are new ones each day; to have a day's again, set FLEET_SEED to it."""
COUNT = 5000 if LONG else 200
FOUND = (7399451417,)
"""Of other days: a snapshot of an earlier place, by a slow clock's time, contradicted a reset."""
SEEDS = [*FOUND, *range(COUNT // 2), *range(TURN, TURN + COUNT // 2)]
SIDE = {"yes": 0, "no": 1}


def truth_of(events: list[Event]) -> dict[tuple[int, int, int], tuple[int, int, int]]:
    """Identities and contents as the exchange had them."""
    return {(e.market + 1, e.at_ms, e.ordinal): (SIDE[e.side], e.price, e.delta) for e in events if e.kind == "delta"}


def book_at_place(events: list[Event], market: int, ms: int, ordinal: int) -> list[dict[tuple[int, int], int]]:
    """The true books of a market after all changes up to a place: one, or one a reset that happened there."""
    # Resets between the last change and the next one leave the place as it is: each book is possible there.
    before: dict[tuple[int, int], int] = {}
    possible: list[dict[tuple[int, int], int]] = []
    for e in events:
        if e.market + 1 != market:
            continue
        if e.kind == "delta":
            if (e.at_ms, e.ordinal) > (ms, ordinal):
                break
            key = (SIDE[e.side], e.price)
            before[key] = before.get(key, 0) + e.delta
            if not before[key]:
                del before[key]
            possible = [dict(before)]
        else:
            before = {}
            possible.append({})
    return possible or [{}]


def flat(book: dict[tuple[int, int], int], side: int) -> tuple[int, ...]:
    """As the rows have it."""
    return tuple(v for (s, p), q in sorted(book.items(), key=lambda i: -i[0][1]) if s == side for v in (p, q))


@pytest.mark.parametrize("block", range(0, len(SEEDS), 50))
def test_nothing_is_lost_doubled_misplaced_or_falsely_covered(block: int) -> None:
    """Every statement of the last table of the merge's page, for fifty worlds."""
    for seed in SEEDS[block : block + 50]:
        events, stations = live(seed)
        truth = truth_of(events)
        rng = random.Random(f"merge {seed}")
        copies = [derive(s.records, rng, s.number, restart=0.2) for s in stations]
        merger, stored = merge(copies, rng)

        received = sum(len(s.delivered) for s in stations)
        assert stored.received == received == stored.accounted, f"seed {seed}: a frame is not accounted for"

        for identity, content in stored.deltas.items():
            assert truth.get(identity) == content, f"seed {seed}: {identity} is not what the exchange had"

        assert not stored.conflicts, f"seed {seed}: {stored.conflicts[:1]}"

        for market in {m for m, _, _ in truth}:
            covered = held(merger, market)
            for identity in truth:
                if identity[0] == market and intervals.covers(covered, identity[1]):
                    assert identity in stored.deltas, f"seed {seed}: {identity} is covered but missing"
            line = merger.claims.lines[market, "orderbook_delta"]
            tiles = intervals.union([*covered, *(stretch for m, stretch in gaps(merger, stored) if m == market)])
            assert line.sealed_ms is not None
            whole = line.sealed_ms == START_MS or any(a <= START_MS and b >= line.sealed_ms for a, b in tiles)
            assert whole, f"seed {seed}: not tiled up to where it is sealed"
            beginning = coverage.beginning("orderbook_delta", line, merger.claims.slices)
            assert beginning is None or not intervals.within(covered, *beginning), f"seed {seed}: covered and listed"
            listed = {i for (m, i) in stored.gaps if m == market}
            assert listed == set(line.gaps), f"seed {seed}: gap rows differ from the state"
            for gap in line.gaps:
                assert not intervals.within(covered, *gap), f"seed {seed}: {gap} is covered and listed"

        delivered = {(e.market + 1, e.at_ms, e.ordinal) for s in stations for e in s.delivered}
        unplaced = set(stored.unplaced.values())
        for identity in delivered - stored.deltas.keys():
            assert identity[:2] in unplaced, f"seed {seed}: {identity} was received and is nowhere"
        for market, ms in unplaced:
            assert not intervals.covers(held(merger, market), ms), f"seed {seed}: unplaced within coverage"

        for market, ms, ordinal, is_reset, _, yes, no, verified in stored.books:
            assert verified is not False, f"seed {seed}: a true snapshot was judged false"
            possible = book_at_place(events, market, ms, ordinal)
            assert (yes, no) in [(flat(b, 0), flat(b, 1)) for b in possible], (
                f"seed {seed}: the book at {market} {ms} {ordinal} (reset: {is_reset}) is not that of the exchange"
            )


@pytest.mark.parametrize("seed", range(200 if LONG else 12))
def test_the_result_does_not_depend_on_batches_or_order(seed: int) -> None:
    """Confluence: any batch cuts, interleaving and restart of the derivation give the same result."""
    _, stations = live(seed)

    def result(trial: int) -> tuple[object, ...]:
        rng = random.Random(f"trial {seed} {trial}")
        copies = [derive(s.records, rng, s.number, restart=0.3) for s in stations]
        rng.shuffle(copies)
        merger, stored = merge(copies, rng)
        coverage_of = {m: held(merger, m) for m in {k[0] for k in stored.deltas}}
        return stored.deltas, coverage_of, set(gaps(merger, stored)), sorted(stored.unplaced.values())

    first = result(0)
    for trial in range(1, 4):
        assert result(trial) == first, f"seed {seed}, trial {trial}"


def test_a_station_that_comes_late_fills_what_the_others_missed() -> None:
    """Rule 7: a copy read after the gap was written heals it, and nothing is renumbered."""
    shape = Shape(markets=2, events=300, losses=0.0, cuts=0.0, resets=0.0)
    events = make_events(random.Random("late"), shape)
    stations = [Station(n, random.Random(f"late {n}"), shape) for n in (1, 2)]
    stations[0].shape = Shape(markets=2, events=300, losses=0.0, cuts=0.02, resets=0.0)
    for station in stations:
        station.play(events)
    rng = random.Random("late merge")
    early, late = (derive(s.records, rng, s.number) for s in stations)
    merger, alone = merge([early], rng)
    assert alone.gaps, "the world is of no use: the first station missed nothing"
    after = Stored()
    after.deltas, after.gaps, after.unplaced = dict(alone.deltas), dict(alone.gaps), dict(alone.unplaced)
    for step, copy in enumerate(late):
        after.take(merger.step([copy], 10_000 + step))
    after.take(merger.step([], 20_000))
    truth = truth_of(events)
    assert after.deltas.items() <= truth.items()
    assert not after.gaps, "a beginning is no row"
    listed = gaps(merger, after)
    assert set(listed.values()) == {"before_subscription"}, listed
    for market, ms, _ in truth.keys() - after.deltas.keys():
        assert any(m == market and a <= ms < b for (m, (a, b)) in listed), "missing and not listed"
    for market, ms in after.unplaced.values():
        assert any(m == market and a <= ms < b for (m, (a, b)) in listed), "unplaced outside a gap"


def test_stored_is_a_strict_judge() -> None:
    """The model of production refuses a second row of an identity."""
    events, stations = live(1)
    del events
    rng = random.Random("strict")
    copies = derive(stations[0].records, rng, 1)
    _, stored = merge([copies], rng)
    assert isinstance(stored, Stored)
    again = merge([copies], rng)[1]
    assert again.deltas == stored.deltas


@pytest.mark.parametrize("seed", range(1000 if LONG else 60))
def test_batches_that_were_dropped_unread_leave_gaps_and_nothing_false(seed: int) -> None:
    """One or two stretches of a gatherer's batches are gone: what it had only there is in no row and under no claim."""
    events, stations = live(seed)
    truth = truth_of(events)
    rng = random.Random(f"dropped {seed}")
    copies = [derive(s.records, rng, s.number, restart=0.2) for s in stations]
    victim = rng.randrange(3)
    lost: set[tuple[int, int]] = set()
    cuts = sorted(rng.sample(range(len(copies[victim]) + 1), min(4, len(copies[victim]) // 2 * 2)))
    for first, end in zip(cuts[::2], cuts[1::2], strict=True):
        for copy in copies[victim][first:end]:
            lost |= set(zip(copy.deltas.market.tolist(), copy.deltas.exchange_ms.tolist(), strict=True))
            strip_dropped_rows(copy)
    merger, stored = merge(copies, rng)
    assert stored.received == stored.accounted
    assert stored.alarms["dropped_unread"] == sum(c.to_batch - c.from_batch + 1 for c in copies[victim] if c.dropped)
    assert not stored.conflicts, f"seed {seed}: {stored.conflicts[:1]}"
    for identity, content in stored.deltas.items():
        assert truth.get(identity) == content, f"seed {seed}: {identity} is not what the exchange had"
    unplaced = set(stored.unplaced.values())
    for market in {m for m, _, _ in truth}:
        covered = held(merger, market)
        for identity in truth:
            if identity[0] == market and intervals.covers(covered, identity[1]):
                assert identity in stored.deltas, f"seed {seed}: {identity} is covered but missing"
    for n, station in enumerate(stations):
        for e in station.delivered:
            identity = (e.market + 1, e.at_ms, e.ordinal)
            if identity not in stored.deltas and identity[:2] not in unplaced:
                assert n == victim and identity[:2] in lost, f"seed {seed}: {identity} was received and is nowhere"
