"""Journals of a gatherer as a source of replay: the frames it received, as each market's history.

The format is written here a second time, from its description (docs/formats.md). Of each market the history follows one
connection at a time: the first that showed its book, and when that ends or its numbering breaks, the next one that
shows a book; what changed between is a reset. Trades are taken once, from whichever connection brought them.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import zstandard

MAGIC: Final = b"KFJOURN1"
RECORD: Final = struct.Struct("<IIB3xqqq")
CHECKED: Final = struct.Struct("<B3xqqq")
FRAME_HEAD: Final = struct.Struct("<Iqqq")
FRAME, ENDED, CLOSED, FRAMES = 3, 6, 8, 11
SEGMENT_BYTES_MAX: Final = 1 << 31
SUFFIXES: Final = (".journal", ".journal.zst")


@dataclass
class History:
    """One market: its first book, and what came after (microseconds since 1970, type, msg)."""

    ticker: str
    opening: dict[str, Any]
    began_us: int
    events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    session: int | None = None  # whose changes are taken; None: the next book's


def is_segment(file: Path) -> bool:
    """Whether a file is a segment of a journal."""
    return file.name.endswith(SUFFIXES)


def fetch(url: str, folder: Path) -> Path:
    """Bring the segments below `s3://bucket/prefix` into a folder (credentials and endpoint as the SDK finds them)."""
    import boto3
    from botocore.config import Config

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            if entry["Key"].endswith(SUFFIXES):
                target = folder / entry["Key"].replace("/", "_")
                s3.download_file(bucket, entry["Key"], str(target))
    return folder


def records(file: Path) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, session, receive time and payload of the whole records of a segment; stops before a torn one."""
    data = file.read_bytes()
    if file.name.endswith(".zst"):
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            data = reader.read(SEGMENT_BYTES_MAX)  # a frame may name any size: it is not believed
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError(f"{file} is no segment of a journal")
    at = len(MAGIC)
    while at + RECORD.size <= len(data):
        size, crc, kind, session, wall_us, mono_us = RECORD.unpack_from(data, at)
        payload = data[at + RECORD.size : at + RECORD.size + size]
        if len(payload) < size or zlib.crc32(payload, zlib.crc32(CHECKED.pack(kind, session, wall_us, mono_us))) != crc:
            return
        if kind == FRAMES:
            yield from _block(payload)
        else:
            yield kind, session, wall_us, payload
        at += RECORD.size + size


def _block(payload: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    count = int.from_bytes(payload[:4], "little")
    at = 4 + count * FRAME_HEAD.size
    for size, session, wall_us, _ in FRAME_HEAD.iter_unpack(payload[4:at]):
        yield FRAME, session, wall_us, payload[at : at + size]
        at += size


def _lane_and_number(file: Path) -> tuple[str, str]:
    stem = file.name.split(".", 1)[0]
    lane, _, number = stem.rpartition("-")
    return (lane or str(file.parent), number)


def read_journals(files: Iterable[Path]) -> list[History]:
    """Every market that the segments show, in the order of its first book."""
    markets: dict[str, History] = {}
    trades: set[str] = set()
    began_us = 0
    for file in sorted(files, key=_lane_and_number):
        numbers: dict[tuple[int, int], int] = {}
        for kind, session, wall_us, payload in records(file):
            if kind in (ENDED, CLOSED):
                for market in markets.values():
                    if kind == CLOSED or market.session == session:
                        market.session = None
            if kind != FRAME:
                continue
            try:
                frame = json.loads(payload)
                type_, msg = frame["type"], frame.get("msg") or {}
            except (ValueError, KeyError, TypeError):
                continue
            if "sid" in frame and "seq" in frame:
                place = (session, frame["sid"])
                if frame["seq"] != numbers.get(place, frame["seq"] - 1) + 1:
                    for market in markets.values():
                        if market.session == session:
                            market.session = None
                numbers[place] = frame["seq"]
            began_us = began_us or wall_us
            if type_ in ("orderbook_snapshot", "orderbook_delta", "trade") and "market_ticker" in msg:
                _take(markets, trades, began_us, session, wall_us, type_, frame.get("id"), msg)
    return list(markets.values())


def _take(
    markets: dict[str, History],
    trades: set[str],
    began_us: int,
    session: int,
    wall_us: int,
    type_: str,
    id_: int | None,
    msg: dict[str, Any],
) -> None:
    market = markets.get(msg["market_ticker"])
    if type_ == "orderbook_snapshot":
        if market is None:
            markets[msg["market_ticker"]] = History(msg["market_ticker"], msg, began_us, session=session)
        elif market.session is None or (market.session == session and id_ is None):
            market.session = session
            market.events.append((wall_us, type_, msg))
    elif type_ == "orderbook_delta":
        if market is not None and market.session == session:
            market.events.append((_us(msg), type_, msg))
    elif market is not None and msg["trade_id"] not in trades:
        trades.add(msg["trade_id"])
        market.events.append((_us(msg), type_, msg))


def _us(msg: dict[str, Any]) -> int:
    text = msg.get("ts")
    if isinstance(text, str):
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return int(at.timestamp()) * 1_000_000 + at.microsecond
    return int(msg["ts_ms"]) * 1000
