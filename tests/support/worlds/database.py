"""The real production beside the model of it: every step is stored in both, a new merge is given what PostgreSQL has,
and at the end both hold the same."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from typing import Any, Final

import asyncpg

from common.contract.channels import ORDERBOOK
from common.numbers import DAY_MS, datetime_of_ms, ms_of_datetime
from deduplicator.merge.copies import Changes, Copy
from deduplicator.merge.intervals import Interval
from deduplicator.merge.merger import Limits, Merger
from deduplicator.read.reader import Batches
from deduplicator.store.production import Production
from tests.support.feed_case import feed_is_production
from tests.support.worlds.judges import Wrong
from tests.support.worlds.memory import Line, Memory
from tests.support.worlds.shape import GATHERERS

SEALED: Final = """
SELECT m.market, c.sealed_until FROM coverage c JOIN store.markets m USING (ticker) WHERE c.channel = $1
"""
HELD: Final = """
SELECT market, lower(r) AS from_ts, upper(r) AS to_ts FROM store.covered, unnest(held) r WHERE channel = $1
 ORDER BY market, from_ts
"""

CHANGES: Final = "SELECT market, exchange_ts, ordinal, side, price, delta FROM"
LEAVE: Final = (
    "INSERT INTO store.exports (hour, exported_at, complete, unsealed, delta_rows, step)"
    " SELECT h, now(), true, 0, 1000000, 1 FROM generate_series($1::date, $2::date + interval '23 hours', '1 hour') h"
    " ON CONFLICT DO NOTHING",
    "INSERT INTO store.detached (day, rows) SELECT day::date, 0"
    " FROM generate_series($1::date, $2::date, interval '1 day') day ON CONFLICT DO NOTHING",
    "SELECT store.drop_day(day) FROM (SELECT to_date(right(inhrelid::regclass::text, 8), 'YYYYMMDD') AS day"
    " FROM pg_inherits WHERE inhparent = 'store.deltas'::regclass) d WHERE day BETWEEN $1 AND $2",
    "DELETE FROM store.late_deltas WHERE exchange_ts >= $1::date AND exchange_ts < $2::date + 1",
)


class Database(Memory):
    """Both of them. `run` waits for what PostgreSQL does."""

    def __init__(self, dsn: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._dsn, self._loop = dsn, loop
        self._connection: asyncpg.Connection | None = None
        self._production: Production | None = None

    def run(self, doing: Any) -> Any:
        """Wait for it."""
        return self._loop.run_until_complete(doing)

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self.run(self._connection.close())
            self._connection = self._production = None

    def query(self, statement: str, *values: Any) -> None:
        """Something that is done in production beside the merge."""
        self._open()
        assert self._connection is not None
        self.run(self._connection.execute(statement, *values))

    # -- what the merge asks -----------------------------------------------------------------------------------

    def know(self, tickers: list[str]) -> None:
        """Numbers as those of the world."""
        production = self._open()
        for number in GATHERERS:
            known, _ = self.run(production.gatherer(f"gatherer-{number}", str(uuid.UUID(int=number))))
            assert known == number
        for number, ticker in enumerate(tickers, 1):
            assert self.run(production.allot([ticker])) == {ticker: number}

    def restore(self, limits: Limits, now_ms: int, lines: Iterable[Line]) -> Merger:
        """The merge's state, as PostgreSQL has it."""
        self.close()
        production = self._open()
        self.run(production.put_time_lines(list(lines)))
        merger: Merger = self.run(production.restore(limits, now_ms))
        return merger

    def prepare(self, merger: Merger, copies: list[Copy]) -> None:
        """What a step needs, of PostgreSQL."""
        self.run(self._open().prepare(merger, copies))

    def load_lines(self, merger: Merger, markets: Iterable[int]) -> None:
        """Time lines, of PostgreSQL."""
        self.run(self._open().load_lines(merger, sorted(markets)))

    def take(self, changes: Changes, copies: list[Copy]) -> None:
        """Store one step, in both."""
        super().take(changes, copies)
        self.run(self._open().store(changes, [Batches(copy, {}) for copy in copies]))

    def leave(self, stretch: Interval) -> None:
        """Whole days leave, in both."""
        first, end = (at // DAY_MS for at in stretch)
        if first >= end:
            return
        super().leave((first * DAY_MS, end * DAY_MS))
        days = [datetime_of_ms(day * DAY_MS).date() for day in (first, end - 1)]
        for statement in LEAVE:
            self.query(statement, *days)

    def _open(self) -> Production:
        if self._production is None:
            self._connection = self.run(asyncpg.connect(self._dsn, server_settings={"timezone": "UTC"}))
            self._production = Production(self._connection, "worlds")
            self.run(self._production.take_lease())
        return self._production

    # -- both the same -----------------------------------------------------------------------------------------

    def compare(
        self, held: dict[int, list[tuple[int, int]]], sealed: dict[int, int | None], begun: set[tuple[int, int, int]]
    ) -> None:
        """What people read in production is what the merge decided: by market, what it claims and where it is sealed,
        and the first gaps, which are no rows."""
        self._open()
        deltas = self._rows(f"{CHANGES} store.deltas UNION ALL {CHANGES} store.late_deltas")
        self._same("changes", {(m, ms, n): (s, p, d) for m, ms, n, s, p, d in deltas}, self.here())
        gaps = self._rows("SELECT market, channel, started_at, ended_at FROM store.gaps WHERE healed_at IS NULL")
        self._same("gaps", {(m, c, (a, b)) for m, c, a, b in gaps}, set(self.gaps))
        first = self._rows("SELECT market, started_at, ended_at FROM store.beginnings")
        self._same("first gaps", {tuple(row) for row in first}, begun)
        lines = self._rows(SEALED, ORDERBOOK)
        self._same("seals", {line[0]: line[1] for line in lines}, {line[0]: sealed[line[0]] for line in lines})
        unplaced = self._rows("SELECT gatherer, session, sid, seq, run FROM store.unplaced")
        self._same("unplaced rows", {tuple(row) for row in unplaced}, set(self.unplaced))
        books = self._rows(
            "SELECT market, exchange_ts, after_ordinal, is_reset, coalesce(yes, '{}'), coalesce(no, '{}'), verified"
            " FROM store.snapshots"
        )
        self._same(
            "books",
            {(*row[:4], tuple(row[4]), tuple(row[5]), row[6]) for row in books},
            {(*book[:4], *book[5:]) for book in self.books},
        )
        covered: dict[int, list[tuple[int, int]]] = {}
        for market, start, end in self._rows(HELD, ORDERBOOK):
            covered.setdefault(market, []).append((start, end))
        self._same("coverage", covered, {market: stretches for market, stretches in held.items() if stretches})
        self.run(feed_is_production(self._dsn))

    def _rows(self, query: str, *values: Any) -> list[list[Any]]:
        rows = self.run(self._connection.fetch(query, *values)) if self._connection else []
        return [[ms_of_datetime(v) if hasattr(v, "tzinfo") else v for v in row] for row in rows]

    @staticmethod
    def _same(what: str, stored: Any, decided: Any) -> None:
        if stored != decided:
            pairs = [set(x.items()) if isinstance(x, dict) and what != "coverage" else x for x in (stored, decided)]
            if isinstance(pairs[0], set):
                raise Wrong(
                    f"{what}: only stored {sorted(pairs[0] - pairs[1])}, only decided {sorted(pairs[1] - pairs[0])}"
                )
            raise Wrong(f"{what}: stored {stored}, decided {decided}")
