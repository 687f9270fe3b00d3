"""What a step stores, and what a merge that is made again is given of it: piece by piece, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import numpy as np
import pytest

from common.contract.channels import ORDERBOOK
from common.contract.deltas import Deltas
from common.errors import StateOutdated, StorageError
from common.numbers import datetime_of_ms, ms_of_datetime
from deduplicator.merge import coverage
from deduplicator.merge.copies import (
    Changes,
    Copy,
    FrameAccount,
    GapHealed,
    GapWritten,
    PartHeld,
    Retraction,
    RunChange,
    RunEvent,
    SliceChange,
    Unplaced,
)
from deduplicator.merge.merger import NEVER_MS, Limits, Merger
from deduplicator.statements import SQL
from deduplicator.store.production import Production
from tests.support.databases import new_database

DAY_MS = 1_795_737_600_000
RECENT_MS = 100
LIMITS = Limits(1000, RECENT_MS, 1_000_000, 1000)
MARKET, OVER = 1, 2
OPEN, ENDED = 1, 2
"""Slices of gatherer 1, each with a run of its number."""


@pytest.fixture
async def production() -> AsyncIterator[Production]:
    """Two gatherers and two markets, the second over; a slice that continues up to 500, and one that ended at 400."""
    async with new_database("production") as made:
        connection = await asyncpg.connect(made.dsn, server_settings={"timezone": "UTC"})
        held = Production(connection, "test")
        await held.take_lease()
        for n in (1, 2):
            number, _ = await held.gatherer(f"gatherer-{n}", f"00000000-0000-0000-0000-00000000000{n}")
            assert number == n
        assert await held.allot(["A", "B"]) == {"A": MARKET, "B": OVER}
        await held.put_time_lines([(MARKET, DAY_MS, None), (OVER, DAY_MS, DAY_MS + 450)])
        changes = Changes(over=[OVER])
        for number, horizon in ((OPEN, 500), (ENDED, 400)):
            changes.slices[(1, 0, number)] = SliceChange(
                1, 0, number, 7, number, ORDERBOOK, DAY_MS + horizon, number == ENDED, ""
            )
        await held.store(changes, [])
        yield held
        await connection.close()


def run(
    slice_: int,
    start: int,
    end: int | None,
    *,
    excluded: bool = False,
    why: str = "",
    market: int = MARKET,
    fixed: bool = False,
) -> Changes:
    """The claim of the run of a slice."""
    end_ms = None if end is None else DAY_MS + end
    key = (1, 0, slice_)
    return Changes(runs={key: RunChange(key, slice_, market, DAY_MS + start, end_ms, excluded, why, fixed)})


def rows(*rows: tuple[int, int], market: int = MARKET) -> Changes:
    """Changes at these milliseconds, with these ordinals."""
    ms, ordinals = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    one = np.ones(len(rows), np.int64)
    times = DAY_MS + ms
    new = Deltas(one, one * market, one, times, ordinals, -one, one * 0, one * 4200, one * 100, times * 1000)
    return Changes(new=new)


def head(ms: int, slice_: int, seq: int) -> Unplaced:
    """A row of a run with an unknown ordinal."""
    return Unplaced(1, 7, slice_, seq, 0, slice_, MARKET, DAY_MS + ms, -1, 0, 4200, 100, (DAY_MS + ms) * 1000)


def covered(merger: Merger) -> list[tuple[int, int]]:
    """What is claimed of the market."""
    line = merger.claims.lines[MARKET, ORDERBOOK]
    return [(start - DAY_MS, end - DAY_MS) for start, end in coverage.covered(line, merger.claims.slices)]


async def restored(production: Production) -> Merger:
    """A merge that is made again."""
    return await production.restore(LIMITS, DAY_MS)


async def test_what_is_open_and_what_has_ended_is_claimed(production: Production) -> None:
    """Open runs up to their slice's horizon, ended ones where they ended, parts that were held before; less what was
    retracted."""
    await production.store(run(OPEN, 300, None), [])
    assert covered(await restored(production)) == [(300, 500)]
    await production.store(run(ENDED, 100, 200), [])
    assert covered(await restored(production)) == [(100, 200), (300, 500)]
    part = PartHeld((1, 0, OPEN), MARKET, ORDERBOOK, (DAY_MS + 20, DAY_MS + 40))
    await production.store(Changes(parts=[part]), [])
    assert covered(await restored(production)) == [(20, 40), (100, 200), (300, 500)]
    stretch = (DAY_MS + 120, DAY_MS + 130)
    await production.store(Changes(retractions=[Retraction((1, 0, 0), 1, MARKET, ORDERBOOK, stretch, "conflict")]), [])
    assert covered(await restored(production)) == [(20, 40), (100, 120), (130, 200), (300, 500)]
    stretch = (DAY_MS + 320, DAY_MS + 330)
    await production.store(Changes(retractions=[Retraction((1, 0, 0), 1, MARKET, ORDERBOOK, stretch, "conflict")]), [])
    merger = await restored(production)
    assert covered(merger) == [(20, 40), (100, 120), (130, 200), (300, 320), (330, 500)], "of an open run, too"
    claims = await production._db.fetch("SELECT from_ts, to_ts FROM store.claims WHERE market = $1 ORDER BY 1", MARKET)
    assert [(ms_of_datetime(f) - DAY_MS, ms_of_datetime(t) - DAY_MS) for f, t in claims] == covered(merger), "the same"


async def test_a_gap_that_is_healed_is_no_gap_after_a_restart(production: Production) -> None:
    """But for what is left of it."""
    gap, left = (DAY_MS + 200, DAY_MS + 300), (DAY_MS + 250, DAY_MS + 300)
    await production.store(Changes(gaps=[GapWritten(MARKET, ORDERBOOK, gap, "not_recorded", {})]), [])
    assert set((await restored(production)).claims.lines[MARKET, ORDERBOOK].gaps) == {gap}
    await production.store(Changes(heals=[GapHealed(MARKET, ORDERBOOK, gap, [left], "not_recorded", {})]), [])
    assert set((await restored(production)).claims.lines[MARKET, ORDERBOOK].gaps) == {left}


async def test_why_a_hole_is_waited_for_is_known_after_a_restart(production: Production) -> None:
    """Also if a run of the same gatherer continues after it, as after a frame that could not be read."""
    await production.store(run(ENDED, 100, 200, why="quarantined"), [])
    await production.store(run(OPEN, 300, None), [])
    assert (await restored(production)).claims.lines[MARKET, ORDERBOOK].last_end == {1: "quarantined"}
    await production.store(run(OPEN, 300, None, fixed=True), [])
    assert (await restored(production)).claims.lines[MARKET, ORDERBOOK].last_end == {1: "conflict"}
    await production.store(run(OPEN, 300, 350, excluded=True, why="conflict"), [])
    assert (await restored(production)).claims.lines[MARKET, ORDERBOOK].last_end == {1: "conflict"}


async def test_a_contradiction_that_was_found_after_a_run_ended_is_why_its_hole_is_waited_for(
    production: Production,
) -> None:
    """What was retracted up to its end is the later news."""
    await production.store(run(ENDED, 100, 200, why="quarantined"), [])
    stretch = (DAY_MS + 150, DAY_MS + 200)
    await production.store(Changes(retractions=[Retraction((1, 0, 0), 1, MARKET, ORDERBOOK, stretch, "conflict")]), [])
    assert (await restored(production)).claims.lines[MARKET, ORDERBOOK].last_end == {1: "conflict"}
    nobody = Retraction((1, 0, ENDED), 0, MARKET, ORDERBOOK, (DAY_MS + 300, DAY_MS + 310), "step_back")
    await production.store(Changes(retractions=[nobody]), [])
    assert (await restored(production)).claims.lines[MARKET, ORDERBOOK].last_end == {1: "conflict"}


async def test_an_excluded_run_is_excluded_after_a_restart(production: Production) -> None:
    """It gives no rows, coverage or vote, and lists that of the stretch from the contradiction on."""
    await production.store(run(OPEN, 300, 350, excluded=True, why="conflict"), [])
    merger = await restored(production)
    assert covered(merger) == [(300, 350)]
    assert merger.claims.excluded.since((1, 0, OPEN)) == DAY_MS + 350
    assert [key for key, _ in merger.claims.excluded.of_lane(1, 0)] == [(1, 0, OPEN)]
    assert not merger.claims.excluded.covers(1, MARKET, DAY_MS + 349)
    assert merger.claims.excluded.covers(1, MARKET, DAY_MS + 350)


async def test_a_run_that_has_ended_claims_nothing_more_whatever_is_read_of_it(production: Production) -> None:
    """Its slice continues; one that contradicted when it ended is still excluded."""
    await production.store(run(OPEN, 300, 350), [])
    copy = Copy(1, 0, 1, 1, run_events=[RunEvent(OPEN, "covers", DAY_MS + 100, 0, "")])
    merger = await restored(production)
    await production.prepare(merger, [copy])
    assert (1, 0, OPEN) not in merger.claims.runs and merger.claims.runs.find((1, 0, OPEN)) is not None
    assert merger.claims.excluded.since((1, 0, OPEN)) > DAY_MS + 1_000_000
    merger.step([copy], 0)
    assert covered(merger) == [(300, 350)]
    await production.store(run(OPEN, 300, 350, why="conflict"), [])
    merger = await restored(production)
    await production.prepare(merger, [copy])
    assert merger.claims.excluded.since((1, 0, OPEN)) == DAY_MS + 350


@pytest.mark.parametrize(
    ("end", "excluded", "fixed", "claimed"),
    [
        (None, False, False, (100, 500)),
        (None, False, True, (300, 500)),
        (350, True, False, (300, 350)),
    ],
)
async def test_no_event_lets_a_run_claim_what_was_passed_over_after_a_restart(
    production: Production, end: int | None, excluded: bool, fixed: bool, claimed: tuple[int, int]
) -> None:
    """Neither one that was readmitted nor one that is excluded; any other may come to claim more."""
    why = "conflict" if excluded else ""
    await production.store(run(OPEN, 300, end, excluded=excluded, why=why, fixed=fixed), [])
    copy = Copy(1, 0, 1, 1, run_events=[RunEvent(OPEN, "covers", DAY_MS + 100, 0, "")])
    merger = await restored(production)
    await production.prepare(merger, [copy])
    merger.step([copy], 0)
    assert covered(merger) == [claimed]


async def test_a_run_that_was_readmitted_begins_there_whatever_happened_since(production: Production) -> None:
    """It contradicts again, over a restart, and a heal readmits it: an old event claims nothing more."""
    await production.store(run(OPEN, 300, 350, excluded=True, why="conflict", fixed=True), [])
    merger = await restored(production)
    assert merger.claims.excluded[(1, 0, OPEN)] and merger.claims.runs[(1, 0, OPEN)].fixed
    await production._db.execute(SQL["heal_run"], 1, 0, OPEN, None, "")
    copy = Copy(1, 0, 1, 1, run_events=[RunEvent(OPEN, "covers", DAY_MS + 100, 0, "")])
    merger = await restored(production)
    await production.prepare(merger, [copy])
    merger.step([copy], 0)
    assert covered(merger) == [(300, 500)]


async def test_heads_that_were_judged_are_done_with_and_others_know_whether_they_were_followed(
    production: Production,
) -> None:
    """A run that ended in the millisecond after a head's went past it; one that ended within it did not."""
    heads = [head(150, ENDED, 1), head(199, ENDED, 2), head(200, ENDED, 3), head(310, OPEN, 4)]
    changes = run(ENDED, 100, 200)
    changes.runs |= run(OPEN, 300, None).runs
    changes.unplaced = heads
    await production.store(changes, [])
    await production.store(Changes(judged=heads[:1]), [])
    merger = await restored(production)
    followed = {(key[1] - DAY_MS): group.followed for key, group in merger.heads.pending.items()}
    assert followed == {199: True, 200: False, 310: False}
    await production.store(Changes(placed=heads[1:3]), [])
    left = await production._db.fetch("SELECT seq FROM store.unplaced ORDER BY seq")
    assert [row["seq"] for row in left] == [1, 4]


