"""A simulated exchange in this process, and a raw client of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from common.exchange.signing import Signer
from gatherer.capture.transport import Socket, SocketClosed, dial
from simulator.auth import Accounts
from simulator.exchange import Exchange
from simulator.market import Market
from simulator.server import WS_PATH, Server
from simulator.truth import TruthLog

A, B = "KXS-1-A", "KXS-1-B.50"


@dataclass
class Client:
    """A raw client: commands out, frames in."""

    socket: Socket
    frames: list[dict[str, Any]] = field(default_factory=list)
    incoming: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        self.socket.start(self.incoming.put_nowait, lambda reason: self.incoming.put_nowait(None))

    async def receive(self) -> bytes:
        """The next frame; raises `SocketClosed`."""
        data = await self.incoming.get()
        if data is None:
            raise SocketClosed("gone")
        return data

    async def say(self, cmd: str, **params: Any) -> None:
        """Send a command."""
        await self.socket.send(json.dumps({"id": len(self.frames) + 100, "cmd": cmd, "params": params}))

    async def hear(self, count: int) -> list[dict[str, Any]]:
        """The next frames; each ends in a newline and has its keys in the documented order."""
        new = []
        for _ in range(count):
            raw = await asyncio.wait_for(self.receive(), 5)
            assert raw.endswith(b"}\n") and b": " not in raw[:60]
            new.append(json.loads(raw))
            order = [k for k in ("type", "id", "sid", "seq", "msg", "sending_ts_ms") if k in new[-1]]
            assert list(new[-1]) == order
        self.frames += new
        return new


@dataclass
class World:
    """A server with two markets and one account of each kind of key."""

    server: Server
    url: str
    control: str
    signers: dict[str, Signer]

    async def client(self, key: str = "rsa", transport: str = "websockets") -> Client:
        """A dialled connection."""
        headers = self.signers[key].headers("GET", WS_PATH)
        return Client(await dial(transport, f"ws{self.url[4:]}{WS_PATH}", headers))


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Started and stopped."""
    keys: dict[str, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey] = {
        "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ed": ed25519.Ed25519PrivateKey.generate(),
    }
    exchange = Exchange(TruthLog(None))
    now = exchange.now_us()
    for ticker in (A, B):
        exchange.add_market(Market(ticker, "KXS-1", "KXS", now, now, now + 10**12, yes={4700: 300}, no={4800: 200}))
    server = Server(exchange, Accounts({name: key.public_key() for name, key in keys.items()}), ping_s=0.1)
    port, control = await server.start("127.0.0.1", 0, 0)
    signers = {name: Signer(name, key) for name, key in keys.items()}
    try:
        yield World(server, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{control}", signers)
    finally:
        await server.stop()
