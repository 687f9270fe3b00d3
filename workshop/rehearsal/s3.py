"""The bucket of a local fleet."""

from __future__ import annotations

import time
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

WAIT_S = 30.0
CREDENTIALS = ("local", "local")  # made up: a local endpoint takes any


def client(endpoint_url: str) -> Any:
    """An S3 client for a local endpoint, with made-up credentials."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name="us-east-2",
        aws_access_key_id=CREDENTIALS[0],
        aws_secret_access_key=CREDENTIALS[1],
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}),
    )


def make_bucket(endpoint_url: str, bucket: str) -> None:
    """Create a versioned bucket as soon as the endpoint answers."""
    s3 = client(endpoint_url)
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "us-east-2"})
            break
        except botocore.exceptions.EndpointConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
