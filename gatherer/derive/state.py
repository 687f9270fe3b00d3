"""What the derivation remembers between records. Everything here can be written down and read back.

Words as in the merge's page: a session is one connection's lifetime; a slice is an unbroken stretch of numbered
frames of one (session, sid); a run is one market's part of one slice.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

NEVER: Final = 1 << 62  # a cover_from that no exchange time reaches: the run claims nothing
ALL_MARKETS: Final = ""  # the one run of a channel that always carries every market
Book = dict[int, int]  # 2 * price + (1 for side no) -> size


class Watched(msgspec.Struct):
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

    `cover_from_ms`: from here on the run provably holds everything, and ordinals are known. `floor_ms`: it may
    never claim less (a step back of exchange time). `last_ms`, `count`: the present group and how many deltas it
    has had. `book` is the folded book, or None while unknown; then `net` is the sum of changes since the run
    began, and `net_at_base` that sum at `base_ms`, the first group with known ordinals.
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
    placed: bool = False
    net: Book | None = None
    net_at_base: Book | None = None
    base_ms: int = -1
    book_seq: int = 0
    book_us: int = 0
    watched: Watched | None = None


class Slice(msgspec.Struct):
    """An unbroken stretch of numbered frames of one sid."""

    slice: int
    sid: int
    channel: str
    next_seq: int
    horizon_ms: int = -1
    reported_ms: int = -1
    max_exchange_ms: int = -1
    disorder_ms: int = 0  # the most that an exchange time was behind the greatest before it
    lag_ms: int = 0  # the most that the sending (else receive) time was ahead of the exchange time
    sender_ms: int = 0  # the most that the sending time was behind the exchange time
    runs: dict[str, Run] = {}
    awaiting_first: list[str] = []  # runs that may claim by the first exchange time after their start
    awaiting_place: list[str] = []  # runs whose book has no place yet
    awaiting_rest: list[str] = []  # runs whose REST book is here and has not been met


class SessionState(msgspec.Struct):
    """One connection: its slices by sid, and the commands that explain what its frames mean."""

    session: int
    role: str
    clock_proven: bool = False
    channels: dict[int, str] = {}
    slices: dict[int, Slice] = {}
    sent_us: dict[int, int] = {}
    deleting: dict[int, list[str]] = {}
    deleted: dict[int, dict[str, bool]] = {}  # by sid, the latest last


class State(msgspec.Struct):
    """Everything: sessions, and the counter that numbers runs and slices."""

    counter: int
    sessions: dict[int, SessionState] = {}

    def next_number(self) -> int:
        """A number for a run or a slice, unique in the lane, the same at every reading of the journal."""
        self.counter += 1
        return self.counter


def fresh(segment: int) -> State:
    """The state at the head of a segment that continues nothing."""
    return State(counter=segment << 32)


def after_everything(second: int) -> int:
    """A number above all that segments up to this second can have given, below those of later ones."""
    return (second << 32) + (1 << 31)


def dump(state: State) -> bytes:
    """The state as bytes."""
    return zlib.compress(msgspec.msgpack.encode(state), 1)


def load(data: bytes) -> State:
    """The inverse of `dump`; raises `msgspec.MsgspecError` or `zlib.error` on damage."""
    return msgspec.msgpack.decode(zlib.decompress(data), type=State)
