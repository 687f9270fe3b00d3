"""What a conversation wants done, and the waits that it keeps to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Times:
    """Waits of the conversation, in seconds. `audit`: every market's book is asked for once in so long; 0: never."""

    snapshot_wait: float
    reply_wait: float
    idle_probe: float
    silence: float = 25.0
    audit: float = 0.0
    repair_window: float = 60.0
    commands_per_s: float = 2.0


@dataclass(frozen=True)
class Send:
    """Send this command."""

    command: dict[str, Any]


@dataclass(frozen=True)
class Broken:
    """Note a break of a sid in the journal."""

    sid: int
    reason: str
    expected: int
    received: int


@dataclass(frozen=True)
class Surprise:
    """Log that something was not expected here at all; what was known before it is kept."""

    error: str


Action = Send | Broken | Surprise
