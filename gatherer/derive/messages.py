"""Messages of the exchange as checked values and rows: exact numbers, possible times, tickers that can be one.

Everything that cannot become a row raises `Poison` here; what that means for runs is the derivation's business.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from common import levels
from common.contract.sides import NUMBERS, TAKERS
from common.errors import NumberError
from common.exchange import frames
from common.exchange.names import TICKER_CHARACTERS_MAX, possible_ticker, possible_trade_id
from common.levels import Book
from common.numbers import parse_price, parse_size, sub_millisecond_us
from gatherer.derive.rows import LifecycleRow, TickerRow, TradeRow
from gatherer.journal.format import Record

PAST_MS_MAX: Final = 24 * 3600 * 1000
FUTURE_MS_MAX: Final = 60 * 1000
LEVEL_KEYS: Final = frozenset(("yes_dollars_fp", "no_dollars_fp"))
NO_LEVELS: Final = frozenset(("market_ticker", "market_id"))
"""What a snapshot may have besides its levels: an empty book has nothing else."""
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


class BookChange(NamedTuple):
    """An order-book change, checked."""

    ticker: str
    at_ms: int
    us: int
    side: int
    price: int
    delta: int


def decode(decoder: msgspec.json.Decoder[T], head: frames.Envelope) -> T:
    """The `msg` of a frame."""
    try:
        return decoder.decode(head.msg)
    except frames.UNREADABLE as error:
        raise Poison(f"{head.type}: {error}", named_market(head)) from error


def named_market(head: frames.Envelope) -> str | None:
    """The market that a `msg` names, if that much of it can be read."""
    try:
        return frames.MARKET_ONLY.decode(head.msg).market_ticker
    except frames.UNREADABLE:
        return None  # the rule then takes all of the sid's markets


def delta(head: frames.Envelope, record: Record) -> BookChange:
    """An `orderbook_delta`."""
    msg = decode(frames.DELTA, head)
    _check_ticker(msg.market_ticker)
    try:
        price, size = _price(msg.price_dollars), _size(msg.delta_fp)
    except NumberError as error:
        raise Poison(f"delta: {error}", msg.market_ticker) from error
    if msg.side not in NUMBERS or not size:
        raise Poison(f"delta: side {msg.side!r}, size {msg.delta_fp!r}", msg.market_ticker)
    _check_time(msg.ts_ms, head, record, msg.market_ticker)
    side = NUMBERS[msg.side]
    return BookChange(msg.market_ticker, msg.ts_ms, sub_millisecond_us(msg.ts), side, price, size)


def snapshot(head: frames.Envelope) -> tuple[str, Book]:
    """The ticker and book of an `orderbook_snapshot`. Without any level key that is known, others are no empty book."""
    msg = decode(frames.SNAPSHOT, head)
    _check_ticker(msg.market_ticker)
    if not (msg.yes_dollars_fp and msg.no_dollars_fp):
        _check_levels(decode(frames.FIELDS, head), msg.market_ticker)
    try:
        return msg.market_ticker, levels.parse_levels(msg.yes_dollars_fp or (), msg.no_dollars_fp or ())
    except NumberError as error:
        raise Poison(f"snapshot: {error}", msg.market_ticker) from error


def _check_levels(fields: dict[str, msgspec.Raw], ticker_: str) -> None:
    """A side that is not there is an empty one, unless something else is: then its name may have changed."""
    lacking = LEVEL_KEYS - fields.keys()
    other = {name: bytes(raw).lstrip() for name, raw in fields.items() if name not in LEVEL_KEYS | NO_LEVELS}
    if lacking and any(len(lacking) == len(LEVEL_KEYS) or text.startswith(b"[") for text in other.values()):
        raise Poison(f"snapshot: no {', '.join(sorted(lacking))}, but {', '.join(sorted(other))}"[:300], ticker_)


def says_nothing(head: frames.Envelope) -> bool:
    """Whether a frame of a type that nobody knows is empty: then it can have changed no book."""
    try:
        return not bytes(head.msg) or not frames.ANY.decode(head.msg)
    except frames.UNREADABLE:
        return False


def trade(head: frames.Envelope, record: Record, slice_: int) -> TradeRow:
    """A `trade`."""
    msg = decode(frames.TRADE_MSG, head)
    _check_ticker(msg.market_ticker)
    try:
        price, count = _price(msg.yes_price_dollars), _size(msg.count_fp)
    except NumberError as error:
        raise Poison(f"trade: {error}", msg.market_ticker) from error
    taker = next((TAKERS[s] for s in _sides(msg) if isinstance(s, str) and s in TAKERS), None)
    if taker is None or count <= 0 or not possible_trade_id(msg.trade_id):
        sides = ", ".join(repr(side) for side in _sides(msg))
        raise Poison(f"trade: taker {sides}, count {msg.count_fp!r}, id {msg.trade_id!r}"[:300], msg.market_ticker)
    _check_time(msg.ts_ms, head, record, msg.market_ticker)
    return TradeRow(
        slice_,
        head.seq or 0,
        msg.trade_id,
        msg.market_ticker,
        msg.ts_ms,
        price,
        count,
        taker,
        msg.is_block_trade is True,
        record.wall_us,
    )


def ticker(head: frames.Envelope, record: Record) -> TickerRow:
    """A `ticker`; absent fields stay absent."""
    msg = decode(frames.TICKER_MSG, head)
    _check_ticker(msg.market_ticker)
    _check_time(msg.ts_ms, head, record, msg.market_ticker)
    return TickerRow(
        msg.market_ticker,
        msg.ts_ms,
        _optional(_price, msg.price_dollars),
        _optional(_price, msg.yes_bid_dollars),
        _optional(_price, msg.yes_ask_dollars),
        _optional(_size, msg.yes_bid_size_fp),
        _optional(_size, msg.yes_ask_size_fp),
        _optional(_size, msg.volume_fp),
        _optional(_size, msg.open_interest_fp),
        record.wall_us,
    )


def _optional(parse: Callable[[str], int], text: Any) -> int | None:
    """A value that may be absent: what is none leaves its field empty, the others of its row stand."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return parse(text)
    except NumberError:
        return None


