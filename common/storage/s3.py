"""S3: one client with its patience, and what it answers as errors of the fleet's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from common.config.schema import BucketConfig
from common.errors import StorageError, WriteConflict, described

CONNECT_S: Final = 5
READ_S: Final = 60
RETRIES: Final = 2
"""Of one request; for what is tried again later anyway."""
CONFLICTS: Final = (409, 412)
"""Answers to a conditional write: another one is being made, or has been made."""


def client(
    bucket: BucketConfig, *, retries: int = RETRIES, read_s: int = READ_S, credentials: tuple[str, str] | None = None
) -> Any:
    """A client for a bucket's region and endpoint. Credentials that are not given are found as AWS's tools find them.

    A session of its own: the one that boto3 shares is not made for several threads.
    """
    key, secret = credentials or (None, None)
    return boto3.session.Session().client(
        "s3",
        region_name=bucket.region,
        endpoint_url=bucket.endpoint_url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(
            retries={"mode": "standard", "max_attempts": retries},
            connect_timeout=CONNECT_S,
            read_timeout=read_s,
            s3={"addressing_style": "path"},
        ),
    )


@contextlib.contextmanager
def errors(where: str) -> Iterator[None]:
    """Work on an object. Raises `WriteConflict` if a condition did not hold, `StorageError` for all else that fails."""
    try:
        yield
    except ClientError as error:
        if (answer := status(error)) in CONFLICTS:
            raise WriteConflict(f"{where} was written by somebody else meanwhile", answer) from error
        raise StorageError(f"{where}: {described(error)}") from error
    except BotoCoreError as error:
        raise StorageError(f"{where}: {described(error)}") from error


def status(error: ClientError) -> int:
    """The answer's status of HTTP."""
    found: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return found


def code(error: ClientError) -> str:
    """What S3 calls its answer."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))
