"""The derivation of runs, ordinals, coverage and books, frame by frame."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from common.contract import channels
from common.contract.identity import NEVER_MS
from common.contract.sides import NO, YES
from common.exchange import frames
from gatherer.capture.conversation.actions import Times
from gatherer.capture.conversation.conversation import Conversation
from gatherer.derive import state
from gatherer.derive.deltas import COLUMNS
from gatherer.derive.derivation import Derivation
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.rows import Rows
from gatherer.journal.format import Ended, Kind, Record, RestBook, SessionOpened, Watch
from tests.support.world import START_MS, Shape, Station, make_events

BOUNDS = BoundsMs(disorder=300, lag=400, sender=20, clock=10)
T = "KXA-1"


class Tape:
    """Feeds a derivation directly: one session, one sid."""

    def __init__(self, *, clock_proven: bool = True) -> None:
        self.derivation = Derivation(BOUNDS, state.fresh(5))
        self.seq, self.sid = 0, 1
        self.now = START_MS
        opened = SessionOpened("orderbook", 1, "ws://x", clock_proven=clock_proven)
        self.record(Kind.OPENED, msgspec.json.encode(opened))

    def record(self, kind: Kind, payload: bytes) -> None:
        """One record, now."""
        self.derivation.apply(Record(kind, 1, self.now * 1000, self.now * 1000, payload))

    def frame(self, type_: str, msg: object, *, skip: int = 0, sending: int | None = None, **extra: Any) -> None:
        """A frame with the next number, or one after a gap."""
        self.seq += 1 + skip
        frame = {"type": type_, "sid": self.sid, "seq": self.seq, "msg": msg, **extra}
        frame["sending_ts_ms"] = self.now if sending is None else sending
        self.record(Kind.FRAME, json.dumps(frame).encode())

    def unstamped(self, type_: str, ticker: str, at: int | None = None, **extra: Any) -> None:
        """A numbered frame without a sending time: a snapshot, or a change at a time."""
        self.seq += 1
        msg: dict[str, Any] = {"market_ticker": ticker}
        if at is not None:
            self.now = max(self.now, START_MS + at)
            msg |= {"price_dollars": "0.4200", "delta_fp": "1.00", "side": "yes", "ts_ms": START_MS + at}
        frame = {"type": type_, "sid": self.sid, "seq": self.seq, "msg": msg, **extra}
        self.record(Kind.FRAME, json.dumps(frame).encode())

    def snapshot(self, ticker: str = T, *, skip: int = 0, id_: int | None = None, **levels: str) -> None:
        """A book, with these sizes at one price."""
        msg: dict[str, object] = {"market_ticker": ticker}
        if levels:
            msg["yes_dollars_fp"] = [["0.4200", size] for size in levels.values()]
        self.frame("orderbook_snapshot", msg, skip=skip, **({} if id_ is None else {"id": id_}))

    def delta(self, at: int, *, ticker: str = T, skip: int = 0, **changes: Any) -> None:
        """A change at a time of the exchange."""
        msg = {
            "market_ticker": ticker,
            "price_dollars": "0.4200",
            "delta_fp": "1.00",
            "side": "yes",
            "ts_ms": START_MS + at,
            **changes,
        }
        self.now = max(self.now, START_MS + at)
        self.frame("orderbook_delta", msg, skip=skip)

    def send(self, action: str, *tickers: str, id_: int, sid: int | None = 1) -> None:
        """A command: an action of `update_subscription`, `subscribe`, or `unsubscribe`."""
        params: dict[str, Any] = {"market_tickers": list(tickers)} | ({} if sid is None else {"sids": [sid]})
        if action not in ("subscribe", "unsubscribe"):
            params["action"] = action
        command = {"id": id_, "cmd": action if "action" not in params else "update_subscription", "params": params}
        self.record(Kind.COMMAND, json.dumps(command).encode())

    def unnumbered(self, type_: str, **fields: Any) -> None:
        """A frame without a number."""
        self.record(Kind.FRAME, json.dumps({"type": type_, **fields}).encode())

    def subscribe(self, *tickers: str, sid: int = 1, id_: int = 1) -> None:
        """Ask for markets, and get the answer that they are held."""
        self.send("subscribe", *tickers, id_=id_, sid=None)
        self.unnumbered("subscribed", id=id_, msg={"channel": "orderbook_delta", "sid": sid})

    def begin_again(self, *tickers: str, id_: int, sending: int | None = None) -> None:
        """The numbers begin again, and books are asked for and come."""
        self.seq = 0
        self.frame("ok", {})
        self.send("get_snapshot", *tickers, id_=id_)
        for ticker in tickers:
            self.frame("orderbook_snapshot", {"market_ticker": ticker}, sending=sending, id=id_)

    def claiming(self) -> list[str]:
        """Markets that claim now."""
        sessions = self.derivation.state.sessions.values()
        return sorted(
            run.ticker
            for session in sessions
            for s in session.slices.values()
            for run in s.runs.values()
            if run.claiming
        )

    def take(self) -> Rows:
        """The rows since the last call."""
        return self.derivation.take()


def places(rows: Rows) -> list[tuple[int, int]]:
    """Time after the start and ordinal of each change."""
    return [
        (ms - START_MS, o) for ms, o in zip(rows.deltas.list("exchange_ms"), rows.deltas.list("ordinal"), strict=True)
    ]


def test_the_first_group_of_a_run_has_unknown_ordinals_and_the_next_ones_count_from_0() -> None:
    """Rule 1: before its start moment a run may have begun in mid-group."""
    tape = Tape()
    tape.snapshot()
    for at in (5, 5, 6, 6, 6, 9):
        tape.delta(at)
    rows = tape.take()
    assert places(rows) == [(5, -1), (5, -1), (6, 0), (6, 1), (6, 2), (9, 0)]
    assert rows.runs[0].cover_from_ms == START_MS + 1 + BOUNDS.clock  # received sooner than the sender's bound
    assert [(e.event, e.from_ms - START_MS) for e in rows.run_events] == [("covers", 6)]


@pytest.mark.parametrize("clock_proven", [True, False])
@pytest.mark.parametrize(
    "sending",
    [0, START_MS // 1000, START_MS * 1000, START_MS - 3_600_000, START_MS + 3_600_000],
    ids=["not filled in", "seconds", "microseconds", "an hour slow", "an hour fast"],
)
def test_a_sending_time_that_cannot_be_claims_nothing_of_before(sending: int, *, clock_proven: bool) -> None:
    """A market that nobody recorded until now is not held from 1970 on because of a field; nothing is lost for it."""
    tape = Tape(clock_proven=clock_proven)
    tape.subscribe(T)
    tape.frame("orderbook_snapshot", {"market_ticker": T}, sending=sending)
    rows = tape.take()
    far = abs(sending - START_MS) > 86_400_000
    if clock_proven or far:
        assert rows.runs[0].cover_from_ms > START_MS
        assert rows.alarms["sending_time_absurd"] == 1
    for at in (5, 5, 900, 901):
        tape.delta(at)
    rows = tape.take()
    assert [ms for ms, _ in places(rows)] == [5, 5, 900, 901] and not rows.quarantine
    assert tape.claiming() == [T]
    assert all(event.from_ms > START_MS for event in rows.run_events if clock_proven or far)


def test_a_time_ahead_of_the_clock_proves_nothing() -> None:
    """Where frames have no sending time, a glitch of one market's clock would claim the future of all."""
    tape = Tape()
    tape.subscribe(T)
    tape.snapshot()
    msg = {"market_ticker": T, "price_dollars": "0.4200", "delta_fp": "1.00", "side": "yes", "ts_ms": START_MS + 20_000}
    tape.record(Kind.FRAME, json.dumps({"type": "orderbook_delta", "sid": 1, "seq": 2, "msg": msg}).encode())
    rows = tape.take()
    assert rows.alarms["exchange_time_ahead_of_clock"] == 1
    assert all(horizon.horizon_ms <= START_MS + BOUNDS.clock for horizon in rows.horizons)


