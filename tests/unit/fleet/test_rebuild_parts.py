"""Merging parts of the markets apart gives what merging all of them gives; which segments of raw/ a time needs."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.contract.channels import ORDERBOOK
from common.contract.tables import OF_MARKETS
from common.errors import StorageError
from deduplicator.merge.copies import Copy
from deduplicator.merge.identity import pack_content
from deduplicator.read.reader import KEPT
from deduplicator.store.channels import STAGED
from fleet.rebuild import local
from fleet.rebuild.batches import Derived
from fleet.rebuild.part import Part, PartBatch
from fleet.rebuild.parts import Cutter, part_of
from fleet.rebuild.raw import LaneReader, RawLane, lanes
from gatherer.derive.deltas import DeltaRows
from gatherer.derive.rows import LifecycleRow, QuarantineRow, RestBookRow, Rows, TickerRow, TradeRow
from gatherer.derive.state import ALL_MARKETS
from kalshi_fleet.place import Location
from tests.support.scale import LONG
from tests.support.world import BOUNDS, RESET_SLACK_MS, START_MS, batches, copy_of, gaps, held, live, merge, number_of

NOW_MS = START_MS + 86_400_000
RESETS_AT_THE_BOUNDS = (395, 1064, 1595)
"""Worlds whose resets would be judged by snapshots that lie within the bounds, were there no slack."""


def merged(stations: list[list[Rows]], parts: int, rng: random.Random, step_rows: int) -> dict[str, Any]:
    """All stations' batches through some parts, in a random interleaving; what they hold together."""
    cutters = [Cutter(parts) for _ in stations]
    each = [
        Part(
            START_MS,
            NOW_MS,
            {},
            everywhere=n == part_of(ALL_MARKETS, parts),
            reset_slack_ms=RESET_SLACK_MS,
            step_rows=step_rows,
        )
        for n in range(parts)
    ]
    queues = [list(enumerate(rows, 1)) for rows in stations]
    frames = 0
    while any(queues):
        who = rng.choice([n for n, queue in enumerate(queues) if queue])
        number, rows = queues[who].pop(0)
        frames += rows.delta_frames
        for part, cut in zip(each, cutters[who].cut(rows), strict=True):
            part.take(PartBatch(who + 1, 0, number, cut))
    found: dict[str, Any] = {"deltas": {}, "unplaced": set(), "gaps": {}, "held": {}, "books": {}, "conflicts": 0}
    for part in each:
        part.finish()
        name = {number: ticker for ticker, number in part.numbers.items()}
        deltas = part.deltas
        content = pack_content(deltas.side, deltas.price, deltas.delta)
        places = np.stack([deltas.market, deltas.exchange_ms, deltas.ordinal, content]).T.tolist()
        for market, ms, ordinal, packed in places:
            assert (name[market], ms, ordinal) not in found["deltas"]
            found["deltas"][name[market], ms, ordinal] = packed
        found["unplaced"] |= {(name[row.market], *key) for key, row in part.unplaced.items()}
        found["gaps"].update({(name[m], channel, stretch): why for (m, channel, stretch), why in part.gaps.items()})
        found["held"].update({(name[m], channel): stretches for m, channel, *_, stretches in part.coverage()})
        found["books"].update({(name[place[0]], *place[1:]): book[1:] for place, book in part.books.items()})
        found["conflicts"] += len(part.conflicts)
    assert sum(part.received for part in each) == frames
    return found


@pytest.mark.parametrize("seed", range(2000) if LONG else [*range(60), *RESETS_AT_THE_BOUNDS])
def test_parts_together_are_the_whole(seed: int) -> None:
    """However many parts, whatever the steps and the order of reading."""
    _, stations = live(seed)
    rng = random.Random(f"parts {seed}")
    derived = [list(batches(station.records, rng, station.number)) for station in stations]
    whole = merged(derived, 1, rng, 1 << 60)
    assert whole["deltas"]
    copies = [[copy_of(rows, n, k) for k, rows in enumerate(some, 1)] for n, some in enumerate(derived, 1)]
    merger, stored = merge(copies, rng)
    names = {number_of(ticker): ticker for ticker, channel in whole["held"] if channel == ORDERBOOK}
    content = {key: int(pack_content(*(np.array([v]) for v in row))[0]) for key, row in stored.deltas.items()}
    assert whole["deltas"] == {(names[m], ms, ordinal): packed for (m, ms, ordinal), packed in content.items()}
    assert {key[1:] for key in whole["unplaced"]} == set(stored.unplaced)
    assert whole["gaps"] == {(names[m], ORDERBOOK, stretch): why for (m, stretch), why in gaps(merger, stored).items()}
    for number, name in names.items():
        assert whole["held"][name, ORDERBOOK] == held(merger, number)
    for parts, step_rows in ((2, 40), (5, 1)):
        assert merged(derived, parts, rng, step_rows) == whole


@pytest.mark.parametrize("seed", range(200 if LONG else 10))
def test_a_contradiction_holds_up_nothing_else(seed: int) -> None:
    """One gatherer has other sizes of one market than the others: of all others everything is as it was."""
    _, stations = live(seed)
    rng = random.Random(f"liar {seed}")
    derived = [list(batches(station.records, rng, station.number)) for station in stations]
    honest = merged(derived, 2, rng, 1)
    ticker = rng.choice(sorted({ticker for rows in derived[1] for ticker in rows.deltas.tickers}))
    for rows in derived[1]:
        columns = rows.deltas.columns()
        mine = columns["code"] == rows.deltas.code(ticker)
        columns["delta"][mine & (np.array([rng.random() for _ in mine]) < 0.2)] += 1
        lie = DeltaRows()
        for name in rows.deltas.tickers:
            lie.code(name)
        lie.extend(list(columns.values()))
        rows.deltas = lie
    for step_rows in (1, 7, 1 << 60):
        found = merged(derived, 2, rng, step_rows)
        for relation in ("deltas", "gaps", "held"):
            there, here = ({k: v for k, v in some[relation].items() if k[0] != ticker} for some in (honest, found))
            assert here == there, relation


