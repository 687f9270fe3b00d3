"""The `websockets` library. Its defaults do not fit: 1 MiB messages, compression, a queue of sixteen frames."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import websockets
from websockets.asyncio.client import ClientConnection, connect

from common.errors import described
from gatherer.capture.transport.seam import (
    ANSWER_CHARACTERS_MAX,
    CLOSE_WAIT_S,
    DIAL_WAIT_S,
    FRAME_BYTES_MAX,
    Closed,
    DialRefused,
    Frame,
    SocketClosed,
)

QUEUE_FRAMES_MAX: Final = 20_000


class _TimedConnection(ClientConnection):
    """Notes when anything arrives: a part of a message, too, as a large one may be long on its way."""

    received_s = 0.0

    def data_received(self, data: bytes) -> None:
        self.received_s = time.monotonic()
        super().data_received(data)


class WebsocketsSocket:
    """A connection of the `websockets` library."""

    def __init__(self, connection: _TimedConnection) -> None:
        self._connection = connection
        self._pump: asyncio.Task[None] | None = None

    def start(self, on_frame: Frame, on_closed: Closed) -> None:
        """Push everything that comes."""
        self._pump = asyncio.create_task(self._receive(on_frame, on_closed))

    async def _receive(self, on_frame: Frame, on_closed: Closed) -> None:
        receive = self._connection.recv
        reason = "closed here"
        try:
            while True:
                on_frame(await receive(decode=False))
        except websockets.ConnectionClosed as closed:
            reason = str(closed)
        except (
            Exception
        ) as error:  # a frame that the capture cannot take must end this connection, not stop it silently
            reason = described(error)
            raise
        finally:
            on_closed(reason)

    @property
    def received_s(self) -> float:
        """Monotonic time of the last frame of any kind."""
        return self._connection.received_s

    async def send(self, text: str) -> None:
        """Send a text frame; raises `SocketClosed`."""
        try:
            await self._connection.send(text)
        except websockets.ConnectionClosed as closed:
            raise SocketClosed(str(closed)) from closed

    async def ping(self) -> None:
        """Send a ping; raises `SocketClosed`."""
        try:
            await self._connection.ping()
        except websockets.ConnectionClosed as closed:
            raise SocketClosed(str(closed)) from closed

    async def close(self) -> None:
        """Close without waiting long for the other side."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
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
            create_connection=_TimedConnection,
            proxy=None,
        )
    except websockets.InvalidStatus as error:
        status = error.response.status_code
        body = bytes(error.response.body or b"")[:ANSWER_CHARACTERS_MAX].decode(errors="replace")
        raise DialRefused(f"HTTP {status}: {body}", status) from error
    except (OSError, TimeoutError, websockets.WebSocketException) as error:
        raise DialRefused(described(error), None) from error
    assert isinstance(connection, _TimedConnection)
    return WebsocketsSocket(connection)
