"""Where an archive lies, and what its hours' manifests state: paths, manifests, files. Knows no market's book."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from kalshi_fleet.columns import DAILY, STORED
from kalshi_fleet.errors import HourChanging, NotAnArchive
from kalshi_fleet.events import BEFORE_FLEET, BOOK_CHANNEL, SHARED_CHANNELS, channels_of
from kalshi_fleet.moments import floor_ms, of_ms
from kalshi_fleet.place import Location

MANIFESTS_AT_ONCE: Final = 16
_DICTIONARIES: Final = {"orderbook_deltas": ["ticker", "side"]}


@dataclass(frozen=True)
class Manifest:
    """What an exported hour's manifest states."""

    hour_ms: int
    finished: bool
    unsealed_count: int
    unsealed: frozenset[str]
    unsealed_channels: frozenset[str]
    recorded_from_ms: int
    """The fleet's first moment: of what was before nothing is recorded, and no gap of it listed."""
    rows: dict[str, int]

    @property
    def settled(self) -> bool:
        """Whether nothing at all will come any more."""
        return self.finished and not self.unsealed_count and not self.unsealed_channels

    def sealed(self, tickers: Sequence[str] | None, channels: Sequence[str]) -> bool:
        """Whether nothing will come any more of these channels for the markets (None: for any market)."""
        return self.finished and not self.unsealed_of(tickers, channels)

    def unsealed_of(self, tickers: Sequence[str] | None, channels: Sequence[str]) -> list[str]:
        """Of these, the channels that carry all markets, and the markets whose books, are not sealed."""
        found = sorted(self.unsealed_channels & set(channels))
        if BOOK_CHANNEL not in channels or not self.unsealed_count:
            return found
        if tickers is None or len(self.unsealed) < self.unsealed_count:  # not all of them are named
            return [*found, *(sorted(self.unsealed) if tickers is None else tickers)]
        return [*found, *(ticker for ticker in tickers if ticker in self.unsealed)]


def manifest_of(hour_ms: int, content: Mapping[str, Any]) -> Manifest:
    """A manifest as it stands in the archive. One without the channels that carry all markets is older."""
    return Manifest(
        hour_ms,
        content["finished"],
        content["unsealed_markets"],
        frozenset(content["unsealed"]),
        frozenset(content.get("unsealed_channels", SHARED_CHANNELS)),
        floor_ms(datetime.fromisoformat(content["recorded_from"])) if "recorded_from" in content else hour_ms,
        {name: relation["rows"] for name, relation in content["relations"].items()},
    )