def _sides(msg: frames.TradeMsg) -> tuple[Any, Any, Any]:
    return (msg.taker_outcome_side, msg.taker_side, msg.taker_book_side)


def lifecycle(head: frames.Envelope, record: Record) -> LifecycleRow:
    """Any lifecycle message, whole."""
    msg = decode(frames.LIFECYCLE_MSG, head)
    payload = msgspec.json.encode(decode(frames.ANY, head)).decode()
    name = msg.market_ticker if isinstance(msg.market_ticker, str) and msg.market_ticker else msg.event_ticker
    if not isinstance(name, str):
        raise Poison(f"lifecycle: names {name!r:.100}", None)
    _check_ticker(name)
    if "\\u0000" in payload:
        raise Poison("lifecycle: a NUL character, which no database text holds", None)
    event_type = msg.event_type if isinstance(msg.event_type, str) and msg.event_type else head.type
    return LifecycleRow(name, event_type, payload, record.wall_us)


def _check_time(at_ms: int, head: frames.Envelope, record: Record, ticker_: str) -> None:
    """Against the exchange's own present where a frame states it: ours may be wrong, by less than a day."""
    present_ms = record.wall_us // 1000 if head.sending_ts_ms is None else head.sending_ts_ms
    if not present_ms - PAST_MS_MAX <= at_ms <= present_ms + FUTURE_MS_MAX:
        raise Poison(f"exchange time {at_ms} is absurd", ticker_)


def _check_ticker(text: str) -> None:
    if not possible_ticker(text):
        raise Poison(f"ticker {text[:TICKER_CHARACTERS_MAX]!r} cannot be one", None)
