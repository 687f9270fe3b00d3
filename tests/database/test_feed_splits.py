"""Any split of a run into steps is the same canonical stream: what a consumer makes of the feed does not depend on how
the deduplicator happened to be batched."""

from __future__ import annotations

import json
import random
import uuid
from typing import Any, NamedTuple

import numpy as np
import pytest

from common.contract.deltas import Deltas
from common.feed.reader import Feed
from common.numbers import datetime_of_ms
from deduplicator.merge.copies import Changes
from deduplicator.store import channels
from tests.support.databases import new_database
from tests.support.feed_case import LAST, canonical, feed_is_production
from tests.support.feed_writer import NOW_MS, FeedWriter, some
from tests.support.scale import LONG

SEEDS = 40 if LONG else 3
SPLITS = 4 if LONG else 3
MILLISECONDS = 25
MARKETS = 2
KINDS = ("trades", "tickers", "lifecycle")


class Item(NamedTuple):
    """A row that arrives: of changes, or a copy of another channel's."""

    kind: str
    values: tuple[Any, ...]


class Run:
    """What happened in some markets, what arrives of it, and what the canonical stream is."""

    def __init__(self, rng: random.Random) -> None:
        self.truth: list[tuple[Any, ...]] = []
        self.items: list[Item] = []
        for market in range(1, MARKETS + 1):
            for ms in sorted(rng.sample(range(NOW_MS, NOW_MS + 500), MILLISECONDS)):
                self._millisecond(rng, market, ms)
        self.truth.sort()
        # Copies come late, early, and in another order than things happened.
        self.items = [item for _, item in sorted(enumerate(self.items), key=lambda i: i[0] + rng.uniform(0, 40))]

    def _millisecond(self, rng: random.Random, market: int, ms: int) -> None:
        ids = sorted(uuid.UUID(int=rng.getrandbits(128)) for _ in range(8))
        at = datetime_of_ms(ms)
        for ordinal in range(rng.randrange(5)):
            side, price, size = rng.randrange(2), rng.randrange(1, 3) * 1000, rng.randrange(1, 3) * 100
            trades = rng.random() < 0.5
            delta = -size if trades else rng.choice([size, -size - 7])
            self.truth.append((ms, market, 0, ordinal, side, price, delta, -1))
            self.items.append(Item("changes", (market, ms, ordinal, side, price, delta)))
            if trades:
                yes = price if side == 0 else 10_000 - price
                self._trade(rng, (ids.pop(0), market, at, yes, size, 1 - side, False), ms, ordinal)
        if rng.random() < 0.2:
            self._trade(rng, (ids.pop(0), market, at, 7777, 100, 0, rng.random() < 0.5), ms, LAST)
        for _ in range(rng.randrange(3)):
            fields = [rng.choice([None, rng.randrange(100)]) for _ in range(7)]
            row = (ms, market, 2, market, ms, *(-1 if field is None else field for field in fields))
            if row not in self.truth:
                self.truth.append(row)
                self._copies(rng, "tickers", (market, at, *fields), ms)
        if rng.random() < 0.1:
            payload = {"n": len(self.items), "settled_ts": ms // 1000}
            self.truth.append((ms // 1000 * 1000, market, 3, "settled", json.dumps(payload)))
            self._copies(rng, "lifecycle", (market, "settled", json.dumps(payload)), ms)

    def _trade(self, rng: random.Random, trade: tuple[Any, ...], ms: int, ordinal: int) -> None:
        id_, market, _, price, count, taker, block = trade
        self.truth.append((ms, market, 1, ordinal, id_.bytes, price, count, taker, block))
        self._copies(rng, "trades", trade, ms)

    def _copies(self, rng: random.Random, kind: str, values: tuple[Any, ...], ms: int) -> None:
        for _ in range(rng.randrange(1, 4)):
            self.items.append(Item(kind, (*values, datetime_of_ms(ms + rng.randrange(1, 900)))))


async def write(site: FeedWriter, items: list[Item], rng: random.Random) -> None:
    """The changes in a step, the other channels in another, in either order."""
    rows = np.array([item.values for item in items if item.kind == "changes"], np.int64).reshape(-1, 6).T
    names = ("market", "exchange_ms", "ordinal", "side", "price", "delta")
    fixed = {"run": 1, "seq": 1, "exchange_us": -1, "received_us": NOW_MS * 1000}
    same = {name: np.full(rows.shape[1], value, np.int64) for name, value in fixed.items()}
    changes = Changes(new=Deltas(**dict(zip(names, rows, strict=True)), **same))
    first = rng.random() < 0.5
    if first and rows.size:
        await site.production.store(changes, [])
    async with site.production.lease.step(site.db, "merge") as step:
        for channel, kind in zip((channels.TRADES, channels.TICKERS, channels.LIFECYCLE), KINDS, strict=True):
            if copies := [channels.CopyRow(1, item.values) for item in items if item.kind == kind]:
                assert not await channels._merge(site.db, step.entry, channel, copies)
    if not first and rows.size:
        await site.production.store(changes, [])


def pieces(items: list[Item], rng: random.Random, n: int) -> list[list[Item]]:
    """One step for all, one for each, or anything between."""
    if n == 0:
        return [items]
    cuts = sorted(rng.sample(range(1, len(items)), len(items) // (2 * n)))
    return [items[a:b] for a, b in zip([0, *cuts], [*cuts, len(items)], strict=True)]


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_any_split_of_a_run_is_the_same_canonical_stream(seed: int) -> None:
    """With trades before and after their changes, copies that come again, and others before them."""
    rng = random.Random(seed)
    run = Run(rng)
    for n in range(SPLITS):
        async with new_database("production") as made:
            site = await FeedWriter.open(made)
            await site.production.allot([f"KXA-{m}" for m in range(1, MARKETS + 1)])
            for table in ("trades", "tickers"):
                await site.db.execute("SELECT store.add_day($1, $2)", table, datetime_of_ms(NOW_MS).date())
                await site.db.execute("SELECT store.add_day($1, $2)", table, datetime_of_ms(NOW_MS + 500).date())
            items = run.items if rng.random() < 0.5 else rng.sample(run.items, len(run.items))
            for piece in pieces(items, rng, n):
                await write(site, piece, rng)
            last = await site.db.fetchval("SELECT step FROM store.lease")
            found = canonical(await some(Feed(made.dsn, 0), last))
            assert _plain(found) == run.truth, f"{last} steps"
            assert (await feed_is_production(made.dsn)).whole
            await site.db.close()


def _plain(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """JSON as Python writes it."""
    return sorted((*r[:4], json.dumps(json.loads(r[4]), sort_keys=True)) if r[2] == 3 else r for r in rows)
