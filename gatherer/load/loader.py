"""The loader: a process of its own that follows one lane's journal into the local database.

It keeps its place in the transaction that stores the rows. What it needs to resume in the middle of a journal (the
derivation's state) is in a side file per segment, written when it passes the segment's head; after a restart it
decodes from that head forward to its place, throws those rows away, and continues. Without a readable state every
run of the lane ends and the rest of the segment starts new ones: a break, never a silent skip.

It speaks to its parent in JSON lines on standard output: one a batch, with the place and requests for snapshots.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common import log
from common.config.load import load_gatherer
from common.config.schema import GathererConfig
from common.contract.reasons import DATABASE_PUT_BACK, JOURNAL_REPLACED, JOURNAL_SHORTER, LANE_CLOSED, STATE_LOST
from common.errors import JournalCorrupt, described
from common.process import backoff_s, end_with_parent, keep_freed_memory, stop_event
from common.storage import copy
from common.storage.database import DATABASE_ERRORS, connect
from common.text import storable
from gatherer.crew.child import EXIT_DONE
from gatherer.crew.reports import LoaderReport, line
from gatherer.derive import rows, state
from gatherer.derive.bulk import stretch
from gatherer.derive.bulk.columns import Columns
from gatherer.derive.derivation import Derivation
from gatherer.derive.fields import FieldWatch
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.quarantine import REASON_CHARACTERS_MAX
from gatherer.journal.format import Position, Record
from gatherer.journal.reader import Chunk, JournalReader
from gatherer.journal.segments import journal_uuid, lane_folder, numbering_second, state_file
from gatherer.load import saved_states
from gatherer.load.batch_writer import ROW_ERRORS, BatchWriter, deltas_stream
from gatherer.load.bisection import RefusedRecord, RejectBisector
from gatherer.load.reread import RECOVER_RECORDS, apply, until
from gatherer.load.summarizer import Summarizer
from gatherer.statements import SQL

STATEMENT_WAIT_MS: Final = 120_000
"""A statement that takes longer is given up, and its batch begun again: nobody waits for a database that is away."""
LOCK_WAIT_MS: Final = 10_000
RETRY_FIRST_S: Final = 0.1
RETRY_MOST_S: Final = 5.0
CROSSED_LOGGED_MAX: Final = 5  # of a batch
UNREADABLE_S: Final = 5.0  # so long may a record be under way from the writer
AHEAD: Final = 2  # batches written, or waiting for it, while the next is derived: a long commit is made up for
NOT_THE_ROWS: Final = (MemoryError, *DATABASE_ERRORS)
"""What a machine or a database does to any record."""
SWITCH_S: Final = 0.0001  # the task that writes has little to do, often: it must not wait for the thread that derives


@dataclass(frozen=True)
class _Read:
    """What the journal has from `begins` on; `parts` are the chunk's items, decoded."""

    begins: Position
    chunk: Chunk
    parts: list[Record | Columns]
    unknown_fields: list[str]


@dataclass(frozen=True)
class _Batch:
    """`count` records from `begins` to `end`, derived; the last was written at `received_us`."""

    begins: Position
    count: int
    rows: rows.Rows
    end: Position
    received_us: int
    refused: RefusedRecord | None
    stream: copy.CopyStream | None  # of the changes among the rows


class _NotDerived(Exception):
    """The records from `begins` on could not be made rows, for whatever reason `why` is."""

    def __init__(self, begins: Position, why: Exception) -> None:
        self.begins, self.why = begins, why
        super().__init__(begins)


