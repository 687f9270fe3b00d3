"""What a process says of itself at `/status`: encoded where it is served, decoded by whatever reads it. Pure.

Readers and processes may be of different releases, in either order, while a fleet is upgraded. A field that a reader
does not know is ignored. A field that is missing has the default that stands here; it is required (no default) only
where a reader would judge a fleet by something that was never said. A field that is added later needs a default.
docs/status.md is made from these types.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from common.errors import StatusError

READY: Final = "ready"


class Section(msgspec.Struct):
    """A part of `/status`, or the whole of it."""


# -- both ----------------------------------------------------------------------------------------------------------


class AsideEntry(Section):
    """One entry of foreign data that failed alone."""

    key: str = ""
    """Which one: a ticker, an hour, a file."""
    reason: str = ""
    """Why it failed the last time."""
    first_at: str = ""
    """When it failed first."""
    last_at: str = ""
    """When it failed last."""
    tries: int = 0
    """How often it was tried."""
    again_at: str = ""
    """When it is tried again."""


class AsideKind(Section):
    """Entries of one kind that failed alone and wait to be tried again, while the others go on."""

    now: int = 0
    """How many wait now."""
    ever: int = 0
    """How many were ever set aside, since the process began."""
    some: list[AsideEntry] = []
    """Those that failed last."""


# -- gatherer ------------------------------------------------------------------------------------------------------


class RoleStatus(Section):
    """The connections of one role, added up; counters since their processes began."""

    configured: int
    """Connections wanted."""
    up: int
    """Connections of which every subscription is whole."""
    frames: int
    """Frames received."""
    bytes: int = 0
    """Bytes received."""
    dials: int = 0
    """Attempts to connect."""
    sessions: int = 0
    """Connections that were opened."""
    breaks: int = 0
    """Breaks of a subscription's numbering."""
    repairs: int = 0
    """Breaks repaired on the same subscription."""
    escalations: int = 0
    """Repairs that needed a new subscription or connection."""
    markets: int = 0
    """Markets held."""


class TroubledConnection(Section):
    """A connection that is not whole, or needed more than a repair."""

    connection: int = 0
    """Its number."""
    role: str = ""
    """Which role it has."""
    escalations: int = 0
    """Repairs that needed a new subscription or connection."""
    last_error: str = ""
    """What last went wrong."""


class UnprovenConnection(Section):
    """A connection of which something can no longer be proven."""

    connection: int = 0
    """Its number."""
    role: str = ""
    """Which role it has."""
    what: list[str] = []
    """What cannot be proven, and why."""


class RegistryStatus(Section):
    """The list of markets, and what the exchange says of its own state."""

    crawls: int = 0
    """Whole readings of the exchange's list."""
    crawl_age_s: int = 0
    """Seconds since the last whole reading ended; since the start, if none did."""
    markets: int = 0
    """Markets on the list."""
    rebuilt_from_database: int = 0
    """Markets that were known from the database at the start."""
    exchange: str = ""
    """`active`, or which parts the exchange says are not, and until when."""
    exchange_indexes: dict[str, bool] = {}
    """By index of the exchange: whether it says that it is active."""
    last_error: str = ""
    """Why the list could not be read the last time; empty if it could."""


class JournalStatus(Section):
    """The journal of raw frames, all lanes together."""

    bytes: int
    """Bytes on the disk."""
    max_bytes: int
    """`journal.max_bytes`."""
    full: bool
    """Whether nothing is recorded because the space is used up."""
    written_bytes: int = 0
    """Bytes written since the workers began."""
    records: int = 0
    """Records written since the workers began."""
    segments_compressed: int = 0
    """Segments compressed since the start."""
    segments_removed: int = 0
    """Segments removed since the start, to make room."""
    segments_archived: int = 0
    """Segments brought to raw/ since the start."""
    raw_error: str = ""
    """Why the last upload to raw/ failed; empty if it did not."""


