"""The tree of errors that an operator can meet.

Every error of the fleet derives from `FleetError`, carries the fields it speaks of, and knows whether trying
again can help (`retryable`). The message is written for the person who reads it at night: what is wrong, where,
and what mends it.

    FleetError
      ConfigError            a configuration file that cannot be used; exit code 2
        ConfigErrors         several things wrong with it, a line each
      NumberError            text of the exchange that is no exact number of the expected scale
      ExchangeError          the exchange said no
        AuthenticationError  the exchange refused the key, the signature or the clock
        RateLimited          the exchange asked to slow down
        ExchangeUnavailable  no usable answer
        OddAnswer            an answer without what was asked for
      Fenced                 another deduplicator holds the lease; no StorageError: nothing tries it again
      StorageError
        DatabaseUnreachable  nobody answers at the database's address, or not now
        SchemaMismatch       the database's schema is older or newer than the code
        EmbeddedServerError  the project's own PostgreSQL did not start
        StateOutdated         production was written by somebody who may: make the state again from it
        WriteConflict        an object of the archive is not as it was when the data to replace it was read
        QueryRefused         a person's statement that writes, or that the database does not understand; exit code 2
        QueryTooLong         a person's statement that took longer than it may
      StatusError            what answers at an address is no state of a gatherer or deduplicator
      FeedError              the feed of production cannot be followed from where its reader is
        FeedPassed           the reader's place is older than what is kept
        FeedReplaced         production is not the one that was read
      JournalError
        JournalCorrupt       a sealed segment does not read
        JournalInUse         another gatherer has the journal's folder; exit code 2
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence


class FleetError(Exception):
    """Root of all errors that the fleet raises on purpose."""

    retryable = False


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The most telling error of a group: the first of the fleet's own, else the first."""
    ours = group.subgroup(FleetError)
    inner = (ours or group).exceptions[0]
    return first_error(inner) if isinstance(inner, BaseExceptionGroup) else inner


def described(error: BaseException) -> str:
    """An error as logs and `/status` show it: its kind and its message."""
    return f"{type(error).__name__}: {error}"


class ConfigError(FleetError):
    """A configuration that cannot be used. `str(error)` is one line: file, line, key, cure."""

    def __init__(self, file: str, line: int | None, key: str, problem: str) -> None:
        self.file, self.line, self.key, self.problem = file, line, key, problem
        where = f"{file}:{line}" if line is not None else file
        super().__init__(f"{where}: {key}: {problem}" if key else f"{where}: {problem}")


class ConfigErrors(ConfigError):
    """All that is wrong with a configuration, a line each."""

    def __init__(self, faults: Sequence[ConfigError]) -> None:
        first = faults[0]
        super().__init__(first.file, first.line, first.key, first.problem)
        self.faults = tuple(faults)
        self.args = ("\n".join(map(str, faults)),)


class NumberError(FleetError, ValueError):
    """Text that is no exact number of the expected scale."""


class ExchangeError(FleetError):
    """The exchange answered with an error."""

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class AuthenticationError(ExchangeError):
    """The exchange refused the key, the signature or the clock."""


class RateLimited(ExchangeError):
    """HTTP 429: too many requests."""

    retryable = True


class ExchangeUnavailable(ExchangeError):
    """No usable answer: connection refused, cut or 5xx."""

    retryable = True


class StatusError(FleetError):
    """What answers at an address is no `/status` of a gatherer or deduplicator."""

    def __init__(self, address: str, problem: str) -> None:
        self.address, self.problem = address, problem
        self.text = f"no state of a gatherer or deduplicator: {problem}"
        super().__init__(f"{address}: {self.text}")


class Fenced(FleetError):
    """Another deduplicator has taken the lease: this one must stop, whatever else is tried again."""


class StorageError(FleetError):
    """A database cannot be used as asked."""


class DatabaseUnreachable(StorageError):
    """Nobody answers at the database's address, or not now: later somebody may."""

    retryable = True


class SchemaMismatch(StorageError):
    """The database's schema is older or newer than the code."""


class EmbeddedServerError(StorageError):
    """The project's own PostgreSQL did not start."""


class StateOutdated(StorageError):
    """Production was changed by somebody who may: the state must be made again from it."""

    retryable = True


class WriteConflict(StorageError):
    """An object is not as it was when the data to replace it was read. `status`: the answer's of HTTP."""

    retryable = True

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class QueryRefused(StorageError):
    """A person's statement that writes, or is none that the database understands."""


class QueryTooLong(StorageError):
    """A person's statement took longer than it may."""

    retryable = True

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"the answer took longer than {seconds:g} s: narrow it by ticker and time, or give it longer with --timeout"
        )


class FeedError(FleetError):
    """The feed cannot be followed from where its reader is."""


class FeedPassed(FeedError):
    """The reader's place is older than what is kept: it must begin again from an exact start, or read `archived`, the
    object of the archive with the step after its place, and those that follow."""

    def __init__(self, place: int, oldest: int, archived: str | None = None) -> None:
        self.place, self.oldest, self.archived = place, oldest, archived
        what = "begin again"
        if archived is not None:
            what += f", or read what is older in the archive, from {archived} on"
        super().__init__(f"step {place + 1} is no longer in the feed; its oldest step is {oldest}: {what}")


class FeedReplaced(FeedError):
    """Production is not the one that was read: it was put back, or is another one."""

    def __init__(self, place: int, problem: str) -> None:
        self.place = place
        super().__init__(f"the feed was read up to step {place}, and {problem}: begin again")


class OddAnswer(ExchangeError):
    """An answer without what was asked for: null, or something else, where a list must be. Never an empty list."""


class JournalError(FleetError):
    """The journal cannot be written or read."""


class JournalCorrupt(JournalError):
    """A part of the journal that must be readable is not."""


class JournalInUse(JournalError):
    """Another gatherer writes this journal."""

    def __init__(self, folder: str, holder: str) -> None:
        self.folder, self.holder = folder, holder
        super().__init__(f"{folder} belongs to a gatherer that runs (process {holder}): give each its own journal.dir")
