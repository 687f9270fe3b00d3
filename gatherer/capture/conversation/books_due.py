"""Books that are to come, and when each is asked for next. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final

SNAPSHOT_TRIES_MAX: Final = 3
"""Books that do not come after so many tries are no reason to call the connection broken; they are asked for on."""
SNAPSHOT_WAIT_MOST_S: Final = 600.0
REPAIRS_MAX: Final = 5
"""So many repairs of all books of one connection within `repair_window`; the next one waits ..."""
REPAIRED_BOOKS_MAX: Final = 100
"""... unless they are of few markets: so many books cost little, and each moment without them may be a gap."""
_NEVER: Final = float("inf")


@dataclass
class Wanted:
    """A market whose book is to come: asked for `tries` times since `since_s`, again at `due_s`."""

    since_s: float
    due_s: float
    tries: int = 0


@dataclass(frozen=True)
class Repair:
    """So many books were asked for at once after a break."""

    at_s: float
    books: int


class BooksDue:
    """Of one connection."""

    def __init__(self, wait_s: float, repair_window_s: float) -> None:
        self._wait_s, self._window_s = wait_s, repair_window_s
        self._wanted: dict[str, Wanted] = {}
        self._due_s = _NEVER  # no book is due before
        self._repairs: deque[Repair] = deque()
        """Those of the last window."""

    @property
    def without(self) -> int:
        """Markets whose book does not come, however often it is asked for."""
        return sum(wanted.tries > SNAPSHOT_TRIES_MAX for wanted in self._wanted.values())

    @property
    def awaited(self) -> bool:
        """Whether any book may still come soon."""
        return any(wanted.tries <= SNAPSHOT_TRIES_MAX for wanted in self._wanted.values())

    def coming(self, since_s: float) -> float:
        """How many books may still come soon; no end of them if one of these was wanted before `since_s`."""
        coming = [wanted for wanted in self._wanted.values() if wanted.tries <= SNAPSHOT_TRIES_MAX]
        return _NEVER if any(wanted.since_s < since_s for wanted in coming) else len(coming)

    def taken(self, tickers: Iterable[str], now_s: float) -> None:
        """Markets that have just been added: their books come by themselves, or are asked for."""
        self._want({ticker: Wanted(now_s, now_s + self._wait_s, 1) for ticker in tickers})

    def broken(self, tickers: Iterable[str], now_s: float) -> bool:
        """No book of these is known any more: all are due, at once as long as that is seldom; returns whether."""
        wanted = dict.fromkeys(tickers)
        due_s = self._repair_s(len(wanted), now_s)
        at_once = due_s <= now_s
        if at_once:
            self._repairs.append(Repair(now_s, len(wanted)))
        # What was due before is not due sooner: the books that were asked for are of a time before the break.
        self._want({ticker: Wanted(now_s, due_s) for ticker in wanted})
        return at_once

    def _repair_s(self, count: int, now_s: float) -> float:
        """When so many books may be asked for."""
        while self._repairs and self._repairs[0].at_s + self._window_s <= now_s:
            self._repairs.popleft()
        asked = sum(repair.books for repair in self._repairs)
        most = max(REPAIRS_MAX * count, REPAIRED_BOOKS_MAX)
        for repair in self._repairs:
            if asked + count <= most:
                break
            asked, now_s = asked - repair.books, repair.at_s + self._window_s
        return now_s

    def _want(self, wanted: dict[str, Wanted]) -> None:
        self._wanted.update(wanted)
        self._due_s = min(self._due_s, min((one.due_s for one in wanted.values()), default=_NEVER))

    def came(self, ticker: str) -> None:
        """This one's did."""
        self._wanted.pop(ticker, None)

    def forget(self, tickers: Iterable[str]) -> None:
        """These are not held any more."""
        for ticker in tickers:
            self._wanted.pop(ticker, None)

    def postpone(self, till_s: float) -> None:
        """Nothing may be sent until then."""
        for wanted in self._wanted.values():
            wanted.due_s = max(wanted.due_s, till_s)

    def due(self, held: Container[str], now_s: float) -> list[str]:
        """Those of a subscription that are to be asked for now."""
        if now_s < self._due_s:
            return []
        return [ticker for ticker, wanted in self._wanted.items() if now_s >= wanted.due_s and ticker in held]

    def looked(self, now_s: float) -> None:
        """All that was due was asked for, or cannot be."""
        if now_s >= self._due_s:
            self._due_s = min((wanted.due_s for wanted in self._wanted.values()), default=_NEVER)

    def asked(self, tickers: Iterable[str], now_s: float) -> None:
        """They are asked for; at growing intervals, if they do not come."""
        for ticker in tickers:
            wanted = self._wanted.setdefault(ticker, Wanted(now_s, now_s))
            wanted.tries += 1
            waits = wanted.tries if wanted.tries <= SNAPSHOT_TRIES_MAX else 2.0 ** min(wanted.tries - 1, 40)
            wanted.due_s = now_s + min(self._wait_s * waits, SNAPSHOT_WAIT_MOST_S)
            self._due_s = min(self._due_s, wanted.due_s)

    def in_vain(self, tickers: Iterable[str], number_s: float) -> bool:
        """Whether one of these was asked for again and again, and no number of its subscription came since."""
        tried = (wanted for ticker in tickers if (wanted := self._wanted.get(ticker)) is not None)
        return any(wanted.tries >= SNAPSHOT_TRIES_MAX and number_s <= wanted.since_s for wanted in tried)
