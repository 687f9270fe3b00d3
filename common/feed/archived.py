"""The feed in the archive: hours of its rows as they were, one Parquet file each, and reading them back.

An hour has the steps that were committed in it; the footer states from which to which, also where there is none. The
names of the markets in its blocks are in a file beside it, so that an hour is read without production.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from common.errors import FeedError
from common.feed.block import decode
from common.feed.reader import FeedStep
from common.numbers import us_of_datetime

FEED: Final = "feed"
MARKETS: Final = "feed_markets"
SCHEMA: Final = pa.schema(
    [
        pa.field("step", pa.int64(), False),
        pa.field("committed_at", pa.timestamp("us", "UTC"), False),
        pa.field("kind", pa.string(), False),
        pa.field("rows", pa.int32(), False),
        pa.field("from_ms", pa.int64()),
        pa.field("to_ms", pa.int64()),
        pa.field("block", pa.binary()),
    ]
)
MARKETS_SCHEMA: Final = pa.schema([pa.field("market", pa.int64(), False), pa.field("ticker", pa.string(), False)])
COMPRESSION: Final = {name: "none" if name == "block" else "zstd" for name in SCHEMA.names}
"""Blocks are compressed already."""
GROUP_BYTES: Final = 32 << 20
GROUP_STEPS: Final = 20_000
_FOOTER: Final = b"kalshi_feed"


class ArchivedSteps(NamedTuple):
    """What an hour holds: its steps, both inclusive (`last` is `first` - 1: none), and a digest of its rows."""

    first: int
    last: int
    sha256: str


def path_of(relation: str, hour: datetime) -> str:
    """Where an hour lies below the archive's prefix."""
    return f"{relation}/date={hour:%Y-%m-%d}/hour={hour:%H}/part.parquet"


class FeedFile:
    """An hour that is written: exactly the steps from `first` to `last`, in their order."""

    def __init__(self, path: Path, first: int, last: int) -> None:
        self._first, self._last, self._next = first, last, first
        self._writer = pq.ParquetWriter(path, SCHEMA, compression=COMPRESSION, use_dictionary=["kind"])
        self._rows: list[Any] = []
        self._size = 0
        self._digest = hashlib.sha256()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """The next ones. Raises `FeedError` if a step is missing."""
        for row in rows:
            if row["step"] != self._next:
                raise FeedError(f"step {self._next} is missing in the feed: {row['step']} follows")
            self._next += 1
            self._rows.append(row)
            self._size += len(row["block"] or b"")
            self._digest.update(_bytes(row))
            if self._size >= GROUP_BYTES or len(self._rows) >= GROUP_STEPS:
                self._write()

    def close(self) -> ArchivedSteps:
        """All are there. Raises `FeedError` if not."""
        if self._next != self._last + 1:
            raise FeedError(f"step {self._next} is missing in the feed: {self._last} should be the hour's last")
        self._write()
        held = ArchivedSteps(self._first, self._last, self._digest.hexdigest())
        self._writer.add_key_value_metadata({_FOOTER: json.dumps(held._asdict()).encode()})
        self._writer.close()
        return held

    def _write(self) -> None:
        columns = [pa.array([row[field.name] for row in self._rows], field.type) for field in SCHEMA]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=GROUP_STEPS)
        self._rows, self._size = [], 0


def _bytes(row: Mapping[str, Any]) -> bytes:
    values = [row["step"], us_of_datetime(row["committed_at"]), row["kind"], row["rows"], row["from_ms"], row["to_ms"]]
    block: bytes | None = row["block"]
    values.append(None if block is None else len(block))
    return json.dumps(values).encode() + (block or b"")


def held(source: Any) -> ArchivedSteps | None:
    """What a file's footer states; None if it is no hour of the feed. `source`: as pyarrow opens it."""
    with contextlib.suppress(pa.ArrowInvalid):
        footer = (pq.read_metadata(source).metadata or {}).get(_FOOTER)
        return None if footer is None else ArchivedSteps(**json.loads(footer))
    return None


def steps_of(source: Any) -> Iterator[FeedStep]:
    """The steps of one file, in their order. Raises `FeedError` for a block that does not read."""
    file = pq.ParquetFile(source)
    for group in range(file.num_row_groups):
        for row in file.read_row_group(group).to_pylist():
            block = row.pop("block")
            yield FeedStep(**row, tables={} if block is None else decode(block), whole=block is not None)


def archived_steps(filesystem: Any, root: str, after: int) -> Iterator[FeedStep]:
    """Every step after one that an archive has, once, in order. Where it ends, the feed itself continues.

    `root`: the archive's folder on the file system. Raises `FeedError` if the archive begins later, or steps are
    missing.
    """
    found = filesystem.get_file_info(fs.FileSelector(f"{root}/{FEED}", recursive=True, allow_not_found=True))
    paths = sorted(entry.path for entry in found if entry.base_name == "part.parquet")
    place = after
    for path in paths[_first_with(filesystem, paths, after + 1) :]:
        with filesystem.open_input_file(path) as source:
            hour = held(source)
        if hour is None:
            raise FeedError(f"{path} is no hour of the feed")
        if hour.first > place + 1:
            if place == after and path == paths[0]:
                raise FeedError(f"step {after + 1} is not in the archive: it begins with step {hour.first}")
            raise FeedError(f"after step {place} the archive has step {hour.first} ({path}): steps are missing")
        with filesystem.open_input_file(path) as source:
            for step in steps_of(source):
                if step.step <= after:
                    continue
                if step.step != place + 1:
                    raise FeedError(f"after step {place} the archive has step {step.step} ({path})")
                place = step.step
                yield step


def _first_with(filesystem: Any, paths: list[str], step: int) -> int:
    """The place of the first hour whose last step is this one or later: hours are in the order of their steps."""
    low, high = 0, len(paths)
    while low < high:
        middle = (low + high) // 2
        with filesystem.open_input_file(paths[middle]) as source:
            hour = held(source)
        if hour is not None and hour.last < step:
            low = middle + 1
        else:
            high = middle
    return low


def tickers_of(filesystem: Any, root: str, hour: datetime) -> dict[int, str]:
    """The names of the markets in an hour's blocks, by production's numbers."""
    with filesystem.open_input_file(f"{root}/{path_of(MARKETS, hour)}") as source:
        table = pq.read_table(source)
    return dict(zip(table["market"].to_pylist(), table["ticker"].to_pylist(), strict=True))
