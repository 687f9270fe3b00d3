"""Which markets an order-book subscription is to have, and how far each has come. Pure.

A market is in one stage at a time, so that no command can be about one of which another asks the opposite. Nothing here
knows ids, numbers, the budget or what a frame looks like.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

DELETE_TRIES_MAX: Final = 3
COMING_SHARE: Final = 50
"""Of so many markets one may be on its way to its book: as many as are born in some seconds, far less than all."""


def few_of(coming: float, markets: int) -> bool:
    """Whether so many of the markets may be on their way."""
    return coming * COMING_SHARE <= markets


class MembershipStage(enum.Enum):
    """Of one market."""

    WAITING = enum.auto()
    """To be added."""
    ASKED = enum.auto()
    """Its add is sent."""
    HELD = enum.auto()
    REFUSED = enum.auto()
    """No command about it alone was taken: it is tried again later."""
    REJECTED = enum.auto()
    """The subscription is full: it is for another connection."""
    LEAVING = enum.auto()
    """Not wanted any more; its delete is to be sent."""
    DELETED = enum.auto()
    """Its delete is sent."""


WANTED: Final = (MembershipStage.WAITING, MembershipStage.ASKED, MembershipStage.HELD, MembershipStage.REFUSED)


@dataclass
class RefusedAdds:
    """A market whose adds were not taken: from now on with `most` in one command; alone at `due_s` at the earliest."""

    most: int
    silent: int = 0
    due_s: float = float("-inf")
    wait_s: float = 0.0


class Membership:
    """Of one connection."""

    def __init__(self, batch: int, refused_first_s: float) -> None:
        self.batch = batch
        """So many markets in one command; less when more were too many."""
        self._batch_wanted = batch
        self._first_s = refused_first_s
        self._stage: dict[str, MembershipStage] = {}
        self._in: dict[MembershipStage, dict[str, None]] = {stage: {} for stage in MembershipStage}
        self._since_s: dict[str, float] = {}
        """Of wanted markets that are not held: since when, the longest first."""
        self._trouble: dict[str, RefusedAdds] = {}
        self._perhaps: set[str] = set()
        """Of those that are not held: an add of them had no good answer, or a delete was not sent."""
        self._delete_tries: dict[str, int] = {}
        self._refused_last = False  # in turn with the others, so that neither waits for ever

    def _move(self, ticker: str, to: MembershipStage | None, now_s: float = 0.0) -> None:
        before = self._stage.get(ticker)
        if before is not None:
            del self._in[before][ticker]
        if to is None:
            self._stage.pop(ticker, None)
        else:
            self._stage[ticker] = to
            self._in[to][ticker] = None
        if to in (MembershipStage.WAITING, MembershipStage.ASKED, MembershipStage.REFUSED):
            self._since_s.setdefault(ticker, now_s)
        else:
            self._since_s.pop(ticker, None)
            self._trouble.pop(ticker, None)
            if to is not MembershipStage.REJECTED:
                self._perhaps.discard(ticker)

    # -- how it is ---------------------------------------------------------------------------------------------

    @property
    def rejected(self) -> list[str]:
        """Markets that are for another connection."""
        return list(self._in[MembershipStage.REJECTED])

    @property
    def refused(self) -> int:
        """Markets about which the exchange takes no command, however often it is asked."""
        return sum(trouble.wait_s > 0 for trouble in self._trouble.values())

    @property
    def wanted(self) -> bool:
        """Whether there is any market to be recorded here."""
        return any(self._in[stage] for stage in WANTED)

    @property
    def counts(self) -> tuple[int, int]:
        """How many wanted markets there are, and how many of them are not held yet, the refused ones apart."""
        return sum(len(self._in[stage]) for stage in WANTED), max(0, len(self._since_s) - self.refused)

    @property
    def whole(self) -> bool:
        """Whether every wanted market is held, but for those that are refused."""
        asked = self._in[MembershipStage.ASKED]
        return not self._in[MembershipStage.WAITING] and not self.rejected and all(self._is_refused(t) for t in asked)

    def late(self, now_s: float, wait_s: float) -> tuple[int, float]:
        """How many wanted markets are not held although they were asked for, and since when the first (0: none)."""
        first = next(iter(self._since_s.values()), now_s)
        if now_s - first <= wait_s:
            return 0, 0.0
        count = len(self._since_s) - self.refused
        return (count, now_s - first) if count > 0 else (0, 0.0)

    def _is_refused(self, ticker: str) -> bool:
        trouble = self._trouble.get(ticker)
        return trouble is not None and trouble.wait_s > 0

    # -- what the fleet wants ----------------------------------------------------------------------------------

    def want(self, tickers: Iterable[str], now_s: float) -> int:
        """Markets to be recorded from now on; returns how many of them are new."""
        new = 0
        for ticker in tickers:
            stage = self._stage.get(ticker)
            if stage in WANTED or stage is MembershipStage.REJECTED:
                continue
            self._move(ticker, MembershipStage.WAITING, now_s)
            if stage is MembershipStage.LEAVING:
                self._perhaps.add(ticker)
            new += 1
        return new

    def unwant(self, tickers: Iterable[str]) -> list[str]:
        """Markets that are over; returns those that were wanted."""
        gone = []
        for ticker in tickers:
            stage = self._stage.get(ticker)
            if stage in WANTED or stage is MembershipStage.REJECTED:
                # What may have been added leaves by a delete, even if nobody answered its add.
                may_be_held = stage in (MembershipStage.ASKED, MembershipStage.HELD) or ticker in self._perhaps
                self._move(ticker, MembershipStage.LEAVING if may_be_held else None)
                gone.append(ticker)
        return gone

    # -- adds --------------------------------------------------------------------------------------------------

    def next_adds(self, now_s: float, *, again: bool) -> list[str]:
        """The next markets for one command. `again`: also of those that were asked for in vain before."""
        due = self._next_refused(now_s) if again else []
        if due and not self._refused_last:
            return due
        waiting = self._in[MembershipStage.WAITING]
        fresh = list(islice((t for t in waiting if t not in self._trouble), self.batch))
        if fresh or not again:
            return fresh
        first = next(iter(waiting), None)
        if first is None:
            return due
        most = self._trouble[first].most
        return list(islice((t for t in waiting if self._trouble[t].most == most), min(self.batch, most)))

    def _next_refused(self, now_s: float) -> list[str]:
        return next(([t] for t in self._in[MembershipStage.REFUSED] if self._trouble[t].due_s <= now_s), [])

    def asked(self, tickers: list[str], now_s: float) -> None:
        """Their add is sent."""
        self._refused_last = any(self._stage.get(ticker) is MembershipStage.REFUSED for ticker in tickers)
        for ticker in tickers:
            self._move(ticker, MembershipStage.ASKED, now_s)

    def taken(self, tickers: Iterable[str]) -> list[str]:
        """The exchange has taken them; returns those that are held now, some of them until their delete is sent."""
        held = []
        for ticker in tickers:
            stage = self._stage.get(ticker)
            if stage in WANTED:
                self._move(ticker, MembershipStage.HELD)
            elif stage is not MembershipStage.LEAVING:
                continue
            held.append(ticker)
        return held

    def _still_asked(self, tickers: list[str]) -> list[str]:
        return [ticker for ticker in tickers if self._stage.get(ticker) is MembershipStage.ASKED]

    def not_answered(self, tickers: list[str], now_s: float, most_s: float) -> None:
        """Nobody knows whether they were taken: all others are asked for first, then half as many of them at a time."""
        asked = self._still_asked(tickers)
        for ticker in asked:
            trouble = self._trouble.setdefault(ticker, RefusedAdds(len(asked)))
            trouble.silent += 1
            if trouble.silent > 1:
                trouble.most = max(1, min(trouble.most, len(asked)) // 2)
            if len(asked) == 1 and trouble.silent > 1:
                self._refused(ticker, trouble, now_s, most_s)
            else:
                self._move(ticker, MembershipStage.WAITING, now_s)
            self._perhaps.add(ticker)

    def refuse(self, tickers: list[str], now_s: float, most_s: float) -> None:
        """They were not taken: half as many of them at a time, down to the one, which is tried later and later."""
        asked = self._still_asked(tickers)
        for ticker in asked:
            self._perhaps.add(ticker)  # what is answered need not be what was done
            trouble = self._trouble.setdefault(ticker, RefusedAdds(len(asked)))
            trouble.most = max(1, len(asked) // 2)
            if len(asked) == 1:
                self._refused(ticker, trouble, now_s, most_s)
            else:
                self._move(ticker, MembershipStage.WAITING, now_s)

    def _refused(self, ticker: str, trouble: RefusedAdds, now_s: float, most_s: float) -> None:
        trouble.wait_s = min(trouble.wait_s * 2, most_s) if trouble.wait_s else self._first_s
        trouble.due_s = now_s + trouble.wait_s
        self._move(ticker, MembershipStage.REFUSED, now_s)

    def postpone(self, tickers: list[str], now_s: float) -> None:
        """Nothing was done, and nothing is wrong with them: they are the next again."""
        for ticker in tickers:
            if self._stage.get(ticker) is MembershipStage.LEAVING:
                self._move(ticker, None)
        first = self._still_asked(tickers)
        for ticker in first:
            self._move(ticker, MembershipStage.WAITING, now_s)
        waiting = self._in[MembershipStage.WAITING]
        self._in[MembershipStage.WAITING] = {**dict.fromkeys(first), **waiting}

    def too_many(self, tickers: list[str], now_s: float) -> None:
        """Half as many from now on, down to one; if not even one is taken the subscription is full."""
        self.postpone(tickers, now_s)
        self._perhaps.update(ticker for ticker in tickers if self._stage.get(ticker) is MembershipStage.WAITING)
        if len(tickers) > 1:
            self.batch = max(1, len(tickers) // 2)
            return
        for ticker in list(self._in[MembershipStage.WAITING]):
            self._move(ticker, MembershipStage.REJECTED)
        self.batch = self._batch_wanted

    def try_all(self) -> None:
        """What was refused may be taken now."""
        for trouble in self._trouble.values():
            trouble.due_s = float("-inf")

    # -- deletes -----------------------------------------------------------------------------------------------

    @property
    def has_drops(self) -> bool:
        """Whether any delete is to be sent."""
        return bool(self._in[MembershipStage.LEAVING])

    def next_drops(self) -> list[str]:
        """The next markets to delete."""
        return list(islice(self._in[MembershipStage.LEAVING], self.batch))

    def deleted(self, tickers: Iterable[str]) -> None:
        """Their delete is sent: they are not held any more."""
        for ticker in tickers:
            self._move(ticker, MembershipStage.DELETED)

    def left(self, tickers: Iterable[str]) -> None:
        """Their delete is answered."""
        for ticker in tickers:
            if self._stage.get(ticker) is MembershipStage.DELETED:
                self._forget(ticker)

    def not_deleted(self, tickers: Iterable[str], *, counts: bool = True) -> None:
        """Their delete was not answered, or refused: it is sent again a few times; what comes then is late."""
        for ticker in tickers:
            if self._stage.get(ticker) is MembershipStage.DELETED:
                tries = self._delete_tries.get(ticker, 0) + counts
                if tries >= DELETE_TRIES_MAX:
                    self._forget(ticker)
                else:
                    self._delete_tries[ticker] = tries
                    self._move(ticker, MembershipStage.LEAVING)

    def _forget(self, ticker: str) -> None:
        self._delete_tries.pop(ticker, None)
        self._move(ticker, None)

    # -- the subscription ends ---------------------------------------------------------------------------------

    def lost(self, tickers: Iterable[str], now_s: float, *, perhaps: bool) -> None:
        """No subscription holds these any more; `perhaps` one does, which cannot be known."""
        for ticker in tickers:
            stage = self._stage.get(ticker)
            if stage in (MembershipStage.HELD, MembershipStage.ASKED):
                self._move(ticker, MembershipStage.WAITING, now_s)
                if perhaps:
                    self._perhaps.add(ticker)
            elif perhaps:
                self.not_deleted([ticker])
            elif stage in (MembershipStage.LEAVING, MembershipStage.DELETED):
                self._forget(ticker)

    def all_lost(self, now_s: float, *, perhaps: bool) -> None:
        """There is no subscription any more."""
        if not perhaps:
            self._perhaps.clear()
        for stage in (MembershipStage.HELD, MembershipStage.ASKED, MembershipStage.LEAVING, MembershipStage.DELETED):
            self.lost(list(self._in[stage]), now_s, perhaps=perhaps)
