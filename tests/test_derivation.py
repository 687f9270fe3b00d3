"""The derivation of runs, ordinals, coverage and books, frame by frame."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from gatherer.derive import state
from gatherer.derive.deltas import COLUMNS
from gatherer.derive.derivation import ORDINAL_MAX, Derivation
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.rows import Rows
from gatherer.journal.format import Ended, Kind, Record, RestBook, SessionOpened, Watch
from tests.world import START_MS, Shape, Station, make_events

BOUNDS = BoundsMs(disorder=300, lag=400, sender=20, clock=10)
T = "KXA-1"


class Tape:
    """Feeds a derivation by hand: one session, one sid."""

    def __init__(self) -> None:
        self.derivation = Derivation(BOUNDS, state.fresh(5))
        self.seq = 0
        self.now = START_MS
        self.record(Kind.OPENED, msgspec.json.encode(SessionOpened("orderbook", 1, "ws://x", clock_proven=True)))

    def record(self, kind: Kind, payload: bytes) -> None:
        self.derivation.apply(Record(kind, 1, self.now * 1000, self.now * 1000, payload))

    def frame(self, type_: str, msg: object, *, skip: int = 0, sending: int | None = None, **extra: Any) -> None:
        self.seq += 1 + skip
        frame = {"type": type_, "sid": 1, "seq": self.seq, "msg": msg, **extra}
        frame["sending_ts_ms"] = self.now if sending is None else sending
        self.record(Kind.FRAME, json.dumps(frame).encode())

    def snapshot(self, ticker: str = T, *, skip: int = 0, id_: int | None = None, **levels: str) -> None:
        msg: dict[str, object] = {"market_ticker": ticker}
        if levels:
            msg["yes_dollars_fp"] = [["0.4200", size] for size in levels.values()]
        self.frame("orderbook_snapshot", msg, skip=skip, **({} if id_ is None else {"id": id_}))

    def delta(self, at: int, *, ticker: str = T, skip: int = 0, **changes: Any) -> None:
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

    def take(self) -> Rows:
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
def test_a_change_that_cannot_become_a_row_ends_the_run_of_its_market_alone(change: dict[str, object]) -> None:
    """Rule 10: it is kept apart; the market gets a new run and asks for a book; others go on."""
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


def test_frames_of_a_session_whose_beginning_is_unknown_are_rows_all_the_same() -> None:
    """After a lost state: changes without a run have unknown ordinals, a book begins a run again."""
    tape = Tape()
    tape.derivation.state.sessions.clear()
    tape.delta(500)
    tape.snapshot()
    tape.delta(700)
    rows = tape.take()
    assert places(rows) == [(500, -1), (700, 0)]
    assert not rows.quarantine


def test_a_deleted_market_claims_nothing_from_the_command_on() -> None:
    """Coverage ends when the command is sent; rows count until the ok; no snapshot revives it without a new add."""
    tape = Tape()
    tape.snapshot()
    tape.delta(500)
    command = {
        "id": 3,
        "cmd": "update_subscription",
        "params": {"sids": [1], "action": "delete_markets", "market_tickers": [T]},
    }
    tape.record(Kind.COMMAND, json.dumps(command).encode())
    tape.delta(501)
    tape.frame("ok", {}, id=3)
    tape.delta(502)
    tape.snapshot()
    rows = tape.take()
    assert places(rows) == [(500, 0), (501, 0), (502, -1)]
    assert [e.reason for e in rows.run_events] == ["deleted"]
    assert [r.cover_from_ms == state.NEVER for r in rows.runs] == [False, True]
    command["params"]["action"] = "add_markets"  # type: ignore[index]
    tape.record(Kind.COMMAND, json.dumps(command).encode())
    tape.snapshot()
    assert len(tape.take().runs) == 1


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


def test_after_a_gap_the_answer_to_get_snapshot_gives_the_book_at_the_new_runs_first_group() -> None:
    """What was lost is in the snapshot; what came since is taken off again. An unsolicited one proves nothing."""
    for id_, expected in (
        (4, [("base", 600, -1, [4200, 900]), ("audit", 600, 1, [4200, 1100])]),
        (None, [("audit", 600, 1, [4200, 1100])]),
    ):
        tape = Tape()
        tape.snapshot(a="5.00")
        tape.delta(500)
        tape.take()
        tape.delta(550, skip=2)
        tape.delta(600)
        tape.delta(600)
        tape.snapshot(id_=id_, a="11.00")
        shown = [(s.kind, s.exchange_ms - START_MS, s.after_ordinal, s.yes) for s in tape.take().snapshots]
        assert shown == expected


def test_more_changes_in_one_millisecond_than_an_ordinal_holds_are_quarantined() -> None:
    """A limit, not an overflow."""
    tape = Tape()
    tape.snapshot()
    for _ in range(ORDINAL_MAX + 2):
        tape.delta(500)
    rows = tape.take()
    assert rows.deltas.list("ordinal") == list(range(ORDINAL_MAX + 1))
    assert rows.delta_frames_quarantined == 1


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
    for end in (
        lambda t: t.record(Kind.ENDED, msgspec.json.encode(Ended("cut"))),
        lambda t: t.derivation.cut("torn_tail", 1),
    ):
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
        book = RestBook(T, self.asked_us, self.now * 1000, [(price, size) for size in sizes], [])
        self.record(Kind.REST_BOOK, msgspec.json.encode(book))

    def later(self, ms: int) -> None:
        """Time passes; a frame proves that nothing was missed."""
        self.now += ms
        self.frame("ok", {}, id=1)


def test_a_rest_book_is_right_if_it_was_the_book_at_any_instant_of_its_request() -> None:
    """Before the answer, at it, or, as the stream may lag behind REST, after it."""
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
        assert bool(early) == bool(agrees), "a contradiction is told only when the stream is complete past the answer"
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
    """Disorder between markets of one subscription, lag of the queue, a sender behind the stamps."""
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
