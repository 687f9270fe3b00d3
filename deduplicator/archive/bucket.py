"""Objects of a fixed name, replaced whole by one conditional write."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import boto3
import botocore.exceptions
from botocore.config import Config

from common.config.schema import Archive
from common.errors import StorageError

TRIES_MAX: Final = 5


class Bucket:
    """One bucket below a prefix. Methods block: call them from a thread."""

    def __init__(self, archive: Archive) -> None:
        self._name, self._prefix = archive.bucket, archive.prefix.strip("/")
        self._archive = archive
        self._made: Any = None

    @property
    def _s3(self) -> Any:
        """The client, made at first use: missing credentials must not keep production from being written."""
        if self._made is None:
            self._made = boto3.session.Session().client(
                "s3",
                region_name=self._archive.region,
                endpoint_url=self._archive.endpoint_url,
                config=Config(retries={"mode": "standard", "max_attempts": 6}, s3={"addressing_style": "path"}),
            )
        return self._made

    def key(self, path: str) -> str:
        """The object key of a path below the prefix."""
        return f"{self._prefix}/{path}" if self._prefix else path

    def replace(self, path: str, body: bytes) -> dict[str, Any]:
        """Write an object whole, on the condition that it is as it was read; returns what describes the version."""
        key = self.key(path)
        try:
            for _ in range(TRIES_MAX):
                condition = self._condition(key)
                try:
                    answer = self._s3.put_object(Bucket=self._name, Key=key, Body=body, **condition)
                except botocore.exceptions.ClientError as error:
                    if error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412):
                        continue  # somebody else wrote in between: look again
                    raise
                return {
                    "key": key,
                    "bytes": len(body),
                    "sha256": hashlib.sha256(body).hexdigest(),
                    "etag": answer["ETag"].strip('"'),
                    "version_id": answer.get("VersionId"),
                }
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise StorageError(f"s3://{self._name}/{key}: {type(error).__name__}: {error}") from error
        raise StorageError(f"s3://{self._name}/{key} is being written by somebody else")

    def _condition(self, key: str) -> dict[str, str]:
        try:
            return {"IfMatch": self._s3.head_object(Bucket=self._name, Key=key)["ETag"]}
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return {"IfNoneMatch": "*"}
            raise

    def read(self, path: str) -> bytes | None:
        """An object's body, or None if there is none."""
        key = self.key(path)
        try:
            body: bytes = self._s3.get_object(Bucket=self._name, Key=key)["Body"].read()
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise StorageError(f"s3://{self._name}/{key}: {type(error).__name__}: {error}") from error
        except botocore.exceptions.BotoCoreError as error:
            raise StorageError(f"s3://{self._name}/{key}: {type(error).__name__}: {error}") from error
        return body

    def replace_json(self, path: str, value: dict[str, Any]) -> None:
        """Write a JSON object."""
        self.replace(path, json.dumps(value, indent=1, default=str).encode())
