"""Reading a part of the journal again, with today's code, into a lane of its own.

The rows come as new batches, so that every reader gets them: as a second copy of what it has, with the same identities,
and as the first copy of what an older code could not read. Nothing is replaced and nothing is numbered again.

A part that begins at a process start gives exactly the rows that the first reading gave. One that begins in the middle
takes up the loader's state at its head: the groups that were open there have lost their beginnings, and their rows
have unknown ordinals in this lane.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from common.config.schema import GathererConfig
from common.errors import JournalError
from common.storage.database import CLIENT_ERRORS
from gatherer.derive import state
from gatherer.derive.horizon import BoundsMs
from gatherer.journal.segments import journal_uuid, lane_folder, lanes_present, segments
from gatherer.load import saved_states
from gatherer.load.batch_writer import ROW_ERRORS, BatchWriter
from gatherer.load.reread import Rereading
from gatherer.statements import SQL

RELOAD_LANES_FROM: Final = 1000  # workers have the numbers below


@dataclass
class Reloaded:
    """What one lane's part became."""

    source_lane: int
    lane: int
    from_segment: int
    to_segment: int
    batches: int = 0
    frames: int = 0
    delta_rows: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class _Part:
    segments: list[int]
    state: state.DerivationState


async def reload(
    config: GathererConfig,
    connection: asyncpg.Connection,
    from_us: int,
    to_us: int,
    progress: Callable[[Reloaded], Awaitable[None]] | None = None,
) -> list[Reloaded]:
    """Load every segment that holds records of [from_us, to_us) again; raises `JournalError` if there is none, or if
    one of them could not be read, after the others."""
    done = []
    for lane in lanes_present(config.journal.dir):
        folder = lane_folder(config.journal.dir, lane)
        part = _part(folder, from_us, to_us)
        if part is not None:
            done.append(await _lane(config, connection, lane, folder, part, progress))
    if not done:
        raise JournalError(f"no segment in {config.journal.dir} holds anything of that time")
    return done


async def _lane(
    config: GathererConfig,
    connection: asyncpg.Connection,
    source: int,
    folder: Path,
    part: _Part,
    progress: Callable[[Reloaded], Awaitable[None]] | None,
) -> Reloaded:
    lane = int(await connection.fetchval(SQL["next_lane"], RELOAD_LANES_FROM))
    result = Reloaded(source, lane, part.segments[0], part.segments[-1])
    writer = BatchWriter(connection, lane, None, journal_uuid(folder))
    await writer.resume(drain=True)
    read: list[int] = []
    wanted = part.segments
    rereading = Rereading(
        folder,
        wanted[0],
        wanted,
        BoundsMs.of(config.bounds),
        part.state,
        time.time_ns() // 1000,
        config.load.batch_records,
        "reload_ended",
        read.append,
    )
    try:
        for batch in rereading:
            try:
                await writer.write(batch.rows, batch.end, batch.received_us, batch.refused)
            except ROW_ERRORS as error:
                rereading.refuse(error)
                continue
            result.batches += 1
            result.frames += batch.rows.frames
            result.delta_rows += len(batch.rows.deltas)
            result.quarantined += len(batch.rows.quarantine)
            if progress is not None:
                await progress(result)
    finally:
        # Nobody continues this lane, however it ended. A database that is away keeps it draining.
        with contextlib.suppress(*CLIENT_ERRORS):
            await writer.close_lane()
    if left := sorted(set(wanted) - set(read)):
        raise JournalError(f"{folder}: segments {left} have no readable head: what they hold was not loaded")
    return result


def _part(folder: Path, from_us: int, to_us: int) -> _Part | None:
    """The segments that overlap the time, from one on whose head's state is known."""
    present = {number: saved_states.beginning(folder, number) for number in segments(folder)}
    started = {number: begins for number, begins in present.items() if isinstance(begins, saved_states.Beginning)}
    ends = {a: started[b].began_us for a, b in itertools.pairwise(started)}
    wanted = [n for n in started if started[n].began_us < to_us and ends.get(n, to_us) > from_us]
    if not wanted:
        return None
    for number in reversed([n for n in started if n <= wanted[0]]):
        known = saved_states.state_at(folder, number, started[number])
        if known is not None:
            readable = [n for n, begins in present.items() if begins is not saved_states.NoBeginning.EMPTY]
            return _Part([n for n in readable if number <= n <= wanted[-1]], known)
    raise JournalError(f"{folder}: no state is left of the time before segment {wanted[0]}; choose a later --from")
