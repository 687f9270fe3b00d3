"""What the processes say of themselves, as rows for a table: from their /status and what that was before. Pure.

What matters most comes first: a narrow terminal has no room for the last columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Status = Mapping[str, Any]
ROLES = ("orderbook", "trade", "ticker", "lifecycle")
GIB = 1 << 30


def gatherer_row(name: str, status: Status, before: Status | None) -> dict[str, Any]:
    """One gatherer: connections by role, rates, lag, journal."""
    roles = status["connections"]
    shown = [f"{role} {roles[role]['up']}/{roles[role]['configured']}" for role in ROLES if role in roles]
    journal = status["journal"]
    used = f"{journal['bytes'] / GIB:.1f} of {journal['max_bytes'] / GIB:.0f} GiB"
    return {
        "process": name,
        "ready": status["ready"],
        "lag ms": status["loader"]["lag_ms"],
        "open gaps": None,
        "connections": ", ".join(shown),
        "journal": "FULL" if journal["full"] else used,
        "per second": _rate(status, before, frames),
        "markets": status["markets"],
        "copies": None,
    }


def deduplicator_row(name: str, status: Status, before: Status | None) -> dict[str, Any]:
    """The deduplicator: whom it reads, rates, lag, copies of each change, gaps."""
    deltas = status["deltas"]
    read = [f"{who} {'read' if state['connected'] else 'LOST'}" for who, state in status["gatherers"].items()]
    copies = (deltas["inserted"] + deltas["confirmed"]) / deltas["inserted"] if deltas["inserted"] else None
    return {
        "process": name,
        "ready": status["ready"],
        "lag ms": status["lag_ms"],  # none where nothing came lately
        "open gaps": gaps_shown(status["open_gaps"]),
        "connections": ", ".join(read),
        "journal": None,
        "per second": _rate(status, before, inserted),
        "markets": status["time_lines"],
        "copies": None if copies is None else round(copies, 2),
    }


def gaps_shown(found: Mapping[str, Mapping[str, Any]] | None) -> str:
    """What production lists as not recorded, by channel: how many gaps, and how long they are together."""
    if found is None:
        return "not known"
    names = {"orderbook_delta": "order books", "trade": "trades"}
    shown = [f"{names.get(name, 'lifecycle')} {g['gaps']}, {lasted(g['seconds'])}" for name, g in found.items()]
    return "; ".join(shown) or "none"


def lasted(seconds: float) -> str:
    """As people say it."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def row(url: str, status: Status, before: Status | None) -> dict[str, Any]:
    """One process, whichever it is; one that does not answer has only `ready`, which says so."""
    if "gatherer_id" in status:
        return gatherer_row(status["gatherer_id"], status, before)
    if "deduplicator_id" in status:
        return deduplicator_row(status["deduplicator_id"], status, before)
    empty = dict.fromkeys(("lag ms", "open gaps", "connections", "journal", "per second", "markets", "copies"))
    return {"process": url, "ready": status["ready"], **empty}


def frames(status: Status) -> int:
    """Frames that a gatherer has received."""
    return sum(role["frames"] for role in status["connections"].values())


def inserted(status: Status) -> int:
    """Changes that the deduplicator has stored."""
    return int(status["deltas"]["inserted"])


def _rate(status: Status, before: Status | None, count: Callable[[Status], int]) -> int | None:
    """How many a second since the last look, or since the process began."""
    counted, seconds = count(status), float(status["uptime_s"])
    if before is not None and 0 < before.get("uptime_s", 0) < seconds:
        counted, seconds = counted - count(before), seconds - float(before["uptime_s"])
    return round(counted / seconds) if seconds else None


def as_expected(answers: Mapping[str, Status], gatherers: int | None) -> str | None:
    """Why this is not a fleet that is well, or None: all ready, and as many gatherers as expected, each read."""
    for url, status in answers.items():
        if status["ready"] != "ready":
            return f"{url}: {status['ready']}"
    if gatherers is None:
        return None
    present = sum("gatherer_id" in status for status in answers.values())
    if present != gatherers:
        return f"{present} gatherers of {gatherers} were asked"
    for url, status in answers.items():
        for name, state in status.get("gatherers", {}).items():
            if not state["connected"] or state["behind_batches"]:
                return f"{url}: {name} is {'not read' if not state['connected'] else 'read late'}"
    return None
