"""The gatherer's metrics. Counters are kept locally on the hot path and read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gatherer.connection import Connection
from gatherer.journal.writer import JournalWriter
from gatherer.lane import Lane


class GathererCollector(Collector):
    """Reads the state of connections, journal and loader at each scrape."""

    def __init__(self, connections: list[Connection], journal: JournalWriter, lane: Lane) -> None:
        self._connections, self._journal, self._lane = connections, journal, lane

    def collect(self) -> Iterator[Metric]:
        """All metric families."""
        frames = CounterMetricFamily("gatherer_frames_received", "Frames received, by role.", labels=["role"])
        breaks = CounterMetricFamily(
            "gatherer_sequence_breaks", "Breaks of a sid's numbering, by role.", labels=["role"]
        )
        up = GaugeMetricFamily("gatherer_connections_up", "Connections with whole subscriptions.", labels=["role"])
        dials = CounterMetricFamily("gatherer_dials", "Attempts to connect, by role.", labels=["role"])
        for role in sorted({c.role for c in self._connections}):
            mine = [c for c in self._connections if c.role == role]
            frames.add_metric([role], sum(c.counters.frames for c in mine))
            breaks.add_metric([role], sum(c.counters.breaks for c in mine))
            up.add_metric([role], sum(c.up for c in mine))
            dials.add_metric([role], sum(c.counters.dials for c in mine))
        yield from (frames, breaks, up, dials)
        lane = self._lane
        yield CounterMetricFamily(
            "gatherer_journal_bytes", "Bytes written to the journal.", self._journal.bytes_written
        )
        yield CounterMetricFamily("gatherer_batches_loaded", "Batches committed.", lane.batch)
        yield CounterMetricFamily("gatherer_delta_rows_loaded", "Order-book changes committed.", lane.delta_rows)
        yield CounterMetricFamily("gatherer_frames_quarantined", "Frames that could not become rows.", lane.quarantined)
        yield GaugeMetricFamily("gatherer_loader_lag_seconds", "Receive to commit, last batch.", lane.lag_us / 1e6)
        yield GaugeMetricFamily("gatherer_loader_up", "Whether the loader runs and its database answers.", lane.healthy)
        alarms = CounterMetricFamily(
            "gatherer_assumption_alarms", "Contradictions of a bound or an assumption.", labels=["alarm"]
        )
        for name, count in sorted(lane.alarms.items()):
            alarms.add_metric([name], count)
        yield alarms


def registry(collector: GathererCollector) -> CollectorRegistry:
    """A registry with the gatherer's metrics."""
    made = CollectorRegistry()
    made.register(collector)
    return made
