"""Housekeeping of the journal's folder: finished segments are compressed, loaded ones go when space is needed.

Only this process removes segments, over all lanes together: the oldest loaded first. If nothing can go and the limit is
reached, the workers are ordered to stop recording, which is a break in the journal, until there is space again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common import log
from common.config.schema import GathererConfig
from common.contract.gatherer_status import JournalStatus
from common.errors import StorageError
from common.set_aside import SetAside
from common.supervise import Health, every
from gatherer.crew.crew import Crew
from gatherer.crew.lane import Lane
from gatherer.journal.segments import (
    archived_file,
    compress,
    disk_bytes,
    lane_folder,
    remove,
    segment_file,
    segments,
    state_file,
)
from gatherer.upkeep.upload import RawBucket

LOOK_S: Final = 1.0


@dataclass(frozen=True)
class _Segment:
    number: int
    lane: Lane
    folder: Path
    bytes: int
    last: bool  # the one that is written, or is not read to its end yet
    loaded: bool
    archived: bool

    @property
    def name(self) -> str:
        """As people see it."""
        return f"lane {self.lane.number} segment {self.number}"


class JournalSpace:
    """Looks after the journal's folder."""

    def __init__(self, config: GathererConfig, crew: Crew, aside: SetAside | None = None) -> None:
        self._config, self._crew, self._aside = config.journal, crew, aside or SetAside()
        self.raw = RawBucket(config.journal.raw, config.gatherer_id) if config.journal.raw else None
        self.health = Health("journal_keeping_failed", "error")
        self.full = False
        self.bytes = 0
        self.compressed = 0
        self.removed = 0

    async def run(self) -> None:
        """Until cancelled."""
        await every(LOOK_S, self._look, self.health, foreseen=(OSError,))

    async def _look(self) -> None:
        for segment in await asyncio.to_thread(self._present):
            if segment.last or not segment_file(segment.folder, segment.number).exists():
                continue
            if self._aside.waits("segment", segment.name):
                continue
            with self._aside.one("segment", segment.name):
                saved = await asyncio.to_thread(compress, segment.folder, segment.number)
                self.compressed += 1
                log.get().debug("segment_compressed", lane=segment.lane.number, segment=segment.number, saved=saved)
        present = await asyncio.to_thread(self._present)
        self._make_room(present)
        await self._archive(present)

    async def _archive(self, present: list[_Segment]) -> None:
        """The state at a segment's head is there once the loader has passed it: so is the upload."""
        for segment in present:
            if self.raw is None or segment.last or not segment.loaded or segment.archived:
                continue
            if not self._aside.waits("upload", segment.name) and not await self._upload(segment):
                return

    async def _upload(self, segment: _Segment) -> bool:
        """Bring one to the archive; false if that does not answer: three in a row could not be brought."""
        assert self.raw is not None
        try:
            with self._aside.one("upload", segment.name):
                if not await asyncio.to_thread(self.raw.upload, segment.folder, segment.lane.number, segment.number):
                    raise StorageError(self.raw.last_error)
        except (StorageError, OSError):
            return False
        return True

    async def finish(self) -> None:
        """All workers have ended: bring what they finished last to the archive too, if there is one and it answers."""
        if self.raw is None:
            return
        for segment in await asyncio.to_thread(self._present):
            passed = state_file(segment.folder, segment.number).exists()
            if segment.archived or not passed:
                continue  # what no loader has passed is brought there after the next start
            if segment_file(segment.folder, segment.number).exists():
                with self._aside.one("segment", segment.name):
                    await asyncio.to_thread(compress, segment.folder, segment.number)
            if not await self._upload(segment):
                return

    def _present(self) -> list[_Segment]:
        found = []
        for lane in self._crew.lanes:
            folder = lane_folder(self._config.dir, lane.number)
            numbers = segments(folder)
            for number in numbers:
                last = number == numbers[-1] and not lane.drained
                loaded = number < lane.loaded.segment or (lane.drained and not lane.captures)
                archived = archived_file(folder, number).exists()
                found.append(_Segment(number, lane, folder, disk_bytes(folder, number), last, loaded, archived))
        return sorted(found, key=lambda s: s.number)

    def _make_room(self, present: list[_Segment]) -> None:
        """Leave room for one more segment a worker; removed segments leave `present`."""
        spare = self._config.segment_bytes * len(self._crew.capturing)
        most = max(self._config.max_bytes - spare, self._config.max_bytes // 2)
        # Once full, half a segment must be free before recording begins again, or it would begin and end without use.
        margin = self._config.segment_bytes // 2 if self.full else 0
        total = sum(segment.bytes for segment in present)
        for segment in list(present):
            if total <= most - margin:
                break
            waits = self.raw is not None and self.raw.reachable and not segment.archived
            if segment.loaded and not waits:
                remove(segment.folder, segment.number)
                present.remove(segment)
                total -= segment.bytes
                self.removed += 1
        self.bytes = total
        # What is still to be compressed will make room: that is waited for, up to the limit itself.
        packable = any(not s.last and segment_file(s.folder, s.number).exists() for s in present)
        limit = self._config.max_bytes if packable else most
        full = total > limit - margin
        if full and not self.full:
            log.get().error(
                "journal_full",
                bytes=total,
                max_bytes=self._config.max_bytes,
                cure="mend the database, or raise journal.max_bytes",
            )
        self.full = full
        self._crew.full(full)

    def status(self) -> JournalStatus:
        """For `/status`."""
        return JournalStatus(
            bytes=self.bytes,
            max_bytes=self._config.max_bytes,
            full=self.full,
            written_bytes=sum(lane.report.bytes for lane in self._crew.capturing),
            records=sum(lane.report.records for lane in self._crew.capturing),
            segments_compressed=self.compressed,
            segments_removed=self.removed,
            segments_archived=self.raw.uploaded if self.raw else 0,
            raw_error=self.raw.trouble if self.raw else "",
        )
