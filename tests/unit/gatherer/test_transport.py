"""What a transport takes for a sign of life."""

from __future__ import annotations

import asyncio
import base64
import hashlib

from gatherer.capture.transport import dial

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def test_a_message_that_is_long_on_its_way_is_heard_all_the_while() -> None:
    """No ping is answered in its midst: a socket whose bytes come is not dead. So it is with the default library."""
    part = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        begins = b"sec-websocket-key:"
        key = next(line[19:].strip() for line in request.split(b"\r\n") if line.lower().startswith(begins))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + accept + b"\r\n\r\n")
        writer.write(b"\x81\x7e\x01\x00")  # a text of 256 bytes
        for _ in range(2):
            await part.wait()
            part.clear()
            writer.write(b"x" * 128)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    socket = await dial("websockets", f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {})
    came: asyncio.Queue[bytes] = asyncio.Queue()
    socket.start(came.put_nowait, lambda _: None)
    await asyncio.sleep(0.05)
    before = socket.received_s
    part.set()
    async with asyncio.timeout(5):
        while socket.received_s == before:
            await asyncio.sleep(0.01)
    assert came.empty(), "half of it"
    part.set()
    assert await asyncio.wait_for(came.get(), 5) == b"x" * 256
    await socket.close()
    server.close()
