"""Frames taken many at once give what they give one by one: rows, numbers, alarms, measures, and the state after."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from gatherer.derive import state
from gatherer.derive.bulk import stretch
from gatherer.derive.bulk.columns import Columns
from gatherer.derive.derivation import Derivation
from gatherer.journal.format import Kind, Record, SessionOpened
from tests.support.derivation_case import compact, compare, journal, shown
from tests.support.world import BOUNDS, START_MS, Shape, block, ticker

SHAPES = {
    "quiet": Shape(markets=6, events=1500, losses=0, cuts=0, resets=0),
    "resets": Shape(markets=6, events=1500, losses=0, cuts=0.0005, resets=0.01),
    "losses": Shape(markets=6, events=1500, losses=0.003, cuts=0.001),
    "short sessions": Shape(markets=4, events=1500, losses=0, cuts=0.02, sending_ts=False),
    "late": Shape(markets=4, events=1500, losses=0.001, lag_ms=600, skew_ms=400, step_ms=3),
    "equal": Shape(markets=3, events=1500, losses=0.001, equal=0.95),
    "no sending": Shape(markets=6, events=1500, losses=0.001, cuts=0.0005, sending_ts=False, skew_ms=200),
    "unproven": Shape(markets=6, events=1500, losses=0.001, clock_proven=False, coarse=frozenset({2})),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SHAPES)
def test_worlds_are_the_same_many_at_once_and_one_by_one(name: str, seed: int) -> None:
    """Breaks, resets, steps of time, three sessions in one journal, watched books."""
    ways = compare(journal(seed, SHAPES[name]), random.Random(seed), adopt=bool(seed % 2))
    assert ways["at once"] > ways["rows"] * 0.1, ways


def edits() -> Iterator[tuple[str, Callable[[dict[str, Any]], Any]]]:
    """Ways to spoil a change."""

    def put(**msg: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda frame: frame | {"msg": frame["msg"] | msg}

    def top(**head: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda frame: frame | head

    yield "price", put(price_dollars="0.00005")
    yield "price number", put(price_dollars=0.5)
    yield "size", put(delta_fp="0.005")
    yield "no size", put(delta_fp="0.00")
    yield "huge size", put(delta_fp="99999999999999.00")
    yield "side", put(side="maybe")
    yield "long ago", put(ts_ms=12)
    yield "future", put(ts_ms=START_MS + 10_000_000)
    yield (
        "clock late",
        lambda f: {**f, "sending_ts_ms": START_MS + 7_200_000, "msg": {**f["msg"], "ts_ms": START_MS + 7_200_000}},
    )
    yield "no time", put(ts_ms=None)
    yield "time text", put(ts_ms="12")
    yield "step back", lambda f: f | {"msg": f["msg"] | {"ts_ms": f["msg"]["ts_ms"] - 90}}
    yield "ahead", lambda f: f | {"msg": f["msg"] | {"ts_ms": f["msg"]["ts_ms"] + 900}}
    yield "no market", put(market_ticker="")
    yield "other market", put(market_ticker="KXNEW-1")
    yield "control character", put(market_ticker="KX\u0007")
    yield "ts short", put(ts="2026-11-21T00:00:00.1234Z")
    yield "ts none", put(ts=None)
    yield "ts letters", put(ts="2026-11-21T00:00:00.12345xZ")
    yield "ts signs", put(ts="2026-11-21T00:00:00.1234:/Z")
    yield "ts wide", put(ts="2026-11-21T00:00:00.12345é")
    yield "negative sending", top(sending_ts_ms=-5)
    yield "huge sending", top(sending_ts_ms=1 << 70)
    for what, sent_ms in (("zero", 0), ("seconds", START_MS // 1000), ("an hour slow", START_MS - 3_600_000)):
        yield f"sending {what}", top(sending_ts_ms=sent_ms)
        yield (
            f"snapshot, sending {what}",
            lambda f, ms=sent_ms: (
                f  # type: ignore[misc]
                | {
                    "type": "orderbook_snapshot",
                    "msg": {"market_ticker": f["msg"]["market_ticker"]},
                    "sending_ts_ms": ms,
                }
            ),
        )
    yield "sending late", lambda f: f | {"sending_ts_ms": (f.get("sending_ts_ms") or START_MS) - 30}
    yield "no sending", lambda f: {k: v for k, v in f.items() if k != "sending_ts_ms"}
    yield "id", top(id=8)
    yield "huge seq", top(seq=1 << 70)
    yield "seq again", lambda f: f | {"seq": f["seq"] - 1}
    yield "no seq", lambda f: {k: v for k, v in f.items() if k != "seq"}
    yield "sid 2", top(sid=2)
    yield "type", top(type="orderbook_news")
    yield (
        "ok",
        lambda f: {"type": "ok", "id": 5, "sid": f["sid"], "seq": f["seq"], "msg": {}, "sending_ts_ms": START_MS},
    )
    yield "error 10", lambda f: {"type": "error", "sid": f["sid"], "seq": f["seq"], "msg": {"code": 10}}
    yield "gone", lambda f: {"type": "unsubscribed", "sid": f["sid"], "seq": f["seq"]}
    yield "snapshot", lambda f: f | {"type": "orderbook_snapshot", "msg": {"market_ticker": f["msg"]["market_ticker"]}}
    bad_levels = {"yes_dollars_fp": [["x", "1"]]}
    yield (
        "bad snapshot",
        lambda f: f | {"type": "orderbook_snapshot", "msg": {"market_ticker": ticker(0), **bad_levels}},
    )
    yield "snapshot of nothing", lambda f: f | {"type": "orderbook_snapshot", "msg": {}}
    yield "snapshot of no ticker", lambda f: f | {"type": "orderbook_snapshot", "msg": {"market_ticker": "\u0000"}}
    yield "keys turned", lambda f: dict(reversed(f.items()))


EDITS = dict(edits())


@pytest.mark.parametrize("times", [1, 25])
@pytest.mark.parametrize("name", EDITS)
def test_odd_frames_among_good_ones_mean_the_same(name: str, times: int) -> None:
    """Each oddity once, and often."""
    rng = random.Random(name)
    shape = Shape(markets=5, events=700, losses=0, cuts=0, resets=0.002, sending_ts=name != "id")
    records = journal(3, shape)
    deltas = [r for r in records if r.kind == Kind.FRAME and b"orderbook_delta" in r.payload]
    for record in rng.sample(deltas[20:], times):
        record.payload = compact(json.dumps(EDITS[name](json.loads(record.payload))).encode())
    ways = compare(records, rng)
    assert times > 1 or ways["at once"] > 0, ways


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\n",
        b"{",
        b"{}\n",
        b"[]\n",
        b"\xff\xfe\n",
        b'{"type":"orderbook_delta"\n',
        b'{"type":"orderbook_delta"}\n',
    ],
)
def test_what_is_no_frame_among_good_ones_is_kept_apart(payload: bytes) -> None:
    """Without a line feed, cut off, not UTF-8, empty."""
    records = journal(5, Shape(markets=5, events=500, losses=0, cuts=0))
    at = next(n for n in range(len(records) // 2, len(records)) if records[n].kind == Kind.FRAME)
    for shift in range(2):
        records.insert(at + shift * 7, Record(Kind.FRAME, 1001, records[at].wall_us, records[at].mono_us, payload))
    compare(records, random.Random(1))


def test_two_values_in_one_frame_and_none_in_another_are_not_two_frames() -> None:
    """As many values as frames is not enough: each frame must hold one."""
    records = journal(6, Shape(markets=4, events=500, losses=0, cuts=0, resets=0))
    frames = [r for r in records if r.kind == Kind.FRAME and b"orderbook_delta" in r.payload and r.session == 1001]
    for joined in (
        lambda a, b, c: (a + b, b"\n", c),
        lambda a, b, c: (a + b, b"  \n", c),
        lambda a, b, c: (a[:60], a[60:] + b, c),
        lambda a, b, c: (a[:-2] + b',"x":{}\n', b"}\n", c),
        lambda a, b, c: (a[:-2] + b',"x":', b[:-1] + b"}\n", b[:-1] + c),
        lambda a, b, c: (a[:-2] + b',"x":\n', b[:-1] + b"}\n", b[:-1] + c),
    ):
        copies = [Record(r.kind, r.session, r.wall_us, r.mono_us, r.payload) for r in records]
        # One after the other: in the journal other sessions' frames may lie between them.
        chosen = [copies[records.index(frame)] for frame in frames[100:103]]
        at = copies.index(chosen[0])
        copies = [r for r in copies if r not in chosen[1:]]
        copies[at + 1 : at + 1] = chosen[1:]
        for record, payload in zip(chosen, joined(*(r.payload for r in chosen)), strict=True):
            record.payload = payload
        compare(copies, random.Random(1))


def command(record: Record, id_: int, action: str, after_us: int = 0, tickers: list[str] | None = None) -> Record:
    """A command of the record's session, sent at its time."""
    params: dict[str, Any] = {"sids": [1], "market_tickers": tickers or [ticker(0), ticker(2)]}
    name = action
    if action not in ("subscribe", "unsubscribe"):
        name, params["action"] = "update_subscription", action
    payload = json.dumps({"id": id_, "cmd": name, "params": params}).encode()
    return Record(Kind.COMMAND, record.session, record.wall_us + after_us, record.mono_us, payload)


