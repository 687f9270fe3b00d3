"""No frame ends anything: whatever its bytes, its nesting, its size or its types, it becomes rows or is kept apart, and
what comes after it is loaded."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.config.schema import JournalConfig
from common.errors import JournalCorrupt
from common.exchange import frames
from common.storage import migrate
from gatherer.capture.conversation.actions import Times
from gatherer.capture.conversation.conversation import Conversation
from gatherer.capture.session import Session
from gatherer.crew.reports import ConnectionReport
from gatherer.derive import messages, state
from gatherer.derive.bulk import stretch
from gatherer.derive.bulk.columns import Columns
from gatherer.derive.derivation import Derivation
from gatherer.derive.fields import FieldWatch
from gatherer.derive.quarantine import FAILED
from gatherer.journal.format import Kind, Record, SessionOpened
from gatherer.journal.reader import JournalReader
from gatherer.journal.segments import lane_folder
from gatherer.journal.writer import JournalWriter
from gatherer.load import loader as loader_
from gatherer.load.batch_writer import deltas_stream
from gatherer.load.reload import reload
from tests.support.databases import Database as Shared
from tests.support.delta_frames import FRAME, MSG
from tests.support.derivation_case import compare, journal
from tests.support.one_session import Tape
from tests.support.world import BOUNDS, START_MS, Shape, in_blocks, ticker

BITS = (
    [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x00", b"\n", b"\\", b'"', b"\\u0000", b"\\ud800", b"\\udc00"]
    + [b"null", b"true", b"{}", b"[]", b"[[", b'""', b"1.0", b"-1", b"-0", b"1e999", b"9" * 25, b"0.0000", b"1" * 400]
    + [b"[" * n + b"]" * n for n in (40, 499, 600, 1500)]
    + [b'{"a":' * n + b"1" + b"}" * n for n in (40, 600, 1500)]
    + [b'"' + b"x" * 2000 + b'"']
)


def seeds(at: int) -> list[bytes]:
    """A frame of each kind that the exchange sends, at a time."""
    book = {"market_ticker": ticker(0), "yes_dollars_fp": [["0.4700", "10.00"]], "no_dollars_fp": [["0.5", "3.00"]]}
    trade = {"trade_id": "01234567-89ab-cdef-0123-456789abcdef", "market_ticker": ticker(0), "ts_ms": at}
    trade |= {"yes_price_dollars": "0.47", "no_price_dollars": "0.53", "count_fp": "1.00", "taker_side": "yes"}
    top = {"market_ticker": ticker(0), "ts_ms": at, "price_dollars": "0.47", "volume_fp": "1.00"}
    life = {"market_ticker": ticker(0), "event_type": "created", "additional_metadata": {"a": "b", "n": 1.5}}
    numbered = {"sid": 1, "seq": 5, "sending_ts_ms": at}
    return [
        json.dumps(frame, separators=(",", ":")).encode() + b"\n"
        for frame in (
            {"type": "orderbook_delta", **numbered, "msg": {**MSG, "market_ticker": ticker(0), "ts_ms": at}},
            {"type": "orderbook_snapshot", **numbered, "msg": book},
            {"type": "trade", **numbered, "msg": trade},
            {"type": "ticker", "sid": 3, "msg": top},
            {"type": "market_lifecycle_v2", **numbered, "msg": life},
            {"type": "subscribed", "id": 1, "msg": {"channel": "orderbook_delta", "sid": 1}},
            {"type": "ok", "id": 1, **numbered, "msg": {"market_tickers": [ticker(0)]}},
            {"type": "unsubscribed", "id": 1, **numbered},
            {"type": "error", "id": 1, **numbered, "msg": {"code": 14, "msg": "x"}},
        )
    ]


def mutated(rng: random.Random, frame: bytes) -> bytes:
    """The frame with bytes put in, written over, taken out, or changed."""
    data = bytearray(frame)
    for _ in range(rng.randint(1, 4)):
        how, at = rng.random(), rng.randrange(len(data) + 1)
        if how < 0.35:
            data[at:at] = rng.choice(BITS)
        elif how < 0.6:
            data[at : at + rng.randint(1, 12)] = rng.choice(BITS)
        elif how < 0.8:
            del data[at : at + rng.randint(1, 6)]
        elif at < len(data):
            data[at] = rng.randrange(256)
    return bytes(data)


def values(rng: random.Random, frame: bytes) -> bytes:
    """The frame with a value of another type."""
    decoded = json.loads(frame)
    where = rng.choice([decoded, decoded.get("msg", decoded)])
    odd: list[Any] = [
        None,
        True,
        [],
        {},
        "",
        "\u0000",
        -1,
        0,
        1 << 40,
        1 << 70,
        1.5,
        [[]],
        {"a": [1]},
        "é" * 3000,
        "\u0000x",
    ]
    where[rng.choice([*where, "new", "n\u0000w"])] = rng.choice(odd)
    return json.dumps(decoded, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("seed", range(6))
def test_mutated_frames_mean_the_same_one_by_one_and_many_at_once(seed: int) -> None:
    """Nothing is raised either way; every change is a row or quarantined; every quarantined frame has its reason."""
    rng = random.Random(seed)
    records = journal(seed, Shape(markets=4, events=500, losses=0, cuts=0, resets=0.002), stations=2)
    for at in sorted(rng.sample(range(20, len(records)), 150), reverse=True):
        like = records[at]
        frame = rng.choice([*seeds(like.wall_us // 1000), like.payload if like.kind == Kind.FRAME else b"{}\n"])
        odd = mutated(rng, frame) if rng.random() < 0.7 else values(rng, frame)
        session = rng.choice((1001, 2001, 77))
        records.insert(at, Record(Kind.FRAME, session, like.wall_us, like.mono_us, odd))
    ways = compare(records, rng)
    assert ways["quarantined"] > 10, ways
    FieldWatch().look(in_blocks(records, rng))

    derivation = Derivation(BOUNDS, state.fresh(1))
    for record in records:
        derivation.apply(record)
    rows = derivation.take()
    assert rows.delta_frames == len(rows.deltas) + rows.delta_frames_quarantined
    assert all(q.reason and "\x00" not in q.reason and q.reason.encode() for q in rows.quarantine)
    assert FAILED not in rows.alarms


def test_how_deep_a_frame_may_be_does_not_depend_on_its_reader() -> None:
    """Near its own limit a decoder fails sooner the more calls are open: two readings would differ."""

    def at_depth(calls: int, data: bytes) -> frames.Envelope | None:
        return frames.head(data) if not calls else at_depth(calls - 1, data)

    calls = sys.getrecursionlimit() * 3 // 10
    for depth in (5, frames.DEPTH_MAX - 3, frames.DEPTH_MAX + 1, 600, 800, 900, 1500):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            levels = depth - 1  # the frame is one
            value = opening * levels + b"1" + closing * levels
            data = b'{"type":"x","sid":1,"seq":1,"msg":%b}' % value
            assert (frames.head(data) is None) == (at_depth(calls, data) is None) == (depth > frames.DEPTH_MAX)
    assert frames.head(b'{"type":"x","sid":1,"seq":1,"msg":{"a":"%b"}}' % (b"[{" * 2000)) is not None
    wide = b'{"type":"x","sid":1,"seq":1,"msg":[%b"\\""]}' % (b'["0.4700","1.00"],' * 3000)
    assert frames.head(wide) is not None
    # A change that goes through the bulk is never deep: it is too short.
    deep = json.dumps({**FRAME, "msg": {**MSG, "x": 0}}, separators=(",", ":")).encode()
    deep = deep.replace(b'"x":0', b'"x":' + b"[" * 600 + b"]" * 600) + b"\n"
    record = Record(Kind.FRAME, 1, START_MS * 1000, 1, deep)
    assert not Columns(in_blocks([record], random.Random(1))).plain.any()  # type: ignore[arg-type]


async def test_a_session_takes_frames_of_any_bytes(tmp_path: Path) -> None:
    """They are in the journal, and the conversation continues."""
    rng = random.Random(3)
    times = Times(1.0, 1.0, 10.0)
    journal_ = JournalWriter(JournalConfig(dir=tmp_path), 0)
    counters = ConnectionReport(1, "orderbook")
    opened = SessionOpened("orderbook", 1, "ws://x", clock_proven=True)
    session = Session(1, opened, Conversation("orderbook", times, 10), times, journal_, counters)
    odd = [b'{"type":"\xff","sid":1,"seq":1}', b'{"type":"x","msg":' + b"[" * 1500 + b"]" * 1500 + b"}"]
    odd += [b'{"type":"error","id":1,"msg":{"msg":"\xff"}}', b'{"type":"subscribed","id":1,"msg":{"channel":"\xc3"}}']
    odd += [b'{"type":"orderbook_snapshot","sid":1,"seq":1,"msg":{"market_ticker":"\xff"}}']
    odd += [mutated(rng, frame) for frame in seeds(START_MS) for _ in range(300)]
    for frame in odd:
        session.on_frame(frame)
    assert counters.surprises == 0
    journal_.close_inbox(session._inbox)
    journal_.close()
    reader, read = JournalReader(lane_folder(tmp_path, 0), None), []
    while (chunk := reader.read(1000)) is not None:
        read += [record.payload for record in chunk.records if record.kind == Kind.FRAME]
    assert read == odd


def odd_frames() -> Iterator[tuple[str, str, dict[str, Any], Callable[[bytes], bytes], str]]:
    """Name, type, message, what is done to its bytes, and the reason that it is kept apart for."""
    life = {"market_ticker": "M", "event_type": "metadata_updated", "title": "Cafe"}
    change = {**MSG, "market_ticker": "M", "side": "yes"}
    yield "a title cut in a character", "market_lifecycle_v2", life, lambda f: f.replace(b"Cafe", b"Caf\xc3"), "utf-8"
    yield "Latin-1", "orderbook_delta", change, lambda f: f.replace(b'"side":"yes"', b'"side":"y\xe9s"'), "utf-8"
    deep = b"[" * 1500 + b"]" * 1500
    yield "deep", "market_lifecycle_v2", life, lambda f: f.replace(b'"Cafe"', deep), "not_a_frame"
    yield "an unknown type with bad bytes", "news", life, lambda f: f.replace(b"Cafe", b"\xff"), "unknown_type"
    yield (
        "a NUL in a name",
        "orderbook_snapshot",
        {"market_ticker": "M", "levels\u0000": [["0.47", "1.00"]]},
        (lambda f: f),
        "levels\\0",
    )


@pytest.mark.parametrize(
    ("name", "type_", "msg", "raw", "reason"), list(odd_frames()), ids=lambda v: v if isinstance(v, str) else ""
)
async def test_the_loader_continues_after_any_frame(
    server: Shared, tmp_path: Path, name: str, type_: str, msg: dict[str, Any], raw: Any, reason: str
) -> None:
    """It is quarantined as it came, at the first reading, and all else is loaded."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    tape = Tape(tmp_path, server.dsn)
    tape.book("M")
    tape.change("M")
    tape.put(type_, msg, raw=raw)
    for _ in range(20):
        tape.change("M")
    connection = await tape.load()
    assert await connection.fetchval("SELECT count(*) FROM deltas") == 21
    (kept,) = await connection.fetch("SELECT reason, frame FROM quarantine")
    assert reason in kept["reason"] and kept["frame"] == raw(kept["frame"])
    assert await connection.fetchval("SELECT count(*) FROM refused_records") == 0
    await connection.close()


