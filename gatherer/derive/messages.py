"""Messages of the exchange as checked values and rows: exact numbers, possible times, tickers that can be one.

Everything that cannot become a row raises `Poison` here; what that means for runs is the derivation's business.
"""

from __future__ import annotations

import functools
from typing import Final, NamedTuple, TypeVar

import msgspec

from common.errors import NumberError
from common.exchange import frames
from common.numbers import parse_price, parse_size, sub_millisecond_us
from gatherer.derive import levels
from gatherer.derive.rows import NO, YES, LifecycleRow, TickerRow, TradeRow
from gatherer.derive.state import Book
from gatherer.journal.format import Record

PAST_MS_MAX: Final = 24 * 3600 * 1000
FUTURE_MS_MAX: Final = 60 * 1000
TICKER_CHARACTERS_MAX: Final = 200
TEXTS_REMEMBERED_MAX: Final = 100_000
T = TypeVar("T")
_price: Final = functools.lru_cache(TEXTS_REMEMBERED_MAX)(parse_price)
_size: Final = functools.lru_cache(TEXTS_REMEMBERED_MAX)(parse_size)
"""Prices and sizes come again and again; a refusal is not remembered."""


class Poison(Exception):
    """A frame that cannot become a row; `ticker` if it names its market."""

    def __init__(self, reason: str, ticker: str | None) -> None:
        self.reason, self.ticker = reason, ticker
        super().__init__(reason)


class Change(NamedTuple):
    """An order-book change, checked."""

    ticker: str
    at_ms: int
    us: int
    side: int
    price: int
    delta: int


def decode(decoder: msgspec.json.Decoder[T], head: frames.Head) -> T:
    """The `msg` of a frame."""
    try:
        return decoder.decode(head.msg)
    except msgspec.MsgspecError as error:
        raise Poison(f"{head.type}: {error}", named_market(head)) from error


def named_market(head: frames.Head) -> str | None:
    """The market that a `msg` names, if that much of it can be read."""
    try:
        return frames.MARKET_ONLY.decode(head.msg).market_ticker
    except msgspec.MsgspecError:
        return None  # the rule then takes all of the sid's markets


def delta(head: frames.Head, record: Record) -> Change:
    """An `orderbook_delta`."""
    msg = decode(frames.DELTA, head)
    _check_ticker(msg.market_ticker)
    try:
        price, size = _price(msg.price_dollars), _size(msg.delta_fp)
    except NumberError as error:
        raise Poison(f"delta: {error}", msg.market_ticker) from error
    if msg.side not in ("yes", "no") or not size:
        raise Poison(f"delta: side {msg.side!r}, size {msg.delta_fp!r}", msg.market_ticker)
    _check_time(msg.ts_ms, head, record, msg.market_ticker)
    side = YES if msg.side == "yes" else NO
    return Change(msg.market_ticker, msg.ts_ms, sub_millisecond_us(msg.ts), side, price, size)


def snapshot(head: frames.Head) -> tuple[str, Book]:
    """The ticker and book of an `orderbook_snapshot`."""
    msg = decode(frames.SNAPSHOT, head)
    _check_ticker(msg.market_ticker)
    try:
        return msg.market_ticker, levels.parse_levels(msg.yes_dollars_fp, msg.no_dollars_fp)
    except NumberError as error:
        raise Poison(f"snapshot: {error}", msg.market_ticker) from error


def trade(head: frames.Head, record: Record, slice_: int) -> TradeRow:
    """A `trade`."""
    msg = decode(frames.TRADE_MSG, head)
    _check_ticker(msg.market_ticker)
    try:
        price, count = _price(msg.yes_price_dollars), _size(msg.count_fp)
    except NumberError as error:
        raise Poison(f"trade: {error}", msg.market_ticker) from error
    taker = msg.taker_outcome_side or msg.taker_side
    if taker not in ("yes", "no") or count <= 0 or not _is_uuid(msg.trade_id):
        raise Poison(f"trade: taker {taker!r}, count {msg.count_fp!r}, id {msg.trade_id!r}", msg.market_ticker)
    _check_time(msg.ts_ms, head, record, msg.market_ticker)
    return TradeRow(
        slice_,
        head.seq or 0,
        msg.trade_id,
        msg.market_ticker,
        msg.ts_ms,
        price,
        count,
        YES if taker == "yes" else NO,
        msg.is_block_trade,
        record.wall_us,
    )


def ticker(head: frames.Head, record: Record) -> TickerRow:
    """A `ticker`; absent fields stay absent."""
    msg = decode(frames.TICKER_MSG, head)
    _check_ticker(msg.market_ticker)
    _check_time(msg.ts_ms, head, record, msg.market_ticker)
    try:
        return TickerRow(
            msg.market_ticker,
            msg.ts_ms,
            _price(msg.price_dollars) if msg.price_dollars else None,
            _price(msg.yes_bid_dollars) if msg.yes_bid_dollars else None,
            _price(msg.yes_ask_dollars) if msg.yes_ask_dollars else None,
            _size(msg.yes_bid_size_fp) if msg.yes_bid_size_fp else None,
            _size(msg.yes_ask_size_fp) if msg.yes_ask_size_fp else None,
            _size(msg.volume_fp) if msg.volume_fp else None,
            _size(msg.open_interest_fp) if msg.open_interest_fp else None,
            record.wall_us,
        )
    except NumberError as error:
        raise Poison(f"ticker: {error}", msg.market_ticker) from error


def lifecycle(head: frames.Head, record: Record) -> LifecycleRow:
    """Any lifecycle message, whole."""
    msg = decode(frames.LIFECYCLE_MSG, head)
    payload = msgspec.json.encode(decode(frames.ANY, head)).decode()
    name = msg.market_ticker or msg.event_ticker
    _check_ticker(name)
    if "\\u0000" in payload:
        raise Poison("lifecycle: a NUL character, which no database text holds", None)
    return LifecycleRow(name, msg.event_type or head.type, payload, record.wall_us)


def _check_time(at_ms: int, head: frames.Head, record: Record, ticker_: str) -> None:
    """Against the exchange's own present where a frame tells it: ours may be wrong, by less than a day."""
    present_ms, sending_ms = record.wall_us // 1000, head.sending_ts_ms
    if sending_ms is not None and abs(sending_ms - present_ms) <= PAST_MS_MAX:
        present_ms = sending_ms
    if not present_ms - PAST_MS_MAX <= at_ms <= present_ms + FUTURE_MS_MAX:
        raise Poison(f"exchange time {at_ms} is absurd", ticker_)


@functools.lru_cache(TEXTS_REMEMBERED_MAX)
def possible_ticker(text: str) -> bool:
    """Whether it can be a ticker."""
    return 0 < len(text) <= TICKER_CHARACTERS_MAX and text.isprintable()


def _check_ticker(text: str) -> None:
    if not possible_ticker(text):
        raise Poison(f"ticker {text[:TICKER_CHARACTERS_MAX]!r} cannot be one", None)


def _is_uuid(text: str) -> bool:
    return len(text) == 36 and text.count("-") == 4 and all(c in "0123456789abcdefABCDEF-" for c in text)
