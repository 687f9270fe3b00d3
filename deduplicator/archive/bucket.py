"""Objects of a fixed name, replaced whole by one conditional write."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any, BinaryIO, Final

from botocore.exceptions import BotoCoreError, ClientError

from common.config.schema import ArchiveConfig
from common.contract.manifest import StoredObject
from common.storage import s3

PART_BYTES: Final = 32 << 20
RETRIES: Final = 6
"""Of a request: what it was made for, an hour read from production, would have to be made again."""


class Bucket:
    """One bucket below a prefix. Methods block: call them from a thread."""

    def __init__(self, archive: ArchiveConfig) -> None:
        self._name, self._prefix = archive.bucket, archive.prefix.strip("/")
        self._archive = archive
        self._made: Any = None

    @property
    def _s3(self) -> Any:
        """The client, made at first use: missing credentials must not keep production from being written."""
        if self._made is None:
            self._made = s3.client(self._archive, retries=RETRIES)
        return self._made

    def key(self, path: str) -> str:
        """The object key of a path below the prefix."""
        return f"{self._prefix}/{path}" if self._prefix else path

    def etag(self, path: str) -> str | None:
        """Which version an object is; None if there is none."""
        with self._errors(self.key(path)):
            try:
                tag: str = self._s3.head_object(Bucket=self._name, Key=self.key(path))["ETag"]
            except ClientError as error:
                if s3.status(error) == 404:
                    return None
                raise
            return tag

    def replace(self, path: str, body: bytes, etag: str | None) -> StoredObject:
        """Write a small object whole, if it still has this `etag`; returns the version.

        Raises `WriteConflict` if somebody else has written it since, `StorageError` if S3 cannot be reached.
        """
        key = self.key(path)
        with self._errors(key):
            answer = self._s3.put_object(Bucket=self._name, Key=key, Body=body, **_condition(etag))
        return _stored(key, len(body), hashlib.sha256(body).hexdigest(), answer)

    def replace_file(self, path: str, file: Path, etag: str | None) -> StoredObject:
        """As `replace`, from a file of any size: nobody sees a part of it before all of it is there."""
        key, size = self.key(path), file.stat().st_size
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            source.seek(0)
            with self._errors(key):
                if size <= PART_BYTES:
                    answer = self._s3.put_object(Bucket=self._name, Key=key, Body=source, **_condition(etag))
                else:
                    answer = self._in_parts(key, source, etag)
        return _stored(key, size, digest, answer)

    def _in_parts(self, key: str, source: BinaryIO, etag: str | None) -> Any:
        where = {"Bucket": self._name, "Key": key}
        upload = {**where, "UploadId": self._s3.create_multipart_upload(**where)["UploadId"]}
        try:
            parts: list[dict[str, Any]] = []
            while body := source.read(PART_BYTES):
                number = len(parts) + 1
                part = self._s3.upload_part(**upload, PartNumber=number, Body=body)
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
            return self._s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **_condition(etag))
        except BaseException:
            with contextlib.suppress(BotoCoreError, ClientError):
                self._s3.abort_multipart_upload(**upload)  # else the bucket's lifecycle rule removes the parts
            raise

    def _errors(self, key: str) -> contextlib.AbstractContextManager[None]:
        return s3.errors(f"s3://{self._name}/{key}")

    def download(self, path: str, file: Path) -> bool:
        """An object into a file; False if there is none."""
        key = self.key(path)
        with self._errors(key):
            try:
                body = self._s3.get_object(Bucket=self._name, Key=key)["Body"]
            except ClientError as error:
                if s3.status(error) == 404:
                    return False
                raise
            with file.open("wb") as target:
                for chunk in body.iter_chunks(PART_BYTES):
                    target.write(chunk)
        return True


def _condition(etag: str | None) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}


def _stored(key: str, size: int, digest: str, answer: Any) -> StoredObject:
    return StoredObject(key, size, digest, answer["ETag"].strip('"'), answer.get("VersionId"))
