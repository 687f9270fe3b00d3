"""The changes of an hour as rows, and their order: ticker, exchange time, ordinal, packed into one integer.

The integer sorts as they do, and is the identity of a change within its hour.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.contract.deltas import BESIDE, WIDTHS
from common.contract.identity import ARCHIVED_ORDINAL_BITS as ORDINAL_BITS
from common.contract.identity import HOUR_BITS, KEY_BITS
from common.errors import StorageError
from common.numbers import HOUR_MS

I64 = npt.NDArray[np.int64]
ORDINAL_MAX: Final = (1 << ORDINAL_BITS) - 2
"""The place after the greatest fits as well."""
PLACE_BITS: Final = HOUR_BITS + ORDINAL_BITS
TICKERS_MAX: Final = 1 << (KEY_BITS - PLACE_BITS)
"""Two million: a code beyond would overflow the key, and rows would get other tickers."""

TABLE_MAX: Final = 10_000_000
"""Market numbers that lie so close together are looked up in a table: they are not searched for."""

Rows = npt.NDArray[Any]
ROW: Final = np.dtype([("key", "<i8"), *((name, f"<{WIDTHS[name]}") for name in BESIDE)])
"""A change; `key` as of `Order.keys`, the rest as in production."""


class Order:
    """The tickers of an hour, sorted by code point; a ticker's place among them is its code."""

    def __init__(self, tickers: Iterable[str], hour_ms: int) -> None:
        self.names = sorted(set(tickers))
        if len(self.names) > TICKERS_MAX:
            raise StorageError(f"{len(self.names)} markets on a day: an hour's keys have room for {TICKERS_MAX}")
        self.hour_ms = hour_ms
        self._code = {name: code for code, name in enumerate(self.names)}

    def codes(self, tickers: Iterable[str]) -> I64:
        """The codes of tickers; raises `KeyError` for one that is not of the hour."""
        return np.array([self._code[ticker] for ticker in tickers], np.int64)

    def keys(self, code: I64, exchange_ms: I64, ordinal: I64) -> I64:
        """Sort keys; that of a change's ordinal + 1 is the place after it. Raises `StorageError` for another hour."""
        within = exchange_ms - self.hour_ms
        if len(within) and not (within.min() >= 0 and within.max() < HOUR_MS):
            raise StorageError("an exchange time outside the hour")
        if len(ordinal) and ordinal.max() > ORDINAL_MAX:
            raise StorageError(f"more than {ORDINAL_MAX + 1} changes of a market in one millisecond")
        return (code << PLACE_BITS) + (within << ORDINAL_BITS) + ordinal

    def first(self, code: I64) -> I64:
        """The place before every change of a market in the hour."""
        return code << PLACE_BITS

    def unpack(self, keys: I64) -> tuple[I64, I64, I64]:
        """Code, exchange time in milliseconds, ordinal."""
        within = (keys >> ORDINAL_BITS) & ((1 << HOUR_BITS) - 1)
        return keys >> PLACE_BITS, within + self.hour_ms, keys & ((1 << ORDINAL_BITS) - 1)


class Numbers:
    """Codes of production's market numbers."""

    def __init__(self, order: Order, tickers: Mapping[int, str]) -> None:
        self._numbers = np.array(sorted(tickers), np.int64)
        self._codes = order.codes(tickers[number] for number in self._numbers.tolist())
        self._table: I64 | None = None
        if len(tickers) and self._numbers[-1] - self._numbers[0] < TABLE_MAX:
            self._table = np.full(self._numbers[-1] - self._numbers[0] + 1, -1, np.int64)
            self._table[self._numbers - self._numbers[0]] = self._codes

    def codes(self, markets: npt.NDArray[Any]) -> I64:
        """The codes of market numbers; raises `StorageError` for one that is not of the hour."""
        if not len(markets):
            return np.empty(0, np.int64)
        if self._table is not None:
            at = markets - self._numbers[0]
            known = at.min() >= 0 and at.max() < len(self._table)
            codes = self._table.take(at) if known else np.full(1, -1)
            unknown = codes.min() < 0
        else:
            at = np.minimum(np.searchsorted(self._numbers, markets), len(self._numbers) - 1)
            unknown = not len(self._numbers) or (self._numbers[at] != markets).any()
            codes = self._codes[at] if not unknown else self._codes
        if unknown:
            raise StorageError("a change of a market that the hour does not have")
        return codes


def rows_of(key: npt.NDArray[np.int64], columns: Mapping[str, npt.NDArray[Any]]) -> Rows:
    """Changes from columns."""
    rows = np.empty(len(key), ROW)
    rows["key"] = key
    for name in BESIDE:
        rows[name] = columns[name]
    return rows
