"""Finished segments go to S3, if a bucket is configured: the frames as received, for as long as anybody wants them.

    <prefix>raw/gatherer=ID/date=YYYY-MM-DD/hour=HH/lane-N-SEGMENT.journal.zst     the segment, by the hour it began in
    ....state                                                                      the loader's state at its head

An object is written once and has a fixed name: writing it again after a crash changes nothing. A marker beside the
segment shows that both are there. A volume that was made from a snapshot has segments that are shorter than they were:
what is there is written over only by what continues it, and what is neither has a name of its own (`-DIGEST` after
the number).
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import io
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import zstandard

from common import log
from common.config.schema import RawArchiveConfig
from common.errors import StorageError, WriteConflict, described
from common.storage import s3
from gatherer.journal.segments import archived_file, packed_file, state_file

COMPARED_BYTES: Final = 1 << 20  # at a time
TAKEN: Final = 412  # the answer to a conditional write where something is
UNREACHABLE_S: Final = 24 * 3600  # longer than this away, and segments no longer wait for it


class SegmentCompared(enum.Enum):
    """What a segment here is to the one of its name there."""

    SAME = enum.auto()
    BEGINNING = enum.auto()
    LONGER = enum.auto()
    DIFFERENT = enum.auto()


def compare(here: IO[bytes], there: IO[bytes]) -> SegmentCompared:
    """Two packed segments by what they hold; one that cannot be unpacked is different."""
    decompressor = zstandard.ZstdDecompressor
    mine, other = (
        io.BufferedReader(decompressor().stream_reader(file, read_across_frames=True), COMPARED_BYTES)
        for file in (here, there)
    )
    try:
        while True:
            a, b = mine.read(COMPARED_BYTES), other.read(COMPARED_BYTES)
            if a == b:
                if not a:
                    return SegmentCompared.SAME
            elif b.startswith(a):
                return SegmentCompared.BEGINNING
            elif a.startswith(b):
                return SegmentCompared.LONGER
            else:
                return SegmentCompared.DIFFERENT
    except zstandard.ZstdError:
        return SegmentCompared.DIFFERENT


class RawBucket:
    """Uploads segments; remembers when it last could."""

    def __init__(self, config: RawArchiveConfig, gatherer_id: str) -> None:
        self._config, self._gatherer = config, gatherer_id
        self._client: Any = None
        self._reached_s = time.monotonic()
        self.uploaded = 0
        self.last_error = ""
        self.conflict = ""
        """The last segment that was not what the archive has under its name."""

    @property
    def trouble(self) -> str:
        """What somebody should look at."""
        return self.last_error or self.conflict

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
        self._client = self._client or s3.client(self._config)
        try:
            self._bring(folder, lane, segment)
        except StorageError as error:
            if not self.last_error:
                log.get().warning("raw_upload_failed", lane=lane, segment=segment, error=str(error)[:300])
            self.last_error = described(error)[:300]
            return False
        archived_file(folder, segment).touch()
        self.uploaded += 1
        self._reached_s, self.last_error = time.monotonic(), ""
        return True

    def _bring(self, folder: Path, lane: int, segment: int) -> None:
        """Segment and state, under their names or, if the archive has another segment there, under names of their own;
        the state first: where there is a segment, its state is."""
        state, packed = state_file(folder, segment), packed_file(folder, segment)
        key = self.key(lane, segment, ".journal.zst")
        if state.exists():
            self._put(state, self.key(lane, segment, ".state"), IfNoneMatch="*")
        if self._put(packed, key, IfNoneMatch="*"):
            return
        with self._errors(key), packed.open("rb") as here:
            there = self._client.get_object(Bucket=self._config.bucket, Key=key)
            compared = compare(here, there["Body"])
        if compared is SegmentCompared.DIFFERENT:
            digest = hashlib.sha256(packed.read_bytes()).hexdigest()[:12]
            key = self.key(lane, segment, f"-{digest}.journal.zst")
            self.conflict = f"segment {segment} of lane {lane} is not what the archive has; it is kept as {key}"
            log.get().error("raw_segment_differs", lane=lane, segment=segment, key=key)
            if state.exists():
                self._put(state, self.key(lane, segment, f"-{digest}.state"))
            self._put(packed, key)
        elif compared is SegmentCompared.LONGER:
            if not self._put(packed, key, IfMatch=there["ETag"]):
                raise StorageError(f"{key} was written meanwhile")
        elif compared is SegmentCompared.BEGINNING:
            log.get().warning("raw_segment_longer_there", lane=lane, segment=segment)

    def _put(self, file: Path, key: str, **condition: str) -> bool:
        """Whether it was written: the condition held."""
        try:
            with self._errors(key), file.open("rb") as body:
                self._client.put_object(Bucket=self._config.bucket, Key=key, Body=body, **condition)
        except WriteConflict as conflict:
            if conflict.status == TAKEN:
                return False
            raise
        return True

    def _errors(self, key: str) -> contextlib.AbstractContextManager[None]:
        return s3.errors(f"s3://{self._config.bucket}/{key}")
