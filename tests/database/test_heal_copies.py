"""What `fleet heal` decides of copies that contradict each other: real databases, read by a deduplicator before."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from common.numbers import datetime_of_ms
from deduplicator.heal import AskedMarket, Healed, heal
from tests.support.chain_case import BASE_MS, Lane, Site, site

TRUE = [(10, 1), (20, 2), (60, 3)]


@contextlib.asynccontextmanager
async def merged(
    folder: Path,
    begins: Mapping[str, int] = MappingProxyType({}),
    over: str = "",
    **batches: list[tuple[list[tuple[int, int]], int]],
) -> AsyncIterator[Site]:
    """Gatherers that wrote these batches (rows, horizon) of market M, one after the other; all of it was merged.

    `over`: those whose slices have ended then.
    """
    async with site(folder, *batches) as made:
        await made.fetch("INSERT INTO store.markets (ticker) VALUES ('M')")
        await made.fetch("UPDATE store.lines SET first_seen = $1", datetime_of_ms(BASE_MS - 100))
        made.start()
        for name, brought in batches.items():
            async with Lane(made.zones[name], 0, folder / name) as lane:
                for found, until in brought:
                    await lane.rows("M", found, until, begins.get(name, 0))
                    await made.acknowledged(made.zones[name])
                if name in over:
                    await lane.end(brought[-1][1])
                    await made.acknowledged(made.zones[name])
        await made.stop()
        yield made


async def healed(
    made: Site, names: str, low: int = -1000, high: int = 5000, *, us: int = 0, without: str = ""
) -> Healed:
    """A heal of a stretch in which these gatherers answer."""
    sources = tuple(source for source in made.config.gatherers if source.id in names)
    times = datetime_of_ms(BASE_MS + low), datetime_of_ms(BASE_MS + high) + timedelta(microseconds=us)
    return await heal(made.production_dsn, AskedMarket("M", *times, sources, 1000, frozenset(without)))


async def state(made: Site) -> list[Any]:
    """Changes, claims, open gaps, and contradictions, milliseconds counted from the base."""
    ms = "(extract(epoch FROM {}) * 1000)::bigint - $1"
    statements = (
        f"SELECT {ms.format('exchange_ts')}, delta FROM store.deltas ORDER BY 1, 2",
        f"SELECT gatherer_id, {ms.format('from_ts')}, {ms.format('to_ts')}"
        " FROM store.claims JOIN store.gatherers USING (gatherer)"
        " WHERE channel = 'orderbook_delta' ORDER BY 1, 2",
        f"SELECT {ms.format('started_at')}, {ms.format('ended_at')}, reason FROM store.gaps"
        " WHERE channel = 'orderbook_delta' AND healed_at IS NULL ORDER BY 1, 2",
        f"SELECT {ms.format('exchange_ts')} FROM store.conflicts WHERE kind = 'conflict' ORDER BY 1",
    )
    return [[tuple(row) for row in await made.fetch(text, BASE_MS)] for text in statements]


async def test_what_the_majority_disputes_is_not_inserted(open_folder: Path) -> None:
    """One brings a false row when the others' claims have passed it: the merge did not take it, and no heal does."""
    async with merged(
        open_folder, b=[(TRUE, 1000)], c=[(TRUE, 1000)], a=[(TRUE[:2], 50), ([TRUE[2], (90, 99)], 1000)]
    ) as made:
        before = await state(made)
        assert before[0] == TRUE and before[3] == [(90,)]
        result = await healed(made, "abc")
        assert (result.inserted, result.known, result.contradictions) == (0, 3, [])
        assert await state(made) == before


async def test_a_false_row_that_came_first_is_claimed_by_nobody(open_folder: Path) -> None:
    """The heal's own merge takes it too, and finds only then that by most copies nothing happened there."""
    async with merged(open_folder, a=[([*TRUE, (90, 99)], 1000)], b=[(TRUE, 1000)], c=[(TRUE, 1000)]) as made:
        before = await state(made)
        assert (90, 99) in before[0]
        assert not [claim for claim in before[1] if claim[1] <= 90 < claim[2]], "as it was merged"
        await made.fetch("DELETE FROM store.retractions WHERE gatherer IS NULL")
        await made.fetch("DELETE FROM store.gaps WHERE reason = 'conflict'")
        assert [claim for claim in (await state(made))[1] if claim[1] <= 90 < claim[2]]
        result = await healed(made, "abc")
        assert result.inserted == 0 and len(result.contradictions) == 1
        assert (await state(made))[:3] == [*before[:2], [(90, 91, "conflict")]]


