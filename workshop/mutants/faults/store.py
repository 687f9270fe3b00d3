"""Faults of the reader and of production."""

from __future__ import annotations

from typing import Final

from workshop.mutants.fault import Fault

READER: Final = "deduplicator/reader.py"
PRODUCTION: Final = "deduplicator/production.py"
STORE: Final = ("tests/test_storage.py tests/test_steps.py", "tests/test_worlds_database.py")
READ: Final = ("tests/test_storage.py", "tests/test_worlds_process.py")

FAULTS: Final = (
    Fault(
        "a-missing-batch-is-passed-over",
        READER,
        'if row["batch"] != done + len(taken) + 1:',
        "if False:",
        "a batch that is gone would be skipped without a word",
        READ,
    ),
    Fault(
        "missing-rows-are-passed-over",
        READER,
        'if not dropped and len(copy.deltas) != sum(row["delta_rows"] for row in rows):',
        "if False:",
        "rows that are gone would be claimed",
        READ,
    ),
    Fault(
        "dropped-batches-are-read-as-whole",
        READER,
        "            hollow(copy)\n",
        "            pass\n",
        "what was dropped unread would be claimed",
        READ,
    ),
    Fault(
        "dropped-and-whole-are-read-together",
        READER,
        "total > self._limits.read_rows_max or not same",
        "total > self._limits.read_rows_max",
        "whole batches would be thrown away with dropped ones, or the other way round",
        READ,
    ),
    Fault(
        "numbers-of-another-instance",
        READER,
        "self._numbers = {}  # a machine",
        "pass  # a machine",
        "a gatherer that was rebuilt would write into other markets",
        READ,
    ),
    Fault(
        "a-dropped-stretch-seen-from-inside",
        "deduplicator/sql/read_dropped.sql",
        "AND to_batch > $2",
        "AND from_batch > $2",
        "the rest of a dropped stretch would be read as whole",
        READ,
    ),
    Fault(
        "the-cursor-moves-from-anywhere",
        "deduplicator/sql/move_cursor.sql",
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
        "nobody-is-fenced",
        "deduplicator/lease.py",
        'if await db.fetchval(SQL["lock_lease"], self.epoch) is None:',
        'if await db.fetchval(SQL["lock_lease"], self.epoch) == 0:',
        "two deduplicators would write at once",
        ("tests/test_steps.py tests/test_storage.py", "tests/test_checkpoints.py"),
    ),
    Fault(
        "healed-gaps-come-back",
        PRODUCTION,
        "SELECT * FROM store.gaps WHERE healed_at IS NULL",
        "SELECT * FROM store.gaps",
        "after a restart a healed gap would be listed in the state and not in production",
        STORE,
    ),
    Fault(
        "what-ended-runs-hold-is-forgotten",
        "deduplicator/sql/restore_held.sql",
        "WHERE r.ended AND r.cover_from < r.cover_to",
        "WHERE NOT r.ended AND r.cover_from < r.cover_to",
        "after a restart all that was claimed would be a gap",
        STORE,
    ),
    Fault(
        "open-runs-are-forgotten",
        "deduplicator/sql/restore_open.sql",
        "AND NOT r.ended AND",
        "AND r.ended AND",
        "after a restart nothing that is open would be claimed",
        STORE,
    ),
    Fault(
        "late-rows-of-gone-days-are-not-known",
        "deduplicator/sql/load_identities.sql",
        "UNION ALL SELECT market, exchange_ts, ordinal, side, price, delta FROM store.late_deltas) d",
        ") d",
        "late rows of a day that left production would be stored twice",
        ("tests/test_retention.py", "tests/test_storage.py"),
    ),
    Fault(
        "identities-of-the-floor-are-not-loaded",
        PRODUCTION,
        "await self.load_identities(merger, [], floor_ms, ms_of_datetime(newest) + 1)",
        "await self.load_identities(merger, [], floor_ms + 1, ms_of_datetime(newest) + 1)",
        "after a restart the changes of one millisecond would be stored twice",
        STORE,
    ),
    Fault(
        "identities-of-the-newest-are-not-loaded",
        PRODUCTION,
        "await self.load_identities(merger, [], floor_ms, ms_of_datetime(newest) + 1)",
        "await self.load_identities(merger, [], floor_ms, ms_of_datetime(newest))",
        "after a restart the newest changes would be stored twice",
        STORE,
    ),
    Fault(
        "a-checkpoint-survives-a-heal-at-its-place",
        "deduplicator/sql/drop_checkpoints.sql",
        "AND c.exchange_ts >= x.from_ts",
        "AND c.exchange_ts > x.from_ts + interval '1 hour'",
        "book_at would fold from a book that lacks healed changes",
        ("tests/test_checkpoints.py", "tests/test_heal.py"),
    ),
    Fault(
        "a-heal-goes-unnoticed",
        PRODUCTION,
        "if step.heals != self._heals:",
        "if step.heals < 0:",
        "the merge would go on with a state from before `fleet heal`",
        ("tests/test_heal.py", "tests/test_steps.py"),
    ),
    Fault(
        "placed-rows-stay-unplaced",
        "deduplicator/sql/remove_unplaced.sql",
        "(x.gatherer, x.session, x.sid, x.seq, x.run)\n",
        "(x.gatherer, x.session, x.sid, x.seq, x.run + 1)\n",
        "confirmed head rows would be shown as unplaced for ever",
        STORE,
    ),
)
