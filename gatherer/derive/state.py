"""What the derivation remembers between records. Everything here can be written down and read back.

Words as in the merge's page: a session is one connection's lifetime; a slice is an unbroken stretch of numbered
frames of one (session, sid); a run is one market's part of one slice.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from common.levels import Book

LOOKED_NEVER: Final = 1 << 40
ALL_MARKETS: Final = ""  # the one run of a channel that always carries every market


class WatchedBook(msgspec.Struct):
    """A book that REST is asked for: the hash of the folded book now, and of every state since the watch began.

    Once the answer is here (`asked_hash`), only a state equal to it is waited for, until the stream is proven complete
    past the answer (`until_ms`).
    """

    hash: int
    seen: set[int]
    asked_hash: int | None = None
    began_us: int = 0
    until_ms: int = 0
    requested_us: int = 0
    answered_us: int = 0
    yes: list[int] = []
    no: list[int] = []


class Run(msgspec.Struct):
    """One market's part of a slice.

    `cover_from_ms`: from here on the run provably holds everything, and ordinals are known. `floor_ms`: it may never
    claim less: what a run before it has seen of the market lies below. `last_ms`, `count`: the present group and how
    many deltas it has had. `book` is the folded book, or None while unknown; it is the market's from `book_from_ms` on,
    and nobody knows of before. `looked_ms`: its time when it was last looked at for being crossed.
    """

    run: int
    ticker: str
    cover_from_ms: int
    floor_ms: int = 0
    last_ms: int = -1
    count: int = 0
    known: bool = False
    claiming: bool = True
    book: Book | None = None
    book_from_ms: int = 0
    placed: bool = False
    book_seq: int = 0
    book_us: int = 0
    watched: WatchedBook | None = None
    looked_ms: int = -LOOKED_NEVER

    @property
    def next_floor_ms(self) -> int:
        """The least that a run after this one may claim."""
        return max(self.floor_ms, self.last_ms + 1)

    def claim_from(self, ms: int) -> bool:
        """Let it claim from an earlier time on, down to its floor; whether that changed anything."""
        lowered = max(ms, self.floor_ms)
        if not self.claiming or lowered >= self.cover_from_ms:
            return False
        self.cover_from_ms = lowered
        return True


class Slice(msgspec.Struct):
    """An unbroken stretch of numbered frames of one sid."""

    slice: int
    sid: int
    channel: str
    next_seq: int
    begun_us: int = 0
    seen_us: int = 0  # when its last change was received
    horizon_ms: int = -1
    reported_ms: int = -1
    max_exchange_ms: int = -1
    disorder_ms: int = 0  # the most that an exchange time was before the greatest so far
    lag_ms: int = 0  # the most that the sending (else receive) time was ahead of the exchange time
    sender_ms: int = 0  # the most that the sending time was before the exchange time
    runs: dict[str, Run] = {}
    awaiting_first: list[str] = []  # runs that may claim by the first exchange time after their start
    awaiting_place: dict[str, bool] = {}  # runs whose book has no place yet, the latest last
    awaiting_rest: list[str] = []  # runs whose REST book is here and has not been met
    strays: dict[str, bool] = {}  # runs of changes of markets that are not held, the latest last


class AwaitedAnswer(msgspec.Struct):
    """A command whose answer is awaited: `left` frames. `tickers`: the markets of which it changes something."""

    action: str
    sid: int
    sent_us: int
    left: int = 1
    tickers: list[str] = []


class SessionState(msgspec.Struct):
    """One connection: its slices by sid, and what its commands and their answers state of its markets.

    A market is held if its run claims, or if it is `awaiting` its book (by sid; with the floor of its run): nothing is
    kept of one that is not. `commanded`: commands show what is held; frames alone do not. `over`: sids that
    ended. `sent`: the greatest id of a command so far. `again`: sids whose numbers began again, with what `sent` was.
    """

    session: int
    role: str
    clock_proven: bool = False
    channels: dict[int, str] = {}
    slices: dict[int, Slice] = {}
    asked: dict[int, AwaitedAnswer] = {}
    awaiting: dict[int, dict[str, int]] = {}
    over: list[int] = []
    commanded: bool = msgspec.field(default=False, name="told")  # stored under its old name
    sent: int = 0
    again: dict[int, int] = {}

    @property
    def unread(self) -> bool:
        """Whether its beginning was not read: what it holds is not known."""
        return not self.role


class DerivationState(msgspec.Struct):
    """Everything: sessions, the counter that numbers runs and slices, and of markets whose exchange time stepped back
    the least time that a new run may claim."""

    counter: int
    sessions: dict[int, SessionState] = {}
    floors: dict[str, int] = {}

    def next_number(self) -> int:
        """A number for a run or a slice, unique in the lane, the same at every reading of the journal."""
        self.counter += 1
        return self.counter


def fresh(segment: int) -> DerivationState:
    """The state at the head of a segment that continues nothing."""
    return DerivationState(counter=segment << 32)


def after_everything(second: int) -> int:
    """A number above all that segments up to this second can have given, below those of later ones."""
    return (second << 32) + (1 << 31)


def dump(state: DerivationState) -> bytes:
    """The state as bytes."""
    return zlib.compress(msgspec.msgpack.encode(state), 1)


def load(data: bytes) -> DerivationState:
    """The inverse of `dump`; raises `msgspec.MsgspecError` or `zlib.error` on damage."""
    return msgspec.msgpack.decode(zlib.decompress(data), type=DerivationState)
