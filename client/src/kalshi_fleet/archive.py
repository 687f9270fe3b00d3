"""The archive: what the fleet recorded, hour by hour, with its completeness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kalshi_fleet.answer import Answer, GapRow, gap_rows
from kalshi_fleet.archived import archived
from kalshi_fleet.columns import COVERAGE, SCHEMAS, STORED
from kalshi_fleet.errors import HourMissing, NotAnArchive, NotSealed, UnknownMarket
from kalshi_fleet.events import (
    BOOK_CHANNEL,
    BOOKS_ALONE,
    TRADE_CHANNEL,
    Event,
    Tickers,
    channels_of,
    lifecycle_of,
    names_of,
)
from kalshi_fleet.hour import Hour
from kalshi_fleet.moments import HOUR_MS, Moment, duration_ms, floor_ms, hours_of, moment, of_ms, stretch
from kalshi_fleet.place import REGION
from kalshi_fleet.replay import Replay
from kalshi_fleet.samples import Samples
from kalshi_fleet.statements import SQL
from kalshi_fleet.store import Manifest, Store, plain, row_groups

TICKER: Final = ("ticker",)
COUNTED: Final = {"gaps": "coverage_gaps", "changes": "orderbook_deltas", "trades": "trades"}
ORDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "orderbook_deltas": ("exchange_ts", "ticker", "ordinal"),
    "trades": ("exchange_ts", "ticker", "ordinal", "trade_id"),
    "tickers": ("exchange_ts", "ticker", "received_at"),
    "lifecycle_events": ("received_at", "ticker", "exchange_ts", "event_type", "payload"),
}


class Archive:
    """An archive in a folder or at `s3://BUCKET/PREFIX`.

    Credentials for S3 that are not given are found as AWS's tools find them. `tickers` is one, some, or None for all
    markets. Times are `kalshi_fleet.moments.Moment`; stretches go from `start` up to `end`, exclusive.

    Raises `NotAnArchive`, `BadTime`, `UnknownMarket`, `HourChanging`.
    """

    def __init__(
        self,
        location: str | Path,
        *,
        endpoint_url: str | None = None,
        region: str = REGION,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self._store = Store(location, endpoint_url, region, credentials)

    def __repr__(self) -> str:
        return f"Archive({self._store.location!r})"

    # -- rows ----------------------------------------------------------------------------------------------------

    def changes(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """Changes of the book: `ticker, exchange_ts, ordinal, side, price, delta, exchange_us, received_at`."""
        return self._rows("orderbook_deltas", tickers, start, end, BOOKS_ALONE)

    def trades(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """Trades: `trade_id, ticker, exchange_ts, ordinal, yes_price, count, taker_side, is_block, …`."""
        return self._rows("trades", tickers, start, end, (TRADE_CHANNEL,))

    def tickers(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """The exchange's ticker messages: `price, yes_bid, yes_ask, …, volume, open_interest`.

        The exchange does not number them: no answer is `complete`.
        """
        return self._rows("tickers", tickers, start, end, ())

    def lifecycle(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """Lifecycle messages, by when they were received."""
        return self._rows("lifecycle_events", tickers, start, end, lifecycle_of(names_of(tickers)))

    def gaps(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """What nobody provably recorded, as rows; one that was healed since has `healed_at`."""
        wanted = names_of(tickers)
        first_ms, last_ms = stretch(start, end)
        found, missing, unsealed, until = self._hours(wanted, first_ms, last_ms, channels_of(wanted))
        table = _united([self._store.gaps(one, wanted) for one in found], "coverage_gaps")
        begun, ended = (table[name].cast(pa.int64()) for name in ("started_at", "ended_at"))
        table = table.filter(pc.and_(pc.less(begun, last_ms), pc.greater(ended, first_ms)))
        # Each hour lists what touches it, as of its export: the latest word on a gap is the last hour's.
        keys = ["ticker", "channel", "started_at", "ended_at", "reason"]
        table = table.group_by(keys).aggregate([("book_equal", "max"), ("healed_at", "max")])
        table = table.rename_columns([*keys, "book_equal", "healed_at"]).sort_by([(key, "ascending") for key in keys])
        self._known(wanted, found, len(table))
        return Answer(table, gap_rows(table), until, missing, unsealed)

    def coverage(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """Each hour's state: `hour, in_archive, finished, sealed, gaps, changes, trades`.

        `sealed`: nothing will come any more for the markets that were named (for any, if none was), of any channel.
        `gaps`, `changes`, `trades`: rows of these markets (of all, if none was named).
        """
        wanted = names_of(tickers)
        first_ms, last_ms = stretch(start, end)
        found, missing, unsealed, until = self._hours(wanted, first_ms, last_ms, channels_of(wanted))
        self._known(wanted, found, 0)
        by_hour = {one.hour_ms: one for one in found}
        rows = []
        for hour in hours_of(first_ms, last_ms):
            one = by_hour.get(hour)
            row: dict[str, Any] = {"hour": of_ms(hour), "in_archive": one is not None}
            if one is not None:
                row |= {"finished": one.finished, "sealed": one.sealed(wanted, channels_of(wanted))}
                row |= {
                    name: one.rows[relation] if wanted is None else len(self._store.read(relation, one, wanted, TICKER))
                    for name, relation in COUNTED.items()
                }
            rows.append(row)
        return Answer(
            pa.Table.from_pylist(rows, COVERAGE),
            self._gaps(wanted, found, first_ms, last_ms, channels_of(wanted)),
            until,
            missing,
            unsealed,
        )

    def markets(self, start: Moment, end: Moment, tickers: Tickers | None = None) -> Answer:
        """Markets that the days of the stretch know, as of the latest of them: the exchange's fields, and `raw`."""
        wanted = names_of(tickers)
        first_ms, last_ms = stretch(start, end)
        found, missing, unsealed, until = self._hours(wanted, first_ms, last_ms, channels_of(wanted))
        tables = []
        for path in self._store.days("markets", hours_of(first_ms, last_ms)):
            table = plain(pq.ParquetFile(path, filesystem=self._store.filesystem).read())
            if wanted is not None:
                table = table.filter(pc.is_in(table["ticker"], pa.array(wanted, pa.string())))
            day = path.rsplit("/date=", 1)[1][:10]
            tables.append(table.append_column("day", pa.array([day] * len(table), pa.string())))
        if not any(map(len, tables)):
            self._known(wanted, found, 0)
            return Answer(SCHEMAS["markets"].empty_table(), (), until, missing, unsealed)
        table = pa.concat_tables(tables).sort_by([("ticker", "ascending"), ("day", "descending")])
        names = table["ticker"].to_pylist()
        latest = [place for place, name in enumerate(names) if not place or names[place - 1] != name]
        return Answer(table.take(pa.array(latest, pa.int64())).drop_columns("day"), (), until, missing, unsealed)

    # -- books ---------------------------------------------------------------------------------------------------

    def book(self, ticker: str, at: Moment) -> Answer:
        """The book after all changes up to a moment: `ticker, at, side, level, price, size`, best level first.

        In a gap, and until the exchange shows the book after it, no book is known: no rows, and the gap is named.
        """
        ms = floor_ms(moment(at, datetime.now(UTC)))
        return self._books(ticker, [ms], None, unsealed=True)

    def books(
        self,
        ticker: str,
        start: Moment,
        end: Moment,
        every: str | timedelta = "1s",
        depth: int | None = 10,
        *,
        unsealed: bool = False,
    ) -> Answer:
        """The book at `start` and every so often up to `end` (exclusive), so many levels a side (None: all).

        Moments at which it is not known have no rows, and `gaps` names them; an empty book has none either.
        """
        first_ms, last_ms = stretch(start, end)
        return self._books(ticker, list(range(first_ms, last_ms, duration_ms(every))), depth, unsealed=unsealed)

    def _books(self, ticker: str, moments: Sequence[int], depth: int | None, *, unsealed: bool) -> Answer:
        first_ms, last_ms = moments[0], moments[-1] + 1
        found, missing, open_hours, until = self._hours([ticker], first_ms, last_ms, BOOKS_ALONE, unsealed=unsealed)
        samples = Samples(ticker, moments, depth, self._gaps([ticker], found, first_ms, last_ms, BOOKS_ALONE))
        for hour in self._read([ticker], found, trades=False):
            samples.hour(hour)
        if not len(samples):
            self._known([ticker], found, 0)
        return Answer(samples.table(), tuple(samples.gaps), until, missing, open_hours)

    def replay(
        self, tickers: Tickers, start: Moment, end: Moment, *, trades: bool = True, unsealed: bool = False
    ) -> Iterator[Event]:
        """Everything that happened, in the canonical order: `Book | Change | Trade | Gap | Reset`.

        Of each market it begins with its book (or the gap that `start` lies in). Across markets the order is by time,
        then ticker; in a millisecond a market's changes come by ordinal, then its trades by their twins'. No book is
        crossed, and no level below nothing, at the end of a millisecond: where the record's would be, it is a `Gap`
        with the reason `impossible_book`.

        Raises, before the first event, `HourMissing`, and `NotSealed` unless `unsealed`.
        """
        first_ms, last_ms = stretch(start, end)
        wanted = names_of(tickers)
        if not wanted:
            raise ValueError("a replay wants the tickers of its markets")
        channels = (BOOK_CHANNEL, TRADE_CHANNEL) if trades else BOOKS_ALONE
        found, missing, _, _ = self._hours(wanted, first_ms, last_ms, channels, unsealed=unsealed)
        if missing:
            raise HourMissing(missing)
        self._known(wanted, found, 0)
        replay = Replay(wanted, first_ms, last_ms, trades=trades)
        return chain.from_iterable(map(replay.hour, self._read(wanted, found, trades=trades)))

    def _read(self, tickers: Sequence[str], found: Sequence[Manifest], *, trades: bool) -> Iterator[Hour]:
        """The hours, each when it is asked for. The first needs to know what was lost before it."""
        for number, manifest in enumerate(found):
            hour_before = manifest.hour_ms - HOUR_MS
            before = None if number else self._store.manifests([hour_before]).get(hour_before)
            yield Hour(archived(self._store, manifest, tickers, before, trades=trades), tickers)

    # -- SQL -----------------------------------------------------------------------------------------------------

    def sql(self, statement: str) -> Any:
        """A SELECT in DuckDB's dialect over the relations, as an Arrow table: many markets over days.

        Each relation has its partitions as columns: `date` (text) and `hour`; a condition on them, or on `ticker`,
        leaves files and row groups unread. It does not show completeness: ask `coverage` and `gaps`.
        """
        return self.connect().sql(statement).to_arrow_table()

    def connect(self) -> Any:
        """A DuckDB connection that has the relations, as `sql` asks it: for a program that interrupts a question, or
        takes its answer in pieces. It opens no other file, and no statement changes that."""
        import duckdb

        db = duckdb.connect()
        db.execute(SQL["in_utc"])
        try:
            for name in STORED:
                db.register(name, self._store.dataset(name))
        except (OSError, pa.ArrowException) as error:
            raise NotAnArchive(f"{self._store.location} cannot be read: {type(error).__name__}: {error}") from error
        db.execute(SQL["closed"])
        return db

    # -- inside --------------------------------------------------------------------------------------------------

    def _rows(
        self, relation: str, tickers: Tickers | None, start: Moment, end: Moment, channels: Sequence[str]
    ) -> Answer:
        wanted = names_of(tickers)
        first_ms, last_ms = stretch(start, end)
        found, missing, unsealed, until = self._hours(wanted, first_ms, last_ms, channels)
        table = _united([self._store.read(relation, one, wanted) for one in found], relation)
        order = ORDERS[relation]
        at = table[order[0]].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        within = pc.and_(pc.greater_equal(at, first_ms * 1000), pc.less(at, last_ms * 1000))
        table = table.filter(within).sort_by([(name, "ascending") for name in order])
        self._known(wanted, found, len(table))
        gaps = self._gaps(wanted, found, first_ms, last_ms, channels)
        return Answer(table, gaps, until if channels else None, missing, unsealed, bool(channels))

    def _hours(
        self,
        tickers: Sequence[str] | None,
        first_ms: int,
        last_ms: int,
        channels: Sequence[str],
        *,
        unsealed: bool = True,
    ) -> tuple[list[Manifest], tuple[datetime, ...], tuple[datetime, ...], datetime | None]:
        """Manifests of the hours that are there, those that are not, those not sealed, and up to where all is."""
        hours = hours_of(first_ms, last_ms)
        known = self._store.manifests(hours)
        found = [known[hour] for hour in hours if hour in known]
        missing = tuple(of_ms(hour) for hour in hours if hour not in known)
        still_open = tuple(of_ms(one.hour_ms) for one in found if not one.sealed(tickers, channels))
        until = None
        for hour in hours:
            if hour not in known or not known[hour].sealed(tickers, channels):
                break
            until = of_ms(hour + HOUR_MS)
        if still_open and not unsealed:
            first = next(one for one in found if not one.sealed(tickers, channels))
            what = first.unsealed_of(tickers, channels) if first.finished else list(tickers or ())
            raise NotSealed(what, of_ms(first.hour_ms))
        return found, missing, still_open, until

    def _gaps(
        self,
        tickers: Sequence[str] | None,
        found: Sequence[Manifest],
        first_ms: int,
        last_ms: int,
        channels: Sequence[str],
    ) -> tuple[GapRow, ...]:
        table = _united([self._store.gaps(one, tickers) for one in found], "coverage_gaps")
        rows = gap_rows(table.filter(pc.is_in(table["channel"], pa.array(channels, pa.string()))))
        first, last = of_ms(first_ms), of_ms(last_ms)
        return tuple(row for row in rows if row.started_at < last and row.ended_at > first)

    def _known(self, tickers: Sequence[str] | None, found: Sequence[Manifest], rows: int) -> None:
        """A market without a row may be a quiet one, or one that is not. Raises `UnknownMarket`."""
        if tickers is None or rows or not found:
            return
        left = set(tickers)
        for path in self._store.days("markets", [one.hour_ms for one in found]):
            names = pq.ParquetFile(path, filesystem=self._store.filesystem).read(["ticker"])["ticker"]
            left -= set(names.filter(pc.is_in(names, pa.array(sorted(left), pa.string()))).to_pylist())
        relations = (
            "orderbook_openings",
            "orderbook_snapshots",
            "orderbook_deltas",
            "trades",
            "tickers",
            "coverage_gaps",
        )
        for one in found:
            for relation in relations:
                if not left:
                    return
                file = self._store.file(relation, one)
                if row_groups(file, sorted(left)):
                    table = self._store.read(relation, one, sorted(left), ["ticker"])
                    left -= set(table["ticker"].unique().to_pylist())
        if left:
            raise UnknownMarket(min(left))


def _united(tables: Sequence[Any], relation: str) -> Any:
    schema = SCHEMAS[relation]
    return pa.concat_tables([table.select(schema.names).cast(schema) for table in tables] or [schema.empty_table()])
