"""What a gatherer reports at `/status`; `status.py` states what holds of all its fields. Pure."""

from __future__ import annotations

import msgspec

from common.contract.aside import AsideKind


class RoleStatus(msgspec.Struct):
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


class TroubledConnection(msgspec.Struct):
    """A connection that is not whole, or needed more than a repair."""

    connection: int = 0
    """Its number."""
    role: str = ""
    """Which role it has."""
    escalations: int = 0
    """Repairs that needed a new subscription or connection."""
    last_error: str = ""
    """What last went wrong."""


class UnprovenConnection(msgspec.Struct):
    """A connection of which something can no longer be proven."""

    connection: int = 0
    """Its number."""
    role: str = ""
    """Which role it has."""
    what: list[str] = []
    """What cannot be proven, and why."""


class RegistryStatus(msgspec.Struct):
    """The list of markets, and the exchange's own state as it reports it."""

    crawls: int = 0
    """Whole readings of the exchange's list."""
    crawl_age_s: int = 0
    """Seconds since the last whole reading ended; since the start, if none did."""
    markets: int = 0
    """Markets on the list."""
    rebuilt_from_database: int = 0
    """Markets that were known from the database at the start."""
    exchange: str = ""
    """`active`, or which parts the exchange reports as not, and until when."""
    exchange_indexes: dict[str, bool] = {}
    """By index of the exchange: whether it is reported active."""
    last_error: str = ""
    """Why the list could not be read the last time; empty if it could."""


class JournalStatus(msgspec.Struct):
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


class LocalRetentionStatus(msgspec.Struct):
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


class LoaderStatus(msgspec.Struct):
    """What loads the journal into the database, all lanes together."""

    lag_ms: int
    """From the receipt of a batch to its commit, the slowest lane's."""
    healthy: bool = False
    """Whether every loader runs and its database takes rows."""
    delta_rows: int = 0
    """Order-book changes committed since the start."""
    quarantined: int = 0
    """Frames that could not become rows."""


class LaneStatus(msgspec.Struct):
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


class RestBooksStatus(msgspec.Struct):
    """Order books asked from REST, to compare the recorded ones with."""

    rounds: int = 0
    """Rounds through all markets since the start."""
    books: int = 0
    """Books received."""
    failures: int = 0
    """Rounds that failed."""
    last_error: str = ""
    """Why the last round failed; empty if it did not."""


class GathererStatus(msgspec.Struct):
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
