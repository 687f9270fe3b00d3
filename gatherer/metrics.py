"""The gatherer's metrics. Counters are kept locally on the hot path and read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from common.config.schema import GathererConfig
from common.metrics import Family, Scrape
from common.set_aside import SetAside
from gatherer.crew.crew import Crew
from gatherer.crew.sharding import Sharding
from gatherer.markets.registry import Registry
from gatherer.upkeep.journal_space import JournalSpace
from gatherer.upkeep.retention import Retention

ROLE, LANE = ("role",), ("lane",)
FAMILIES: Final = {
    "gatherer_ready": Family("gauge", "1 if every market is recorded and loaded, as /readyz says."),
    "gatherer_connections_up": Family("gauge", "Connections with whole subscriptions.", ROLE),
    "gatherer_connections_configured": Family("gauge", "Connections wanted.", ROLE),
    "gatherer_frames_received": Family("counter", "Frames received.", ROLE),
    "gatherer_sequence_breaks": Family("counter", "Breaks of a subscription's numbering.", ROLE),
    "gatherer_repairs": Family("counter", "Breaks repaired on the same subscription.", ROLE),
    "gatherer_repair_escalations": Family("counter", "Repairs that needed a new subscription or connection.", ROLE),
    "gatherer_dials": Family("counter", "Attempts to connect.", ROLE),
    "gatherer_key_refused": Family("gauge", "1 while the exchange refuses the key."),
    "gatherer_exchange_active": Family("gauge", "0 if the exchange reports all its indexes as not active."),
    "gatherer_exchange_index_active": Family("gauge", "1 if the exchange reports this index as active.", ("index",)),
    "gatherer_connections_unproven": Family(
        "gauge", "Connections of which something can no longer be proven: /status names it.", ROLE
    ),
    "gatherer_conversation_failures": Family(
        "counter", "Frames at which the conversation failed; they are recorded.", ROLE
    ),
    "gatherer_clock_proven": Family("gauge", "1 if the clock is proven to be right: receive times are evidence."),
    "gatherer_markets": Family("gauge", "Markets that are recorded."),
    "gatherer_markets_without_connection": Family("gauge", "Markets that found no room on any connection (error 26)."),
    "gatherer_journal_bytes": Family("gauge", "Bytes of the journal on the disk."),
    "gatherer_journal_limit_bytes": Family("gauge", "journal.max_bytes."),
    "gatherer_journal_written_bytes": Family("counter", "Bytes written to the journal."),
    "gatherer_journal_full": Family("gauge", "1 while nothing is recorded because the journal's space is used up."),
    "gatherer_raw_archive_failing": Family("gauge", "1 if the last upload to raw/ failed, or met another segment."),
    "gatherer_segments_archived": Family("counter", "Segments brought to raw/."),
    "gatherer_disk_used_ratio": Family("gauge", "Used share of the journal's disk, 0 to 1."),
    "gatherer_batches_dropped_unread": Family(
        "counter", "Batches that left the full disk before every consumer had them."
    ),
    "gatherer_loader_up": Family("gauge", "1 if the loader runs and its database takes rows.", LANE),
    "gatherer_loader_lag_seconds": Family("gauge", "Receive to commit of the last batch.", LANE),
    "gatherer_loader_stalled_seconds": Family(
        "gauge", "How long the loader has stood still while there is something to load.", LANE
    ),
    "gatherer_claims_still_seconds": Family(
        "gauge",
        "How long changes of a subscription have come that claim nothing, beyond what the bounds explain.",
        LANE,
    ),
    "gatherer_batches_loaded": Family("counter", "Batches committed.", LANE),
    "gatherer_delta_rows_loaded": Family("counter", "Order-book changes committed."),
    "gatherer_frames_quarantined": Family("counter", "Frames that could not become rows."),
    "gatherer_process_restarts": Family("counter", "Worker processes started again.", ("process", "lane")),
    "gatherer_assumption_alarms": Family("counter", "Contradictions of a bound or an assumption.", ("alarm",)),
    "gatherer_book_checks": Family("counter", "Books compared with the folded ones, by source and result.", ("check",)),
    "gatherer_bound_measured_seconds": Family(
        "gauge", "The greatest disorder, lag and sender skew seen since the start.", ("bound",)
    ),
    "gatherer_set_aside": Family(
        "gauge", "Entries that failed alone and wait to be tried again, by what they are.", ("kind",)
    ),
    "gatherer_list_age_seconds": Family("gauge", "Since the last whole crawl of the exchange's markets ended."),
    "gatherer_bound_limit_seconds": Family("gauge", "The same bounds as configured.", ("bound",)),
}
BOUNDS: Final = ("disorder", "lag", "sender")
COUNTED: Final = {
    "gatherer_frames_received": "frames",
    "gatherer_sequence_breaks": "breaks",
    "gatherer_repairs": "repairs",
    "gatherer_repair_escalations": "escalations",
    "gatherer_dials": "dials",
    "gatherer_conversation_failures": "surprises",
}
"""By metric, the counter of a connection's report."""


