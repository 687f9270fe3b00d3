"""The deduplicator's metrics and totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import Metric
from prometheus_client.registry import Collector

from common.contract import channels
from common.contract.deduplicator_status import DeltaTotals
from common.contract.reasons import BEFORE_SUBSCRIPTION, GAPS
from common.metrics import Family, Scrape
from common.set_aside import SetAside
from deduplicator.archive.exporter import Exporter
from deduplicator.archive.feed import FeedArchive
from deduplicator.merge.copies import Changes
from deduplicator.read.reader import Batches
from deduplicator.sources import Sources

LAG_HOLDS_MS: Final = 60_000
"""The lag of changes that were stored longer ago shows nothing of now."""
FAMILIES: Final = {
    "deduplicator_ready": Family("gauge", "1 if it merges and every gatherer is read, as /readyz says."),
    "deduplicator_delta_copies": Family(
        "counter", "Copies of order-book changes, by what became of them: confirmed over inserted is copies less one.",
        ("fate",),
    ),
    "deduplicator_unplaced_rows": Family("gauge", "Rows now unplaced, of this process."),
    "deduplicator_gaps_written": Family("counter", "Gap rows written, beginnings of markets apart."),
    "deduplicator_gaps_healed": Family("counter", "Gap rows healed."),
    "deduplicator_gap_seconds": Family(
        "counter", "Market-seconds that nobody provably recorded, as gaps were written.", ("channel", "reason")
    ),
    "deduplicator_merge_conflicts": Family("counter", "Contradictions between copies that were listed."),
    "deduplicator_production_lag_seconds": Family("gauge", "Exchange time to commit of the newest change."),
    "deduplicator_last_store_timestamp_seconds": Family("gauge", "When something was last stored in production."),
    "deduplicator_alarms": Family("counter", "Contradictions of an assumption that the merge saw.", ("alarm",)),
    "deduplicator_gatherer_reached": Family("gauge", "1 if the gatherer's database answers.", ("gatherer",)),
    "deduplicator_gatherer_unread_batches": Family("gauge", "Batches there that are not read yet.", ("gatherer",)),
    "deduplicator_gatherer_received_timestamp_seconds": Family(
        "gauge", "When the newest frame that was read of the gatherer was received there.", ("gatherer",)
    ),
    "deduplicator_set_aside": Family(
        "gauge", "Entries that failed alone and wait to be tried again, by what they are.", ("kind",)
    ),
    "deduplicator_metadata_age_seconds": Family(
        "gauge", "Since the last reading that reached the end of the exchange's lists began, the oldest of a group: "
        "changed, markets, events, series.", ("list",),
    ),
    "deduplicator_gatherer_put_backs": Family(
        "counter", "Lanes of the gatherer whose database was put back: they are read again.", ("gatherer",)
    ),
    "deduplicator_acknowledgements_refused": Family(
        "gauge", "Lanes of which the gatherer takes no acknowledgement: it knows a newer epoch.", ("gatherer",)
    ),
    "deduplicator_lanes_waiting": Family(
        "gauge", "Lanes of the gatherer that cannot be read or merged, while the others are.", ("gatherer",)
    ),
    "deduplicator_steps_failed": Family("counter", "Steps of the merge that raised what nobody foresaw."),
    "deduplicator_task_failing": Family(
        "gauge",
        "1 if the last try failed: production, archive, feed_archive, metadata, refill, checkpoints, retention, "
        "set_aside, lags, time_lines.",
        ("task",),
    ),
    "deduplicator_task_crashes": Family("counter", "Unforeseen failures, after which it began again.", ("task",)),
    "deduplicator_hours_exported": Family("counter", "Hours written to the archive."),
    "deduplicator_feed_hours_archived": Family("counter", "Hours of the feed written to the archive."),
    "deduplicator_feed_steps_missing": Family(
        "counter", "Steps of the feed that left production before they were archived."
    ),
    "deduplicator_checks": Family("counter", "Comparisons of exported hours (rule 8).", ("check", "result")),
}  # fmt: skip


CHANNELS: Final = tuple(channel.name for channel in channels.CHANNELS if channel.numbered)


class MergeTotals:
    """What was merged since the start of the process."""

    def __init__(self) -> None:
        self.steps = self.steps_failed = 0
        self.deltas = DeltaTotals(inserted=0, confirmed=0)
        self.trades = self.tickers = self.lifecycle = 0
        self.gaps = self.heals = self.conflicts = 0
        self.lag_ms = self.stored_ms = self.changed_ms = 0
        self.gap_ms = Counter({(channel, reason): 0 for channel in CHANNELS for reason in GAPS})
        """By channel and reason. An increase is seen only of what was there before: all begin with 0."""
        self.alarms: Counter[str] = Counter()

    def add(self, changes: Changes, batches: list[Batches], now_ms: int) -> None:
        """Count one stored step."""
        self.steps += 1
        deltas = self.deltas
        for account in changes.accounts:
            for fate in deltas.__struct_fields__:
                setattr(deltas, fate, getattr(deltas, fate) + getattr(account, fate))
        deltas.unplaced -= len(changes.placed)
        deltas.confirmed += len(changes.placed)
        for batch in batches:
            self.trades += len(batch.trades)
            self.tickers += len(batch.tickers)
            self.lifecycle += len(batch.lifecycle)
        self.stored_ms = now_ms
        self.gaps += sum(gap.reason != BEFORE_SUBSCRIPTION for gap in changes.gaps)
        for gap in changes.gaps:
            self.gap_ms[gap.channel, gap.reason] += gap.interval[1] - gap.interval[0]
        self.heals += len(changes.heals)
        self.conflicts += len(changes.conflicts)
        self.alarms.update(changes.alarms)
        if len(changes.new):
            self.lag_ms, self.changed_ms = now_ms - int(changes.new.exchange_ms.max()), now_ms

    def lag_now_ms(self, now_ms: int) -> int | None:
        """The lag of the newest changes; none where the newest are old."""
        return self.lag_ms if now_ms - self.changed_ms < LAG_HOLDS_MS else None


class DeduplicatorCollector(Collector):
    """Reads the totals at each scrape."""

    def __init__(
        self,
        totals: MergeTotals,
        exporter: Exporter | None,
        feed_archive: FeedArchive | None,
        ready: Callable[[], bool],
        sources: Callable[[], Sources | None],
        failing: Callable[[], Mapping[str, bool]],
        aside: SetAside,
        ages_s: Callable[[], Mapping[str, float]],
        waiting: Callable[[], Mapping[str, int]],
        crashes: Callable[[], Mapping[str, int]],
    ) -> None:
        self._aside, self._ages_s = aside, ages_s
        self._totals, self._exporter, self._feed_archive = totals, exporter, feed_archive
        self._ready, self._sources, self._failing = ready, sources, failing
        self._waiting, self._crashes = waiting, crashes

    def collect(self) -> Iterable[Metric]:
        """All metric families."""
        scrape = Scrape(FAMILIES)
        scrape.add("deduplicator_ready", self._ready())
        self._add_totals(scrape)
        self._add_tasks(scrape)
        self._add_gatherers(scrape)
        self._add_archive(scrape)
        return scrape.metrics

    def _add_totals(self, scrape: Scrape) -> None:
        totals = self._totals
        for fate in ("inserted", "confirmed", "disputed", "quarantined"):
            scrape.add("deduplicator_delta_copies", getattr(totals.deltas, fate), fate)
        scrape.add("deduplicator_unplaced_rows", totals.deltas.unplaced)
        scrape.add("deduplicator_gaps_written", totals.gaps)
        scrape.add("deduplicator_gaps_healed", totals.heals)
        for (channel, reason), gap_ms in sorted(totals.gap_ms.items()):
            scrape.add("deduplicator_gap_seconds", gap_ms / 1000, channel, reason)
        scrape.add("deduplicator_merge_conflicts", totals.conflicts)
        scrape.add("deduplicator_production_lag_seconds", totals.lag_ms / 1000)
        scrape.add("deduplicator_last_store_timestamp_seconds", totals.stored_ms / 1000)
        for name, count in sorted(totals.alarms.items()):
            scrape.add("deduplicator_alarms", count, name)
        scrape.add("deduplicator_steps_failed", totals.steps_failed)

    def _add_tasks(self, scrape: Scrape) -> None:
        for task, count in self._crashes().items():
            scrape.add("deduplicator_task_crashes", count, task)
        for task, fails in self._failing().items():
            scrape.add("deduplicator_task_failing", fails, task)
        for kind, count in self._aside.counts().items():
            scrape.add("deduplicator_set_aside", count, kind)
        for name, age_s in sorted(self._ages_s().items()):
            scrape.add("deduplicator_metadata_age_seconds", age_s, name)

    def _add_gatherers(self, scrape: Scrape) -> None:
        for name, lanes in self._waiting().items():
            scrape.add("deduplicator_lanes_waiting", lanes, name)
        sources = self._sources()
        for name, state in sources.status().items() if sources is not None else ():
            scrape.add("deduplicator_gatherer_reached", state.connected, name)
            scrape.add("deduplicator_gatherer_unread_batches", state.unread_batches, name)
            scrape.add("deduplicator_gatherer_put_backs", state.put_back, name)
            scrape.add("deduplicator_acknowledgements_refused", state.acknowledgements_refused, name)
            if state.received_us:
                scrape.add("deduplicator_gatherer_received_timestamp_seconds", state.received_us / 1e6, name)

    def _add_archive(self, scrape: Scrape) -> None:
        if self._exporter is not None:
            scrape.add("deduplicator_hours_exported", self._exporter.hours)
            for labels, count in sorted(self._exporter.checks.items()):
                scrape.add("deduplicator_checks", count, *labels)
        if self._feed_archive is not None:
            scrape.add("deduplicator_feed_hours_archived", self._feed_archive.hours)
            scrape.add("deduplicator_feed_steps_missing", self._feed_archive.missing)
