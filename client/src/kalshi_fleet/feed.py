"""Following production: every step after a place, once, in order, or an error. It never stops silently.

A step is one transaction of production, whatever it changed: late rows, healed gaps and trades that REST listed come in
a later step with an old exchange time. The next step is exactly the place and one. Keep your place (`Step.step`) in the
transaction that stores what you made of the step: killed at any instant, you have each step once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc

from kalshi_fleet.block import ALL_MARKETS, decode
from kalshi_fleet.columns import SCHEMAS, decimals
from kalshi_fleet.errors import FeedError, FeedPassed, FeedReplaced
from kalshi_fleet.statements import SQL

CHANNEL: Final = "kalshi_feed"
POLL_S: Final = 1.0
"""A notice may be lost (a proxy between): so long at most nothing is asked."""
CONNECT_S: Final = 10.0
ANSWER_S: Final = 30.0
STEPS_AT_ONCE: Final = 256
BYTES_AT_ONCE: Final = 16 << 20
RETRY_FIRST_S: Final = 0.1
RETRY_MOST_S: Final = 10.0
SETTINGS: Final = {
    "timezone": "UTC",
    "default_transaction_read_only": "on",
    "application_name": "kalshi_fleet",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
LOST: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
)
"""What another try may mend."""
RELATIONS: Final = {
    "orderbook_deltas": "changes",
    "trades": "trades",
    "tickers": "tickers",
    "lifecycle_events": "lifecycle",
}
SIDES: Final = pa.array(["yes", "no"])
_log = logging.getLogger("kalshi_fleet")


@dataclass(frozen=True)
class Step:
    """One transaction of production.

    `tables`: what it changed, by name (docs/formats.md), for the wanted markets: Arrow tables with a column `ticker`
    (empty: all markets); integers of 1e-4 dollar, 1e-2 contract, ms and us since 1970; side 0 yes, 1 no. `whole`:
    whether all that it changed is in `tables`; if not, begin again with `snapshot`.
    """

    step: int
    committed_at: datetime
    kind: str
    whole: bool
    tables: Mapping[str, Any] = field(repr=False)

    def rows(self, relation: str) -> Any:
        """Its new rows of `orderbook_deltas`, `trades`, `tickers` or `lifecycle_events`, in the archive's columns."""
        schema = SCHEMAS[relation]
        table = self.tables.get(RELATIONS[relation])
        if table is None:
            return schema.empty_table()
        return pa.Table.from_arrays([_column(table, one) for one in schema], schema=schema)


def _column(table: Any, wanted: Any) -> Any:
    """A column of the archive from what the block has of it."""
    if wanted.name in FROM:
        return table[FROM[wanted.name]].cast(wanted.type)
    column = table[wanted.name].combine_chunks()
    if wanted.name in MADE:
        return MADE[wanted.name](column)
    if pa.types.is_decimal(wanted.type):
        made = decimals(column.fill_null(0).to_numpy(zero_copy_only=False), wanted.type)
        return pc.if_else(column.is_valid(), made, pa.scalar(None, wanted.type))
    return column.cast(wanted.type)


def _uuid(value: bytes) -> str:
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


FROM: Final = {"exchange_ts": "exchange_ms", "received_at": "received_us"}
MADE: Final[dict[str, Callable[[Any], Any]]] = {
    "side": SIDES.take,
    "taker_side": SIDES.take,
    "trade_id": lambda ids: pa.array([_uuid(one) for one in ids.to_pylist()], pa.string()),
    "exchange_us": lambda us: pc.if_else(pc.less(us, 0), pa.scalar(None, pa.int16()), us),
}