async def test_changes_from_the_floor_to_the_newest_are_known_after_a_restart(production: Production) -> None:
    """Both included; what is loaded later, late rows of days that are gone too."""
    await production.store(rows((0, 0), (100, 0), (150, 0), (200, 0), (200, 1)), [])
    merger = await restored(production)
    assert merger.store.floor_ms == DAY_MS + 200 - RECENT_MS
    known = sorted(merger.store.unpack(int(key))[1:] for key in merger.store.all_keys())
    assert [(ms - DAY_MS, ordinal) for ms, ordinal in known] == [(100, 0), (150, 0), (200, 0), (200, 1)]
    await production._db.execute(
        "INSERT INTO store.late_deltas SELECT market, exchange_ts + interval '1 ms', ordinal, exchange_us, side, price,"
        " delta, received_at FROM store.deltas WHERE exchange_ts = $1",
        datetime_of_ms(DAY_MS),
    )
    asked = Copy(1, 0, 1, 1, deltas=rows((0, 0), (1, 0)).new)
    await production.prepare(merger, [asked])
    known = sorted(merger.store.unpack(int(key))[1:] for key in merger.store.all_keys())
    assert [(ms - DAY_MS, ordinal) for ms, ordinal in known][:2] == [(0, 0), (1, 0)]


