"""The condition of a day's data, a word a relation, as data vendors publish it; docs/condition.md defines each.

Whatever looks at completeness of a day decides by `judged`: the report, and `fleet condition`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import asyncpg

from common.contract import channels
from fleet.statements import SQL

Condition = Literal["available", "degraded", "pending", "missing"]
LOST_SHARE_MAX: Final = 0.0001
"""Of the seconds that were to be recorded: of a market that trades all day, 8.6 s."""
DAY: Final = timedelta(days=1)
DAYS_MAX: Final = 400
CHANNELS: Final[dict[str, tuple[str, ...]]] = {
    relation: tuple(c.name for c in channels.CHANNELS if c.relation == relation and c.all_markets)
    for relation in dict.fromkeys(c.relation for c in channels.CHANNELS if c.numbered)
}
"""By relation: the channels that carry all markets; none where each market has its own. Ticks are not here: no number
of the exchange shows how many there were."""
CHECKS: Final = {"orderbook_deltas": ("books", "uncrossed"), "trades": ("trades",)}
"""Of those that have some."""


@dataclass(frozen=True)
class RelationDay:
    """What is known of a relation on a day. Seconds: of all markets' time lines, or of channels that carry all;
    beginnings of markets, before their first book, are in none of them."""

    expected_s: float
    lost_s: Mapping[str, float] = field(default_factory=dict)  # by reason
    unsealed: int = 0  # markets, or channels
    failed: Mapping[str, int] = field(default_factory=dict)  # by check
    over: bool = True  # the day


def judged(recorded: RelationDay) -> tuple[Condition, str]:
    """The condition, and why. Pure."""
    lost_s = sum(recorded.lost_s.values())
    if not recorded.over:
        return "pending", "the day is not over"
    if recorded.unsealed:
        return "pending", f"not sealed yet: {recorded.unsealed}"
    if recorded.expected_s <= 0:
        return "missing", "nothing was to be recorded: the fleet did not run yet"
    reasons = [f"{reason} {seconds:.3f} s" for reason, seconds in sorted(recorded.lost_s.items()) if seconds > 0]
    if lost_s >= recorded.expected_s:
        return "missing", ", ".join(reasons)
    failed = [f"check {name}: {count} failed" for name, count in sorted(recorded.failed.items()) if count]
    degraded = lost_s > LOST_SHARE_MAX * recorded.expected_s or failed
    return "degraded" if degraded else "available", ", ".join((*reasons, *failed))


async def conditions(
    connection: asyncpg.Connection, first: datetime, last: datetime, now: datetime
) -> AsyncIterator[dict[str, Any]]:
    """A row a day and relation, of all days from the one of `first` to the one of `last`, both included."""
    day = midnight(first)
    while day <= midnight(last):
        for relation, recorded, archived_hours in await _day(connection, day, now):
            condition, why = judged(recorded)
            lost_s = sum(recorded.lost_s.values())
            yield {
                "day": day.date(),
                "relation": relation,
                "condition": condition,
                "why": why,
                "lost_s": round(lost_s, 3),
                "expected_s": round(recorded.expected_s, 3),
                "archived_hours": archived_hours,
            }
        day += DAY


def midnight(at: datetime) -> datetime:
    """The day's beginning, UTC."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


async def _day(connection: asyncpg.Connection, day: datetime, now: datetime) -> list[tuple[str, RelationDay, int]]:
    until = day + DAY
    found = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        hours = await connection.fetchrow(SQL["condition_checks"], day, until)
        failed = json.loads(hours["failed"])
        for relation, shared in CHANNELS.items():
            if shared:
                row = await connection.fetchrow(SQL["condition_channels"], list(shared), day, until)
            else:
                row = await connection.fetchrow(SQL["condition_books"], day, until)
            recorded = RelationDay(
                max(0.0, float(row["seconds"] - row["beginnings"])),
                json.loads(row["lost"]),
                row["unsealed"],
                {name: int(failed[name]) for name in CHECKS.get(relation, ()) if name in failed},
                until <= now,
            )
            found.append((relation, recorded, hours["archived_hours"]))
    return found
