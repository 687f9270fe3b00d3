"""Frames as the exchange may send them tomorrow: a field that a row does not need never costs the row.

Each frame alone, and among frames that are read many at once: the same rows either way.
"""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from common.contract.sides import NO, YES
from common.exchange import frames
from common.levels import flat
from gatherer.capture.conversation.unread import AGAIN_MOST_S, Unread
from gatherer.derive import messages, state
from gatherer.derive.derivation import Derivation
from gatherer.derive.fields import FieldWatch
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.rows import Rows
from gatherer.journal.format import Kind, Record, SessionOpened
from tests.support.derivation_case import compare
from tests.support.world import in_blocks

T = "KXCASE-26NOV27-T5"
AT_MS = 1_795_780_800_123
DELTA: dict[str, Any] = {
    "market_ticker": T,
    "market_id": "11111111-2222-4333-8444-555555555555",
    "price_dollars": "0.4700",
    "delta_fp": "-3.00",
    "side": "yes",
    "ts": "2026-11-27T12:00:00.123456Z",
    "ts_ms": AT_MS,
}
TRADE: dict[str, Any] = {
    "trade_id": "072206ce-5001-aeed-0001-000000000001",
    "market_ticker": T,
    "yes_price_dollars": "0.3600",
    "no_price_dollars": "0.6400",
    "count_fp": "136.00",
    "taker_side": "no",
    "taker_outcome_side": "no",
    "taker_book_side": "ask",
    "is_block_trade": False,
    "ts": 1795780800,
    "ts_ms": AT_MS,
}
LEVELS = {"yes_dollars_fp": [["0.4700", "3000.00"]], "no_dollars_fp": [["0.4800", "2.00"]]}
DELTAS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "ts is a number": ({"ts": 1795780800}, {}, -1),
    "ts is a long number": ({"ts": 1795780800123456789}, {}, -1),
    "ts is null": ({"ts": None}, {}, -1),
    "ts is an object": ({"ts": {"s": 1}}, {}, -1),
    "a new object nobody knows": ({"reason": {"kind": "amend"}}, {}, 456),
    "sending_ts_ms is text": ({}, {"sending_ts_ms": "1795780800130"}, 456),
    "sending_ts_ms is a fraction": ({}, {"sending_ts_ms": 1795780800130.5}, 456),
    "sending_ts_ms is null": ({}, {"sending_ts_ms": None}, 456),
    "market_id is null": ({"market_id": None}, {}, 456),
}
"""By name: what is changed of the message, and of its frame; the microseconds that the row has."""


def records(*messages: tuple[str, Any, dict[str, Any]]) -> list[Record]:
    """One session's frames of one sid: its book, then these."""
    now_us = (AT_MS + 7) * 1000
    opened = msgspec.json.encode(SessionOpened("orderbook", 1, "ws://x", clock_proven=True))
    made = [Record(Kind.OPENED, 1, now_us - 10_000, now_us - 10_000, opened)]
    first = ("orderbook_snapshot", {"market_ticker": T, **LEVELS}, {"sending_ts_ms": AT_MS - 1000})
    for number, (type_, msg, top) in enumerate((first, *messages), 1):
        frame = {"type": type_, "sid": 1, "seq": number, "msg": msg, "sending_ts_ms": AT_MS + 5, **top}
        payload = json.dumps(frame, separators=(",", ":")).encode()
        made.append(Record(Kind.FRAME, 1, now_us + number, now_us + number, payload))
    return made


def derived(some: list[Record]) -> Rows:
    """Frame by frame."""
    derivation = Derivation(BoundsMs(disorder=300, lag=400, sender=20, clock=10), state.fresh(1))
    for record in some:
        derivation.apply(record)
    return derivation.take()


@pytest.mark.parametrize("name", DELTAS)
def test_a_change_is_a_row_whatever_else_its_frame_has(name: str) -> None:
    """Alone, and three hundred of them read at once between good ones."""
    msg, top, us = DELTAS[name]
    rows = derived(records(("orderbook_delta", {**DELTA, **msg}, top)))
    assert rows.deltas.list("price") == [4700] and rows.deltas.list("delta") == [-300] and not rows.quarantine
    assert rows.deltas.list("exchange_us") == [us] and not rows.requests
    odd = ("orderbook_delta", {**DELTA, **msg, "ts_ms": AT_MS + 1}, top)
    good: tuple[str, dict[str, Any], dict[str, Any]] = ("orderbook_delta", {**DELTA, "ts_ms": AT_MS + 1}, {})
    ways = compare(records(*[good] * 100, *[odd] * 300, *[good] * 100), random.Random(1))
    assert ways["rows"] == 500 and not ways["quarantined"]


@pytest.mark.parametrize(
    ("changes", "taker", "block"),
    [
        ({"taker_side": None}, NO, False),
        ({"taker_side": None, "taker_outcome_side": None}, NO, False),
        ({"taker_side": None, "taker_outcome_side": None, "taker_book_side": "bid"}, YES, False),
        ({"taker_side": "", "taker_outcome_side": ""}, NO, False),
        ({"taker_side": 5, "taker_outcome_side": {"of": "yes"}}, NO, False),
        ({"taker_outcome_side": None, "taker_book_side": None}, NO, False),
        ({"is_block_trade": None}, NO, False),
        ({"is_block_trade": "false"}, NO, False),
        ({"is_block_trade": True}, NO, True),
        ({"no_price_dollars": None, "ts": None}, NO, False),
    ],
    ids=str,
)
def test_a_trade_is_a_row_as_long_as_any_field_shows_what_the_taker_bought(
    changes: dict[str, Any], taker: int, block: bool
) -> None:
    """`bid`: the taker bought YES."""
    (row,) = derived(records(("trade", {**TRADE, **changes}, {}))).trades
    assert (row.taker_side, row.is_block, row.yes_price, row[6]) == (taker, block, 3600, 13600)
    absent = {key: value for key, value in {**TRADE, **changes}.items() if value is not None}
    assert derived(records(("trade", absent, {}))).trades == [row]


