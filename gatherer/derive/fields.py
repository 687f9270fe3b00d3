"""Fields that the exchange has begun to send and that no row keeps: looked for in a few frames of what is loaded.

They are in the journal all the same; with code that writes it into rows they can be loaded again. Lifecycle messages
are kept whole. Source of the names: docs.kalshi.com.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from common.contract.channels import DELTA_TYPE, SNAPSHOT_TYPE, TICKER, TRADE
from common.exchange.frames import UNREADABLE
from common.text import storable
from gatherer.journal.format import FrameBlock, Record

FRAMES_AT_ONCE: Final = 64  # of a chunk: what a field costs to find must not be felt
NAMES_MAX: Final = 100
NAME_CHARACTERS_MAX: Final = 100
_HEAD: Final = frozenset(("type", "sid", "seq", "msg", "id", "sending_ts_ms"))
_MARKET: Final = ("market_ticker", "market_id")
KNOWN: Final = {
    SNAPSHOT_TYPE: frozenset((*_MARKET, "yes_dollars_fp", "no_dollars_fp")),
    DELTA_TYPE: frozenset(
        (*_MARKET, "price_dollars", "delta_fp", "side", "ts", "ts_ms", "client_order_id", "subaccount")
    ),
    TRADE: frozenset(
        ("market_ticker", "trade_id", "yes_price_dollars", "no_price_dollars", "count_fp", "taker_side")
        + ("taker_outcome_side", "taker_book_side", "is_block_trade", "ts", "ts_ms")
    ),
    TICKER: frozenset(
        (*_MARKET, "price_dollars", "yes_bid_dollars", "yes_ask_dollars", "yes_bid_size_fp", "yes_ask_size_fp")
        + ("volume_fp", "open_interest_fp", "dollar_volume", "dollar_open_interest", "last_trade_size_fp")
        + ("ts", "ts_ms", "time")
    ),
}
_RETYPED: Final = {
    DELTA_TYPE: (("ts", b'"'),),
    TRADE: (("taker_side", b'"'), ("taker_outcome_side", b'"'), ("is_block_trade", b"tf")),
}
_DECODER: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class FieldWatch:
    """What one loader has come across. A field is reported once."""

    def __init__(self) -> None:
        self._reported: set[str] = set()
        self._turn = 0

    def look(self, items: Iterable[Record | FrameBlock]) -> list[str]:
        """Fields not reported before, as `TYPE.FIELD`, in a few of these frames; other ones at each call."""
        found = []
        for frame in self._some([item for item in items if isinstance(item, FrameBlock)]):
            for name in (storable(unknown, NAME_CHARACTERS_MAX) for unknown in _unknown(frame)):
                if name not in self._reported and len(self._reported) < NAMES_MAX:
                    self._reported.add(name)
                    found.append(name)
        return found

    def _some(self, blocks: list[FrameBlock]) -> Iterator[bytes]:
        step = max(sum(map(len, blocks)) // FRAMES_AT_ONCE, 1)
        number = self._turn % step
        self._turn += 1
        for block in blocks:
            if number < len(block):
                ends = block.lengths.cumsum(dtype="i8")
                for at in range(number, len(block), step):
                    yield bytes(block.frames[ends[at - 1] if at else 0 : ends[at]])
                    number += step
            number -= len(block)


def _unknown(frame: bytes) -> list[str]:
    try:
        head = _DECODER.decode(frame)
        type_ = msgspec.json.decode(head.get("type", b'""'), type=str)
        if type_ not in KNOWN:
            return []  # quarantined, or kept whole
        msg = _DECODER.decode(head.get("msg", b"{}"))
    except UNREADABLE:
        return []  # quarantined
    found = [f"{type_}.{name}" for name in (*(head.keys() - _HEAD), *(msg.keys() - KNOWN[type_]))]
    # A row does without them if they are something else than they were: that it does is reported, once.
    retyped = [name for name, begins in _RETYPED.get(type_, ()) if not _begins(msg.get(name), begins)]
    retyped += ["sending_ts_ms"] * (not _begins(head.get("sending_ts_ms"), b"0123456789"))
    return found + [f"{type_}.{name} (retyped)" for name in retyped]


def _begins(raw: msgspec.Raw | None, begins: bytes) -> bool:
    text = b"null" if raw is None else bytes(raw).lstrip()
    return text == b"null" or text[:1] in begins
