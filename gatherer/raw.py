"""Finished segments go to S3, if a bucket is configured: the frames as received, for as long as anybody wants them.

    <prefix>raw/gatherer=ID/date=YYYY-MM-DD/hour=HH/lane-N-SEGMENT.journal.zst     the segment, by the hour it began in
    ....state                                                                      the loader's state at its head

An object is written once and has a fixed name: writing it again after a crash changes nothing. A marker beside the
segment says that both are there.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from common import log
from common.config.schema import RawArchive
from gatherer.journal.segments import archived_file, packed_file, state_file

UNREACHABLE_S: Final = 24 * 3600  # longer than this away, and segments no longer wait for it


class RawBucket:
    """Uploads segments; remembers when it last could."""

    def __init__(self, config: RawArchive, gatherer_id: str) -> None:
        self._config, self._gatherer = config, gatherer_id
        self._client: Any = None
        self._reached_s = time.monotonic()
        self.uploaded = 0
        self.last_error = ""

    @property
    def reachable(self) -> bool:
        """Whether it took something in the last 24 hours: only then is it waited for."""
        return time.monotonic() - self._reached_s < UNREACHABLE_S

    def key(self, lane: int, segment: int, suffix: str) -> str:
        """The name of an object; a segment's number is the second of its creation, or a little more."""
        at = datetime.fromtimestamp(segment, UTC)
        prefix = f"{self._config.prefix.strip('/')}/" if self._config.prefix.strip("/") else ""
        hour = f"date={at:%Y-%m-%d}/hour={at:%H}"
        return f"{prefix}raw/gatherer={self._gatherer}/{hour}/lane-{lane}-{segment:012d}{suffix}"

    def upload(self, folder: Path, lane: int, segment: int) -> bool:
        """Bring a compressed segment and its state there and mark it; false if the bucket cannot be reached now."""
        self._client = self._client or boto3.client(
            "s3",
            region_name=self._config.region,
            endpoint_url=self._config.endpoint_url,
            config=Config(
                retries={"max_attempts": 2, "mode": "standard"}, connect_timeout=5, s3={"addressing_style": "path"}
            ),
        )
        try:
            state = state_file(folder, segment)
            if state.exists():
                self._client.upload_file(str(state), self._config.bucket, self.key(lane, segment, ".state"))
            packed = packed_file(folder, segment)
            self._client.upload_file(str(packed), self._config.bucket, self.key(lane, segment, ".journal.zst"))
        except (BotoCoreError, ClientError, boto3.exceptions.S3UploadFailedError) as error:
            if not self.last_error:
                log.get().warning("raw_upload_failed", lane=lane, segment=segment, error=str(error)[:300])
            self.last_error = f"{type(error).__name__}: {error}"[:300]
            return False
        archived_file(folder, segment).touch()
        self.uploaded += 1
        self._reached_s, self.last_error = time.monotonic(), ""
        return True
