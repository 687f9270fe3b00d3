"""An hour's manifest, as it is written, read again, and read by the library that knows nothing of its type."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from common.contract import manifest
from common.contract.manifest import ArchivedRelation, CheckCounts, Manifest
from common.numbers import ms_of_datetime
from kalshi_fleet.store import manifest_of

HOUR = datetime(2026, 11, 21, 5, tzinfo=UTC)
FIRST = HOUR + timedelta(minutes=10, milliseconds=1)
WRITTEN = Manifest(
    hour=HOUR,
    exported_at=HOUR + timedelta(hours=1, microseconds=7),
    step=12,
    finished=True,
    recorded_from=FIRST,
    unsealed_markets=3,
    unsealed=["KXA-1", "KXÄ-2"],
    unsealed_channels=["trade"],
    gaps=4,
    checks={"books": CheckCounts(10, 1)},
    code_version="1.0",
    relations={"trades": ArchivedRelation("fleet/trades/part.parquet", 9, "digest", "etag", None, rows=5)},
)


def test_it_is_read_as_it_was_written() -> None:
    """By people, too: a line a value."""
    data = manifest.encoded(WRITTEN)
    assert manifest.decode(data) == WRITTEN and len(data.splitlines()) > 20
    assert manifest.path(HOUR) == "_manifests/date=2026-11-21/hour=05.json"


def test_the_library_reads_every_field_that_it_needs() -> None:
    """It has no default in the place of what is there."""
    read = manifest_of(ms_of_datetime(HOUR), json.loads(manifest.encoded(WRITTEN)))
    assert read.finished and read.unsealed_count == 3 and read.unsealed == {"KXA-1", "KXÄ-2"}
    assert read.unsealed_channels == {"trade"} and read.rows == {"trades": 5}
    assert read.recorded_from_ms == ms_of_datetime(FIRST)
