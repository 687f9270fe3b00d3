"""Which markets are waited with for a checkpoint: none that is over."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from common.config.schema import CheckpointsConfig
from deduplicator.store.checkpoints import LOOKED_AT, Checkpoints


def test_what_is_over_is_not_remembered_and_what_lives_keeps_its_count() -> None:
    """Markets without a line leave, a stretch of them at a look; one that lives becomes due by all of its changes."""
    alive = {1, 2}
    writer = Checkpoints(
        "", CheckpointsConfig(changes=100), 1, cast(Any, None), lambda market: 0 if market in alive else None
    )
    writer.count(np.arange(1, 5 * LOOKED_AT, dtype=np.int64))
    for _ in range(7):
        assert not writer._due()
    assert set(writer._changes) == set(writer._since_s) == alive
    writer.count(np.full(98, 1, np.int64))
    assert not writer._due()
    writer.count(np.full(1, 1, np.int64))
    assert writer._due() == [1]
