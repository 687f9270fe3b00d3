"""A change of an order book, as the exchange writes it."""

from __future__ import annotations

import json
from typing import Any

MSG = {
    "market_ticker": "KXAAA-26NOV21-T5",
    "market_id": "6d0e8a1c-5a3f-4b7e-9d57-0c7f6f1f2a11",
    "price_dollars": "0.4700",
    "delta_fp": "-3.00",
    "side": "yes",
    "ts": "2026-11-21T10:00:00.957081Z",
    "ts_ms": 1795255200957,
}
FRAME = {"type": "orderbook_delta", "sid": 1, "seq": 8, "msg": MSG, "sending_ts_ms": 1795255200960}


def wire(frame: dict[str, Any]) -> bytes:
    """As the exchange writes it."""
    return json.dumps(frame, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def change(**values: Any) -> bytes:
    """A frame with some values of its own; `None` leaves a key out."""
    msg = {k: v for k, v in (MSG | {k: v for k, v in values.items() if k in MSG}).items() if v is not None}
    head = FRAME | {k: v for k, v in values.items() if k not in MSG} | {"msg": msg}
    return wire({k: v for k, v in head.items() if v is not None})
