"""The seal of the feed: no market is reported as sealed further than it is, and the floor follows."""

from __future__ import annotations

import random
import time

import pytest

from common.contract.channels import ORDERBOOK
from common.feed.tables import EVERYTHING
from deduplicator.merge.copies import Changes, Copy
from deduplicator.merge.merger import Merger
from deduplicator.store.seals import Seals
from tests.support.scale import LONG
from tests.support.worlds.judges import World
from tests.support.worlds.memory import Line, Memory
from tests.support.worlds.merging import Merging
from tests.support.worlds.world import derived, live


class Watched(Memory):
    """What a deduplicator does with each step, and with each new state."""

    def __init__(self, named_max: int) -> None:
        super().__init__()
        self._named_max = named_max
        self._changes: Changes | None = None
        self._of: Merger | None = None
        self._seals: Seals | None = None
        self.looks = self.named = self.exact = 0
        self.rng = random.Random(named_max)

    def take(self, changes: Changes, copies: list[Copy]) -> None:
        """Remember the changes."""
        super().take(changes, copies)
        self._changes = changes

    def look(self, merger: Merger, memory: Memory) -> None:
        """After a step: the seal of every market is true."""
        if merger is not self._of:
            self._of, self._seals = merger, Seals(merger.claims, -1, self._named_max)
        assert self._seals is not None and self._changes is not None
        self._seals.note(self._changes)
        if self.rng.random() < 0.3:
            return
        said = {market: ms for market, channel, ms in self._seals.seal() if channel == ORDERBOOK}
        if EVERYTHING not in said:
            assert not said
            return
        floor = said[EVERYTHING]
        assert floor is not None
        for (market, channel), line in merger.claims.lines.items():
            if channel != ORDERBOOK:
                continue
            self.looks += 1
            sealed = merger.claims.covered.sealed_ms(market)
            if market in said:
                self.named += 1
                assert said[market] == sealed and (sealed is None or sealed < floor)
            elif line.end_ms is None or sealed is None or sealed < line.end_ms:
                assert sealed is not None and sealed >= floor, f"market {market}: {sealed}, and {floor} was reported"
                self.exact += sealed - floor < 30_000


def watched(world: World, seed: int, named_max: int) -> Watched:
    """A world that is merged, and looked at after every step."""
    begins_ms = world.shape.start_ms
    memory = Watched(named_max)
    lines: list[Line] = [(market, begins_ms, None) for market, *_ in world.lines]
    rng = random.Random(seed)
    Merging(world.shape, derived(world, rng), lines, rng, memory.look, memory).run()
    return memory


@pytest.mark.parametrize("named_max", [1000, 1])
def test_nothing_is_reported_as_sealed_that_is_not(named_max: int) -> None:
    """After every step of worlds with cuts, outages, contradictions and restarts; also when few may be named."""
    begins_ms = int(time.time() * 1000) - 600_000
    looks = named = exact = 0
    for seed in range(200 if LONG else 12):
        memory = watched(live(seed, None, begins_ms), seed, named_max)
        looks, named, exact = looks + memory.looks, named + memory.named, exact + memory.exact
    assert looks > 100 and exact > looks / 20
    assert named if named_max > 1 else looks
