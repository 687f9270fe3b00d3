"""The archive's objects: exact, of fixed names, replaced whole by conditional writes."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from common.config.schema import Archive
from common.errors import StorageError
from deduplicator.archive import tables
from deduplicator.archive.bucket import Bucket
from fleet import s3


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 endpoint with a versioned bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    with urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")):
        s3.make_bucket(url, "archive")
    yield url
    server.stop()


def bucket(endpoint: str, **changes: Any) -> Bucket:
    """The archive's bucket."""
    return Bucket(Archive(bucket="archive", prefix="/some/prefix/", endpoint_url=endpoint, **changes))


def test_an_object_is_replaced_whole_and_old_versions_stay_readable(endpoint: str) -> None:
    """The manifest's version id reads what it describes."""
    archive = bucket(endpoint)
    first = archive.replace("relation/part.parquet", b"one")
    second = archive.replace("relation/part.parquet", b"two")
    assert first["key"] == second["key"] == "some/prefix/relation/part.parquet"
    client = s3.client(endpoint)
    for described, body in ((first, b"one"), (second, b"two")):
        got = client.get_object(Bucket="archive", Key=described["key"], VersionId=described["version_id"])
        assert got["Body"].read() == body
    assert [o["Key"] for o in client.list_objects_v2(Bucket="archive")["Contents"]] == [first["key"]]


def test_a_write_that_lost_a_race_looks_again(endpoint: str) -> None:
    """Every write is conditional on what was read; all of them get through, one after the other."""
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda n: bucket(endpoint).replace("x", b"%d" % n), range(3)))
    assert len({r["version_id"] for r in results}) == 3


def test_an_endpoint_that_is_away_or_missing_credentials_are_errors_of_the_fleet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Export waits and tries again; production is unaffected."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(StorageError, match="PartialCredentials"):
        bucket("http://127.0.0.1:1").replace("x", b"")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    with pytest.raises(StorageError, match="s3://archive/some/prefix/x"):
        bucket("http://127.0.0.1:1").replace("x", b"")


def test_changes_are_written_exactly_and_sorted() -> None:
    """Decimals without a float on the way; ticker, time, ordinal in order; unknown microseconds are null."""
    columns = {
        "market": np.array([2, 1, 1, 1]),
        "exchange_ms": np.array([5, 9, 7, 7]),
        "ordinal": np.array([0, 0, 1, 0]),
        "exchange_us": np.array([-1, 0, 999, 3]),
        "side": np.array([0, 1, 0, 1]),
        "price": np.array([1, 9999, 4200, 10000]),
        "delta": np.array([1, -(1 << 41), 7, -1]),
        "received_us": np.array([5001, 9002, 7003, 7004]),
    }
    table = tables.deltas_table(columns, {1: "KXB", 2: "KXA"})
    read = pq.read_table(io.BytesIO(tables.parquet("orderbook_deltas", table))).to_pylist()
    assert [(r["ticker"], r["ordinal"]) for r in read] == [("KXA", 0), ("KXB", 0), ("KXB", 1), ("KXB", 0)]
    assert [r["price"] for r in read] == [Decimal("0.0001"), Decimal("1.0000"), Decimal("0.4200"), Decimal("0.9999")]
    assert [r["delta"] for r in read] == [
        Decimal("0.01"),
        Decimal("-0.01"),
        Decimal("0.07"),
        Decimal(-(1 << 41)).scaleb(-2),
    ]
    assert [r["exchange_us"] for r in read] == [None, 3, 999, 0]
    assert [r["side"] for r in read] == ["yes", "no", "yes", "no"]
    assert len(tables.deltas_table({k: v[:0] for k, v in columns.items()}, {})) == 0
