"""All short streams: two symbols, three timestamps, and every pattern of losses of three copies."""

from __future__ import annotations

import itertools
import json
import random

import msgspec
import pytest

from deduplicator.merge import intervals
from deduplicator.merge.copies import Copy
from gatherer.derive import state
from gatherer.derive.derivation import Derivation
from gatherer.journal.format import Kind, Record, SessionOpened
from tests.support.scale import LONG
from tests.support.world import BOUNDS, START_MS, copy_of, held, merge, ticker

LENGTH = 4 if LONG else 3
FIRST_MS = START_MS + 1000
Stream = tuple[tuple[int, int], ...]
"""Millisecond after FIRST_MS, and which of two changes."""


def streams(length: int) -> list[Stream]:
    """Every order of two symbols at three timestamps that never decrease."""
    times = itertools.combinations_with_replacement(range(3), length)
    return [tuple(zip(t, s, strict=True)) for t in times for s in itertools.product((1, 2), repeat=length)]


def copies_of(stream: Stream, received: tuple[bool, ...]) -> Copy:
    """One gatherer that received some of the frames; the numbers of the others are missing."""
    derivation = Derivation(BOUNDS, state.fresh(1))
    seq = 0

    def frame(at_ms: int, type_: str, msg: dict[str, object], *, recorded: bool = True) -> None:
        nonlocal seq
        seq += 1
        if recorded:
            body = {"type": type_, "sid": 1, "seq": seq, "msg": msg, "sending_ts_ms": at_ms}
            derivation.apply(Record(Kind.FRAME, 1, at_ms * 1000, 0, json.dumps(body).encode()))

    opened = SessionOpened("orderbook", 1, "ws://x", clock_proven=True)
    derivation.apply(Record(Kind.OPENED, 1, START_MS * 1000, 0, msgspec.json.encode(opened)))
    frame(START_MS, "orderbook_snapshot", {"market_ticker": ticker(0)})
    for (ms, symbol), recorded in zip(stream, received, strict=True):
        change = {"price_dollars": "0.5000", "delta_fp": f"{symbol}.00", "side": "yes", "ts_ms": FIRST_MS + ms}
        frame(FIRST_MS + ms, "orderbook_delta", {"market_ticker": ticker(0), **change}, recorded=recorded)
    for later in (1000, 2000):
        frame(FIRST_MS + later, "ok", {})
    return copy_of(derivation.take(), 1, 1)


def truth_of(stream: Stream) -> dict[tuple[int, int, int], tuple[int, int, int]]:
    """Identities and contents."""
    counts: dict[int, int] = {}
    truth = {}
    for ms, symbol in stream:
        ordinal = counts.get(ms, 0)
        counts[ms] = ordinal + 1
        truth[(1, FIRST_MS + ms, ordinal)] = (0, 5000, 100 * symbol)
    return truth


@pytest.mark.parametrize("part", range(4))
def test_every_short_stream_with_every_pattern_of_losses(part: int) -> None:
    """Equal identity if and only if same true event; what is covered is stored; what was received is somewhere."""
    patterns = list(itertools.product((True, False), repeat=LENGTH))
    tried = 0
    for stream in streams(LENGTH)[part::4]:
        truth = truth_of(stream)
        made = {pattern: copies_of(stream, pattern) for pattern in patterns}
        for chosen in itertools.combinations_with_replacement(patterns, 3):
            tried += 1
            three = []
            for gatherer, pattern in enumerate(chosen, 1):
                copy = made[pattern]
                three.append([Copy(**{**copy.__dict__, "gatherer": gatherer})])
            merger, stored = merge(three, random.Random(tried))
            case = (stream, chosen)
            assert stored.deltas.items() <= truth.items(), case
            assert not stored.conflicts, case
            covered = held(merger, 1)
            unplaced = set(stored.unplaced.values())
            for number, identity in enumerate(truth):
                recorded = any(pattern[number] for pattern in chosen)
                if intervals.covers(covered, identity[1]):
                    assert identity in stored.deltas, case
                elif recorded:
                    assert identity in stored.deltas or identity[:2] in unplaced, case
            if all(chosen[0]):
                assert stored.deltas == truth and not stored.gaps, case
    assert tried > 1000
