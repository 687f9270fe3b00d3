"""Order-book changes as the JSON decoder reads them: it defines what a change's values are, whatever its form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from common.contract.identity import SID_MAX
from common.contract.sides import NUMBERS
from common.errors import NumberError
from common.exchange import frames as frames_
from common.numbers import parse_price, parse_size, sub_millisecond_us

NONE: Final = -1
REMEMBERED_MAX: Final = 100_000
Whole = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Msg(msgspec.Struct, gc=False):
    """What is used of a change."""

    market_ticker: str
    price_dollars: str
    delta_fp: str
    side: Literal["yes", "no"]
    ts_ms: Whole
    ts: Any = None


class Frame(msgspec.Struct, gc=False):
    """A change's frame."""

    type: Literal["orderbook_delta"]
    sid: Annotated[int, msgspec.Meta(ge=1, le=SID_MAX)]
    seq: Annotated[int, msgspec.Meta(ge=1, le=1 << 53)]
    msg: Msg
    sending_ts_ms: Any = None
    id: None = None  # an answer to a command may prove more than its number


_DECODER: Final = msgspec.json.Decoder(Frame)


class _Prices(dict[str, int]):
    """Prices by their text; what is none is `NONE`."""

    def __missing__(self, text: str) -> int:
        try:
            self[text] = value = parse_price(text)
        except NumberError:
            return NONE
        return value


class _Sizes(dict[str, int]):
    """Sizes by their text; what is none is 0, which no change has."""

    def __missing__(self, text: str) -> int:
        try:
            self[text] = value = parse_size(text)
        except NumberError:
            return 0
        return value


_prices: Final = _Prices()
_sizes: Final = _Sizes()


def decode(lines: bytes | memoryview) -> list[Frame]:
    """The changes in lines of JSON; none if anything among them is no change."""
    try:
        return _DECODER.decode_lines(lines)
    except frames_.UNREADABLE:
        return []


def _whole(value: Any) -> int:
    return value if type(value) is int and 0 <= value <= frames_.NUMBER_MAX else NONE


def values(frames: Sequence[Frame]) -> list[list[int]]:
    """Of each: sid, seq, sending_ms (`NONE` if absent), at_ms, us, side, price (`NONE` if it is none), delta (0)."""
    if len(_prices) > REMEMBERED_MAX or len(_sizes) > REMEMBERED_MAX:
        _prices.clear()
        _sizes.clear()
    messages = [frame.msg for frame in frames]
    return [
        [frame.sid for frame in frames],
        [frame.seq for frame in frames],
        [_whole(frame.sending_ts_ms) for frame in frames],
        [msg.ts_ms for msg in messages],
        [sub_millisecond_us(msg.ts) for msg in messages],
        [NUMBERS[msg.side] for msg in messages],
        [_prices[msg.price_dollars] for msg in messages],
        [_sizes[msg.delta_fp] for msg in messages],
    ]
