"""The gatherer's metrics. Counters are kept locally on the hot path and read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gatherer.crew.crew import Crew
from gatherer.keeper import Keeper
from gatherer.registry import Registry
from gatherer.retention import Retention


class GathererCollector(Collector):
    """Reads the state of connections, journal and loaders at each scrape."""

    def __init__(self, crew: Crew, markets: Registry, keeper: Keeper, retention: Retention) -> None:
        self._crew, self._markets, self._keeper, self._retention = crew, markets, keeper, retention

    def collect(self) -> Iterator[Metric]:
        """All metric families."""
        connections = list(self._crew.connections)
        counted = {
            "frames": CounterMetricFamily("gatherer_frames_received", "Frames received, by role.", labels=["role"]),
            "breaks": CounterMetricFamily(
                "gatherer_sequence_breaks", "Breaks of a sid's numbering, by role.", labels=["role"]
            ),
            "repairs": CounterMetricFamily(
                "gatherer_repairs", "Breaks repaired on the same subscription, by role.", labels=["role"]
            ),
            "escalations": CounterMetricFamily(
                "gatherer_repair_escalations", "Repairs that needed a new subscription or connection.", labels=["role"]
            ),
            "dials": CounterMetricFamily("gatherer_dials", "Attempts to connect, by role.", labels=["role"]),
        }
        up = GaugeMetricFamily("gatherer_connections_up", "Connections with whole subscriptions.", labels=["role"])
        configured = GaugeMetricFamily("gatherer_connections_configured", "Connections wanted.", labels=["role"])
        for role in sorted({c.role for c in connections}):
            mine = [c for c in connections if c.role == role]
            for name, family in counted.items():
                family.add_metric([role], sum(getattr(c, name) for c in mine))
            up.add_metric([role], sum(c.up for c in mine))
            configured.add_metric([role], len(mine))
        yield from (*counted.values(), up, configured)
        yield GaugeMetricFamily("gatherer_markets", "Markets that are recorded.", len(self._markets.listing.markets))
        yield GaugeMetricFamily(
            "gatherer_exchange_active", "Whether the exchange says that it is active.", not self._markets.inactive
        )
        yield CounterMetricFamily(
            "gatherer_batches_dropped_unread",
            "Batches that left the full disk before every consumer had them.",
            self._retention.dropped_unread,
        )
        yield GaugeMetricFamily(
            "gatherer_disk_used_ratio", "Used share of the journal's disk.", self._retention.disk_percent / 100
        )
        yield from self._journal()
        yield from self._lanes()

    def _journal(self) -> Iterator[Metric]:
        written = sum(lane.report.bytes for lane in self._crew.capturing)
        yield CounterMetricFamily("gatherer_journal_written_bytes", "Bytes written to the journal.", written)
        yield GaugeMetricFamily("gatherer_journal_bytes", "Bytes of the journal on the disk.", self._keeper.bytes)
        yield GaugeMetricFamily("gatherer_journal_full", "Whether the journal's space is used up.", self._keeper.full)

    def _lanes(self) -> Iterator[Metric]:
        lanes = self._crew.lanes
        batches = CounterMetricFamily("gatherer_batches_loaded", "Batches committed, by lane.", labels=["lane"])
        lag = GaugeMetricFamily("gatherer_loader_lag_seconds", "Receive to commit, last batch.", labels=["lane"])
        loader = GaugeMetricFamily(
            "gatherer_loader_up", "Whether the loader runs and its database takes rows.", labels=["lane"]
        )
        restarts = CounterMetricFamily(
            "gatherer_process_restarts", "Worker processes started again.", labels=["process", "lane"]
        )
        for lane in lanes:
            name = str(lane.number)
            batches.add_metric([name], lane.batch)
            lag.add_metric([name], lane.lag_us / 1e6)
            loader.add_metric([name], lane.healthy)
            restarts.add_metric(["loader", name], max(lane.loader.restarts, 0))
            restarts.add_metric(["capture", name], max(lane.capture.restarts, 0))
        yield from (batches, lag, loader, restarts)
        yield CounterMetricFamily(
            "gatherer_delta_rows_loaded", "Order-book changes committed.", sum(lane.delta_rows for lane in lanes)
        )
        yield CounterMetricFamily(
            "gatherer_frames_quarantined",
            "Frames that could not become rows.",
            sum(lane.quarantined for lane in lanes),
        )
        alarms = CounterMetricFamily(
            "gatherer_assumption_alarms", "Contradictions of a bound or an assumption.", labels=["alarm"]
        )
        for name in sorted({name for lane in lanes for name in lane.alarms}):
            alarms.add_metric([name], sum(lane.alarms.get(name, 0) for lane in lanes))
        checks = CounterMetricFamily(
            "gatherer_book_checks", "Books compared with the folded ones, by source and result.", labels=["check"]
        )
        for name in sorted({name for lane in lanes for name in lane.checks}):
            checks.add_metric([name], sum(lane.checks.get(name, 0) for lane in lanes))
        yield checks
        measured = GaugeMetricFamily(
            "gatherer_bound_measured_seconds", "The greatest disorder, lag and sender skew seen.", labels=["bound"]
        )
        for name in sorted({name for lane in lanes for name in lane.measured_ms}):
            measured.add_metric([name], max(lane.measured_ms.get(name, 0) for lane in lanes) / 1000)
        yield from (alarms, measured)


def registry(collector: GathererCollector) -> CollectorRegistry:
    """A registry with the gatherer's metrics."""
    made = CollectorRegistry()
    made.register(collector)
    return made
