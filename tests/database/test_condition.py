"""`fleet condition`: a word a day and relation, by thresholds that are written down; beginnings are no loss."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fleet.report import condition
from fleet.report.condition import DAY, RelationDay, judged
from tests.support.archive_case import OLD, Site, running_site
from tests.support.commands import fleet

HOUR = timedelta(hours=1)
PAGE = Path(__file__).parents[2] / "docs" / "condition.md"
A_DAY_S = 86_400.0
SHARED = "trade"


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        (RelationDay(A_DAY_S), ("available", "")),
        (RelationDay(A_DAY_S, {"not_recorded": 8.64}), ("available", "not_recorded 8.640 s")),
        (RelationDay(A_DAY_S, {"not_recorded": 8.641}), ("degraded", "not_recorded 8.641 s")),
        (
            RelationDay(A_DAY_S, {"conflict": 5, "not_recorded": 5}),
            ("degraded", "conflict 5.000 s, not_recorded 5.000 s"),
        ),
        (RelationDay(A_DAY_S, failed={"books": 1}), ("degraded", "check books: 1 failed")),
        (RelationDay(A_DAY_S, failed={"books": 0}), ("available", "")),
        (RelationDay(A_DAY_S, {"not_recorded": A_DAY_S - 1}), ("degraded", "not_recorded 86399.000 s")),
        (RelationDay(A_DAY_S, {"not_recorded": A_DAY_S}), ("missing", "not_recorded 86400.000 s")),
        (RelationDay(0.0), ("missing", "nothing was to be recorded: the fleet did not run yet")),
        (RelationDay(A_DAY_S, {"not_recorded": A_DAY_S}, unsealed=2), ("pending", "not sealed yet: 2")),
        (RelationDay(A_DAY_S, over=False), ("pending", "the day is not over")),
    ],
)
def test_the_thresholds(recorded: RelationDay, said: tuple[str, str]) -> None:
    """On both sides of each."""
    assert judged(recorded) == said


def test_the_page_states_the_thresholds() -> None:
    """That the code has."""
    text = PAGE.read_text()
    assert f"{condition.LOST_SHARE_MAX:.2%}" == "0.01%" and "0.01 %" in text
    assert set(re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE)) == {"available", "degraded", "pending", "missing"}
    assert all(f"`{relation}`" in text for relation in condition.CHANNELS)


@pytest.fixture
async def site(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """One market, held from its second hour on for two days; and the channel of trades from the first moment."""
    async with running_site(open_folder, monkeypatch) as running:
        db = running.db
        await db.execute("INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('g', gen_random_uuid())")
        shared = (await running.production.allot([""]))[""]
        end = OLD + 2 * DAY
        for number, (market, channel, since) in enumerate(
            ((running.market, "orderbook_delta", OLD + HOUR), (shared, SHARED, OLD))
        ):
            await db.execute("INSERT INTO store.slices VALUES (1, 0, $1, 1, 1, $2, $3)", number, channel, end)
            await db.execute(
                "INSERT INTO store.runs VALUES (1, 0, $1, $1, $2, $3, $4, true)", number, market, since, end
            )
        await db.execute("UPDATE store.lines SET first_seen = $2 WHERE market = $1", running.market, OLD)
        yield running


async def found(site: Site, first: int = 0, last: int = 0) -> dict[str, tuple[str, float, float]]:
    """By relation and day: the condition, seconds lost and expected."""
    now = OLD + 2 * DAY + HOUR
    rows = condition.conditions(site.db, OLD + first * DAY, OLD + last * DAY, now)
    shown: dict[str, tuple[str, float, float]] = {}
    async for row in rows:
        day = (row["day"] - OLD.date()).days
        shown[f"{row['relation']} {day}"] = (row["condition"], row["lost_s"], row["expected_s"])
    return shown


async def gap(site: Site, channel: str, at: float, seconds: float, reason: str = "not_recorded", **marks: Any) -> None:
    """What was not recorded, from so many hours after the first day's beginning on."""
    market = site.market if channel == "orderbook_delta" else (await site.production.allot([""]))[""]
    start = OLD + at * HOUR
    await site.db.execute(
        "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had, healed_at, refilled_at)"
        " VALUES ($1, $2, $3, $4, $5, '{}', $6, $7)",
        market, channel, start, start + timedelta(seconds=seconds), reason, marks.get("healed"), marks.get("refilled"),
    )  # fmt: skip


