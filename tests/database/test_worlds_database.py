"""The same worlds with production on a real PostgreSQL: every step is stored there, and a merge that is made again is
given what is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.support.databases import new_database
from tests.support.scale import LONG
from tests.support.worlds.database import Database
from tests.support.worlds.judges import held
from tests.support.worlds.kinds import enabled
from tests.support.worlds.world import beginnings, judge, live

HOUR_MS = 3_600_000
NOT_HERE = {"reread"}  # the reader goes back, which is not here


@pytest.fixture
def database() -> Iterator[Database]:
    """An empty production."""
    loop = asyncio.new_event_loop()
    making = new_database("production")
    made = loop.run_until_complete(making.__aenter__())
    database = Database(made.dsn, loop)
    yield database
    database.close()
    loop.run_until_complete(making.__aexit__(None, None, None))
    loop.close()


@pytest.mark.parametrize("seed", range(300 if LONG else 20))
def test_a_merge_that_is_made_again_from_postgresql_continues_as_if_nothing_had_happened(
    seed: int, database: Database
) -> None:
    """Nothing lost, doubled, misplaced or falsely claimed; and what people read there is what the merge decided."""
    as_decided(seed, {"restores"}, database)


@pytest.mark.parametrize("seed", range(100 if LONG else 8))
def test_copies_of_days_that_have_left_production_change_nothing_that_is_stored(seed: int, database: Database) -> None:
    """Days leave at any instant, with what came late for them; one copy is read last, half of it is weeks old."""
    as_decided(seed, {"restores", "detached", "late_copies", "old_copies"}, database)


def as_decided(seed: int, also: set[str], database: Database) -> None:
    """All that is judged of a world that has these kinds, too, and the same in both productions."""
    kinds = [kind for kind in enabled() if kind not in NOT_HERE]
    begins_ms = int(time.time() * 1000) - HOUR_MS
    drawn = sorted((live(seed, None).shape.kinds | also) & set(kinds))
    merging = judge(seed, drawn, database, begins_ms)
    lines = merging.lines
    claims = merging.merger.claims
    database.load_lines(merging.merger, claims.lines.missing(market for market, *_ in lines))
    sealed = {market: claims.covered.sealed_ms(market) for market, *_ in lines}
    cut = {
        market: at if at is None or end is None else min(at, end)
        for (market, _, end), at in zip(lines, sealed.values(), strict=True)
    }
    begun = {(market, *stretch) for market, _, stretch in beginnings(merging.merger, lines)}
    database.compare({market: held(merging.merger, market) for market, *_ in lines}, cut, begun)
    again = database.restore(merging.limits, begins_ms + 2 * HOUR_MS, lines)
    database.load_lines(again, again.claims.lines.missing(market for market, *_ in lines))
    for market, *_ in lines:
        assert held(again, market) == held(merging.merger, market), f"market {market} is claimed otherwise"
