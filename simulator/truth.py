"""The truth log: one JSON line for everything that happened on the exchange, in the order in which it happened.

    {"kind": "open", "ticker", "yes": [[price, size]], "no": [...]}           the book before the first change
    {"kind": "delta", "ticker", "ts_ms", "us", "side", "price", "delta"}      one order-book change
    {"kind": "trade", "ticker", "ts_ms", "trade_id", "yes_price", "count", "taker_side", "is_block"}
    {"kind": "reset", "ticker", "ts_ms", "yes", "no"}                         the book was replaced without changes
    {"kind": "lifecycle", "ticker", "event_type", "ts_ms"}
    {"kind": "subscribed", "key", "channel", "at_ms"}                         a client began to receive a channel
    {"kind": "fault", "at_ms", "hit", "fault"}                                what was broken, when, for how many

Prices are decimal strings in dollars, sizes in contracts, as on the wire.
"""

from __future__ import annotations

import json
from io import TextIOWrapper
from pathlib import Path
from typing import Any


class TruthLog:
    """Appends truth lines to a file; without a file it counts only."""

    def __init__(self, file: Path | None) -> None:
        self._out = file.open("w") if file else None
        self.lines = 0

    def write(self, kind: str, **fields: Any) -> None:
        """Append one line."""
        self.lines += 1
        if self._out:
            self._out.write(json.dumps({"kind": kind, **fields}, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        """Hand everything written so far to the kernel."""
        if self._out:
            self._out.flush()


class DeliveredLog:
    """What was handed to each client's socket: `{"key", "connection", "frame"}`, and `{"key", "connection", "closed"}`.

    A frame in it may still be lost with its connection; none that is missing here was ever sent.
    """

    def __init__(self, file: Path) -> None:
        self._out: TextIOWrapper = file.open("w")

    def frame(self, key: str, connection: int, payload: bytes) -> None:
        """One frame."""
        text = payload.decode(errors="replace").rstrip("\n")
        self._out.write(json.dumps({"key": key, "connection": connection, "frame": text}) + "\n")

    def closed(self, key: str, connection: int) -> None:
        """The connection's end."""
        self._out.write(json.dumps({"key": key, "connection": connection, "closed": True}) + "\n")

    def flush(self) -> None:
        """Hand everything written so far to the kernel."""
        self._out.flush()
