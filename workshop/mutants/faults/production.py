"""Faults of production: what a transaction stores, the right to write, what a restart reads again."""

from __future__ import annotations

from typing import Final

from workshop.mutants.fault import Fault

PRODUCTION: Final = "deduplicator/store/production.py"
STORE: Final = (
    "tests/database/test_restoring.py",
    "tests/database/test_storage.py tests/database/test_steps.py",
    "tests/database/test_worlds_database.py",
)
LATE: Final = (
    "tests/unit/deduplicator/test_days.py",
    "tests/database/test_stale_hours.py",
    "tests/database/test_worlds_archive.py",
)
RESTORE: Final = ("tests/database/test_restoring.py", "tests/database/test_worlds_database.py")

FAULTS: Final = (
    Fault(
        "the-cursor-moves-from-anywhere",
        "deduplicator/sql/lanes.sql",
        " WHERE store.cursors.batch = $4",
        " WHERE store.cursors.batch >= 0 OR $4::bigint IS NULL",
        "batches could be stored twice, or left out",
        STORE,
    ),
    Fault(
        "the-cursor-moves-one-too-many",
        PRODUCTION,
        "account.to_batch, account.from_batch - 1",
        "account.to_batch + 1, account.from_batch - 1",
        "a batch would never be read",
        STORE,
    ),
    Fault(
        "a-cursor-that-did-not-move",
        PRODUCTION,
        "account.from_batch - 1, *at) is None:",
        "account.from_batch - 1, *at) == -1:",
        "a step would be stored although its batches are stored already",
        STORE,
    ),
    Fault(
        "a-day-without-rows-is-not-known-to-have-left",
        "deduplicator/store/restoring.py",
        "    merger.detach([(day * DAY_MS, (day + 1) * DAY_MS) for day in await days.detached(db)])\n"
        '    if not len(columns["market"]):\n        return\n',
        '    if not len(columns["market"]):\n        return\n'
        "    merger.detach([(day * DAY_MS, (day + 1) * DAY_MS) for day in await days.detached(db)])\n",
        "a late copy of it would be disputed by all who cover it, until some row is loaded",
        ("tests/database/test_merge_detached.py",),
    ),
    Fault(
        "nobody-is-fenced",
        "deduplicator/store/lease.py",
        'if await db.fetchval(SQL["lock_lease"], self.epoch) is None:',
        'if await db.fetchval(SQL["lock_lease"], self.epoch) == 0:',
        "two deduplicators would write at once",
        ("tests/database/test_storage.py -k fences", "tests/database/test_steps.py"),
    ),
    Fault(
        "open-runs-are-forgotten",
        "deduplicator/sql/restoring.sql",
        "AND NOT r.ended AND",
        "AND r.ended AND",
        "after a restart nothing that is open would be claimed",
        STORE,
    ),
    Fault(
        "late-rows-of-gone-days-are-not-known",
        "deduplicator/sql/restoring.sql",
        "UNION ALL SELECT market, exchange_ts, ordinal, side, price, delta FROM store.late_deltas) d",
        ") d",
        "late rows of a day that left production would be stored twice",
        ("tests/database/test_restoring.py", "tests/database/test_retention.py"),
    ),
    Fault(
        "a-checkpoint-survives-a-heal-at-its-place",
        "common/storage/migrations/production/0005_books.sql",
        "AND (c.exchange_ts > x.ts OR c.after_ordinal >= x.ordinal)",
        "AND (c.exchange_ts > x.ts OR c.after_ordinal > x.ordinal + 1)",
        "book_at would fold from a book that lacks healed changes",
        ("tests/database/test_restoring.py", "tests/database/test_checkpoints.py"),
    ),
    Fault(
        "a-heal-goes-unnoticed",
        PRODUCTION,
        "if step.heals != self._heals:",
        "if step.heals < 0:",
        "the merge would continue with a state from before `fleet heal`",
        ("tests/database/test_restoring.py", "tests/fleet/test_heal.py"),
    ),
    Fault(
        "placed-rows-stay-unplaced",
        "deduplicator/sql/rows.sql",
        " USING unnest($1::smallint[], $2::bigint[], $3::int[], $4::bigint[], $5::bigint[]) "
        "x (gatherer, session, sid, seq, run)\n"
        " WHERE (u.gatherer, u.session, u.sid, u.seq, u.run) = (x.gatherer, x.session, x.sid, x.seq, x.run)\n",
        " USING unnest($1::smallint[], $2::bigint[], $3::int[], $4::bigint[], $5::bigint[]) "
        "x (gatherer, session, sid, seq, run)\n"
        " WHERE (u.gatherer, u.session, u.sid, u.seq, u.run) = (x.gatherer, x.session, x.sid, x.seq, x.run + 1)\n",
        "confirmed head rows would be shown as unplaced for ever",
        STORE,
    ),
    Fault(
        "healed-gaps-come-back",
        "deduplicator/sql/restoring.sql",
        " WHERE g.healed_at IS NULL",
        " WHERE g.healed_at IS NULL OR true",
        "after a restart a healed gap would be listed in the state and not in production",
        RESTORE,
    ),
    Fault(
        "what-ended-runs-hold-is-forgotten",
        "deduplicator/sql/restoring.sql",
        "WHERE r.ended AND NOT r.excluded AND r.cover_from < r.cover_to",
        "WHERE NOT r.ended AND r.cover_from < r.cover_to",
        "after a restart all that was claimed would be a gap",
        RESTORE,
    ),
    Fault(
        "parts-are-forgotten",
        "deduplicator/sql/restoring.sql",
        "JOIN store.parts p USING (market)) x",
        "JOIN store.parts p USING (market) WHERE false) x",
        "after a restart what compacted or readmitted runs held would be a gap",
        RESTORE,
    ),
    Fault(
        "retractions-are-not-restored",
        "deduplicator/sql/restoring.sql",
        "t.to_ts\n  FROM unnest($1::bigint[]) w (market) JOIN store.retractions t USING (market)\n",
        "t.to_ts\n  FROM unnest($1::bigint[]) w (market) JOIN store.retractions t USING (market) WHERE false\n",
        "after a restart what was retracted would be claimed",
        RESTORE,
    ),
    Fault(
        "judged-heads-are-judged-again",
        "deduplicator/sql/restoring.sql",
        " WHERE NOT u.judged",
        "",
        "after a restart a conflict would be listed twice",
        RESTORE,
    ),
    Fault(
        "a-head-at-the-end-was-followed-after-a-restart",
        "deduplicator/sql/restoring.sql",
        "AND r.cover_to > u.exchange_ts",
        "AND r.cover_to >= u.exchange_ts",
        "a head of a run that was cut inside its group would be a conflict",
        RESTORE,
    ),
    Fault(
        "identities-of-the-floor-are-not-loaded",
        "deduplicator/store/restoring.py",
        "([], floor_ms, ms_of_datetime(newest) + 1)",
        "([], floor_ms + 1, ms_of_datetime(newest) + 1)",
        "after a restart the changes of one millisecond would be stored twice",
        RESTORE,
    ),
    Fault(
        "identities-of-the-newest-are-not-loaded",
        "deduplicator/store/restoring.py",
        "([], floor_ms, ms_of_datetime(newest) + 1)",
        "([], floor_ms, ms_of_datetime(newest))",
        "after a restart the newest changes would be stored twice",
        RESTORE,
    ),
    Fault(
        "excluded-runs-are-restored-as-open",
        "deduplicator/store/restoring.py",
        "merger.claims.restore_excluded(excluded)",
        "merger.claims.restore_run(excluded)",
        "after a restart they would give rows again",
        RESTORE,
    ),
    Fault(
        "guests-have-never-ended",
        "deduplicator/store/restoring.py",
        'ended=row["ended"])',
        "ended=False)",
        "after a restart a run that is over would claim on",
        RESTORE,
    ),
    Fault(
        "guests-are-never-excluded",
        "deduplicator/store/restoring.py",
        'run.excluded_from_ms = run.cover_to_ms if row["reason"] == CONFLICT else None',
        "run.excluded_from_ms = None",
        "late rows of a run that contradicted would be used",
        RESTORE,
    ),
    Fault(
        "lines-of-loaded-rows-are-not-known",
        "deduplicator/store/restoring.py",
        "    if missing:\n        await load_lines",
        "    if missing and not missing:\n        await load_lines",
        "rows of a market that is over would be held by nobody",
        RESTORE,
    ),
    Fault(
        "the-re-read-begins-a-batch-late",
        "deduplicator/sql/reading.sql",
        "SELECT min(batch) AS first",
        "SELECT min(batch) + 1 AS first",
        "after a restart the oldest rows that are not claimed yet would be called absent",
        ("tests/database/test_remembering.py",),
    ),
    Fault(
        "the-re-read-ends-a-batch-early",
        "deduplicator/sql/reading.sql",
        "batch <= $2 ORDER",
        "batch < $2 ORDER",
        "after a restart the newest rows that are not claimed yet would be called absent",
        ("tests/database/test_remembering.py",),
    ),
    Fault(
        "the-re-read-begins-at-the-fastest-slice",
        "deduplicator/sql/lanes.sql",
        "min(",
        "max(",
        "after a restart rows that a slower slice claims later would be called absent",
        ("tests/database/test_remembering.py",),
    ),
    Fault(
        "a-step-of-nobodys-epoch",
        "deduplicator/store/lease.py",
        "            if row is None:\n                raise self._fenced()\n            step = WriteStep",
        '            if row is None:\n                row = {"step": 0, "heals": 0}\n            step = WriteStep',
        "two deduplicators would write at once",
        ("tests/database/test_steps.py", "tests/database/test_storage.py"),
    ),
    Fault(
        "late-changes-are-not-noted-for-the-archive",
        "deduplicator/store/days.py",
        "late = np.nonzero((new.exchange_ms < now_ms - LATE_MS) & ~gone)[0]",
        "late = np.nonzero((new.exchange_ms < now_ms - DAY_MS) & ~gone)[0]",
        "the archive's books would lack late changes",
        LATE,
    ),
    Fault(
        "only-the-first-late-change-is-noted",
        "deduplicator/store/days.py",
        "last[:-1] = (market[1:] != market[:-1])",
        "last[1:] = (market[1:] != market[:-1])",
        "the archive's books would lack late changes",
        LATE,
    ),
)
