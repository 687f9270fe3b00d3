"""An order-book change, field by field: every layout of its columns follows from these. Pure.

A field states the width of the narrowest signed integer that holds it. Tables, streams, blocks and files choose
fields and may call them otherwise; what they hold, and how wide it is, is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
Layout = tuple[tuple[str, str], ...]
"""Columns of a table: name, and width as `i2`, `i4` or `i8`."""
WIDTH: Final = "width"


_I1, _I2, _I4, _I8 = ({WIDTH: f"i{size}"} for size in (1, 2, 4, 8))


def _none() -> I64:
    return np.empty(0, np.int64)


@dataclass
class Deltas:
    """Order-book changes as columns of equal length, in the order of the journal within each run.

    `ordinal` and `exchange_us` are -1 where they are not known; `side`: `common.contract.sides`; `price` in units of
    1e-4 dollar, `delta` of 1e-2 contract, signed.
    """

    run: I64 = field(default_factory=_none, metadata=_I8)
    market: I64 = field(default_factory=_none, metadata=_I8)
    seq: I64 = field(default_factory=_none, metadata=_I8)
    exchange_ms: I64 = field(default_factory=_none, metadata=_I8)
    ordinal: I64 = field(default_factory=_none, metadata=_I4)
    exchange_us: I64 = field(default_factory=_none, metadata=_I2)
    side: I64 = field(default_factory=_none, metadata=_I1)
    price: I64 = field(default_factory=_none, metadata=_I4)
    delta: I64 = field(default_factory=_none, metadata=_I8)
    received_us: I64 = field(default_factory=_none, metadata=_I8)

    def __len__(self) -> int:
        return len(self.run)

    def take(self, rows: Any) -> Deltas:
        """Some of the rows, as of NumPy's indexing."""
        return Deltas(**{name: getattr(self, name)[rows] for name in NAMES})

    def columns(self, names: Iterable[str]) -> dict[str, I64]:
        """Some of the columns, by name."""
        return {name: getattr(self, name) for name in names}

    @classmethod
    def joined(cls, parts: Sequence[Deltas]) -> Deltas:
        """The rows of all, one after the other."""
        if not parts:
            return cls()
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in NAMES})


WIDTHS: Final[dict[str, str]] = {column.name: column.metadata[WIDTH] for column in fields(Deltas)}
NAMES: Final = tuple(WIDTHS)
RECORDING: Final = ("run", "seq")
"""Where a copy of a change was recorded, and is not of the change."""
IDENTITY: Final = ("market", "exchange_ms", "ordinal")
CONTENT: Final = ("side", "price", "delta")
"""What copies of a change must agree on."""
STORED: Final = tuple(name for name in NAMES if name not in RECORDING)
"""What production has of a change, and the feed."""
BESIDE: Final = tuple(name for name in STORED if name not in IDENTITY)
"""What a row has that is found by its identity."""
RECORDER: Final = {"gatherer": "i2", "session": "i8", "sid": "i4", "lane": "i2"}
"""What production knows of the recorder of a row, by name and width."""
UNPLACED: Final = ("gatherer", "session", "sid", "seq", "lane", "run", *(n for n in STORED if n != "ordinal"))
"""What is kept of a change whose ordinal is not known."""
CALLED: Final = {"exchange_ms": "exchange_ts", "received_us": "received_at"}
"""What a field is called where it is a time of the database (`timestamptz`), or of Parquet."""


def layout(names: Iterable[str], called: Mapping[str, str] | None = None) -> Layout:
    """Fields as columns of a table of PostgreSQL, which has no integer of one byte."""
    called = called or {}
    return tuple((called.get(name, name), "i2" if WIDTHS[name] == "i1" else WIDTHS[name]) for name in names)


RECORDED_LAYOUT: Final = layout(NAMES)
"""A gatherer's table, its keys of batch and hour apart."""
STORED_LAYOUT: Final = layout(STORED, CALLED)
"""Production's tables."""
