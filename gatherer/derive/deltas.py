"""The order-book changes of a batch as columns, filled row by row or many rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.contract.deltas import NAMES

Array = npt.NDArray[np.int64]
COLUMNS: Final = tuple("code" if name == "market" else name for name in NAMES)
"""A change's fields; the market has its number only where the batch is written."""


class DeltaRows:
    """Rows of `COLUMNS`, all 64-bit integers; `code` stands for the ticker at that position of `tickers`."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._parts: list[Sequence[Array]] = []
        self._singles: list[tuple[int, ...]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count + len(self._singles)

    @property
    def tickers(self) -> list[str]:
        """Every ticker that has a code, in the order of codes."""
        return list(self._codes)

    def code(self, ticker: str) -> int:
        """The ticker's code in this batch."""
        return self._codes.setdefault(ticker, len(self._codes))

    def append(self, ticker: str, run: int, *rest: int) -> None:
        """One row: values in the order of `COLUMNS`, with the ticker by name."""
        self._singles.append((run, self.code(ticker), *rest))

    def extend(self, columns: Sequence[Array]) -> None:
        """Many rows, as `COLUMNS`; nobody may change them afterwards."""
        self._settle()
        self._parts.append(columns)
        self._count += len(columns[0])

    def since(self, count: int) -> Array:
        """Take out the rows from number `count` on; they must have been appended one by one since then."""
        taken = self._singles[count - self._count :]
        del self._singles[count - self._count :]
        return _columns(taken)

    def columns(self) -> dict[str, Array]:
        """All rows, column by column."""
        self._settle()
        parts = self._parts or [tuple(_columns([]))]
        return {name: np.concatenate(column) for name, *column in zip(COLUMNS, *parts, strict=True)}

    def list(self, column: str) -> list[Any]:
        """One column as a list; `ticker` gives the names."""
        if column == "ticker":
            names = self.tickers
            return [names[code] for code in self.columns()["code"]]
        return list(self.columns()[column].tolist())

    def _settle(self) -> None:
        if self._singles:
            self._count += len(self._singles)
            self._parts.append(tuple(_columns(self._singles)))
            self._singles = []


def _columns(rows: list[tuple[int, ...]]) -> Array:
    return np.array(rows, np.int64).reshape(len(rows), len(COLUMNS)).T
