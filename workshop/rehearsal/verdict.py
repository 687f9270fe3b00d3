"""The verdict: production compared with the exchange's own log, row by row, and the archive with production.

A true row that production lacks is a difference unless it lies in a listed gap. `strict` allows only gaps before a
market's first subscription: what a new market does before anybody can know of it. What is compared with is
the simulator's truth log, never anything that the fleet computed.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg

from common.comparison import Comparison
from common.contract.manifest import Manifest
from common.errors import FeedError, FeedPassed
from common.numbers import datetime_of_ms, ms_of_datetime
from common.storage.database import connect, connected
from deduplicator.archive import tables
from deduplicator.archive.hour import EXPORTS
from fleet.statements import SQL as FLEET
from kalshi_fleet.place import Location
from workshop.rehearsal.feed_mirror import Mirror, differences, read_to
from workshop.rehearsal.s3 import CREDENTIALS
from workshop.rehearsal.statements import SQL
from workshop.rehearsal.truth import Identity, Truth

OF_HOUR = {"orderbook_deltas": SQL["hour_of_deltas"], "orderbook_openings": SQL["hour_of_openings"]}
"""Relations that the export reads otherwise than they are shown."""
LIFECYCLES = ("market_lifecycle_v2", "multivariate_market_lifecycle")


@dataclass
class Check(Comparison):
    """A comparison with the truth. `listed`: how much is missing and listed as lost."""

    listed: int = 0


async def sealed_past(dsn: str, ms: int, timeout_s: float) -> bool:
    """Wait until every market's coverage is sealed past an exchange time."""
    return await _none_left(dsn, SQL["unsealed_lines"], ms, timeout_s)


async def refills_tried(dsn: str, ms: int, timeout_s: float) -> bool:
    """Wait until REST was asked about every gap of the trade channel that began before an exchange time."""
    return await _none_left(dsn, SQL["untried_refills"], ms, timeout_s)


async def _none_left(dsn: str, statement: str, ms: int, timeout_s: float) -> bool:
    connection = await connect(dsn)
    deadline = asyncio.get_running_loop().time() + timeout_s
    try:
        while await connection.fetchval(statement, ms) != 0:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.3)
        return True
    finally:
        await connection.close()


async def compare(dsn: str, truth: Truth, *, strict: bool, outages: bool = False) -> list[Check]:
    """Production against the truth. With `outages`, gaps are expected; otherwise each is a difference."""
    async with connected(dsn) as connection:
        gaps = await _gaps(connection, strict=strict)
        deltas, missing = await _deltas(connection, truth, gaps)
        return [
            deltas,
            await _trades(connection, truth, gaps),
            await _trade_order(connection, truth, missing),
            await _books(connection, truth),
            await _lifecycle(connection, truth, gaps if outages else {}),
            await _unplaced(connection, truth),
            await _feed(connection, dsn),
            await _nothing_else(connection, truth, outages=outages),
        ]


async def compare_changes(dsn: str, truth: Truth) -> list[Check]:
    """The order-book changes and trades alone; only gaps before a market's first subscription are expected."""
    async with connected(dsn) as connection:
        gaps = await _gaps(connection, strict=True)
        deltas, _ = await _deltas(connection, truth, gaps)
        return [deltas, await _trades(connection, truth, gaps)]


async def _feed(connection: asyncpg.Connection, dsn: str) -> Check:
    """What a reader of all steps holds, against the tables as of the last of them."""
    check = Check("feed = production")
    mirror = Mirror()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        last = await connection.fetchval(SQL["step"])
        try:
            await read_to(dsn, mirror, last)
        except FeedPassed as passed:
            check.note = f"steps before {passed.oldest} are no longer kept"
            return check
        except FeedError as error:
            check.fail(str(error))
        if not mirror.whole:
            check.note = "production was changed by hand, too: not compared"
            return check
        for difference in await differences(connection, mirror):
            check.fail(difference)
    check.compared = sum(rows.total() for rows in mirror.holds().values())
    return check


Gaps = dict[tuple[str, str], list[tuple[int, int, str]]]


async def _gaps(connection: asyncpg.Connection, *, strict: bool) -> Gaps:
    gaps: Gaps = {}
    for row in await connection.fetch(SQL["open_gaps"]):
        if strict and row["reason"] != "before_subscription":
            continue
        stretch = (ms_of_datetime(row["started_at"]), ms_of_datetime(row["ended_at"]), row["reason"])
        gaps.setdefault((row["ticker"], row["channel"]), []).append(stretch)
    return gaps


def _listed(gaps: Gaps, ticker: str, channel: str, ms: int) -> bool:
    return any(start <= ms < end for start, end, _ in gaps.get((ticker, channel), ()))


def _disputed(gaps: Gaps, conflicts: set[tuple[str, int]], ticker: str, ms: int) -> bool:
    """Whether nobody claims what stands of this millisecond, as copies are listed as contradicting each other there."""
    listed = gaps.get((ticker, "orderbook_delta"), ())
    return (ticker, ms) in conflicts and any(start <= ms < end and why == "conflict" for start, end, why in listed)


