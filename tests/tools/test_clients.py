"""Other people's clients accept every answer of the simulator, and follow its books without a complaint.

Run by `make test-long` (`make clients` installs them, in an environment of their own). What a client's author asks of
Python decides which are tried; at least one is.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.scale import LONG

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
PROGRAMS = {"official": "kalshi_python_sync", "sdk": "kalshi", "pyk": "pykalshi"}
CALLS = {"official": 41, "sdk": 42, "pyk": 26}
FLAGS = ("--markets", "41", "--rate", "300", "--not-open", "12", "--close-after", "2", "--ping", "1")
KEY = "client"
BOOKS = 8
LEVELS_MIN = 8
FOLLOWED_S = 6.0
TIMEOUT_S = 180.0
WITHIN_S = 30.0


def rsa_key(folder: Path) -> Path:
    """A key of the kind that every client knows; its public half in `public/`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = folder / "public"
    public.mkdir()
    pem, spki = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (public / f"{KEY}.pem").write_bytes(key.public_key().public_bytes(pem, spki))
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *private))
    return folder / "key.pem"


@asynccontextmanager
async def simulator(folder: Path) -> AsyncIterator[dict[str, int]]:
    """One that runs; its ports."""
    command = (sys.executable, "-m", "simulator", "serve", "--keys", str(folder / "public"), *FLAGS)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.terminate()
        await process.wait()


class Exchange:
    """The simulator as this test asks it."""

    def __init__(self, ports: dict[str, int], http: aiohttp.ClientSession) -> None:
        self.rest, self._http = f"http://127.0.0.1:{ports['port']}/trade-api/v2", http
        self.socket = f"ws://127.0.0.1:{ports['port']}/trade-api/ws/v2"
        self._control = f"http://127.0.0.1:{ports['control_port']}"

    async def get(self, path: str) -> dict[str, Any]:
        """A REST answer, past the cache of unsigned reads."""
        separator = "&" if "?" in path else "?"
        async with self._http.get(f"{self.rest}{path}{separator}at={time.monotonic_ns()}") as answer:
            return dict(await answer.json())

    async def post(self, path: str, **body: Any) -> None:
        """Ask the control port."""
        async with self._http.post(f"{self._control}{path}", json=body) as answer:
            assert answer.status == 200

    async def ask(self, folder: Path) -> dict[str, Any]:
        """What the programs are to ask for: a market with a book of two sides that traded, a combo, an archived one."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            markets = (await self.get("/markets?limit=1000"))["markets"]
            two_sided = [m for m in markets if m["status"] == "active" and m["yes_bid_dollars"] > "0.0"]
            two_sided = [m for m in two_sided if "0.0" < m["no_bid_dollars"] < "1.0"]
            ordinary = [m for m in two_sided if not m["ticker"].startswith("KXMVE")]
            deep = [m["ticker"] for m in ordinary if await self.is_deep(m["ticker"])]
            if any(m["status"] == "finalized" and m["ticker"].startswith("KXSIM") for m in markets):
                break
            await asyncio.sleep(0.2)
        traded = max(ordinary, key=lambda m: Decimal(m["volume_fp"]))
        combo = next(m for m in markets if m["ticker"].startswith("KXMVE") and m["status"] == "active")
        now = int(time.time())
        return {
            "rest_url": self.rest,
            "ws_url": self.socket,
            "key_id": KEY,
            "key_file": str(folder / "key.pem"),
            "stop": str(folder / "stop"),
            "ticker": traded["ticker"],
            "event": traded["event_ticker"],
            "series": traded["event_ticker"].split("-")[0],
            "combo": combo["ticker"],
            "combo_event": combo["event_ticker"],
            "archived": (await self.get("/historical/markets"))["markets"][0]["ticker"],
            "start": now - 600,
            "end": now,
            "books": deep[:BOOKS],
        }

    async def is_deep(self, ticker: str) -> bool:
        """Whether no side of a book will be empty soon: a client refuses a snapshot without one of its sides."""
        return min(map(len, (await self.book(ticker)).values())) >= LEVELS_MIN

    async def book(self, ticker: str) -> dict[str, dict[str, Decimal]]:
        """A book as the simulator has it."""
        book = (await self.get(f"/markets/{ticker}/orderbook"))["orderbook_fp"]
        return {side: {price: Decimal(size) for price, size in book[f"{side}_dollars"]} for side in ("yes", "no")}


async def installed(module: str) -> bool:
    """Whether the clients' environment has it."""
    if not PYTHON.exists():
        return False
    process = await asyncio.create_subprocess_exec(PYTHON, "-c", f"import {module}", stderr=asyncio.subprocess.DEVNULL)
    return await process.wait() == 0


@pytest.mark.long
@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_client_accepts_every_answer_and_follows_the_books(tmp_path: Path, program: str) -> None:
    """Its models refuse nothing, its WebSocket client logs no warning, and its books are the simulator's."""
    if not await installed(PROGRAMS[program]):
        assert not LONG or program == "official", f"{program} is not installed: `make clients`"
        pytest.skip(f"{program}: not installed (`make clients`), or this machine's Pythons are too old for it")
    rsa_key(tmp_path)
    async with simulator(tmp_path) as ports, aiohttp.ClientSession() as http:
        exchange = Exchange(ports, http)
        asked = await exchange.ask(tmp_path)
        await exchange.post("/faults", kind="archive_trades")  # the historical list has some, too
        await asyncio.sleep(1)
        (tmp_path / "ask.json").write_text(json.dumps(asked))
        command = (PYTHON, ROOT / "tests" / "clients" / f"{program}.py", tmp_path / "ask.json")
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        rows: list[dict[str, Any]] = []
        async with asyncio.timeout(TIMEOUT_S):
            async for line in process.stdout:
                rows.append(json.loads(line))
                if rows[-1]["call"] == "subscribe":
                    await asyncio.sleep(FOLLOWED_S)
                    await exchange.post("/pause")
                    (tmp_path / "stop").touch()
            assert await process.wait() == 0
        assert {row["call"]: row["error"] for row in rows if row["error"]} == {}
        calls = [row for row in rows if row["call"] not in ("subscribe", "follow")]
        assert len(calls) == CALLS[program]
        for row in rows:
            if row["call"] == "follow":
                assert row["counts"]["orderbook_delta"] > BOOKS and row["counts"]["trade"] and row["counts"]["ticker"]
                books = json.loads(row["books"])
                assert books.keys() == set(asked["books"])
                for ticker, sides in books.items():
                    folded = {side: {p: Decimal(q) for p, q in levels.items()} for side, levels in sides.items()}
                    assert folded == await exchange.book(ticker), ticker