async def test_gatherers_that_do_not_answer_may_have_outvoted_those_that_do(open_folder: Path) -> None:
    """Only the excluded one is there: its row is not inserted, and theirs is not disowned, unless they were
    left out on purpose."""
    false = [(TRUE[:2], 50), ([(60, 77), (90, 99)], 1000)]
    async with merged(open_folder, b=[(TRUE, 1000)], c=[(TRUE, 1000)], a=false) as made:
        before = await state(made)
        result = await healed(made, "a")
        assert (result.inserted, result.runs_restored, result.contradictions) == (0, 0, [])
        assert len(result.undecided) == 1 and await state(made) == before
        result = await healed(made, "a", without="bc")
        assert result.inserted == 1 and not result.undecided and len(result.contradictions) == 1


async def test_a_run_is_readmitted_up_to_where_nothing_is_decided(open_folder: Path) -> None:
    """After what was looked at another gatherer recorded that does not answer."""
    async with merged(open_folder, a=[(TRUE, 1000)], b=[(TRUE, 1000)]) as made:
        of = " FROM store.gatherers g WHERE g.gatherer = runs.gatherer AND g.gatherer_id"
        lost = "UPDATE store.runs SET cover_to = $1, ended = true, reason = 'conflict'"
        await made.fetch(f"{lost}{of} = 'a'", datetime_of_ms(BASE_MS + 15))
        await made.fetch(f"UPDATE store.runs SET cover_from = $1{of} = 'b'", datetime_of_ms(BASE_MS + 40))
        result = await healed(made, "a")
        assert result.runs_restored == 1 and len(result.undecided) == 1
        assert (await state(made))[1] == [("a", 0, 40), ("b", 40, 1000)]


async def test_what_an_ended_run_had_lost_is_claimed_again(open_folder: Path) -> None:
    """A third copy comes and shows that it was in the right; nobody readmits what is over."""
    async with merged(
        open_folder, over="a", a=[(TRUE, 1000)], b=[([*TRUE[:2], (60, 99)], 1000)], c=[(TRUE, 1000)]
    ) as made:
        rows, claims, *_ = await state(made)
        assert rows == TRUE and claims == [("a", 0, 60), ("b", 0, 60), ("c", 0, 1000)]
        part = await healed(made, "abc", high=500)
        assert part.retractions_undone == 0, "not all of it was looked at"
        assert (await healed(made, "bc")).retractions_undone == 0, "it takes no part"
        step = await made.fetch("SELECT max(step) AS step FROM store.hours_touched")
        result = await healed(made, "abc")
        assert result.retractions_undone == 1
        assert (await state(made))[1] == [("a", 0, 1000), ("b", 0, 60), ("c", 0, 1000)]
        assert await made.fetch("SELECT max(step) AS step FROM store.hours_touched") > step, "its hours are stale"


async def test_a_stretch_may_end_within_a_millisecond(open_folder: Path) -> None:
    """What both sides have of it is looked at up to the same one."""
    async with merged(open_folder, a=[(TRUE, 1000)], b=[(TRUE, 1000)]) as made:
        before = await state(made)
        result = await healed(made, "ab", 20, 60, us=500)
        assert (result.known, result.contradictions) == (1, []) and await state(made) == before
        await made.fetch("DELETE FROM store.deltas WHERE delta = 2")
        assert (await healed(made, "ab", 20, 60, us=500)).inserted == 1
        assert await state(made) == before


async def test_a_false_row_in_the_first_gap_is_listed_once(open_folder: Path) -> None:
    """As a gap, in the report, and as a contradiction; the command's exit code shows it, as often as it runs."""
    async with merged(open_folder, {"c": 50}, b=[(TRUE, 300)], c=[(TRUE[2:], 300)]) as made:
        lost = "UPDATE store.runs SET cover_to = cover_from, ended = true, reason = 'conflict' WHERE cover_from = $1"
        await made.fetch(lost, datetime_of_ms(BASE_MS))
        await made.fetch(
            "INSERT INTO store.deltas (market, exchange_ts, ordinal, exchange_us, side, price, delta, received_at)"
            " SELECT market, $1, 0, exchange_us, side, price, 700, received_at FROM store.deltas WHERE delta = 2",
            datetime_of_ms(BASE_MS + 30),
        )
        config = open_folder / "given.yaml"
        config.write_text(json.dumps(made.given))
        at = f"{datetime_of_ms(BASE_MS - 1000):%Y-%m-%dT%H:%M:%S}"
        command = [sys.executable, "-m", "fleet", "heal", "M", "--config", str(config), "--from", at, "--json"]
        for again in (False, True):
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            report = json.loads((await process.communicate())[0])
            assert process.returncode == 1 and report["otherwise"] == 0
            assert report["contradictions"] == [f"{datetime_of_ms(BASE_MS + 30)}"]
            assert report["runs_restored"] == (not again)
            rows, _, gaps, conflicts = await state(made)
            assert (30, 700) in rows, "not overwritten"
            assert gaps == [(30, 31, "conflict")] and conflicts == [(30,)]
            assert len(report["gaps_left"]) == 1
