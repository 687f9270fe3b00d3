"""S3 is reached in one way, and what it answers is an error of the fleet's."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import mock_aws

from common.config.schema import BucketConfig
from common.errors import StorageError, WriteConflict
from common.storage import s3

ROOT = Path(__file__).parents[3]
CREDENTIALS = ("x", "x")
BUCKET = BucketConfig(bucket="archive")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An S3 with a bucket."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        made = s3.client(BUCKET, credentials=CREDENTIALS)
        made.create_bucket(Bucket="archive", CreateBucketConfiguration={"LocationConstraint": BUCKET.region})
        yield


@pytest.mark.usefixtures("store")
def test_what_s3_answers_is_an_error_of_the_fleet() -> None:
    """A condition that does not hold is an error of its own; each names the object."""
    client = s3.client(BUCKET, credentials=CREDENTIALS)
    write = {"Bucket": "archive", "Key": "x", "Body": b"", "IfNoneMatch": "*"}
    with s3.errors("s3://archive/x"):
        client.put_object(**write)
    with pytest.raises(WriteConflict, match="s3://archive/x") as conflict, s3.errors("s3://archive/x"):
        client.put_object(**write)
    assert conflict.value.status == 412 and conflict.value.retryable
    with pytest.raises(StorageError, match="s3://nowhere/x: NoSuchBucket") as missing, s3.errors("s3://nowhere/x"):
        client.get_object(Bucket="nowhere", Key="x")
    assert not isinstance(missing.value, WriteConflict)


def test_an_endpoint_that_is_away_is_an_error_of_the_fleet() -> None:
    """After as many tries as are asked for."""
    away = s3.client(BucketConfig(bucket="a", endpoint_url="http://127.0.0.1:1"), credentials=CREDENTIALS, retries=0)
    with pytest.raises(StorageError, match="s3://a/x: EndpointConnectionError"), s3.errors("s3://a/x"):
        away.head_object(Bucket="a", Key="x")


def test_nothing_else_makes_a_client() -> None:
    """Of what ships: a second one would have a patience and errors of its own."""
    makers = set()
    for package in ("common", "gatherer", "deduplicator", "fleet", "signals"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.split(".")[0] == "boto3" for name in names):
                    makers.add(str(file.relative_to(ROOT)))
    assert makers == {"common/storage/s3.py"}
