"""The archive's queries, in Athena's dialect: they give what production's SQL and folding in Python give."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlglot

from common.contract.deltas import Deltas
from common.errors import StorageError
from common.numbers import datetime_of_ms, ms_of_datetime
from deduplicator.archive import tables
from deduplicator.merge.copies import Changes
from fleet.queries import library
from fleet.queries.archive import Archive
from kalshi_fleet.place import Location
from tests.support.archive_case import OLD, Site, running_site
from tests.support.scale import LONG
from workshop.generate import athena

ROOT = Path(__file__).parents[2]
START = OLD + timedelta(hours=8)
HOURS = 3
MOMENTS = 1000 if LONG else 60
Book = dict[tuple[int, int], int]


class Exchange:
    """A market of three hours: what happened, and what it was at any moment."""

    def __init__(self, rng: random.Random) -> None:
        self.changes: list[tuple[int, int, int, int, int]] = []  # ms, ordinal, side, price, delta
        self.books: list[tuple[int, int, bool, int, Book]] = []  # ms, ordinal, is_reset, taken, book
        self._states: list[tuple[int, Book]] = []
        ms, ordinal, book = ms_of_datetime(START), 0, Book()
        self.books.append((ms, -1, False, ms, {}))
        while True:
            step = rng.choice((0, 0, 1, 7, 20_000, 200_000))
            ms, ordinal = (ms, ordinal + 1) if not step and self.changes else (ms + max(step, 1), 0)
            if ms >= ms_of_datetime(START) + HOURS * 3_600_000:
                return
            level = (rng.randint(0, 1), 100 * rng.randint(1, 12))
            delta = rng.choice((100, 250, -book.get(level, 0))) or 5
            book = {**book, level: book.get(level, 0) + delta}
            self.changes.append((ms, ordinal, *level, delta))
            self._states.append((ms, book))
            if rng.random() < 0.05:
                self.books.append((ms, ordinal, False, ms + rng.randint(0, 900_000), book))
            elif rng.random() < 0.02:  # the exchange replaces the book; nothing changes for a while
                previous, book, taken = book, {(0, 300): 700}, ms + rng.randint(1, 900_000)
                self.books.append((ms, ordinal, True, taken, book))
                if taken > ms + 10:  # first books of runs that begin meanwhile, before it and after it; and an audit
                    self.books.append(((ms + taken) // 2, -1, False, (ms + taken) // 2, previous))
                self.books.append((taken + 5, -1, False, taken + 5, book))
                self.books.append((ms, ordinal, False, taken + 9, book))
                ms = taken + 10
                self._states.append((taken, book))

    def book(self, at_ms: int) -> Book:
        """Folded here."""
        known = [book for ms, book in self._states if ms <= at_ms]
        return {level: size for level, size in (known[-1] if known else {}).items() if size}


@pytest.fixture
async def site(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Site, Archive, dict[str, Exchange]]]:
    """Three markets in production and in the archive."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with running_site(open_folder, monkeypatch) as running:
        markets = {f"KXB-{n}": Exchange(random.Random(n)) for n in range(3)}
        numbers = await running.production.allot(list(markets))
        for ticker, exchange in markets.items():
            await put(running, numbers[ticker], exchange)
        for n in range(200):
            at = START + timedelta(seconds=40 * n)
            await running.db.execute("SELECT store.add_day('trades', $1)", at.date())
            await running.db.execute(
                "INSERT INTO store.trades VALUES (gen_random_uuid(), $1, $2, $3, $4, 0, false, $2, 'ws')",
                numbers[f"KXB-{n % 3}"], at, 100 * (n % 90 + 1), 50 + n,
            )  # fmt: skip
        await running.db.execute("UPDATE store.lines SET first_seen = $1", START)
        await running.db.execute("INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('a', gen_random_uuid())")
        await running.db.execute("INSERT INTO store.slices VALUES (1, 0, 1, 1, 1, 'orderbook_delta', $1)",
            START + timedelta(minutes=50))  # fmt: skip
        await running.db.execute("INSERT INTO store.runs VALUES (1, 0, 1, 1, $1, $2)", numbers["KXB-0"], START)
        await running.db.execute(
            "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)"
            " VALUES ($1, 'orderbook_delta', $2, $3, 'not_recorded', '{}')",
            numbers["KXB-0"], START + timedelta(minutes=50), START + timedelta(minutes=70),
        )  # fmt: skip
        await running.exporter.export_due()
        yield running, Archive(Location("s3://archive", running.s3.meta.endpoint_url)), markets


async def put(site: Site, market: int, exchange: Exchange) -> None:
    """A market's changes and books into production."""
    ms, ordinal, side, price, delta = (np.array(column, np.int64) for column in zip(*exchange.changes, strict=True))
    nothing = np.zeros(len(ms), np.int64)
    numbers = np.full(len(ms), market)
    new = Deltas(nothing, numbers, nothing, ms, ordinal, nothing - 1, side, price, delta, ms * 1000)
    await site.production.store(Changes(new=new), [])
    for at, after, is_reset, taken, book in exchange.books:
        sides = [[v for (s, p), n in book.items() if s == side and n for v in (p, n)] for side in (0, 1)]
        await site.db.execute(
            "INSERT INTO store.snapshots (market, exchange_ts, after_ordinal, is_reset, taken_at, source, yes, no)"
            " VALUES ($1, $2, $3, $4, $5, 'ws', nullif($6::bigint[], '{}'), nullif($7::bigint[], '{}'))",
            market, datetime_of_ms(at), after, is_reset, datetime_of_ms(taken), *sides,
        )  # fmt: skip


