"""One gatherer against the simulator, and the comparison of its local tables with what the simulator delivered."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from common.contract.gatherer_status import GathererStatus
from common.storage.embedded import attach_dsn
from workshop.rehearsal.local import FleetPlan, LocalFleet
from workshop.rehearsal.truth import Truth

NAME = "gatherer-a"
ROW_TYPES = ("orderbook_delta", "trade")


@contextlib.asynccontextmanager
async def gathering(*simulator: str, **plan: Any) -> AsyncIterator[LocalFleet]:
    """A simulator with a delivered log, and one ready gatherer."""
    async with LocalFleet(FleetPlan(gatherers=(NAME,), simulator=simulator, **plan)) as fleet:
        await fleet.start_simulator("--delivered", str(fleet.folder / "delivered.ndjson"))
        fleet.start_gatherer(NAME)
        await fleet.ready(NAME)
        yield fleet


async def local(fleet: LocalFleet, statement: str, *arguments: Any) -> list[asyncpg.Record]:
    """Ask the gatherer's own database."""
    connection = await asyncpg.connect(attach_dsn(fleet.gatherer_dsn(NAME)))
    try:
        return list(await connection.fetch(statement, *arguments))
    finally:
        await connection.close()


async def status_of(fleet: LocalFleet) -> GathererStatus:
    """The gatherer's state; it must answer."""
    status = await fleet.gatherer_status(NAME)
    assert status is not None, fleet.log_tail(NAME)
    return status


def pid_of(pid: int | None) -> int:
    """The process, which must be there."""
    assert pid is not None
    return pid


