"""A rebuild on many machines: lanes are derived side by side, then parts of the markets are merged side by side.

Spark brings every part its batches in the order in which they were received, and does what a machine that fails needs.
The derivation and the merge are those of `fleet.rebuild.local`: this is wiring. On a cluster every executor needs the
package; credentials for S3 are found as AWS's tools find them.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.rebuild import files
from fleet.rebuild.part import MarketTimes, Part, PartBatch
from fleet.rebuild.parts import Cutter, part_of
from fleet.rebuild.raw import LaneReader, RawLane
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.state import ALL_MARKETS
from kalshi_fleet.place import Location

Key = tuple[int, int, int, int, int]
"""Part, receive time, gatherer, lane, number of the batch."""


@dataclass(frozen=True)
class SparkPlan:
    """What every executor needs to know."""

    place: Location
    output: Location
    lanes: Sequence[RawLane]
    bounds: BoundsMs
    batch_records: int
    parts: int
    lives: Mapping[str, MarketTimes]
    now_ms: int
    reset_slack_ms: int

    @property
    def gatherers(self) -> dict[int, str]:
        """Numbers of the gatherers."""
        return dict(enumerate(sorted({lane.gatherer for lane in self.lanes}), 1))

    @property
    def started_ms(self) -> int:
        """When the oldest segment was begun."""
        return min(lane.segments[0].number for lane in self.lanes) * 1000


@dataclass
class Result:
    """Rows by relation, delta frames, and segments that could not be read."""

    rows: dict[str, int]
    changes: int
    damaged: list[str]


def derive(plan: SparkPlan, index: int) -> Iterator[tuple[Key, bytes]]:
    """All batches of one lane, cut into parts. One more, in part -1, names the segments that could not be read."""
    lane = plan.lanes[index]
    gatherer = {name: number for number, name in plan.gatherers.items()}[lane.gatherer]
    cutter, received_us = Cutter(plan.parts), 0
    with tempfile.TemporaryDirectory(prefix="kalshi-rebuild-") as folder:
        reader = LaneReader(plan.place, lane, Path(folder))
        for number, batch in enumerate(reader.batches(plan.bounds, plan.batch_records), 1):
            received_us = max(received_us, batch.received_us)
            for part, rows in enumerate(cutter.cut(batch.rows)):
                key = part, received_us, gatherer, lane.lane, number
                yield key, pickle.dumps(PartBatch(gatherer, lane.lane, number, rows))
        if reader.damaged:
            last = part_of(ALL_MARKETS, plan.parts), 1 << 62, gatherer, lane.lane, 0
            yield last, pickle.dumps(reader.damaged)


def merge(plan: SparkPlan, number: int, batches: Iterable[tuple[Key, bytes]]) -> Iterator[Result]:
    """One part: its batches merged, its files written."""
    everywhere = number == part_of(ALL_MARKETS, plan.parts)
    part = Part(plan.started_ms, plan.now_ms, plan.lives, everywhere=everywhere, reset_slack_ms=plan.reset_slack_ms)
    damaged: list[str] = []
    for _, packed in batches:
        content = pickle.loads(packed)
        if isinstance(content, PartBatch):
            part.take(content)
        else:
            damaged += content
    part.finish()
    yield Result(files.write(part, plan.gatherers, files.PartFiles(plan.output, number)), part.received, damaged)


def summed(results: Iterable[Result]) -> Result:
    """All parts together."""
    rows: Counter[str] = Counter()
    whole = Result({}, 0, [])
    for result in results:
        rows.update(result.rows)
        whole.changes += result.changes
        whole.damaged += result.damaged
    whole.rows = dict(sorted(rows.items()))
    return whole


def rebuild(plan: SparkPlan, master: str | None) -> Result:
    """Run on Spark; `master` None: what the environment sets (on a cluster), else such as `local[2]`."""
    from pyspark.sql import SparkSession

    builder: Any = SparkSession.builder.appName("kalshi-rebuild").config("spark.ui.enabled", "false")
    if master:
        builder = builder.master(master)
        for name in ("spark.driver.host", "spark.driver.bindAddress"):
            builder = builder.config(name, "127.0.0.1")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # what executes is installed with this interpreter
    session: Any = builder.getOrCreate()
    try:
        shared = session.sparkContext.broadcast(plan)
        derived = session.sparkContext.parallelize(range(len(plan.lanes)), len(plan.lanes)).flatMap(
            lambda index: derive(shared.value, index)
        )
        parted = derived.repartitionAndSortWithinPartitions(plan.parts, lambda key: key[0])
        return summed(parted.mapPartitionsWithIndex(lambda n, batches: merge(shared.value, n, batches)).collect())
    finally:
        session.stop()
