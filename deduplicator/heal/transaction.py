"""One heal, in one transaction of production."""

from __future__ import annotations

import asyncpg

from common.errors import StorageError
from common.numbers import datetime_of_ms, ms_of_datetime
from common.storage.database import connect
from deduplicator.heal import changes, copies, gaps, runs
from deduplicator.heal.asked import AskedMarket, AskedStretch, Healed, shown
from deduplicator.heal.remerged import Remerged, merge_again, undecided
from deduplicator.merge import intervals
from deduplicator.statements import SQL
from deduplicator.store import days, merged_rows
from deduplicator.store.feed import HEAL, FeedEntry


async def heal(dsn: str, asked: AskedMarket) -> Healed:
    """Merge what is asked again, and mend production by it. Raises `StorageError`."""
    production = await connect(dsn)
    try:
        market = await production.fetchval(SQL["heal_market"], asked.ticker)
        if market is None:
            raise StorageError(f"production knows no market {asked.ticker}")
        stretch = AskedStretch(market, asked.ticker, ms_of_datetime(asked.start), ms_of_datetime(asked.end))
        result = Healed(asked.ticker)
        transaction = production.transaction()
        await transaction.start()
        # First of all, the lock: the gatherers must be found to have no less than the deduplicator has read of them.
        await production.fetchval(SQL["heal_step"])
        merged = await _merged(production, asked, stretch, result)
        await _mend(production, stretch, merged, result)
        await (transaction.rollback() if asked.dry_run else transaction.commit())
    finally:
        await production.close()
    return result


async def _merged(
    production: asyncpg.Connection, asked: AskedMarket, stretch: AskedStretch, result: Healed
) -> Remerged:
    """What the gatherers have, merged."""
    recorded = await copies.read(production, asked, stretch, result.gatherers)
    merger, decided = merge_again(recorded.copies, stretch.end_ms, asked.reset_slack_ms)
    result.conflicts = [f"{c.kind} at {datetime_of_ms(c.exchange_ms)}" for c in decided.conflicts]
    left_alone = undecided(await runs.claims(production, stretch.market), recorded.gatherers, asked.without)
    result.undecided = [shown(interval) for interval in intervals.within(left_alone, *stretch.interval)]
    return Remerged(stretch.market, stretch.interval, merger, decided, recorded.beyond, left_alone)


async def _mend(production: asyncpg.Connection, stretch: AskedStretch, merged: Remerged, result: Healed) -> None:
    """Changes first, then the claims that follow from them, then the gaps that follow from those."""
    entry, market = FeedEntry(HEAL), stretch.market
    compared = changes.compare(await changes.stored(production, stretch), merged)
    await days.write(production, compared.missing, entry)
    result.known, result.inserted, result.otherwise = compared.known, len(compared.missing), compared.otherwise
    result.contradictions = [str(datetime_of_ms(ms)) for ms in compared.differ]
    beginning = await gaps.beginning(production, market)
    result.runs_restored = await runs.readmit(production, merged) + await runs.fill_between(production, merged)
    result.retractions_undone = await runs.undo_retractions(production, merged, stretch)
    await gaps.disown(production, entry, market, compared.differ)
    await gaps.heal_listed(production, entry, stretch, result)
    if beginning is not None:
        await gaps.heal_beginning(production, entry, market, beginning, result)
    result.unplaced_removed = await merged_rows.remove_unplaced(production, entry, merged.changes.placed)
    await production.execute(SQL["note_heal"], result.inserted)
    await entry.write(production)
