"""What the deduplicator reports at `/status`; `status.py` states what holds of all its fields. Pure."""

from __future__ import annotations

import msgspec

from common.contract.aside import AsideKind


class SourceStatus(msgspec.Struct):
    """How one gatherer is read."""

    connected: bool
    """Whether its database answers in time."""
    unread_batches: int
    """Batches there that are not read yet."""
    received_us: int = 0
    """When the newest frame that was read was received there, in microseconds since 1970; 0: none yet."""
    error: str = ""
    """Why it is not read, or which of its lanes wait and why; empty if all is read."""
    put_back: int = 0
    """How often a lane turned out to be put back to an older state, and was read again."""
    acknowledgements_refused: int = 0
    """Lanes of which it takes no acknowledgement: it knows a newer epoch."""


class StepFailures(msgspec.Struct):
    """Steps of the merge that raised what nobody foresaw."""

    count: int = 0
    """How many, since the start."""
    last: str = ""
    """The last of them, or empty."""


class TaskFailures(msgspec.Struct):
    """A task beside the merge that failed unexpectedly and was begun again."""

    count: int = 0
    """How often."""
    error: str = ""
    """Its last failure; empty if that was long ago."""


class DeltaTotals(msgspec.Struct):
    """Copies of order-book changes since the start, by what became of them: the other five add up to `received`."""

    inserted: int
    """First copies: changes that production did not have."""
    confirmed: int
    """Further copies with the same content."""
    received: int = 0
    """Copies read of all gatherers."""
    disputed: int = 0
    """Copies that contradict another."""
    unplaced: int = 0
    """Copies whose place is not known yet; what is placed later counts as confirmed."""
    quarantined: int = 0
    """Frames that could not become rows."""


class GapTotals(msgspec.Struct):
    """What production lists as not recorded, and still is, of one channel; beginnings of markets apart."""

    gaps: int
    """How many gaps."""
    seconds: float
    """How long they are together: of order books in seconds of all their markets, else of the channel."""
    last_day_seconds: float = 0.0
    """How much of that lies in the last day."""


class RefillStatus(msgspec.Struct):
    """Trades brought from REST into gaps."""

    gaps: int = 0
    """Gaps of which all trades are known now, since the start."""
    trades: int = 0
    """Trades that were missing and were brought."""
    outside_gaps: int = 0
    """Trades that were missing outside of every gap: there should be none."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class CheckpointStatus(msgspec.Struct):
    """Order books kept in production, so that a book of the past is soon folded."""

    written: int = 0
    """Books written since the start."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class HourAtWork(msgspec.Struct):
    """The hour that is being exported."""

    hour: str = ""
    """When it begins."""
    rows: dict[str, int] = {}
    """By relation: rows written so far."""


class ArchiveStatus(msgspec.Struct):
    """The export of hours to the archive."""

    hours: int = 0
    """Hours written since the start."""
    now: HourAtWork | None = None
    """The hour at work, if any."""
    checks: dict[str, int] = {}
    """By check and result: comparisons of exported hours."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class FeedArchiveStatus(msgspec.Struct):
    """The export of the feed's hours."""

    hours: int = 0
    """Hours written since the start."""
    missing_steps: int = 0
    """Steps that left production before they were archived: there should be none."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class ProductionRetentionStatus(msgspec.Struct):
    """What leaves production."""

    partitions_dropped: int = 0
    """Partitions dropped since the start."""
    hours_not_archived: dict[str, int] = {}
    """By day that is old enough to leave: how many of its hours the archive does not have."""
    markets_compacted: int = 0
    """Markets that are over and were compacted."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class DeduplicatorStatus(msgspec.Struct):
    """The deduplicator."""

    deduplicator_id: str
    """Its name in the configuration; that it is a deduplicator is known by this field."""
    uptime_s: float
    """Seconds since the process began."""
    ready: str
    """`ready`, or why not: as `/readyz` says."""
    gatherers: dict[str, SourceStatus]
    """By gatherer: how it is read; empty while the merge has no session with production."""
    time_lines: int
    """Time lines of markets and channels that are not over."""
    deltas: DeltaTotals
    """Copies of order-book changes."""
    lag_ms: int | None
    """From the exchange's time of the newest changes to their commit; none where nothing came for a minute."""
    open_gaps: dict[str, GapTotals] | None
    """By channel: what production lists as not recorded; none while production has not answered."""
    epoch: int | None = None
    """The number of its lease; none before it has it."""
    lanes_waiting: dict[str, dict[str, str]] = {}
    """By gatherer and lane: why it waits, while the others are merged."""
    identities: int = 0
    """Changes held in memory, to know further copies by."""
    steps_tried: int = 0
    """Steps of the merge, since the start."""
    steps_failed: StepFailures = msgspec.field(default_factory=StepFailures)
    """Steps that raised what nobody foresaw."""
    tasks_failed: dict[str, TaskFailures] = {}
    """By task beside the merge: unexpected failures."""
    metadata_polls: int = 0
    """Readings of what has changed on the exchange's lists."""
    metadata_refused: int = 0
    """Rows of the lists that could not be stored."""
    metadata_age_s: dict[str, int] = {}
    """By list: seconds since the last reading that reached its end began."""
    set_aside: dict[str, AsideKind] = {}
    """By kind: entries that failed alone."""
    steps: int = 0
    """Steps that stored something, since the start."""
    trade_copies: int = 0
    """Copies of trades read."""
    ticker_copies: int = 0
    """Copies of ticks read."""
    lifecycle_copies: int = 0
    """Copies of lifecycle events read."""
    gaps_written: int = 0
    """Gap rows written since the start, beginnings of markets apart."""
    gaps_healed: int = 0
    """Gap rows healed since the start."""
    conflicts: int = 0
    """Contradictions between copies that were listed."""
    alarms: dict[str, int] = {}
    """By name: contradictions of an assumption."""
    refill: RefillStatus = msgspec.field(default_factory=RefillStatus)
    """Trades brought from REST."""
    checkpoints: CheckpointStatus = msgspec.field(default_factory=CheckpointStatus)
    """Order books kept in production."""
    archive: ArchiveStatus | None = None
    """The export of hours; none without a section `archive`."""
    feed_archive: FeedArchiveStatus | None = None
    """The export of the feed's hours; none without a section `archive`."""
    retention: ProductionRetentionStatus = msgspec.field(default_factory=ProductionRetentionStatus)
    """What leaves production."""