def test_a_sending_time_ahead_of_the_clock_proves_nothing() -> None:
    """Nothing is complete beyond the moment at which the frame was received."""
    tape = Tape()
    tape.snapshot()
    tape.now += 1000
    tape.frame("ok", {}, sending=tape.now + 3_600_000)
    assert tape.take().horizons[0].horizon_ms == tape.now + BOUNDS.clock - BOUNDS.sender - BOUNDS.lag


@pytest.mark.parametrize("proven", [True, False])
def test_a_clock_that_is_not_proven_begins_no_claim_and_proves_no_horizon(proven: bool) -> None:
    """Neither the receive time of a first book, nor the time at which a question was sent."""
    tape = Tape(clock_proven=proven)
    tape.unstamped("orderbook_snapshot", T)
    (run,) = tape.take().runs
    assert run.cover_from_ms == (START_MS + 1 + BOUNDS.clock if proven else NEVER_MS)
    tape.now += 1000
    tape.send("get_snapshot", T, id_=9)
    sent = tape.now
    tape.now += 50
    tape.unstamped("orderbook_snapshot", T, id=9)
    reached = [horizon.horizon_ms for horizon in tape.take().horizons]
    assert reached == ([sent - BOUNDS.clock - BOUNDS.lag] if proven else [])


def test_without_sending_times_the_disorder_between_markets_is_allowed_for() -> None:
    """Rule 1c, and the horizon: the changes of another market may be published later by so much."""
    tape = Tape(clock_proven=False)
    tape.unstamped("orderbook_snapshot", T)
    tape.unstamped("orderbook_delta", "KXB-1", 1000)
    rows = tape.take()
    covers = [(event.event, event.from_ms - START_MS) for event in rows.run_events if event.run == rows.runs[0].run]
    assert covers == [("covers", 1000 + BOUNDS.disorder + 1)]
    assert [horizon.horizon_ms - START_MS for horizon in rows.horizons] == [1000 - BOUNDS.disorder]


def test_a_change_has_the_side_of_its_message() -> None:
    """YES or NO, with the price and size of that side."""
    tape = Tape()
    tape.snapshot()
    tape.delta(500)
    tape.delta(501, side="no", price_dollars="0.5700", delta_fp="-3.00")
    rows = tape.take()
    assert [rows.deltas.list(name) for name in ("side", "price", "delta")] == [[YES, NO], [4200, 5700], [100, -300]]


def test_a_change_at_or_after_the_start_moment_is_known_at_once() -> None:
    """A snapshot cannot contain the future."""
    tape = Tape()
    tape.snapshot()
    tape.delta(21)
    assert places(tape.take()) == [(21, 0)]


def test_a_gap_ends_the_runs_of_every_market_of_the_sid_and_begins_new_ones() -> None:
    """Frames after the break are the next slice and are kept."""
    tape = Tape()
    tape.snapshot()
    tape.snapshot("KXB-1")
    tape.delta(500)
    tape.delta(600, skip=1)
    tape.delta(601)
    rows = tape.take()
    assert [b.reason for b in rows.breaks] == ["gap"]
    assert places(rows) == [(500, 0), (600, -1), (601, 0)]
    ended = [e for e in rows.run_events if e.event == "ended"]
    assert [(e.reason, e.to_ms - START_MS) for e in ended] == [("gap", 500), ("gap", 500 - 420)]
    assert len(rows.runs) == 4 and len(rows.slices) == 2


@pytest.mark.parametrize("back", [1, 3])
def test_a_repeated_or_decreasing_number_is_a_break(back: int) -> None:
    """seq is checked on every numbered frame."""
    tape = Tape()
    tape.snapshot()
    for at in (500, 501, 502):
        tape.delta(at)
    tape.delta(503, skip=-back)
    rows = tape.take()
    assert [b.reason for b in rows.breaks] == ["repeat_or_decrease"]
    assert places(rows)[-1] == (503, -1)


def test_control_frames_take_numbers() -> None:
    """ok and scoped errors are part of the numbering, whatever else they mean."""
    tape = Tape()
    tape.snapshot()
    tape.frame("ok", {"market_tickers": [T]}, id=2)
    tape.frame("error", {"code": 14, "msg": "Market Ticker required"})
    tape.delta(500)
    rows = tape.take()
    assert not [b for b in rows.breaks if b.reason == "gap"]
    assert places(rows) == [(500, 0)]


