"""The `picows` library: a callback a frame and nothing of its own between. Fragments are joined here."""

from __future__ import annotations

import asyncio
import time

import picows

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

TEXT, BINARY, CONTINUATION = picows.WSMsgType.TEXT, picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION
PING, CLOSE = picows.WSMsgType.PING, picows.WSMsgType.CLOSE


class _Listener(picows.WSListener):
    def __init__(self) -> None:
        self._early: list[bytes] = []
        self._on_frame: Frame = self._early.append
        self._on_closed: Closed | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._reason = "connection lost"
        self.received_s = time.monotonic()
        self.gone = asyncio.Event()

    def start(self, on_frame: Frame, on_closed: Closed) -> None:
        """Push what came before, and what comes."""
        for data in self._early:
            on_frame(data)
        self._on_frame, self._on_closed = on_frame, on_closed
        if self.gone.is_set():
            on_closed(self._reason)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Any frame."""
        self.received_s = time.monotonic()
        kind = frame.msg_type
        if kind == TEXT and frame.fin:
            self._on_frame(frame.get_payload_as_bytes())
        elif kind in (TEXT, BINARY, CONTINUATION):
            self._join(transport, frame)
        elif kind == PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind == CLOSE:
            self._reason = f"closed by the exchange: {frame.get_close_code()}"
            transport.disconnect()

    def _join(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        part = frame.get_payload_as_bytes()
        self._parts.append(part)
        self._size += len(part)
        if self._size > FRAME_BYTES_MAX:
            self._reason = "a message is larger than 72 MiB"
            transport.disconnect()
        elif frame.fin:
            whole, self._parts, self._size = b"".join(self._parts), [], 0
            self._on_frame(whole)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """The connection is gone."""
        self.gone.set()
        if self._on_closed is not None:
            self._on_closed(self._reason)


class PicowsSocket:
    """A connection of the `picows` library."""

    def __init__(self, transport: picows.WSTransport, listener: _Listener) -> None:
        self._transport, self._listener = transport, listener

    @property
    def received_s(self) -> float:
        """Monotonic time of the last frame of any kind."""
        return self._listener.received_s

    def start(self, on_frame: Frame, on_closed: Closed) -> None:
        """Push everything that comes."""
        self._listener.start(on_frame, on_closed)

    async def send(self, text: str) -> None:
        """Send a text frame; raises `SocketClosed`."""
        if self._listener.gone.is_set():
            raise SocketClosed("connection lost")
        self._transport.send(TEXT, text.encode())

    async def ping(self) -> None:
        """Send a ping; raises `SocketClosed`."""
        if self._listener.gone.is_set():
            raise SocketClosed("connection lost")
        self._transport.send_ping()

    async def close(self) -> None:
        """Close without waiting long for the other side."""
        if not self._listener.gone.is_set():
            self._transport.send_close(picows.WSCloseCode.OK)
            self._transport.disconnect()
            try:
                async with asyncio.timeout(CLOSE_WAIT_S):
                    await self._listener.gone.wait()
            except TimeoutError:
                self._transport.disconnect(graceful=False)


async def dial(url: str, headers: dict[str, str]) -> PicowsSocket:
    """Open a connection; raises `DialRefused`."""
    try:
        transport, listener = await picows.ws_connect(
            _Listener,
            url,
            extra_headers=headers,
            enable_auto_pong=False,  # pings must be seen: they are answered above
            websocket_handshake_timeout=DIAL_WAIT_S,
            max_frame_size=FRAME_BYTES_MAX,
            max_redirects=0,
        )
    except picows.WSInvalidStatusError as error:
        status = int(error.response.status) if error.response is not None else None
        body = bytes(getattr(error, "raw_body", None) or b"")[:ANSWER_CHARACTERS_MAX].decode(errors="replace")
        raise DialRefused(f"HTTP {status}: {body}", status) from error
    except (OSError, TimeoutError, picows.WSError) as error:
        raise DialRefused(described(error), None) from error
    assert isinstance(listener, _Listener)
    return PicowsSocket(transport, listener)
