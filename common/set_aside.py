"""What failed among many: one bad entry costs itself only. It is set aside with its reason, tried again after a growing
wait, and the others continue.

Every loop over what others wrote (pages, rows, gaps, hours, days, markets, segments) guards each entry:

    for gap in gaps:
        with aside.one("trade_gap", gap.number):
            await fill(gap)

A failure that is not the entry's (nobody answers, three different entries fail one after the other) ends the
round as well.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import asyncpg

from common import log
from common.contract.aside import AsideEntry, AsideKind
from common.errors import DatabaseUnreachable, ExchangeError, Fenced, OddAnswer, StateOutdated, described
from common.storage.database import DATABASE_ERRORS, REFUSALS
from common.text import storable

FIRST_WAIT_S: Final = 2.0
MOST_WAIT_S: Final = 6 * 3600.0
SHARED_WAIT_S: Final = 60.0
"""The longest wait after a failure that may be nobody's own: once it is over, all is tried soon."""
IN_A_ROW_MAX: Final = 3
"""So many entries one after the other, each for a reason that may be nobody's own: the round ends."""
KEPT_MAX: Final = 200
"""Of each kind; the one that failed longest ago makes room."""
STALE_S: Final = 24 * 3600.0
"""Not tried again so long after it was due: it is not there any more."""
SHOWN_MAX: Final = 5
KEY_MAX: Final = 200
REASON_MAX: Final = 500
BUSY: Final = (asyncpg.LockNotAvailableError, asyncpg.ObjectNotInPrerequisiteStateError)
NOT_FOUND: Final = frozenset(range(400, 500)) - {401, 403, 429}


@dataclass
class SetAsideEntry:
    """One that failed. Times in seconds since 1970."""

    kind: str
    key: str
    reason: str
    first_s: float
    last_s: float
    tries: int
    retry_s: float


