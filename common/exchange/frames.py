"""Frames of the exchange's WebSocket as typed structures. Pure.

Two steps, so that a frame which is not understood is still known by its envelope: `HEAD` decodes type, id, sid,
seq and sending_ts_ms and leaves `msg` raw; the `msg` decoders check the fields that the fleet uses and ignore the
rest. Source: kalshi-api facts, section 3.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

ORDERBOOK: Final = "orderbook_delta"
TRADE: Final = "trade"
TICKER: Final = "ticker"
LIFECYCLE: Final = "market_lifecycle_v2"
COMBO_LIFECYCLE: Final = "multivariate_market_lifecycle"
LIFECYCLE_TYPES: Final = frozenset({LIFECYCLE, COMBO_LIFECYCLE, "event_lifecycle", "event_fee_update"})
TERMINAL_CODES: Final = frozenset({10, 25})


class Head(msgspec.Struct):
    """The envelope of any frame."""

    type: str
    id: int | None = None
    sid: int | None = None
    seq: int | None = None
    sending_ts_ms: int | None = None
    msg: msgspec.Raw = msgspec.Raw()


class DeltaMsg(msgspec.Struct):
    """`orderbook_delta`: one signed change of a level; `ts` is deprecated and only shows microseconds."""

    market_ticker: str
    price_dollars: str
    delta_fp: str
    side: str
    ts_ms: int
    ts: str | None = None


class SnapshotMsg(msgspec.Struct):
    """`orderbook_snapshot`: the whole book; a side without levels is left out."""

    market_ticker: str
    yes_dollars_fp: list[tuple[str, str]] = []
    no_dollars_fp: list[tuple[str, str]] = []


class TradeMsg(msgspec.Struct):
    """`trade`: `taker_side` is deprecated in favour of `taker_outcome_side`."""

    trade_id: str
    market_ticker: str
    yes_price_dollars: str
    count_fp: str
    ts_ms: int
    taker_side: str = ""
    taker_outcome_side: str = ""
    is_block_trade: bool = False


class TickerMsg(msgspec.Struct):
    """`ticker`: the top of a book and running totals; unnumbered."""

    market_ticker: str
    ts_ms: int
    price_dollars: str | None = None
    yes_bid_dollars: str | None = None
    yes_ask_dollars: str | None = None
    yes_bid_size_fp: str | None = None
    yes_ask_size_fp: str | None = None
    volume_fp: str | None = None
    open_interest_fp: str | None = None


class LifecycleMsg(msgspec.Struct):
    """Lifecycle of a market or an event; the whole message is kept as it came."""

    market_ticker: str = ""
    event_ticker: str = ""
    event_type: str = ""
    open_ts: int | None = None
    close_ts: int | None = None


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


HEAD: Final = msgspec.json.Decoder(Head)
DELTA: Final = msgspec.json.Decoder(DeltaMsg)
SNAPSHOT: Final = msgspec.json.Decoder(SnapshotMsg)
TRADE_MSG: Final = msgspec.json.Decoder(TradeMsg)
TICKER_MSG: Final = msgspec.json.Decoder(TickerMsg)
LIFECYCLE_MSG: Final = msgspec.json.Decoder(LifecycleMsg)
MARKET_ONLY: Final = msgspec.json.Decoder(MarketOnly)
ERROR: Final = msgspec.json.Decoder(ErrorMsg)
SUBSCRIBED: Final = msgspec.json.Decoder(SubscribedMsg)
COMMAND: Final = msgspec.json.Decoder(Command)
ANY: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()
