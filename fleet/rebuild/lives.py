"""When each market opened and was over, as the archive's own relation `markets` has it from REST."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from common.errors import StorageError, described
from common.numbers import ms_of_datetime
from deduplicator.from_rest.time_lines import CLOSE_GRACE_MS
from fleet.rebuild.part import MarketTimes
from kalshi_fleet.place import Location

OVER = ("determined", "finalized")
COLUMNS = ["ticker", "status", "open_time", "close_time", "settlement_ts", "updated_at"]


def lives(archive: Location) -> dict[str, MarketTimes]:
    """By ticker; of a market that changed, as it was last. Raises `StorageError`."""
    try:
        filesystem, root = archive.open()
        found = ds.dataset(f"{root}/markets", filesystem=filesystem, format="parquet").to_table(columns=COLUMNS)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{archive.location} has no relation markets: {described(error)}") from error
    return {
        row["ticker"]: _life(row) for row in found.sort_by("updated_at").to_pylist() if row["open_time"] is not None
    }


def _life(row: dict[str, Any]) -> MarketTimes:
    end = None
    if row["status"] in OVER and row["close_time"] is not None:
        over = max(at for at in (row["close_time"], row["settlement_ts"]) if at is not None)
        end = ms_of_datetime(over) + CLOSE_GRACE_MS
    return MarketTimes(ms_of_datetime(row["open_time"]), end)
