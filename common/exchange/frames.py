"""Frames of the exchange's WebSocket as typed structures. Pure.

Two steps, so that a frame which is not understood is still known by its envelope: `HEAD` decodes type, id, sid,
seq and sending_ts_ms and leaves `msg` raw; the `msg` decoders check the fields that the fleet uses and ignore the
rest. A field that a row does not need may be null, absent, or of another type: it never costs the row. Source:
docs.kalshi.com.
"""

from __future__ import annotations

import itertools
import re
from typing import Any, Final

import msgspec

TERMINAL_CODES: Final = frozenset({10, 25})
NUMBER_MAX: Final = 1 << 53
DEPTH_MAX: Final = 500
"""Arrays and objects within one another; the exchange's frames have five. What is deeper is no frame: how deep a
decoder can look depends on its caller's stack, and two readings of a journal must read the same."""
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What a decoder raises at bytes that are not what it looks for. Text is checked for UTF-8 only where it is taken."""


class Envelope(msgspec.Struct):
    """The envelope of any frame."""

    type: str
    id: Any = None  # of the command that it answers; what is no number answers none
    sid: int | None = None
    seq: int | None = None
    sending_ts_ms: Any = None  # a number, or none: what else it may become proves nothing
    msg: msgspec.Raw = msgspec.Raw()

    def __post_init__(self) -> None:
        if type(self.sending_ts_ms) is not int or not 0 <= self.sending_ts_ms <= NUMBER_MAX:
            self.sending_ts_ms = None
        if type(self.id) is not int:
            self.id = None


class DeltaMsg(msgspec.Struct):
    """`orderbook_delta`: one signed change of a level; `ts` is deprecated and only shows microseconds."""

    market_ticker: str
    price_dollars: str
    delta_fp: str
    side: str
    ts_ms: int
    ts: Any = None


class SnapshotMsg(msgspec.Struct):
    """`orderbook_snapshot`: the whole book; a side without levels is left out, or null."""

    market_ticker: str
    yes_dollars_fp: list[tuple[str, str]] | None = None
    no_dollars_fp: list[tuple[str, str]] | None = None


class TradeMsg(msgspec.Struct):
    """`trade`: `taker_side` is deprecated in favour of the other two; of the book's, `bid` is a taker of YES."""

    trade_id: str
    market_ticker: str
    yes_price_dollars: str
    count_fp: str
    ts_ms: int
    taker_side: Any = None
    taker_outcome_side: Any = None
    taker_book_side: Any = None
    is_block_trade: Any = None


class TickerMsg(msgspec.Struct):
    """`ticker`: the top of a book and running totals; unnumbered."""

    market_ticker: str
    ts_ms: int
    price_dollars: Any = None
    yes_bid_dollars: Any = None
    yes_ask_dollars: Any = None
    yes_bid_size_fp: Any = None
    yes_ask_size_fp: Any = None
    volume_fp: Any = None
    open_interest_fp: Any = None


class LifecycleMsg(msgspec.Struct):
    """Lifecycle of a market or an event; the whole message is kept as it came."""

    market_ticker: Any = None
    event_ticker: Any = None
    event_type: Any = None


class MarketOnly(msgspec.Struct):
    """Any `msg` that may name a market."""

    market_ticker: str | None = None


class ErrorMsg(msgspec.Struct):
    """`error`: a code of section 2.4."""

    code: int = 0
    msg: str = ""


class SubscribedMsg(msgspec.Struct):
    """`subscribed`: which sid a channel has."""

    channel: str
    sid: int


class CommandParams(msgspec.Struct):
    """The parameters of a command that the fleet sends."""

    channels: list[str] = []
    sid: int | None = None
    sids: list[int] = []
    action: str | None = None
    market_tickers: list[str] = []


class Command(msgspec.Struct):
    """A command as sent."""

    id: int
    cmd: str
    params: CommandParams = msgspec.field(default_factory=CommandParams)


CHANGE_BEGINS: Final = b'{"type":"orderbook_delta","sid":%d,"seq":'
"""How an order-book change begins on the wire up to its number (facts, section 2.3)."""
HEAD: Final = msgspec.json.Decoder(Envelope)
DELTA: Final = msgspec.json.Decoder(DeltaMsg)
SNAPSHOT: Final = msgspec.json.Decoder(SnapshotMsg)
TRADE_MSG: Final = msgspec.json.Decoder(TradeMsg)
TICKER_MSG: Final = msgspec.json.Decoder(TickerMsg)
LIFECYCLE_MSG: Final = msgspec.json.Decoder(LifecycleMsg)
MARKET_ONLY: Final = msgspec.json.Decoder(MarketOnly)
ERROR: Final = msgspec.json.Decoder(ErrorMsg)
SUBSCRIBED: Final = msgspec.json.Decoder(SubscribedMsg)
COMMAND: Final = msgspec.json.Decoder(Command)
FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
ANY: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.?[^"\\]*)*"?', re.DOTALL)
"""It takes also what is never closed, to the end: so each byte is looked at once, whatever the frame is."""
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def head(data: bytes) -> Envelope | None:
    """The envelope of a frame; None if there is none that can be read.

    All that takes frames reads them by this: capture and loader then agree on which number was the last.
    """
    if len(data) > 2 * DEPTH_MAX and _depth(data) > DEPTH_MAX:
        return None
    try:
        return HEAD.decode(data)
    except UNREADABLE:
        return None


def _depth(data: bytes) -> int:
    """How many arrays and objects lie within one another, at most; 0 if there are not `DEPTH_MAX`."""
    if data.count(b"[") + data.count(b"{") <= DEPTH_MAX:
        return 0
    brackets = _STRING.sub(b"", data).translate(None, _NO_BRACKETS)
    return max(itertools.accumulate(map(_STEPS.__getitem__, brackets)), default=0)
