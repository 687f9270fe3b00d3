"""What every transport gives: raw text frames, pushed as they come, and when anything last came, pings included.

Frames reach 64 MiB, and compression halves the rate, so that none is offered. Liveness is judged by anything received,
so pings must be seen. A transport never waits for the one it calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

FRAME_BYTES_MAX: Final = 72 << 20
DIAL_WAIT_S: Final = 15
CLOSE_WAIT_S: Final = 2
ANSWER_CHARACTERS_MAX: Final = 300

Frame = Callable[[bytes], None]
"""Called with each whole text (or binary) message."""
Closed = Callable[[str], None]
"""Called once, when the connection is gone, with the reason."""


class DialRefused(Exception):
    """The exchange did not accept the connection; `status` is the HTTP status, or None without an answer."""

    def __init__(self, message: str, status: int | None) -> None:
        self.status = status
        super().__init__(message)


class SocketClosed(Exception):
    """The connection is gone."""


class Socket(Protocol):
    """An open connection."""

    @property
    def received_s(self) -> float:
        """Monotonic time of the last frame of any kind, pings included."""

    def start(self, on_frame: Frame, on_closed: Closed) -> None:
        """Push everything that comes, and what came before this call, from the event loop."""

    async def send(self, text: str) -> None:
        """Send a text frame; raises `SocketClosed`."""

    async def ping(self) -> None:
        """Send a ping, whose answer counts as received; raises `SocketClosed`."""

    async def close(self) -> None:
        """Close without waiting long for the other side."""