class Store:
    """A folder or `s3://BUCKET/PREFIX`. Credentials that are not given are found as AWS's tools find them."""

    def __init__(
        self, location: str | Path, endpoint_url: str | None, region: str, credentials: tuple[str, str] | None
    ) -> None:
        self.location = str(location)
        try:
            self.filesystem, self.root = Location(self.location, endpoint_url, region, credentials).open()
            self.there = {entry.base_name for entry in self.filesystem.get_file_info(fs.FileSelector(self.root))}
        except (OSError, pa.ArrowException) as error:
            raise NotAnArchive(f"{location} cannot be read: {type(error).__name__}: {error}") from error
        if not self.there & STORED.keys():
            raise NotAnArchive(f"{location} holds no relation of an archive; it should hold folders like trades/")
        self._manifests: dict[int, Manifest] = {}

    def manifests(self, hours: Sequence[int]) -> dict[int, Manifest]:
        """Of those hours that are in the archive. That of a sealed hour is read once."""
        wanted = [hour for hour in hours if hour not in self._manifests]
        with ThreadPoolExecutor(MANIFESTS_AT_ONCE) as pool:
            read = [one for one in pool.map(self._manifest, wanted) if one is not None]
        self._manifests.update({one.hour_ms: one for one in read if one.settled})
        known = {one.hour_ms: one for one in read} | self._manifests
        return {hour: known[hour] for hour in hours if hour in known}

    def _manifest(self, hour_ms: int) -> Manifest | None:
        path = f"{self.root}/_manifests/{_within(hour_ms)}.json"
        try:
            with self.filesystem.open_input_file(path) as source:
                content = json.loads(source.read())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, pa.ArrowException) as error:
            raise NotAnArchive(f"{path} cannot be read: {type(error).__name__}: {error}") from error
        return manifest_of(hour_ms, content)

    def file(self, relation: str, manifest: Manifest) -> Any:
        """The relation's file of an hour, as its manifest describes it. Raises `HourChanging` if it is another one."""
        path = f"{self.root}/{relation}/{_within(manifest.hour_ms)}/part.parquet"
        try:
            file = pq.ParquetFile(path, filesystem=self.filesystem, read_dictionary=_DICTIONARIES.get(relation))
        except FileNotFoundError:
            raise HourChanging(f"{path} is not there, and its manifest lists it") from None
        except (OSError, pa.ArrowException) as error:
            raise NotAnArchive(f"{path} cannot be read: {type(error).__name__}: {error}") from error
        if file.metadata.num_rows != manifest.rows[relation]:
            raise HourChanging(
                f"{path} has {file.metadata.num_rows} rows and its manifest says {manifest.rows[relation]}:"
                " the hour is being replaced, or the copy is incomplete"
            )
        return file

    def read(self, relation: str, manifest: Manifest, tickers: Sequence[str] | None, columns: Any = None) -> Any:
        """Rows of an hour, of some markets or of all; row groups without them are not read."""
        file = self.file(relation, manifest)
        names = file.schema_arrow.names if columns is None else columns
        groups = row_groups(file, tickers)
        table = file.read_row_groups(groups, columns=names) if groups else file.schema_arrow.empty_table().select(names)
        if tickers is not None:
            table = table.filter(pa.compute.is_in(table["ticker"].cast(pa.string()), pa.array(tickers, pa.string())))
        return plain(table)

    def gaps(self, manifest: Manifest, tickers: Sequence[str] | None) -> Any:
        """The gaps that touch an hour, and what of it was before the fleet's first moment (without tickers: '')."""
        table = self.read("coverage_gaps", manifest, tickers)
        if manifest.recorded_from_ms <= manifest.hour_ms:
            return table
        row = {"started_at": of_ms(0), "ended_at": of_ms(manifest.recorded_from_ms), "reason": BEFORE_FLEET}
        names = [""] if tickers is None else tickers
        rows = [{**row, "ticker": name, "channel": channel} for name in names for channel in channels_of([name])]
        return pa.concat_tables([table, pa.Table.from_pylist(rows, table.schema)])

    def dataset(self, relation: str) -> Any:
        """All files of a relation, with their partitions as columns; no rows if there are none."""
        partitions = pa.schema([("date", pa.string())] + ([] if relation in DAILY else [("hour", pa.int32())]))
        schema = pa.unify_schemas([STORED[relation], partitions])
        if relation not in self.there:
            return schema.empty_table()
        layout = ds.partitioning(partitions, flavor="hive")
        folder = f"{self.root}/{relation}"
        return ds.dataset(folder, schema=schema, filesystem=self.filesystem, format="parquet", partitioning=layout)

    def days(self, relation: str, hours: Sequence[int]) -> list[str]:
        """Paths of a daily relation, for the days of some hours, that are there."""
        days = sorted({f"{of_ms(hour):%Y-%m-%d}" for hour in hours})
        paths = [f"{self.root}/{relation}/date={day}/part.parquet" for day in days]
        return [entry.path for entry in self.filesystem.get_file_info(paths) if entry.type == fs.FileType.File]


def row_groups(file: Any, tickers: Sequence[str] | None) -> list[int]:
    """Row groups that may hold one of the tickers, by the statistics."""
    metadata = file.metadata
    if tickers is None:
        return list(range(metadata.num_row_groups))
    place = metadata.schema.names.index("ticker")
    wanted = []
    for group in range(metadata.num_row_groups):
        found = metadata.row_group(group).column(place).statistics
        if metadata.row_group(group).num_rows == 0:
            continue
        if found is None or not found.has_min_max or any(found.min <= one <= found.max for one in tickers):
            wanted.append(group)
    return wanted


def plain(table: Any) -> Any:
    """Dictionaries of texts as texts."""
    for place, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(place, pa.field(column.name, pa.string()), table.column(place).cast(pa.string()))
    return table


def _within(hour_ms: int) -> str:
    return f"date={of_ms(hour_ms):%Y-%m-%d}/hour={of_ms(hour_ms):%H}"
