"""What a session is made to send otherwise: messages that are lost, repeated, late, or bent."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from simulator.exchange import Message, compact


@dataclass
class Faults:
    """What is broken for this session at the moment."""

    drop: int = 0
    drop_channel: str | None = None
    duplicate: int = 0
    muted_until: float = 0.0
    stalled_until: float = 0.0
    stalled: list[bytes] = field(default_factory=list)
    quiet_add_until: float = 0.0
    late_until: float = 0.0
    market_limit: int = 0
    command_limit: int = 0
    omit: int = 0
    swap: int = 0
    shift: int = 0
    shift_ms: int = 0
    stale: int = 0
    unheld: str = "answered"
    renamed: int = 0
    retyped: int = 0
    answers: dict[str, str] = field(default_factory=dict)
    held: tuple[str, Message] | None = None

    def changes(self, ticker: str, message: Message) -> list[Message]:
        """A change as the session is to see it: as it is, unless an assumption is being broken on purpose."""
        if self.omit:
            self.omit -= 1
            return []
        if self.retyped:
            self.retyped -= 1
            message = retyped(message)
        if self.shift:
            self.shift -= 1
            message = shifted(message, self.shift_ms)
        if self.held is not None and self.held[0] == ticker:
            (_, held), self.held = self.held, None
            return [message, held]
        if self.swap and self.held is None:
            self.swap -= 1
            self.held = (ticker, message)
            return []
        return [message]

    def snapshot(self, message: Message, *, asked: bool) -> Message:
        """A book as the session is to see it; `asked` if a `get_snapshot` is answered."""
        if self.renamed:
            self.renamed -= 1
            message = renamed(message)
        if self.stale and asked:
            self.stale -= 1
            message = one_too_many(message)
        return message

    def times_sent(self, channel: str) -> int:
        """How often a numbered frame of a channel is sent: once, unless it is lost or repeated."""
        if self.drop_channel not in (None, channel):
            return 1
        if self.drop:
            self.drop -= 1
            return 0
        if self.duplicate:
            self.duplicate -= 1
            return 2
        return 1


def shifted(message: Message, by_ms: int) -> Message:
    """The same change with another time, in both of its forms."""

    def moved(body: bytes) -> bytes:
        fields = json.loads(body)
        fields["ts_ms"] += by_ms
        us = datetime.fromisoformat(fields["ts"]) + timedelta(milliseconds=by_ms)
        fields["ts"] = us.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return compact(fields)

    return Message(message.type, moved(message.body), moved(message.coarse))


def retyped(message: Message) -> Message:
    """The same change whose deprecated time is a number, as it became once."""
    body = re.sub(rb'"ts":"[^"]*"', b'"ts":1795780800', message.body)
    return Message(message.type, body, body)


def renamed(message: Message) -> Message:
    """The same snapshot whose levels have another name, as they had twice."""
    body = message.body.replace(b"_dollars_fp", b"_levels")
    return Message(message.type, body, body)


def one_too_many(message: Message) -> Message:
    """The same snapshot with a contract too many at one level."""
    fields = json.loads(message.body)
    levels = fields.get("yes_dollars_fp") or fields.get("no_dollars_fp")
    if not levels:
        return message
    levels[0][1] = f"{float(levels[0][1]) + 1:.2f}"
    return Message(message.type, compact(fields), compact(fields))
