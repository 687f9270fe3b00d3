"""Batches whose rows a gatherer had to drop before they were read.

What was begun in them is still known, what else they held is not: nothing that is open after them may claim
anything. Changes after them keep their ordinals, which the gatherer counted while it still had everything.
"""

from __future__ import annotations

from common.contract.deltas import Deltas
from common.contract.reasons import DROPPED_UNREAD
from deduplicator.merge.copies import Copy, Horizon

NOTHING_MS = -1


def strip_dropped_rows(copy: Copy) -> None:
    """Leave of such a copy what is certain: what began, and what ended (that proves no more than before), what was
    quarantined, where time stepped back."""
    copy.dropped = True
    copy.deltas = Deltas()
    copy.delta_frames = copy.quarantined
    copy.horizons = [Horizon(h.slice, NOTHING_MS, True, DROPPED_UNREAD) for h in copy.horizons if h.ended]
    copy.snapshots = []
    copy.run_events = [event for event in copy.run_events if event.event == "retracts"]