@pytest.mark.parametrize("sending", [True, False])
def test_answers_to_commands_mean_the_same(sending: bool) -> None:
    """An `ok` to a delete ends what it names; without sending times an id proves when the answer was begun."""
    shape = Shape(markets=5, events=900, losses=0, cuts=0, resets=0, sending_ts=sending)
    for action in ("delete_markets", "get_snapshot"):
        records = journal(9, shape)
        deltas = [n for n, r in enumerate(records) if b"orderbook_delta" in r.payload and r.session == 1001]
        answered = records[deltas[300]]
        frame = json.loads(answered.payload) | {"id": 8}
        if action == "delete_markets":
            frame |= {"type": "ok", "msg": {}}
        answered.payload = compact(json.dumps(frame).encode())
        records.insert(deltas[500], command(records[deltas[500]], 9, "add_markets"))
        records.insert(deltas[150], command(answered, 8, action, after_us=1_000_000))
        compare(records, random.Random(1))


def quarrelsome(seed: int) -> list[Record]:
    """A journal in which commands, answers, late answers, ends of sids, gaps, repeats and numbers that begin again fall
    between the changes of three sessions."""
    rng = random.Random(seed)
    records = journal(seed, Shape(markets=5, events=900, losses=0.002, cuts=0.0005, resets=0.004))
    result: list[Record] = []
    shift: dict[int, int] = {}
    ids = 100
    for record in records:
        if record.kind != Kind.FRAME:
            result.append(record)
            if record.kind == Kind.OPENED and rng.random() < 0.8:
                result.append(command(record, 1, "subscribe", tickers=[ticker(m) for m in range(5)]))
                answer = {"type": "subscribed", "id": 1, "msg": {"channel": "orderbook_delta", "sid": 1}}
                result.append(copied(record, answer))
            continue
        frame = json.loads(record.payload)
        frame["seq"] -= shift.get(record.session, 0)
        if rng.random() < 0.02:
            ids += 1
            action = rng.choice(("add_markets", "delete_markets", "get_snapshot", "add_markets", "get_snapshot"))
            action = "unsubscribe" if rng.random() < 0.02 else action
            result.append(command(record, ids, action, tickers=[ticker(rng.randrange(5))]))
        if shift.get(record.session) and rng.random() < 0.05 and frame["type"] == "orderbook_delta":
            frame = {**frame, "type": "orderbook_snapshot", "msg": {"market_ticker": frame["msg"]["market_ticker"]}}
        if frame["type"] == "orderbook_snapshot" and (how := rng.random()) < 0.8:
            if how < 0.6:  # numbers that begin again leave only what is asked for
                ids += 1
                asked = [frame["msg"]["market_ticker"]]
                result.append(command(record, ids, "get_snapshot", tickers=asked))
            frame["id"] = ids - (rng.randrange(3) if how > 0.5 else 0)
        odd = rng.random()
        if odd < 0.03 or frame["seq"] < 1:
            id_, msg = ids - rng.randrange(3), {"channel": "orderbook_delta", "sid": 1, "code": rng.choice((10, 14))}
            type_ = rng.choices(("ok", "unsubscribed", "error", "subscribed"), (90, 2, 2, 6))[0]
            answer = {"type": type_, "id": id_, "sid": 1, "msg": msg}
            if rng.random() < 0.2:
                result.append(copied(record, answer))
            else:
                frame = answer | {"seq": frame["seq"], "sending_ts_ms": record.wall_us // 1000}
        elif odd < 0.033:
            shift[record.session] = shift.get(record.session, 0) + frame["seq"] - 1
            frame["seq"] = 1
        elif odd < 0.036:
            result += [
                copied(record, json.loads(r.payload))
                for r in result[-6:]
                if r.session == record.session and r.kind == Kind.FRAME
            ]
        elif odd < 0.04 and frame["type"] == "orderbook_delta":
            frame["msg"]["ts_ms"] -= rng.randrange(60)
        result.append(copied(record, frame))
    return result


def copied(record: Record, frame: dict[str, Any]) -> Record:
    """Another frame of the record's session, at its time."""
    return Record(Kind.FRAME, record.session, record.wall_us, record.mono_us, compact(json.dumps(frame).encode()))


@pytest.mark.parametrize("seed", range(12))
def test_commands_answers_and_breaks_between_changes_mean_the_same(seed: int) -> None:
    """What is held, and what ended, is known at each frame, however many are taken at once."""
    ways = compare(quarrelsome(seed), random.Random(seed), adopt=bool(seed % 3 == 0))
    assert ways["at once"] > 0


def test_an_instant_holds_any_number_of_changes() -> None:
    """Inside a stretch, and over the edge of two."""
    records = journal(7, Shape(markets=1, events=60, losses=0, cuts=0, resets=0), stations=1)[:40]
    records = [r for r in records if r.kind in (Kind.OPENED, Kind.FRAME)]
    last = records[-1]
    frame = json.loads(last.payload)
    for _ in range(9000):
        frame["seq"] += 1
        records.append(
            Record(Kind.FRAME, last.session, last.wall_us, last.mono_us, compact(json.dumps(frame).encode()))
        )
    ways = compare(records, random.Random(1))
    assert not ways["quarantined"] and ways["at once"] > 8000


@pytest.mark.parametrize(("after_ms", "singly"), [(0, 2), (10_000, 1)])
def test_what_follows_a_subscriptions_books_is_taken_at_once(after_ms: int, singly: int) -> None:
    """One by one go the books, each market's first group if it is not known whole, its first known one, and no more."""
    markets, groups = 60, 12
    payload = msgspec.json.encode(SessionOpened("orderbook", 1, "ws://x", clock_proven=True))
    opened = Record(Kind.OPENED, 1, START_MS * 1000, START_MS * 1000, payload)
    records = [opened]

    def frame(type_: str, at_ms: int, msg: dict[str, Any]) -> None:
        whole = {"type": type_, "sid": 1, "seq": len(records), "msg": msg, "sending_ts_ms": at_ms}
        payload = compact(json.dumps(whole).encode())
        records.append(Record(Kind.FRAME, opened.session, at_ms * 1000, at_ms * 1000, payload))

    for market in range(markets):
        frame("orderbook_snapshot", START_MS, {"market_ticker": ticker(market), "yes_dollars_fp": [["0.4000", "9.00"]]})
    for group in range(groups):
        for market in range(markets):
            at_ms = START_MS + after_ms + group
            change = {"price_dollars": "0.4000", "delta_fp": "1.00", "side": "yes", "ts_ms": at_ms}
            for _ in range(2):
                frame("orderbook_delta", at_ms, {"market_ticker": ticker(market), **change})
    one, many = (Derivation(BOUNDS, state.fresh(1)) for _ in range(2))
    singles: list[Record] = []
    numbered = many.contents.numbered
    many.contents.numbered = lambda *given: (singles.append(given[2]), numbered(*given))[1]  # type: ignore[method-assign]
    for record in records:
        one.apply(record)
    stretch.apply(many, [opened, block(records[1:])], 1)
    assert shown(many.take()) == shown(one.take())
    assert msgspec.to_builtins(many.state) == msgspec.to_builtins(one.state)
    assert len(singles) == markets * (1 + 2 * singly)


def test_columns_have_what_the_frames_have() -> None:
    """A frame is plain or left out, and is there again as a record either way."""
    records = [r for r in journal(8, SHAPES["resets"]) if r.kind == Kind.FRAME][:900]
    columns = Columns([block(records)])
    assert 0 < columns.plain.sum() < len(records)
    for number, record in enumerate(records):
        again = columns.record(number)
        assert (again.session, again.wall_us, again.payload) == (record.session, record.wall_us, record.payload)
        frame = json.loads(record.payload)
        assert columns.plain[number] == (frame["type"] == "orderbook_delta")
        if columns.plain[number]:
            said = (columns.seq[number], columns.at_ms[number], columns.tickers[columns.code[number]])
            assert said == (frame["seq"], frame["msg"]["ts_ms"], frame["msg"]["market_ticker"])
