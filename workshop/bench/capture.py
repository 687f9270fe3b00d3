"""Capture: frames a second of one core into the journal, against the bare receive loop of the same library."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from common.config.schema import JournalConfig
from gatherer.capture.conversation.actions import Times
from gatherer.capture.conversation.conversation import Conversation
from gatherer.capture.session import Session
from gatherer.capture.transport import dial
from gatherer.crew.reports import ConnectionReport
from gatherer.journal.format import SessionOpened
from gatherer.journal.writer import JournalWriter
from workshop.bench.common import exchange, scaled

CONNECTIONS = 8
FRAMES = scaled(40_000, 1_000)
TIMES = Times(60, 600, 600, 600)
MARKETS = [f"KXBENCH-26NOV01-T{n}" for n in range(50)]
SUBSCRIBE = {"id": 1, "cmd": "subscribe", "params": {"channels": ["orderbook_delta"], "market_tickers": MARKETS}}


async def bare(transport: str, port: int) -> float:
    """CPU seconds a frame when nothing is done with it."""
    done = asyncio.Event()
    count = 0
    wanted = CONNECTIONS * FRAMES

    def on_frame(data: bytes) -> None:
        nonlocal count
        count += 1
        if count >= wanted:
            done.set()

    sockets = [await dial(transport, f"ws://127.0.0.1:{port}/", {}) for _ in range(CONNECTIONS)]
    for socket in sockets:
        socket.start(on_frame, lambda reason: None)
        await socket.send(json.dumps(SUBSCRIBE))
    while count < CONNECTIONS * len(MARKETS) * 2:  # the flow has begun
        await asyncio.sleep(0.001)
    began, first = time.process_time(), count
    await done.wait()
    spent = (time.process_time() - began) / (count - first)
    await asyncio.gather(*(socket.close() for socket in sockets))
    return spent


async def captured(transport: str, port: int) -> float:
    """CPU seconds a frame when it is journalled and its number is checked."""
    with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as folder:
        journal = JournalWriter(JournalConfig(dir=Path(folder)), 0)
        writer = asyncio.create_task(journal.run())
        counters = ConnectionReport(1, "orderbook")
        runs, sessions = [], []
        for number in range(CONNECTIONS):
            socket = await dial(transport, f"ws://127.0.0.1:{port}/", {})
            talk = Conversation("orderbook", TIMES, 500)
            session = Session(number + 1, SessionOpened("orderbook", number, ""), talk, TIMES, journal, counters)
            sessions.append(session)
            runs.append(asyncio.create_task(session.run(socket, MARKETS)))
        while sum(s.frames for s in sessions) < CONNECTIONS * len(MARKETS) * 2:
            await asyncio.sleep(0.001)
        began, first = time.process_time(), sum(s.frames for s in sessions)
        wanted = CONNECTIONS * FRAMES
        while (count := sum(s.frames for s in sessions)) < wanted:
            await asyncio.sleep(0.01)
        spent = (time.process_time() - began) / (count - first)
        assert counters.breaks == 0, "the benchmark lost frames"
        for run in (*runs, writer):
            run.cancel()
        await asyncio.gather(*runs, writer, return_exceptions=True)
        journal.close()
        return spent


async def run(rounds: int = scaled(3, 1)) -> dict[str, dict[str, Any]]:
    """Each transport, alternately bare and captured."""
    results: dict[str, dict[str, Any]] = {}
    for transport in ("websockets", "picows", "aiohttp"):
        plain, full = [], []
        for _ in range(rounds):
            async with exchange("--frames", str(FRAMES), "--connections", str(CONNECTIONS)) as ports:
                plain.append(await bare(transport, ports["ws"]))
            async with exchange("--frames", str(FRAMES), "--connections", str(CONNECTIONS)) as ports:
                full.append(await captured(transport, ports["ws"]))
        ceiling, value = 1 / statistics.median(plain), 1 / statistics.median(full)
        name = "capture" if transport == "websockets" else f"capture_{transport}"
        added_us = (statistics.median(full) - statistics.median(plain)) * 1e6
        results[name] = {
            "value": round(value),
            "unit": "frames/s of one core",
            "ceiling": round(ceiling),
            "ratio": round(value / ceiling, 3),
            "added_us_per_frame": round(added_us, 2),
        }
    return results
