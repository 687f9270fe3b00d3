"""What is merged: one gatherer's rows of some batches, and what the merge decides."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple

from common.contract.deltas import Deltas
from deduplicator.merge.intervals import Interval

RunKey = tuple[int, int, int]
"""Gatherer, lane, run."""


class SliceStart(NamedTuple):
    """A slice that began."""

    slice: int
    session: int
    sid: int
    channel: str


class RunStart(NamedTuple):
    """A run that began; `cover_from_ms` beyond every time: it claims nothing."""

    run: int
    slice: int
    market: int
    cover_from_ms: int


class RunEvent(NamedTuple):
    """`covers`, `ended` or `retracts`, as the gatherer derived it, in its order."""

    run: int
    event: str
    from_ms: int
    to_ms: int
    reason: str


class Horizon(NamedTuple):
    """How far a slice is proven complete."""

    slice: int
    horizon_ms: int
    ended: bool
    reason: str


class Snapshot(NamedTuple):
    """A book at a known place."""

    run: int
    market: int
    kind: str
    exchange_ms: int
    after_ordinal: int
    agrees: int
    taken_us: int
    yes: tuple[int, ...]
    no: tuple[int, ...]


@dataclass
class Copy:
    """One gatherer's rows of a contiguous stretch of batches of one lane. `gatherer` is production's number.

    `dropped`: rows of these batches went unread, so that no run that is open after them can claim anything. What is
    left of them has no known ordinals.
    """

    gatherer: int
    lane: int
    from_batch: int
    to_batch: int
    delta_frames: int = 0
    quarantined: int = 0
    dropped: bool = False
    deltas: Deltas = field(default_factory=Deltas)
    slices: list[SliceStart] = field(default_factory=list)
    runs: list[RunStart] = field(default_factory=list)
    run_events: list[RunEvent] = field(default_factory=list)
    horizons: list[Horizon] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)


@dataclass
class FrameAccount:
    """What became of the delta frames of a copy: the five add up to `received`."""

    gatherer: int
    lane: int
    from_batch: int
    to_batch: int
    received: int
    quarantined: int
    inserted: int = 0
    confirmed: int = 0
    disputed: int = 0
    unplaced: int = 0


class Unplaced(NamedTuple):
    """A row with an unknown ordinal, keyed by (gatherer, session, sid, seq)."""

    gatherer: int
    session: int
    sid: int
    seq: int
    lane: int
    run: int
    market: int
    exchange_ms: int
    exchange_us: int
    side: int
    price: int
    delta: int
    received_us: int


class Conflict(NamedTuple):
    """Copies that contradict each other; versions are JSON-ready."""

    kind: str
    market: int
    exchange_ms: int
    versions: list[dict[str, object]]


class RunChange(NamedTuple):
    """A run's claim as it is now; None in `cover_to_ms`: open. `excluded`: it is open, and may be readmitted. `fixed`:
    it was, and never begins earlier."""

    key: RunKey
    slice: int
    market: int
    cover_from_ms: int
    cover_to_ms: int | None
    excluded: bool
    reason: str
    fixed: bool = False

    @property
    def slice_key(self) -> RunKey:
        """Its slice: gatherer, lane, number."""
        return (*self.key[:2], self.slice)


class PartHeld(NamedTuple):
    """What a run held before a contradiction, now that it is readmitted."""

    key: RunKey
    market: int
    channel: str
    interval: Interval


class Retraction(NamedTuple):
    """What is claimed no longer: by a gatherer, or (0) by all. `key`: the run that retracts, if it is one's own."""

    key: RunKey
    gatherer: int
    market: int
    channel: str
    interval: Interval
    reason: str


class SliceChange(NamedTuple):
    """A slice as it is now."""

    gatherer: int
    lane: int
    slice: int
    session: int
    sid: int
    channel: str
    horizon_ms: int
    ended: bool
    reason: str


class GapWritten(NamedTuple):
    """A stretch that no copy covers, to be listed."""

    market: int
    channel: str
    interval: Interval
    reason: str
    had: dict[int, str]


class GapHealed(NamedTuple):
    """A listed gap that a late copy covered, in whole or in part; the parts left are new gaps."""

    market: int
    channel: str
    interval: Interval
    left: list[Interval]
    reason: str
    had: dict[int, str]


class BookWritten(NamedTuple):
    """A book for production."""

    market: int
    exchange_ms: int
    after_ordinal: int
    is_reset: bool
    taken_us: int
    yes: tuple[int, ...]
    no: tuple[int, ...]
    verified: bool | None


class ResetVote(NamedTuple):
    """One copy's report that a book was replaced without changes."""

    market: int
    gatherer: int
    exchange_ms: int
    after_ordinal: int
    taken_us: int
    yes: tuple[int, ...]
    no: tuple[int, ...]


NOT_STORED: Final = frozenset(("alarms", "stalled"))
"""What a step reports, of which production has nothing."""


@dataclass
class Changes:
    """What one step of the merge decided: to be stored in one transaction with the cursors."""

    new: Deltas = field(default_factory=Deltas)
    accounts: list[FrameAccount] = field(default_factory=list)
    unplaced: list[Unplaced] = field(default_factory=list)
    placed: list[Unplaced] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    slices: dict[tuple[int, int, int], SliceChange] = field(default_factory=dict)
    runs: dict[RunKey, RunChange] = field(default_factory=dict)
    parts: list[PartHeld] = field(default_factory=list)
    retractions: list[Retraction] = field(default_factory=list)
    over: list[int] = field(default_factory=list)
    """Markets whose time line is settled up to its end."""
    begun: list[tuple[int, int]] = field(default_factory=list)
    """Stretches (from, to) in which the first gap of a market, which has no row, changed."""
    judged: list[Unplaced] = field(default_factory=list)
    """Unplaced rows that were found to contradict the copy that covers them: they are not looked at again."""
    gaps: list[GapWritten] = field(default_factory=list)
    heals: list[GapHealed] = field(default_factory=list)
    books: list[BookWritten] = field(default_factory=list)
    votes: list[ResetVote] = field(default_factory=list)
    votes_done: list[ResetVote] = field(default_factory=list)
    unverified: list[ResetVote] = field(default_factory=list)
    """Votes of resets that were accepted and are contradicted now: their books are not to be used."""
    alarms: Counter[str] = field(default_factory=Counter)
    stalled: set[int] = field(default_factory=set)

    def anything(self) -> bool:
        """Whether there is something to store."""
        return any(len(getattr(self, one.name)) for one in fields(self) if one.name not in NOT_STORED)
