"""A journal with one session, to which frames are written, and what its loader makes of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

from common.config.schema import DatabaseConfig, ExchangeConfig, GathererConfig, JournalConfig
from gatherer.journal.format import Kind, SessionOpened, frames_payload
from gatherer.journal.writer import JournalWriter
from gatherer.load.loader import Loader
from tests.support.delta_frames import FRAME, MSG, wire
from tests.support.derivation_case import compact


class Tape:
    """A journal with one order-book session, and what its loader makes of it."""

    def __init__(self, folder: Path, dsn: str, batch_records: int = 1000) -> None:
        exchange = ExchangeConfig(rest_url="http://127.0.0.1:9", key_id="x", private_key_file=folder / "x")
        config = GathererConfig(
            gatherer_id="g",
            kalshi=exchange,
            database=DatabaseConfig(dsn="embedded:x"),
            journal=JournalConfig(dir=folder / "journal"),
        )
        load = config.load.model_copy(update={"batch_records": batch_records})
        self.config, self._dsn = config.model_copy(update={"load": load}), dsn
        self.journal = JournalWriter(self.config.journal, 0)
        self.journal.append_struct(Kind.OPENED, 1, SessionOpened("orderbook", 1, "ws://x", clock_proven=True))
        self.seq, self.now_us = 0, time.time_ns() // 1000

    def put(self, type_: str, msg: dict[str, Any], *, raw: Callable[[bytes], bytes] = lambda frame: frame) -> None:
        """A frame; `raw` edits its bytes."""
        self.seq += 1
        self.now_us += 100
        frame = {"type": type_, "sid": 1, "seq": self.seq, "msg": msg, "sending_ts_ms": self.now_us // 1000}
        data = raw(compact(json.dumps(frame).encode()))
        self.journal.append(
            Kind.FRAMES,
            0,
            frames_payload([1], [self.now_us * 1000], [self.now_us * 1000], [data]),
            self.now_us,
            self.now_us,
        )

    def book(self, market: str) -> None:
        """A market's book."""
        self.put("orderbook_snapshot", {"market_ticker": market, "yes_dollars_fp": [["0.4200", "10.00"]]})

    def change(self, market: str, **more: Any) -> None:
        """A change of it."""
        self.put("orderbook_delta", {**MSG, "market_ticker": market, "ts_ms": self.now_us // 1000, **more})

    async def load(self) -> asyncpg.Connection:
        """All of it; a connection to the database."""
        self.journal.close()
        loader = Loader(self.config, self._dsn, 0, drain=True, report=lambda _: None)
        assert await asyncio.wait_for(loader.run(asyncio.Event()), 120)
        return await asyncpg.connect(self._dsn)


class Recorder:
    """A journal with one session, to which changes are written."""

    def __init__(self, folder: Path) -> None:
        exchange = ExchangeConfig(rest_url="http://127.0.0.1:9", key_id="x", private_key_file=folder / "x")
        self.config = GathererConfig(
            gatherer_id="g",
            kalshi=exchange,
            database=DatabaseConfig(dsn="embedded:x"),
            journal=JournalConfig(dir=folder / "journal"),
        )
        self.journal = JournalWriter(self.config.journal, 0)
        self.journal.append_struct(Kind.OPENED, 1, SessionOpened("orderbook", 1, "ws://x", clock_proven=True))
        self._inbox = self.journal.inbox(1, 0)
        self.seq = 0

    def write(self, changes: int) -> None:
        """So many more."""
        for _ in range(changes):
            self.seq += 1
            now_us = time.time_ns() // 1000
            frame = FRAME | {"seq": self.seq, "sending_ts_ms": now_us // 1000, "msg": MSG | {"ts_ms": now_us // 1000}}
            self._inbox.frames.append(wire(frame))
            self._inbox.monos_ns.append(now_us * 1000)
        self.journal.flush()
