"""Rule 7 of days that have left production: a late copy of one is compared with nothing that is not here any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.contract.channels import ORDERBOOK
from common.contract.deltas import Deltas
from common.numbers import ms_of_datetime
from common.storage import copy as binary
from deduplicator.merge import coverage
from deduplicator.merge.copies import Copy, Horizon, RunEvent, RunStart, SliceStart
from deduplicator.merge.exclusions import EVERYBODY
from deduplicator.merge.identity import pack_content
from deduplicator.merge.merger import NEVER_MS, Limits, Merger
from deduplicator.read.reader import Batches
from deduplicator.statements import SQL
from tests.support.archive_case import OLD, TODAY, Site, running_site
from tests.support.merge_case import GOOD, LIMITS, Row, a_copy
from tests.support.world import START_MS, Stored

LEFT_MS = START_MS + 10
"""What is before has left."""
HELD = [(START_MS, START_MS + 4), (START_MS + 6, START_MS + 20)]
GAP = (START_MS + 4, START_MS + 6)


def identity(ms: int, delta: int) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
    """One row, as it is loaded: market 1, no side, one price."""
    side, price, change = (np.array([n]) for n in (0, 4200, delta))
    yield from (np.array([n]) for n in (1, START_MS + ms, 0))
    yield pack_content(side, price, change)


def state(end_ms: int | None = None) -> tuple[Merger, Stored]:
    """Two gatherers hold a market but for a gap, and are over; production has no row of the first ten milliseconds."""
    merger, stored = Merger(LIMITS, START_MS + 15), Stored()
    claims = merger.claims
    claims.lines.begin(1, ORDERBOOK, START_MS, end_ms)
    for gatherer in (1, 2):
        for held in HELD:
            claims.restore_held(1, ORDERBOOK, gatherer, held)
    claims.lines[1, ORDERBOOK].add_gap(GAP, "not_recorded", {})
    stored.gaps[(1, GAP)] = "not_recorded"
    claims.lines.restored([1])
    merger.detach([(START_MS - 100, LEFT_MS)])
    merger.load_identities(*identity(5000, 1))
    return merger, stored


def held_by(merger: Merger, gatherer: int) -> list[tuple[int, int]]:
    """What a gatherer claims."""
    return coverage.covered_by(merger.claims.lines[1, ORDERBOOK], gatherer, merger.claims.slices)


def test_a_late_copy_of_a_detached_stretch_is_taken_and_heals_what_it_covers() -> None:
    """Though two others hold the stretch and none of their rows is here; what they hold stays as it was."""
    merger, stored = state()
    rows: list[Row] = [*GOOD, (5, 0, 9)]
    stored.take(merger.step([a_copy(3, rows[:2], horizon=2)], 0))
    stored.take(merger.step([a_copy(3, rows[2:], batch=2, horizon=20)], 1))
    for later in range(2, 12):  # as long as a gatherer is waited for that may lack the rows
        stored.take(merger.step([a_copy(3, [], batch=1 + later, horizon=20 + later)], later))
    assert len(stored.deltas) == len(rows) and stored.received == stored.accounted == len(rows)
    assert not stored.conflicts and not stored.gaps and not stored.alarms
    assert held_by(merger, 1) == held_by(merger, 2) == HELD and held_by(merger, 3) == [(START_MS, START_MS + 31)]


@pytest.mark.parametrize(("ms", "contradicts"), [(9, False), (10, True)])
def test_a_claim_answers_for_its_rows_from_the_end_of_the_detached_stretch_on(ms: int, *, contradicts: bool) -> None:
    """An empty millisecond of it is no version before, and one like any other after (rule 14)."""
    merger, stored = state()
    stored.take(merger.step([a_copy(3, [(ms, 0, 9)], horizon=20)], 0))
    assert bool(stored.conflicts) == contradicts
    assert ((1, START_MS + ms, 0) in stored.deltas) != contradicts


def test_a_later_claim_is_no_evidence_about_rows_that_came_for_a_detached_stretch() -> None:
    """And is not waited for, where its lane has gone past them and it has not."""
    merger, stored = state()
    stored.take(merger.step([a_copy(3, [(9, 0, 9)], start=9, horizon=5)], 0))
    slow = a_copy(4, [], start=8, horizon=8)
    slow.slices.append(SliceStart(2, 7, 2, ORDERBOOK))
    slow.horizons.append(Horizon(2, START_MS + 2000, False, ""))
    stored.take(merger.step([slow, a_copy(5, [], start=8, horizon=8)], 1))
    for later in range(2, 20):
        slow = a_copy(4, [], batch=later, horizon=8 if later < 12 else later)
        stored.take(merger.step([slow, a_copy(5, [], batch=later, horizon=8 + later)], later))
        assert not merger._joining.absences.waiting
    assert (1, START_MS + 9, 0) in stored.deltas and not stored.conflicts


def test_what_was_taken_for_a_detached_stretch_is_not_held_by_gatherers_that_only_cover_it() -> None:
    """Loaded again, a late row does not count as what the others have: they lose nothing when it is contradicted."""
    merger, stored = state()
    merger.load_identities(*identity(2, 7))
    stored.take(merger.step([a_copy(3, [(2, 0, 70)], horizon=20)], 0))
    assert [c.kind for c in stored.conflicts] == ["conflict"] and (1, START_MS + 2, 0) not in stored.deltas
    line = merger.claims.lines[1, ORDERBOOK]
    assert not line.retracted_of(1) and not line.retracted_of(2)
    assert list(line.retracted_of(EVERYBODY)) == [(START_MS + 2, START_MS + 3)], (
        "nobody knows which of the two is right"
    )


def test_late_copies_that_contradict_each_other_are_judged_as_anywhere() -> None:
    """The rows of both are here."""
    merger, stored = state()
    wrong: list[Row] = [*GOOD[:2], (2, 0, 70)]
    stored.take(merger.step([a_copy(3, GOOD, horizon=10), a_copy(4, wrong, horizon=10)], 0))
    assert [c.exchange_ms - START_MS for c in stored.conflicts] == [2]
    assert stored.deltas[(1, START_MS + 2, 0)] == (0, 4200, 7), (
        "the first one is kept: no copy showed that nothing happened"
    )
    assert held_by(merger, 3) == held_by(merger, 4) == [(START_MS, START_MS + 2)]
    assert held_by(merger, 1) == HELD


def test_a_head_in_a_detached_stretch_stays_unplaced_and_is_not_judged() -> None:
    """Its group is in the archive alone. It is not asked for, and holds no market open that is over."""
    merger, stored = state(end_ms=START_MS + 18)
    head = a_copy(3, [(2, -1, 77), (3, 0, 8)], horizon=30)
    head.runs = [head.runs[0]._replace(cover_from_ms=NEVER_MS)]
    head.horizons = [Horizon(1, START_MS + 30, True, "cut")]
    over = []
    for now, copies in enumerate(([head], [], [])):
        assert not merger.heads_below_floor()
        changes = merger.step(copies, START_MS + 5000 + now)
        assert not changes.judged and not changes.placed
        stored.take(changes)
        over += changes.over
    assert stored.unplaced and not stored.conflicts and not merger.heads.open and 1 in over


# -- on a real production ---------------------------------------------------------------------------------------


@pytest.fixture
async def site(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A production with an hour of three days ago, which gatherer 1 claims from that day's beginning on."""
    async with running_site(open_folder, monkeypatch) as running:
        for n in (1, 2):
            number, _ = await running.production.gatherer(f"g{n}", f"00000000-0000-0000-0000-00000000000{n}")
            assert number == n
        await running.db.execute("UPDATE store.lines SET first_seen = $1 WHERE market = $2", OLD, running.market)
        await running.production.put_time_lines([(running.market, ms_of_datetime(OLD), None)])
        await running.db.execute(
            "INSERT INTO store.slices (gatherer, lane, slice, session, sid, channel, horizon)"
            " VALUES (1, 0, 1, 1, 1, 'orderbook_delta', $1)",
            TODAY,
        )
        await running.db.execute(
            "INSERT INTO store.runs (gatherer, lane, run, slice, market, cover_from) VALUES (1, 0, 1, 1, $1, $2)",
            running.market,
            OLD,
        )
        yield running


