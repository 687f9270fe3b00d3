"""`fleet verify` finds nothing in a sound production, and whatever is spoilt in it."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from common.comparison import Comparison
from common.storage.database import connect
from fleet.checks.verify import compare_books
from tests.support.fleet_case import judge, running
from workshop.rehearsal.local import FleetPlan, LocalFleet

START = datetime(2026, 11, 21, tzinfo=UTC)


async def verdict(fleet: LocalFleet) -> tuple[int, dict[str, dict[str, Any]]]:
    """What the command prints, by the first word of each check, and its exit code."""
    command = ["fleet", "verify", "--json", "--config", str(fleet.config("deduplicator"))]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await process.communicate()
    assert process.returncode in (0, 1), error.decode()
    findings = json.loads(out)
    return process.returncode or 0, {f["check"].split(":")[0]: f for f in findings}


async def spoil(fleet: LocalFleet, *statements: str) -> None:
    """Change production directly."""
    connection = await connect(fleet.production_dsn)
    for statement in statements:
        assert not (await connection.execute(statement)).endswith(" 0"), statement
    await connection.close()


LATER = "exchange_ts > (SELECT min(exchange_ts) FROM store.deltas)"
ONE = "(market, exchange_ts, ordinal) = (SELECT market, exchange_ts, ordinal FROM store.deltas d WHERE {} LIMIT 1)"
TRADED = "EXISTS (SELECT FROM store.trades t WHERE t.market = d.market AND t.exchange_ts = d.exchange_ts)"
FIRST_OF_TWO = (
    "ordinal = 0 AND EXISTS (SELECT FROM store.deltas e WHERE e.market = d.market AND e.exchange_ts = d.exchange_ts"
    " AND e.ordinal = 1)"
)
BOOKED = (
    "(SELECT count(*) FROM store.snapshots s WHERE s.market = d.market AND s.exchange_ts < d.exchange_ts) > 0 AND"
    " EXISTS (SELECT FROM store.snapshots s WHERE s.market = d.market AND s.exchange_ts > d.exchange_ts)"
)


async def test_a_sound_production_is_verified_and_every_spoilt_one_is_not() -> None:
    """A lost change, an altered one, a trade without its change, a gap that is none, a batch without an account."""
    plan = FleetPlan(simulator=("--markets", "8", "--rate", "300"), overrides={"snapshots": {"audit": "2s"}})
    async with running(plan) as fleet:
        await asyncio.sleep(6)
        await fleet.fault("drop", key="gatherer-a", count=2)
        await asyncio.sleep(6)
        await judge(fleet, strict=True)
        code, found = await verdict(fleet)
        assert code == 0, found
        assert all(f["compared"] > 20 for name, f in found.items() if name not in ("coverage", "exports")), found
        assert {"gatherer-a", "gatherer-b", "gatherer-c", "books", "trades"} <= found.keys()

        await spoil(fleet, f"UPDATE store.deltas SET delta = delta + 100 WHERE {ONE.format(BOOKED)}")
        code, found = await verdict(fleet)
        assert code == 1 and found["books"]["failed"], found["books"]

        await spoil(fleet, f"DELETE FROM store.deltas WHERE {ONE.format(FIRST_OF_TWO)}")
        _, found = await verdict(fleet)
        assert found["ordinals"]["failed"] == 1 and found["accounts"]["failed"] == 1, found

        await spoil(fleet, f"UPDATE store.deltas SET side = 1 - side WHERE {ONE.format(TRADED)}")
        await spoil(
            fleet,
            "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)"
            " SELECT market, channel, from_ts, to_ts, 'not_recorded', '{}' FROM store.claims"
            " WHERE channel = 'orderbook_delta' AND to_ts > from_ts + interval '1 second' LIMIT 1",
            "DELETE FROM store.accounts WHERE from_batch > 1 AND gatherer = 1 AND from_batch ="
            " (SELECT min(from_batch) FROM store.accounts WHERE from_batch > 1 AND gatherer = 1)",
            f"UPDATE store.deltas SET price = price + 1 WHERE {ONE.format(LATER)}",
        )
        _, found = await verdict(fleet)
        assert found["coverage"]["failed"] and found["accounts"]["failed"] > 1, found

        await spoil(fleet, "UPDATE store.deltas SET price = price + 1")
        _, found = await verdict(fleet)
        assert all(found[name]["failed"] for name in ("gatherer-a", "gatherer-b", "gatherer-c", "trades")), found


def snapshot(at: int, ordinal: int, *yes: int, reset: bool = False, taken: int | None = None) -> dict[str, Any]:
    """A snapshot so many seconds after the start."""
    seen = START + timedelta(seconds=at if taken is None else taken)
    place = {"exchange_ts": START + timedelta(seconds=at), "after_ordinal": ordinal, "taken_at": seen}
    return {**place, "is_reset": reset, "yes": list(yes), "no": []}


def change(at: int, ordinal: int, delta: int) -> dict[str, Any]:
    """A change of the one level."""
    return {"exchange_ts": START + timedelta(seconds=at), "ordinal": ordinal, "side": 0, "price": 10, "delta": delta}


def compared(
    snapshots: list[dict[str, Any]], changes: list[dict[str, Any]], gaps: list[tuple[datetime, datetime]]
) -> tuple[int, list[Any]]:
    """How many books, and those that are others. No book is one that cannot be."""
    finding, possible = Comparison("books"), Comparison("possible")
    compare_books("KXA", snapshots, changes, gaps, finding, possible)
    assert not possible.failed
    return finding.compared, finding.examples


def other(at: int) -> str:
    """What is said of a book so many seconds after the start."""
    return f"KXA {START + timedelta(seconds=at)}: the folded book is another"


def test_books_are_compared_place_by_place_but_not_across_gaps_or_near_resets() -> None:
    """The place of a snapshot is after its ordinal; what lies in a gap or at a reset gives no verdict."""
    snapshots = [
        snapshot(0, -1, 10, 5),
        snapshot(100, 0, 10, 6),
        snapshot(100, 1, 10, 8),
        snapshot(200, -1, 10, 9),
        snapshot(300, 0, reset=True),
        snapshot(310, 0, 10, 1),
        snapshot(400, 0, 10, 2),
    ]
    changes = [change(100, 0, 1), change(100, 1, 2), change(200, 0, 1), change(310, 0, 7), change(400, 0, 1)]
    gap = (START + timedelta(seconds=150), START + timedelta(seconds=160))
    assert compared(snapshots, changes, [gap]) == (3, [])
    assert compared(snapshots, changes, []) == (4, [other(200)])


def test_books_of_a_quiet_stretch_are_compared_in_the_order_in_which_they_were_taken() -> None:
    """A reset lies before books that were taken before it; what was taken after it may lie where the reset does."""
    snapshots = [
        snapshot(0, -1, 10, 5),
        snapshot(100, 0, 10, 6),
        snapshot(100, 0, reset=True, taken=1000),
        snapshot(500, -1, 10, 6),
        snapshot(1200, -1),
        snapshot(1300, 0, 10, 4),
    ]
    changes = [change(100, 0, 1), change(1300, 0, 4)]
    assert compared(snapshots, changes, []) == (3, [])
    wrong = [*snapshots[:3], snapshot(500, -1, 10, 7), *snapshots[4:]]
    assert compared(wrong, changes, []) == (3, [other(500)])


def at_ms(ms: int, ordinal: int, side: int, price: int, delta: int) -> dict[str, Any]:
    """A change so many milliseconds after the start."""
    at = START + timedelta(milliseconds=ms)
    return {"exchange_ts": at, "ordinal": ordinal, "side": side, "price": price, "delta": delta}


def test_between_two_books_no_book_may_be_that_cannot_be() -> None:
    """Crossed within a millisecond it may be; at its end neither crossed nor below nothing, but where it may go on."""
    changes = [
        at_ms(1, 0, 0, 6000, 5),
        at_ms(2, 0, 1, 4000, 5),
        at_ms(2, 1, 0, 6000, -5),
        at_ms(3, 0, 1, 9000, 1),
        at_ms(3, 1, 0, 1000, 1),
        at_ms(9, 0, 1, 9000, -1),
        at_ms(10, 0, 1, 9000, 1),
    ]
    last = {"exchange_ts": START + timedelta(milliseconds=10), "after_ordinal": 0, "taken_at": START}
    snapshots = [snapshot(0, -1), {**last, "is_reset": False, "yes": [1000, 1], "no": [4000, 5, 9000, 1]}]

    def judged(changes: list[dict[str, Any]]) -> Comparison:
        possible, finding = Comparison("possible"), Comparison("books")
        compare_books("KXA", snapshots, changes, [], finding, possible)
        assert finding.compared == 1
        return possible

    found = judged(changes)
    crossed = f"KXA {START + timedelta(milliseconds=3)}: crossed, or a level below nothing"
    assert (found.compared, found.examples) == (4, [crossed])
    found = judged([*changes[:3], at_ms(3, 0, 1, 3000, -1), at_ms(4, 0, 1, 3000, 1), *changes[6:]])
    assert (found.compared, found.examples) == (4, [crossed])
    assert not judged([*changes[:3], *changes[6:]]).failed, "the next book's millisecond may go on after it"
