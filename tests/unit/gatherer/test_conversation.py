"""The conversation with an exchange that answers as documented, but for one thing: what it costs, and what it does not.

Each test is a case that was found; `test_any_answer` looks for more of their kind.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from common.contract.channels import OF_ROLE
from common.exchange import frames
from gatherer.capture.conversation.actions import Action, Broken, Send, Surprise, Times
from gatherer.capture.conversation.conversation import Conversation
from gatherer.crew.sharding import FULL_FIRST_S, Sharding

TIMES = Times(snapshot_wait=2, reply_wait=10, idle_probe=10, audit=3600)
BOOK = "orderbook_delta"


class Sub:
    """A sid at the exchange; `mute`: nothing comes of it any more."""

    def __init__(self, sid: int, channel: str) -> None:
        self.sid, self.channel, self.seq, self.mute = sid, channel, 0, False
        self.tickers: dict[str, None] = {}


class Exchange:
    """One connection to an exchange that answers as documented, unless `fault` deals with a command."""

    def __init__(self, role: str = "orderbook", batch: int = 10, flow_s: float = 1.0, times: Times = TIMES) -> None:
        self.role, self.flow_s = role, flow_s
        self.talk = Conversation(role, times, batch)
        self.now_s = 0.0
        self.subs: dict[int, Sub] = {}
        self.sent: list[tuple[float, str, list[str]]] = []
        self.broken: list[Broken] = []
        self.fault: Callable[[str, dict[str, Any]], bool] = lambda name, command: False
        self._sids = self._count = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, wait_s: float, action: Callable[[], None]) -> None:
        """After a while."""
        self._count += 1
        heapq.heappush(self._due, (self.now_s + wait_s, self._count, action))

    def start(self, markets: int = 0) -> Exchange:
        """Dialled, with so many markets, and a minute later."""
        self._take(self.talk.start([f"M{n}" for n in range(markets)], 0.0))
        self.at(self.flow_s or 1e9, self._flow)
        return self.run(60)

    def run(self, for_s: float) -> Exchange:
        """Time passes."""
        end_s = self.now_s + for_s
        while self.now_s < end_s:
            tick_s = (int(self.now_s * 2) + 1) / 2
            while self._due and self._due[0][0] <= tick_s:
                self.now_s, _, action = heapq.heappop(self._due)
                action()
            self.now_s = tick_s
            self._take(self.talk.tick(self.now_s))
        return self

    def add(self, *markets: str) -> None:
        """The fleet wants these."""
        self._take(self.talk.add(markets, self.now_s))

    def remove(self, *markets: str) -> None:
        """And these no longer."""
        self._take(self.talk.remove(markets, self.now_s))

    def send(self, type_: str, **fields: Any) -> None:
        """A frame."""
        self._take(self.talk.frame(frames.HEAD.decode(json.dumps({"type": type_, **fields})), self.now_s))

    def number(self, sub: Sub, type_: str, **fields: Any) -> None:
        """A numbered frame."""
        if not sub.mute:
            sub.seq += 1
            self.send(type_, sid=sub.sid, seq=sub.seq, **fields)

    def count(self, name: str, since_s: float = 60.0) -> int:
        """How often a command was sent."""
        return sum(sent == name and at >= since_s for at, sent, _ in self.sent)

    @property
    def streamed(self) -> set[str]:
        """Markets of which changes come."""
        return {ticker for sub in self.subs.values() if not sub.mute for ticker in sub.tickers}

    @property
    def well(self) -> bool:
        """Whether all is as it should be."""
        return self.talk.healthy and not self.talk.unproven(self.now_s)

    def answer(self, name: str, command: dict[str, Any], *, acknowledged: bool = True) -> None:
        """As documented; if not `acknowledged` it is done without an answer."""
        params, id_ = command["params"], command["id"]
        tickers = params.get("market_tickers", [])
        if name == "subscribe":
            for channel in params["channels"]:
                sub = next((s for s in self.subs.values() if s.channel == channel), None)
                if sub is None:
                    self._sids += 1
                    sub = self.subs[self._sids] = Sub(self._sids, channel)
                    if acknowledged:
                        self.send("subscribed", id=id_, msg={"channel": channel, "sid": sub.sid})
                elif acknowledged:
                    self.number(sub, "ok", id=id_, msg={})
                self._added(sub, tickers)
            return
        sub = self.subs.get(params["sids"][0])
        if sub is None:
            if acknowledged:
                self.send("error", id=id_, msg={"code": 7, "msg": "Unknown subscription ID"})
        elif name == "get_snapshot":
            for ticker in tickers:
                self.number(sub, "orderbook_snapshot", id=id_, msg={"market_ticker": ticker})
        elif name == "unsubscribe":
            if acknowledged:
                self.number(sub, "unsubscribed", id=id_)
            del self.subs[sub.sid]
        else:
            if acknowledged:
                self.number(sub, "ok", id=id_, msg={})
            if name == "add_markets":
                self._added(sub, tickers)
            for ticker in tickers if name == "delete_markets" else ():
                sub.tickers.pop(ticker, None)

    def _added(self, sub: Sub, tickers: list[str]) -> None:
        new = [ticker for ticker in tickers if ticker not in sub.tickers]
        sub.tickers.update(dict.fromkeys(new))
        for ticker in new:
            self.number(sub, "orderbook_snapshot", msg={"market_ticker": ticker})

    def _take(self, actions: list[Action]) -> None:
        for action in actions:
            assert not isinstance(action, Surprise), action
            if isinstance(action, Broken):
                self.broken.append(action)
                continue
            assert isinstance(action, Send)
            command = action.command
            name = command["params"].get("action", command["cmd"])
            self.sent.append((self.now_s, name, command["params"].get("market_tickers", [])))
            self.at(0.02, partial(self._command, name, command))

    def _command(self, name: str, command: dict[str, Any]) -> None:
        if not self.fault(name, command):
            self.answer(name, command)

    def _flow(self) -> None:
        for sub in list(self.subs.values()):
            if sub.channel == BOOK:
                for ticker in list(sub.tickers)[:1]:
                    self.number(sub, BOOK, msg={"market_ticker": ticker})
            elif sub.channel == "ticker":
                self.send("ticker", sid=sub.sid, msg={})
            else:
                self.number(sub, sub.channel, msg={})
        self.at(self.flow_s, self._flow)


# -- a subscription that is gone -------------------------------------------------------------------------------


def test_a_subscription_whose_publisher_died_is_replaced() -> None:
    """All its books are there, nothing is missing, and nothing comes: three probes in vain are enough."""
    exchange = Exchange().start(25)
    for sub in exchange.subs.values():
        sub.mute = True
    exchange.run(300)
    assert len(exchange.streamed) == 25 and exchange.well and exchange.count("unsubscribe") >= 1


def test_a_subscription_that_the_exchange_has_lost_is_replaced() -> None:
    """Error 7 to a probe, a snapshot or an add of that sid; not while its numbers come."""
    exchange = Exchange().start(25)
    exchange.subs.clear()
    exchange.run(30)
    assert len(exchange.streamed) == 25 and exchange.well
    exchange.subs.clear()
    exchange.add("NEW")
    exchange.run(120)
    assert len(exchange.streamed) == 26 and exchange.well
    alive = Exchange().start(25)

    def fault(name: str, command: dict[str, Any]) -> bool:
        if name == "add_markets":
            alive.at(2.0, lambda: alive.send("error", id=command["id"], msg={"code": 7}))
        return name == "add_markets"

    alive.fault = fault
    alive.add("NEW")
    alive.run(100)
    assert not alive.count("subscribe") and len(alive.streamed) == 25


@pytest.mark.parametrize("how", ["silent", "ok", "subscribed", "error"])
def test_an_unsubscribe_that_is_answered_otherwise_loses_no_market(how: str) -> None:
    """In effect or not; few commands, and all is well when the exchange answers as documented again."""
    exchange = Exchange().start(25)
    exchange.subs[1].mute = True

    def fault(name: str, command: dict[str, Any]) -> bool:
        if name != "unsubscribe":
            return False
        if how in ("silent", "ok"):
            exchange.answer(name, command, acknowledged=False)
        if how == "ok":
            exchange.send("ok", id=command["id"], msg={})
        elif how == "subscribed":
            exchange.send("subscribed", id=command["id"], msg={"channel": BOOK, "sid": 1})
        elif how == "error":
            exchange.send("error", id=command["id"], msg={"code": 26})
        return True

    exchange.fault = fault
    exchange.run(3600)
    assert exchange.count("unsubscribe") < 60
    if how in ("silent", "ok"):
        assert len(exchange.streamed) == 25 and exchange.well
    exchange.fault = lambda name, command: False
    exchange.run(1200)
    assert len(exchange.streamed) == 25 and exchange.well


def test_a_stream_that_moved_to_another_sid_is_followed() -> None:
    """`subscribed` with a new sid, in answer to an add."""
    exchange = Exchange().start(25)

    def fault(name: str, command: dict[str, Any]) -> bool:
        if name != "add_markets" or 2 in exchange.subs:
            return False
        exchange.answer(name, command, acknowledged=False)
        moved = exchange.subs[2] = Sub(2, BOOK)
        moved.tickers = exchange.subs.pop(1).tickers
        exchange.send("subscribed", id=command["id"], msg={"channel": BOOK, "sid": 2})
        return True

    exchange.fault = fault
    exchange.add("NEW")
    exchange.run(600)
    assert len(exchange.streamed) == 26 and exchange.well
    exchange.add("NEWER")
    exchange.run(60)
    assert len(exchange.streamed) == 27 and exchange.well


def test_a_stray_frame_before_the_first_answer_keeps_nobody_from_subscribing() -> None:
    """It is of a sid that nobody has named."""
    exchange = Exchange()
    exchange.send("orderbook_snapshot", sid=999, seq=5, msg={"market_ticker": "M0"})
    exchange.start(25)
    assert len(exchange.streamed) == 25 and exchange.well


def test_a_sid_that_was_over_and_answers_is_taken_back() -> None:
    """A terminal error, but the exchange keeps it: our subscribe merges, again and again."""
    for role, markets in (("orderbook", 40), ("trade", 0)):
        exchange = Exchange(role).start(markets)
        exchange.number(exchange.subs[1], "error", msg={"code": 25, "msg": "x"})
        exchange.run(120)
        assert len(exchange.streamed) == markets and exchange.well and len(exchange.subs) == 1
        assert exchange.count("subscribe") < 30


@pytest.mark.parametrize("every_s", [20, 59])
def test_an_overflow_costs_a_moment_however_often_it_comes(every_s: int) -> None:
    """Error 25 so long after each subscribe."""
    exchange = Exchange(flow_s=0).start(5)
    stood = 0
    for half in range(7200):
        exchange.run(0.5)
        stood += bool(exchange.subs)
        if half % (2 * every_s) == 0:
            for sub in list(exchange.subs.values()):
                exchange.number(sub, "error", msg={"code": 25, "msg": "overflow"})
                exchange.subs.pop(sub.sid, None)
    assert stood > 0.95 * 7200, stood


# -- markets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["silent", "text"])
def test_a_market_that_is_not_answered_blocks_no_other(how: str) -> None:
    """Nor one whose error cannot be read: all others pass it, and it is named."""
    exchange = Exchange()

    def fault(name: str, command: dict[str, Any]) -> bool:
        named = "M7" in command["params"].get("market_tickers", ())
        if named and how == "text":
            exchange.send("error", id=command["id"], msg="market not found")
        return named

    exchange.fault = fault
    exchange.start(100)
    exchange.run(1500)
    assert len(exchange.streamed) == 99 and exchange.talk.healthy
    assert exchange.talk.unproven(exchange.now_s) == ["1 markets: the exchange takes no command about them"]


@pytest.mark.parametrize("how", ["late", "text id", "silent"])
def test_adds_that_are_answered_late_or_illegibly_are_made_all_the_same(how: str) -> None:
    """A late answer counts; without one every market is asked for in its turn."""
    exchange = Exchange()

    def fault(name: str, command: dict[str, Any]) -> bool:
        if name != "add_markets":
            return False
        if how == "late":
            exchange.at(12.0, lambda: exchange.answer(name, command))
        elif how == "text id":
            exchange.answer(name, {**command, "id": str(command["id"])})
        else:
            exchange.answer(name, command, acknowledged=False)
        return True

    exchange.fault = fault
    exchange.start(100)
    exchange.run(240)
    assert len(exchange.streamed) == 100
    if how == "late":
        assert exchange.well
    else:
        assert any("not subscribed" in line for line in exchange.talk.unproven(exchange.now_s)), "it is stated"
    exchange.fault = lambda name, command: False
    exchange.run(1200)
    assert exchange.well


def test_what_is_held_where_is_known_by_the_answer_that_fits() -> None:
    """`subscribed` to a delete brings nothing back; an add that is answered under another sid is held by that."""
    exchange = Exchange().start(10)

    def again(name: str, command: dict[str, Any]) -> bool:
        if name == "delete_markets":
            exchange.answer(name, command, acknowledged=False)
            exchange.send("subscribed", id=command["id"], msg={"channel": BOOK, "sid": 1})
        return name == "delete_markets"

    exchange.fault = again
    exchange.remove("M1", "M2")
    exchange.run(120)
    exchange.number(exchange.subs[1], BOOK, msg={"market_ticker": "M3"})
    exchange.subs[1].seq += 1
    exchange.number(exchange.subs[1], BOOK, msg={"market_ticker": "M3"})
    asked = [ticker for at, name, tickers in exchange.sent if name == "get_snapshot" and at > 100 for ticker in tickers]
    assert "M3" in asked and not {"M1", "M2"} & set(asked)

    def other(name: str, command: dict[str, Any]) -> bool:
        if name != "add_markets":
            return False
        new = exchange.subs[2] = Sub(2, BOOK)
        new.tickers = {"X": None, "Y": None}
        exchange.number(new, "ok", id=command["id"], msg={})
        return True

    exchange.fault = other
    exchange.add("X", "Y")
    exchange.run(5)
    exchange.fault = lambda name, command: False
    assert exchange.well, "their books were asked for, of the sid that has them"
    exchange.remove("X")
    exchange.run(5)
    assert "X" not in exchange.subs[2].tickers


def test_a_market_that_may_have_been_added_leaves_by_a_delete() -> None:
    """Its add is in effect, and was not answered, or refused."""
    for error in (None, 18, 26):
        exchange = Exchange().start(5)

        def fault(name: str, command: dict[str, Any], exchange: Exchange = exchange, error: int | None = error) -> bool:
            if name == "add_markets":
                exchange.answer(name, command, acknowledged=False)
                if error is not None:
                    exchange.send("error", id=command["id"], msg={"code": error})
            return name == "add_markets"

        exchange.fault = fault
        exchange.add("X")
        exchange.run(17)
        exchange.fault = lambda name, command: False
        exchange.remove("X")
        exchange.run(120)
        assert "X" not in exchange.streamed and exchange.well


def test_error_26_is_believed_of_an_add_alone() -> None:
    """To a delete it rejects nothing; nor is a connection full for ever."""
    exchange = Exchange().start(5)

    def fault(name: str, command: dict[str, Any]) -> bool:
        if name == "delete_markets":
            exchange.send("error", id=command["id"], msg={"code": 26})
        return name == "delete_markets"

    exchange.fault = fault
    exchange.remove("M1")
    exchange.add("N1", "N2")
    exchange.run(60)
    assert not exchange.talk.rejected and {"N1", "N2"} <= exchange.streamed
    sharding = Sharding(2, "x")
    placed = sharding.assign(["A", "B", "C", "D"], 0.0)
    for number, markets in placed.items():
        sharding.full(number, markets[1:], 0.0)
    assert not sharding.assign(["E"], 1.0) and sharding.unassigned and not sharding.has_room(FULL_FIRST_S - 1)
    assert sharding.has_room(FULL_FIRST_S) and sharding.assign(["E"], FULL_FIRST_S) and not sharding.unassigned
    (number,) = {n for n in placed if sharding.connection("E") == n}
    sharding.full(number, ["E"], FULL_FIRST_S)
    assert sharding.assign(["F"], FULL_FIRST_S), "the other one"
    for number in placed:
        sharding.full(number, ["F"], FULL_FIRST_S)
    assert not sharding.has_room(3 * FULL_FIRST_S - 1) and sharding.has_room(3 * FULL_FIRST_S), "twice as long"


# -- few commands, and true words ------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["trade", "ticker", "lifecycle"])
@pytest.mark.parametrize("how", [26, "unsubscribed"])
def test_an_answer_that_does_not_fit_is_no_success(role: str, how: Any) -> None:
    """It is repeated after waits that double."""
    exchange = Exchange(role)

    def fault(name: str, command: dict[str, Any]) -> bool:
        if how == 26:
            exchange.send("error", id=command["id"], msg={"code": 26})
        else:
            exchange.send("unsubscribed", id=command["id"])
        return True

    exchange.fault = fault
    exchange.start()
    exchange.run(3600)
    assert exchange.count("subscribe", 0.0) < 70
    lacks = " ".join(exchange.talk.unproven(exchange.now_s))
    assert all(f"{channel}: not subscribed for" in lacks for channel in OF_ROLE[role]) and not exchange.talk.healthy


def test_an_unsubscribe_that_the_budget_refuses_is_no_try() -> None:
    """Three are sent, whenever there is room for them."""
    exchange = Exchange().start(5)
    talk = exchange.talk
    exchange.subs[1].mute = True
    talk.state.renew(talk.state.subscriptions.by_sid[1], exchange.now_s)
    talk.state.ledger._budget._left, talk.state.ledger._budget._per_s = 0.0, 0.0
    exchange.run(10)
    assert talk.state.subscriptions.by_sid[1].ending == 0 and not exchange.count("unsubscribe")


@pytest.mark.parametrize("how", ["ok", "ok without sid", "silent"])
def test_two_channels_whose_one_answer_names_none_are_subscribed_one_by_one(how: str) -> None:
    """An `ok` for both shows for no channel which sid it has."""
    exchange = Exchange("lifecycle", flow_s=0)

    def fault(name: str, command: dict[str, Any]) -> bool:
        exchange.answer(name, command, acknowledged=False)
        sub = next(s for s in exchange.subs.values() if s.channel in command["params"]["channels"])
        if how == "ok":
            exchange.number(sub, "ok", id=command["id"], msg={})
        elif how == "ok without sid":
            exchange.send("ok", id=command["id"], msg={})
        return True

    exchange.fault = fault
    exchange.start()
    exchange.run(300)
    if how == "ok":
        assert exchange.well
    exchange.fault = lambda name, command: False
    exchange.run(300)
    assert exchange.well and exchange.count("subscribe", 0.0) < 75 * len(OF_ROLE["lifecycle"])


def test_a_sid_that_is_silent_while_another_delivers_is_nothing_to_prove() -> None:
    """A trade subscription that the exchange lost: the probe makes a new one, which is probed as the first was."""
    exchange = Exchange("trade").start()
    exchange.subs.clear()
    exchange.run(120)
    assert (
        exchange.well
        and exchange.talk.state.subscriptions.by_sid.keys() == {2}
        and not exchange.talk.state.subscriptions.no_probe_till_s
    )
    exchange.flow_s = 1e9
    exchange.run(120)
    assert exchange.well and exchange.count("subscribe", exchange.now_s - 100) >= 5


def test_what_is_unproven_goes_by_the_last_number_whatever_was_sent() -> None:
    """Also when the budget has no room for a probe; and missing markets and channels are named."""
    exchange = Exchange("trade", flow_s=0).start()
    exchange.talk.state.ledger._budget._left, exchange.talk.state.ledger._budget._per_s = 0.0, 0.0
    exchange.run(30)
    assert "trade: nothing is proven of its last" in exchange.talk.unproven(exchange.now_s)[0]
    silent = Exchange()
    silent.fault = lambda name, command: True
    silent.start(25)
    lacks = " ".join(silent.talk.unproven(silent.now_s))
    assert "orderbook_delta: not subscribed for 60 s" in lacks and "25 markets: not subscribed" in lacks


def test_a_book_that_does_not_come_keeps_no_other_from_its_audit() -> None:
    """Nor is a turn lost that the budget had no room for."""
    exchange = Exchange(batch=500, times=Times(2, 10, 10, audit=600))
    exchange.fault = lambda name, command: name == "get_snapshot" and "M3" in command["params"]["market_tickers"]
    exchange.start(100)
    exchange.subs[1].seq += 1
    exchange.run(3600)
    asked = {
        ticker for at, name, tickers in exchange.sent if name == "get_snapshot" and at > 3000 for ticker in tickers
    }
    assert len(asked) == 100
    talk = exchange.talk
    turn = list(talk.state.subscriptions.by_sid[1].rotation)
    talk.state.ledger._budget._left, talk.state.ledger._budget._per_s = 0.0, 0.0
    exchange.run(60)
    assert list(talk.state.subscriptions.by_sid[1].rotation)[: len(turn)] == turn


def test_error_27_to_a_burst_of_repairs_costs_one_wait() -> None:
    """Not one for each of its answers."""
    exchange = Exchange(batch=500).start(7000)
    refused: list[Any] = []

    def fault(name: str, command: dict[str, Any]) -> bool:
        much = len(command["params"]["market_tickers"]) > 50 and len(refused) < 14
        if much:
            refused.append(name)
            exchange.send("error", id=command["id"], msg={"code": 27})
        return much

    exchange.fault = fault
    exchange.subs[1].seq += 1
    exchange.run(30)
    assert exchange.talk.healthy and refused == ["get_snapshot"] * 14


@pytest.mark.parametrize("bad", ["text", [1], {"code": "x"}, None])
def test_an_answer_that_cannot_be_read_loses_no_break(bad: Any) -> None:
    """Its number is taken, and the gap before it noted."""
    for type_ in ("error", "ok", "subscribed", "unsubscribed"):
        exchange = Exchange(flow_s=0).start(2)
        sub = exchange.subs[1]
        sub.seq += 5
        expected = exchange.talk.due_change()[1]
        exchange.number(sub, type_, msg=bad)
        assert exchange.broken == [Broken(1, "gap", expected, sub.seq)]
        assert type_ == "unsubscribed" or exchange.talk.due_change()[1] == sub.seq + 1


def test_what_fails_here_loses_no_break_that_was_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours in dealing with an answer, or with the time, is an action like any other."""
    exchange = Exchange(flow_s=0).start(2)
    talk = exchange.talk

    def fails(*_: Any) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(talk._commands, "due", fails)
    head = frames.HEAD.decode(json.dumps({"type": BOOK, "sid": 1, "seq": 99, "msg": {}}))
    broken, surprise = talk.frame(head, 61.0)
    assert isinstance(broken, Broken) and surprise == Surprise("RuntimeError('a mistake')")
    assert talk.due_change()[1] == 100
    for actions in (talk.tick(62.0), talk.add(["X"], 62.0), talk.remove(["X"], 62.0), talk.snapshots(1, ["M0"], 62.0)):
        assert [type(action) for action in actions] == [Surprise]
