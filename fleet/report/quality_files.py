"""The quality report as files: JSON and HTML of the day, and Parquet with a row a market, here or beside the data."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from deduplicator.archive.bucket import Bucket
from fleet.report.quality import Report
from fleet.report.quality_page import page

COPIES_MAX: Final = 3


def write(report: Report, folder: Path) -> list[Path]:
    """Three files named by the day; returns them: JSON, HTML, Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{report.day:%Y-%m-%d}.{kind}" for kind in ("json", "html", "parquet")]
    files[0].write_bytes(msgspec.json.format(msgspec.json.encode(report.published()), indent=1) + b"\n")
    files[1].write_text(page(report))
    pq.write_table(table(report), files[2], compression="zstd", store_schema=False)
    return files


def table(report: Report) -> pa.Table:
    """A row a market: seconds of its time line, and how many of them three or more, two, one and no gatherer held."""
    markets = sorted(report.markets, key=lambda market: market.ticker)
    held = {
        name: pa.array([sum(s for n, s in m.by_copies.items() if least <= n <= most) for m in markets], pa.float64())
        for name, least, most in (("held_by_three", 3, 1 << 30), ("held_by_two", 2, 2), ("held_by_one", 1, 1))
    }
    return pa.table(
        {
            "ticker": pa.array([market.ticker for market in markets], pa.string()),
            "condition": pa.array([market.condition for market in markets], pa.string()),
            "seconds": pa.array([market.seconds for market in markets], pa.float64()),
            **held,
            "held_by_nobody": pa.array([market.uncovered for market in markets], pa.float64()),
            "gaps": pa.array([market.gaps for market in markets], pa.int64()),
            "reasons": pa.array([", ".join(market.reasons) for market in markets], pa.string()),
            "unsealed": pa.array([market.unsealed for market in markets], pa.bool_()),
        }
    )


def publish(report: Report, folder: Path, bucket: Bucket) -> None:
    """Beside the data: `quality/date=.../part.parquet`, and below `_reports/`. Raises `StorageError`."""
    day = f"date={report.day:%Y-%m-%d}"
    places = (f"_reports/{day}.json", f"_reports/{day}.html", f"quality/{day}/part.parquet")
    for file, path in zip(write(report, folder), places, strict=True):
        bucket.replace_file(path, file, bucket.etag(path))
