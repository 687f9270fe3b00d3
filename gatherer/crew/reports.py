"""What the gatherer's processes send each other: one JSON object a line. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from gatherer.journal.format import RestBook


class LaneCommand(msgspec.Struct, omit_defaults=True):
    """Parent to capture. `hold`, `drop`: markets by connection number; `snapshots`: (session, sid, tickers)."""

    hold: dict[int, list[str]] = {}
    drop: dict[int, list[str]] = {}
    snapshots: list[tuple[int, int, list[str]]] = []
    watch: list[str] = []
    """Markets whose books REST will be asked for: noted in the journal."""
    books: list[RestBook] = []
    """What REST answered."""
    full: bool | None = None
    """The journal's space is used up: record nothing until this is false again."""


class ConnectionReport(msgspec.Struct):
    """One connection, with counters since its process started."""

    number: int
    role: str
    up: bool = False
    session: int = 0
    markets: int = 0
    frames: int = 0
    bytes: int = 0
    dials: int = 0
    sessions: int = 0
    breaks: int = 0
    repairs: int = 0
    escalations: int = 0
    surprises: int = 0
    """Frames at which the conversation failed; they are recorded."""
    last_error: str = ""
    unproven: list[str] = []
    """What can no longer be proven here, and why."""
    rejected: list[str] = []
    """Markets that the exchange does not take on this connection (error 26): it is full."""


class CaptureReport(msgspec.Struct):
    """Capture to parent. `segment`, `offset`: just after the last record that the kernel has."""

    connections: list[ConnectionReport]
    segment: int
    offset: int
    bytes: int
    records: int
    clock_proven: bool
    key_refused: str = ""


class LoaderReport(msgspec.Struct):
    """Loader to parent, one a batch; `failed` alone means that the database does not take rows."""

    failed: str = ""
    batch: int = 0
    segment: int = 0
    offset: int = 0
    frames: int = 0
    delta_rows: int = 0
    quarantined: int = 0
    lag_us: int = 0
    claims_still_ms: int = 0
    alarms: dict[str, int] = {}
    measured_ms: dict[str, int] = {}
    checks: dict[str, int] = {}
    requests: list[tuple[int, int, list[str]]] = []
    lifecycle: list[tuple[str, str, str]] = []


ENCODER: Final = msgspec.json.Encoder()
ORDER: Final = msgspec.json.Decoder(LaneCommand)
CAPTURE_REPORT: Final = msgspec.json.Decoder(CaptureReport)
LOADER_REPORT: Final = msgspec.json.Decoder(LoaderReport)


def line(message: msgspec.Struct) -> bytes:
    """The message as one line."""
    return ENCODER.encode(message) + b"\n"
