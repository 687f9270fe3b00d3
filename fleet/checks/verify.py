"""`fleet verify`: what production can be checked for without the exchange, and what each gatherer still has against it.

Every check counts what it looked at, and what contradicts the promise. Nothing is written. A check that had nothing to
look at is reported as that; it is no proof.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import numpy as np

from common.comparison import Comparison
from common.config.schema import DeduplicatorConfig, GathererSource
from common.contract.sides import NO, YES
from common.errors import StorageError
from common.numbers import ONE_MS, datetime_of_ms, ms_of_datetime
from common.storage.database import CLIENT_ERRORS, connect, connected
from deduplicator.statements import SQL as CHECKS
from fleet.statements import SQL
from kalshi_fleet.events import Levels, levels_of
from kalshi_fleet.fold import fold

NEAR_RESET: Final = timedelta(seconds=15)  # at a reset's place a snapshot may equal either side (rule 9)
STANDSTILL: Final = timedelta(minutes=15)
SAMPLES: Final = 20  # stretches of batches of each gatherer
SAMPLE_BATCHES: Final = 5
SAMPLE_ROWS: Final = 5000


async def verify(
    config: DeduplicatorConfig, dsn: str, since: datetime, until: datetime, markets: int, seed: int | None = None
) -> AsyncIterator[Comparison]:
    """All checks over exchange times from `since` to `until`; `markets`: how many markets' books are folded."""
    rng = random.Random(seed)
    async with connected(dsn) as connection:
        yield await _coverage(connection, since)
        yield await _accounts(connection)
        yield await _ordinals(connection, since, until)
        for finding in await _books(connection, since, until, markets):
            yield finding
        yield await _twins(connection, since, until)
        yield await _exported(connection, since, until)
        for source in config.gatherers:
            yield await _gatherer(connection, source, rng)


async def _coverage(connection: asyncpg.Connection, since: datetime) -> Comparison:
    finding = Comparison("coverage: covered or listed, never both, never standing still")
    finding.compared = await connection.fetchval(SQL["verify_lines"])
    for row in await connection.fetch(SQL["verify_gap_overlaps"], since):
        finding.fail(f"{row['ticker']} {row['channel']} {row['started_at']} to {row['ended_at']}: under {row['other']}")
    for row in await connection.fetch(SQL["verify_unsealed"], STANDSTILL):
        finding.fail(f"{row['ticker']} {row['channel']}: sealed up to {row['sealed_until']} only")
    return finding


async def _accounts(connection: asyncpg.Connection) -> Comparison:
    """The five fates of a delta frame add up by a constraint of the table; here: no batch is left out, and the sum."""
    finding = Comparison("accounts: every batch once, and as many changes as were inserted")
    finding.compared = await connection.fetchval(SQL["verify_accounts"])
    for row in await connection.fetch(SQL["account_gaps"]):
        finding.fail(f"gatherer {row['gatherer']}: batches before {row['from_batch']} have no account")
    sums = await connection.fetchrow(SQL["verify_inserted"])
    if sums["inserted"] != sums["stored"]:
        finding.fail(f"{sums['inserted']} changes were inserted, {sums['stored']} are stored")
    return finding


async def _ordinals(connection: asyncpg.Connection, since: datetime, until: datetime) -> Comparison:
    finding = Comparison("ordinals: 0, 1, 2 ... in every covered millisecond")
    finding.compared = await connection.fetchval(SQL["verify_stored"], since, until)
    for row in await connection.fetch(SQL["verify_ordinals"], since, until):
        finding.fail(f"{row['ticker']} {row['exchange_ts']}: {row['changes']} changes, up to {row['greatest']}")
    return finding


async def _books(
    connection: asyncpg.Connection, since: datetime, until: datetime, markets: int
) -> tuple[Comparison, Comparison]:
    """Each market up to its seal: after it changes, or a gap, may still come. A seal only rises."""
    finding = Comparison("books: changes folded from one snapshot give the next")
    possible = Comparison("possible: no book is crossed, nor below nothing, at the end of a millisecond")
    for market, ticker, sealed_until in await connection.fetch(SQL["verify_markets"], since, until, markets):
        window = (market, since, until)
        # As of one moment: a heal between two of them would bring changes, or take a gap away, that the other has not.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshots = await connection.fetch(SQL["verify_books"], *window)
            changes = await connection.fetch(SQL["verify_changes"], *window)
            gaps = [(g["started_at"], g["ended_at"]) for g in await connection.fetch(SQL["verify_gaps_of"], market)]
        if sealed_until is not None:
            gaps.append((sealed_until - ONE_MS, until))
        compare_books(ticker, snapshots, changes, gaps, finding, possible)
    return finding, possible


