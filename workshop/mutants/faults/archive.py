"""Faults of the archive: what is in an hour, its checks, when it is due, how it is replaced."""

from __future__ import annotations

from typing import Final

from workshop.mutants.fault import Fault

BOOKS: Final = "deduplicator/archive/books.py"
CHECKS: Final = ("tests/unit/deduplicator/test_archive_books.py", "tests/database/test_export.py")
EXPORT: Final = (
    "tests/database/test_export.py",
    "tests/database/test_stale_hours.py",
    "tests/database/test_export_faults.py",
)

FAULTS: Final = (
    Fault(
        "books-are-compared-across-a-gap",
        BOOKS,
        "same & ~books.is_reset[1:] & ~cut & ~excused",
        "same & ~books.is_reset[1:] & ~excused",
        "a listed gap would raise a false alarm",
        CHECKS,
    ),
    Fault(
        "books-are-compared-across-a-reset",
        BOOKS,
        "same & ~books.is_reset[1:] & ~cut & ~excused",
        "same & ~cut & ~excused",
        "a reset would raise a false alarm",
        CHECKS,
        "a reset is near itself: what is not compared near resets has it already",
    ),
    Fault(
        "books-are-not-compared-at-all",
        BOOKS,
        "np.diff(books.hash) != np.diff(sums)",
        "np.diff(books.hash) != np.diff(books.hash)",
        "a change that is missing in an hour would not be noticed",
        CHECKS,
    ),
    Fault(
        "late-rows-are-archived-twice",
        "deduplicator/archive/late.py",
        "        self._new[at[hit]] = False\n",
        "",
        "a row that came late again would be twice in the archive",
        ("tests/database/test_retention.py -k united", "tests/database/test_retention.py"),
    ),
    Fault(
        "late-contradictions-are-not-counted",
        "deduplicator/archive/late.py",
        "!= theirs[name] for name in CONTENT]",
        '!= theirs[name] for name in ("side", "price")]',
        "a late row of another size would contradict the archive without a word",
        ("tests/unit/deduplicator/test_archive_books.py",),
    ),
    Fault(
        "an-hour-has-the-next-ones-first",
        "deduplicator/archive/order.py",
        "within.max() < HOUR_MS",
        "within.max() <= HOUR_MS",
        "the first change of the next hour would be in this one",
        ("tests/unit/deduplicator/test_archive_books.py", "tests/unit/deduplicator/test_archive.py"),
    ),
    Fault(
        "tickers-in-another-order",
        "deduplicator/archive/order.py",
        "self.names = sorted(set(tickers))",
        "self.names = sorted(set(tickers), reverse=True)",
        "an hour would not be sorted as in the manifest",
        ("tests/unit/deduplicator/test_archive_books.py", "tests/database/test_export.py"),
    ),
    Fault(
        "an-hour-is-never-stale",
        "deduplicator/sql/export.sql",
        "AND (e.complete IS NOT TRUE OR e.step IS NULL OR t.step > e.step)",
        "AND (e.complete IS NOT TRUE OR e.step IS NULL)",
        "what comes later would never reach the archive",
        ("tests/database/test_stale_hours.py -k found_after_the_export", "tests/database/test_stale_hours.py"),
    ),
    Fault(
        "an-unfinished-hour-is-done-with",
        "deduplicator/archive/exporter.py",
        "        if finished:\n            await",
        "        if True:\n            await",
        "an hour that was exported before its end would stay as it was",
        ("tests/database/test_export.py -k not_over", *EXPORT),
    ),
    Fault(
        "objects-are-replaced-whatever-they-are",
        "deduplicator/archive/bucket.py",
        'return {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}',
        "return {}",
        "an older export could replace a newer one",
        ("tests/unit/deduplicator/test_archive.py -k lost_a_race", *EXPORT),
    ),
    Fault(
        "a-sealed-market-is-called-unsealed",
        "deduplicator/sql/export.sql",
        "AND c.sealed_until < $1\n",
        "AND c.sealed_until <= $1\n",
        "manifests would list markets that are whole",
        ("tests/database/test_export.py -k up_to_the_seal", *EXPORT),
    ),
    Fault(
        "trades-are-not-checked",
        "deduplicator/archive/whole.py",
        'if row["changes"] < row["trades"]:',
        'if row["changes"] < 0:',
        "a trade without its change would not be noticed",
        ("tests/database/test_export.py -k is_checked", *EXPORT),
    ),
    Fault(
        "a-day-that-is-dropped-is-an-empty-hour",
        "deduplicator/archive/hour.py",
        '            await db.execute(SQL["keep_days"])\n',
        "",
        "an hour whose day leaves meanwhile would be archived empty",
        ("tests/database/test_export.py -k dropped_while", *EXPORT),
    ),
)