async def _deltas(connection: asyncpg.Connection, truth: Truth, gaps: Gaps) -> tuple[Check, set[Identity]]:
    """And the true changes that are missing."""
    check = Check("orderbook_deltas (in order, ordinals included)")
    missing = dict(truth.deltas)
    rows = await connection.fetch(SQL["conflicts"])
    conflicts = {(row["ticker"], ms_of_datetime(row["exchange_ts"])) for row in rows}
    async with connection.transaction(readonly=True):
        async for row in connection.cursor(SQL["all_deltas"], prefetch=5000):
            check.compared += 1
            identity = (row["ticker"], ms_of_datetime(row["exchange_ts"]), row["ordinal"])
            true = missing.pop(identity, None)
            stored = (row["side"], row["price"], row["delta"])
            if (true is None or stored != true[:3]) and _disputed(gaps, conflicts, *identity[:2]):
                check.listed += 1
            elif true is None:
                check.fail(f"{identity}: not on the exchange, or twice")
            elif stored != true[:3]:
                check.fail(f"{identity}: {stored}, but {true[:3]} on the exchange")
            elif row["exchange_us"] is not None and row["exchange_us"] != true[3]:
                check.fail(f"{identity}: microsecond {row['exchange_us']}, but {true[3]} on the exchange")
    for identity in missing:
        if _listed(gaps, identity[0], "orderbook_delta", identity[1]):
            check.listed += 1
        else:
            check.fail(f"{identity}: missing and not listed")
    return check, set(missing)


async def _trades(connection: asyncpg.Connection, truth: Truth, gaps: Gaps) -> Check:
    check = Check("trades (by trade_id, all fields)")
    missing = dict(truth.trades)
    for row in await connection.fetch(SQL["all_trades"]):
        check.compared += 1
        trade_id = str(row["trade_id"])
        stored = (
            row["ticker"],
            ms_of_datetime(row["exchange_ts"]),
            row["yes_price"],
            row["count"],
            row["taker_side"],
            row["is_block"],
        )
        true = missing.pop(trade_id, None)
        if true != stored:
            check.fail(f"{trade_id}: {stored}, but {true} on the exchange")
    for trade_id, true in missing.items():
        if _listed(gaps, true[0], "trade", true[1]):
            check.listed += 1
        else:
            check.fail(f"{trade_id}: missing and not listed")
    return check


async def _trade_order(connection: asyncpg.Connection, truth: Truth, missing: set[Identity]) -> Check:
    """Each trade has the ordinal of the change that it made, where nothing that is equal to the two is lost."""
    check = Check("trades in the exchange's order (ordinal of the twin)")
    stored = {str(row["trade_id"]): row["ordinal"] for row in await connection.fetch(SQL["all_trades"])}
    true = truth.trade_ordinals()
    for trade_id, ordinal in stored.items():
        place, equal_trades, equal_changes = true.get(trade_id, (None, frozenset(), frozenset()))
        if not equal_changes.isdisjoint(missing) or not equal_trades <= stored.keys():
            check.listed += 1
            continue
        check.compared += 1
        if ordinal != place:
            check.fail(f"{trade_id}: ordinal {ordinal}, but {place} on the exchange")
    return check


async def _books(connection: asyncpg.Connection, truth: Truth) -> Check:
    check = Check("books at the end (book_at)")
    for ticker, book in truth.books.items():
        check.compared += 1
        rows = await connection.fetch(SQL["book"], ticker)
        stored = {(row["side"], row["price"]): row["size"] for row in rows}
        if stored != book:
            check.fail(f"{ticker}: {len(stored)} levels, {len(book)} on the exchange: {_first_level(stored, book)}")
    return check


def _first_level(stored: dict[tuple[str, Decimal], Decimal], book: dict[tuple[str, Decimal], Decimal]) -> str:
    wrong = next(key for key in {*stored, *book} if stored.get(key) != book.get(key))
    return f"{wrong[0]} {wrong[1]}: {stored.get(wrong)}, {book.get(wrong)} on the exchange"


async def _lifecycle(connection: asyncpg.Connection, truth: Truth, gaps: Gaps) -> Check:
    check = Check("lifecycle_events (by market and type)")
    # The channel carries all markets at once; what is sent of a new one may be before its own time line begins.
    outages = {gap for (_, channel), found in gaps.items() if channel in LIFECYCLES for gap in found}
    stored = Counter(
        {(row["ticker"], row["event_type"]): row["events"] for row in await connection.fetch(SQL["lifecycle_counts"])}
    )
    for key in {*stored, *truth.lifecycle}:
        check.compared += 1
        lost = sum(any(start <= ms < end for start, end, _ in outages) for ms in truth.lifecycle_ms.get(key, ()))
        missing = truth.lifecycle.get(key, 0) - stored[key]
        if 0 < missing <= lost:
            check.listed += missing
        elif missing:
            check.fail(f"{key}: {stored[key]}, {truth.lifecycle.get(key, 0)} on the exchange")
    return check


