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
class MarketHistory:
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


def read_journals(files: Iterable[Path]) -> list[MarketHistory]:
    """Every market that the segments show, in the order of its first book."""
    histories = _Histories()
    for file in sorted(files, key=_lane_and_number):
        histories.read(file)
    return list(histories.markets.values())


class _Histories:
    """The markets so far, by ticker."""

    def __init__(self) -> None:
        self.markets: dict[str, MarketHistory] = {}
        self._trades: set[str] = set()
        self._began_us = 0

    def read(self, file: Path) -> None:
        """One segment. Where a subscription's numbers break off, the session's markets wait for their next book."""
        numbers: dict[tuple[int, int], int] = {}
        for kind, session, wall_us, payload in records(file):
            if kind == CLOSED:
                self._end(None)
            elif kind == ENDED:
                self._end(session)
            elif kind == FRAME and (frame := _frame(payload)) is not None:
                if "sid" in frame and "seq" in frame:
                    place = (session, frame["sid"])
                    if frame["seq"] != numbers.get(place, frame["seq"] - 1) + 1:
                        self._end(session)
                    numbers[place] = frame["seq"]
                self._began_us = self._began_us or wall_us
                self._take(session, wall_us, frame)

    def _end(self, session: int | None) -> None:
        """A session, or each, is over or broken."""
        for market in self.markets.values():
            if session in (None, market.session):
                market.session = None

    def _take(self, session: int, wall_us: int, frame: dict[str, Any]) -> None:
        type_, msg = frame["type"], frame["msg"]
        if type_ not in ("orderbook_snapshot", "orderbook_delta", "trade") or "market_ticker" not in msg:
            return
        ticker = msg["market_ticker"]
        market = self.markets.get(ticker)
        if type_ == "orderbook_snapshot":
            if market is None:
                self.markets[ticker] = MarketHistory(ticker, msg, self._began_us, session=session)
            elif market.session is None or (market.session == session and frame.get("id") is None):
                market.session = session
                market.events.append((wall_us, type_, msg))
        elif type_ == "orderbook_delta":
            if market is not None and market.session == session:
                market.events.append((_us(msg), type_, msg))
        elif market is not None and msg["trade_id"] not in self._trades:
            self._trades.add(msg["trade_id"])
            market.events.append((_us(msg), type_, msg))


def _frame(payload: bytes) -> dict[str, Any] | None:
    """A frame with a type; its `msg` is empty where it has none."""
    try:
        frame: dict[str, Any] = json.loads(payload)
        return {**frame, "type": frame["type"], "msg": frame.get("msg") or {}}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _us(msg: dict[str, Any]) -> int:
    text = msg.get("ts")
    if isinstance(text, str):
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return int(at.timestamp()) * 1_000_000 + at.microsecond
    return int(msg["ts_ms"]) * 1000
