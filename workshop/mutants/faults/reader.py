"""Faults of the reader: batches, their chain, which one is at fault."""

from __future__ import annotations

from typing import Final

from workshop.mutants.fault import Fault

READER: Final = "deduplicator/read/reader.py"
READ: Final = ("tests/database/test_reader.py", "tests/database/test_chain.py", "tests/fleet/test_worlds_process.py")
DROPPED: Final = ("tests/database/test_read_while_dropped.py",)
CHAIN: Final = (
    "tests/database/test_chain.py::test_what_is_seen_by_the_last_batch_alone",
    "tests/database/test_chain.py",
)
SEARCH: Final = (
    "tests/database/test_narrowing.py -k a_search",
    "tests/database/test_narrowing.py -k nobodys",
    "tests/database/test_narrowing.py -k culprits",
    "tests/database/test_narrowing.py",
)

FAULTS: Final = (
    Fault(
        "a-missing-batch-is-passed-over",
        READER,
        'if row["batch"] != (expected := done + len(taken) + 1):',
        "if (expected := 0):",
        "a batch that is gone would be skipped without a word",
        READ,
    ),
    Fault(
        "missing-rows-are-passed-over",
        READER,
        "if not dropped and (tables := _incomplete(rows, found)):",
        "if False:",
        "rows that are gone would be claimed",
        READ,
    ),
    Fault(
        "dropped-batches-are-read-as-whole",
        READER,
        "            self._strip(copy)\n",
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
        "self._forget_numbers()  # a machine",
        "pass  # a machine",
        "a gatherer that was rebuilt would write into other markets",
        READ,
    ),
    Fault(
        "a-dropped-stretch-seen-from-inside",
        "deduplicator/sql/reading.sql",
        "AND to_batch > $2",
        "AND from_batch > $2",
        "the rest of a dropped stretch would be read as whole",
        READ,
    ),
    Fault(
        "a-chain-of-the-same-length-is-the-same",
        "deduplicator/read/chain.py",
        "if last.batch == place.batch and differ(last.digest, place.digest):",
        "if last.batch == place.batch and not differ(last.digest, place.digest) and False:",
        "a database that was put back and grew to the same number would go unnoticed",
        CHAIN,
    ),
    Fault(
        "a-shorter-chain-is-a-chain",
        "deduplicator/read/chain.py",
        "if last.batch < place.batch:",
        "if last.batch < place.batch - 1:",
        "one batch of a database that was put back would never be read",
        CHAIN,
    ),
    Fault(
        "a-chain-that-differs-is-read-on",
        READER,
        'if follows and differ(rows[0]["previous"], place.digest):',
        'if follows and differ(b"", place.digest):',
        "batches of another history would be skipped",
        READ,
    ),
    Fault(
        "only-changes-are-counted",
        READER,
        '{"deltas": len(copy.deltas)} | {table: len(records) for table, records in fetched.items()}',
        '{"deltas": len(copy.deltas)}',
        "an hour that is dropped while it is read would lose trades and ends of runs",
        DROPPED,
    ),
    Fault(
        "a-chain-is-compared-across-what-is-gone",
        READER,
        "if follows and differ(",
        "if rows and differ(",
        "a production that was put back far would take what was dropped for a database that was put back",
        DROPPED,
    ),
    Fault(
        "what-is-gone-before-a-lane-is-waited-for",
        READER,
        'if not await self._db().fetchval(SQL["any_batch_before"], lane, batches.start):',
        "if False:",
        "a new production at an old gatherer would wait for ever",
        DROPPED,
    ),
    Fault(
        "the-first-unread-batch-is-the-oldest",
        "gatherer/sql/retention.sql",
        "b.batch > a.batch AND b.loaded_at",
        "b.batch = a.batch + 1 AND b.loaded_at",
        "unread rows would be dropped after a clock that was back",
        DROPPED,
    ),
    Fault(
        "what-comes-during-a-drop-is-unlisted",
        "gatherer/upkeep/retention.py",
        "        finally:\n            await self._list_unread(connection, limit)",
        "        finally:\n            pass",
        "a batch that went with its hour would be waited for for ever",
        DROPPED,
    ),
    Fault(
        "epochs-are-counted",
        "deduplicator/sql/lease.sql",
        "greatest(epoch + 1, ",
        "least(epoch + 1, ",
        "gatherers would refuse a production that was put back",
        ("tests/database/test_acknowledging.py",),
    ),
    Fault(
        "two-of-one-instance-are-read",
        "deduplicator/sources.py",
        "if other is not reader and other.instance == reader.instance:",
        "if False:",
        "a cloned gatherer would upset the merge of all",
        ("tests/database/test_chain.py -k one_instance",),
    ),
    Fault(
        "a-detached-hour-takes-rows",
        "common/storage/migrations/gatherer/0004_partitions.sql",
        "IF pending IS NOT FALSE THEN",
        "IF false THEN",
        "a clock that comes back to a dropped hour would have every batch refused",
        ("tests/database/test_local_storage.py -k stayed",),
    ),
    Fault(
        "any-failures-are-the-same",
        "deduplicator/read/narrowing.py",
        "times + 1 if how == before else 1",
        "times + 1",
        "a bad network would begin a search for a culprit",
        SEARCH,
    ),
    Fault(
        "a-suspect-is-cleared-too-early",
        "deduplicator/read/narrowing.py",
        "suspect in group and stretch.last >= group[suspect].last",
        "suspect in group",
        "a culprit would be let go before its batch was tried",
        SEARCH,
    ),
    Fault(
        "a-search-without-an-end",
        "deduplicator/read/narrowing.py",
        "if self._tries >= TRIES_MAX:",
        "if self._tries < 0:",
        "the merge would search for ever",
        SEARCH,
    ),
    Fault(
        "what-was-not-used-is-not-read-again",
        "deduplicator/sources.py",
        "        self._ahead[name] = dict(self._cursors[name])\n\n    async def _forget",
        "        pass\n\n    async def _forget",
        "a batch that was stalled would be skipped",
        ("tests/unit/deduplicator/test_catch_up.py", "tests/fleet/test_worlds_process.py"),
    ),
)
