"""What is over is forgotten: markets born and settled at 100 a second for half an hour, in compressed time.

Each lives for a minute: it is added to a subscription, its book is empty, nobody trades, REST calls it finalized, and
three minutes later it is deleted. A gatherer's derivation reads the frames; what it makes of them comes as the copies
of three gatherers to a merge and a real production, whose retention's round is made every few minutes. All in one
process, as fast as it goes: the number of markets is that of half an hour, their time is the frames' own.

`births_memory`: by how much the process has grown since the first five of the thirty minutes. `births_rows`: bytes of
production's tables and indexes for each market born after them, without its metadata (series, events, markets,
market_changes, lifecycle).
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg

from common.config.schema import ProductionRetentionConfig
from common.contract.channels import ORDERBOOK
from common.numbers import datetime_of_ms
from common.process import keep_freed_memory
from common.storage import migrate
from common.storage.embedded import EmbeddedServer
from deduplicator.from_rest.time_lines import TimeLines
from deduplicator.merge.merger import Limits, Merger
from deduplicator.read.reader import Batches
from deduplicator.store.production import Production
from deduplicator.store.retention import ProductionRetention
from fleet.rebuild.copies import copy_of
from gatherer.derive import state
from gatherer.derive.derivation import Derivation
from gatherer.derive.horizon import BoundsMs
from gatherer.journal.format import Kind, Record, SessionOpened
from workshop.bench.common import scaled
from workshop.bench.processes import memory_bytes
from workshop.bench.statements import SQL

A_SECOND: Final = scaled(int(os.environ.get("BIRTHS_A_SECOND", "100")), 2)
SECONDS: Final = scaled(int(os.environ.get("BIRTHS_SECONDS", "1800")), 120)
LIFE_S: Final = 60
GRACE_S: Final = 180
"""As `protocol.settled_grace`: its time line is over by then."""
STEP_S: Final = 10
FIRST: Final = 6
"""The first sixth is left out: five minutes of thirty."""
COMPACT_STEPS: Final = 12
GATHERERS: Final = 3
SID: Final = 1
BOUNDS: Final = BoundsMs(disorder=15_000, lag=30_000, sender=1_000, clock=200)
WAIT_MS: Final = 30_000
METADATA: Final = ("series", "events", "markets", "market_changes", "store.lifecycle")


class BirthsExchange:
    """One subscription of one session, as the journal keeps it."""

    def __init__(self, first_ms: int) -> None:
        self._ms, self._seq, self._commands = first_ms, 0, 0
        self.records: list[Record] = []
        opened = SessionOpened("orderbook", 1, "ws://bench", clock_proven=True)
        self._record(Kind.OPENED, {name: getattr(opened, name) for name in SessionOpened.__struct_fields__})
        params = {"channels": [ORDERBOOK], "market_tickers": []}
        self._record(Kind.COMMAND, {"id": 0, "cmd": "subscribe", "params": params})
        self._record(Kind.FRAME, {"type": "subscribed", "id": 0, "msg": {"channel": ORDERBOOK, "sid": SID}})

    def second(self, ms: int, born: list[str], over: list[str]) -> None:
        """Markets are added, with empty books; others are deleted."""
        self._ms = ms
        for action, named in (("add_markets", born), ("delete_markets", over)):
            if named:
                self._commands += 1
                params = {"action": action, "sids": [SID], "market_tickers": named}
                self._record(Kind.COMMAND, {"id": self._commands, "cmd": "update_subscription", "params": params})
                self._numbered({"type": "ok", "id": self._commands, "sid": SID, "msg": {}})
        for ticker in born:
            book = {"market_ticker": ticker, "market_id": "x"}
            self._numbered({"type": "orderbook_snapshot", "sid": SID, "msg": book})

    def _numbered(self, frame: dict[str, Any]) -> None:
        self._seq += 1
        self._record(Kind.FRAME, {**frame, "seq": self._seq, "sending_ts_ms": self._ms})

    def _record(self, kind: Kind, payload: dict[str, Any]) -> None:
        at = len(self.records) + 1
        self.records.append(Record(kind, 1, self._ms * 1000, self._ms * 1000, json.dumps(payload).encode(), at, at))


class Trial:
    """The derivation, the merge and production."""

    def __init__(
        self,
        db: asyncpg.Connection,
        production: Production,
        retention: ProductionRetention,
        merger: Merger,
        first_ms: int,
    ) -> None:
        self._db, self._production, self._retention, self._merger = db, production, retention, merger
        self._lines = TimeLines(production, merger, 10**9)
        self._derivation = Derivation(BOUNDS, state.fresh(1))
        self._exchange = BirthsExchange(first_ms)
        self._numbers: dict[str, int] = {}
        self._first_ms, self._batch = first_ms, 0

    async def step(self, second: int, gatherers: list[int]) -> None:
        """Ten seconds of the exchange."""
        for at in range(second, second + STEP_S):
            self._exchange.second(self._first_ms + at * 1000, _named(at), _named(at - LIFE_S - GRACE_S))
        for record in self._exchange.records:
            self._derivation.apply(record)
        self._exchange.records.clear()
        rows = self._derivation.take()
        now_ms = self._first_ms + (second + STEP_S) * 1000
        numbers = await self._production.allot(sorted(rows.markets() | {""}))
        self._numbers = numbers
        self._batch += 1
        copies = [copy_of(rows, one, 0, self._batch, numbers) for one in gatherers]
        await self._list(second)
        await self._lines.follow(now_ms)
        await self._production.prepare(self._merger, copies)
        changes = self._merger.step(copies, now_ms)
        await self._production.store(changes, [Batches(copy, numbers) for copy in copies])
        self._merger.give_back(changes.over)

    async def _list(self, second: int) -> None:
        """REST has the markets that were settled: their beginnings and ends."""
        for at in range(second - LIFE_S, second - LIFE_S + STEP_S):
            born = self._first_ms + at * 1000
            if at >= 0:
                times = datetime_of_ms(born), datetime_of_ms(born + LIFE_S * 1000)
                await self._db.execute(SQL["list_markets"], _named(at), *times)

    async def compact(self) -> None:
        """The retention's round, as if what ended were old."""
        await self._retention.compact(self._db, timedelta(seconds=-2 * 3600))
        await self._db.execute(SQL["vacuum"])


