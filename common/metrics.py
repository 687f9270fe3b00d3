"""Metrics: a process lists its families once, with what they mean; the reference page is made from the same list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


class Family(NamedTuple):
    """What a metric is. Names are in full words with their unit; a counter is scraped as NAME_total."""

    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()


class Scrape:
    """The samples of one scrape; every family is there, also one that has none yet."""

    def __init__(self, families: Mapping[str, Family]) -> None:
        kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        self._made = {name: kinds[f.kind](name, f.help, labels=f.labels) for name, f in families.items()}

    def add(self, name: str, value: float, *labels: str) -> None:
        """One sample; the name must be listed."""
        self._made[name].add_metric(labels, value)

    @property
    def metrics(self) -> Iterable[Metric]:
        """All families."""
        return self._made.values()
