"""What the processes report, as rows for a table: from their /status and what that was before. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from common.contract.channels import BY_NAME, ORDERBOOK, ROLES
from common.contract.deduplicator_status import DeduplicatorStatus, GapTotals
from common.contract.gatherer_status import GathererStatus
from common.contract.page import PageRow
from common.contract.status import READY, Status

GIB: Final = 1 << 30


class Unanswered(msgspec.Struct):
    """A process whose state is not known; `ready` states why."""

    ready: str


Answer = Status | Unanswered


def row(address: str, answer: Answer, before: Answer | None) -> PageRow:
    """One process, whichever it is; one that does not answer has only `ready`."""
    if isinstance(answer, GathererStatus):
        return _of_gatherer(answer, before)
    if isinstance(answer, DeduplicatorStatus):
        return _of_deduplicator(answer, before)
    return PageRow(address, answer.ready)


def _of_gatherer(status: GathererStatus, before: Answer | None) -> PageRow:
    """Connections by role, rates, lag, journal."""
    roles, journal = status.connections, status.journal
    used = f"{journal.bytes / GIB:.1f} of {journal.max_bytes / GIB:.0f} GiB"
    return PageRow(
        status.gatherer_id,
        status.ready,
        lag_ms=status.loader.lag_ms,
        connections=", ".join(f"{role} {roles[role].up}/{roles[role].configured}" for role in ROLES if role in roles),
        journal="FULL" if journal.full else used,
        per_second=_rate(status, before),
        markets=status.markets,
    )


def _of_deduplicator(status: DeduplicatorStatus, before: Answer | None) -> PageRow:
    """Which gatherers it reads, rates, lag, copies of each change, gaps."""
    deltas = status.deltas
    return PageRow(
        status.deduplicator_id,
        status.ready,
        lag_ms=status.lag_ms,  # none where nothing came lately
        open_gaps=gaps_shown(status.open_gaps),
        connections=", ".join(f"{n} {'read' if one.connected else 'LOST'}" for n, one in status.gatherers.items()),
        per_second=_rate(status, before),
        markets=status.time_lines,
        copies=round((deltas.inserted + deltas.confirmed) / deltas.inserted, 2) if deltas.inserted else None,
    )


def gaps_shown(found: Mapping[str, GapTotals] | None) -> str:
    """What production lists as not recorded, by channel: how many gaps, and how long they are together."""
    if found is None:
        return "not known"
    return "; ".join(f"{_called(name)} {g.gaps}, {lasted(g.seconds)}" for name, g in found.items()) or "none"


def _called(name: str) -> str:
    """A channel as people call it; one that only another release knows as the exchange does."""
    if name == ORDERBOOK:
        return "order books"
    return BY_NAME[name].table if name in BY_NAME else name


def lasted(seconds: float) -> str:
    """As people write it."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def frames(status: GathererStatus) -> int:
    """Frames that a gatherer has received."""
    return sum(role.frames for role in status.connections.values())


def _counted(status: Status) -> int:
    """What a process's rate is of: frames received, changes stored."""
    return frames(status) if isinstance(status, GathererStatus) else status.deltas.inserted


def _rate(status: Status, before: Answer | None) -> int | None:
    """How many a second since the last look, or since the process began."""
    counted, seconds = _counted(status), status.uptime_s
    if before is not None and not isinstance(before, Unanswered) and 0 < before.uptime_s < seconds:
        counted, seconds = counted - _counted(before), seconds - before.uptime_s
    return round(counted / seconds) if seconds else None


def as_expected(answers: Mapping[str, Answer], gatherers: int | None) -> str | None:
    """Why this is not a fleet that is well, or None: all ready, and as many gatherers as expected, each read."""
    for address, answer in answers.items():
        if answer.ready != READY:
            return f"{address}: {answer.ready}"
    if gatherers is None:
        return None
    present = sum(isinstance(answer, GathererStatus) for answer in answers.values())
    if present != gatherers:
        return f"{present} gatherers of {gatherers} were asked"
    for address, answer in answers.items():
        for name, one in answer.gatherers.items() if isinstance(answer, DeduplicatorStatus) else ():
            if not one.connected or one.unread_batches:
                return f"{address}: {name} is {'read late' if one.connected else 'not read'}"
    return None
