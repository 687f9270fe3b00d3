"""Faults of the reader: batches, their chain, which one is at fault."""

from __future__ import annotations

from typing import Final

from workshop.mutants.fault import Fault

READER: Final = "deduplicator/reader.py"
READ: Final = ("tests/test_reader.py", "tests/test_chain.py", "tests/test_worlds_process.py")
CHAIN: Final = ("tests/test_chain.py::test_what_is_seen_by_the_last_batch_alone", "tests/test_chain.py")
SEARCH: Final = (
    "tests/test_narrowing.py -k a_search",
    "tests/test_narrowing.py -k nobodys",
    "tests/test_narrowing.py -k culprits",
    "tests/test_narrowing.py",
)

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
        "            strip_dropped_rows(copy)\n",
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
        "deduplicator/sql/read_dropped.sql",
        "AND to_batch > $2",
        "AND from_batch > $2",
        "the rest of a dropped stretch would be read as whole",
        READ,
    ),
    Fault(
        "a-chain-of-the-same-length-is-the-same",
        "deduplicator/chain.py",
        "if last.batch == place.batch and differ(last.digest, place.digest):",
        "if last.batch == place.batch and not differ(last.digest, place.digest) and False:",
        "a database that was put back and grew to the same number would go unnoticed",
        CHAIN,
    ),
    Fault(
        "a-shorter-chain-is-a-chain",
        "deduplicator/chain.py",
        "if last.batch < place.batch:",
        "if last.batch < place.batch - 1:",
        "one batch of a database that was put back would never be read",
        CHAIN,
    ),
    Fault(
        "a-chain-that-differs-is-read-on",
        READER,
        'if rows and differ(rows[0]["previous"], place.digest):',
        'if rows and differ(b"", place.digest):',
        "batches of another history would be skipped",
        READ,
    ),
    Fault(
        "any-failures-are-alike",
        "deduplicator/narrowing.py",
        "times + 1 if how == before else 1",
        "times + 1",
        "a bad network would begin a search for a culprit",
        SEARCH,
    ),
    Fault(
        "a-suspect-is-cleared-too-early",
        "deduplicator/narrowing.py",
        "suspect in group and stretch.last >= group[suspect].last",
        "suspect in group",
        "a culprit would be let go before its batch was tried",
        SEARCH,
    ),
    Fault(
        "a-search-without-an-end",
        "deduplicator/narrowing.py",
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
        ("tests/test_catch_up.py", "tests/test_worlds_process.py"),
    ),
)