class Loader:
    """One lane's journal, read into one database. `drain`: nobody writes the journal any more."""

    def __init__(
        self, config: GathererConfig, dsn: str, lane: int, *, drain: bool, report: Callable[[LoaderReport], None]
    ) -> None:
        self._send = report
        self._config, self._dsn, self._lane, self._drain = config, dsn, lane, drain
        self._bounds = BoundsMs.of(config.bounds)
        self._folder = lane_folder(config.journal.dir, lane)
        self._bisector = RejectBisector(config.load.batch_records)
        self._refused: dict[tuple[int, int], str] = {}
        self._fields = FieldWatch()
        self._summarizer = Summarizer(dsn)
        self._at = Position(0, 0)
        self._stands: tuple[Position, float] = (
            Position(0, 0),
            0.0,
        )  # where it stands before what is no record, since when
        self._reported = False
        """That it follows the journal: once. After a failure the next batch that is stored shows it."""

    async def run(self, stopped: asyncio.Event) -> bool:
        """Follow the journal until `stopped`; true if it was drained to its end.

        A database that fails is tried again, from the place that it knows.
        """
        summarizing = asyncio.create_task(self._summarizer.run(), name="summarize")
        try:
            return await self._try(stopped)
        finally:
            summarizing.cancel()
            await asyncio.gather(summarizing, return_exceptions=True)

    async def _try(self, stopped: asyncio.Event) -> bool:
        delays = backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
        while not stopped.is_set():
            await asyncio.sleep(next(delays))
            try:
                connection = await connect(self._dsn, STATEMENT_WAIT_MS)
                try:
                    await connection.execute(SQL["limit_lock_wait"], str(LOCK_WAIT_MS))
                    writer = BatchWriter(connection, self._lane, self._folder, journal_uuid(self._folder))
                    done = await self._follow(writer, stopped)
                    if done:
                        return True
                finally:
                    await connection.close(timeout=5)
            except ROW_ERRORS as error:
                self._not_stored(self._at, "the database refuses rows", error)
                delays = backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
            except _NotDerived as failed:
                self._not_stored(failed.begins, "frames cannot be made rows", failed.why)
                delays = backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
            except DATABASE_ERRORS as error:
                log.get().warning("loader_database_failed", error=described(error))
                self._send(LoaderReport(failed=f"the database does not answer: {type(error).__name__}"))
        return False

    def _not_stored(self, begins: Position, what: str, error: Exception) -> None:
        """The batch that begins there is searched for the record that is to blame."""
        reason = storable(described(error), REASON_CHARACTERS_MAX)
        log.get().warning(
            "batch_refused", segment=begins.segment, offset=begins.offset, error=reason, exc_info=_unforeseen(error)
        )
        self._send(LoaderReport(failed=f"{what}: {reason[:200]}"))
        self._bisector.failed(begins, reason)

    async def _follow(self, writer: BatchWriter, stopped: asyncio.Event) -> bool:
        """Read, derive and write until `stopped`: a batch is derived in a thread while the ones before are written, in
        order, and the next one is read and decoded."""
        reader, derivation = await self._recover(writer)
        if not self._reported and writer.batch:
            self._send(LoaderReport(batch=writer.batch, segment=reader.place.segment, offset=reader.place.offset))
        self._reported = True
        reading: asyncio.Task[_Read | None] | None = None
        writing: deque[asyncio.Task[None]] = deque()
        try:
            while True:
                finishing = stopped.is_set() or self._drain
                read = None if reading is None else await reading
                if read is None:  # what was looked for ahead may have come since: no end without it
                    read = await asyncio.to_thread(self._read, reader)
                reading = None
                if read is not None and not self._bisector.searching:
                    reading = asyncio.create_task(asyncio.to_thread(self._read, reader), name="read")
                batch = None if read is None else await asyncio.to_thread(self._derived, read, derivation)
                # Whether a batch is taken decides what the next one is, while a row is searched for that is not.
                ahead = 0 if batch is None or self._bisector.searching else AHEAD
                if batch is not None:
                    before = writing[-1] if writing else None
                    writing.append(asyncio.create_task(self._write(writer, batch, before), name="write"))
                while len(writing) > ahead:
                    await writing[0]
                    writing.popleft()
                if batch is not None:
                    continue
                if self._drain:
                    derivation.cut(LANE_CLOSED, time.time_ns() // 1000)
                    await writer.write(derivation.take(), reader.place, time.time_ns() // 1000)
                    await writer.close_lane()
                    return True
                if finishing:
                    return False
                await asyncio.sleep(self._config.load.poll / 1000)
        finally:
            under_way = [task for task in (reading, *writing) if task is not None]
            await asyncio.gather(*under_way, return_exceptions=True)  # what ended the first ended those after it

    def _read(self, reader: JournalReader) -> _Read | None:
        """What comes next, decoded; None if there is nothing new. It touches neither the database nor the state."""
        begins = reader.place
        chunk = reader.read(self._bisector.limit)
        if chunk is None:
            self._look_at_rest(reader)
            return None
        return _Read(
            begins, chunk, list(stretch.prepare(chunk.items, self._min_frames)), self._fields.look(chunk.items)
        )

    @property
    def _min_frames(self) -> int:
        """While a record is searched for that something fails at, one goes after another: that fails at none."""
        return stretch.ONE_BY_ONE if self._bisector.searching else stretch.BULK_MIN_FRAMES

    def _derived(self, read: _Read, derivation: Derivation) -> _Batch:
        try:
            return self._derive(read, derivation)
        except NOT_THE_ROWS:
            raise
        except Exception as error:  # any: what it is that cannot be derived is found as what is refused
            raise _NotDerived(read.begins, error) from error

    def _look_at_rest(self, reader: JournalReader) -> None:
        """There is no whole record, but there are bytes: a record that is being written, or one that never will be."""
        place, since_s = self._stands
        if not reader.unreadable or reader.place != place:
            self._stands = reader.place, time.monotonic()
        elif time.monotonic() - since_s > UNREADABLE_S:
            self._stands = place, math.inf  # reported once
            why = f"{reader.unreadable} bytes of segment {place.segment} from {place.offset} on are no record"
            log.get().error("journal_unreadable", segment=place.segment, offset=place.offset, bytes=reader.unreadable)
            self._send(LoaderReport(failed=f"the journal cannot be read on: {why}"))

    def _derive(self, read: _Read, derivation: Derivation) -> _Batch:
        """The rows of what was read. It touches neither the database nor the loop."""
        chunk = read.chunk
        now_us = time.time_ns() // 1000
        if chunk.cut:
            derivation.cut(chunk.cut, chunk.wall_us(now_us))
        if chunk.at_head:
            if chunk.cut or not chunk.continues or not derivation.state.counter:
                derivation.state = state.fresh(chunk.segment)
            saved_states.save(self._folder, chunk.segment, derivation.state)
        refused = None
        if chunk.count and (reason := self._bisector.culprit(chunk.count, read.begins)):
            # Known before the batch is stored, and stored with it: a second reading decides the same.
            refused = RefusedRecord(chunk.segment, chunk.end.offset, reason)
            self._refused[chunk.segment, refused.end] = reason
            log.get().error("record_quarantined", segment=chunk.segment, end=refused.end, reason=reason)
        apply(derivation, chunk.segment, chunk.items, self._refused, self._min_frames, read.parts)
        for name in read.unknown_fields:
            log.get().warning("unknown_field", field=name)
        derivation.out.unknown_fields += read.unknown_fields
        taken = derivation.take()
        stream = deltas_stream(taken) if len(taken.deltas) else None  # here, where nobody waits for it
        return _Batch(read.begins, chunk.count, taken, chunk.end, chunk.wall_us(now_us, last=True), refused, stream)

    async def _write(self, writer: BatchWriter, batch: _Batch, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before  # if it fails, this one must not be written
        self._at = batch.begins
        await writer.write(batch.rows, batch.end, batch.received_us, batch.refused, batch.stream)
        self._bisector.stored(batch.count)
        if batch.rows.deltas:
            self._summarizer.grew()
        self._send(_report(writer, batch.rows, batch.end, batch.received_us))

    async def _recover(self, writer: BatchWriter) -> tuple[JournalReader, Derivation]:
        """The reader at the database's place, and the derivation as it was there."""
        self._refused = await writer.refused()
        resumed = await writer.resume(drain=self._drain)
        place = resumed.place
        if place is None:
            await self._end_open_slices(writer, JOURNAL_REPLACED, Position(0, 0))
            return JournalReader(self._folder, None), Derivation(self._bounds, state.fresh(0))
        if resumed.put_back:
            # Numbers of runs given after that state are known to the readers: none of them may be given again. The
            # state goes first: a loader that is killed after the next batch no longer knows that it was put back.
            log.get().error("database_put_back", lane=self._lane, batch=writer.batch)
            state_file(self._folder, place.segment).unlink(missing_ok=True)
        known = self._load_state(place.segment)
        if known is None:
            await self._end_open_slices(writer, DATABASE_PUT_BACK if resumed.put_back else STATE_LOST, place)
            return JournalReader(self._folder, place), Derivation(self._bounds, await self._lost_state(writer))
        derivation = Derivation(self._bounds, known)
        reader = JournalReader(self._folder, Position(place.segment, 0))
        while reader.place < place:
            chunk = reader.read(RECOVER_RECORDS)
            if chunk is None or chunk.segment != place.segment:
                # The disk lost a tail that the database had taken in, and with it what began there.
                await self._end_open_slices(writer, JOURNAL_SHORTER, place)
                return JournalReader(self._folder, place), Derivation(self._bounds, await self._lost_state(writer))
            try:
                items = list(until(chunk.items, place.offset))
                apply(derivation, chunk.segment, items, self._refused, self._min_frames)
            except Exception as error:  # any: next time one by one
                raise _NotDerived(place, error) from error
            if chunk.end > place:
                reader.back_to(place)
        derivation.take()
        return reader, derivation

    @staticmethod
    async def _lost_state(writer: BatchWriter) -> state.DerivationState:
        """A state without sessions, whose numbers are above all that were given."""
        return state.DerivationState(max(state.after_everything(numbering_second()), await writer.highest_number()))

    async def _end_open_slices(self, writer: BatchWriter, reason: str, place: Position) -> None:
        """In a batch that claims to hold nothing later than the one before it: readers take what they have of a lane
        and miss in it for lost once the lane is past it, and the journal may be about to load it again."""
        ended = await writer.open_slices()
        if ended:
            out = rows.Rows()
            now_us = time.time_ns() // 1000
            out.horizons = [rows.HorizonRow(slice_, horizon, True, reason) for slice_, _, horizon in ended]
            sessions = dict.fromkeys(session for _, session, _ in ended)
            out.breaks = [rows.BreakRow(session, 0, reason, 0, 0, now_us) for session in sessions]
            await writer.write(out, place, writer.received_us or now_us)

    def _load_state(self, segment: int) -> state.DerivationState | None:
        try:
            return saved_states.saved(self._folder, segment)
        except JournalCorrupt as error:
            log.get().error("loader_state_damaged", segment=segment, error=str(error))
            return None


def _unforeseen(error: Exception) -> Exception | None:
    """An error that only its traceback explains."""
    return None if isinstance(error, ROW_ERRORS) else error


def _report(writer: BatchWriter, taken: rows.Rows, place: Position, received_us: int) -> LoaderReport:
    for ticker, ms in taken.crossed[:CROSSED_LOGGED_MAX]:
        log.get().error("book_crossed", ticker=ticker, exchange_ms=ms)
    return LoaderReport(
        batch=writer.batch,
        segment=place.segment,
        offset=place.offset,
        frames=taken.frames,
        delta_rows=len(taken.deltas),
        quarantined=len(taken.quarantine),
        lag_us=time.time_ns() // 1000 - received_us,
        claims_still_ms=taken.claims_still_ms,
        alarms=taken.alarms,
        measured_ms=taken.measured_ms,
        checks=taken.checks,
        requests=[(r.session, r.sid, r.tickers) for r in taken.requests],
        lifecycle=[(r.ticker, r.event_type, r.payload) for r in taken.lifecycle],
    )


def _send(message: LoaderReport) -> None:
    sys.stdout.buffer.write(line(message))
    sys.stdout.buffer.flush()


def suit_process() -> None:
    """What a process that loads wants of Python and of the C library."""
    keep_freed_memory()
    sys.setswitchinterval(SWITCH_S)


def main() -> None:
    """`python -m gatherer.load.loader CONFIG LANE follow|drain PARENT`: started by the gatherer, never by hand."""
    file, lane, mode, parent = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    end_with_parent(parent)
    suit_process()
    config = load_gatherer(file)
    log.configure(config.logging, process="loader", gatherer=config.gatherer_id, lane=str(lane))

    async def run() -> bool:
        loader = Loader(config, config.database.dsn.get_secret_value(), lane, drain=mode == "drain", report=_send)
        return await loader.run(stop_event())

    sys.exit(EXIT_DONE if asyncio.run(run()) else 0)


if __name__ == "__main__":
    main()