def test_a_step_back_of_exchange_time_is_a_marked_break() -> None:
    """Rule 9b: the new run knows ordinals only above the old maximum."""
    tape = Tape()
    tape.snapshot()
    tape.delta(500)
    tape.delta(510)
    tape.delta(505)
    tape.delta(510)
    tape.delta(511)
    rows = tape.take()
    assert places(rows) == [(500, 0), (510, 0), (505, -1), (510, -1), (511, 0)]
    retracted = [(e.from_ms - START_MS, e.to_ms - START_MS) for e in rows.run_events if e.event == "retracts"]
    assert retracted == [(505, 511)]
    assert rows.alarms["step_back"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"price_dollars": "0.00005"},
        {"price_dollars": 5},
        {"delta_fp": "0.005"},
        {"delta_fp": "0.00"},
        {"side": "maybe"},
        {"ts_ms": 12},
        {"ts_ms": START_MS + 120_000},
        {"ts_ms": None},
    ],
)
def test_a_change_that_cannot_become_a_row_ends_the_run_of_its_market_alone(change: dict[str, Any]) -> None:
    """Rule 10: it is kept apart; the market gets a new run and asks for a book; others continue."""
    tape = Tape()
    tape.snapshot()
    tape.snapshot("KXB-1")
    tape.delta(500)
    tape.delta(501, **change)
    tape.delta(501, ticker="KXB-1")
    tape.delta(650)
    rows = tape.take()
    assert len(rows.quarantine) == 1 and rows.delta_frames_quarantined == 1
    assert rows.delta_frames == len(rows.deltas) + 1
    assert [e.reason for e in rows.run_events if e.event == "ended"] == ["quarantined"]
    assert [r.tickers for r in rows.requests] == [[T]]
    assert len(rows.runs) == 3


def test_a_poison_frame_without_a_market_ends_all_runs_of_its_sid() -> None:
    """Nobody knows whose change it was."""
    tape = Tape()
    tape.snapshot()
    tape.snapshot("KXB-1")
    tape.frame("orderbook_news", {"what": 1})
    rows = tape.take()
    assert sorted(rows.requests[0].tickers) == [T, "KXB-1"]
    assert len([e for e in rows.run_events if e.event == "ended"]) == 2


@pytest.mark.parametrize("channel", ["ticker", "trades_v2"])
def test_a_numbered_answer_of_a_channel_without_numbers_begins_no_claim(channel: str) -> None:
    """Its other frames have none: what is missing among them nobody knows."""
    tape = Tape()
    asked = {"id": 1, "cmd": "subscribe", "params": {"channels": [channel]}}
    for id_ in (1, 2):
        tape.record(Kind.COMMAND, json.dumps({**asked, "id": id_}).encode())
    tape.record(Kind.FRAME, json.dumps({"type": "subscribed", "id": 1, "msg": {"channel": channel, "sid": 1}}).encode())
    tape.frame("ok", {}, id=2)
    rows = tape.take()
    assert [s.channel for s in rows.slices] == [channel] and not rows.runs


def test_frames_of_an_unknown_type_that_come_all_the_time_begin_no_runs_all_the_time() -> None:
    """A thousand markets a second, and none of them could claim anything: each waits for a book of its own."""
    tape = Tape()
    names = [f"KXA-{n}" for n in range(20)]
    for name in names:
        tape.snapshot(name)
    begun = []
    for at in range(500, 1500, 100):
        tape.now = START_MS + at
        tape.frame("orderbook_heartbeat", {"at": at})
        tape.delta(at + 1, ticker=names[0])
        begun.append(len(tape.take().runs))
    assert begun == [40] + [1] * 9, "a change is a row all the same, of a run that claims nothing"
    tape.now = START_MS + 2000
    tape.snapshot(names[0])
    tape.delta(2500, ticker=names[0])
    rows = tape.take()
    assert [run.ticker for run in rows.runs] == [names[0]] and rows.runs[0].cover_from_ms < NEVER_MS
    assert places(rows) == [(2500, 0)]


def test_what_is_no_frame_is_kept_and_the_connection_lives() -> None:
    """Not JSON, no envelope, absurd numbers, binary."""
    tape = Tape()
    tape.snapshot()
    for payload in (b"{", b"\xff\xfe", b"[]", b'{"type":5}', b'{"type":"ticker","sid":1,"seq":99999999999999999999}'):
        tape.record(Kind.FRAME, payload)
    tape.delta(500)
    rows = tape.take()
    assert len(rows.quarantine) == 5
    assert places(rows) == [(500, 0)]


@pytest.mark.parametrize("cut", ["msg", "number", "twice"])
def test_a_change_that_is_cut_short_counts_as_the_capture_counted_it(cut: str) -> None:
    """The capture looks no further than its number, and notes no break: the books are asked for here, or by nobody."""
    tape, conversation = Tape(), Conversation("orderbook", Times(2.0, 10.0, 10.0), 500)
    tape.snapshot()
    tape.snapshot("KXB-1")
    for number in (1, 2):
        head = frames.Envelope("orderbook_snapshot", sid=1, seq=number, msg=msgspec.Raw(b'{"market_ticker":"KXA-1"}'))
        assert not conversation.frame(head, 0.0)
    beginning, due = conversation.due_change()
    assert due == 3
    for _ in range(2 if cut == "twice" else 1):
        tape.seq += 1
        text = b"%b%d," % (beginning, tape.seq)
        tape.record(Kind.FRAME, text[:-2] if cut == "number" else text + b'"msg":{"market_ticker":"KXA-1","pri')
    tape.delta(650)
    rows = tape.take()
    assert rows.delta_frames == len(rows.deltas) + rows.delta_frames_quarantined
    if cut == "number":
        assert [b.reason for b in rows.breaks] == ["gap"] and not rows.requests, "the capture sees it, and asks"
        return
    assert not rows.breaks and [(q.sid, q.seq) for q in rows.quarantine] == [(1, n) for n in range(3, tape.seq)]
    assert sorted({t for r in rows.requests for t in r.tickers}) == [T, "KXB-1"]
    assert {e.reason for e in rows.run_events if e.event == "ended"} == {"quarantined"}


def test_the_reason_of_an_end_is_one_that_a_database_holds() -> None:
    """It may be the exchange's own text: a lane whose end cannot be stored would stand still for ever."""
    tape = Tape()
    tape.snapshot()
    tape.record(Kind.ENDED, msgspec.json.encode(Ended("received 1008 (policy violation) go\x00away" + "!" * 999)))
    rows = tape.take()
    reasons = [b.reason for b in rows.breaks] + [e.reason for e in rows.run_events] + [h.reason for h in rows.horizons]
    assert len(reasons) == 3 and len(set(reasons)) == 1
    assert "\x00" not in reasons[0] and len(reasons[0]) == 500 and reasons[0].startswith("received 1008")


