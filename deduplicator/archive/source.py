"""Where an hour of the archive is read from: production as of one snapshot, and what was archived of it before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg

from common.numbers import ms_of_datetime

HOUR: Final = timedelta(hours=1)
CURSOR_ROWS: Final = 20_000
Connect = Callable[[], Awaitable[asyncpg.Connection]]


@dataclass(frozen=True)
class Source:
    """The hour from `start` on. `connect` makes another connection to the database; `archived` downloads an object of
    the hour, and returns False if there is none."""

    db: asyncpg.Connection
    connect: Connect
    start: datetime
    archived: Callable[[str, Path], bool]

    @property
    def until(self) -> datetime:
        """Its end."""
        return self.start + HOUR

    @property
    def span(self) -> tuple[datetime, datetime]:
        """From and to."""
        return self.start, self.until

    @property
    def start_ms(self) -> int:
        """Its begin."""
        return ms_of_datetime(self.start)

    async def parts(self, statement: str, *arguments: Any) -> AsyncIterator[list[Any]]:
        """The rows of a statement in their order, some at a time."""
        cursor = await self.db.cursor(statement, *arguments)
        while rows := await cursor.fetch(CURSOR_ROWS):
            yield rows