class GathererCollector(Collector):
    """Reads the state of connections, journal and loaders at each scrape."""

    def __init__(
        self,
        config: GathererConfig,
        sharding: Sharding,
        crew: Crew,
        markets: Registry,
        journal_space: JournalSpace,
        retention: Retention,
        ready: Callable[[], bool],
        key_refused: Callable[[], bool],
        aside: SetAside,
    ) -> None:
        self._aside = aside
        self._bounds, self._max_bytes = config.bounds, config.journal.max_bytes
        self._sharding = sharding
        self._crew, self._markets, self._journal_space, self._retention = crew, markets, journal_space, retention
        self._ready, self._key_refused = ready, key_refused

    def collect(self) -> Iterable[Metric]:
        """All metric families."""
        scrape = Scrape(FAMILIES)
        capturing = self._crew.capturing
        scrape.add("gatherer_ready", self._ready())
        scrape.add("gatherer_key_refused", self._key_refused())
        indexes = self._markets.indexes
        scrape.add("gatherer_exchange_active", not indexes or any(indexes.values()))
        for index, active in sorted(indexes.items()):
            scrape.add("gatherer_exchange_index_active", active, str(index))
        scrape.add("gatherer_clock_proven", all(lane.report.clock_proven for lane in capturing))
        scrape.add("gatherer_markets", len(self._markets.listing.markets))
        scrape.add("gatherer_markets_without_connection", len(self._sharding.unassigned))
        scrape.add("gatherer_batches_dropped_unread", self._retention.dropped_unread)
        scrape.add("gatherer_disk_used_ratio", self._retention.disk_percent / 100)
        for kind, count in self._aside.counts().items():
            scrape.add("gatherer_set_aside", count, kind)
        scrape.add("gatherer_list_age_seconds", self._markets.age_s)
        self._connections(scrape)
        journal_space = self._journal_space
        scrape.add("gatherer_journal_bytes", journal_space.bytes)
        scrape.add("gatherer_journal_limit_bytes", self._max_bytes)
        scrape.add("gatherer_journal_written_bytes", sum(lane.report.bytes for lane in capturing))
        scrape.add("gatherer_journal_full", journal_space.full)
        if journal_space.raw is not None:
            scrape.add("gatherer_raw_archive_failing", bool(journal_space.raw.trouble))
            scrape.add("gatherer_segments_archived", journal_space.raw.uploaded)
        self._lanes(scrape)
        return scrape.metrics

    def _connections(self, scrape: Scrape) -> None:
        connections = list(self._crew.connections)
        for role in sorted({c.role for c in connections}):
            mine = [c for c in connections if c.role == role]
            scrape.add("gatherer_connections_up", sum(c.up for c in mine), role)
            scrape.add("gatherer_connections_configured", len(mine), role)
            scrape.add("gatherer_connections_unproven", sum(bool(c.unproven) for c in mine), role)
            for name, counter in COUNTED.items():
                scrape.add(name, sum(getattr(c, counter) for c in mine), role)

    def _lanes(self, scrape: Scrape) -> None:
        lanes = self._crew.lanes
        for lane in lanes:
            name = str(lane.number)
            scrape.add("gatherer_loader_up", lane.healthy, name)
            scrape.add("gatherer_loader_lag_seconds", lane.lag_us / 1e6, name)
            scrape.add("gatherer_loader_stalled_seconds", lane.stalled_s, name)
            scrape.add("gatherer_claims_still_seconds", lane.claims_still_ms / 1000, name)
            scrape.add("gatherer_batches_loaded", lane.batch, name)
            scrape.add("gatherer_process_restarts", max(lane.loader.restarts, 0), "loader", name)
            scrape.add("gatherer_process_restarts", max(lane.capture.restarts, 0), "capture", name)
        scrape.add("gatherer_delta_rows_loaded", sum(lane.delta_rows for lane in lanes))
        scrape.add("gatherer_frames_quarantined", sum(lane.quarantined for lane in lanes))
        for alarm in sorted({name for lane in lanes for name in lane.alarms}):
            scrape.add("gatherer_assumption_alarms", sum(lane.alarms.get(alarm, 0) for lane in lanes), alarm)
        for check in sorted({name for lane in lanes for name in lane.checks}):
            scrape.add("gatherer_book_checks", sum(lane.checks.get(check, 0) for lane in lanes), check)
        for bound in BOUNDS:
            scrape.add("gatherer_bound_limit_seconds", getattr(self._bounds, bound) / 1000, bound)
            measured = max((lane.measured_ms.get(bound, 0) for lane in lanes), default=0)
            scrape.add("gatherer_bound_measured_seconds", measured / 1000, bound)


def registry(collector: GathererCollector) -> CollectorRegistry:
    """A registry with the gatherer's metrics."""
    made = CollectorRegistry()
    made.register(collector)
    return made
