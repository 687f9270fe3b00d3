"""Cutting batches by market, so that each part of all markets can be merged on its own.

A part gets the rows of its markets, and what belongs to subscriptions (slices, horizons): every part needs that.
What concerns no market, or every market, goes to the part of the empty ticker.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from common.contract.tables import OF_MARKETS
from gatherer.derive.deltas import COLUMNS, DeltaRows
from gatherer.derive.rows import Rows
from gatherer.derive.state import ALL_MARKETS

CODE: Final = COLUMNS.index("code")


def part_of(ticker: str, parts: int) -> int:
    """The part of a market; the same in every process."""
    return zlib.crc32(ticker.encode()) % parts


class Cutter:
    """Cuts the batches of one lane, in their order: it remembers to which part each run belongs."""

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self._part_of_run: dict[int, int] = {}
        self._everywhere = part_of(ALL_MARKETS, parts)

    def cut(self, rows: Rows) -> list[Rows]:
        """One batch as one for each part; their counts of frames add up to the batch's."""
        cut = [Rows(slices=rows.slices, horizons=rows.horizons) for _ in range(self._parts)]
        for name in OF_MARKETS:
            for row in getattr(rows, name):
                number = part_of(row.ticker, self._parts)
                getattr(cut[number], name).append(row)
                if name == "runs":
                    self._part_of_run[row.run] = number
        for event in rows.run_events:
            cut[self._part_of_run.get(event.run, self._everywhere)].run_events.append(event)
        common = cut[self._everywhere]
        common.quarantine, common.frames = rows.quarantine, rows.frames
        common.delta_frames = common.delta_frames_quarantined = rows.delta_frames_quarantined
        for part, deltas in zip(cut, self._deltas(rows.deltas), strict=True):
            part.deltas = deltas
            part.delta_frames += len(deltas)
        return cut

    def _deltas(self, deltas: DeltaRows) -> Iterable[DeltaRows]:
        of_code = np.array([part_of(ticker, self._parts) for ticker in deltas.tickers], np.int64)
        whole: Any = np.stack(list(deltas.columns().values()))
        names = deltas.tickers
        part_of_row = of_code[whole[CODE]]
        for number in range(self._parts):
            mine = whole[:, part_of_row == number]
            part = DeltaRows()
            if mine.shape[1]:
                codes, inverse = np.unique(mine[CODE], return_inverse=True)
                mine[CODE] = np.array([part.code(names[code]) for code in codes.tolist()], np.int64)[inverse]
                part.extend(mine)
            yield part
