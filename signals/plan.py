"""Which signals are computed, with which parameters. Part of a market's state, as it is of each value's identity."""

from __future__ import annotations

from functools import cache

import msgspec


class Vpin(msgspec.Struct, frozen=True):
    """Buckets of `size` (1e-2 contract), or, where it is 0, of the market's own volume so far / `parts`, at least
    `least`; a value is of the last `buckets`."""

    size: int = 0
    buckets: int = 20
    parts: int = 50
    least: int = 10_000

    @property
    def name(self) -> str:
        """As it stands in an identity."""
        return _named(self)


class Regime(msgspec.Struct, frozen=True):
    """Thresholds of the regimes; what is entered at one value is left at a lower one."""

    active_enter: int = 60
    active_leave: int = 30
    """States of the book with a change, and trades, in a minute."""
    informed_enter: int = 6_000
    informed_leave: int = 4_000
    """|signed volume| of a minute, in 1/10,000 of its volume."""
    informed_volume: int = 10_000
    """Less than this in a minute informs nobody (1e-2 contract)."""
    settle_s: int = 300
    """So long before the close the market is about to settle."""

    @property
    def name(self) -> str:
        """As it stands in an identity."""
        return _named(self)


class Weights(msgspec.Struct, frozen=True):
    """By regime the weights of the composite's parts: order flow, imbalance, trade flow, momentum."""

    quiet: tuple[int, int, int, int] = (30, 40, 10, 20)
    active: tuple[int, int, int, int] = (40, 30, 20, 10)
    informed: tuple[int, int, int, int] = (30, 20, 40, 10)
    pre_settle: tuple[int, int, int, int] = (40, 20, 30, 10)

    @property
    def name(self) -> str:
        """As it stands in an identity."""
        return _named(self)

    def of(self, regime: int) -> tuple[int, int, int, int]:
        """The weights in a regime that is not dead."""
        return (self.quiet, self.active, self.informed, self.pre_settle)[regime - 1]


class Plan(msgspec.Struct, frozen=True):
    """What is computed of a market."""

    top: bool = False
    """Also the best levels after every millisecond with a change, not by the second alone."""
    vpin: tuple[Vpin, ...] = (Vpin(),)
    regime: Regime = Regime()
    weights: Weights = Weights()


@cache
def _named(rule: msgspec.Struct) -> str:
    values = {field: getattr(rule, field) for field in rule.__struct_fields__}
    return ",".join(
        f"{field}={'/'.join(map(str, value)) if isinstance(value, tuple) else value}" for field, value in values.items()
    )
