"""One worker: some of the gatherer's connections and the journal that they write, in a process of its own.

It receives on standard input which markets its connections hold, and reports on standard output how they are
(`crew/reports.py`). It knows no tables and waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Final

from common import clock, log
from common.config.load import load_gatherer
from common.config.schema import GathererConfig
from common.contract.reasons import JOURNAL_FULL
from common.errors import first_error
from common.exchange.signing import Signer
from common.process import end_with_parent, stop_event
from gatherer.capture.connection import Connection
from gatherer.capture.conversation.actions import Times
from gatherer.capture.dialing import Dialing
from gatherer.crew.reports import ORDER, CaptureReport, LaneCommand, line
from gatherer.crew.sharding import lane_of, layout
from gatherer.journal.format import ClockUnproven, Kind, Watch
from gatherer.journal.writer import JournalWriter

REPORT_S: Final = 0.25
ORDER_BYTES_MAX: Final = 64 << 20
REPAIR_WINDOW_WAITS: Final = 30  # repairs are counted over so many waits for a snapshot


class Capture:
    """The connections of one lane."""

    def __init__(self, config: GathererConfig, lane: int, lanes: int) -> None:
        self._config = config
        self._journal = JournalWriter(config.journal, lane)
        protocol = config.protocol
        self._dialing = Dialing(
            protocol.dials_per_second / lanes, protocol.reconnect_max / 1000, protocol.away_probe / 1000
        )
        times = Times(
            protocol.snapshot_wait / 1000,
            protocol.reply_wait / 1000,
            protocol.idle_probe / 1000,
            protocol.silence / 1000,
            config.snapshots.audit / 1000,
            protocol.snapshot_wait / 1000 * REPAIR_WINDOW_WAITS,
            protocol.commands_per_minute / 60,
        )
        signer = Signer.of_file(config.kalshi.key_id.get_secret_value(), config.kalshi.private_key_file)
        self._clock_was_proven = True
        self._epoch_ns = clock.epoch_ns()
        self._connections = {
            number: Connection(
                number, role, config.kalshi, signer, protocol, times, self._journal, self._dialing, self._clock_proven
            )
            for number, role in layout(config.connections.model_dump())
            if lane_of(number, lanes) == lane
        }
        self._full = False

    async def run(self, stopped: asyncio.Event) -> None:
        """Record until `stopped`; a clean stop loses nothing and is noted in the journal."""
        writer = asyncio.create_task(self._journal.run(), name="journal")
        died = asyncio.create_task(self._journal.died(), name="journal's end")
        tasks = [
            asyncio.create_task(self._listen(), name="orders"),
            asyncio.create_task(self._speak(), name="reports"),
            *(asyncio.create_task(c.run(), name=f"connection {c.number}") for c in self._connections.values()),
        ]
        waiting = asyncio.create_task(stopped.wait(), name="signal")
        try:
            done, _ = await asyncio.wait([waiting, died, writer, *tasks], return_when=asyncio.FIRST_COMPLETED)
            failed = next((t.exception() for t in done if t is not waiting and t.exception()), None)
        finally:
            for task in (*tasks, writer, died, waiting):
                task.cancel()
            await asyncio.gather(*tasks, writer, died, waiting, return_exceptions=True)
        if failed is not None:
            # No closing record: what the journal's end lost is not known, so its sessions end as if cut off.
            raise first_error(failed) if isinstance(failed, BaseExceptionGroup) else failed
        self._journal.close()  # after the last records of the connections

    async def _listen(self) -> None:
        reader = asyncio.StreamReader(limit=ORDER_BYTES_MAX)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for data in reader:
            self._obey(ORDER.decode(data))
        await asyncio.Event().wait()  # the parent is gone; the kernel ends this process with it

    def _obey(self, order: LaneCommand) -> None:
        for number, markets in order.drop.items():
            self._connections[number].drop(markets)
        for number, markets in order.hold.items():
            self._connections[number].hold(markets)
        for session, sid, tickers in order.snapshots:
            for connection in self._connections.values():
                connection.ask_snapshots(session, sid, tickers)
        if order.watch:
            self._journal.append_struct(Kind.WATCH, 0, Watch(order.watch))
        for book in order.books:
            self._journal.append_struct(Kind.REST_BOOK, 0, book)
        if order.full is not None and order.full != self._full:
            self._full = order.full
            if self._full:
                for connection in self._connections.values():
                    connection.give_up(JOURNAL_FULL)
        self._dialing.allow(not self._full)

    async def _speak(self) -> None:
        while True:
            self._look_at_clock()
            place = self._journal.place
            report = CaptureReport(
                [connection.report() for connection in self._connections.values()],
                place.segment,
                place.offset,
                self._journal.bytes_written,
                self._journal.records,
                self._clock_was_proven,
                self._dialing.key_refused,
            )
            sys.stdout.buffer.write(line(report))
            sys.stdout.buffer.flush()
            await asyncio.sleep(REPORT_S)

    def _look_at_clock(self) -> None:
        """A clock that was set, or lost its source: what open sessions measured with it proves nothing any more."""
        now_ns = clock.epoch_ns()
        moved_ms, self._epoch_ns = abs(now_ns - self._epoch_ns) // 1_000_000, now_ns
        was_proven = self._clock_was_proven
        if moved_ms > self._config.bounds.clock:
            log.get().error("clock_was_set", by_ms=moved_ms, cure="let time synchronisation slew, not step")
            self._journal.append_struct(Kind.CLOCK_UNPROVEN, 0, ClockUnproven(f"set by {moved_ms} ms"))
        elif was_proven and not self._clock_proven():
            self._journal.append_struct(Kind.CLOCK_UNPROVEN, 0, ClockUnproven("not synchronised"))

    def _clock_proven(self) -> bool:
        """Whether this machine's clock is within its bound. If not, runs begin by sending times and order alone."""
        if self._config.bounds.clock_proof == "assumed":
            return True
        error_us = clock.error_bound_us()
        proven = error_us is not None and error_us <= self._config.bounds.clock * 1000
        if not proven and self._clock_was_proven:
            log.get().warning("clock_not_proven", error_us=error_us, cure="switch time synchronisation on (chrony)")
        self._clock_was_proven = proven
        return proven


def main() -> None:
    """`python -m gatherer.capture.worker CONFIG LANE LANES PARENT`: started by the gatherer, never by hand."""
    file, lane, lanes, parent = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    end_with_parent(parent)
    config = load_gatherer(file)
    log.configure(config.logging, process="capture", gatherer=config.gatherer_id, lane=str(lane))

    async def run() -> None:
        await Capture(config, lane, lanes).run(stop_event())

    with contextlib.suppress(BrokenPipeError):
        asyncio.run(run())


if __name__ == "__main__":
    main()
