"""The table of what content keys lose counts right."""

from __future__ import annotations

from pathlib import Path

from workshop.bench.content_keys import KEYS, changes, lost, table


def test_twins_are_counted_by_key_and_precision() -> None:
    """Four changes: twins in all, one apart by its microsecond, one by its size."""
    first = {"market_ticker": "A", "ts": "2026-11-21T10:00:00.1234Z", "price_dollars": "0.5", "side": "yes"}
    rows = [
        {**first, "delta_fp": "1.00"},
        {**first, "delta_fp": "1.00"},
        {**first, "delta_fp": "1.00", "ts": "2026-11-21T10:00:00.123401Z"},
        {**first, "delta_fp": "2.00"},
    ]
    total, thrown = lost(rows)
    assert total == 4
    assert [thrown[KEYS[0], cut] for cut in ("s", "ms", "us")] == [3, 3, 2]
    assert [thrown[KEYS[1], cut] for cut in ("s", "ms", "us")] == [2, 2, 1]
    assert "3 (75.00 %) | 3 (75.00 %) | 2 (50.00 %)" in table(total, thrown)


def test_real_changes_have_twins(recordings: list[Path]) -> None:
    """So that a content key loses some of them; the merge's identity does not (tests of the merge and the replay)."""
    total, thrown = lost(changes(recordings[:1]))
    assert total > 1000 and thrown[KEYS[1], "us"] > 0 and thrown[KEYS[0], "s"] > thrown[KEYS[0], "ms"]
