"""`fleet tail`: what production gets, as it gets it.

Copies of one change come at different times, so the last seconds are asked for again and again; each row is shown once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Final

from common.storage.database import connect
from fleet.statements import SQL

POLL_S: Final = 0.5
BACK: Final = timedelta(seconds=30)
"""How far behind the newest row something may still appear."""
CHANNELS: Final = ("trades", "deltas", "lifecycle")


async def tail(dsn: str, channel: str, ticker: str | None, since: datetime) -> AsyncIterator[dict[str, Any]]:
    """Rows of a channel, of one market or of all, from a time on, for ever. Raises `StorageError`."""
    connection = await connect(dsn)
    try:
        shown: dict[str, datetime] = {}
        newest = since
        while True:
            for row in await connection.fetch(SQL[f"tail_{channel}"], max(since, newest - BACK), ticker):
                if row["id"] not in shown:
                    shown[row["id"]] = row["exchange_ts"]
                    newest = max(newest, row["exchange_ts"])
                    yield {name: value for name, value in row.items() if name != "id"}
            shown = {id_: at for id_, at in shown.items() if at >= newest - BACK}
            await asyncio.sleep(POLL_S)
    finally:
        await connection.close()