async def test_the_line_of_a_market_that_is_over_comes_with_its_rows(production: Production) -> None:
    """What covers them holds them."""
    changes = run(ENDED, 0, 400, market=OVER)
    changes.new = rows((100, 0), (200, 0), market=OVER).new
    await production.store(changes, [])
    merger = await restored(production)
    assert not merger.claims.lines.missing([OVER])
    assert merger.claims.covered.by(OVER, DAY_MS + 150) == {1}
    held = merger.store.holders(merger.store.locate(merger.store.all_keys()))
    assert len(held) == 2 and held.all()


async def test_a_market_that_is_over_and_of_which_a_late_copy_is_being_read_is_known_whole(
    production: Production,
) -> None:
    """The run's beginning is stored, its end comes after the restart: the gap that it fills is healed by then."""
    gap = GapWritten(OVER, ORDERBOOK, (DAY_MS + 100, DAY_MS + 200), "not_recorded", {})
    await production.store(Changes(gaps=[gap]), [])
    await production.store(run(OPEN, 0, None, market=OVER), [])
    merger = await restored(production)
    line = merger.claims.lines[OVER, ORDERBOOK]
    assert (line.first_ms, line.end_ms) == (DAY_MS, DAY_MS + 450)
    assert [heal.interval for heal in merger.step([], DAY_MS + 1000).heals] == [gap.interval]


