"""The journal's room: loaded segments go when it is needed, and a full journal is never full for ever."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gatherer.journal.segments import lane_folder, packed_file, segments
from gatherer.upkeep.journal_space import JournalSpace

SEGMENT = 1000


class OneLane:
    """What the journal_space asks of the crew: one lane, and where its loader is."""

    def __init__(self) -> None:
        self.lane = SimpleNamespace(number=0, drained=False, captures=True, loaded=SimpleNamespace(segment=0))
        self.lanes = self.capturing = [self.lane]
        self.ordered: list[bool] = []

    def full(self, full: bool) -> None:
        """As the crew is notified."""
        self.ordered.append(full)


@pytest.mark.parametrize("seed", range(20))
async def test_a_full_journal_continues_once_the_database_has_taken_it_in(tmp_path: Path, seed: int) -> None:
    """Whatever the sizes: full while nothing is loaded, not full after, and no more removed than needed."""
    rng = random.Random(seed)
    journal = SimpleNamespace(dir=tmp_path, max_bytes=4 * SEGMENT, segment_bytes=SEGMENT, raw=None)
    crew = OneLane()
    config: Any = SimpleNamespace(journal=journal, gatherer_id="g")
    journal_space = JournalSpace(config, crew)  # type: ignore[arg-type]
    folder = lane_folder(tmp_path, 0)
    folder.mkdir()
    number = 0
    while not journal_space.full:
        number += 1
        packed_file(folder, number).write_bytes(bytes(rng.randrange(20, 400)))
        await journal_space._look()
        assert segments(folder) == list(range(1, number + 1)), "nothing is removed before it is loaded"
    crew.lane.loaded.segment = number
    await journal_space._look()
    assert not journal_space.full and crew.ordered[-2:] == [True, False]
    assert journal_space.bytes <= 3 * SEGMENT - SEGMENT // 2 and journal_space.bytes > 2 * SEGMENT - SEGMENT // 2