async def test_a_beginning_is_neither_lost_nor_expected(site: Site) -> None:
    """The hour before the first book; and days before the fleet are missing, days that are not over pending."""
    assert await found(site, -1, 2) == {
        "orderbook_deltas -1": ("missing", 0, 0),
        "trades -1": ("missing", 0, 0),
        "lifecycle_events -1": ("missing", 0, 0),
        "orderbook_deltas 0": ("available", 0, 23 * 3600),
        "trades 0": ("available", 0, 24 * 3600),
        "lifecycle_events 0": ("missing", 0, 0),
        "orderbook_deltas 1": ("available", 0, 24 * 3600),
        "trades 1": ("available", 0, 24 * 3600),
        "lifecycle_events 1": ("missing", 0, 0),
        "orderbook_deltas 2": ("pending", 0, 24 * 3600),
        "trades 2": ("pending", 0, 24 * 3600),
        "lifecycle_events 2": ("pending", 0, 0),
    }


async def test_a_relation_without_checks_has_a_condition_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its channel alone."""
    monkeypatch.setitem(condition.CHANNELS, "brand_new", (SHARED,))
    shown = await found(site)
    assert shown["brand_new 0"] == shown["trades 0"] == ("available", 0, 24 * 3600)


async def test_open_gaps_count_on_their_day_and_relation_alone(site: Site) -> None:
    """What was healed by a copy, or refilled from REST, is no loss."""
    await gap(site, "orderbook_delta", 47.5, 1200)
    await gap(site, "orderbook_delta", 30, 5000, healed=OLD)
    await gap(site, SHARED, 5, 9)
    await gap(site, SHARED, 6, 5000, refilled=OLD)
    await gap(site, SHARED, 40, 5000, "before_subscription")
    shown = await found(site, 0, 1)
    assert shown["orderbook_deltas 0"] == ("available", 0, 23 * 3600)
    assert shown["orderbook_deltas 1"] == ("degraded", 1200, 24 * 3600)
    assert shown["trades 0"] == ("degraded", 9, 24 * 3600)
    assert shown["trades 1"] == ("available", 0, 24 * 3600 - 5000)


async def test_a_check_that_failed_degrades_what_it_checked(site: Site) -> None:
    """And nothing else."""
    await site.db.execute("INSERT INTO store.checks VALUES ($1, 'trades', 10, 1, '[]')", OLD + HOUR)
    shown = await found(site)
    assert shown["trades 0"][0] == "degraded" and shown["orderbook_deltas 0"][0] == "available"


async def test_a_day_of_which_nothing_is_sealed_waits(site: Site) -> None:
    """As while all gatherers are away: it is a gap once they are back."""
    await site.db.execute("UPDATE store.runs SET cover_to = $1", OLD + 40 * HOUR)
    shown = await found(site, 0, 1)
    assert shown["orderbook_deltas 0"][0] == "available" and shown["trades 0"][0] == "available"
    assert shown["orderbook_deltas 1"][0] == shown["trades 1"][0] == "pending"


async def test_the_command_has_every_day_of_the_stretch(site: Site, tmp_path: Path) -> None:
    """Both ends among them; by an analyst's file."""
    file = tmp_path / "analyst.yaml"
    file.write_text(json.dumps({"production": {"dsn": site.dsn}}))
    ends = ("--from", f"{OLD:%Y-%m-%d}", "--to", f"{OLD + DAY:%Y-%m-%d}")
    code, out, err = await fleet("condition", "--config", file, *ends, "--json")
    rows = json.loads(out)
    assert code == 0 and [row["condition"] for row in rows] == ["available", "available", "missing"] * 2, err
    assert [row["day"] for row in rows[::3]] == [f"{OLD:%Y-%m-%d}", f"{OLD + DAY:%Y-%m-%d}"]
    code, out, _ = await fleet("condition", "--config", file, "--json")
    assert len(json.loads(out)) == 7 * 3
    code, _, err = await fleet("condition", "--config", file, "--from", "2020-01-01")
    assert code == 2 and "400 days at most" in err