def test_frames_of_a_session_whose_beginning_is_unknown_are_rows_all_the_same() -> None:
    """After a lost state nobody knows what is held: what comes is recorded and its books are asked for; a run begins
    with the answer to a question that was read, and with no other book."""
    tape = Tape()
    tape.derivation.state.sessions.clear()
    tape.delta(500)
    tape.delta(501, ticker="KXB-1")
    rows = tape.take()
    assert places(rows) == [(500, -1), (501, -1)]
    assert [(r.sid, r.tickers) for r in rows.requests] == [(1, [T, "KXB-1"])]
    tape.snapshot()
    tape.snapshot(id_=3)
    assert not tape.claiming()
    tape.send("get_snapshot", T, "KXB-1", id_=4)
    tape.send("delete_markets", "KXB-1", id_=5)
    tape.snapshot(id_=4)
    tape.snapshot("KXB-1", id_=4)
    tape.delta(700)
    rows = tape.take()
    assert places(rows) == [(700, 0)] and tape.claiming() == [T]
    assert not rows.quarantine


def test_a_slice_whose_channel_is_named_later_ends_and_another_continues() -> None:
    """What readers know of a slice never changes: a claim under no channel would be nobody's as long as it lives."""
    tape = Tape()
    tape.derivation.state.sessions.clear()
    tape.frame("ok", {"market_tickers": [T]})
    tape.frame("ok", {"market_tickers": [T]})
    tape.delta(500)
    tape.send("get_snapshot", T, id_=4)
    tape.snapshot(id_=4)
    tape.delta(700)
    rows = tape.take()
    assert [s.channel for s in rows.slices] == ["", "orderbook_delta"]
    assert places(rows) == [(500, -1), (700, 0)] and tape.claiming() == [T]
    assert {run.slice for run in rows.runs} == {rows.slices[1].slice}
    assert [(h.slice, h.reason) for h in rows.horizons if h.ended] == [(rows.slices[0].slice, "channel_named")]


def test_a_deleted_market_claims_nothing_from_the_command_on() -> None:
    """Coverage ends when the command is sent; rows count until the ok; no snapshot revives it without a new add."""
    tape = Tape()
    tape.subscribe(T)
    tape.snapshot()
    tape.delta(500)
    tape.send("delete_markets", T, id_=3)
    tape.delta(501)
    tape.frame("ok", {}, id=3)
    tape.delta(502)
    tape.snapshot()
    rows = tape.take()
    assert places(rows) == [(500, 0), (501, 0), (502, -1)]
    assert [e.reason for e in rows.run_events] == ["deleted"]
    assert [r.cover_from_ms == NEVER_MS for r in rows.runs] == [False, True]


@pytest.mark.parametrize("how", ["add_markets", "subscribe"])
def test_what_is_added_while_its_delete_is_not_answered_begins_from_nothing(how: str) -> None:
    """The delete may have been done, and the add, too, both without a word: changes between them are missing. What
    comes before the add is sent still continues: it is of the time before the delete."""
    tape = Tape()
    tape.subscribe(T)
    tape.snapshot()
    tape.delta(500)
    tape.send("delete_markets", T, id_=3)
    tape.delta(501)
    tape.send(how, T, id_=4)
    tape.snapshot()
    tape.delta(502)
    rows = tape.take()
    assert places(rows) == [(500, 0), (501, 0), (502, -1)]
    assert not tape.claiming() and len({run.run for run in rows.runs}) == 2


@pytest.mark.parametrize("numbered", [True, False])
def test_a_market_is_held_from_the_answer_to_its_add_and_no_sooner(numbered: bool) -> None:
    """Rule 16. Its first book, and any other that comes before the answer, begins nothing; an `ok` without a number is
    matched by its id."""
    tape = Tape()
    tape.subscribe(T)
    tape.snapshot()
    tape.send("delete_markets", T, id_=2)
    tape.send("add_markets", T, id_=3)
    tape.snapshot()
    tape.frame("ok", {}, id=2)
    tape.snapshot()
    tape.snapshot(id_=9)
    tape.delta(400)
    assert not tape.claiming()
    tape.frame("ok", {}, id=3) if numbered else tape.unnumbered("ok", id=3, sid=1)
    assert not tape.claiming()
    tape.snapshot()
    tape.delta(500)
    assert tape.claiming() == [T]
    assert places(tape.take()) == [(400, -1), (500, 0)]


@pytest.mark.parametrize("lost", ["ok", "change"])
@pytest.mark.parametrize("numbered", [True, False])
def test_nothing_between_a_delete_and_its_answer_brings_the_market_back(lost: str, numbered: bool) -> None:
    """Rule 16: neither a gap, nor a repair's book, nor the late `ok` of an older command, nor that of the delete."""
    tape = Tape()
    tape.subscribe(T, "KXB-1")
    tape.snapshot()
    tape.snapshot("KXB-1")
    tape.send("get_snapshot", T, id_=2)
    tape.send("add_markets", T, id_=3)
    tape.send("delete_markets", T, id_=4)
    tape.delta(500, ticker="KXB-1", skip=1 if lost == "change" else 0)
    tape.snapshot(id_=2)
    tape.frame("ok", {}, id=3)
    tape.snapshot(id_=2)
    assert tape.claiming() == ["KXB-1"]
    if lost != "ok":
        tape.frame("ok", {}, id=4) if numbered else tape.unnumbered("ok", id=4, sid=1)
    tape.delta(501, ticker="KXB-1", skip=1)
    tape.snapshot(id_=2)
    tape.delta(600)
    rows = tape.take()
    assert tape.claiming() == ["KXB-1"]
    assert not rows.requests and places(rows)[-1] == (600, -1)


def test_a_market_that_was_deleted_before_its_first_book_is_not_held() -> None:
    """The add was answered; its book comes after the delete was sent."""
    tape = Tape()
    tape.subscribe(T)
    tape.send("delete_markets", T, id_=3)
    tape.snapshot()
    assert not tape.claiming()


def test_a_frame_that_is_no_row_ends_a_run_that_claims_nothing_too() -> None:
    """Rule 10: its head would have a hole, and what was deleted would count on over it."""
    tape = Tape()
    tape.subscribe(T)
    tape.snapshot()
    tape.delta(500)
    tape.send("delete_markets", T, id_=3)
    tape.delta(500)
    tape.delta(500, price_dollars=5)
    tape.delta(500)
    tape.delta(501, price_dollars=5)
    tape.delta(501)
    rows = tape.take()
    assert places(rows) == [(500, 0), (500, 1), (500, -1), (501, -1)]
    assert len(set(rows.deltas.list("run"))) == 3


def test_a_floor_is_carried_over_a_gap() -> None:
    """Rule 19: what was seen before the numbers began again lies below it still."""
    tape = Tape()
    tape.subscribe(T, "KXB-1")
    tape.snapshot()
    for at in (500, 501):
        tape.delta(at)
    tape.begin_again(T, id_=2)
    begun = 501 + 1 + BOUNDS.clock
    tape.delta(499, skip=1)
    tape.delta(begun - 1)
    tape.delta(begun)
    assert places(tape.take())[-3:] == [(499, -1), (begun - 1, -1), (begun, 0)]