class SetAside:
    """What is set aside, by kind and key; in memory, of a bounded size."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._entries: dict[str, dict[str, SetAsideEntry]] = {}
        self._in_a_row: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        """By kind: entries that were set aside since the start, each once."""
        self.kept = False
        """Whether they are kept elsewhere too, by one that takes what is `touched`."""
        self.touched: set[tuple[str, str]] = set()
        """Entries that have changed, or are gone."""

    @contextlib.contextmanager
    def one(
        self, kind: str, key: object, first_wait_s: float = FIRST_WAIT_S, most_wait_s: float = MOST_WAIT_S
    ) -> Iterator[None]:
        """Guards the work on one entry. Passes on what concerns all of them; keeps back what is the entry's own."""
        try:
            yield
        except (Fenced, StateOutdated):
            raise
        except Exception as error:
            if is_own(error):
                self._in_a_row[kind] = 0
                self.note(kind, key, error, first_wait_s, most_wait_s)
                return
            self.note(kind, key, error, first_wait_s, min(most_wait_s, SHARED_WAIT_S))
            if isinstance(error, BUSY):
                return  # somebody works with this one: not for long, and the others may be free
            self._in_a_row[kind] += 1
            if is_lost(error) or self._in_a_row[kind] >= IN_A_ROW_MAX:
                self._in_a_row[kind] = 0
                raise
        else:
            self._in_a_row[kind] = 0
            self.mended(kind, key)

    def note(
        self,
        kind: str,
        key: object,
        reason: object,
        first_wait_s: float = FIRST_WAIT_S,
        most_wait_s: float = MOST_WAIT_S,
    ) -> None:
        """An entry failed (again)."""
        name, now = storable(str(key), KEY_MAX), int(self._clock() * 1000) / 1000  # as any database holds it
        text = described(reason) if isinstance(reason, BaseException) else str(reason)
        entries = self._entries.setdefault(kind, {})
        entry = entries.get(name)
        if entry is None:
            self.totals[kind] += 1
            if len(entries) >= KEPT_MAX:
                self._drop(min(entries.values(), key=lambda e: e.last_s))
            entry = entries[name] = SetAsideEntry(kind, name, "", now, now, 0, now)
        entry.reason, entry.last_s, entry.tries = storable(text, REASON_MAX), now, entry.tries + 1
        entry.retry_s = now + min(first_wait_s * 2 ** min(entry.tries - 1, 40), most_wait_s)
        self._touch(entry)
        log.get().error("set_aside", kind=kind, key=name, tries=entry.tries, error=entry.reason)

    def mended(self, kind: str, key: object) -> None:
        """An entry did not fail this time."""
        entries = self._entries.get(kind)
        entry = entries.get(storable(str(key), KEY_MAX)) if entries else None
        if entry is not None:
            self._drop(entry)
            log.get().info("set_aside_mended", kind=kind, key=entry.key, tries=entry.tries)

    def waits(self, kind: str, key: object) -> bool:
        """Whether it is too early to try an entry again."""
        entry = self._entries.get(kind, {}).get(storable(str(key), KEY_MAX))
        return entry is not None and entry.last_s <= self._clock() < entry.retry_s

    def waiting(self, kind: str) -> list[str]:
        """Keys of a kind that are not to be tried yet."""
        return [key for key in self._entries.get(kind, {}) if self.waits(kind, key)]

    def forget_stale(self) -> None:
        """What nobody has tried for long is not there any more."""
        now = self._clock()
        for entry in [e for entries in self._entries.values() for e in entries.values() if now > e.retry_s + STALE_S]:
            self._drop(entry)

    def restore(self, entries: Iterable[SetAsideEntry]) -> None:
        """What was set aside before the start; what has failed since stands."""
        for entry in entries:
            known = self._entries.setdefault(entry.kind, {})
            if len(known) < KEPT_MAX:
                known.setdefault(entry.key, entry)

    def entry(self, kind: str, key: str) -> SetAsideEntry | None:
        """One of them, if it is set aside."""
        return self._entries.get(kind, {}).get(key)

    def keys(self, kind: str) -> set[str]:
        """Keys of a kind, whether they wait or not."""
        return set(self._entries.get(kind, ()))

    def reason(self, kind: str, key: str) -> str:
        """Which one, and why it failed; empty if it did not."""
        entry = self.entry(kind, key)
        return f"{key}: {entry.reason}" if entry else ""

    def counts(self) -> dict[str, int]:
        """How many there are now, by kind; every kind that there ever was is named."""
        return {kind: len(entries) for kind, entries in sorted(self._entries.items())}

    def status(self) -> dict[str, AsideKind]:
        """For `/status`, by kind: counts, and those that failed last."""
        return {
            kind: AsideKind(
                now=len(entries),
                ever=self.totals[kind],
                some=[
                    AsideEntry(
                        key=e.key,
                        reason=e.reason,
                        first_at=_text(e.first_s),
                        last_at=_text(e.last_s),
                        tries=e.tries,
                        again_at=_text(e.retry_s),
                    )
                    for e in sorted(entries.values(), key=lambda e: -e.last_s)[:SHOWN_MAX]
                ],
            )
            for kind, entries in sorted(self._entries.items())
            if entries or self.totals[kind]
        }

    def _drop(self, entry: SetAsideEntry) -> None:
        del self._entries[entry.kind][entry.key]
        self._touch(entry)

    def _touch(self, entry: SetAsideEntry) -> None:
        if self.kept:
            self.touched.add((entry.kind, entry.key))


def is_lost(error: Exception) -> bool:
    """Whether nobody is there to work with, so that no other entry can do better now."""
    return isinstance(
        error,
        DatabaseUnreachable
        | asyncpg.InterfaceError
        | asyncpg.InternalClientError
        | asyncpg.PostgresConnectionError
        | asyncpg.CannotConnectNowError
        | asyncpg.TooManyConnectionsError
        | asyncpg.AdminShutdownError
        | asyncpg.CrashShutdownError,
    )


def is_own(error: Exception) -> bool:
    """Whether it is the entry's alone: anything but that a database, a bucket or the exchange is away.

    What an entry can do to its reader is not known beforehand.
    """
    if isinstance(error, ExchangeError):
        return isinstance(error, OddAnswer) or error.status in NOT_FOUND
    return isinstance(error, REFUSALS) or not isinstance(error, DATABASE_ERRORS)


def _text(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")
