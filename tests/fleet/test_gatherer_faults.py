"""Everything that an exchange is known to do wrong, against a running gatherer.

After each: the local tables hold every frame that was delivered, breaks stand exactly where the numbering breaks, the
processes never ended, and the gatherer is whole again.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.support.gatherer_case import check_local, check_ordinals, gathering, local, settle, status_of
from tests.support.scale import LONG
from workshop.rehearsal.local import LocalFleet

SYNTHETIC = ("--markets", "10", "--rate", "300", "--close-after", "6", "--create-after", "4")
CONNECTIONS = {"orderbook": 2, "trade": 1, "ticker": 1, "lifecycle": 1}
BOOKS = {"channel": "orderbook_delta"}

FAULTS: dict[str, dict[str, Any]] = {
    "drop": {"kind": "drop", "count": 3, **BOOKS},
    "drop trades": {"kind": "drop", "count": 1, "channel": "trade"},
    "duplicate": {"kind": "duplicate", "count": 2, **BOOKS},
    "cut": {"kind": "cut", "for_ms": 700, **BOOKS},
    "refuse 400": {"kind": "cut", "status": 400, "for_ms": 500, "channel": "trade"},
    "refuse 401": {"kind": "cut", "status": 401, "for_ms": 800},
    "refuse 429": {"kind": "cut", "status": 429, "for_ms": 500, "connection": 1},
    "mute for a moment": {"kind": "mute", "for_ms": 800, "connection": 2},
    "half-open": {"kind": "mute", "for_ms": 60_000, "connection": 1},
    "stall": {"kind": "stall", "for_ms": 2500, **BOOKS},
    "stall, then 25": {"kind": "stall", "for_ms": 1200, "code": 25, **BOOKS},
    "stall for long": {"kind": "stall", "for_ms": 12_000, "connection": 2},
    "terminal 10": {"kind": "terminal", "code": 10, **BOOKS},
    "terminal 25": {"kind": "terminal", "code": 25, "channel": "trade"},
    "quiet add": {"kind": "quiet_add", "for_ms": 3000},
    "late": {"kind": "late", "for_ms": 6000},
    "REST 503": {"kind": "http", "status": 503, "for_ms": 1500},
    "REST nonsense": {"kind": "rest_nonsense", "for_ms": 4000},
    "REST 429": {"kind": "http", "status": 429, "for_ms": 1500},
    "hidden from REST": {"kind": "hide", "for_ms": 2500},
    "lifecycle late": {"kind": "delay", "for_ms": 900},
    "ghost": {"kind": "ghost", "ticker": "KXGHOST-26-T1"},
    "restart": {"kind": "restart", "for_ms": 1000},
    "too many commands": {"kind": "command_limit", "count": 2},
    "maintenance": {"kind": "maintenance", "for_ms": 2500},
    "garbage": {"kind": "raw", "text": "}{ no frame", **BOOKS},
    "unknown type": {"kind": "raw", "text": '{"type":"brand_new","msg":{}}'},
}
UNDO = {"command_limit": {"kind": "command_limit", "count": 0}, "hide": {"kind": "hide", "for_ms": 0}}
UNDO |= {"delay": {"kind": "delay", "for_ms": 0}}


async def undo(fleet: LocalFleet, kinds: set[str]) -> None:
    """Faults that last until they are taken back."""
    for kind in kinds & UNDO.keys():
        await fleet.control("/faults", UNDO[kind])


async def whole(fleet: LocalFleet) -> None:
    """Everything is there, nothing has ended."""
    await settle(fleet)
    compared = await check_local(fleet)
    assert compared["frames"] > 300 and compared["connections"] >= 3
    assert await check_ordinals(fleet) > 200
    status = await status_of(fleet)
    assert status.ready == "ready"
    assert "rest_book_disagreed" not in status.book_checks, "REST answered truly, and the books were right"
    assert all(lane.capture_restarts == lane.loader_restarts == 0 for lane in status.lanes)
    fleet.check_alive()


def over(transport: str) -> dict[str, Any]:
    """The parts of a plan for a transport."""
    return {"connections": CONNECTIONS, "overrides": {"kalshi": {"transport": transport}}}


async def one(name: str, transport: str) -> None:
    """One fault alone."""
    fault = FAULTS[name]
    async with gathering(*SYNTHETIC, **over(transport)) as fleet:
        await asyncio.sleep(1)
        await fleet.control("/faults", fault)
        await asyncio.sleep(3)
        if name == "maintenance":
            text = "\n".join(fleet.log_tail(n, 200) for n in (NAME_LOG,))
            assert text.count("exchange_inactive") == 1, "one alert, not one a connection"
        if name == "REST nonsense":
            status = await status_of(fleet)
            assert status.set_aside["listed_row"] and not status.task_failures, "each row alone"
        if name == "ghost":
            listed = await local(fleet, "SELECT status FROM listed_markets WHERE ticker = 'KXGHOST-26-T1'")
            assert listed, "a market that REST does not know is recorded all the same"
        await asyncio.sleep(5 if fault.get("for_ms", 0) > 10_000 else 2)
        await undo(fleet, {fault["kind"]})
        await whole(fleet)


NAME_LOG = "gatherer-a"
TRANSPORTS = ("websockets", "picows", "aiohttp")
PAIRS = [
    (name, transport)
    for n, name in enumerate(sorted(FAULTS))
    for m, transport in enumerate(TRANSPORTS)
    if LONG or n % len(TRANSPORTS) == m
]
GROUPS = [PAIRS[n : n + 5] for n in range(0, len(PAIRS), 5)]


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: ", ".join(name for name, _ in g))
async def test_each_fault_alone(group: list[tuple[str, str]]) -> None:
    """Five gatherers beside each other, one fault and one transport each; with the long counts, all with all."""
    results = await asyncio.gather(*(one(*pair) for pair in group), return_exceptions=True)
    for pair, result in zip(group, results, strict=True):
        if isinstance(result, BaseException):
            raise AssertionError(f"{pair}: {result}") from result


async def mix(seed: int) -> None:
    """A dozen random faults at random moments."""
    rng = random.Random(seed)
    plan = over(TRANSPORTS[seed % 3])
    async with gathering(*SYNTHETIC, "--seed", str(seed), workers=1 + seed % 2, **plan) as fleet:
        used: set[str] = set()
        for _ in range(10):
            fault = dict(FAULTS[rng.choice(sorted(FAULTS))])
            if rng.random() < 0.3:
                fault["connection"] = rng.randrange(1, 6)
                fault.pop("channel", None) if fault["kind"] not in ("terminal", "stall") else None
            await fleet.control("/faults", fault)
            used.add(fault["kind"])
            await asyncio.sleep(rng.uniform(0.2, 1.5))
        await undo(fleet, used)
        await asyncio.sleep(2)
        await whole(fleet)


@pytest.mark.parametrize("seeds", [range(n, n + 3) for n in range(0, 51 if LONG else 6, 3)], ids=str)
async def test_random_mixes(seeds: range) -> None:
    """A failing mix is repeated by its seed."""
    results = await asyncio.gather(*(mix(seed) for seed in seeds), return_exceptions=True)
    for seed, result in zip(seeds, results, strict=True):
        if isinstance(result, BaseException):
            raise AssertionError(f"seed {seed}: {result}") from result


async def until(fleet: LocalFleet, check: str, count: int) -> None:
    """Wait until so many comparisons of books had a result."""
    for _ in range(600):
        if (await status_of(fleet)).book_checks.get(check, 0) >= count:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{check} does not reach {count}: {await status_of(fleet)}")


async def test_rest_books_agree_until_rest_and_stream_contradict_each_other() -> None:
    """Each open market's book is compared in every round; a contradiction is a row, a counter and an alarm."""
    async with gathering(*SYNTHETIC[:4], connections=CONNECTIONS, overrides={"snapshots": {"interval": "1s"}}) as fleet:
        await until(fleet, "rest_book_agreed", 20)
        status = await status_of(fleet)
        assert status.rest_books.rounds >= 2 and "rest_book_disagrees" not in status.alarms
        await fleet.control("/faults", {"kind": "lie", "for_ms": 4000})
        await until(fleet, "rest_book_disagreed", 5)
        await asyncio.sleep(4)
        await settle(fleet)
        status = await status_of(fleet)
        assert status.alarms["rest_book_disagrees"] == status.book_checks["rest_book_disagreed"]
        rows = await local(fleet, "SELECT agrees, count(*) AS n FROM rest_books GROUP BY agrees")
        counts = {r["agrees"]: r["n"] for r in rows}
        assert counts[1] >= 20 and counts[0] == status.book_checks["rest_book_disagreed"]
        prices = await local(fleet, "SELECT yes FROM rest_books WHERE agrees = 0")
        assert all(9999 in r["yes"] for r in prices), "only what REST lied about"