def test_an_add_whose_market_was_deleted_before_its_answer_holds_nothing() -> None:
    """The delete was sent last."""
    tape = Tape()
    tape.subscribe("KXB-1")
    tape.send("add_markets", T, "KXC-1", id_=2)
    tape.send("delete_markets", T, id_=3)
    tape.frame("ok", {}, id=2)
    for ticker in (T, "KXB-1", "KXC-1"):
        tape.snapshot(ticker)
    assert tape.claiming() == ["KXB-1", "KXC-1"]


@pytest.mark.parametrize("end", ["unsubscribe", "unsubscribed", "unnumbered", "error", "unnumbered error"])
def test_late_frames_of_a_subscription_that_is_over_claim_nothing(end: str) -> None:
    """They are rows; no book, no gap and no add brings the sid back, but an answer that gives its number again does."""
    tape = Tape()
    tape.subscribe(T)
    tape.snapshot()
    tape.send("add_markets", "KXB-1", id_=2)
    tape.delta(500)
    if end.startswith("unsubscribe") or end == "unnumbered":
        tape.send("unsubscribe", id_=3)
    assert tape.claiming() == ([] if end in ("unsubscribe", "unsubscribed", "unnumbered") else [T])
    if end == "unsubscribed":
        tape.frame("unsubscribed", {}, id=3)
    elif end == "unnumbered":
        tape.unnumbered("unsubscribed", id=3)
    elif end == "error":
        tape.frame("error", {"code": 25})
    elif end == "unnumbered error":
        tape.unnumbered("error", sid=1, msg={"code": 10})
    tape.frame("ok", {}, id=2)
    tape.snapshot()
    tape.snapshot("KXB-1")
    tape.delta(600, skip=2)
    tape.snapshot("KXB-1", skip=2)
    tape.unnumbered("subscribed", id=1, msg={"channel": "orderbook_delta", "sid": 1})
    tape.snapshot()
    assert not tape.claiming()
    assert places(tape.take()) == [(500, 0), (600, -1)]
    tape.seq = 0
    tape.subscribe(T, id_=7)
    tape.snapshot()
    tape.delta(700)
    assert tape.claiming() == [T] and places(tape.take()) == [(700, 0)]


def test_a_late_book_claims_nothing_where_no_command_names_markets() -> None:
    """Then whatever has a book is held, but for what is over."""
    tape = Tape()
    tape.snapshot()
    assert tape.claiming() == [T]
    tape.frame("error", {"code": 25})
    tape.snapshot()
    assert not tape.claiming()


@pytest.mark.parametrize("type_", sorted(t for t, c in channels.OF_TYPE.items() if c in channels.ALL_MARKETS_CHANNELS))
def test_a_message_shows_its_channel_before_the_exchange_names_it(type_: str) -> None:
    """Whatever the message is called: the capture takes the sid for this channel's, too."""
    tape = Tape()
    tape.frame(type_, {"market_ticker": T})
    rows = tape.take()
    assert [row.channel for row in rows.slices] == [channels.OF_TYPE[type_]]
    assert next(row.ticker for row in rows.runs) == state.ALL_MARKETS


def test_late_trades_of_a_subscription_that_is_over_claim_nothing() -> None:
    """The channel of all markets has one run, and that ends as well."""
    tape = Tape()
    tape.unnumbered("subscribed", id=1, msg={"channel": "trade", "sid": 1})
    tape.frame("ok", {})
    assert tape.claiming() == [state.ALL_MARKETS]
    tape.frame("error", {"code": 25})
    tape.frame("trade", {}, skip=3)
    tape.frame("ok", {})
    assert not tape.claiming()


@pytest.mark.parametrize("kind", ["again", "lower", "repeat"])
def test_after_a_lower_number_no_market_claims_before_a_book_of_its_own(kind: str) -> None:
    """Rule 17: whether frames are repeated or another stream counts from the beginning, nothing continues."""
    tape = Tape()
    tape.subscribe(T, "KXB-1", "KXC-1")
    for ticker in (T, "KXB-1", "KXC-1"):
        tape.snapshot(ticker)
    for at in (500, 501, 502, 503):
        tape.delta(at)
    tape.take()
    tape.seq = {"again": 0, "lower": 3, "repeat": tape.seq - 1}[kind]
    tape.delta(503)
    assert not tape.claiming()
    tape.delta(600, ticker="KXB-1")
    tape.delta(601, skip=5)  # a gap does not make them held
    assert not tape.claiming()
    tape.send("get_snapshot", T, "KXB-1", "KXC-1", id_=77)
    tape.snapshot("KXB-1")
    tape.snapshot("KXB-1", id_=76)
    tape.snapshot("KXC-1", id_=77)
    tape.snapshot(id_=77)
    tape.delta(700)
    rows = tape.take()
    assert tape.claiming() == [T, "KXC-1"]
    assert [b.reason for b in rows.breaks] == ["repeat_or_decrease", "gap"]
    assert places(rows) == [(503, -1), (600, -1), (601, -1), (700, 0)]
    assert "step_back" not in rows.alarms, "a repeat is not a step of the exchange's time"
    assert not [r for r in rows.runs if r.cover_from_ms < START_MS + 503]


def test_repeated_changes_after_a_book_have_no_ordinals() -> None:
    """A repeat may begin with a book, and with one that was asked for: neither opens a claim."""
    for id_ in (None, 2):
        tape = Tape()
        tape.subscribe(T)
        tape.send("get_snapshot", T, T, id_=2)
        for _ in range(2):
            tape.seq = 0
            tape.snapshot(id_=id_)
            for at in (500, 500, 501):
                tape.delta(at)
        tape.delta(502)
        assert places(tape.take()) == [(500, 0), (500, 1), (501, 0), (500, -1), (500, -1), (501, -1), (502, -1)]
        tape.send("get_snapshot", T, id_=3)
        tape.snapshot(id_=3)
        tape.delta(600)
        assert places(tape.take()) == [(600, 0)]


