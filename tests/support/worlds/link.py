"""The way between the exchange and a station, one connection's: in order, late, and not always whole."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Final

from tests.support.worlds.feed import Frame
from tests.support.worlds.shape import Shape
from tests.support.worlds.timeline import Timeline

REMEMBERED: Final = 6
LOST_IN_A_ROW: Final = 8
STALL_MS: Final = 500


class Link:
    """Carries frames down, one after another. It loses some, and brings some twice."""

    def __init__(self, time: Timeline, rng: random.Random, shape: Shape, take: Callable[[Frame], None]) -> None:
        self._time, self._rng, self._shape, self._take = time, rng, shape, take
        self._last_ms = 0
        self._losing = 0
        self._past: deque[Frame] = deque(maxlen=REMEMBERED)
        self.cut = False

    def down(self, frame: Frame) -> None:
        """A frame from the exchange."""
        trouble = self._rng.random() / self._shape.intensity
        if self._losing:
            self._losing -= 1
            return
        if self._shape.has("losses") and trouble < 0.01:
            self._losing = self._rng.choice((0, 0, self._rng.randrange(LOST_IN_A_ROW)))
            return
        if self._shape.has("repeats") and 0.01 < trouble < 0.02:
            self._deliver(frame)
        elif self._shape.has("replays") and 0.02 < trouble < 0.025:
            for past in self._past:
                self._deliver(past)
        self._past.append(frame)
        self._deliver(frame)

    def delay_ms(self) -> int:
        """How long something is on its way."""
        if self._shape.has("stalls") and self._rng.random() < 0.003 * self._shape.intensity:
            return self._rng.randrange(STALL_MS)
        return self._rng.randrange(self._shape.delay_ms)

    def _deliver(self, frame: Frame) -> None:
        self._last_ms = max(self._last_ms, self._time.now_ms + self.delay_ms())
        self._time.at(self._last_ms, lambda: None if self.cut else self._take(frame))
