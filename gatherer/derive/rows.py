"""What the derivation of one batch yields: columns and rows, with tickers still by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from common.contract.tables import OF_MARKETS
from gatherer.derive.deltas import DeltaRows


class SessionRow(NamedTuple):
    """A connection that was opened."""

    session: int
    role: str
    connection: int
    url: str
    use_yes_price: bool
    started_us: int


class SliceRow(NamedTuple):
    """A slice that began."""

    slice: int
    session: int
    sid: int
    channel: str
    started_seq: int
    started_us: int


class RunRow(NamedTuple):
    """A run that began; `cover_from_ms` is its start moment, or NEVER_MS."""

    run: int
    slice: int
    ticker: str
    started_seq: int
    cover_from_ms: int


class RunEvent(NamedTuple):
    """Something about a run's coverage, in the order of `position` within the batch.

    `covers`: the claim now begins at from_ms. `ended`: the claim ends at to_ms (exclusive). `retracts`: the
    stretch from_ms to to_ms is no longer claimed by any copy (exchange time stepped back inside it).
    """

    position: int
    run: int
    event: str
    from_ms: int
    to_ms: int
    reason: str


class HorizonRow(NamedTuple):
    """How far a slice is proven complete, in exchange time."""

    slice: int
    horizon_ms: int
    ended: bool
    reason: str


class SnapshotRow(NamedTuple):
    """A book whose place is known: after all changes up to (exchange_ms, after_ordinal).

    `kind`: `base` (the first placed book of a run), `audit` (a later snapshot), `reset` (a later snapshot that
    disagrees with the folded book while the run is unbroken). `agrees`: 1 it equals the folded book, 0 not,
    -1 no folded book was known. Levels are flat: price, size, price, size, best price first.
    """

    run: int
    ticker: str
    seq: int
    kind: str
    exchange_ms: int
    after_ordinal: int
    agrees: int
    taken_us: int
    yes: list[int]
    no: list[int]


class RestBookRow(NamedTuple):
    """A book from REST: `agrees` 1 if the folded book was the same at an instant of the request, 0 if at none, -1 if no
    folded book was known throughout. Levels as in `SnapshotRow`."""

    ticker: str
    requested_us: int
    answered_us: int
    agrees: int
    yes: list[int]
    no: list[int]


class TradeRow(NamedTuple):
    """A trade."""

    slice: int
    seq: int
    trade_id: str
    ticker: str
    exchange_ms: int
    yes_price: int
    contracts: int
    taker_side: int
    is_block: bool
    received_us: int


class TickerRow(NamedTuple):
    """A ticker message; absent fields are None."""

    ticker: str
    exchange_ms: int
    price: int | None
    yes_bid: int | None
    yes_ask: int | None
    yes_bid_size: int | None
    yes_ask_size: int | None
    volume: int | None
    open_interest: int | None
    received_us: int


class LifecycleRow(NamedTuple):
    """A lifecycle message as it came; `ticker` is that of the market, or of the event."""

    ticker: str
    event_type: str
    payload: str
    received_us: int


class QuarantineRow(NamedTuple):
    """A frame that could not become a row, with the reason and the frame."""

    session: int
    sid: int
    seq: int
    reason: str
    received_us: int
    frame: bytes


class BreakRow(NamedTuple):
    """A break of one sid's numbering, or the end of a session."""

    session: int
    sid: int
    reason: str
    expected: int
    received: int
    at_us: int


class SnapshotRequest(NamedTuple):
    """The loader asks the capture for fresh books."""

    session: int
    sid: int
    tickers: list[str]


@dataclass
class Rows:
    """Everything one batch of records became."""

    deltas: DeltaRows = field(default_factory=DeltaRows)
    sessions: list[SessionRow] = field(default_factory=list)
    slices: list[SliceRow] = field(default_factory=list)
    runs: list[RunRow] = field(default_factory=list)
    run_events: list[RunEvent] = field(default_factory=list)
    horizons: list[HorizonRow] = field(default_factory=list)
    snapshots: list[SnapshotRow] = field(default_factory=list)
    rest_books: list[RestBookRow] = field(default_factory=list)
    trades: list[TradeRow] = field(default_factory=list)
    tickers: list[TickerRow] = field(default_factory=list)
    lifecycle: list[LifecycleRow] = field(default_factory=list)
    quarantine: list[QuarantineRow] = field(default_factory=list)
    breaks: list[BreakRow] = field(default_factory=list)
    requests: list[SnapshotRequest] = field(default_factory=list)
    unknown_fields: list[str] = field(default_factory=list)
    crossed: list[tuple[str, int]] = field(default_factory=list)
    """Markets whose books were crossed at the end of a millisecond, and when."""

    claims_still_ms: int = 0
    """How long a subscription's changes have come that claim nothing: the longest of all."""
    frames: int = 0
    delta_frames: int = 0
    delta_frames_quarantined: int = 0
    alarms: dict[str, int] = field(default_factory=dict)
    measured_ms: dict[str, int] = field(default_factory=dict)
    checks: dict[str, int] = field(default_factory=dict)

    def run_event(self, run: int, event: str, from_ms: int, to_ms: int, reason: str = "") -> None:
        """Add an event, in its place among those of the batch."""
        self.run_events.append(RunEvent(len(self.run_events), run, event, from_ms, to_ms, reason))

    def markets(self) -> set[str]:
        """Every market that a row names."""
        named = set(self.deltas.tickers)
        for table in OF_MARKETS:
            named.update(row.ticker for row in getattr(self, table))
        return named

    def checked(self, source: str, agrees: int) -> None:
        """Count a comparison of a book: 1 it agreed, 0 it did not, -1 there was nothing to compare with."""
        name = f"{source}_{('disagreed', 'agreed', 'not_comparable')[agrees]}"
        self.checks[name] = self.checks.get(name, 0) + 1

    def measured(self, name: str, ms: int) -> None:
        """Keep the greatest value of a bound that was measured."""
        if ms > self.measured_ms.get(name, 0):
            self.measured_ms[name] = ms

    def alarm(self, name: str, times: int = 1) -> None:
        """Count contradictions of a bound or an assumption."""
        if times:
            self.alarms[name] = self.alarms.get(name, 0) + times