class LocalRetentionStatus(Section):
    """What leaves the gatherer's own database."""

    disk_percent: float = 0.0
    """Used share of the disk."""
    max_disk_percent: float = 0.0
    """`retention.max_disk`."""
    partitions_dropped: int = 0
    """Hours dropped since the start."""
    batches_dropped_unread: int = 0
    """Batches that left the full disk before every consumer had them."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class LoaderStatus(Section):
    """What loads the journal into the database, all lanes together."""

    lag_ms: int
    """From the receipt of a batch to its commit, the slowest lane's."""
    healthy: bool = False
    """Whether every loader runs and its database takes rows."""
    delta_rows: int = 0
    """Order-book changes committed since the start."""
    quarantined: int = 0
    """Frames that could not become rows."""


class LaneStatus(Section):
    """One lane: a journal, the process that writes it and the one that loads it."""

    lane: int = 0
    """Its number."""
    state: str = ""
    """`open`; `draining` without a worker, until all is loaded; then `closed`."""
    capture_pid: int | None = None
    """The writing process; none while there is none."""
    capture_restarts: int = 0
    """How often it was started again."""
    loader_pid: int | None = None
    """The loading process; none while there is none."""
    loader_restarts: int = 0
    """How often it was started again."""
    healthy: bool = False
    """Whether the loader runs and its database takes rows."""
    batch: int = 0
    """The last batch committed."""
    lag_ms: int = 0
    """From the receipt of the last batch to its commit."""
    claims_still_ms: int = 0
    """For how long changes have come that prove nothing, beyond what the bounds explain."""
    written: tuple[int, int] = (0, 0)
    """Segment and offset up to which the journal is written."""
    loaded: tuple[int, int] = (0, 0)
    """Segment and offset up to which it is loaded."""


class RestBooksStatus(Section):
    """Order books asked from REST, to compare the recorded ones with."""

    rounds: int = 0
    """Rounds through all markets since the start."""
    books: int = 0
    """Books received."""
    failures: int = 0
    """Rounds that failed."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class GathererStatus(Section):
    """A gatherer."""

    gatherer_id: str
    """Its name in the configuration; that it is a gatherer is known by this field."""
    uptime_s: float
    """Seconds since the process began."""
    ready: str
    """`ready`, or why not: as `/readyz` says."""
    markets: int
    """Markets that are to be recorded."""
    connections: dict[str, RoleStatus]
    """By role: orderbook, trade, ticker, lifecycle."""
    journal: JournalStatus
    """The journal of raw frames."""
    loader: LoaderStatus
    """What loads the journal into the database."""
    markets_without_connection: int = 0
    """Markets that found no room on any connection."""
    registry: RegistryStatus = msgspec.field(default_factory=RegistryStatus)
    """The list of markets."""
    clock: str = ""
    """`proven`, or that receive times are not used as evidence."""
    key: str = ""
    """`accepted`, or how the exchange refuses the key."""
    troubled_connections: list[TroubledConnection] = []
    """Connections that are not whole, or needed more than a repair; the first twenty."""
    unproven: list[UnprovenConnection] = []
    """Connections of which something can no longer be proven; the first twenty."""
    retention: LocalRetentionStatus = msgspec.field(default_factory=LocalRetentionStatus)
    """What leaves the gatherer's own database."""
    lanes: list[LaneStatus] = []
    """Each lane; those without a worker are being drained, or are closed."""
    rest_books: RestBooksStatus = msgspec.field(default_factory=RestBooksStatus)
    """Order books asked from REST."""
    book_checks: dict[str, int] = {}
    """By source and result: books compared with the folded ones."""
    task_failures: dict[str, str] = {}
    """By task: how one beside the recording failed last, before it was begun again."""
    set_aside: dict[str, AsideKind] = {}
    """By kind: entries that failed alone."""
    alarms: dict[str, int] = {}
    """By name: contradictions of a bound or an assumption."""
    measured_ms: dict[str, int] = {}
    """By bound: the greatest value seen since the start."""


# -- deduplicator --------------------------------------------------------------------------------------------------


class SourceStatus(Section):
    """How one gatherer is read."""

    connected: bool
    """Whether its database answers in time."""
    behind_batches: int
    """Batches there that are not read yet."""
    received_us: int = 0
    """When the newest frame that was read was received there, in microseconds since 1970; 0: none yet."""
    error: str = ""
    """Why it is not read, or which of its lanes wait and why; empty if all is read."""
    put_back: int = 0
    """How often a lane turned out to be put back to an older state, and was read again."""
    acknowledgements_refused: int = 0
    """Lanes of which it takes no acknowledgement: it knows a newer epoch."""