def _named(second: int) -> list[str]:
    return [f"KXMVEBIRTH-S{second:08d}{n:04d}-T{n:03d}" for n in range(A_SECOND)] if 0 <= second < SECONDS else []


async def run() -> dict[str, dict[str, Any]]:
    """All of it, with the memory of a deduplicator."""
    keep_freed_memory(arenas=1)
    with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        async with EmbeddedServer(folder / "db") as server:
            await asyncio.to_thread(migrate.migrate, server.dsn, "production")
            connection = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
            try:
                return await _run(server.dsn, connection)
            finally:
                await connection.close()


async def _run(dsn: str, connection: asyncpg.Connection) -> dict[str, dict[str, Any]]:
    production = Production(connection, "bench")
    first_ms = int(time.time()) * 1000 - (SECONDS + 600) * 1000
    await connection.execute(SQL["first_day"], datetime_of_ms(first_ms))
    await production.take_lease()
    gatherers = [(await production.gatherer(f"g{n}", str(uuid4())))[0] for n in range(GATHERERS)]
    merger = await production.restore(Limits(WAIT_MS, 120_000, 2_000_000, WAIT_MS), first_ms)
    retention = ProductionRetention(dsn, ProductionRetentionConfig(), production.lease, archived=False)
    trial = Trial(connection, production, retention, merger, first_ms)
    memory, size, markets = 0, 0, 0
    end = SECONDS + LIFE_S + GRACE_S + 4 * WAIT_MS // 1000
    for n, second in enumerate(range(0, end, STEP_S)):
        await trial.step(second, gatherers)
        if n % COMPACT_STEPS == COMPACT_STEPS - 1:
            await trial.compact()
        if not memory and second >= SECONDS // FIRST:
            await trial.compact()
            memory, size = memory_bytes(os.getpid()), await connection.fetchval(SQL["size"], list(METADATA))
            markets = await connection.fetchval(SQL["count_markets"])
        if n % COMPACT_STEPS == 0:
            print(f"  {second} s: {memory_bytes(os.getpid()) >> 20} MiB", flush=True)
    await trial.compact()
    grown = memory_bytes(os.getpid()) / memory - 1
    bytes_ = await connection.fetchval(SQL["size"], list(METADATA)) - size
    new = await connection.fetchval(SQL["count_markets"]) - markets
    for row in await connection.fetch(SQL["size_by_table"]):
        print(f"  {row['name']:32} {row['bytes'] / (new + markets):8.1f} bytes a market")
    print(f"  {new + markets} markets; lines in memory: {len(merger.claims.lines)}")
    values = {
        "births_memory": (round(100 * grown, 1), "% growth", 5),
        "births_rows": (round(bytes_ / new), "bytes", 400),
    }
    return {
        name: {"value": value, "unit": unit, "ceiling": bar, "ratio": round(value / bar, 2)}
        for name, (value, unit, bar) in values.items()
    }
