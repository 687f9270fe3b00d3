"""Storing what gatherers made of REST's books: those that did not agree as rows, the others as counts of their hour."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

import asyncpg

from common import log
from common.numbers import datetime_of_us
from deduplicator.read.reader import Batches
from deduplicator.statements import SQL
from deduplicator.store import times

HOUR_US: Final = 3_600_000_000
EXAMPLES_MAX: Final = 5
BOOK: Final = ("market", "gatherer", "requested_us", "answered_us", "agrees", "yes", "no")
AGREES, DISAGREES = 1, 0


async def store(db: asyncpg.Connection, batches: Iterable[Batches]) -> None:
    """Store those of some batches, within a transaction of the caller's."""
    hours: defaultdict[int, list[Any]] = defaultdict(list)
    rows: list[tuple[Any, ...]] = []
    for batch in batches:
        for r in batch.rest_books:
            if r["answered_us"] > batch.again_until_us:  # else it is counted already
                hours[r["answered_us"] // HOUR_US].append((batch.numbers[r["market"]], r))
            if r["agrees"] != AGREES:
                rows.append((batch.numbers[r["market"]], batch.copy.gatherer, *(r[name] for name in BOOK[2:])))
    if rows:
        await db.executemany(SQL["add_rest_book"], list(zip(*times.stored(BOOK, rows), strict=True)))
    for hour, books in hours.items():
        await _count(db, hour, books)


async def _count(db: asyncpg.Connection, hour: int, books: list[Any]) -> None:
    compared = sum(r["agrees"] in (AGREES, DISAGREES) for _, r in books)
    wrong = [(market, r["answered_us"]) for market, r in books if r["agrees"] == DISAGREES]
    some = dict(wrong[:EXAMPLES_MAX])
    named = await db.fetch(SQL["tickers_of"], list(some))
    examples = [{"ticker": ticker, "answered_at": str(datetime_of_us(some[market]))} for market, ticker in named]
    if compared:
        at = datetime_of_us(hour * HOUR_US)
        await db.execute(SQL["count_checks"], at, "rest_books", compared, len(wrong), json.dumps(examples))
    if wrong:
        log.get().error("check_failed", check="rest_books", failed=len(wrong), compared=compared, examples=examples)