def of_old_hour(market: int, extra: int) -> Copy:
    """Gatherer 2's copy of the old hour: its three changes, and so many more after them."""
    at = ms_of_datetime(OLD) + 5 * 3_600_000
    count = 3 + extra
    ones = np.ones(count, np.int64)
    times = at + np.array([0, 0, 0, *range(1, 1 + extra)])
    ordinals = np.array([0, 1, 2, *[0] * extra])
    deltas = Deltas(ones, ones * market, ones, times, ordinals, -ones, ones * 0, ones * 4200, ones * 5, times * 1000)
    copy = Copy(2, 0, 1, 1, delta_frames=count, deltas=deltas)
    copy.slices, copy.runs = [SliceStart(1, 7, 1, ORDERBOOK)], [RunStart(1, 1, market, at - 1000)]
    copy.run_events = [RunEvent(1, "ended", at - 1000, at + 1000, "cut")]
    copy.horizons = [Horizon(1, at + 1000, True, "cut")]
    return copy


@pytest.mark.parametrize("leaves", ["before", "meanwhile", "restart"])
async def test_a_copy_that_comes_when_its_day_has_left_disputes_nothing_and_ends_in_the_archive(
    site: Site, monkeypatch: pytest.MonkeyPatch, leaves: str
) -> None:
    """Whether the day leaves while the merge runs, while it reads what production has, or before it is made again."""
    await site.exporter.export_due()
    limits, now_ms = Limits(1000, 100, 1_000_000, 1000), ms_of_datetime(TODAY)
    merger = await site.production.restore(limits, now_ms)
    copy = of_old_hour(site.market, extra=1)
    read, reads = binary.read, len(merger.late([copy]))
    gone: list[str] = []

    async def after_it_left(db: Any, layout: Any, query: str, *values: Any) -> Any:
        nonlocal reads
        reads -= query == SQL["load_identities"]
        if not reads and not gone:  # before the last of them
            gone.extend(await site.retention().look())
        return await read(db, layout, query, *values)

    if leaves == "meanwhile":
        monkeypatch.setattr(binary, "read", after_it_left)
    else:
        gone += await site.retention().look()
    if leaves == "restart":
        merger = await site.production.restore(limits, now_ms)
    await site.production.prepare(merger, [copy])
    assert gone == [f"deltas_p{OLD:%Y%m%d}"]
    changes = merger.step([copy], now_ms)
    new = 1 if leaves == "meanwhile" else 4  # what it had was read before
    assert not changes.alarms and [(a.inserted, a.confirmed) for a in changes.accounts] == [(new, 4 - new)]
    await site.production.store(changes, [Batches(copy, {})])
    assert await site.db.fetchval("SELECT count(*) FROM store.conflicts") == 0
    assert await site.db.fetchval("SELECT count(*) FROM store.retractions") == 0
    assert await site.db.fetchval("SELECT count(*) FROM store.late_deltas") == new
    whole = await site.db.fetchval("SELECT tstzmultirange(tstzrange($1, $2))::text", OLD, TODAY)
    held = await site.db.fetch("SELECT held::text FROM coverage_by_gatherer WHERE gatherer_id = 'g1'")
    assert [row["held"] for row in held] == [whole], "what others hold stays"
    assert OLD + timedelta(hours=5) in await site.exporter.export_due()
    assert site.archived() == [(0, 5), (1, 5), (2, 5), (0, 5)], "what it had once, and what it lacked"