def between(
    snapshots: list[Any], changes: list[Any], gaps: list[tuple[datetime, datetime]]
) -> Iterator[tuple[Levels, list[Any], Any]]:
    """From each snapshot of a market to the next: the book, the changes up to the next one's place, the next one.

    Of snapshots that no change lies between the order is that in which they were taken, as in `store.base_at`. Not
    across an open gap, and not near a reset: its place, or when it was seen.
    """
    resets = [s[at] for s in snapshots if s["is_reset"] for at in ("exchange_ts", "taken_at")]
    places = [(change["exchange_ts"], change["ordinal"]) for change in changes]
    before = [bisect.bisect_right(places, (s["exchange_ts"], s["after_ordinal"])) for s in snapshots]
    order = sorted(range(len(snapshots)), key=lambda n: (before[n], snapshots[n]["taken_at"], snapshots[n]["is_reset"]))
    book: Levels = {}
    known_at: datetime | None = None
    done = 0
    for n in order:
        snapshot, end = snapshots[n], before[n]
        at, taken_at = snapshot["exchange_ts"], snapshot["taken_at"]
        cut = known_at is None or any(start < max(at, known_at) and min(at, known_at) < end for start, end in gaps)
        near = any(abs(moment - reset) <= NEAR_RESET for moment in (at, taken_at) for reset in resets)
        if not (cut or near or snapshot["is_reset"]):
            yield book, changes[done:end], snapshot
        book, known_at, done = _book(snapshot), at, end


def compare_books(
    ticker: str,
    snapshots: list[Any],
    changes: list[Any],
    gaps: list[tuple[datetime, datetime]],
    finding: Comparison,
    possible: Comparison,
) -> None:
    """Fold the changes of a market from each snapshot to the next, and look at the book between them; the millisecond
    of the next one may go on after it."""
    for levels, follow, snapshot in between(snapshots, changes, gaps):
        at = snapshot["exchange_ts"]
        ms = np.array([ms_of_datetime(change["exchange_ts"]) for change in follow], np.int64)
        key = np.array([2 * change["price"] + change["side"] for change in follow], np.int64)
        delta = np.array([change["delta"] for change in follow], np.int64)
        _, bad = fold(levels, ms, key, delta, ms_of_datetime(at))
        possible.compared += int(np.count_nonzero(ms[1:] != ms[:-1])) + bool(len(ms) and ms[-1] != ms_of_datetime(at))
        if bad >= 0:
            possible.fail(f"{ticker} {datetime_of_ms(int(ms[bad]))}: crossed, or a level below nothing")
        finding.compared += 1
        if levels != _book(snapshot):
            finding.fail(f"{ticker} {at}: the folded book is another")


def _book(snapshot: Any) -> Levels:
    sides = ((YES, snapshot["yes"]), (NO, snapshot["no"]))
    return levels_of((side, *level) for side, flat in sides for level in zip(flat[::2], flat[1::2], strict=True))


async def _twins(connection: asyncpg.Connection, since: datetime, until: datetime) -> Comparison:
    finding = Comparison("trades: each has its change of the book")
    for row in await connection.fetch(CHECKS["check_trades"], since, until):
        finding.compared += row["trades"]
        if row["changes"] < row["trades"]:
            finding.fail(f"{row['ticker']} {row['exchange_ts']}: {row['trades']} trades, {row['changes']} changes")
    return finding


async def _exported(connection: asyncpg.Connection, since: datetime, until: datetime) -> Comparison:
    finding = Comparison("exports: what each exported hour was checked for")
    for row in await connection.fetch(SQL["verify_exports"], since, until):
        finding.compared += row["compared"]
        if row["failed"]:
            finding.fail(f"{row['hour']}: {row['failed']} of {row['compared']} {row['check_name']}: {row['examples']}")
    return finding


async def _gatherer(connection: asyncpg.Connection, source: GathererSource, rng: random.Random) -> Comparison:
    finding = Comparison(f"{source.id}: what it still has is in production")
    try:
        theirs = await connect(source.dsn.get_secret_value())
    except StorageError as error:
        finding.note = str(error)
        return finding
    try:
        instance = await theirs.fetchval(SQL["verify_instance"])
        lanes = await connection.fetch(SQL["verify_lanes"], instance)
        kept = await theirs.fetch(SQL["verify_kept"])
        oldest = {row["lane"]: row["batch"] for row in kept}
        for _ in range(SAMPLES if lanes else 0):
            lane, last = rng.choice(lanes)
            first = rng.randint(min(oldest.get(lane, last), last), last)
            end = min(first + SAMPLE_BATCHES - 1, last)
            rows = await theirs.fetch(SQL["verify_sample"], lane, first, end, SAMPLE_ROWS)
            finding.compared += len(rows)
            columns = list(zip(*((r[0], datetime_of_ms(r[1]), *r[2:]) for r in map(tuple, rows)), strict=True))
            for row in await connection.fetch(SQL["verify_lookup"], *columns, instance) if rows else ():
                how = "is otherwise" if row["stored"] else "is missing"
                finding.fail(f"{row['ticker']} {row['exchange_ts']} {row['ordinal']}: {how} in production")
    except CLIENT_ERRORS as error:
        finding.note = f"{type(error).__name__}: {error}"
    finally:
        await theirs.close()
    return finding
