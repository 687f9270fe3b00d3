"""What the probe concludes from frames alone: no exchange, no socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.config.schema import BoundsConfig
from fleet.probing.assumptions import Capture, ProbedStream, decode, judge
from fleet.probing.beliefs import FALSE, HOLDS, NOT_SEEN, Measured
from fleet.probing.experiments import compare_books

BOUNDS = BoundsConfig.model_validate({"disorder": "15s", "lag": "30s", "sender": "1s", "clock": "200ms"})
BEGAN_MS = 1_790_000_000_000
TICKER = "KXP-1-T1"


class Feed:
    """Frames as one connection receives them: numbered, stamped, received five milliseconds after they were sent."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self._seq = 0

    def add(self, type_: str, at_ms: int, *, numbered: bool = True, stamped: bool = True, **msg: Any) -> None:
        """One more."""
        frame: dict[str, Any] = {"type": type_, "sid": 1}
        if numbered:
            self._seq += 1
            frame["seq"] = self._seq
        frame["msg"] = {"market_ticker": TICKER, **msg}
        if stamped:
            frame["sending_ts_ms"] = at_ms
        self.frames.append(((at_ms + 5) * 1000, json.dumps(frame).encode()))

    def book(self, at_ms: int) -> None:
        """Bids at 0.47 and at 0.48: a spread of five cents."""
        self.add("orderbook_snapshot", at_ms, yes_dollars_fp=[["0.4700", "3.00"]], no_dollars_fp=[["0.4800", "2.00"]])

    def change(self, at_ms: int, side: str, price: str, delta: str, **more: Any) -> None:
        """One change of a level."""
        self.add("orderbook_delta", at_ms, side=side, price_dollars=price, delta_fp=delta, ts_ms=at_ms, **more)

    def trade(self, at_ms: int, id_: str, **more: Any) -> None:
        """Three contracts at 0.47, off the YES bid."""
        said = {"yes_price_dollars": "0.4700", "no_price_dollars": "0.5300", "count_fp": "3.00"}
        side = {"taker_side": "no", "taker_outcome_side": "no", "taker_book_side": "ask", "is_block_trade": False}
        self.add("trade", at_ms, trade_id=id_, ts_ms=at_ms, **{**said, **side, **more})


def judged(first: Feed, second: Feed | None = None) -> dict[str, Measured]:
    """Two connections' frames; the second is the first's again unless it is another."""
    captures = [decode("first", first.frames), decode("second", (second or first).frames)]
    return {finding.check: finding for finding in judge(captures[0], captures[1], BOUNDS)}


def honest(begins: int = 0, **more: Any) -> Feed:
    """A book, a level that comes, flickers and is crossed within a millisecond, and trades."""
    feed = Feed()
    feed.book(BEGAN_MS)
    for n in range(begins, 40):
        at = BEGAN_MS + 100 * n
        feed.change(at, "yes", "0.5100", "1.00", **more)
        feed.change(at, "no", "0.4900", "1.00")  # crossed, until the next change
        feed.change(at, "no", "0.4900", "-1.00")
        feed.change(at + 50, "yes", "0.5100", "-1.00")
        feed.change(at + 60, "yes", "0.4700", "3.00")
        feed.change(at + 60, "yes", "0.4700", "-3.00")
        feed.trade(at + 60, f"trade-{n}")
    return feed


def test_frames_that_keep_every_belief_contradict_none() -> None:
    """A book that is crossed within a millisecond is none at its end."""
    found = judged(honest())
    assert {key for key, finding in found.items() if finding.verdict == FALSE} == set()
    assert found["uncrossed"].compared > 100 and found["trades"].compared == 80 and found["numbered"].verdict == HOLDS


def test_contents_that_repeat_evenly_are_aligned_by_their_times() -> None:
    """One connection began a period later: by contents alone every change would have another time."""
    found = judged(honest(), honest(begins=3))
    assert found["times"].verdict == HOLDS and not found["times"].failed


def crossed(feed: Feed) -> None:
    """At the end of a millisecond."""
    feed.change(BEGAN_MS + 9_000, "no", "0.5300", "1.00")
    feed.change(BEGAN_MS + 9_010, "no", "0.5300", "-1.00")
    feed.change(BEGAN_MS + 9_020, "no", "0.0100", "1.00")


def unstamped(feed: Feed) -> None:
    """A change without the time when it was sent."""
    change: dict[str, Any] = {"side": "no", "price_dollars": "0.0100", "delta_fp": "1.00", "ts_ms": BEGAN_MS + 9_000}
    feed.add("orderbook_delta", BEGAN_MS + 9_000, stamped=False, **change)


def unnumbered(feed: Feed) -> None:
    """A trade without a number."""
    feed.add("market_lifecycle_v2", BEGAN_MS + 9_000, numbered=False, event_type="created")


@pytest.mark.parametrize(
    ("key", "spoil"),
    [("uncrossed", crossed), ("stamped", unstamped), ("numbered", unnumbered)],
    ids=lambda v: str(v)[:12],
)
def test_frames_that_contradict_a_belief_are_counted(key: str, spoil: Any) -> None:
    """That belief alone does not hold."""
    feed = honest()
    spoil(feed)
    found = judged(feed)
    assert {k for k, finding in found.items() if finding.verdict == FALSE} == {key}
    assert found[key].examples


def test_trades_that_differ_between_connections_are_counted() -> None:
    """Another content of one id, and one that only one connection received."""
    other = Feed()
    for n, (_, data) in enumerate(honest().frames):
        msg = json.loads(data)["msg"]
        at_ms = json.loads(data)["sending_ts_ms"]
        type_ = json.loads(data)["type"]
        if msg.get("trade_id") == "trade-20":
            continue
        if msg.get("trade_id") == "trade-10":
            msg["count_fp"] = "4.00"
        other.add(type_, at_ms, **{k: v for k, v in msg.items() if k != "market_ticker"})
        assert n < 1_000
    found = judged(honest(), other)
    assert found["trades"].failed == 3, "one content is counted from both sides"


def test_a_book_of_rest_is_right_if_the_stream_had_it_around_its_request() -> None:
    """Not before, not after; and not on the wrong side."""
    capture = decode("first", honest().frames)
    with_bid = {2 * 4_700: 300, 2 * 5_100: 100, 2 * 4_800 + 1: 200}
    at_us = (BEGAN_MS + 20) * 1000
    assert compare_books(capture, [(at_us, at_us + 1000, TICKER, with_bid)]).verdict == HOLDS
    flipped = {2 * 4_700: 300, 2 * 5_100: 100, 2 * 5_200 + 1: 200}
    assert compare_books(capture, [(at_us, at_us + 1000, TICKER, flipped)]).verdict == FALSE
    quiet = Capture("quiet", streams={TICKER: ProbedStream()})
    assert compare_books(quiet, [(at_us, at_us, TICKER, with_bid)]).verdict == NOT_SEEN
