"""Fields that the exchange has begun to send are reported, once."""

from __future__ import annotations

import json
from typing import Any

from gatherer.derive.fields import FRAMES_AT_ONCE, FieldWatch
from gatherer.journal.format import FrameBlock, Kind, Record
from tests.support.delta_frames import FRAME, MSG
from tests.support.world import block


def blocks(frames: list[Any], each: int) -> list[Record | FrameBlock]:
    """So many frames a block, with other records between."""
    records = [Record(Kind.FRAME, 1, 0, 0, f if isinstance(f, bytes) else json.dumps(f).encode()) for f in frames]
    result: list[Record | FrameBlock] = []
    for at in range(0, len(records), each):
        result += [Record(Kind.COMMAND, 1, 0, 0, b"{}"), block(records[at : at + each])]
    return result


def test_what_is_known_is_not_reported_and_what_is_new_is_reported_once() -> None:
    """At the top or in the message; lifecycle messages, which are kept whole, and what is no frame are passed over."""
    watch = FieldWatch()
    frames = [
        FRAME,
        FRAME | {"flags": 1},
        FRAME | {"msg": MSG | {"queue": "x"}},
        {"type": "market_lifecycle_v2", "sid": 1, "seq": 2, "msg": {"whatever": 1}},
        {"type": "brand_new", "msg": {"x": 1}},
        {"type": "trade", "sid": 2, "seq": 1, "msg": {"trade_id": "x", "maker": 1}},
        b"{",
        b"[]",
        b"\xff",
        {"type": 5},
    ]
    assert sorted(watch.look(blocks(frames, 3))) == ["orderbook_delta.flags", "orderbook_delta.queue", "trade.maker"]
    assert watch.look(blocks(frames, 4)) == [] and watch.look([]) == []


def test_a_field_in_one_of_many_frames_is_found_in_time() -> None:
    """A few frames of each batch are looked at, others the next time."""
    frames: list[Any] = [FRAME] * 1000
    frames[517] = FRAME | {"flags": 1}
    watch = FieldWatch()
    reported = [name for _ in range(1000 // FRAMES_AT_ONCE) for name in watch.look(blocks(frames, 90))]
    assert reported == ["orderbook_delta.flags"]
