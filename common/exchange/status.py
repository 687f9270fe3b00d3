"""The exchange's state as it reports it: GET /exchange/status, by exchange index. Pure.

Its top-level flags are those of index 0 alone (docs/assumptions.md): combos, crypto and some sports are on
others. A flag is only shown to people: connections are dialled whatever it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

INDEXES_MAX: Final = 64
DEFAULT: Final = 0


def active_indexes(body: Mapping[str, Any]) -> dict[int, bool]:
    """By index, whether it is reported active; without any index, the top-level flag as that of index 0."""
    found: dict[int, bool] = {}
    listed = body.get("exchange_index_statuses")
    for entry in listed[:INDEXES_MAX] if isinstance(listed, list) else ():
        if isinstance(entry, dict) and type(entry.get("exchange_index")) is int:
            active = entry.get("exchange_active")
            if isinstance(active, bool):
                found[entry["exchange_index"]] = active
    top = body.get("exchange_active")
    if not found and isinstance(top, bool):
        found[DEFAULT] = top
    return found


def inactive_text(indexes: Mapping[int, bool], resume: object) -> str:
    """Which of them are not active, in words; empty if all are."""
    down = sorted(index for index, active in indexes.items() if not active)
    if not down:
        return ""
    which = "all exchange indexes" if len(down) == len(indexes) else f"exchange index {', '.join(map(str, down))}"
    return f"not active: {which}; estimated resume time: {resume if isinstance(resume, str) and resume else 'unknown'}"
