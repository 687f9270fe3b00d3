"""The `aiohttp` library's client."""

from __future__ import annotations

import asyncio
import contextlib
import time

import aiohttp
from aiohttp import WSMsgType

from common.errors import described
from gatherer.capture.transport.seam import (
    CLOSE_WAIT_S,
    DIAL_WAIT_S,
    FRAME_BYTES_MAX,
    Closed,
    DialRefused,
    Frame,
    SocketClosed,
)


class AiohttpSocket:
    """A connection of the `aiohttp` library, with a session of its own."""

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._session, self._socket = session, socket
        self.received_s = time.monotonic()
        self._pump: asyncio.Task[None] | None = None

    def start(self, on_frame: Frame, on_closed: Closed) -> None:
        """Push everything that comes."""
        self._pump = asyncio.create_task(self._receive(on_frame, on_closed))

    async def _receive(self, on_frame: Frame, on_closed: Closed) -> None:
        receive = self._socket.receive
        reason = "closed here"
        try:
            while True:
                message = await receive()
                self.received_s = time.monotonic()
                if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                    on_frame(message.data)
                elif message.type is WSMsgType.PING:
                    await self._socket.pong(message.data)
                elif message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                    reason = (
                        f"closed by the exchange: {self._socket.close_code} {self._socket.exception() or ''}".strip()
                    )
                    return
        except ConnectionError as error:
            reason = described(error)
        finally:
            on_closed(reason)

    async def send(self, text: str) -> None:
        """Send a text frame; raises `SocketClosed`."""
        try:
            await self._socket.send_str(text)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise SocketClosed(described(error)) from error

    async def ping(self) -> None:
        """Send a ping; raises `SocketClosed`."""
        try:
            await self._socket.ping()
        except (ConnectionError, aiohttp.ClientError) as error:
            raise SocketClosed(described(error)) from error

    async def close(self) -> None:
        """Close without waiting long for the other side."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        with contextlib.suppress(TimeoutError, ConnectionError, aiohttp.ClientError):
            async with asyncio.timeout(CLOSE_WAIT_S):
                await self._socket.close()
        await self._session.close()


async def dial(url: str, headers: dict[str, str]) -> AiohttpSocket:
    """Open a connection; raises `DialRefused`."""
    session = aiohttp.ClientSession()
    try:
        async with asyncio.timeout(DIAL_WAIT_S):
            socket = await session.ws_connect(
                url, headers=headers, autoping=False, max_msg_size=FRAME_BYTES_MAX, compress=0, decode_text=False
            )
    except aiohttp.WSServerHandshakeError as error:
        await session.close()
        raise DialRefused(f"HTTP {error.status}: {error.message}", error.status) from error
    except (OSError, TimeoutError, aiohttp.ClientError) as error:
        await session.close()
        raise DialRefused(described(error), None) from error
    except BaseException:
        await session.close()
        raise
    return AiohttpSocket(session, socket)