def test_what_was_repeated_from_before_a_delete_is_not_taken_for_the_book_of_a_new_add() -> None:
    """Rules 16, 17: whether the new add's own book has come or not, and whether its answer fell among the repeats."""
    for own in (True, False):
        for late in (True, False):
            tape = Tape()
            tape.subscribe("KXB-1")
            tape.snapshot("KXB-1")
            tape.send("add_markets", T, id_=2)
            tape.frame("ok", {}, id=2)
            seq, old_ms = tape.seq, tape.now
            tape.snapshot()
            tape.delta(500)
            tape.send("delete_markets", T, id_=3)
            tape.frame("ok", {}, id=3)
            tape.now += 1000
            tape.send("add_markets", T, id_=4)
            if not late:
                tape.frame("ok", {}, id=4)
            if own:
                tape.snapshot()
            tape.seq = seq - 1
            tape.frame("ok", {}, id=2)
            if late:
                tape.unnumbered("ok", id=4, sid=1)
            tape.frame("orderbook_snapshot", {"market_ticker": T}, sending=old_ms)
            tape.delta(500)
            tape.frame("ok", {}, id=3)
            tape.take()
            assert not tape.claiming()
            tape.send("get_snapshot", T, "KXB-1", id_=5)
            tape.snapshot(id_=5)
            (run,) = tape.take().runs
            assert run.cover_from_ms > tape.now, (own, late)


def test_numbers_that_begin_again_twice_do_not_take_claims_back_to_before_the_first() -> None:
    """The repeat of a stream whose numbers have begun again looks like a gap: no run after it begins earlier."""
    tape = Tape()
    tape.subscribe(T)
    tape.snapshot()
    for at in range(20):
        tape.delta(at)
    tape.now += 1000
    tape.begin_again(T, id_=2)
    began = tape.take().runs[-1].cover_from_ms
    tape.frame("ok", {}, skip=10, sending=START_MS)
    (run,) = tape.take().runs
    assert tape.claiming() and run.cover_from_ms == began


def test_a_sid_that_is_given_again_is_another_numbering() -> None:
    """What was known of the earlier numbers ended with it."""
    tape = Tape()
    tape.subscribe(T)
    tape.snapshot()
    tape.delta(500)
    tape.begin_again(T, id_=2)
    tape.frame("unsubscribed", {})
    for _ in range(2):
        tape.seq = 0
        tape.delta(600)
    tape.seq = 0
    tape.subscribe(T, id_=3)
    tape.snapshot()
    assert tape.claiming() == [T]


def back(tape: Tape) -> Rows:
    """Exchange time of T steps back from 510 to 505."""
    tape.subscribe(T, "KXB-1")
    tape.snapshot()
    tape.snapshot("KXB-1")
    for at in (500, 510, 505):
        tape.delta(at)
    return tape.take()


def test_a_run_that_begins_inside_a_step_back_knows_no_ordinal_until_its_maximum_has_passed() -> None:
    """Rule 19: opened by a gap, by a frame that is no row, by numbers that begin again, by a new subscription, by an
    add after a delete, or by a second step back."""

    def renumbered(tape: Tape) -> None:
        tape.begin_again(T, id_=6, sending=START_MS + 480)

    def resubscribed(tape: Tape) -> None:
        tape.frame("error", {"code": 25})
        tape.seq = 0
        tape.subscribe(T, sid=2, id_=7)
        tape.sid = 2
        tape.snapshot()

    def added_again(tape: Tape) -> None:
        tape.send("delete_markets", T, id_=8)
        tape.frame("ok", {}, id=8)
        tape.send("add_markets", T, id_=9)
        tape.frame("ok", {}, id=9)
        tape.snapshot()

    for opens in (
        lambda t: t.delta(505, ticker="KXB-1", skip=1),
        lambda t: t.delta(505, price_dollars=5),
        renumbered,
        resubscribed,
        added_again,
        lambda t: t.delta(504),
    ):
        tape = Tape()
        assert back(tape).alarms == {"step_back": 1}
        opens(tape)
        tape.take()
        for at in (506, 506, 509, 510, 511, 511):
            tape.delta(at)
        rows = tape.take()
        assert places(rows) == [(506, -1), (506, -1), (509, -1), (510, -1), (511, 0), (511, 1)]
        assert not [e for e in rows.run_events if e.event == "covers" and e.from_ms < START_MS + 511]


def test_a_step_back_across_a_gap_is_one_too() -> None:
    """The frame that shows it is the first of its run."""
    tape = Tape()
    tape.snapshot()
    tape.delta(500)
    tape.delta(490, skip=1)
    for at in (495, 500, 501):
        tape.delta(at)
    rows = tape.take()
    assert places(rows) == [(500, 0), (490, -1), (495, -1), (500, -1), (501, 0)]
    assert [(e.from_ms - START_MS, e.to_ms - START_MS) for e in rows.run_events if e.event == "retracts"] == [
        (490, 501)
    ]


def test_a_market_that_is_over_leaves_nothing_in_the_state() -> None:
    """Rule 21: born, traded, settled, with late frames, again and again."""
    tape = Tape()
    tape.subscribe(T)
    tape.snapshot()
    sizes = []
    for number in range(2000):
        ticker = f"KXC-{number}"
        tape.send("add_markets", ticker, id_=10 + 3 * number)
        tape.frame("ok", {}, id=10 + 3 * number)
        tape.snapshot(ticker)
        tape.delta(500 + number, ticker=ticker)
        tape.send("get_snapshot", ticker, id_=11 + 3 * number)
        tape.snapshot(ticker, id_=11 + 3 * number)
        tape.send("delete_markets", ticker, id_=12 + 3 * number)
        tape.frame("ok", {}, id=12 + 3 * number)
        tape.snapshot(ticker)
        if number % 1000 == 500:
            tape.take()
            sizes.append(len(msgspec.msgpack.encode(tape.derivation.state)))
    assert sizes[1] <= sizes[0] + 8