def test_a_trade_without_a_field_for_what_the_taker_bought_is_quarantined() -> None:
    """Nothing is guessed."""
    odd = {**TRADE, "taker_side": None, "taker_outcome_side": "maybe", "taker_book_side": None}
    rows = derived(records(("trade", odd, {})))
    assert not rows.trades and len(rows.quarantine) == 1


@pytest.mark.parametrize(
    ("levels", "book"),
    [
        ({"yes_dollars": [["0.4700", "3.00"]], "no_dollars": [["0.4800", "2.00"]]}, None),
        ({"bid": [["0.4700", "3.00"]], "ask": []}, None),
        ({"yes_dollars_fp": [["0.4700", "3.00"]], "no_dollars": [["0.4800", "2.00"]]}, None),
        ({"levels": {}}, None),
        ({"yes_dollars_fp": 5}, None),
        ({"yes_dollars_fp": None, "no_dollars_fp": [["0.4800", "2.00"]]}, ([], [4800, 200])),
        ({"yes_dollars_fp": None, "no_dollars_fp": None}, ([], [])),
        ({"no_dollars_fp": [["0.4800", "2.00"]], "reason": "audit"}, ([], [4800, 200])),
        ({"yes_dollars_fp": [], "no_dollars_fp": [], "depth": [5]}, ([], [])),
        ({}, ([], [])),
    ],
    ids=str,
)
def test_a_book_whose_levels_have_another_name_is_no_empty_book(levels: dict[str, Any], book: Any) -> None:
    """It is quarantined, its run ends, and it is asked for again; null and absent sides are empty ones."""
    rows = derived(records(("orderbook_snapshot", {"market_ticker": T, "market_id": "1", **levels}, {})))
    if book is None:
        assert len(rows.quarantine) == 1 and [r.tickers for r in rows.requests] == [[T]]
        assert any(e.event == "ended" and e.reason == "quarantined" for e in rows.run_events)
    else:
        head = frames.Envelope(
            "orderbook_snapshot", msg=msgspec.Raw(json.dumps({"market_ticker": T, **levels}).encode())
        )
        _, read = messages.snapshot(head)
        assert not rows.quarantine and (flat(read, YES), flat(read, NO)) == book


@pytest.mark.parametrize(
    ("msg", "ends"),
    [({}, False), (None, False), ({"beat": 5}, True), ({"market_ticker": T}, True), ({"changes": [{"m": 1}]}, True)],
    ids=str,
)
def test_a_numbered_type_that_nobody_knows_ends_no_run_if_it_can_have_changed_no_book(msg: Any, ends: bool) -> None:
    """An empty one is counted; whatever else it has may be a change of some book (rule 10)."""
    rows = derived(records(("orderbook_heartbeat", msg, {})))
    assert len(rows.quarantine) == 1
    assert bool(rows.requests) is ends and any(e.event == "ended" for e in rows.run_events) is ends


def test_a_lifecycle_message_and_a_ticker_are_rows_whatever_else_they_have() -> None:
    """A value that is none leaves its field empty."""
    life = {"market_ticker": T, "event_ticker": None, "event_type": "created", "open_ts": "soon", "close_ts": None}
    rows = derived(records(("market_lifecycle_v2", life, {})))
    assert [(r.ticker, r.event_type) for r in rows.lifecycle] == [(T, "created")]
    ticker = {"market_ticker": T, "ts_ms": AT_MS, "price_dollars": None, "yes_bid_dollars": 5, "volume_fp": "1.005"}
    opened = records()[0]
    frame = json.dumps({"type": "ticker", "sid": 3, "msg": {**ticker, "yes_ask_dollars": "0.5"}}).encode()
    (row,) = derived([opened, Record(Kind.FRAME, 1, AT_MS * 1000, AT_MS * 1000, frame)]).tickers
    assert (row.price, row.yes_bid, row.yes_ask, row.volume) == (None, None, 5000, None)


def test_what_was_retyped_is_reported_once() -> None:
    """The rows do without it; people should know."""
    watch = FieldWatch()
    odd = records(("orderbook_delta", {**DELTA, "ts": 1795780800}, {"sending_ts_ms": "1"}))[-1]
    reported = watch.look(in_blocks([odd], random.Random(1)))
    assert sorted(reported) == ["orderbook_delta.sending_ts_ms (retyped)", "orderbook_delta.ts (retyped)"]
    assert not watch.look(in_blocks([odd], random.Random(1)))


def test_a_burst_of_frames_that_cannot_be_read_asks_for_no_burst_of_snapshots() -> None:
    """One command a second; the same market after twice as long each time; what waits is asked for in the end."""
    unread, commands, asked = Unread(), 0, 0
    for tick in range(3600 * 20):  # twenty unreadable frames a second, of two hundred markets, for an hour
        now_s = tick / 20
        unread.add([f"KXA-{tick % 200}"])
        due = unread.due(now_s, 500)
        commands, asked = commands + bool(due), asked + len(due)
    assert commands <= 3600 and asked <= 200 * 16, (commands, asked)
    left = [unread.due(3600 + 2 * AGAIN_MOST_S + n, 500) for n in range(3)]
    assert any(left) and not unread.due(1e6, 500), "nothing is forgotten"
    unread.add(["KXB-1"])
    assert unread.due(2e6, 500) == ["KXB-1"], "the first is asked for at once"
