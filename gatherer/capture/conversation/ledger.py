"""The commands of a connection: their ids, which of them are unanswered, and how many may be sent. Pure.

One change of the subscriptions is awaited at a time. Books and proofs are never awaited: nothing follows from their
absence here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from common.contract.channels import ORDERBOOK
from gatherer.capture.conversation.actions import Action, Send
from gatherer.capture.conversation.budget import Budget

COMMANDS_MAX: Final = 1000
QUIET_FIRST_S: Final = 0.5
QUIET_MOST_S: Final = 8.0
ADD, DELETE, SUBSCRIBE, UNSUBSCRIBE = "add_markets", "delete_markets", "subscribe", "unsubscribe"
SNAPSHOT, PROBE = "get_snapshot", "probe"


@dataclass
class SentCommand:
    """A command that was sent. `late`: its effect is not awaited any more, but an answer would still be believed."""

    name: str
    sid: int = 0
    tickers: list[str] = field(default_factory=list)
    channels: set[str] = field(default_factory=set)
    sent_s: float = 0.0
    late: bool = False

    @property
    def adds(self) -> bool:
        """Whether markets are held when it has taken effect."""
        return self.name in (SUBSCRIBE, ADD)

    @property
    def changes(self) -> bool:
        """Whether it changes the subscriptions."""
        return self.name not in (SNAPSHOT, PROBE)

    def answered_by(self, channel: str) -> bool:
        """Whether `subscribed` to this channel shows that it has taken effect."""
        return self.adds and (channel in self.channels or (self.name == ADD and channel == ORDERBOOK))

    @property
    def channel(self) -> str:
        """The only one that it is about, or none."""
        return next(iter(self.channels)) if len(self.channels) == 1 else ""


class Ledger:
    """Of one connection."""

    def __init__(self, commands_per_s: float) -> None:
        self.last_id = 0
        self.unanswered: dict[int, SentCommand] = {}
        """By id; the oldest are forgotten."""
        self._awaited = 0
        """The id of the one change whose effect is awaited; 0: of none."""
        self._quiet_till_s = 0.0
        self._quiet_s = QUIET_FIRST_S
        self._budget = Budget(commands_per_s)

    @property
    def awaits(self) -> bool:
        """Whether the effect of a change is awaited."""
        return bool(self._awaited)

    def grant(self, commands: float) -> None:
        """The fleet wants something that takes so many commands."""
        self._budget.grant(commands)

    def send(self, command: SentCommand, params: dict[str, Any], now_s: float, reserve: int = 0) -> list[Action]:
        """One command, if the budget allows it; one that changes something is awaited."""
        if not self._budget.take(now_s, reserve):
            return []
        self.last_id += 1
        command.sent_s = now_s
        self.unanswered[self.last_id] = command
        if len(self.unanswered) > COMMANDS_MAX:
            del self.unanswered[next(iter(self.unanswered))]
        if command.changes:
            self._awaited = self.last_id
        cmd = command.name if command.name in (SUBSCRIBE, UNSUBSCRIBE) else "update_subscription"
        return [Send({"id": self.last_id, "cmd": SUBSCRIBE if command.name == PROBE else cmd, "params": params})]

    def answered(self, id_: int) -> None:
        """Nothing more is expected of this one."""
        self.unanswered.pop(id_, None)
        if id_ == self._awaited:
            self._awaited = 0

    def expect_more(self, id_: int, command: SentCommand) -> None:
        """It was answered in part: another answer is to come."""
        self.unanswered[id_], self._awaited = command, id_

    def overdue(self, now_s: float, reply_wait_s: float) -> SentCommand | None:
        """The awaited change, if its answer is overdue: it is awaited no more."""
        command = self.unanswered.get(self._awaited)
        if command is None or now_s <= command.sent_s + reply_wait_s:
            return None
        self._awaited = 0
        return command

    def forget_tickers(self, gone: set[str]) -> None:
        """A later answer to an add does not bring these back."""
        for command in self.unanswered.values():
            if command.adds:
                command.tickers = [ticker for ticker in command.tickers if ticker not in gone]

    # -- quiet -------------------------------------------------------------------------------------------------

    def be_quiet(self, now_s: float) -> float:
        """Error 27: nothing is sent for a while, longer each time it comes back; returns until when."""
        self._quiet_till_s = now_s + self._quiet_s
        self._quiet_s = min(self._quiet_s * 2, QUIET_MOST_S)
        return self._quiet_till_s

    def was_taken(self) -> None:
        """The exchange takes commands: the next quiet is a short one."""
        self._quiet_s = QUIET_FIRST_S

    def quiet(self, now_s: float) -> bool:
        """Whether nothing may be sent now."""
        return now_s < self._quiet_till_s