class Names:
    """Tickers of production's numbers: of all markets, or of those that are wanted."""

    def __init__(self, wanted: Sequence[str] | None) -> None:
        self._wanted = None if wanted is None else {"", *wanted}
        self.known: dict[int, str] = {ALL_MARKETS: ""}

    async def learn(self, db: asyncpg.Connection, tables: Mapping[str, Any]) -> None:
        """Ask for what is not known yet of the markets in some tables."""
        if self._wanted is not None:
            left = self._wanted - {name for number, name in self.known.items() if number != ALL_MARKETS}
            if left:
                found = await db.fetch(SQL["feed_numbers"], sorted(left))
                self.known.update((row["market"], row["ticker"]) for row in found)
            return
        seen: set[int] = set()
        for batch in tables.values():
            if "market" in batch.schema.names:
                seen.update(pc.unique(batch["market"]).to_pylist())
        if missing := sorted(seen - self.known.keys()):
            found = await db.fetch(SQL["feed_tickers"], missing)
            self.known.update((row["market"], row["ticker"]) for row in found)

    def of(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """The tables with tickers, those of unwanted markets left out, empty ones too."""
        numbers = pa.array(list(self.known), pa.int64())
        tickers = pa.array(list(self.known.values()), pa.string())
        made = {}
        for name, batch in tables.items():
            table = pa.Table.from_batches([batch])
            if "market" in batch.schema.names:
                if self._wanted is not None:
                    table = table.filter(pc.is_in(table["market"], numbers))
                at = pc.index_in(table["market"], numbers)
                place = table.schema.get_field_index("market")
                table = table.set_column(place, "ticker", tickers.take(at.combine_chunks()))
            if table.num_rows:
                made[name] = table
        return made


class Feed:
    """A reader of production's feed at a place: the last step that it need not see.

    `committed_at`: when that step was, if it is known: then production that was put back is found out.
    """

    def __init__(
        self, dsn: str, after: int, tickers: Sequence[str] | None = None, committed_at: datetime | None = None
    ) -> None:
        self._dsn, self._names = dsn, Names(tickers)
        self.place, self.committed_at = after, committed_at
        self.reconnects = 0
        self._woken = asyncio.Event()

    async def __aiter__(self) -> AsyncGenerator[Step, None]:
        """Steps, for ever; a lost connection is made again. Raises `FeedPassed`, `FeedReplaced`, `FeedError`, and what
        asyncpg raises where no other try helps (an unknown account, no right to read)."""
        delays = _delays()
        while True:
            db = None
            try:
                db = await self._connected()
                await self._check(db)
                while True:
                    asked = self.place
                    self._woken.clear()
                    for step in await self._read(db):
                        delays = _delays()
                        self.place, self.committed_at = step.step, step.committed_at
                        yield step
                    if self.place == asked:
                        await self._wait()
            except LOST as error:
                self.reconnects += 1
                _log.warning("the feed is interrupted at step %d: %s: %s", self.place, type(error).__name__, error)
                await asyncio.sleep(next(delays))
            finally:
                if db is not None:
                    db.terminate()

    async def _connected(self) -> asyncpg.Connection:
        db = await asyncpg.connect(self._dsn, timeout=CONNECT_S, command_timeout=ANSWER_S, server_settings=SETTINGS)
        await db.add_listener(CHANNEL, lambda *_: self._woken.set())
        db.add_termination_listener(lambda _: self._woken.set())
        return db

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._woken.wait()

    async def _check(self, db: asyncpg.Connection) -> None:
        """Whether the place is one of this feed."""
        oldest, newest = await db.fetchrow(SQL["feed_ends"])
        if self.place > newest:
            raise FeedReplaced(self.place, f"its last step is {newest}")
        first = newest + 1 if oldest is None else oldest
        if self.place + 1 < first:
            raise FeedPassed(self.place, first, await db.fetchval(SQL["feed_archived"], self.place + 1))

    async def _read(self, db: asyncpg.Connection) -> list[Step]:
        """The next ones that are there. What was read before a hole is given before the error is raised."""
        found = await db.fetch(SQL["feed_read"], self.place, STEPS_AT_ONCE, BYTES_AT_ONCE)
        if found and found[0]["step"] == self.place:
            at = found.pop(0)["committed_at"]
            if self.committed_at is not None and at != self.committed_at:
                raise FeedReplaced(self.place, f"that step was committed at {self.committed_at}, and here at {at}")
            self.committed_at = at
        steps: list[Step] = []
        for row in found:
            if row["step"] != (place := self.place + len(steps)) + 1:
                if steps:
                    break
                await self._check(db)
                raise FeedError(f"after step {place} the feed has step {row['step']}: steps are missing")
            block = row["block"]
            tables = {} if block is None else decode(block)
            await self._names.learn(db, tables)
            steps.append(Step(row["step"], row["committed_at"], row["kind"], block is not None, self._names.of(tables)))
        return steps


def _delays() -> Iterator[float]:
    delay = RETRY_FIRST_S
    while True:
        yield delay
        delay = min(2 * delay, RETRY_MOST_S)