@pytest.mark.parametrize("event", ["covers", "retracts"])
async def test_an_event_of_a_market_that_is_over_finds_its_line(event: str, production: Production) -> None:
    """Of a run that claimed nothing yet: it kept the market in no memory, and what it brings now is of a known line."""
    gap = GapWritten(OVER, ORDERBOOK, (DAY_MS + 100, DAY_MS + 200), "not_recorded", {})
    await production.store(Changes(gaps=[gap]), [])
    key = (1, 0, OPEN)
    await production.store(Changes(runs={key: RunChange(key, OPEN, OVER, NEVER_MS, None, False, "", False)}), [])
    merger = await restored(production)
    merger.claims.lines.give_back([OVER])
    copy = Copy(1, 0, 1, 1)
    copy.run_events = [RunEvent(OPEN, event, DAY_MS + 20, DAY_MS + 150, "step_back")]
    await production.prepare(merger, [copy])
    changes = merger.step([copy], DAY_MS + 1000)
    line = merger.claims.lines[OVER, ORDERBOOK]
    assert (line.first_ms, line.end_ms) == (DAY_MS, DAY_MS + 450)
    if event == "covers":
        assert [heal.interval for heal in changes.heals] == [gap.interval]
    else:
        assert [row.interval for row in changes.gaps] == [(DAY_MS + 20, DAY_MS + 100)], "the rest is listed already"


async def test_a_cursor_moves_from_exactly_where_the_batches_were_read(production: Production) -> None:
    """To the last of them; from anywhere else, nothing of the step is stored."""
    await production.store(Changes(accounts=[FrameAccount(1, 0, 1, 3, 0, 0)]), [])
    for first, last in ((3, 5), (5, 6), (1, 3)):
        changes = rows((500, 0))
        changes.accounts = [FrameAccount(1, 0, first, last, 0, 0)]
        with pytest.raises((StorageError, asyncpg.UniqueViolationError)):
            await production.store(changes, [])
        assert not await production._db.fetchval("SELECT count(*) FROM store.deltas")
    await production.store(Changes(accounts=[FrameAccount(1, 0, 4, 6, 0, 0)]), [])
    _, cursors = await production.gatherer("gatherer-1", "00000000-0000-0000-0000-000000000001")
    assert {lane: cursor.batch for lane, cursor in cursors.items()} == {0: 6}


async def test_a_heal_that_was_written_meanwhile_makes_the_state_stale(production: Production) -> None:
    """The merge is made again from production; nothing of the step is stored."""
    await production._db.execute("UPDATE store.lease SET heals = heals + 1")
    with pytest.raises(StateOutdated):
        await production.store(rows((500, 0)), [])
    assert not await production._db.fetchval("SELECT count(*) FROM store.deltas")
    await production.resume_lease()
    await production.store(rows((500, 0)), [])


async def test_checkpoints_that_lack_what_a_heal_brings_are_dropped(production: Production) -> None:
    """Those in the gap's first millisecond and after it; not the one before it."""
    for at in (199, 200, 250, 400):
        await production._db.execute(
            "INSERT INTO store.snapshots (market, exchange_ts, after_ordinal, is_reset, taken_at, source)"
            " VALUES ($1, $2, 0, false, $2, 'checkpoint')",
            MARKET,
            datetime_of_ms(DAY_MS + at),
        )
    gap = (DAY_MS + 200, DAY_MS + 300)
    await production.store(Changes(gaps=[GapWritten(MARKET, ORDERBOOK, gap, "not_recorded", {})]), [])
    healed = [GapHealed(MARKET, ORDERBOOK, gap, [], "not_recorded", {})]
    await production.store(Changes(heals=healed, new=rows((200, 0)).new), [])
    left = await production._db.fetch("SELECT exchange_ts FROM store.snapshots")
    assert [row["exchange_ts"] for row in left] == [datetime_of_ms(DAY_MS + 199)]
