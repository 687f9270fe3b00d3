"""The bucket of a local fleet."""

from __future__ import annotations

import time
from typing import Any

import botocore.exceptions

from common.config.schema import BucketConfig
from common.storage import s3

WAIT_S = 30.0
CREDENTIALS = ("local", "local")  # made up: a local endpoint takes any


def client(endpoint_url: str) -> Any:
    """An S3 client for a local endpoint, with made-up credentials."""
    return s3.client(BucketConfig(bucket="", endpoint_url=endpoint_url), credentials=CREDENTIALS)


def make_bucket(endpoint_url: str, bucket: str) -> None:
    """Create a versioned bucket as soon as the endpoint answers."""
    local = client(endpoint_url)
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            local.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "us-east-2"})
            break
        except botocore.exceptions.EndpointConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    local.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
