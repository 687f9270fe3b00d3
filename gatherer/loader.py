"""The loader: a process of its own that follows one lane's journal into the local database.

It keeps its place in the transaction that stores the rows. What it needs to go on in the middle of a journal (the
derivation's state) is in a side file per segment, written when it passes the segment's head; after a restart it
decodes from that head forward to its place, throws those rows away, and goes on. Without a readable state every
run of the lane ends and the rest of the segment starts new ones: a break, never a silent skip.

It speaks to its parent in JSON lines on standard output: one a batch, with the place and requests for snapshots.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import zlib
from pathlib import Path
from typing import Final

import msgspec

from common import log
from common.config.load import load_gatherer
from common.config.schema import GathererConfig
from common.errors import StorageError
from common.process import backoff_s, end_with_parent, stop_event
from common.storage.database import CLIENT_ERRORS, connect
from gatherer.derive import rows, state
from gatherer.derive.derivation import BoundsMs, Derivation
from gatherer.journal.format import Place
from gatherer.journal.reader import Chunk, JournalReader
from gatherer.journal.writer import STATE_SUFFIX, journal_uuid, segment_file
from gatherer.load_writer import BatchWriter

LANE: Final = 0
RECOVER_RECORDS: Final = 20_000
RETRY_FIRST_S: Final = 0.1
RETRY_MOST_S: Final = 5.0


class Loader:
    """One lane's journal, read into one database."""

    def __init__(self, config: GathererConfig, dsn: str) -> None:
        self._config, self._dsn = config, dsn
        bounds = config.bounds
        self._bounds = BoundsMs(bounds.disorder, bounds.lag, bounds.sender, bounds.clock)
        self._folder = config.journal.dir

    async def run(self, stopped: asyncio.Event) -> None:
        """Follow the journal until `stopped`; a database that fails is tried again, from the place that it knows."""
        delays = backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
        while not stopped.is_set():
            await asyncio.sleep(next(delays))
            try:
                connection = await connect(self._dsn)
                try:
                    delays = backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
                    await self._follow(BatchWriter(connection, LANE, journal_uuid(self._folder)), stopped)
                finally:
                    await connection.close(timeout=5)
            except (StorageError, *CLIENT_ERRORS) as error:
                log.get().warning("loader_database_failed", error=f"{type(error).__name__}: {error}")
                _tell({"failed": f"{type(error).__name__}"})

    async def _follow(self, writer: BatchWriter, stopped: asyncio.Event) -> None:
        reader, derivation, waiting = await self._recover(writer)
        load = self._config.load
        while True:
            finishing = stopped.is_set()
            chunk, waiting = waiting or reader.read(load.batch_records), None
            if chunk is None:
                if finishing:
                    return
                await asyncio.sleep(load.poll / 1000)
                continue
            now_us = time.time_ns() // 1000
            if chunk.cut:
                derivation.cut(chunk.cut, chunk.records[0].wall_us if chunk.records else now_us)
            if chunk.at_head:
                if chunk.cut or not chunk.continues or not derivation.state.counter:
                    derivation.state = state.fresh(chunk.segment)
                self._save_state(chunk.segment, derivation.state)
            for record in chunk.records:
                derivation.apply(record)
            taken = derivation.take()
            received_us = chunk.records[-1].wall_us if chunk.records else now_us
            await writer.write(taken, chunk.end, received_us)
            self._report(writer, taken, chunk.end, received_us)

    async def _recover(self, writer: BatchWriter) -> tuple[JournalReader, Derivation, Chunk | None]:
        """The reader at the database's place, the derivation as it was there, and what was read beyond it."""
        place = await writer.resume()
        if place is None:
            await self._end_open_slices(writer, "journal_replaced", Place(0, 0))
            return JournalReader(self._folder, None), Derivation(self._bounds, state.fresh(0)), None
        known = self._load_state(place.segment)
        if known is None:
            await self._end_open_slices(writer, "state_lost", place)
            lost = state.State(max(place.segment << 32, await writer.highest_number()))
            return JournalReader(self._folder, place), Derivation(self._bounds, lost), None
        derivation = Derivation(self._bounds, known)
        reader = JournalReader(self._folder, Place(place.segment, 0))
        while reader.place < place:
            chunk = reader.read(RECOVER_RECORDS)
            if chunk is None or chunk.segment != place.segment:
                # The journal ends before the place: the disk lost a tail that the database had taken in.
                derivation.take()
                return JournalReader(self._folder, place), derivation, None
            beyond = [record for record in chunk.records if record.end > place.offset]
            for record in chunk.records[: len(chunk.records) - len(beyond)]:
                derivation.apply(record)
            if beyond:
                derivation.take()
                rest = Chunk(chunk.segment, beyond, chunk.end, None, at_head=False, continues=True)
                return reader, derivation, rest
        derivation.take()
        return reader, derivation, None

    async def _end_open_slices(self, writer: BatchWriter, reason: str, place: Place) -> None:
        ended = await writer.open_slices()
        if ended:
            out = rows.Rows()
            out.horizons = [rows.HorizonRow(slice_, horizon, True, reason) for slice_, horizon in ended]
            await writer.write(out, place, time.time_ns() // 1000)

    def _state_file(self, segment: int) -> Path:
        return segment_file(self._folder, segment).with_suffix(STATE_SUFFIX)

    def _save_state(self, segment: int, present: state.State) -> None:
        file = self._state_file(segment)
        half = file.with_suffix(".state-new")
        with half.open("wb") as out:
            out.write(state.dump(present))
            out.flush()
            os.fsync(out.fileno())
        half.rename(file)

    def _load_state(self, segment: int) -> state.State | None:
        try:
            return state.load(self._state_file(segment).read_bytes())
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, zlib.error) as error:
            log.get().error("loader_state_damaged", segment=segment, error=str(error))
            return None

    @staticmethod
    def _report(writer: BatchWriter, taken: rows.Rows, place: Place, received_us: int) -> None:
        _tell(
            {
                "batch": writer.batch,
                "segment": place.segment,
                "offset": place.offset,
                "frames": taken.frames,
                "delta_rows": len(taken.run),
                "quarantined": len(taken.quarantine),
                "breaks": len(taken.breaks),
                "lag_us": time.time_ns() // 1000 - received_us,
                "alarms": taken.alarms,
                "requests": [request._asdict() for request in taken.requests],
                "lifecycle": [(r.ticker, r.event_type, r.payload) for r in taken.lifecycle],
            }
        )


def _tell(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """`python -m gatherer.loader CONFIG PARENT`: started by the gatherer, never by hand."""
    file, parent = Path(sys.argv[1]), int(sys.argv[2])
    end_with_parent(parent)
    config = load_gatherer(file)
    log.configure(config.logging, process="loader", gatherer=config.gatherer_id)

    async def run() -> None:
        await Loader(config, config.database.dsn.get_secret_value()).run(stop_event())

    asyncio.run(run())


if __name__ == "__main__":
    main()