def test_late_changes_of_markets_that_are_over_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a run that claims nothing; the oldest goes."""
    monkeypatch.setattr("gatherer.derive.runs.STRAYS_MAX", 10)
    tape = Tape()
    tape.subscribe(T)
    for number in range(30):
        tape.delta(500, ticker=f"KXC-{number}")
    assert len(tape.take().deltas) == 30
    (slice_,) = tape.derivation.state.sessions[1].slices.values()
    assert list(slice_.runs) == list(slice_.strays) == [f"KXC-{number}" for number in range(20, 30)]


def test_changes_that_claim_nothing_are_noticed() -> None:
    """A session whose beginning was not read, or a horizon that does not move: how long, beyond the bounds."""
    tape = Tape()
    tape.snapshot()
    for second in range(1, 8):
        tape.now = START_MS + 1000 * second
        tape.delta(1000 * second)
    assert not tape.take().claims_still_ms
    stuck = START_MS + 7000  # of the sender's clock, from now on
    for second in range(8, 18):
        tape.now = START_MS + 1000 * second
        msg = {"market_ticker": T, "price_dollars": "0.42", "delta_fp": "1.00", "side": "yes", "ts_ms": stuck}
        tape.frame("orderbook_delta", msg, sending=stuck)
    assert tape.take().claims_still_ms == 10_000
    tape.derivation.state.sessions.clear()
    for second in range(20, 31):
        tape.now = START_MS + 1000 * second
        tape.delta(1000 * second)
    assert tape.take().claims_still_ms == 10_000
    tape.send("get_snapshot", T, id_=4)
    tape.snapshot(id_=4)
    assert not tape.take().claims_still_ms


def test_snapshots_are_placed_and_compared_with_the_folded_book() -> None:
    """base: before the first known group; audit: equal; reset: different while the run is unbroken."""
    tape = Tape()
    tape.snapshot(a="5.00")
    tape.delta(5)
    tape.delta(500)
    tape.snapshot(a="7.00")
    tape.snapshot()
    rows = tape.take()
    shown = [(s.kind, s.exchange_ms - START_MS, s.after_ordinal, s.agrees, s.yes) for s in rows.snapshots]
    assert shown == [
        ("base", 500, -1, -1, [4200, 600]),
        ("audit", 500, 0, 1, [4200, 700]),
        ("reset", 500, 0, 0, []),
    ]


def test_a_quiet_book_is_placed_once_the_horizon_passed_its_beginning() -> None:
    """Nothing changed before it, and that is proven."""
    tape = Tape()
    tape.snapshot(a="5.00")
    assert not tape.take().snapshots
    tape.now += 1000
    tape.frame("ok", {})
    (row,) = tape.take().snapshots
    assert (row.kind, row.exchange_ms - START_MS, row.after_ordinal) == ("base", 11, -1)


@pytest.mark.parametrize("id_", [4, None])
def test_no_book_is_inferred_for_what_came_before_its_snapshot(id_: int | None) -> None:
    """Rule 15: after a gap a book holds from its own frame on; a close between may have emptied what was there."""
    tape = Tape()
    tape.snapshot(a="5.00")
    tape.delta(500)
    tape.take()
    tape.delta(550, skip=2)
    tape.delta(600)
    tape.delta(600)
    tape.snapshot(id_=id_, a="11.00")
    tape.delta(600)
    assert not tape.take().snapshots
    tape.delta(610)
    tape.snapshot(id_=id_, a="13.00")
    shown = [(s.kind, s.exchange_ms - START_MS, s.after_ordinal, s.agrees, s.yes) for s in tape.take().snapshots]
    assert shown == [("base", 610, -1, -1, [4200, 1200]), ("audit", 610, 0, 1, [4200, 1300])]


@pytest.mark.parametrize("change", [True, False])
def test_a_book_that_came_later_in_a_quiet_run_is_placed_where_it_came(change: bool) -> None:
    """Rule 15: a market that closed after the gap and before the answer was not empty when its run began."""
    tape = Tape()
    tape.snapshot(a="5.00")
    tape.frame("ok", {}, skip=1)
    tape.now += 3000
    if change:
        tape.delta(3000)
    tape.snapshot(id_=4)
    taken = tape.now - START_MS
    tape.now += 5000
    tape.frame("ok", {})
    (row,) = tape.take().snapshots
    assert (row.kind, row.exchange_ms - START_MS, row.yes) == ("base", taken + 1 + BOUNDS.clock, [])


def test_a_book_that_came_after_a_change_ahead_of_the_clock_is_placed_after_it() -> None:
    """A run that began without a book has counted a change: the book that comes then has it."""
    tape = Tape()
    tape.subscribe(T)
    tape.snapshot()
    tape.delta(5)
    tape.frame("ok", {}, skip=1)
    change = {"market_ticker": T, "price_dollars": "0.4200", "delta_fp": "1.00", "side": "yes", "ts_ms": tape.now + 15}
    tape.frame("orderbook_delta", change)
    tape.snapshot(yes="1.00")
    tape.now += 5000
    tape.frame("ok", {})
    rows = tape.take()
    assert places(rows)[-1] == (20, 0)
    assert [(s.kind, s.exchange_ms - START_MS) for s in rows.snapshots if s.yes] == [("base", 21)]


def test_an_empty_book_after_a_close_proves_nothing_about_the_runs_beginning() -> None:
    """Rule 15: it came before the first book had a place. An equal one only confirms what was there."""
    both: list[tuple[dict[str, Any], int]] = [({}, 211), ({"a": "5.00"}, 11)]
    for second, placed_at in both:
        tape = Tape()
        tape.snapshot(a="5.00")
        tape.now += 200
        tape.snapshot(**second)
        tape.now += 5000
        tape.frame("ok", {})
        (row,) = tape.take().snapshots
        assert (row.kind, row.exchange_ms - START_MS) == ("base", placed_at)


def test_an_instant_holds_any_number_of_changes() -> None:
    """Rule 20: a mass cancel of a market maker is one millisecond."""
    tape = Tape()
    tape.snapshot()
    for _ in range(9000):
        tape.delta(500)
    rows = tape.take()
    assert rows.deltas.list("ordinal") == list(range(9000))
    assert not rows.delta_frames_quarantined


def test_horizons_advance_by_sending_time_or_by_the_commands_own_time() -> None:
    """Pings and receive times prove nothing; a numbered frame does."""
    tape = Tape()
    tape.snapshot()
    tape.now += 1000
    tape.frame("ok", {})
    assert tape.take().horizons[0].horizon_ms == START_MS + 1000 - BOUNDS.sender - BOUNDS.lag
    command = {
        "id": 9,
        "cmd": "update_subscription",
        "params": {"sids": [1], "action": "get_snapshot", "market_tickers": [T]},
    }
    tape.now += 1000
    tape.record(Kind.COMMAND, json.dumps(command).encode())
    sent = tape.now
    tape.now += 50
    tape.seq += 1
    answer = {"type": "orderbook_snapshot", "id": 9, "sid": 1, "seq": tape.seq, "msg": {"market_ticker": T}}
    tape.record(Kind.FRAME, json.dumps(answer).encode())
    assert tape.take().horizons[0].horizon_ms == sent - BOUNDS.clock - BOUNDS.lag


def test_the_end_of_a_session_or_a_cut_journal_ends_everything() -> None:
    """Nothing is claimed beyond it."""
    ends: list[Callable[[Tape], object]] = [
        lambda t: t.record(Kind.ENDED, msgspec.json.encode(Ended("cut"))),
        lambda t: t.derivation.cut("torn_tail", 1),
    ]
    for end in ends:
        tape = Tape()
        tape.snapshot()
        tape.delta(500)
        end(tape)
        rows = tape.take()
        assert [e.event for e in rows.run_events] == ["ended"]
        assert [h.ended for h in rows.horizons] == [True]
        assert not tape.derivation.state.sessions


@pytest.mark.parametrize("seed", range(30))
def test_a_second_reading_gives_the_same_rows_whatever_the_batches_and_restarts(seed: int) -> None:
    """The rows depend on the journal alone."""
    shape = Shape(markets=3, events=200, losses=0.05, cuts=0.01)
    station = Station(1, random.Random(seed), shape)
    station.play(make_events(random.Random(seed), shape))

    def read(trial: int) -> list[tuple[object, ...]]:
        rng = random.Random(trial)
        derivation = Derivation(BOUNDS, state.fresh(1))
        result: list[tuple[object, ...]] = []
        for n, record in enumerate(station.records):
            derivation.apply(record)
            if rng.random() < 0.1 * trial or n + 1 == len(station.records):
                rows = derivation.take()
                result += zip(*(rows.deltas.list(name) for name in ("ticker", *COLUMNS) if name != "code"), strict=True)
                result += [("run", *r) for r in rows.runs] + [("slice", *r) for r in rows.slices]
                result += [("event", *e[1:]) for e in rows.run_events]
                result += [("book", *s[:8], *s.yes, -1, *s.no) for s in rows.snapshots]
                if rng.random() < 0.5:
                    derivation = Derivation(BOUNDS, state.load(state.dump(derivation.state)))
        return sorted(result, key=str)

    assert read(0) == read(1) == read(5)


class RestTape(Tape):
    """A tape with REST books."""

    asked_us = 0

    def watch(self, *tickers: str, late_ms: int = 0) -> None:
        """REST is asked now; the record of it is written `late_ms` later."""
        self.asked_us = self.now * 1000
        self.now += late_ms
        self.record(Kind.WATCH, msgspec.json.encode(Watch(list(tickers))))

    def answer(self, *sizes: str, price: str = "0.4200") -> None:
        """REST answers with a book."""
        book = RestBook(T, self.asked_us, self.now * 1000, [(price, size) for size in sizes], [])
        self.record(Kind.REST_BOOK, msgspec.json.encode(book))

    def later(self, ms: int) -> None:
        """Time passes; a frame proves that nothing was missed."""
        self.now += ms
        self.frame("ok", {}, id=1)


def test_a_rest_book_is_right_if_it_was_the_book_at_any_instant_of_its_request() -> None:
    """Before the answer, at it, or, as the stream may lag REST, after it."""
    for changes_before, changes_after, answer, agrees in (
        (2, 0, "3.00", 1),  # the state at the answer
        (2, 0, "1.00", 1),  # the state when the watch began
        (1, 2, "4.00", 1),  # a state that the stream reaches later
        (1, 1, "9.00", 0),  # never
    ):
        tape = RestTape()
        tape.snapshot(a="1.00")
        tape.watch(T, "KXOTHER")
        for n in range(changes_before):
            tape.delta(50 + n)
        tape.answer(answer)
        for n in range(changes_after):
            tape.delta(90 + n)
        tape.later(100)
        early = tape.take().rest_books
        tape.later(2000)
        rows = tape.take()
        assert [r.agrees for r in (*early, *rows.rest_books)] == [agrees], answer
        assert bool(early) == bool(agrees), "a contradiction counts only when the stream is complete past the answer"
        assert rows.alarms.get("rest_book_disagrees", 0) == 1 - agrees


def test_rest_books_without_a_folded_book_or_after_a_break_are_not_compared() -> None:
    """Nothing is claimed: neither that they agree nor that they do not."""
    tape = RestTape()
    tape.answer("1.00")
    tape.snapshot(a="1.00")
    tape.watch(T)
    tape.answer("7.00")
    tape.delta(50, skip=1)
    tape.answer("1.00", "2.00", price="0.5")
    rows = tape.take()
    assert [r.agrees for r in rows.rest_books] == [-1, -1]
    assert rows.checks == {"rest_book_not_comparable": 2}
    assert [q.reason.split(":")[0] for q in rows.quarantine] == ["REST book"], "a level twice is no book"


@pytest.mark.parametrize(("late_ms", "agrees"), [(0, 0), (1, -1), (4000, -1)])
def test_a_watch_that_was_recorded_after_rest_was_asked_compares_nothing(late_ms: int, agrees: int) -> None:
    """A capture that stood still has not seen what the book was when REST read it: that is no contradiction."""
    tape = RestTape()
    tape.snapshot(a="1.00")
    tape.watch(T, late_ms=late_ms)
    tape.answer("9.00")
    tape.later(100)
    tape.later(2000)
    rows = tape.take()
    assert [r.agrees for r in rows.rest_books] == [agrees]
    assert rows.alarms.get("rest_book_disagrees", 0) == (agrees == 0)


def test_a_snapshot_inside_the_watch_counts_as_a_state() -> None:
    """A reset replaces the folded book; REST may show either side of it."""
    tape = RestTape()
    tape.snapshot(a="1.00")
    tape.watch(T)
    tape.snapshot(a="5.00")
    tape.answer("5.00")
    assert [r.agrees for r in tape.take().rest_books] == [1]


def test_bounds_are_measured_and_alarmed_at_a_quarter() -> None:
    """Disorder between markets of one subscription, lag of the queue, a sender slower than the stamps."""
    tape = Tape()
    tape.snapshot()
    tape.snapshot("KXB-1")
    tape.delta(500)
    tape.delta(440, ticker="KXB-1")
    rows = tape.take()
    assert rows.measured_ms["disorder"] == 60 and "disorder_bound_approached" not in rows.alarms
    tape.delta(800)
    tape.delta(700, ticker="KXB-1")
    rows = tape.take()
    assert rows.measured_ms["disorder"] == 100 and rows.alarms["disorder_bound_approached"] == 1
    msg = {"market_ticker": T, "price_dollars": "0.4200", "delta_fp": "1.00", "side": "yes", "ts_ms": START_MS + 900}
    tape.frame("orderbook_delta", msg, sending=START_MS + 895)
    assert tape.take().measured_ms["sender"] == 5
    tape.frame("orderbook_delta", {**msg, "ts_ms": START_MS + 901}, sending=START_MS + 1050)
    rows = tape.take()
    assert rows.measured_ms["lag"] == 149 and rows.alarms["lag_bound_approached"] == 1
