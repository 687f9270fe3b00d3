"""A gatherer that comes back with a backlog of hours delays no other, and is not held up for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

from common.config.schema import MergeConfig
from deduplicator.merge.copies import Copy
from deduplicator.read.catch_up import CatchUp
from deduplicator.read.chain import Cursor
from deduplicator.read.narrowing import Narrowing
from deduplicator.read.reader import Batches, News
from deduplicator.sources import Sources


def test_a_gatherer_is_late_when_it_lags_the_others() -> None:
    """Not when it lags the clock: after an absence of the deduplicator all lag the same."""
    catch_up = CatchUp(late_us=100, share=0.5)
    assert not catch_up.is_late(0)
    catch_up.saw(1000, 1000)
    catch_up.saw(500, 1001)
    assert catch_up.is_late(899) and not catch_up.is_late(900) and not catch_up.is_late(5000)


def test_a_clock_that_was_a_year_ahead_once_makes_nobody_late_for_a_year() -> None:
    """One batch of one gatherer: what all receive from a minute later on is not late."""
    catch_up = CatchUp(late_us=120_000_000, share=0.5)
    catch_up.saw(10**15, 1_000_000)
    assert not catch_up.is_late(62_000_000)


def test_its_share_is_kept_whatever_a_step_takes() -> None:
    """Steps of one second: in a hundred seconds a quarter of them, and never none."""
    catch_up, now, late = CatchUp(100, 0.25), 0.0, 0
    while now < 100:
        if catch_up.may(now):
            late += 1
            catch_up.took(1.0, now + 1)
        now += 1
    assert 24 <= late <= 26
    everything = CatchUp(100, 1.0)
    everything.took(50.0, 50.0)
    assert everything.may(50.0)


class Scripted:
    """In place of a reader's database: a live gatherer always has something new, a late one a backlog."""

    def __init__(self, gatherer: int, backlog: int | None) -> None:
        self.gatherer, self.connected, self._backlog, self._batch = gatherer, True, backlog, 0

    async def read(self) -> News:
        """The next batch."""
        if self._backlog is not None and self._batch == self._backlog:
            return News()
        self._batch += 1
        received_us = 0 if self._backlog is not None else 10**12
        return News([Batches(Copy(self.gatherer, 0, self._batch, self._batch), {}, received_us=received_us)])


async def test_a_backlog_is_read_to_its_end_while_others_always_have_something_new(monkeypatch: Any) -> None:
    """It comes alone, in its turns; the live ones come in between; all of it comes, in order."""
    readers = {"live-1": Scripted(1, None), "live-2": Scripted(2, None), "late": Scripted(3, 12)}
    config = SimpleNamespace(deduplicator_id="x", gatherers=(), merge=MergeConfig())
    sources = Sources(cast(Any, config), cast(Any, None), Narrowing(600), Counter())
    monkeypatch.setattr(sources, "_readers", readers)
    monkeypatch.setattr(sources, "_one", lambda reader: reader.read())
    for name, reader in readers.items():
        sources._cursors[name], sources._ahead[name], sources._id_of[reader.gatherer] = {}, {}, name
    steps: list[list[int]] = []
    late: list[int] = []
    while len(late) < 12 and len(steps) < 500:
        batches = await sources.read()
        steps.append([one.copy.gatherer for one in batches])
        late += [one.copy.to_batch for one in batches if one.copy.gatherer == 3]
        await asyncio.sleep(0.002)  # the step
        await sources.stored([], set())
    await sources_closed(sources)
    assert late == list(range(1, 13)), f"{len(late)} of 12 in {len(steps)} steps"
    alone = [step for step in steps if 3 in step][1:]  # the first was read before anybody was known to be newer
    assert all(step == [3] for step in alone)
    assert sum(1 in step and 2 in step for step in steps) >= 10, "the live ones have their turns"


async def test_what_was_not_used_is_read_again(monkeypatch: Any) -> None:
    """A gatherer that waits with what it brought is read from the batch that is stored, not from where it was read."""

    class Lane:
        """Batch after batch, after the one that is asked for."""

        gatherer, connected = 1, True

        async def read(self) -> News:
            """The next batch."""
            batch = sources._ahead["a"].get(0, Cursor()).batch + 1
            return News([Batches(Copy(1, 0, batch, batch), {})])

    config = SimpleNamespace(deduplicator_id="x", gatherers=(), merge=MergeConfig())
    sources = Sources(cast(Any, config), cast(Any, None), Narrowing(600), Counter())
    monkeypatch.setattr(sources, "_readers", {"a": Lane()})
    monkeypatch.setattr(sources, "_one", lambda reader: reader.read())
    sources._cursors["a"], sources._ahead["a"], sources._id_of[1] = {}, {}, "a"
    read: list[int] = []
    for stalls in (False, True, True, False, False):
        batches = await sources.read()
        read += [one.copy.to_batch for one in batches]
        await sources.stored([] if stalls else batches, {1} if stalls else set())
    await sources_closed(sources)
    assert read == [1, 2, 2, 2, 3]


async def sources_closed(sources: Sources) -> None:
    """Let what is being read go."""
    for task in sources._reading.values():
        task.cancel()
    await asyncio.gather(*sources._reading.values(), return_exceptions=True)
