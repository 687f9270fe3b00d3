"""Where each market's time line begins and ends, by REST: the merge and production get the same."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Final

from common.contract.channels import ORDERBOOK
from deduplicator.merge.merger import Merger
from deduplicator.store.production import Production
from deduplicator.store.restoring import LINES_AT_ONCE

CLOSE_GRACE_MS: Final = 60_000


class TimeLines:
    """What is known of the markets' lives; a market that REST does not list is waited for `patience_ms`."""

    def __init__(self, production: Production, merger: Merger, patience_ms: int) -> None:
        self._production, self._merger, self._patience_ms = production, merger, patience_ms
        self._since: datetime | None = None
        self._unlisted: dict[int, tuple[int, int | None]] = {}
        """Markets that REST does not list (yet): when they were first seen, and their end, if the stream has it."""

    async def follow(self, now_ms: int) -> None:
        """Take in what is new or changed since the last time."""
        started = self._production.fleet_started_ms
        rows: list[tuple[int, int, int | None]] = []
        self._since, lines = await self._production.time_lines(self._since)
        while changed := list(islice(lines, LINES_AT_ONCE)):  # the first time there are as many as markets
            missing = self._merger.claims.lines.missing(line[0] for line in changed)
            if missing:
                await self._production.load_lines(self._merger, missing)
            for market, seen_ms, first_ms, ended_ms, open_ms, over_ms in changed:
                end = None if over_ms < 0 else over_ms + CLOSE_GRACE_MS
                if open_ms < 0:
                    self._unlisted[market] = (seen_ms, end)
                    continue
                self._unlisted.pop(market, None)
                first = max(open_ms, started)
                self._merger.claims.lines.begin(market, ORDERBOOK, first, end)
                if (first_ms, ended_ms) != (first, -1 if end is None else end):
                    rows.append((market, first, end))
        for market, (seen_ms, end) in list(self._unlisted.items()):
            if now_ms - seen_ms > self._patience_ms:
                del self._unlisted[market]  # REST does not list it: the widest claim is the honest one
                self._merger.claims.lines.begin(market, ORDERBOOK, started, end)
                rows.append((market, started, end))
        if rows:
            await self._production.put_time_lines(rows)
