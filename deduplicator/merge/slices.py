"""Slices that are open: how far each is proven complete, and how far the claims of all come."""

from __future__ import annotations

from common.contract.channels import ORDERBOOK
from deduplicator.merge.copies import Changes, RunKey, SliceChange
from deduplicator.merge.coverage import SliceState

Lane = tuple[int, int]
"""Gatherer, lane."""


class Slices(dict[RunKey, SliceState]):
    """By gatherer, lane and number."""

    def __init__(self) -> None:
        super().__init__()
        self.reach: dict[Lane, int] = {}
        """The greatest horizon of a lane's open order-book slices."""
        self.lanes: set[Lane] = set()
        """Those that had an order-book slice here."""
        self.reach_ms = 0
        """No claim is beyond."""

    def add(self, key: RunKey, slice_: SliceState) -> None:
        """A slice that is open."""
        self[key] = slice_
        self.reached(key, slice_)

    def reached(self, key: RunKey, slice_: SliceState) -> None:
        """A slice has come to its horizon."""
        self.claimed_to(slice_.horizon_ms)
        if slice_.channel == ORDERBOOK and not slice_.ended:
            lane = key[:2]
            self.lanes.add(lane)
            self.reach[lane] = max(self.reach.get(lane, -1), slice_.horizon_ms)

    def claimed_to(self, ms: int) -> None:
        """Something is claimed up to a millisecond."""
        self.reach_ms = max(self.reach_ms, ms)

    def forget(self, over: list[RunKey]) -> None:
        """Slices that have ended leave."""
        for key in over:
            self.pop(key, None)
        if over:
            self.reach = {}
            for key, slice_ in self.items():
                self.reached(key, slice_)

    def changed(self, key: RunKey, changes: Changes) -> None:
        """Production is to know a slice as it is now."""
        slice_ = self[key]
        changes.slices[key] = SliceChange(
            *key, slice_.session, slice_.sid, slice_.channel, slice_.horizon_ms, slice_.ended, slice_.reason
        )

    def slowest(self) -> dict[int, int]:
        """By gatherer, the least horizon of its open order-book slices."""
        slowest: dict[int, int] = {}
        for key, slice_ in self.items():
            if slice_.channel == ORDERBOOK and not slice_.ended:
                slowest[key[0]] = min(slice_.horizon_ms, slowest.get(key[0], slice_.horizon_ms))
        return slowest

    def gatherers(self) -> set[int]:
        """Those with an open slice."""
        return {gatherer for gatherer, _, _ in self}