async def test_what_the_code_does_not_expect_costs_one_market_its_run(
    server: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours at one frame: quarantined with where it happened, alarmed, and all else is loaded."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    delta = messages.delta

    def faulty(head: Any, record: Record) -> Any:
        change = delta(head, record)
        if change.delta == 777:
            raise KeyError(change.ticker)
        return change

    monkeypatch.setattr(messages, "delta", faulty)
    tape = Tape(tmp_path, server.dsn)
    tape.book("M")
    tape.book("N")
    for number in range(20):
        tape.change("M", delta_fp="7.77" if number == 5 else "1.00")
        tape.change("N")
    connection = await tape.load()
    assert await connection.fetchval("SELECT count(*) FROM deltas") == 39
    assert await connection.fetchval("SELECT sum((alarms ->> $1)::int) FROM batches", FAILED) == 1
    (reason,) = [row[0] for row in await connection.fetch("SELECT reason FROM quarantine")]
    assert "KeyError" in reason and "faulty" in reason
    ended = await connection.fetch(
        "SELECT ticker, e.reason FROM run_events e JOIN runs r USING (lane, run) JOIN markets m ON m.market = r.market"
        " WHERE event = 'ended' AND e.reason = 'quarantined'"
    )
    assert [tuple(row) for row in ended] == [("M", "quarantined")]
    await connection.close()


async def test_what_fails_for_many_at_once_is_done_one_by_one(
    server: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the bulk path costs no row, before a restart and after it."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")

    def faulty(derivation: Derivation, columns: Columns) -> None:
        called.append(columns.count)
        derivation.state.counter += 5  # it is spoilt
        raise IndexError("out of bounds")

    called: list[int] = []
    monkeypatch.setattr(stretch, "_columns", faulty)
    tape = Tape(tmp_path, server.dsn, batch_records=50_000)  # fewer than 4,096 are read one by one
    tape.book("M")
    for _ in range(1500):
        tape.change("M")
    connection = await tape.load()
    assert await connection.fetchval("SELECT count(*) FROM deltas") == 1500
    assert await connection.fetchval("SELECT count(*) FROM quarantine") == 0
    assert await connection.fetchval("SELECT count(*) FROM runs") == 1
    assert called, "the bulk path was taken"
    await connection.close()


async def test_a_record_whose_rows_cannot_be_built_is_found_and_kept_apart(
    server: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search begins where the batch begins that could not be derived, not where the last was written."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    stream = deltas_stream

    def faulty(rows: Any) -> Any:
        if 777 in rows.deltas.list("delta"):
            raise OverflowError("no such number")
        return stream(rows)

    monkeypatch.setattr(loader_, "deltas_stream", faulty)
    tape = Tape(tmp_path, server.dsn, batch_records=16)
    tape.book("M")
    for number in range(60):
        tape.change("M", delta_fp="7.77" if number == 41 else "1.00")
    connection = await tape.load()
    assert await connection.fetchval("SELECT count(*) FROM deltas") == 59
    (reason,) = [row[0] for row in await connection.fetch("SELECT reason FROM refused_records")]
    assert "no such number" in reason
    assert await connection.fetchval("SELECT count(*) FROM quarantine") == 1
    await connection.close()


class Again:
    """A loaded journal, loaded again as `fleet reload` does."""

    def __init__(self, tape: Tape, connection: asyncpg.Connection) -> None:
        self._tape, self._connection = tape, connection

    async def load(self) -> list[tuple[Any, ...]]:
        """Everything, into a lane of its own; all lanes with their states."""
        now_us = time.time_ns() // 1000
        await reload(self._tape.config, self._connection, now_us - 3_600_000_000, now_us + 3_600_000_000)
        return [tuple(row) for row in await self._connection.fetch("SELECT lane, state FROM lanes ORDER BY lane")]


async def test_a_reload_continues_after_what_the_database_refuses(server: Shared, tmp_path: Path) -> None:
    """A change that a constraint does not take: in both readings quarantined and remembered, and all else is there."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    tape = Tape(tmp_path, server.dsn, batch_records=16)
    tape.book("M")
    for number in range(60):
        tape.change("M", delta_fp="7.77" if number == 41 else "1.00")
    connection = await asyncpg.connect(server.dsn)
    await connection.execute("ALTER TABLE deltas ADD CONSTRAINT picky CHECK (delta <> 777)")
    await (await tape.load()).close()
    assert await Again(tape, connection).load() == [(0, "closed"), (1000, "closed")]
    for lane in (0, 1000):
        assert await connection.fetchval("SELECT count(*) FROM deltas WHERE lane = $1", lane) == 59
        assert await connection.fetchval("SELECT count(*) FROM quarantine WHERE lane = $1", lane) == 1
        assert await connection.fetchval("SELECT count(*) FROM refused_records WHERE lane = $1", lane) == 1
    rows = "SELECT seq, exchange_ms, ordinal, price, delta FROM deltas WHERE lane = $1 ORDER BY seq"
    first, again = [[tuple(row) for row in await connection.fetch(rows, lane)] for lane in (0, 1000)]
    assert first == again
    await connection.close()


async def test_a_reload_continues_after_what_cannot_be_derived_at_once(
    server: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the loader does."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    tape = Tape(tmp_path, server.dsn, batch_records=50_000)  # fewer than 4,096 are read one by one
    tape.book("M")
    for _ in range(1500):
        tape.change("M")
    connection = await tape.load()

    def faulty(derivation: Derivation, columns: Columns) -> None:
        derivation.state.counter += 5
        raise IndexError("out of bounds")

    monkeypatch.setattr(stretch, "_columns", faulty)
    await Again(tape, connection).load()
    assert await connection.fetchval("SELECT count(*) FROM deltas WHERE lane = 1000") == 1500
    assert await connection.fetchval("SELECT count(*) FROM runs WHERE lane = 1000") == 1
    await connection.close()


async def test_a_reload_that_fails_leaves_no_lane_open(
    server: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would ever drain it."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    tape = Tape(tmp_path, server.dsn)
    tape.book("M")
    connection = await tape.load()

    def broken(self: JournalReader, limit: int) -> None:
        raise JournalCorrupt("a bad sector")

    monkeypatch.setattr(JournalReader, "read", broken)
    again = Again(tape, connection)
    with pytest.raises(JournalCorrupt):
        await again.load()
    assert [row[0] for row in await connection.fetch("SELECT state FROM lanes")] == ["closed", "closed"]
    await connection.close()
