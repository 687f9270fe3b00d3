"""What a deduplicator stores in production, step by step."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

import asyncpg
import numpy as np

from common.contract.deltas import Deltas
from common.feed.reader import Feed, FeedStep
from deduplicator.merge.copies import BookWritten, Changes, ResetVote
from deduplicator.store.production import Production
from tests.support.databases import Database

NOW_MS = int(datetime.now(UTC).timestamp()) * 1000 - 60_000
ORDERBOOK = "orderbook_delta"
SOME_S = 15
BOOK_NOW = "SELECT side, price, size FROM store.fold($1, 'infinity')"


class RandomSteps:
    """Steps as no exchange would send them: changes, books and resets of any place, in any order."""

    def __init__(self, markets: list[int], rng: random.Random) -> None:
        self._markets, self._rng = markets, rng
        self._used: set[tuple[int, int, int]] = set()
        self._resets: list[BookWritten] = []

    def _place(self) -> tuple[int, int]:
        return NOW_MS + self._rng.randrange(300), self._rng.randrange(3)

    def _levels(self) -> tuple[int, ...]:
        prices = sorted(self._rng.sample(range(1, 6), self._rng.randrange(3)), reverse=True)
        return tuple(n for price in prices for n in (price * 100, self._rng.randrange(1, 5)))

    def step(self) -> Changes:
        """The next."""
        rng = self._rng
        rows = []
        for _ in range(rng.randrange(12)):
            market, (ms, ordinal) = rng.choice(self._markets), self._place()
            if (market, ms, ordinal) not in self._used:
                self._used.add((market, ms, ordinal))
                rows.append((market, ms, ordinal, rng.randrange(2), rng.randrange(1, 6) * 100, rng.randrange(-4, 5)))
        columns = np.array(rows, np.int64).reshape(-1, 6).T
        names = ("market", "exchange_ms", "ordinal", "side", "price", "delta")
        same = {"run": 1, "seq": 1, "exchange_us": -1, "received_us": NOW_MS * 1000}
        fixed = {name: np.full(len(rows), value, np.int64) for name, value in same.items()}
        changes = Changes(new=Deltas(**dict(zip(names, columns, strict=True)), **fixed))
        while rng.random() < 0.4:
            ms, ordinal = self._place()
            reset = rng.random() < 0.4
            verified = True if reset else rng.choice([None, True, False])
            levels = self._levels(), self._levels()
            book = BookWritten(rng.choice(self._markets), ms, ordinal, reset, ms * 1000, *levels, verified)
            changes.books.append(book)
            if reset:
                self._resets.append(book)
        if self._resets and rng.random() < 0.1:
            b = rng.choice(self._resets)
            changes.unverified.append(ResetVote(b.market, 1, b.exchange_ms, b.after_ordinal, b.taken_us, b.yes, b.no))
        return changes


class FeedWriter:
    """A deduplicator's writer of production."""

    def __init__(self, dsn: str, db: asyncpg.Connection, production: Production, market: int) -> None:
        self.dsn, self.db, self.production, self.market = dsn, db, production, market

    @classmethod
    async def open(cls, made: Database) -> FeedWriter:
        """Become the one that writes."""
        db = await asyncpg.connect(made.dsn, server_settings={"timezone": "UTC"})
        production = Production(db, "test")
        await production.take_lease()
        await db.execute(
            "INSERT INTO store.gatherers (gatherer, gatherer_id, instance) OVERRIDING SYSTEM VALUE"
            " VALUES (1, 'a', gen_random_uuid())"
        )
        return cls(made.dsn, db, production, (await production.allot(["KXA-1"]))["KXA-1"])

    def changes(self, at_ms: int, *ordinals: int, delta: int = 100) -> Deltas:
        """Changes of one millisecond."""
        n = len(ordinals)
        columns = {
            "run": 1, "market": self.market, "seq": 1, "exchange_ms": at_ms, "exchange_us": -1, "side": 0,
            "price": 5000, "delta": delta, "received_us": at_ms * 1000,
        }  # fmt: skip
        return Deltas(ordinal=np.array(ordinals, np.int64), **{k: np.full(n, v, np.int64) for k, v in columns.items()})

    async def step(self, *ordinals: int, at_ms: int = NOW_MS) -> None:
        """A step of some changes."""
        await self.production.store(Changes(new=self.changes(at_ms, *ordinals)), [])


async def some(feed: Feed, count: int) -> list[FeedStep]:
    """So many steps."""
    steps: list[FeedStep] = []
    async with asyncio.timeout(SOME_S):  # a reader that waits for ever fails, too
        async for step in feed:
            steps.append(step)
            if len(steps) == count:
                break
    return steps
