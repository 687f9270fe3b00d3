"""Series, events and markets from REST, kept current in production under the exchange's own names.

Markets first. Events by status, by name where a market names one that no list has shown, and combos' from their
markets: the lists of all events have no practical end (docs/assumptions.md). A round reads a bounded number of
pages of each list; one that fails waits, keeps its place, and costs no other list its turn.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any, Final

import asyncpg

from common.contract.channels import COMBO_PREFIX
from common.errors import ExchangeError, NumberError, OddAnswer
from common.exchange.crawl import Crawl, List
from common.exchange.names import is_ticker
from common.exchange.rest import PAGE_EVENTS, PAGE_MARKETS, Page, RestClient, packed
from common.numbers import parse_time
from common.process import backoff_s
from common.set_aside import SetAside
from common.storage.database import DATABASE_ERRORS, REFUSALS, connect
from common.supervise import Health, every
from deduplicator.from_rest.crawl import keep, restore
from deduplicator.statements import SQL
from deduplicator.store.feed import put_metadata

LIST, ROW = "list", "metadata_row"
"""Kinds of what is set aside."""
PAGES_A_ROUND: Final = 50
"""Of each list: 50,000 markets."""
NAMED_A_ROUND: Final = 1_000
LIST_WAIT_MOST_S: Final = 300.0
CURSOR_TRIES: Final = 5
"""A page that failed so often is perhaps no page any more: the list is read from its first page on."""
READ_ON_S: Final = 1.0
"""Between rounds while a list is being read."""
SERIES: Final = "series"
LIVE: Final = ("open", "unopened", "paused", "closed")
OPEN: Final = "markets open"
RELATIONS: Final = {"series": SQL["put_series"], "events": SQL["put_event"], "markets": SQL["put_market"]}
"""What stores the objects of a relation."""
STORED_MAX: Final = 50_000
"""Rows of each relation that are known to be stored as they are: lists of what changed show them again for minutes."""
YEARS_BEFORE: Final = 2200
"""A time later than that is none: with some added, no database and no library holds it."""
_VOLUME = re.compile(r"-?\d{1,20}(\.\d{1,6})?", re.ASCII)
Check = Callable[[dict[str, Any]], None]


def lists(poll_s: float, reconcile_s: float) -> list[List]:
    """All that is read, in its order. Which filters go together: docs.kalshi.com."""

    def markets(name: str, every_s: float, since: str = "", **filters: str) -> List:
        group = "changed" if since else "markets"
        return List(f"markets {name}", group, "/markets", "markets", PAGE_MARKETS, every_s, filters, since)

    def events(name: str, every_s: float, since: str = "", **filters: str) -> List:
        group = "changed" if since else "events"
        return List(f"events {name}", group, "/events", "events", PAGE_EVENTS, every_s, filters, since)

    return [
        markets("changed", poll_s, "min_updated_ts"),
        markets("settled", poll_s, "min_settled_ts", status="settled"),
        *(markets(status, reconcile_s, status=status) for status in LIVE),
        events("changed", poll_s, "min_updated_ts"),
        *(events(status, reconcile_s, status=status) for status in ("open", "unopened", "closed")),
    ]


class Metadata:
    """Polls REST and upserts what changed: all that is alive at first and every `reconcile_s`, else what is new.

    `polls` counts rounds; `refused` objects that are none, or that the database cannot hold.
    """

    def __init__(
        self, rest: RestClient, dsn: str, timeout_ms: int, *, combos: bool = True, aside: SetAside | None = None
    ) -> None:
        self._rest, self._dsn, self._timeout, self._combos = rest, dsn, timeout_ms, combos
        self._aside = aside or SetAside()
        self._crawls: list[Crawl] = []
        self._began_s = time.time()
        self._series_s = 0.0
        self._asked: dict[str, float] = {}
        """By ticker: when it was asked for by name; at most those of a round are kept."""
        self._stored: dict[str, dict[str, int]] = {relation: {} for relation in RELATIONS}
        """By statement and name: the hash of the row that production has by this connection."""
        self.polls = self.refused = 0
        self._db: asyncpg.Connection | None = None
        self._whole = True
        """Whether no list was left in its midst by the last round."""
        self.health = Health("metadata_poll_failed")

    async def run(self, poll_s: float, reconcile_s: float) -> None:
        """Until cancelled; exchange and database may fail and come back."""
        try:
            await every(
                lambda: poll_s if self._whole else min(READ_ON_S, poll_s),
                lambda: self._round(poll_s, reconcile_s),
                self.health,
                first_s=0.0,
                foreseen=(*DATABASE_ERRORS, ExchangeError),
                retry_s=lambda: backoff_s(1.0, max(poll_s, 30.0)),
            )
        finally:
            self._let_go()

    async def _round(self, poll_s: float, reconcile_s: float) -> None:
        if self._db is None:
            self._db = await connect(self._dsn, self._timeout)
            for stored in self._stored.values():
                stored.clear()  # what comes back may be another database, or an older one
        try:
            self._whole = await self.poll(self._db, poll_s, reconcile_s)
        except BaseException:
            self._let_go()
            raise

    def _let_go(self) -> None:
        if self._db is not None:
            self._db.terminate()
            self._db = None

    async def poll(self, connection: asyncpg.Connection, poll_s: float, reconcile_s: float) -> bool:
        """One round; false: a list continues at once in the next."""
        if not self._crawls:
            crawls = [Crawl(what) for what in lists(poll_s, reconcile_s)]
            for crawl in crawls:
                await restore(connection, crawl)
            self._crawls = crawls
        for crawl in self._crawls:
            if crawl.due() and not self._aside.waits(LIST, crawl.what.name):
                with self._aside.one(LIST, crawl.what.name, most_wait_s=LIST_WAIT_MOST_S):
                    await self._read_on(connection, crawl)
        if time.time() - self._series_s >= reconcile_s and not self._aside.waits(LIST, SERIES):
            with self._aside.one(LIST, SERIES, most_wait_s=LIST_WAIT_MOST_S):
                began_s = time.time()
                await self._put(connection, "series", "ticker", await self._rest.series(), _named)
                self._series_s = began_s
        await self._by_name(connection, "markets", SQL["markets_missing"])
        await self._by_name(connection, "events", SQL["events_missing"])
        self.polls += 1
        return not any(c.reading and not self._aside.waits(LIST, c.what.name) for c in self._crawls)

    def ages_s(self) -> dict[str, float]:
        """By group of lists: the age of the oldest last whole reading; since the start, if there was none."""
        now = time.time()
        ages = {SERIES: now - (self._series_s or self._began_s)}
        for crawl in self._crawls:
            age = now - (crawl.whole_s or self._began_s)
            ages[crawl.what.group] = max(age, ages.get(crawl.what.group, 0.0))
        return ages

    async def _read_on(self, connection: asyncpg.Connection, crawl: Crawl) -> None:
        what = crawl.what
        known = self._aside.entry(LIST, what.name)
        if known is not None and known.tries % CURSOR_TRIES == 0:
            crawl.begin_again()

        async def take(page: Page) -> None:
            if what.field == "markets":
                await self._put_markets(connection, page)
            else:
                await self._put(connection, "events", "event_ticker", page, _named)

        exclude = {} if self._combos or what.field != "markets" else {"mve_filter": "exclude"}
        try:
            ended = await crawl.read(self._rest, take, PAGES_A_ROUND, exclude)
            if ended and what.name == OPEN and not crawl.rows and await connection.fetchval(SQL["any_open_market"]):
                raise OddAnswer("the list of open markets is empty, and a minute ago it was not")
            if ended:
                crawl.finish()
        finally:
            if not connection.is_closed():
                await keep(connection, crawl)

    async def _by_name(self, connection: asyncpg.Connection, field: str, missing: str) -> None:
        """What others name and no list has shown (yet)."""
        rows = await connection.fetch(missing, NAMED_A_ROUND)
        wanted = [row[0] for row in rows if self._combos or not row[0].startswith(COMBO_PREFIX)]
        now = time.time()
        self._asked = {name: at for name, at in self._asked.items() if now - at < LIST_WAIT_MOST_S}
        for group in packed(name for name in wanted if name not in self._asked):
            key = f"{field} by name"
            if self._aside.waits(LIST, key):
                return
            with self._aside.one(LIST, key, most_wait_s=LIST_WAIT_MOST_S):
                self._asked.update(dict.fromkeys(group, now))
                page = await self._rest.named(f"/{field}", field, group)
                if field == "markets":
                    await self._put_markets(connection, page)
                else:
                    await self._put(connection, "events", "event_ticker", page, _named)

    async def _put_markets(self, connection: asyncpg.Connection, page: Page) -> None:
        held = await self._put(connection, "markets", "ticker", page, _market)
        combos = {name: raw for name, raw in held.items() if name.startswith(COMBO_PREFIX)}
        if combos:
            await put_metadata(connection, SQL["put_combo_events"], "events", [list(combos), list(combos.values())])

    async def _put(
        self, connection: asyncpg.Connection, relation: str, key: str, rows: Page, check: Check
    ) -> dict[str, str]:
        """Store what a page lists, but for what is stored as it is; returns what was: names, and objects as texts."""
        unique: dict[str, str] = {}
        for row in rows:
            try:
                name = row[key]
                if not is_ticker(name):
                    raise NumberError(f"{key} is {name!r:.100}")
                check(row)
                unique[name] = json.dumps(row)  # a page may list a row twice while it changes
            except (LookupError, TypeError, ValueError) as error:
                self._refuse(repr(row.get(key)) if isinstance(row, dict) else repr(row), error)
        stored = self._stored[relation]
        new = {name: raw for name, raw in unique.items() if stored.get(name) != hash(raw)}
        refused = await self._put_new(connection, relation, new) if new else {}
        for name, why in refused.items():
            del new[name], unique[name]
            self._refuse(repr(name), why)
        for name in self._aside.keys(ROW) & {repr(name) for name in unique}:
            self._aside.mended(ROW, name)
        for name, raw in new.items():
            stored.pop(name, None)
            stored[name] = hash(raw)
        while len(stored) > STORED_MAX:
            del stored[next(iter(stored))]
        return new

    async def _put_new(
        self, connection: asyncpg.Connection, relation: str, new: dict[str, str]
    ) -> dict[str, Exception]:
        """Returns those that the database cannot hold."""
        refused: dict[str, Exception] = {}
        try:
            await put_metadata(connection, RELATIONS[relation], relation, [list(new), list(new.values())])
        except REFUSALS:
            for name, raw in new.items():  # one of them cannot be held: the others can
                try:
                    await put_metadata(connection, RELATIONS[relation], relation, [[name], [raw]])
                except REFUSALS as error:
                    refused[name] = error
        return refused

    def _refuse(self, name: str, error: Exception) -> None:
        self.refused += 1
        self._aside.note(ROW, name, error)


def _named(row: Any) -> None:
    """An event or a series needs its name alone."""
    if not isinstance(row, dict):
        raise NumberError("not an object")


def _market(row: Any) -> None:
    """What a market needs: a status and times that are some; without them its time line would be another."""
    if not isinstance(row, dict) or not isinstance(row.get("status"), str) or not row["status"]:
        raise NumberError(f"status is {row.get('status')!r:.50}" if isinstance(row, dict) else "not an object")
    for name, needed in (("open_time", True), ("close_time", True), ("settlement_ts", False)):
        text = row.get(name)
        at = parse_time(text) if isinstance(text, str) else None
        if (text is None and needed) or (text is not None and (at is None or not 1970 <= at.year < YEARS_BEFORE)):
            raise NumberError(f"{name} is {text!r:.50}")
    volume = row.get("volume_fp")
    if volume is not None and (not isinstance(volume, str) or _VOLUME.fullmatch(volume) is None):
        raise NumberError(f"volume_fp is {volume!r:.50}")
