"""What `fleet heal` is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from common.config.schema import GathererSource
from common.numbers import datetime_of_ms
from deduplicator.merge.intervals import Interval


@dataclass(frozen=True)
class AskedMarket:
    """A market's time [start, end), both in whole milliseconds, as these gatherers have it.

    `reset_slack_ms` as of the merge's `Limits`. `without`: gatherers that were left out on purpose, so that they decide
    nothing. `dry_run`: only find what would be changed.
    """

    ticker: str
    start: datetime
    end: datetime
    sources: tuple[GathererSource, ...]
    reset_slack_ms: int
    without: frozenset[str] = frozenset()
    dry_run: bool = False


class AskedStretch(NamedTuple):
    """The same as production's numbers; half-open, in exchange time."""

    market: int
    ticker: str
    start_ms: int
    end_ms: int

    @property
    def interval(self) -> Interval:
        """From and to, in milliseconds."""
        return self.start_ms, self.end_ms

    @property
    def times(self) -> tuple[datetime, datetime]:
        """From and to."""
        return datetime_of_ms(self.start_ms), datetime_of_ms(self.end_ms)


@dataclass
class Healed:
    """What was found, and what was done about it (with `dry_run`: what would have been)."""

    ticker: str
    gatherers: dict[str, str] = field(default_factory=dict)
    """Rows that each had, or why it takes no part."""
    known: int = 0
    """Changes that production had as the gatherers have them."""
    inserted: int = 0
    otherwise: int = 0
    """Changes that production has with another content: left as they are."""
    conflicts: list[str] = field(default_factory=list)
    runs_restored: int = 0
    retractions_undone: int = 0
    """What a gatherer's ended runs had lost in contradictions, and claim again."""
    unplaced_removed: int = 0
    gaps_healed: list[str] = field(default_factory=list)
    gaps_left: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    """Milliseconds of which production has other changes than most gatherers, or others more: nobody claims them."""
    undecided: list[str] = field(default_factory=list)
    """Stretches that were left alone, as only gatherers that take no part claimed them."""


def shown(interval: Interval, reason: str = "") -> str:
    """A stretch of time, and what it is, as people read it."""
    start, end = map(datetime_of_ms, interval)
    return f"{start} to {end}: {reason}" if reason else f"{start} to {end}"
