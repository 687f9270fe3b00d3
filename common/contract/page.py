"""What the status page's script is given: `/page/state`, `/page/coverage`, `/page/markets`. Pure."""

from __future__ import annotations

from typing import Any

import msgspec


class PageRow(msgspec.Struct, rename=lambda name: name.replace("_", " ")):
    """A process as a row of a table, what matters most first: a narrow terminal has no room for the last columns."""

    process: str
    ready: str
    lag_ms: int | None = None
    open_gaps: str | None = None
    connections: str | None = None
    journal: str | None = None
    per_second: int | None = None
    markets: int | None = None
    copies: float | None = None


class PageState(msgspec.Struct):
    """A process now. `parts`: what else its page can ask for."""

    row: PageRow
    status: dict[str, Any]
    parts: list[str]


class CoverageLine(msgspec.Struct):
    """A line of the map, by stretch: the recorded share, none where nothing is sealed, and market-time missing."""

    name: str
    of: str
    shares: list[float | None]
    missing_ms: list[int]


class CoverageMap(msgspec.Struct):
    """The map of a day as it was last made; `error`: why it could not be made again."""

    rows: list[CoverageLine] = []
    start: str = ""
    bucket_s: int = 0
    made_at: str = ""
    computing: bool = False
    error: str = ""


class FoundMarket(msgspec.Struct):
    """A market that a search has found."""

    ticker: str
    title: str | None
    yes_sub_title: str | None
    status: str | None
    volume: str | None
    close_time: str | None


class MarketsFound(msgspec.Struct):
    """What a search has found, `most` at most; `error`: why it could not search."""

    markets: list[FoundMarket] = []
    most: int = 0
    error: str = ""
