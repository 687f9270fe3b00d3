"""The deduplicator's metrics and totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from deduplicator.archive.exporter import Exporter
from deduplicator.merge.copies import Changes
from deduplicator.reader import Batches


class Totals:
    """What was merged since the start of the process."""

    def __init__(self) -> None:
        self.steps = 0
        self.received = self.inserted = self.confirmed = self.disputed = self.unplaced = self.quarantined = 0
        self.trades = self.tickers = self.lifecycle = 0
        self.gaps = self.heals = self.conflicts = 0
        self.lag_ms = 0
        self.alarms: Counter[str] = Counter()

    def add(self, changes: Changes, batches: list[Batches], now_ms: int) -> None:
        """Count one stored step."""
        self.steps += 1
        for account in changes.accounts:
            self.received += account.received
            self.inserted += account.inserted
            self.confirmed += account.confirmed
            self.disputed += account.disputed
            self.unplaced += account.unplaced
            self.quarantined += account.quarantined
        self.unplaced -= len(changes.placed)
        self.confirmed += len(changes.placed)
        for batch in batches:
            self.trades += len(batch.trades)
            self.tickers += len(batch.tickers)
            self.lifecycle += len(batch.lifecycle)
        self.gaps += len(changes.gaps)
        self.heals += len(changes.heals)
        self.conflicts += len(changes.conflicts)
        self.alarms.update(changes.alarms)
        if len(changes.new):
            self.lag_ms = now_ms - int(changes.new.exchange_ms.max())

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "steps": self.steps,
            "deltas": {
                "received": self.received,
                "inserted": self.inserted,
                "confirmed": self.confirmed,
                "disputed": self.disputed,
                "unplaced": self.unplaced,
                "quarantined": self.quarantined,
            },
            "trade_copies": self.trades,
            "ticker_copies": self.tickers,
            "lifecycle_copies": self.lifecycle,
            "gaps": self.gaps,
            "heals": self.heals,
            "conflicts": self.conflicts,
            "lag_ms": self.lag_ms,
            "alarms": dict(self.alarms),
        }


class DeduplicatorCollector(Collector):
    """Reads the totals at each scrape."""

    def __init__(self, totals: Totals, exporter: Exporter | None) -> None:
        self._totals, self._exporter = totals, exporter

    def collect(self) -> Iterator[Metric]:
        """All metric families."""
        totals = self._totals
        fates = CounterMetricFamily(
            "deduplicator_delta_copies", "Copies of order-book changes, by what became of them.", labels=["fate"]
        )
        for fate in ("inserted", "confirmed", "disputed", "quarantined"):
            fates.add_metric([fate], getattr(totals, fate))
        yield fates
        yield GaugeMetricFamily("deduplicator_unplaced_rows", "Rows now unplaced, of this process.", totals.unplaced)
        yield CounterMetricFamily("deduplicator_gaps_written", "Gap rows written.", totals.gaps)
        yield CounterMetricFamily("deduplicator_gaps_healed", "Gap rows healed.", totals.heals)
        yield CounterMetricFamily("deduplicator_merge_conflicts", "Conflicts listed.", totals.conflicts)
        yield GaugeMetricFamily(
            "deduplicator_production_lag_seconds", "Exchange time to commit of the newest change.", totals.lag_ms / 1000
        )
        alarms = CounterMetricFamily("deduplicator_alarms", "Contradictions seen by the merge.", labels=["alarm"])
        for name, count in sorted(totals.alarms.items()):
            alarms.add_metric([name], count)
        yield alarms
        if self._exporter is not None:
            yield CounterMetricFamily(
                "deduplicator_hours_exported", "Hours written to the archive.", self._exporter.hours
            )
            checks = CounterMetricFamily(
                "deduplicator_checks", "Comparisons of exported hours (rule 8).", labels=["check", "result"]
            )
            for labels, count in sorted(self._exporter.checks.items()):
                checks.add_metric(labels, count)
            yield checks