async def _unplaced(connection: asyncpg.Connection, truth: Truth) -> Check:
    """Every unplaced row is a true change of its millisecond."""
    check = Check("unplaced_deltas (each is a true change)")
    by_ms: dict[tuple[str, int], set[tuple[str, Decimal, Decimal]]] = {}
    for (ticker, ms, _), change in truth.deltas.items():
        by_ms.setdefault((ticker, ms), set()).add(change[:3])
    for row in await connection.fetch(SQL["unplaced"]):
        check.compared += 1
        ms = ms_of_datetime(row["exchange_ts"])
        if (row["side"], row["price"], row["delta"]) not in by_ms.get((row["ticker"], ms), set()):
            check.fail(f"{row['ticker']} {ms}: not on the exchange")
    return check


async def _nothing_else(connection: asyncpg.Connection, truth: Truth, *, outages: bool) -> Check:
    """No conflicts, accounts that add up, and no gap that is not explained.

    After the exchange's last event gatherers may have been stopped: a gap that begins then is as it should be.
    """
    check = Check("gaps, conflicts and accounts")
    for row in await connection.fetch(SQL["conflict_counts"]):
        check.fail(f"{row['n']} conflicts of kind {row['kind']}")
    for row in await connection.fetch(SQL["gap_counts"], datetime_of_ms(truth.last_ms)):
        check.compared += row["gaps"]
        if row["reason"] != "before_subscription" and not outages:
            check.fail(f"{row['gaps']} gaps on {row['channel']}: {row['reason']}")
    for row in await connection.fetch(FLEET["account_gaps"]):
        check.fail(f"batches of gatherer {row['gatherer']} before {row['from_batch']} have no account")
    return check


async def compare_archive(dsn: str, s3: Any, bucket: str, manifests: list[Manifest], truth: Truth) -> list[Check]:
    """Every hourly relation of the exported hours: the Parquet objects against production. And the last hour alone."""
    async with connected(dsn) as connection:
        relations = [await _relation(connection, s3, bucket, manifests, name, truth) for name in tables.HOURLY]
    hour = max(manifest.hour for manifest in manifests)
    alone = await asyncio.to_thread(_alone, f"s3://{bucket}", s3.meta.endpoint_url, hour, truth)
    return [*relations, _checked(manifests), alone]


def _alone(location: str, endpoint_url: str, hour: datetime, truth: Truth) -> Check:
    """The books at the end of an hour, from that hour's objects and no others."""
    from fleet.queries.archive import Archive
    from fleet.queries.library import load_archive

    check = Check("closing books, from the last hour alone")
    archive = Archive(Location(location, endpoint_url, credentials=CREDENTIALS))
    query, end = load_archive()["book"], hour + timedelta(hours=1) - timedelta(milliseconds=1)
    for ticker, book in truth.books.items():
        check.compared += 1
        rows = archive.run(query.literal({"ticker": ticker, "at": end}))
        archived = {(row["side"], row["price"]): row["size"] for row in rows}
        if archived != book:
            check.fail(f"{ticker}: {len(archived)} levels, {len(book)} on the exchange: {_first_level(archived, book)}")
    return check


def _checked(manifests: list[Manifest]) -> Check:
    """What the export itself compared: books with the changes between them, trades with their changes."""
    check = Check("checks of the exported hours")
    for manifest in manifests:
        for name, result in manifest.checks.items():
            check.compared += result.compared
            if result.failed:
                check.fail(f"{manifest.hour}: {result.failed} of {result.compared} {name}")
    return check


async def _relation(
    connection: asyncpg.Connection, s3: Any, bucket: str, manifests: list[Manifest], name: str, truth: Truth
) -> Check:
    import pyarrow.parquet as pq

    check = Check(f"Parquet {name}")
    for manifest in manifests:
        hour, stored = manifest.hour, manifest.relations[name]
        answer = await asyncio.to_thread(s3.get_object, Bucket=bucket, Key=stored.key, VersionId=stored.version_id)
        archived = pq.read_table(io.BytesIO(answer["Body"].read())).to_pylist()
        statement = OF_HOUR.get(name) or EXPORTS[name]
        until = datetime.fromtimestamp(hour.timestamp() + 3600, hour.tzinfo)
        more: tuple[list[str], ...] = ([], []) if name == "trades" else ()  # an export's own places of trades: none
        produced = [dict(row) for row in await connection.fetch(statement, hour, until, *more)]
        if name == "coverage_gaps":  # one may begin between the export and now, with the stop of the gatherers
            last = datetime_of_ms(truth.last_ms)
            archived, produced = ([row for row in rows if row["started_at"] <= last] for rows in (archived, produced))
        check.compared += len(archived)
        if len(archived) != len(produced):
            check.fail(f"{hour}: {len(archived)} rows, {len(produced)} in production")
        for left, right in zip(archived, produced, strict=False):
            if left != right:
                check.fail(f"{hour}: {left} / {right}")
    return check
