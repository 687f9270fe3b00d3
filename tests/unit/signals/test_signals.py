"""A market's signals: the exact values of the recordings, and what holds for any stream of events."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from common import levels
from common.contract.sides import NO, YES
from common.numbers import DOLLAR
from signals import composite, events, market, regime
from signals.book import LEVELS, FoldedBook
from signals.events import Event
from signals.market import LateEvent, SignalState, begin, decode, encode, step
from signals.outputs import Output, Watermark, digest
from signals.plan import Plan, Vpin
from signals.state import MarketState
from signals.windows import WINDOWS_S
from tests.support.signals_case import recorded

START_MS = 1_786_398_000_000
PLAN = Plan(top=True, vpin=(Vpin(size=1000, buckets=3), Vpin(parts=10, least=300, buckets=4)))
ORACLES = msgspec.json.decode((Path(__file__).parents[2] / "support" / "signals_oracles.json").read_bytes())


def world(seed: int, *, gaps: bool = True, seconds: int = 90) -> list[Event]:
    """A market's events at random: bursts and pauses, trades that change the book, resets, gaps, its life."""
    rng = random.Random(seed)
    book: levels.Book = {}
    made: list[Event] = []
    now, last = START_MS + rng.randrange(3000), START_MS + seconds * 1000
    made.append(events.lifecycle(now, events.ACTIVATED, START_MS, last - rng.randrange(20_000)))
    made.append(events.book(now, -1, ()))
    while now < last:
        now += rng.choice((1, 1, 2, 7, 40, 300, 1000, rng.randrange(1, 9000)))
        draw = rng.random()
        if draw < 0.01:
            book = {2 * rng.randrange(1, 50) * 100 + rng.randrange(2): rng.randrange(1, 900) for _ in range(8)}
            made.append(events.book(now, -1, book.items(), events.RESET))
        elif draw < 0.02:
            made.append(events.book(now, -1, book.items()))
        elif gaps and draw < 0.04:
            until = now + rng.choice((1, 400, 3000))
            made.append(events.gap(now, until, rng.randrange(1, 8)))
            now = until + rng.randrange(3)
            made.append(events.book(now, -1, book.items()))
        elif draw < 0.06:
            made.append(events.tick(now, rng.randrange(9), rng.randrange(9)))
        for ordinal in range(rng.choice((0, 1, 1, 1, 2, 5))):
            side = rng.randrange(2)
            key = 2 * rng.randrange(1, 50) * 100 + side
            if key in book and rng.random() < 0.6:
                delta = -rng.randint(1, book[key])
                if rng.random() < 0.5:
                    price = DOLLAR - (key >> 1) if side == NO else key >> 1
                    made.append(events.trade(now, ordinal, f"{seed}-{len(made)}", price, -delta, YES if side else NO))
            else:
                delta = rng.randrange(1, 900)
            levels.add(book, key, delta)
            made.append(events.change(now, ordinal, side, key >> 1, delta))
    made.append(events.lifecycle(last + 500, events.DETERMINED, yes_value=DOLLAR))
    return events.ordered(made)


def computed(found: Sequence[Event], until_ms: int | None = None, plan: Plan = PLAN) -> list[Output]:
    """All in one step."""
    until_ms = found[-1][0] + 4_000_000 if until_ms is None else until_ms
    return step(begin("M", START_MS, plan), [event for event in found if event[0] < until_ms], Watermark(until_ms))[1]


def in_force(outputs: list[Output], name: str, parameters: str = "") -> dict[int, tuple[bool, tuple[int, ...]]]:
    """By second what was last published: a signal publishes changes."""
    mine = {
        out.at_ms: (out.complete, out.values) for out in outputs if (out.signal, out.parameters) == (name, parameters)
    }
    now: tuple[bool, tuple[int, ...]] = (False, ())
    found: dict[int, tuple[bool, tuple[int, ...]]] = {}
    for at_ms in range(START_MS, outputs[-1].at_ms + 1, 1000):
        now = mine.get(at_ms, now)
        found[at_ms] = now
    return found


