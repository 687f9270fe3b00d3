"""What the probe makes of answers that our own simulator never gives: each belief about one can be seen false."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from fleet.probing.assumptions import Capture, decode
from fleet.probing.beliefs import FALSE, HOLDS, Measured
from fleet.probing.experiments import Line, ask_status, ask_trades, converse
from fleet.probing.probe import _book_sid

A, B = "KXA-1", "KXB-1"
WAIT_S = 0.05
Frames = list[dict[str, Any]]
Answer = Callable[["Exchange", dict[str, Any]], Frames]


class Exchange:
    """Answers as is believed, but for what is given otherwise; a socket of the kind that gatherers have."""

    def __init__(self, **other: Answer) -> None:
        self._other, self.sids, self.seqs = other, 0, {}  # type: ignore[var-annotated]
        self.received_s = time.monotonic()
        self._of_channel: dict[str, int] = {}

    def start(self, on_frame: Callable[[bytes], None], on_closed: Callable[[str], None]) -> None:
        """Takes frames."""
        self._on_frame = on_frame

    async def send(self, text: str) -> None:
        """A command: its answers come at once."""
        command = json.loads(text)
        params = command["params"]
        name = params.get("action", command["cmd"])
        if name == "subscribe" and params["channels"][0] in self._of_channel:
            name = "repeat"
        answer = self._other.get(name, getattr(Exchange, f"on_{name}"))
        for frame in answer(self, command):
            self._on_frame(json.dumps(frame).encode())

    async def close(self) -> None:
        """Nothing to do."""

    def numbered(self, sid: int, frame: dict[str, Any]) -> dict[str, Any]:
        """With the next number of a subscription."""
        self.seqs[sid] = self.seqs.get(sid, 0) + 1
        return {**frame, "sid": sid, "seq": self.seqs[sid]}

    def book(self, sid: int, ticker: str, id_: int | None = None) -> dict[str, Any]:
        """A book."""
        frame = self.numbered(sid, {"type": "orderbook_snapshot", "msg": {"market_ticker": ticker}})
        return frame if id_ is None else {**frame, "id": id_}

    def on_subscribe(self, command: dict[str, Any]) -> Frames:
        """A sid, and books of what was named."""
        channel, tickers = command["params"]["channels"][0], command["params"].get("market_tickers", [])
        self.sids += 1
        sid = self.sids
        if channel != "orderbook_delta":
            self._of_channel[channel] = sid
        said = {"id": command["id"], "type": "subscribed", "msg": {"channel": channel, "sid": sid}}
        return [said, *(self.book(sid, ticker) for ticker in tickers)]

    def on_repeat(self, command: dict[str, Any]) -> Frames:
        """A numbered ok."""
        return [self.ok(command, self._of_channel[command["params"]["channels"][0]])]

    def ok(self, command: dict[str, Any], sid: int) -> dict[str, Any]:
        """Numbered."""
        return self.numbered(sid, {"id": command["id"], "type": "ok"})

    def on_add_markets(self, command: dict[str, Any]) -> Frames:
        """A numbered ok, and the books."""
        (sid,) = command["params"]["sids"]
        return [self.ok(command, sid), *(self.book(sid, ticker) for ticker in command["params"]["market_tickers"])]

    def on_delete_markets(self, command: dict[str, Any]) -> Frames:
        """A numbered ok."""
        return [self.ok(command, command["params"]["sids"][0])]

    def on_get_snapshot(self, command: dict[str, Any]) -> Frames:
        """The book, with the command's id."""
        return [self.book(command["params"]["sids"][0], command["params"]["market_tickers"][0], command["id"])]

    def on_unsubscribe(self, command: dict[str, Any]) -> Frames:
        """Numbered."""
        return [self.numbered(command["params"]["sids"][0], {"id": command["id"], "type": "unsubscribed"})]


def silence(exchange: Exchange, command: dict[str, Any]) -> Frames:
    """Nothing."""
    return []


def refused(exchange: Exchange, command: dict[str, Any]) -> Frames:
    """An error whose body is no mapping."""
    return [{"id": command["id"], "type": "error", "msg": "no"}]


def unnumbered(exchange: Exchange, command: dict[str, Any]) -> Frames:
    """An ok without a number."""
    return [{"id": command["id"], "type": "ok"}]


def without_id(exchange: Exchange, command: dict[str, Any]) -> Frames:
    """The book, as any other."""
    return [exchange.book(command["params"]["sids"][0], command["params"]["market_tickers"][0])]


def on_repeat_subscribed(exchange: Exchange, command: dict[str, Any]) -> Frames:
    """A second subscription of the channel."""
    return Exchange.on_subscribe(exchange, command)


def the_same_sid(exchange: Exchange, command: dict[str, Any]) -> Frames:
    """Sids are used again."""
    exchange.sids = min(exchange.sids, 2)
    return Exchange.on_subscribe(exchange, command)


