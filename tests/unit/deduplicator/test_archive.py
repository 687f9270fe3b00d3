"""The archive's objects: exact, of fixed names, replaced whole by conditional writes."""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from common.config.schema import ArchiveConfig
from common.errors import StorageError, WriteConflict
from deduplicator.archive import bucket as bucket_module
from deduplicator.archive import tables
from deduplicator.archive.bucket import Bucket
from deduplicator.archive.order import Numbers, Order, rows_of
from deduplicator.archive.spool import Spool
from workshop.rehearsal import s3


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
    return Bucket(ArchiveConfig(bucket="archive", prefix="/some/prefix/", endpoint_url=endpoint, **changes))


def test_an_object_is_replaced_whole_and_old_versions_stay_readable(endpoint: str) -> None:
    """The manifest's version id reads what it describes."""
    archive = bucket(endpoint)
    first = archive.replace("relation/part.parquet", b"one", None)
    second = archive.replace("relation/part.parquet", b"two", archive.etag("relation/part.parquet"))
    assert first.key == second.key == "some/prefix/relation/part.parquet"
    client = s3.client(endpoint)
    for described, body in ((first, b"one"), (second, b"two")):
        got = client.get_object(Bucket="archive", Key=described.key, VersionId=described.version_id)
        assert got["Body"].read() == body
    assert [o["Key"] for o in client.list_objects_v2(Bucket="archive")["Contents"]] == [first.key]


def test_a_write_that_lost_a_race_is_not_made(endpoint: str) -> None:
    """Every write is conditional on what was there before its data was read: older data never replaces newer."""
    archive = bucket(endpoint)
    assert archive.etag("x") is None
    archive.replace("x", b"one", None)
    read = archive.etag("x")
    with pytest.raises(WriteConflict, match="s3://archive/some/prefix/x"):
        archive.replace("x", b"late", None)
    archive.replace("x", b"two", read)
    with pytest.raises(WriteConflict):
        archive.replace("x", b"late", read)
    assert s3.client(endpoint).get_object(Bucket="archive", Key="some/prefix/x")["Body"].read() == b"two"


def test_a_large_file_is_written_in_parts_and_appears_whole(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the last call nothing of it is visible; one that met a conflict leaves nothing."""
    monkeypatch.setattr(bucket_module, "PART_BYTES", 5 << 20)
    archive, client = bucket(endpoint), s3.client(endpoint)
    body = np.random.default_rng(1).bytes(12 << 20)
    (tmp_path / "file").write_bytes(body)
    described = archive.replace_file("large", tmp_path / "file", None)
    got = client.get_object(Bucket="archive", Key="some/prefix/large", VersionId=described.version_id)
    assert got["Body"].read() == body and described.sha256 == hashlib.sha256(body).hexdigest()
    with pytest.raises(WriteConflict):
        archive.replace_file("large", tmp_path / "file", None)
    assert not client.list_multipart_uploads(Bucket="archive").get("Uploads")
    assert len(client.list_object_versions(Bucket="archive")["Versions"]) == 1
    assert archive.download("large", tmp_path / "again") and (tmp_path / "again").read_bytes() == body
    assert not archive.download("nothing", tmp_path / "nothing")


def test_an_endpoint_that_is_away_or_missing_credentials_are_errors_of_the_fleet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Export waits and tries again; production is unaffected."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(StorageError, match="PartialCredentials"):
        bucket("http://127.0.0.1:1").replace("x", b"", None)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    with pytest.raises(StorageError, match="s3://archive/some/prefix/x"):
        bucket("http://127.0.0.1:1").replace("x", b"", None)


def test_changes_are_written_exactly_and_sorted(tmp_path: Path) -> None:
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
    order = Order(["KXB", "KXA"], 0)
    key = order.keys(
        Numbers(order, {1: "KXB", 2: "KXA"}).codes(columns["market"]), columns["exchange_ms"], columns["ordinal"]
    )
    spool = Spool(tmp_path)
    for row in rows_of(key, columns):
        spool.add(row.reshape(1))  # four sorted runs, of one row each
    block = np.concatenate(list(spool.blocks(1000)))
    table = tables.deltas_table(block, order)
    file = tables.ParquetFile(tmp_path / "file", "orderbook_deltas")
    file.write(table)
    file.close()
    read = pq.read_table(tmp_path / "file").to_pylist()
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
    assert (tables.deltas_rows(pq.read_table(tmp_path / "file"), order) == block).all()
    assert len(tables.deltas_table(block[:0], order)) == 0
