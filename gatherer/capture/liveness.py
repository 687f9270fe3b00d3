"""Whether a socket lives. Pure.

It is judged by anything that is received, answers to our own ping included. One is sent before the socket is given up:
an exchange that has nothing to send, not even pings, is silent and not dead.
"""

from __future__ import annotations

import enum
from typing import Final

PING_SHARE: Final = 0.6
"""Of the silence after which a socket is given up: then we ask."""


class Look(enum.Enum):
    """What is to be done."""

    NOTHING = enum.auto()
    PING = enum.auto()
    GIVE_UP = enum.auto()


class Liveness:
    """Of one socket."""

    def __init__(self, silence_s: float) -> None:
        self._ask_s = silence_s * PING_SHARE
        self._answer_s = silence_s - self._ask_s
        self._pinged_s = float("-inf")

    def look(self, now_s: float, received_s: float) -> Look:
        """`received_s`: when anything was received last."""
        if received_s > self._pinged_s:
            if now_s - received_s <= self._ask_s:
                return Look.NOTHING
            self._pinged_s = now_s
            return Look.PING
        return Look.GIVE_UP if now_s - self._pinged_s > self._answer_s else Look.NOTHING
