"""Which markets a subscription holds (rule 16), as commands and their answers show it.

A market is held from the answer to the command that added it until a command that deletes it, or that ends its
subscription, is sent. It is not held because a frame of it comes: late frames, answers to older commands and repairs
do not show that. Only what is held is remembered, so that a market which is over leaves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from common.exchange import frames
from gatherer.derive.messages import PAST_MS_MAX
from gatherer.derive.state import AwaitedAnswer, DerivationState, Run, SessionState, Slice

ASKED_MAX: Final = 10_000
FLOORS_MAX: Final = 100_000
SIDS_OVER_MAX: Final = 1000
SUBSCRIBE: Final = "subscribe"
UNSUBSCRIBE: Final = "unsubscribe"
ADD: Final = "add_markets"
DELETE: Final = "delete_markets"
SNAPSHOT: Final = "get_snapshot"


def sent(session: SessionState, command: frames.Command, wall_us: int) -> list[tuple[Slice, Run]]:
    """A command is on its way; returns the runs whose markets are not held from now on."""
    params = command.params
    sids = params.sids or ([params.sid] if params.sid is not None else [])
    asked = AwaitedAnswer(params.action or command.cmd, sids[0] if sids else 0, wall_us)
    session.asked[command.id] = asked
    session.sent = max(session.sent, command.id)
    if len(session.asked) > ASKED_MAX:
        del session.asked[next(iter(session.asked))]
    ended: list[tuple[Slice, Run]] = []
    if asked.action in (SUBSCRIBE, ADD):
        asked.tickers = params.market_tickers
        session.commanded = session.commanded or bool(asked.tickers)
        _part(session, sids, asked.tickers)
    elif asked.action == SNAPSHOT:
        asked.left = len(params.market_tickers)
        asked.tickers = params.market_tickers if session.unread else []
    elif asked.action == DELETE:
        session.commanded = True
        _forget_asked(session, set(params.market_tickers))
        asked.tickers = params.market_tickers
        for sid in sids:
            ended += _release(session, sid, params.market_tickers)
    elif asked.action == UNSUBSCRIBE:
        session.commanded = True
        _forget_asked(session, None)
        for sid in sids:
            ended += _release(session, sid, None)
    return ended


def answered(session: SessionState, head: frames.Envelope, sid: int) -> bool:
    """An `ok` or a `subscribed`, matched by its id alone if it has no number; whether it answers a command."""
    asked = session.asked.pop(head.id, None) if head.id is not None else None
    if asked is None:
        return False
    sid = sid or asked.sid
    slice_ = session.slices.get(sid)
    runs = slice_.runs if slice_ is not None else {}
    if asked.action == DELETE:
        for ticker in asked.tickers:
            if (run := runs.get(ticker)) is not None and not run.claiming:
                del runs[ticker]
    elif asked.action in (SUBSCRIBE, ADD) and sid and (head.type == "subscribed" or sid not in session.over):
        awaiting = session.awaiting.setdefault(sid, {})
        for ticker in asked.tickers:
            if (run := runs.get(ticker)) is None or not run.claiming:
                awaiting[ticker] = 0
    return True


def snapshot_came(session: SessionState, id_: int | None) -> None:
    """One book of those that a `get_snapshot` asked for."""
    asked = session.asked.get(id_) if id_ is not None else None
    if asked is not None and asked.action == SNAPSHOT:
        asked.left -= 1
        if asked.left <= 0:
            del session.asked[id_ or 0]


def begins(session: SessionState, sid: int, ticker: str, id_: int | None) -> int | None:
    """The floor of the run that a snapshot begins; None if its market is not held, or the snapshot may be a repeat."""
    if sid in session.over or may_repeat(session, sid, id_):
        return None
    awaiting = session.awaiting.get(sid)
    if awaiting is not None and ticker in awaiting:
        return awaiting.pop(ticker)
    if session.unread:
        # What was sent before is not known. Books are only asked for of markets that are held, and a delete that was
        # sent since has taken its markets out of the question.
        asked = session.asked.get(id_) if id_ is not None else None
        held = asked is not None and asked.action == SNAPSHOT and ticker in asked.tickers
    else:
        held = not session.commanded
    return 0 if held else None


def may_repeat(session: SessionState, sid: int, id_: int | None) -> bool:
    """Whether a book may be of a time before the numbers of its sid began again, and its market not held since.

    A lower number may have begun a repeat of what was seen, of any length. What answers a command that was sent after
    it, and comes for the first time, is none; coming once more, it would follow another lower number.
    """
    before = session.again.get(sid)
    if before is None or not (session.commanded or session.unread):
        return False
    asked = session.asked.get(id_) if id_ is not None and id_ > before else None
    return asked is None or asked.action != SNAPSHOT


def begin_again(session: SessionState, sid: int, runs: Iterable[Run]) -> None:
    """The numbers began again: each market that was held waits for a book that is asked for from now on."""
    session.again[sid] = session.sent
    awaiting = session.awaiting.setdefault(sid, {})
    awaiting.update((run.ticker, run.next_floor_ms) for run in runs)


def sid_over(session: SessionState, sid: int) -> None:
    """The subscription ended: what comes of it yet is late, and what was asked of it is not answered."""
    if sid not in session.over:
        session.over.append(sid)
    del session.over[:-SIDS_OVER_MAX]
    session.channels.pop(sid, None)
    session.awaiting.pop(sid, None)
    session.again.pop(sid, None)
    for id_ in [id_ for id_, asked in session.asked.items() if asked.sid == sid]:
        del session.asked[id_]


def stepped_back(state: DerivationState, run: Run, present_ms: int) -> None:
    """A market's exchange time stepped back: no run of the lane that begins from now on may claim what was passed.

    This is known until no change can have such a time any more.
    """
    state.floors.pop(run.ticker, None)
    state.floors[run.ticker] = run.next_floor_ms
    while state.floors:
        oldest = next(iter(state.floors))
        if len(state.floors) <= FLOORS_MAX and state.floors[oldest] >= present_ms - PAST_MS_MAX:
            return
        del state.floors[oldest]


def _release(session: SessionState, sid: int, tickers: list[str] | None) -> list[tuple[Slice, Run]]:
    """The runs of these markets (None: of all) of a sid; none of them is held any more."""
    slice_ = session.slices.get(sid)
    awaiting = session.awaiting.get(sid, {})
    if tickers is None:
        awaiting.clear()
        return [] if slice_ is None else [(slice_, run) for run in slice_.runs.values()]
    for ticker in tickers:
        awaiting.pop(ticker, None)
    if slice_ is None:
        return []
    return [(slice_, slice_.runs[ticker]) for ticker in tickers if ticker in slice_.runs]


def _part(session: SessionState, sids: list[int], tickers: list[str]) -> None:
    """Markets are added (to a sid, or to whichever has them) of which a delete may not be answered, and in effect all
    the same: from now on what comes of them need not continue what came before it."""
    for sid in sids or session.slices:
        if (slice_ := session.slices.get(sid)) is None:
            continue
        for ticker in tickers:
            if (run := slice_.runs.get(ticker)) is not None and not run.claiming:
                del slice_.runs[ticker]


def _forget_asked(session: SessionState, tickers: set[str] | None) -> None:
    """What was asked before of these markets (None: of all), and is answered later, has no effect."""
    for asked in session.asked.values():
        if asked.tickers and asked.action != DELETE:
            asked.tickers = [] if tickers is None else [t for t in asked.tickers if t not in tickers]
