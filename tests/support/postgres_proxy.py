"""A relay in front of a PostgreSQL socket that understands just enough of the protocol to break at a chosen message.

Source of the message format: PostgreSQL's documentation, "Frontend/Backend Protocol", Message Formats.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

COPY_DATA, QUERY = b"d", b"Q"


@dataclass(eq=False)
class Link:
    """One relayed connection and what the client has sent on it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    copying_deltas: bool = False
    wrote_deltas: bool = False
    """In the transaction that is open."""

    def cut(self) -> None:
        """Cut both halves at once, without a farewell."""
        for half in (self.client, self.server):
            half.transport.abort()


Hook = Callable[[Link, bytes, bytes], Awaitable[bool]]
"""Called with each message of the client (its type and body) before it is passed on; True: do not pass it on."""


class Proxy:
    """Listens at `folder/.s.PGSQL.5432` and relays to the socket of a server."""

    def __init__(self, folder: Path, server_folder: Path) -> None:
        self.folder = folder
        self._target = server_folder / ".s.PGSQL.5432"
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.hook: Hook | None = None
        self.refusing = False
        self._loud = asyncio.Event()
        self._loud.set()

    async def __aenter__(self) -> Proxy:
        self.folder.mkdir(exist_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, self.folder / ".s.PGSQL.5432")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def dsn(self) -> str:
        """Where clients connect."""
        return f"postgresql://postgres@/kalshi?host={self.folder}"

    def cut_all(self) -> None:
        """Cut every connection."""
        for link in list(self._links):
            link.cut()

    def fall_silent(self) -> None:
        """Pass nothing on any more: what a network does that lost its route."""
        self._loud.clear()

    def speak(self) -> None:
        """Pass on again what comes from now on; what was held is lost with its connections."""
        self.cut_all()
        self._loud.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.refusing:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, server_writer)
        self._links.add(link)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await asyncio.gather(self._up(link, reader), self._down(link, server_reader))
        finally:
            self._links.discard(link)
            link.cut()

    async def _up(self, link: Link, reader: asyncio.StreamReader) -> None:
        length = await reader.readexactly(4)
        link.server.write(length + await reader.readexactly(struct.unpack("!i", length)[0] - 4))
        while True:
            head = await reader.readexactly(5)
            body = await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
            kind = head[:1]
            if kind == QUERY:
                link.copying_deltas = body.startswith(b'COPY "store"."deltas')  # a day of them
                link.wrote_deltas |= link.copying_deltas
            held = self.hook is not None and await self.hook(link, kind, body)
            await self._loud.wait()
            if held:
                continue
            link.server.write(head + body)
            await link.server.drain()
            if kind == QUERY and body.startswith((b"COMMIT", b"ROLLBACK")):
                link.wrote_deltas = False

    async def _down(self, link: Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 16):
            await self._loud.wait()
            link.client.write(data)
            await link.client.drain()
        link.cut()
