"""What the world of a seed is like. Bounds and waits are those of production, some fifty times shorter."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import Final

from gatherer.capture.conversation.actions import Times
from gatherer.derive.horizon import BoundsMs
from tests.support.worlds.kinds import enabled

START_MS: Final = 1_795_255_200_000
YEAR_MS: Final = 365 * 86_400_000
BOUNDS: Final = BoundsMs(disorder=300, lag=400, sender=20, clock=10)
RESET_SLACK_MS: Final = 1000
HOLE_WAIT_MS: Final = 1000
TIMES: Final = Times(
    snapshot_wait=0.08, reply_wait=0.3, idle_probe=0.15, audit=0.5, repair_window=0.5, commands_per_s=100
)
TICK_MS: Final = 20
SETTLE_MS: Final = 1500
"""How long stations record after the last change, so that horizons pass it."""
GATHERERS: Final = (1, 2, 3)


@dataclass
class Shape:
    """The numbers of one world; a kind that is not in `kinds` never happens."""

    kinds: frozenset[str]
    markets: int
    changes: int
    step_ms: int
    equal: float
    connections: int
    lanes: int
    sending_ts: bool
    clock_proven: bool
    skew_ms: int
    delay_ms: int
    age_ms: int
    """How much later the second half of the world is than the first; 0: there is no second half."""
    recent_ms: int
    recent_rows_max: int
    intensity: float
    leaves: float
    """How much of the world's time leaves production."""
    start_ms: int = START_MS

    def has(self, kind: str) -> bool:
        """Whether a kind of trouble happens here."""
        return kind in self.kinds


def shape_of(seed: int, kinds: list[str] | None = None) -> Shape:
    """The shape that a seed gives. `kinds`: exactly these, instead of some of all."""
    rng = random.Random(f"shape {seed}")
    share = rng.choice((0.1, 0.25, 0.5))
    possible = enabled() if kinds is None else kinds
    drawn = {name for name in possible if random.Random(f"{name} {seed}").random() < share}
    if kinds is not None or "FLEET_KINDS" in os.environ:
        drawn = set(possible)
    if "wrong_copy" in drawn:  # what is wrong in any other way is judged by itself
        drawn -= {"step_back", "dropped", "poison"}
    forgets = "restores" in drawn or rng.random() < 0.3
    if "old_copies" in drawn:
        drawn.add("late_copies")
    return Shape(
        kinds=frozenset(drawn),
        markets=rng.choice((1, 2, 3, 6)),
        changes=rng.choice((40, 120, 250)),
        step_ms=rng.choice((2, 8, 30)),
        equal=rng.choice((0.0, 0.4, 0.8)),
        connections=rng.choice((1, 2, 3)),
        lanes=rng.choice((1, 2)),
        sending_ts=rng.random() < 0.7,
        clock_proven=rng.random() < 0.7,
        skew_ms=rng.choice((0, 150)),
        delay_ms=rng.choice((4, 30, 120)),
        age_ms=rng.choice((3_600_000, 30 * 86_400_000, YEAR_MS)) if "old_copies" in drawn else 0,
        recent_ms=rng.choice((300, 2000)) if forgets else 10_000_000,
        recent_rows_max=rng.choice((40, 10_000_000)) if forgets else 10_000_000,
        intensity=rng.choice((0.1, 0.5, 1.5)),
        leaves=random.Random(f"leaves {seed}").uniform(0.2, 1.0),
    )
