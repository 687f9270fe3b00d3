"""The seam to the WebSocket library: a socket that gives raw frames and says when it was last heard.

The library's defaults do not fit: frames reach 64 MiB, compression halves the rate, sixteen frames of queue are
a fraction of a millisecond. Liveness is judged by anything received, pings included, so pings must be seen.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame
from websockets.http11 import Response

FRAME_BYTES_MAX: Final = 72 << 20
QUEUE_FRAMES_MAX: Final = 20_000
DIAL_WAIT_S: Final = 15
CLOSE_WAIT_S: Final = 2


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
    def heard_s(self) -> float:
        """Monotonic time of the last frame of any kind, pings included."""

    async def receive(self) -> bytes:
        """The next text frame; raises `SocketClosed`."""

    async def send(self, text: str) -> None:
        """Send a text frame; raises `SocketClosed`."""

    async def close(self) -> None:
        """Close without waiting long for the other side."""


class _Heard(ClientConnection):
    """Notes when anything arrives."""

    heard_s = 0.0

    def process_event(self, event: object) -> None:
        self.heard_s = time.monotonic()
        assert isinstance(event, Frame | Response)
        super().process_event(event)


class WebsocketsSocket:
    """A connection of the `websockets` library."""

    def __init__(self, connection: _Heard) -> None:
        self._connection = connection

    @property
    def heard_s(self) -> float:
        """Monotonic time of the last frame of any kind."""
        return self._connection.heard_s

    async def receive(self) -> bytes:
        try:
            return await self._connection.recv(decode=False)
        except websockets.ConnectionClosed as closed:
            raise SocketClosed(str(closed)) from closed

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except websockets.ConnectionClosed as closed:
            raise SocketClosed(str(closed)) from closed

    async def close(self) -> None:
        await self._connection.close()


async def dial(url: str, headers: dict[str, str]) -> WebsocketsSocket:
    """Open a connection; raises `DialRefused`."""
    try:
        connection = await connect(
            url,
            additional_headers=headers,
            compression=None,
            max_size=FRAME_BYTES_MAX,
            max_queue=QUEUE_FRAMES_MAX,
            ping_interval=None,
            open_timeout=DIAL_WAIT_S,
            close_timeout=CLOSE_WAIT_S,
            create_connection=_Heard,
            proxy=None,
        )
    except websockets.InvalidStatus as error:
        status = error.response.status_code
        body = bytes(error.response.body or b"")[:300].decode(errors="replace")
        raise DialRefused(f"HTTP {status}: {body}", status) from error
    except (OSError, TimeoutError, websockets.WebSocketException) as error:
        raise DialRefused(f"{type(error).__name__}: {error}", None) from error
    assert isinstance(connection, _Heard)
    return WebsocketsSocket(connection)
