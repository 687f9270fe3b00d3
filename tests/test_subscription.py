"""The conversation on one connection: what is said after what was heard."""

from __future__ import annotations

import json
from typing import Any

from common.exchange import frames
from gatherer.sharding import Sharding
from gatherer.subscription import Action, Broken, Conversation, Reconnect, Send, Times

TIMES = Times(snapshot_wait=2, reply_wait=10, idle_probe=10)


def head(type_: str, **fields: Any) -> frames.Head:
    """A frame's envelope."""
    return frames.HEAD.decode(json.dumps({"type": type_, **fields}))


def sent(actions: list[Action]) -> list[tuple[str, Any]]:
    """Commands: name (or action) and tickers or sids."""
    result = []
    for action in actions:
        if isinstance(action, Send):
            params = action.command["params"]
            result.append(
                (
                    params.get("action", action.command["cmd"]),
                    params.get("market_tickers", params.get("sids", params.get("channels"))),
                )
            )
    return result


def subscribed(markets: list[str], batch: int = 10, idle_probe: float = 10) -> Conversation:
    """A connection that holds markets and has their books."""
    talk = Conversation("orderbook", Times(2, 10, idle_probe), batch)
    talk.start(markets, 0.0)
    talk.frame(head("subscribed", id=1, msg={"channel": "orderbook_delta", "sid": 1}), 0.1)
    for seq, market in enumerate(markets, 1):
        talk.frame(head("orderbook_snapshot", sid=1, seq=seq, msg={"market_ticker": market}), 0.2)
    assert talk.healthy
    return talk


def test_subscribe_says_which_prices_it_wants_and_adds_the_rest_in_batches() -> None:
    """use_yes_price is explicit; one command at a time."""
    talk = Conversation("orderbook", TIMES, 2)
    (first,) = talk.start(["A", "B", "C", "D", "E"], 0.0)
    assert isinstance(first, Send)
    assert first.command["params"] == {
        "channels": ["orderbook_delta"],
        "skip_ticker_ack": True,
        "market_tickers": ["A", "B"],
        "use_yes_price": False,
    }
    assert sent(talk.frame(head("subscribed", id=1, msg={"channel": "orderbook_delta", "sid": 1}), 1)) == [
        ("add_markets", ["C", "D"])
    ]
    assert not talk.add(["F"], 1)
    assert sent(talk.frame(head("ok", id=2, sid=1, seq=3), 1)) == [("add_markets", ["E", "F"])]
    assert not talk.healthy


def test_a_gap_is_noted_and_repaired_by_snapshots_on_the_same_sid() -> None:
    """Other subscriptions are not touched."""
    talk = subscribed(["A", "B"])
    actions = talk.frame(head("orderbook_delta", sid=1, seq=5, msg={}), 1)
    assert actions[0] == Broken(1, "gap", 3, 5)
    assert sent(actions) == [("get_snapshot", ["A", "B"])]
    talk.frame(head("orderbook_snapshot", id=2, sid=1, seq=6, msg={"market_ticker": "A"}), 1)
    assert not talk.healthy
    talk.frame(head("orderbook_snapshot", id=2, sid=1, seq=7, msg={"market_ticker": "B"}), 1)
    assert talk.healthy


def test_a_repair_that_does_not_converge_escalates_to_a_new_subscription_then_to_a_new_connection() -> None:
    """Unsubscribe first and subscribe once that is confirmed; sooner it would merge into the old sid."""
    talk = subscribed(["A"], idle_probe=1000)
    talk.frame(head("orderbook_delta", sid=1, seq=3, msg={}), 1.0)
    now = 1.0
    said: list[tuple[str, Any]] = []
    for _ in range(100):
        now += 1
        said += sent(talk.tick(now))
        if ("unsubscribe", [1]) in said:
            break
    assert said == [("get_snapshot", ["A"])] * 2 + [("unsubscribe", [1])]
    again = talk.frame(head("unsubscribed", id=talk._ids, sid=1, seq=4), now)
    assert sent(again) == [("subscribe", ["A"])]
    talk.frame(head("subscribed", id=talk._ids, msg={"channel": "orderbook_delta", "sid": 2}), now)
    for _ in range(40):
        now += 1
        actions = talk.tick(now)
        if any(isinstance(a, Reconnect) for a in actions):
            break
    else:
        raise AssertionError("the repair never gave up")