def asked(archive: Archive, name: str, **values: Any) -> list[tuple[Any, ...]]:
    """A query of the archive."""
    return [tuple(row.values()) for row in archive.run(library.load_archive()[name].literal(values))]


async def test_a_book_is_the_same_in_production_in_the_archive_and_in_python(
    site: tuple[Site, Archive, dict[str, Exchange]],
) -> None:
    """At random moments, at those of changes, and at the seams of hours; an hour is read alone."""
    running, archive, markets = site
    rng = random.Random(5)
    first, last = ms_of_datetime(START), ms_of_datetime(START) + HOURS * 3_600_000 - 1
    seams = [first + n * 3_600_000 + d for n in (1, 2) for d in (-1, 0)]
    resets = 0
    for n in range(MOMENTS):
        ticker = rng.choice(list(markets))
        change = rng.choice(markets[ticker].changes)[0]
        reset = [taken + d for _, _, is_reset, taken, _ in markets[ticker].books for d in (-1, 0, 60_000) if is_reset]
        ms = rng.choice((rng.randint(first, last), change, change - 1, rng.choice(seams), *reset[:6]))
        ms = min(max(ms, first), last)
        resets += ms in reset
        at = datetime_of_ms(ms)
        rows = await running.db.fetch("SELECT side, price, size FROM book_at($1, $2)", ticker, at)
        expected = {
            (("yes", "no")[side], Decimal(price).scaleb(-4)): Decimal(size).scaleb(-2)
            for (side, price), size in markets[ticker].book(ms).items()
        }
        archived = asked(archive, "book", ticker=ticker, at=at)
        assert {(s, p): size for s, p, size in archived} == expected, f"{n}: {ticker} at {at}"
        assert {(row["side"], row["price"]): row["size"] for row in rows} == expected, f"{n}: {ticker} at {at}"
    assert resets > MOMENTS / 20


async def test_the_other_queries_give_what_production_gives(site: tuple[Site, Archive, dict[str, Exchange]]) -> None:
    """Changes, trades, candlesticks, gaps, the busiest: over a seam of hours, and over the whole day."""
    running, archive, _ = site
    of = library.load()
    for start, end in ((START + timedelta(minutes=20), START + timedelta(minutes=95)), (OLD, OLD + timedelta(days=1))):
        values: dict[str, Any] = {"ticker": "KXB-0", "from": start, "to": end}
        for name, columns in (("changes", slice(0, 5)), ("trades", slice(1, 6))):
            statement, arguments = of[name].bound(values)
            rows = await running.db.fetch(statement, *arguments)
            produced = Counter(tuple(row.values())[: columns.stop - columns.start] for row in rows)
            assert produced and Counter(row[columns] for row in asked(archive, name, **values)) == produced, name
        candles = await running.db.fetch("SELECT * FROM candles('KXB-0', 1, $1, $2)", start, end)
        volumes = sorted(row["volume"] for row in candles)
        assert volumes and sorted(row[-1] for row in asked(archive, "candles", **values)) == volumes
        assert [row[:4] for row in asked(archive, "gaps", **values)] == [
            ("orderbook_delta", START + timedelta(minutes=50), START + timedelta(minutes=70), "not_recorded")
        ]
        counted = await running.db.fetch(
            "SELECT ticker, count(*) AS n FROM orderbook_deltas WHERE exchange_ts >= $1 AND exchange_ts < $2"
            " GROUP BY 1 ORDER BY n DESC, ticker", start, end,
        )  # fmt: skip
        assert [row[:2] for row in asked(archive, "busiest", **values)] == [tuple(row) for row in counted]


def test_tables_and_queries_are_athenas_and_their_pages_are_current() -> None:
    """Each statement is parsed in the dialect; every column of every relation has its table's type."""
    assert (ROOT / "docs" / "archive-queries.md").read_text() == library.archive_page()
    assert {file.stem for file in library.ARCHIVE_FOLDER.glob("*.sql")} == set(library.load_archive())
    files = athena.statements()
    assert {file.name: file.read_text() for file in (ROOT / "deploy" / "athena").glob("*.sql")} == files
    for name, text in files.items():
        filled = text.replace("$${", "\0").replace("${database}", "kalshi").replace("${location}", "s3://b/p")
        (parsed,) = sqlglot.parse(filled.replace("\0", "${"), read="athena", error_level=sqlglot.ErrorLevel.RAISE)
        assert isinstance(parsed, sqlglot.exp.Create), name
        if parsed.kind == "TABLE":
            relation = name.removesuffix(".sql")
            named = [column.name for column in parsed.find_all(sqlglot.exp.ColumnDef)]
            partitions = ["date"] if relation in tables.DAILY else ["date", "hour"]
            assert named == [*tables.SCHEMAS[relation].names, *partitions]
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    for query in library.load_archive().values():
        text = query.literal({"ticker": "O'Neil", "at": moment, "from": moment, "to": moment})
        assert not re.search(r":[a-z]", text)
        assert sqlglot.parse_one(text, read="athena", error_level=sqlglot.ErrorLevel.RAISE)


async def test_what_is_no_archive_is_reported(tmp_path: Path) -> None:
    """A folder that is not there, and one that holds something else."""
    with pytest.raises(StorageError, match="cannot be read"):
        Archive(Location(str(tmp_path / "nothing")))
    with pytest.raises(StorageError, match="holds no relation"):
        Archive(Location(str(tmp_path)))