def numbers_go_on(exchange: Exchange, command: dict[str, Any]) -> Frames:
    """A new subscription carries on the numbers of the one before it."""
    exchange.seqs[exchange.sids + 1] = exchange.seqs.get(exchange.sids, 0)
    return Exchange.on_subscribe(exchange, command)


async def findings_of(**other: Answer) -> dict[str, Measured]:
    """The conversation with an exchange."""
    found = await converse(Line("scripted", Exchange(**other)), [A, B], WAIT_S)  # type: ignore[arg-type]
    return {finding.check: finding for finding in found}


async def test_what_is_believed_holds_where_it_is_so() -> None:
    """The exchange of this file, without changes."""
    assert {key: finding.verdict for key, finding in (await findings_of()).items()} == dict.fromkeys(
        ("repeat", "ok", "add", "snapshot", "late", "again"), HOLDS
    )


@pytest.mark.parametrize(
    ("other", "key", "example"),
    [
        ({"repeat": silence}, "repeat", "silence"),
        ({"repeat": unnumbered}, "repeat", "an unnumbered ok"),
        ({"repeat": on_repeat_subscribed}, "repeat", "an unnumbered subscribed"),
        ({"repeat": refused}, "repeat", "an unnumbered error (code None)"),
        ({"delete_markets": unnumbered}, "ok", "an unnumbered ok"),
        ({"unsubscribe": unnumbered}, "ok", "an unnumbered ok"),
        ({"get_snapshot": silence}, "snapshot", "silence"),
        ({"get_snapshot": refused}, "snapshot", "an unnumbered error"),
        ({"get_snapshot": without_id}, "snapshot", "silence"),
        ({"add_markets": unnumbered}, "add", "nothing in"),
        ({"subscribe": the_same_sid}, "again", "sid"),
        ({"subscribe": numbers_go_on}, "again", "from"),
    ],
)
async def test_what_is_answered_otherwise_is_seen(other: dict[str, Answer], key: str, example: str) -> None:
    """By the belief that it contradicts."""
    finding = (await findings_of(**other))[key]
    assert finding.verdict == FALSE and any(example in text for text in finding.examples), finding


@pytest.mark.parametrize("answer", [silence, refused])
async def test_an_exchange_that_takes_no_subscription_is_not_judged(answer: Answer) -> None:
    """Nothing was seen, and nothing is reported to hold."""
    found = await findings_of(subscribe=answer)
    assert not any(finding.verdict == HOLDS for finding in found.values()), found


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ({"exchange_index_statuses": [{"exchange_index": 0, "exchange_active": True}]}, HOLDS),
        ({"exchange_index_statuses": [{"exchange_index": 0, "exchange_active": None}]}, FALSE),
        ({"exchange_index_statuses": [{"index": 0}]}, FALSE),
        ({"exchange_index_statuses": None}, FALSE),
        ({"exchange_index_statuses": 5}, FALSE),
        ({}, FALSE),
    ],
)
async def test_a_status_without_indexes_is_seen(status: dict[str, Any], verdict: str) -> None:
    """Whatever its form."""

    class Rest:
        async def exchange_status(self) -> dict[str, Any]:
            return status

    assert (await ask_status(Rest())).verdict == verdict  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "sid"),
    [
        (b'{"type":"subscribed","msg":{"channel":"orderbook_delta","sid":3}}', 3),
        (b'{"type":"subscribed","msg":{"channel":"trade","sid":3}}', None),
        (b'{"type":"subscribed","msg":{"channel":"orderbook_delta","sid":"3"}}', None),
        (b'{"type":"subscribed","msg":null}', None),
        (b'{"type":"subscribed"', None),
        (b'["subscribed"]', None),
        (b'{"type":"subscribed","msg":' + b"[" * 100_000, None),
    ],
)
def test_an_answer_that_is_none_does_not_end_the_probe(data: bytes, sid: int | None) -> None:
    """Ten minutes of measuring would be lost with it."""
    assert _book_sid(data) == sid


@pytest.mark.parametrize("odd", [{"count_fp": None}, {"count_fp": "many"}, {"trade_id": []}, {"ticker": None}])
async def test_a_trade_of_rest_that_is_none_does_not_end_the_probe(odd: dict[str, Any]) -> None:
    """It is reported; so is a trade of the stream whose sides are of another type."""
    msg = {"trade_id": "t", "market_ticker": A, "yes_price_dollars": "0.4700", "count_fp": "3.00", "ts_ms": 1}
    trade = {"type": "trade", "sid": 1, "seq": 1, "msg": {**msg, "taker_side": None, "taker_book_side": ["bid"]}}
    capture = decode("first", [(1, json.dumps(trade).encode())])
    assert isinstance(capture, Capture) and list(capture.ids) == ["t"]

    class Rest:
        async def trades(self, **_: Any) -> Any:
            yield [{"trade_id": "t", "ticker": A, "yes_price_dollars": "0.4700", "count_fp": "3.00", **odd}]

    assert (await ask_trades(Rest(), capture, 0, 10)).verdict == FALSE  # type: ignore[arg-type]