async def caught_up(fleet: LocalFleet, timeout_s: float = 60) -> None:
    """Wait until the loaders have everything that was written by now, three times in a row.

    Answers to probes are still written, so a loader is seldom level with its journal at the moment of a look.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    for _ in range(3):
        await asyncio.sleep(0.35)
        written: dict[int, tuple[int, int]] = {}
        while True:
            assert asyncio.get_running_loop().time() < deadline, f"the loaders do not catch up with {written}"
            status = await fleet.gatherer_status(NAME)
            if status is not None and status.ready == "ready":
                lanes = [lane for lane in status.lanes if lane.state == "open"]
                written = written or {lane.lane: lane.written for lane in lanes}
                if all(lane.loaded >= written.get(lane.lane, (0, 0)) for lane in lanes):
                    break
            await asyncio.sleep(0.1)


async def settle(fleet: LocalFleet) -> None:
    """Stop the flow; wait until everything that was sent is in the tables."""
    await fleet.control("/pause", {})
    await fleet.ready(NAME)
    await asyncio.sleep(0.5)
    await caught_up(fleet)
    await fleet.control("/finish", {})


@dataclass
class Sent:
    """What the simulator sent on one connection, in order: (sid, seq, type, key of the row), and whether it ended."""

    frames: list[tuple[int, int, str, Any]] = field(default_factory=list)
    closed: bool = False

    def breaks(self) -> list[tuple[int, int, int, int]]:
        """Where the numbering breaks: (index of the frame, sid, expected, received)."""
        expected: dict[int, int] = {}
        found = []
        for index, (sid, seq, type_, _) in enumerate(self.frames):
            if sid in expected and expected[sid] != seq:
                found.append((index, sid, expected[sid], seq))
            expected[sid] = seq + 1
            if type_ in ("terminal", "unsubscribed"):
                del expected[sid]
        return found


def delivered(fleet: LocalFleet) -> dict[int, Sent]:
    """The delivered log of the gatherer, by connection."""
    sent: dict[int, Sent] = defaultdict(Sent)
    with (fleet.folder / "delivered.ndjson").open() as lines:
        for line in lines:
            row = json.loads(line)
            if row["key"] != NAME:
                continue
            if row.get("closed"):
                sent[row["connection"]].closed = True
                continue
            try:
                frame = json.loads(row["frame"])
            except ValueError:
                continue
            if isinstance(frame, dict) and "sid" in frame and "seq" in frame:
                type_, msg = frame["type"], frame.get("msg", {})
                if type_ == "error" and msg.get("code") in (10, 25):
                    type_ = "terminal"
                key: Any = None
                if type_ == "orderbook_delta":
                    key = (msg["market_ticker"], msg.get("ts_ms"), msg["price_dollars"], msg["delta_fp"])
                elif type_ == "trade":
                    key = msg["trade_id"]
                sent[row["connection"]].frames.append((frame["sid"], frame["seq"], type_, key))
    return dict(sent)


async def check_local(fleet: LocalFleet) -> dict[str, int]:
    """Every frame that was delivered is in the tables, once, and breaks stand exactly where the numbering breaks.

    A connection that ended may have lost its last frames with it: then the tables hold an unbroken beginning of what
    was sent. Returns how much was compared.
    """
    sent = delivered(fleet)
    rows: dict[int, Counter[tuple[int, int]]] = defaultdict(Counter)
    keys: dict[int, dict[tuple[int, int], Any]] = defaultdict(dict)
    for r in await local(
        fleet,
        "SELECT s.session, s.sid, d.seq, m.ticker, d.exchange_ms, d.price, d.delta FROM deltas d JOIN runs r"
        " ON (r.lane, r.run) = (d.lane, d.run) JOIN slices s ON (s.lane, s.slice) = (r.lane, r.slice)"
        " JOIN markets m ON m.market = d.market",
    ):
        at = (r["sid"], r["seq"])
        rows[r["session"]][at] += 1
        price, delta = f"{r['price'] / 10000:.4f}", f"{r['delta'] / 100:.2f}"
        keys[r["session"]][at] = (r["ticker"], r["exchange_ms"], price, delta)
    for r in await local(
        fleet,
        "SELECT s.session, s.sid, t.seq, t.trade_id FROM trades t"
        " JOIN slices s ON (s.lane, s.slice) = (t.lane, t.slice)",
    ):
        rows[r["session"]][r["sid"], r["seq"]] += 1
        keys[r["session"]][r["sid"], r["seq"]] = str(r["trade_id"])
    for r in await local(fleet, "SELECT session, sid, seq FROM quarantine WHERE seq > 0"):
        rows[r["session"]][r["sid"], r["seq"]] += 1
    breaks: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for r in await local(
        fleet, "SELECT * FROM breaks WHERE reason IN ('gap', 'repeat_or_decrease') ORDER BY lane, batch, at_us"
    ):
        breaks[r["session"]].append((r["sid"], r["expected"], r["received"]))

    owner = {(n, f[0], f[1], f[3]): n for n, s in sent.items() for f in s.frames if f[3] is not None}
    matched: dict[int, int] = {}
    for session, found in keys.items():
        (sid, seq), key = next(iter(sorted(found.items())))
        candidates = [n for n in sent if (n, sid, seq, key) in owner]
        assert len(candidates) == 1, f"session {session} matches connections {candidates}"
        matched[candidates[0]] = session
    compared = Counter[str]()
    for number, one in sent.items():
        wanted = [(i, (f[0], f[1])) for i, f in enumerate(one.frames) if f[2] in ROW_TYPES]
        session = matched.get(number, 0)
        have = rows.get(session, Counter())
        last = max((i for i, at in wanted if at in have), default=-1)
        if not one.closed:
            assert session or not wanted, f"connection {number} is unknown: {len(wanted)} frames are lost"
            last = len(one.frames)
        missing = Counter(at for i, at in wanted if i <= last) - have
        assert not missing, f"connection {number}: lost {list(missing)[:5]} of {len(wanted)}"
        extra = have - Counter(at for _, at in wanted)
        odd = {(f[0], f[1]) for f in one.frames if f[2] not in ROW_TYPES}
        assert not set(extra) - odd, f"connection {number}: too many {list(extra)[:5]}"
        by_place = {(f[0], f[1]): f[3] for f in one.frames if f[3] is not None}
        for at, key in keys.get(session, {}).items():
            assert by_place[at] == key, f"connection {number} {at}: {key} is not {by_place[at]}"
        expected = one.breaks()
        listed = breaks.get(session, [])
        assert listed == [b[1:] for b in expected[: len(listed)]], f"connection {number}: {listed} is not {expected}"
        if session:
            must = [b for b in expected if b[0] <= last]
            assert len(listed) >= len(must), f"connection {number}: {len(must)} breaks, {len(listed)} listed"
        compared["frames"] += sum(have.values())
        compared["breaks"] += len(listed)
        compared["connections"] += bool(session)
    return compared


async def check_ordinals(fleet: LocalFleet) -> int:
    """Every placed row is the exchange's change of that identity, at most once; returns how many were compared."""
    truth = Truth.read(fleet.truth)
    rows = await local(
        fleet,
        "SELECT m.ticker, d.exchange_ms, d.ordinal, d.side, d.price, d.delta, d.lane, d.run"
        " FROM deltas d JOIN markets m USING (market) WHERE d.ordinal >= 0",
    )
    seen = Counter((r["lane"], r["run"], r["ticker"], r["exchange_ms"], r["ordinal"]) for r in rows)
    twice = [identity for identity, count in seen.items() if count > 1]
    assert not twice, f"loaded twice: {twice[:3]}"
    for r in rows:
        side, price, delta, _ = truth.deltas[(r["ticker"], r["exchange_ms"], r["ordinal"])]
        assert (side == "no", int(price * 10000), int(delta * 100)) == (r["side"] == 1, r["price"], r["delta"])
    return len(rows)
