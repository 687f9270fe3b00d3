"""The simulator's books look like the exchange's: never crossed at the end of a millisecond, swept, with spreads."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from simulator.exchange import Exchange
from simulator.market import price_units, size_units
from simulator.prices import BANDS, ONE, ticks
from simulator.replay import Replay
from simulator.synthetic import Synthetic, SyntheticPlan
from simulator.truth import TruthLog

Book = dict[str, dict[int, int]]


def ends_of_milliseconds(rows: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """Ticker, best YES bid and best NO bid (0: none) of every book at the end of every millisecond of its market."""
    books: dict[str, Book] = {}
    open_ms: dict[str, int] = {}
    seen: list[tuple[str, int, int]] = []

    def end(ticker: str) -> None:
        book = books[ticker]
        seen.append((ticker, max(book["yes"], default=0), max(book["no"], default=0)))

    for row in rows:
        ticker = row.get("ticker", "")
        if row["kind"] in ("open", "reset"):
            if open_ms.get(ticker, row["ts_ms"]) != row["ts_ms"]:
                end(ticker)
            books[ticker] = {s: {price_units(p): size_units(q) for p, q in row[s]} for s in ("yes", "no")}
        elif row["kind"] == "delta":
            if open_ms.get(ticker, row["ts_ms"]) != row["ts_ms"]:
                end(ticker)
            level, price = books[ticker][row["side"]], price_units(row["price"])
            level[price] = level.get(price, 0) + size_units(row["delta"])
            if not level[price]:
                del level[price]
        else:
            continue
        open_ms[ticker] = row["ts_ms"]
    for ticker in books:
        end(ticker)
    return seen


def read(truth: Path) -> list[dict[str, Any]]:
    """All rows of a truth log."""
    return [json.loads(line) for line in truth.read_text().splitlines()]


async def traded(tmp_path: Path, seconds: float) -> list[dict[str, Any]]:
    """What synthetic markets did in so many seconds, as the truth log has it."""
    exchange = Exchange(TruthLog(tmp_path / "truth"))
    task = asyncio.create_task(Synthetic(exchange, SyntheticPlan(42, 20_000, 3)).run())
    await asyncio.sleep(seconds)
    task.cancel()
    exchange.truth.flush()
    return read(tmp_path / "truth")


async def test_a_two_sided_book_is_never_crossed_at_the_end_of_a_millisecond(tmp_path: Path) -> None:
    """The best YES bid and the best NO bid add up to less than a dollar; spreads are those of a market."""
    ends = ends_of_milliseconds(await traded(tmp_path, 2.0))
    two_sided = [(yes, no) for _, yes, no in ends if yes and no]
    assert len(two_sided) > 1_000
    assert not [pair for pair in two_sided if sum(pair) >= ONE]
    spreads = sorted(ONE - yes - no for yes, no in two_sided)
    assert spreads[0] <= 100 and spreads[len(spreads) // 2] < 2_000, "most books are narrow"
    assert any(no == 0 for _, _, no in ends), "a book of one side is among them"


async def test_sweeps_take_several_orders_in_an_instant_and_each_trade_has_its_twin(tmp_path: Path) -> None:
    """Most trades share their millisecond with another of their market, some at another price."""
    rows = await traded(tmp_path, 2.0)
    trades = [row for row in rows if row["kind"] == "trade"]
    changes = Counter(
        (r["ticker"], r["ts_ms"], r["side"], r["price"], r["delta"]) for r in rows if r["kind"] == "delta"
    )
    prices: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for trade in trades:
        price = price_units(trade["yes_price"])
        side, level = ("yes", price) if trade["taker_side"] == "no" else ("no", ONE - price)
        key = (trade["ticker"], trade["ts_ms"], side, f"0.{level:04d}", f"-{trade['count']}")
        assert changes[key] > 0, trade
        changes[key] -= 1
        prices[trade["ticker"], trade["ts_ms"]].append(trade["yes_price"])
    shared = sum(len(p) for p in prices.values() if len(p) > 1)
    assert len(trades) > 200 and shared > len(trades) / 2
    assert any(len(set(p)) > 1 for p in prices.values())


async def test_prices_lie_on_the_grid_of_their_market(tmp_path: Path) -> None:
    """Whatever its structure."""
    exchange = Exchange(TruthLog(None))
    synthetic = Synthetic(exchange, SyntheticPlan(42, 0, 3))
    assert {market.structure for market in exchange.markets.values()} == set(BANDS)
    for market in exchange.markets.values():
        allowed = set(ticks(market.structure))
        assert allowed == {ONE - price for price in allowed}, "NO prices lie on it, too"
        assert {*market.yes, *market.no} <= allowed
    assert synthetic.rate == 0


async def test_a_replay_of_real_frames_is_never_crossed_either(recordings: list[Path], tmp_path: Path) -> None:
    """Nor are the recordings themselves."""
    exchange = Exchange(TruthLog(tmp_path / "truth"))
    await Replay(exchange, recordings[:2], 1_000.0).run()
    exchange.truth.flush()
    ends = ends_of_milliseconds(read(tmp_path / "truth"))
    assert len(ends) > 100
    assert not [end for end in ends if end[1] and end[2] and end[1] + end[2] >= ONE]


async def test_a_replay_keeps_a_millisecond_together_at_any_speed(tmp_path: Path) -> None:
    """Played slowly, too: a book is crossed within a millisecond now and then, never at its end."""

    def line(type_: str, **msg: Any) -> str:
        return json.dumps({"recv_ms": 1, "event": {"type": type_, "msg": {"market_ticker": "KXS-1-A", **msg}}})

    def change(us: int, side: str, price: str, size: str) -> str:
        ts = f"2026-08-10T21:46:09.{us:06}Z"
        return line("orderbook_delta", side=side, price_dollars=price, delta_fp=size, ts=ts, ts_ms=us // 1000)

    taker = {"taker_side": "yes", "yes_price_dollars": "0.6000", "count_fp": "5.00", "trade_id": "t"}
    lines = [
        line("orderbook_snapshot", yes_dollars_fp=[["0.4700", "3.00"]], no_dollars_fp=[["0.4000", "5.00"]]),
        change(100_100, "yes", "0.6000", "5.00"),  # rests before it is matched
        change(100_900, "yes", "0.6000", "-5.00"),
        change(100_950, "no", "0.4000", "-5.00"),
        line("trade", **taker, ts="2026-08-10T21:46:09.100000Z", ts_ms=100),
        change(108_100, "yes", "0.4700", "1.00"),
    ]
    (tmp_path / "slow.ndjson").write_text("\n".join(lines))
    exchange = Exchange(TruthLog(tmp_path / "truth"))
    await Replay(exchange, [tmp_path / "slow.ndjson"], 0.1).run()
    exchange.truth.flush()
    rows = [row for row in read(tmp_path / "truth") if row["kind"] in ("delta", "trade")]
    first, *others = [row["ts_ms"] for row in rows]
    assert others[:3] == [first] * 3 and others[3] >= first + 70
    assert not [end for end in ends_of_milliseconds(read(tmp_path / "truth")) if end[1] + end[2] >= ONE]
