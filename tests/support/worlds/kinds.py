"""What may go wrong in a world. Each kind names the rule of the merge's page by which it is judged."""

from __future__ import annotations

import os
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """A kind of trouble; `off`: why no seed has it yet."""

    name: str
    rule: str
    off: str = ""


KINDS: Final = (
    Kind("losses", "1, 5: frames are lost on the way"),
    Kind("cuts", "5, 6: connections break, and come back"),
    Kind("outages", "5: no gatherer has a connection"),
    Kind("crashes", "1: a worker dies, and its journal is cut off"),
    Kind("stalls", "1, 5: publication stops nearly as long as the bounds of lag and disorder allow"),
    Kind("stamps", "1, 8: sending times are early or late by nearly the sender bound"),
    Kind("births", "5, 16: markets are born, added, and deleted while they live"),
    Kind("moves", "5: a market moves to another connection of the same gatherer"),
    Kind("overlaps", "2, 14: a market is held on two connections of one gatherer"),
    Kind("answers", "16: an `ok` is late, not numbered, or never comes"),
    Kind("late_frames", "16: frames of a market come after its delete, and of a sid after its `unsubscribed`"),
    Kind("quiet_adds", "1: an added market is sent no snapshot"),
    Kind("late_snapshots", "15: books that are asked for come late, or not at all"),
    Kind("repeats", "17: frames come twice"),
    Kind("replays", "17: the last frames come once more"),
    Kind("renumbering", "17: numbers begin again on the same sid"),
    Kind("terminal", "B.2: errors that end a subscription"),
    Kind("resets", "9: a pause empties a book without changes"),
    Kind("closes", "9, 15: a close empties the book, the empty snapshot comes later"),
    Kind(
        "step_back",
        "9b, 19: exchange time runs backwards inside a market",
    ),
    Kind("odd_tickers", "B.9: tickers with any printable character, of any length"),
    Kind("poison", "10: frames that cannot become a row"),
    Kind("late_copies", "7: a gatherer is read when all others are through"),
    Kind("old_copies", "12: and what it recorded is up to a year old by then"),
    Kind("detached", "7: what is old has left production for the archive, and copies of it still come"),
    Kind(
        "restores",
        "11, 18: the merge is made again from production; its memory is short",
    ),
    Kind("reread", "13: a lane that was put back is read again"),
    Kind("dropped", "5: batches that were dropped before they were read"),
    Kind("wrong_copy", "3, 14: one gatherer's times are wrong, and it is listed"),
)
NAMES: Final = frozenset(kind.name for kind in KINDS)


def enabled() -> list[str]:
    """The kinds that worlds have: those that are on, or what FLEET_KINDS names."""
    asked = os.environ.get("FLEET_KINDS")
    if asked is None:
        return [kind.name for kind in KINDS if not kind.off]
    wanted = [name for name in asked.split(",") if name]
    assert NAMES.issuperset(wanted), f"no such kind: {sorted(set(wanted) - NAMES)}"
    return wanted