def test_the_recordings_give_the_exact_values(recordings: list[Path]) -> None:
    """State rows, order-flow imbalance, VPIN, seconds: every number that is known of the six, and their digests."""
    plan = Plan(top=True, vpin=(Vpin(size=100_000, buckets=20),))
    for file in recordings:
        real = recorded(file)
        known = ORACLES.get(real.ticker)
        if known is None:
            continue
        _, outputs = step(begin(real.ticker, real.since_ms, plan), real.events, Watermark(real.close_ms + 60_000))
        top = [(out.at_ms, *out.values) for out in outputs if out.signal == "top"]
        rows = np.array(top, "<i8")
        both = (rows[:, 1] >= 0) & (rows[:, 3] >= 0)
        before = rows[rows[:, 0] < real.close_ms]
        trades = [event for event in real.events if isinstance(event, events.Trade)]
        values = [out.values for out in outputs if out.signal == "vpin"]
        states = {out.at_ms: MarketState._make(out.values) for out in outputs if out.signal == "state" and out.values}
        seconds, mids, imbalances, held = 0, 0, 0, None
        for second in range(rows[0, 0] // 1000, rows[-1, 0] // 1000 + 2):
            held = states.get(second * 1000, held)
            if held is not None and held.mid2 >= 0:
                seconds, mids, imbalances = seconds + 1, mids + held.mid2, imbalances + held.imbalance_num
        buckets = imbalances_of_buckets(real.ticker, real.since_ms, trades)
        found = {
            "deltas": sum(isinstance(event, events.Change) for event in real.events),
            "trades": len(trades),
            "groups": len(rows),
            "groups_both_sides": int(both.sum()),
            "ofi_sum": int(rows[:, 5].sum()),
            "ofi_abs_sum": int(np.abs(rows[:, 5]).sum()),
            "ofi_nonzero": int(np.count_nonzero(rows[:, 5])),
            "trade_volume": sum(abs(trade.signed) for trade in trades),
            "signed_volume": sum(trade.signed for trade in trades),
            "vpin_buckets": len(buckets),
            "vpin_imbalances_head": buckets[:5],
            "vpin_values": len(values),
            "vpin_numerator_first": values[0][0],
            "vpin_numerator_last": values[-1][0],
            "vpin_numerator_sum": sum(value[0] for value in values),
            "vpin_last_at": [out.at_ms for out in outputs if out.signal == "vpin"][-1],
            "state_10min_before_close": before[before[:, 0] < real.close_ms - 600_000][-1, :5].tolist(),
            "last_state_before_close": before[-1, :5].tolist(),
            "sum_b": int(rows[both, 1].sum()),
            "sum_a": int(rows[both, 3].sum()),
            "sum_qb": int(rows[both, 2].sum()),
            "sum_qa": int(rows[both, 4].sum()),
            "seconds_with_both": seconds,
            "sum_mid2_at_seconds": mids,
            "sum_imbalance_num": imbalances,
            "state_sha256": hashlib.sha256(rows[:, :5].tobytes()).hexdigest(),
            "ofi_sha256": hashlib.sha256(rows[:, 5].tobytes()).hexdigest(),
        }
        assert found == {key: known[key] for key in found}, real.ticker
        assert set(known) - set(found) == {"result", "vpin_V", "vpin_n"}
        assert all(value[1] == known["vpin_n"] * known["vpin_V"] for value in values)


def imbalances_of_buckets(ticker: str, since_ms: int, trades: Sequence[Event]) -> list[int]:
    """With one bucket a value, a value is a bucket."""
    plan = Plan(vpin=(Vpin(size=100_000, buckets=1),))
    _, outputs = step(begin(ticker, since_ms, plan), trades, Watermark(trades[-1][0] + 1))
    return [out.values[0] for out in outputs if out.signal == "vpin"]


@pytest.mark.parametrize("seed", range(12))
def test_any_split_into_steps_gives_the_same(seed: int) -> None:
    """Events come in any order before their watermark; the state goes through bytes after some steps."""
    rng = random.Random(seed)
    found = world(seed)
    end_ms = found[-1][0] + 4_000_000
    marks = sorted(rng.sample(range(START_MS, found[-1][0] + 2000), 20)) + [end_ms]
    held, outputs, waiting = begin("M", START_MS, PLAN), [], list(found)
    rng.shuffle(waiting)
    for number, mark in enumerate(marks):
        due = [event for event in waiting if event[0] < mark or rng.random() < 0.1]
        waiting = [event for event in waiting if event not in due]
        held, more = step(held, due, Watermark(mark, number))
        outputs += more
        if rng.random() < 0.7:
            data = encode(held)
            held = decode(data)
            assert encode(held) == data
    assert not waiting
    assert [out._replace(known_step=0) for out in outputs] == computed(found)
    assert digest(outputs) == digest(computed(found))


@pytest.mark.parametrize("seed", range(12))
def test_what_else_is_computed_changes_no_value(seed: int) -> None:
    """With and without the best levels by the millisecond."""
    found = world(seed)
    plan = Plan(vpin=PLAN.vpin)
    assert computed(found, plan=plan) == [out for out in computed(found) if out.signal != "top"]


@pytest.mark.parametrize("seed", range(12))
def test_the_flow_is_that_of_neighbouring_states(seed: int) -> None:
    """Whichever way it is computed: of every two rows by the definition, for each level that both have."""
    found = world(seed, gaps=False)
    book: levels.Book = {}
    before: list[list[tuple[int, int]]] | None = None
    flows: dict[int, tuple[int, int]] = {}
    for at, event in enumerate(found):
        if isinstance(event, events.Book):
            book = dict(event.levels)
            before = None if event.part == events.RESET or at == 1 else before
        elif isinstance(event, events.Change):
            levels.add(book, event.key, event.delta)
            last = found[at + 1] if at + 1 < len(found) else None
            if isinstance(last, events.Change | events.Book) and last.at_ms == event.at_ms:
                continue
            flat = [levels.flat(book, side)[: 2 * LEVELS] for side in (YES, NO)]
            now = [list(zip(one[::2], one[1::2], strict=True)) for one in flat]
            first = every = 0
            both = min(map(len, (*now, *(before or ([], [])))))
            for level in range(both):
                (b, q), (no, r) = now[0][level], now[1][level]
                (b0, q0), (no0, r0) = (before or now)[0][level], (before or now)[1][level]
                a, a0 = DOLLAR - no, DOLLAR - no0
                came = (b >= b0) * q - (b <= b0) * q0 - (a <= a0) * r + (a >= a0) * r0
                every += came
                first = came if level == 0 else first
            flows[event.at_ms] = (first, every)
            before = now
    outputs = computed(found)
    rows = {out.at_ms: out.values[4] for out in outputs if out.signal == "top"}
    assert rows == {at_ms: first for at_ms, (first, _) in flows.items()}
    for at_ms, (_, values) in in_force(outputs, "ofi", "window=1").items():
        if values:
            inside = [every for row_ms, (_, every) in flows.items() if at_ms - 1000 <= row_ms < at_ms]
            assert values[1] == sum(inside), at_ms


@pytest.mark.parametrize("seed", range(12))
def test_no_value_looks_ahead(seed: int) -> None:
    """What was published up to a time is the same whatever comes later."""
    rng = random.Random(seed)
    found, other = world(seed), world(seed + 1000)
    whole = computed(found)
    for _ in range(12):
        cut = rng.choice((rng.choice(found)[0], START_MS + rng.randrange(90) * 1000))
        prefix = computed(found, cut)
        assert whole[: len(prefix)] == prefix
        assert all(out.at_ms >= cut for out in whole[len(prefix) :])
        changed = computed([event for event in found if event[0] < cut] + [event for event in other if event[0] >= cut])
        assert changed[: len(prefix)] == prefix


@pytest.mark.parametrize("seed", range(12))
def test_every_second_follows_the_definitions(seed: int) -> None:
    """Sums over windows, from the states and trades one by one; what is not published is as it was."""
    found = world(seed, gaps=False)
    outputs = computed(found)
    rows = [(out.at_ms, *out.values) for out in outputs if out.signal == "top"]
    trades = [event for event in found if isinstance(event, events.Trade)]
    mids: dict[int, int] = {}
    for at_ms, (_, values) in in_force(outputs, "state").items():
        mids[at_ms] = MarketState._make(values).mid2 if values else -1
    resets = {event[0] // 1000 for event in found if isinstance(event, events.Book) and event.part == events.RESET}
    for window in (1, 10, 60):
        flows = in_force(outputs, "ofi", f"window={window}")
        orders = in_force(outputs, "trade_flow", f"window={window}")
        for at_ms in flows:
            inside = [row for row in rows if at_ms - window * 1000 <= row[0] < at_ms]
            if flows[at_ms][1]:
                assert (flows[at_ms][1][0], flows[at_ms][1][2]) == (sum(row[5] for row in inside), len(inside))
            sizes = [trade.signed for trade in trades if at_ms - window * 1000 <= trade.at_ms < at_ms]
            assert orders[at_ms][1][:3] == (sum(map(abs, sizes)), sum(sizes), len(sizes)), (window, at_ms)
    for at_ms, (_, values) in in_force(outputs, "volatility", "window=60").items():
        moves = [
            abs(mids[now] - mids[now - 1000])
            for now in range(at_ms - 59_000, at_ms + 1, 1000)
            if mids.get(now, -1) >= 0 and mids.get(now - 1000, -1) >= 0 and now // 1000 - 1 not in resets
        ]
        if values:
            assert (values[0], values[2]) == (sum(move * move for move in moves), sum(move > 0 for move in moves))


@pytest.mark.parametrize("seed", range(30))
def test_the_best_levels_are_those_of_the_book(seed: int) -> None:
    """After any changes, as `common.levels` has the book."""
    rng = random.Random(seed)
    plain: levels.Book = {}
    book = FoldedBook()
    tops = [book.top(side) for side in (YES, NO)]
    for _ in range(300):
        key = 2 * rng.randrange(1, 15) + rng.randrange(2)
        delta = -plain[key] if key in plain and rng.random() < 0.6 else rng.randrange(1, 9)
        levels.add(plain, key, delta)
        touched = book.change(key, delta)
        for side in (YES, NO):
            if touched & (1 + side):
                tops[side] = book.top(side)
            flat = levels.flat(plain, side)
            assert tops[side] == list(zip(flat[::2], flat[1::2], strict=True))[:LEVELS]
            assert (book.no if side else book.yes).total == sum(flat[1::2])


@pytest.mark.parametrize("lost", [events.BOOK_LOST, events.TRADES_LOST, events.BOOK_LOST | events.TRADES_LOST])
def test_nothing_crosses_a_gap(lost: int) -> None:
    """After it every signal of what was lost is that of a market whose record begins there, incomplete until then."""
    for seed in range(8):
        found = [event for event in world(seed, gaps=False) if not isinstance(event, events.Lifecycle)]
        middle = found[len(found) // 2][0]
        rest = [event for event in found if event[0] >= middle + 2500]
        book: levels.Book = {}
        for event in found:
            if event[0] < middle + 2500:
                if isinstance(event, events.Book):
                    book = dict(event.levels)
                elif isinstance(event, events.Change):
                    levels.add(book, event.key, event.delta)
        again = events.book(middle + 2500, -1, book.items())
        before = [event for event in found if event[0] < middle]
        outputs = computed([*before, events.gap(middle, middle + 2500, lost), again, *rest])
        fresh = step(begin("M", middle + 2500, PLAN), [again, *rest], Watermark(rest[-1][0] + 4_000_000))[1]
        both_lost = events.BOOK_LOST | events.TRADES_LOST
        names = {
            events.BOOK_LOST: ("ofi", "imbalance", "volatility"),
            events.TRADES_LOST: ("trade_flow",),
            both_lost: ("state", "regime"),
        }
        both = {(out.signal, out.parameters) for out in outputs}
        for bit, signals in names.items():
            for name, parameters in both:
                if name not in signals or lost & bit != bit:
                    continue
                here, there = in_force(outputs, name, parameters), in_force(fresh, name, parameters)
                for at_ms in range(-(-(middle + 1) // 1000) * 1000, max(here), 1000):
                    if at_ms < middle + 2500:
                        assert here[at_ms] == (False, ()), (name, parameters)
                    else:
                        assert here[at_ms] == there.get(at_ms, here[at_ms]), (seed, name, parameters, at_ms)
        if lost & events.TRADES_LOST:
            after = [out._replace(n=0) for out in outputs if out.signal == "vpin" and out.at_ms >= middle]
            assert after == [out._replace(n=0) for out in fresh if out.signal == "vpin"]
        at_ms = -(-(middle + 2500) // 1000) * 1000
        state_now = in_force(outputs, "state")[at_ms + 1000]
        assert state_now[0] is False


def test_a_window_is_complete_once_it_lies_after_the_gap() -> None:
    """Of ten seconds: from ten seconds after it; and at once where the market opened no earlier."""
    base = [events.book(START_MS, -1, [(2 * 4000, 5), (2 * 5000 + 1, 5)])]
    quiet = computed(base, START_MS + 100_000)
    assert not any(out.complete for out in quiet if out.signal == "ofi" and out.at_ms == START_MS)
    complete = {out.parameters: out.at_ms for out in quiet if out.signal == "ofi" and out.complete}
    assert complete == {f"window={s}": START_MS + s * 1000 for s in (1, 10, 60)}
    born = computed([events.lifecycle(START_MS, events.ACTIVATED, START_MS), *base], START_MS + 100_000)
    assert all(out.complete for out in born if out.at_ms > START_MS and out.signal in ("ofi", "trade_flow"))
    gap = computed([*base, events.gap(START_MS + 20_500, START_MS + 21_200), events.book(START_MS + 21_200, -1, ())],
                   START_MS + 100_000)  # fmt: skip
    again = [
        out for out in gap if out.parameters == "window=10" and out.signal == "ofi" and out.at_ms > START_MS + 20_000
    ]
    assert [(out.at_ms - START_MS, out.complete, len(out.values)) for out in again] == [
        (21_000, False, 0), (22_000, False, 3), (32_000, True, 3),
    ]  # fmt: skip


def test_a_reset_is_no_flow() -> None:
    """The state before it is not compared with what comes after: no order emptied the book."""
    full = [(2 * 4000, 500), (2 * 5000 + 1, 500)]
    found: list[Event] = [
        events.book(START_MS, -1, full),
        events.change(START_MS + 10, 0, YES, 4000, 5),
        events.book(START_MS + 20, -1, [(2 * 3000, 7), (2 * 5000 + 1, 7)], events.RESET),
        events.change(START_MS + 30, 0, YES, 3000, 5),
        events.change(START_MS + 40, 0, YES, 3000, 5),
    ]
    outputs = computed(found, START_MS + 1000)
    assert [out.values[4] for out in outputs if out.signal == "top"] == [0, 0, 5]
    assert [out.values[0] for out in outputs if out.values and (out.signal, out.parameters) == ("ofi", "window=1")] == [
        5
    ]
    assert [out.values[2] for out in outputs if out.values and out.signal == "volatility"] == [0, 0, 0]


def test_an_impossible_book_is_not_known_until_the_next() -> None:
    """A level below nothing: no value rests on it."""
    found: list[Event] = [
        events.book(START_MS, -1, [(2 * 4000, 5), (2 * 5000 + 1, 5)]),
        events.change(START_MS + 1500, 0, YES, 4000, -6),
        events.change(START_MS + 1600, 0, YES, 4100, 6),
        events.book(START_MS + 2500, -1, [(2 * 4200, 5), (2 * 5000 + 1, 5)]),
    ]
    outputs = computed(found, START_MS + 5000)
    states = [(out.at_ms - START_MS, out.values[0] if out.values else None) for out in outputs if out.signal == "state"]
    assert states[:3] == [(0, None), (1000, 4000), (2000, None)]
    assert states[3] == (3000, 4200)


def test_a_late_event_is_refused() -> None:
    """The runner has to begin from before it."""
    held, _ = step(begin("M", START_MS), [], Watermark(START_MS + 5000))
    with pytest.raises(LateEvent) as raised:
        step(held, [events.change(START_MS + 4999, 0, YES, 1, 1)], Watermark(START_MS + 6000))
    assert (raised.value.at_ms, raised.value.watermark_ms) == (START_MS + 4999, START_MS + 5000)


def test_many_values_of_a_millisecond_are_numbered() -> None:
    """A trade that fills five buckets gives five values, also where a step ends between two of one time."""
    plan = Plan(vpin=(Vpin(size=10, buckets=1),))
    outputs = computed([events.trade(START_MS, 0, "a", 5000, 55, NO)], START_MS + 1, plan)
    assert [(out.n, out.values) for out in outputs if out.signal == "vpin"] == [
        (n, (10, 10, -10, n + 1)) for n in range(5)
    ]


def test_orders_are_neighbouring_trades_of_a_millisecond_and_side() -> None:
    """Two prices: a sweep. Ten times the mean of those before: large. A block trade was never in the book."""
    found: list[Event] = [events.trade(START_MS + n, 0, str(n), 5000, 10, YES) for n in range(20)]
    found += [
        events.trade(START_MS + 500, 0, "a", 5000, 60, NO),
        events.trade(START_MS + 500, 1, "b", 4900, 40, NO),
        events.trade(START_MS + 500, 2, "c", 4900, 1, YES),
        events.trade(START_MS + 500, None, "d", 4900, 9999, YES, is_block=True),
    ]
    flow = [out.values for out in computed(found, START_MS + 1000) if out.parameters == "window=1" and out.values]
    assert flow[-1] == (301, 101, 23, 22, 1, -100, 1, -100)


def test_the_life_of_a_market() -> None:
    """What the exchange announces, the first trade, and the close at its time: once."""
    found: list[Event] = [
        events.lifecycle(START_MS + 1, events.CREATED, START_MS + 500, START_MS + 9500),
        events.trade(START_MS + 600, 0, "a", 5000, 1, YES),
        events.trade(START_MS + 700, 0, "b", 5000, 1, YES),
        events.lifecycle(START_MS + 10_000, events.DETERMINED, yes_value=DOLLAR),
    ]
    life = [(out.at_ms - START_MS, out.n, *out.values[:1]) for out in computed(found) if out.signal == "lifecycle"]
    assert life == [(1, 0, 1), (600, 0, 8), (10_000, 0, 7), (10_000, 1, 5)]


def test_a_regime_does_not_flicker() -> None:
    """It is entered at more than it is left at; nothing for five minutes is dead; before the close it settles."""
    base: list[Event] = [events.lifecycle(START_MS, events.ACTIVATED, START_MS, START_MS + 2_000_000)]
    base.append(events.book(START_MS, -1, [(2 * 4000, 5), (2 * 5000 + 1, 5)]))

    def changes(from_s: int, count: int) -> list[Event]:
        return [events.change(START_MS + from_s * 1000 + n, 0, YES, 3000, 1) for n in range(count)]

    found = [*base, *changes(10, 59), *changes(200, 60), *changes(240, 30), *changes(290, 29)]
    outputs = [out for out in computed(found) if out.signal == "regime"]
    assert [(out.at_ms // 1000 - START_MS // 1000, *out.values) for out in outputs if out.values][-8:] == [
        (1, regime.DEAD),
        (11, regime.QUIET),
        (201, regime.ACTIVE),
        (301, regime.QUIET),
        (591, regime.DEAD),
    ]


def test_windows_are_those_that_a_pause_may_need() -> None:
    """A regime is dead after a window without events, so that the window's end wakes it."""
    assert {regime.WINDOW, regime.DEAD_WINDOW} <= set(WINDOWS_S)


def test_a_state_is_its_bytes() -> None:
    """With events that wait, too."""
    found = world(3)
    held, _ = step(begin("M", START_MS, PLAN), found, Watermark(found[len(found) // 2][0]))
    assert isinstance(decode(encode(held)), SignalState)
    assert decode(encode(held)) == held
    assert market.encode(held) == encode(held)


def test_a_neutral_part_of_the_composite_has_no_weight() -> None:
    """And the parts of a second are those of its windows."""
    assert composite.score((5000, 0, -1000, 0), (40, 30, 20, 10)) == (180_000, 600_000)
    assert composite.score((0, 0, 0, 0), (1, 1, 1, 1)) == (0, 0)
    assert (composite.part(-1, 3), composite.part(1, 3), composite.part(1, 0)) == (-3333, 3333, 0)
    found: list[Event] = [
        events.book(START_MS, -1, [(2 * 4000, 500), (2 * 5000 + 1, 300)]),
        events.change(START_MS + 100, 0, YES, 4000, 100),
        events.change(START_MS + 200, 0, YES, 4000, 50),
        events.change(START_MS + 1200, 0, YES, 4500, 50),
        events.trade(START_MS + 1300, None, "a", 5000, 10, YES),
        events.trade(START_MS + 1400, None, "b", 4000, 30, NO),
    ]
    values = [out.values for out in computed(found, START_MS + 2000) if out.signal == "composite"][-1]
    parts = (100 * 10_000 // (100 + 350), 400 * 10_000 // 1000, -5000, 500 * 10_000 // 1500)
    assert values == (sum(a * b for a, b in zip(parts, (30, 40, 10, 20), strict=True)), 1_000_000, *parts)