class StepFailures(Section):
    """Steps of the merge that raised what nobody foresaw."""

    count: int = 0
    """How many, since the start."""
    last: str = ""
    """The last of them, or empty."""


class TaskFailures(Section):
    """A task beside the merge that failed unexpectedly and was begun again."""

    count: int = 0
    """How often."""
    error: str = ""
    """Its last failure; empty if that was long ago."""


class DeltaTotals(Section):
    """Copies of order-book changes since the start, by what became of them: the other five add up to `received`."""

    inserted: int
    """First copies: changes that production did not have."""
    confirmed: int
    """Further copies that say the same."""
    received: int = 0
    """Copies read of all gatherers."""
    disputed: int = 0
    """Copies that contradict another."""
    unplaced: int = 0
    """Copies whose place is not known yet; what is placed later counts as confirmed."""
    quarantined: int = 0
    """Frames that could not become rows."""


class GapTotals(Section):
    """What production lists as not recorded, and still is, of one channel; beginnings of markets apart."""

    gaps: int
    """How many gaps."""
    seconds: float
    """How long they are together: of order books in seconds of all their markets, else of the channel."""
    last_day_seconds: float = 0.0
    """How much of that lies in the last day."""


class RefillStatus(Section):
    """Trades brought from REST into gaps."""

    gaps: int = 0
    """Gaps of which all trades are known now, since the start."""
    trades: int = 0
    """Trades that were missing and were brought."""
    outside_gaps: int = 0
    """Trades that were missing outside of every gap: there should be none."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class CheckpointStatus(Section):
    """Order books kept in production, so that a book of the past is soon folded."""

    written: int = 0
    """Books written since the start."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class HourAtWork(Section):
    """The hour that is being exported."""

    hour: str = ""
    """When it begins."""
    rows: dict[str, int] = {}
    """By relation: rows written so far."""


class ArchiveStatus(Section):
    """The export of hours to the archive."""

    hours: int = 0
    """Hours written since the start."""
    now: HourAtWork | None = None
    """The hour at work, if any."""
    checks: dict[str, int] = {}
    """By check and result: comparisons of exported hours."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class FeedArchiveStatus(Section):
    """The export of the feed's hours."""

    hours: int = 0
    """Hours written since the start."""
    missing_steps: int = 0
    """Steps that left production before they were archived: there should be none."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class ProductionRetentionStatus(Section):
    """What leaves production."""

    partitions_dropped: int = 0
    """Partitions dropped since the start."""
    hours_not_archived: dict[str, int] = {}
    """By day that is old enough to leave: how many of its hours the archive does not have."""
    markets_compacted: int = 0
    """Markets that are over and were compacted."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class DeduplicatorStatus(Section):
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


# -- reading -------------------------------------------------------------------------------------------------------

Status = GathererStatus | DeduplicatorStatus


def name_of(status: Status) -> str:
    """The process's name in its configuration."""
    return status.gatherer_id if isinstance(status, GathererStatus) else status.deduplicator_id


class _Kind(msgspec.Struct):
    """Whose state it is."""

    gatherer_id: str | None = None
    deduplicator_id: str | None = None


_KIND: Final = msgspec.json.Decoder(_Kind)
_GATHERER: Final = msgspec.json.Decoder(GathererStatus)
_DEDUPLICATOR: Final = msgspec.json.Decoder(DeduplicatorStatus)


def decode(data: bytes, address: str) -> Status:
    """What the process at an address said. Raises `StatusError` if it is no state of a gatherer or deduplicator."""
    try:
        kind = _KIND.decode(data)
        if kind.gatherer_id is not None:
            return _GATHERER.decode(data)
        if kind.deduplicator_id is not None:
            return _DEDUPLICATOR.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StatusError(address, str(error)) from None
    raise StatusError(address, "it has neither `gatherer_id` nor `deduplicator_id`")


def encoded(said: Section) -> dict[str, Any]:
    """What JSON will hold of it."""
    found: dict[str, Any] = msgspec.to_builtins(said)
    return found