def test_terminal_errors_subscribe_again_and_leave_the_connection_alone() -> None:
    """Codes 10 and 25: only that subscription is dead."""
    for code in (10, 25):
        talk = subscribed(["A"])
        actions = talk.frame(head("error", sid=1, seq=2, msg={"code": code, "msg": "x"}), 1)
        assert actions[0] == Broken(1, f"error_{code}", 0, 2)
        assert sent(actions) == [("subscribe", ["A"])]


def test_error_26_halves_the_batch_and_remembers() -> None:
    """The limit is unpublished: it is found."""
    talk = subscribed(["A"], batch=8)
    (add,) = talk.add([f"M{n}" for n in range(8)], 1)
    assert isinstance(add, Send)
    actions = talk.frame(head("error", id=add.command["id"], sid=1, seq=2, msg={"code": 26, "msg": "limit"}), 1)
    assert sent(actions) == [("add_markets", ["M0", "M1", "M2", "M3"])]
    assert talk.batch == 4


def test_markets_whose_snapshot_did_not_come_are_asked_for_one() -> None:
    """A quiet market may get none after add_markets."""
    talk = subscribed(["A"])
    (add,) = talk.add(["B", "C"], 1)
    assert isinstance(add, Send)
    talk.frame(head("ok", id=add.command["id"], sid=1, seq=2), 1)
    talk.frame(head("orderbook_snapshot", sid=1, seq=3, msg={"market_ticker": "B"}), 1.1)
    assert not talk.tick(2)
    assert sent(talk.tick(3.1)) == [("get_snapshot", ["C"])]


def test_idle_subscriptions_are_probed_in_turn() -> None:
    """A numbered answer proves that nothing is missing; the ticker channel has no numbers and is left alone."""
    talk = subscribed(["A", "B"])
    assert not talk.tick(5)
    assert sent(talk.tick(11)) == [("get_snapshot", ["B"])]
    assert sent(talk.tick(22)) == [("get_snapshot", ["A"])]
    trade = Conversation("trade", TIMES, 5)
    trade.start([], 0)
    first = trade.frame(head("subscribed", id=1, msg={"channel": "trade", "sid": 1}), 0)
    assert sent(first) == [("subscribe", ["trade"])]
    assert sent(trade.tick(11)) == [("subscribe", ["trade"])]
    ticker = Conversation("ticker", TIMES, 5)
    ticker.start([], 0)
    ticker.frame(head("subscribed", id=1, msg={"channel": "ticker", "sid": 1}), 0)
    assert not ticker.tick(100)


def test_a_command_without_reply_gives_the_connection_up() -> None:
    """Never wait for ever."""
    talk = Conversation("orderbook", TIMES, 5)
    talk.start(["A"], 0)
    assert [type(a) for a in talk.tick(11)] == [Reconnect]


def test_markets_keep_their_connection_and_new_ones_go_to_the_least_loaded() -> None:
    """Balanced, stable, and spread differently by each gatherer."""
    sharding = Sharding(3, "gatherer-a")
    first = sharding.assign([f"M{n}" for n in range(30)])
    assert sorted(len(markets) for markets in first.values()) == [10, 10, 10]
    assert sharding.assign([f"M{n}" for n in range(30)]) == {}
    assert sum(len(m) for m in sharding.assign(["N1", "N2", "N3"]).values()) == 3
    other = Sharding(3, "gatherer-b").assign([f"M{n}" for n in range(30)])
    assert other != first