def test_rows_of_a_rebuild_are_as_a_reader_gives_them() -> None:
    """Of each table, whichever of the batches of a group they come from: with the columns that are staged."""
    us, found = START_MS * 1000, []
    trade = TradeRow(1, 2, "00000000-0000-4000-8000-000000000001", "KXA-1", START_MS, 4200, 300, 0, False, us)
    for number in (1, 2):
        rows = Rows(frames=5)
        rows.trades = [trade._replace(seq=number)]
        rows.tickers = [TickerRow("KXA-1", START_MS, number, None, None, None, None, None, None, us)]
        rows.lifecycle = [LifecycleRow("KXA-1", "created", "{}", us)]
        rows.rest_books = [RestBookRow("KXA-1", us, us, 1, [], [])]
        rows.quarantine = [QuarantineRow(1, 1, number, "x", us, b"x")]
        derived = Derived(us, RawLane("a", 0, ()), number, rows)
        found.append(local._batches(derived, Copy(1, 0, number, number), {"KXA-1": 7}))
    whole = local._as_one(found, {"KXA-1": 7})
    assert [len(getattr(whole, table)) for table in KEPT] == [2] * len(KEPT)
    first, second = whole.trades
    assert (first["market"], first["count"], first["seq"], second["seq"]) == ("KXA-1", 300, 1, 2)
    for staged in STAGED:
        for row in getattr(whole, staged.table):
            assert {*staged.columns} <= row.keys()


def test_a_cut_keeps_every_row_and_every_count() -> None:
    """Nothing is in two parts but what concerns whole subscriptions."""
    _, stations = live(3)
    cutter = Cutter(4)
    for rows in batches(stations[0].records, random.Random(3), 1):
        cut = cutter.cut(rows)
        for field in dataclasses.fields(Rows):
            values = [getattr(part, field.name) for part in cut]
            if field.name in ("slices", "horizons"):
                assert all(value == getattr(rows, field.name) for value in values)
            elif field.name == "deltas":
                names = [
                    (t, *r)
                    for v in values
                    for t, *r in zip(v.list("ticker"), v.list("run"), v.list("seq"), v.list("delta"), strict=True)
                ]
                given = rows.deltas
                whole = zip(*(given.list(n) for n in ("ticker", "run", "seq", "delta")), strict=True)
                assert sorted(names) == sorted(whole)
            elif field.name in ("frames", "delta_frames", "delta_frames_quarantined"):
                assert sum(values) == getattr(rows, field.name)
            elif field.name in (*OF_MARKETS, "run_events"):
                assert sorted(row for value in values for row in value) == sorted(getattr(rows, field.name))


def test_which_segments_a_time_needs(tmp_path: Path) -> None:
    """A segment holds what came until the next one began."""
    for gatherer, lane, number in (("a", 0, 1000), ("a", 0, 2000), ("a", 0, 3000), ("a", 1, 2500), ("b", 0, 900)):
        folder = tmp_path / f"gatherer={gatherer}" / "date=2026-01-01" / "hour=00"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"lane-{lane}-{number:012d}.journal.zst").write_bytes(b"x")
        (folder / f"lane-{lane}-{number:012d}.state").write_bytes(b"x")
        (folder / "something-else").write_bytes(b"x")

    def found(*within: int) -> dict[tuple[str, int], list[int]]:
        place = Location(str(tmp_path))
        return {(lane.gatherer, lane.lane): [s.number for s in lane.segments] for lane in lanes(place, *within)}

    assert found() == {("a", 0): [1000, 2000, 3000], ("a", 1): [2500], ("b", 0): [900]}
    assert found(1500, 2400) == {("a", 0): [1000, 2000], ("b", 0): [900]}
    assert found(2000, 2500) == {("a", 0): [2000], ("b", 0): [900]}
    assert all(segment.state for lane in lanes(Location(str(tmp_path))) for segment in lane.segments)
    with pytest.raises(StorageError, match="no segments"):
        found(0, 10)
    with pytest.raises(StorageError, match="cannot be read"):
        lanes(Location(str(tmp_path / "nowhere")))


def test_a_segment_that_comes_short_is_no_damaged_one(tmp_path: Path) -> None:
    """What is damaged stays so, and is passed over; what was only read badly must not shift the batches after it."""
    file = tmp_path / "raw" / "gatherer=a" / "lane-0-000000001000.journal.zst"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"nonsense")
    (lane,) = lanes(Location(str(tmp_path / "raw")))
    reader = LaneReader(Location(str(tmp_path / "raw")), lane, tmp_path / "damaged")
    assert list(reader.batches(BOUNDS, 100)) == [] and reader.damaged == [str(file)]
    file.write_bytes(b"short")
    with pytest.raises(StorageError, match="5 bytes, and has 8"):
        list(LaneReader(Location(str(tmp_path / "raw")), lane, tmp_path / "short").batches(BOUNDS, 100))
