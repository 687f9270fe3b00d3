"""What production lists as not recorded, as it stands: for `/status`, the status page and `fleet status`.

Asked again and again beside the merge, for at most a hundredth of the time.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

from common.contract.deduplicator_status import GapTotals
from common.storage.database import connected
from common.supervise import Health, every
from deduplicator.statements import SQL

LOOK_S: Final = 5.0
REST_FACTOR: Final = 100
DAY: Final = timedelta(days=1)


class OpenGaps:
    """By channel, gaps that neither a copy nor REST has closed; beginnings of markets are none."""

    def __init__(self, dsn: str, timeout_ms: int) -> None:
        self._dsn, self._timeout_ms = dsn, timeout_ms
        self._found: dict[str, GapTotals] | None = None
        self._began_s = 0.0
        self.health = Health()

    def status(self) -> dict[str, GapTotals] | None:
        """For `/status`, by channel that has any; None before the first answer, and while production gives none."""
        return None if self.health.error else self._found

    async def run(self) -> None:
        """Until cancelled; the database may fail and come back."""
        await every(
            lambda: max(LOOK_S, REST_FACTOR * (time.monotonic() - self._began_s)), self._ask, self.health, first_s=0.0
        )

    async def _ask(self) -> None:
        self._began_s = time.monotonic()
        async with connected(self._dsn, self._timeout_ms) as connection, connection.transaction(readonly=True):
            rows = await connection.fetch(SQL["open_gaps"], datetime.now(UTC) - DAY)
        self._found = {row["channel"]: GapTotals(row["gaps"], row["seconds"], row["last_day_seconds"]) for row in rows}
