"""The conversation on one connection: what is sent after what was received."""

from __future__ import annotations

import json
from typing import Any

from common.exchange import frames
from gatherer.capture.conversation.actions import Action, Broken, Send, Surprise, Times
from gatherer.capture.conversation.conversation import Conversation
from gatherer.crew.sharding import Sharding, lane_of, layout

TIMES = Times(snapshot_wait=2, reply_wait=10, idle_probe=10)


def head(type_: str, **fields: Any) -> frames.Envelope:
    """A frame's envelope."""
    return frames.HEAD.decode(json.dumps({"type": type_, **fields}))


def sent(actions: list[Action]) -> list[tuple[str, Any]]:
    """Commands: name (or action) and tickers or sids."""
    result = []
    for action in actions:
        assert not isinstance(action, Surprise), action
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


def test_births_leave_a_connection_ready_as_long_as_they_are_few_and_not_late() -> None:
    """A hundred are born every second: one is always on its way to its book."""
    markets = [f"M{n}" for n in range(100)]
    talk = subscribed(markets, batch=100)
    assert talk.ready(1.0)
    (add,) = talk.add(["A", "B"], 1.0)
    assert isinstance(add, Send) and talk.ready(1.0) and not talk.healthy, "two of a hundred and two"
    talk.add(["C"], 1.5)
    assert not talk.ready(1.5), "three are too many"
    talk.frame(head("ok", id=add.command["id"], sid=1, seq=101), 2.0)
    talk.frame(head("orderbook_snapshot", sid=1, seq=102, msg={"market_ticker": "A"}), 2.0)
    assert talk.ready(2.0) and not talk.healthy, "B's book and C's answer are still to come"
    assert not talk.ready(22.0), "they are late"
    talk.frame(head("ok", id=talk.state.ledger.last_id, sid=1, seq=103), 22.1)
    assert talk.state.members.whole and not talk.ready(22.1), "B's book is late"
    talk.frame(head("orderbook_snapshot", sid=1, seq=104, msg={"market_ticker": "B"}), 22.2)
    assert talk.ready(22.2)
    talk.frame(head("orderbook_snapshot", sid=1, seq=200, msg={"market_ticker": "C"}), 22.3)
    assert not talk.ready(22.4), "after a gap all books are to come"


def test_subscribe_names_the_prices_it_wants_and_adds_the_rest_in_batches() -> None:
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


def test_numbers_that_begin_again_are_a_break_and_so_is_a_repeat() -> None:
    """Either way every book is asked for: nobody knows what came between."""
    for received in (1, 2):
        talk = subscribed(["A", "B"])
        actions = talk.frame(head("orderbook_delta", sid=1, seq=received, msg={}), 1)
        assert actions[0] == Broken(1, "repeat_or_decrease", 3, received)
        assert sent(actions) == [("get_snapshot", ["A", "B"])]


def test_after_a_repeat_only_books_that_were_asked_for_since_are_taken_for_news() -> None:
    """Also of a market that is added later, whose own book nothing distinguishes from a repeat: it is asked for."""
    talk = subscribed(["A"], idle_probe=1000)
    talk.snapshots(1, ["A"], 1.0)
    talk.frame(head("orderbook_snapshot", sid=1, seq=1, msg={"market_ticker": "A"}), 1.0)
    assert sent(talk.add(["B"], 1.0)) == [("add_markets", ["B"])]
    talk.frame(head("ok", id=talk.state.ledger.last_id, sid=1, seq=2), 1.0)
    for seq, (id_, market) in enumerate([({}, "A"), ({"id": 2}, "A"), ({}, "B")], 3):
        talk.frame(head("orderbook_snapshot", sid=1, seq=seq, msg={"market_ticker": market}, **id_), 1.0)
        assert not talk.healthy
    talk.frame(head("orderbook_snapshot", id=3, sid=1, seq=6, msg={"market_ticker": "A"}), 1.0)
    assert sent(talk.tick(5.5)) == [("get_snapshot", ["B"])]
    talk.frame(head("orderbook_snapshot", id=talk.state.ledger.last_id, sid=1, seq=7, msg={"market_ticker": "B"}), 5.5)
    assert talk.healthy


def test_a_repair_of_which_nothing_comes_escalates_to_a_new_subscription_and_no_further() -> None:
    """Unsubscribe first and subscribe once that is confirmed; sooner it would merge into the old sid. The connection
    stays: what comes of it is recorded, and its books are asked for at growing intervals."""
    talk = subscribed(["A"], idle_probe=1000)
    talk.frame(head("orderbook_delta", sid=1, seq=3, msg={}), 1.0)
    now = 1.0
    said: list[tuple[str, Any]] = []
    while ("unsubscribe", [1]) not in said and now < 100:
        now += 1
        said += sent(talk.tick(now))
    assert said == [("get_snapshot", ["A"])] * 2 + [("unsubscribe", [1])]
    again = talk.frame(head("unsubscribed", id=talk.state.ledger.last_id, sid=1, seq=4), now)
    assert sent(again) == [("subscribe", ["A"])]
    talk.frame(head("subscribed", id=talk.state.ledger.last_id, msg={"channel": "orderbook_delta", "sid": 2}), now)
    hour = [command for second in range(3600) for command in sent(talk.tick(now + second))]
    assert hour.count(("unsubscribe", [2])) <= 60 and len(hour) < 120, hour


def test_a_subscription_that_still_delivers_is_not_taken_down_for_a_book_that_does_not_come() -> None:
    """A market whose book nobody sends costs the book, no row of the others; it is named."""
    talk = subscribed(["A", "B"], idle_probe=1000)
    (add,) = talk.add(["C"], 1)
    assert isinstance(add, Send)
    talk.frame(head("ok", id=add.command["id"], sid=1, seq=3), 1)
    said = []
    for second in range(2, 1802):
        said += sent(talk.tick(float(second)))
        if second % 5 == 0:
            talk.frame(head("orderbook_delta", sid=1, seq=3 + second // 5, msg={}), float(second))
    assert {name for name, _ in said} == {"get_snapshot"} and 5 <= len(said) <= 15
    assert talk.healthy and talk.unproven(1802) == ["1 markets: their books do not come"]


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
    assert sent(talk.frame(head("ok", id=3, sid=1, seq=3), 1)) == [("add_markets", ["M4", "M5", "M6", "M7"])]


def test_a_full_subscription_gives_back_what_it_cannot_take() -> None:
    """Error 26 down to a single market: the rest is for other connections, and nothing loops."""
    talk = subscribed(["A"], batch=4)
    actions = talk.add(["B", "C", "D", "E", "F"], 1)
    asked = 0
    while actions and isinstance(actions[0], Send):
        asked += 1
        id_ = actions[0].command["id"]
        actions = talk.frame(head("error", id=id_, sid=1, seq=1 + asked, msg={"code": 26, "msg": "limit"}), 1)
    assert asked == 3 and not actions and talk.rejected == ["B", "C", "D", "E", "F"] and not talk.healthy
    talk.remove(talk.rejected, 1)
    assert talk.healthy and talk.batch == 4


def test_a_full_connection_takes_no_more_and_its_markets_go_elsewhere() -> None:
    """Until there is no room at all: then they are known to be unassigned, and take the first place that is free."""
    sharding = Sharding(2, "x")
    placed = sharding.assign([f"M{n}" for n in range(10)])
    rejected = placed[1][3:]
    assert sharding.full(1, rejected) == rejected and not sharding.full(1, rejected)
    assert set(sharding.assign(rejected)) == {2}
    extra = sharding.assign(["N1", "N2"])
    assert set(extra) == {2}
    sharding.full(2, extra[2])
    assert not sharding.assign(extra[2]) and sorted(sharding.unassigned) == ["N1", "N2"]
    sharding.release(placed[1][:1])
    assert set(sharding.assign(["N1"])) == {1} and list(sharding.unassigned) == ["N2"]


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
    assert sent(talk.tick(11)) == [("get_snapshot", ["A"])]
    talk.frame(head("orderbook_snapshot", id=2, sid=1, seq=3, msg={"market_ticker": "A"}), 11.5)
    assert sent(talk.tick(22)) == [("get_snapshot", ["B"])]
    trade = Conversation("trade", TIMES, 5)
    trade.start([], 0)
    first = trade.frame(head("subscribed", id=1, msg={"channel": "trade", "sid": 1}), 0)
    assert sent(first) == [("subscribe", ["trade"])]
    trade.frame(head("ok", id=2, sid=1, seq=1), 0.5)
    assert sent(trade.tick(11)) == [("subscribe", ["trade"])]
    ticker = Conversation("ticker", TIMES, 5)
    ticker.start([], 0)
    ticker.frame(head("subscribed", id=1, msg={"channel": "ticker", "sid": 1}), 0)
    assert not ticker.tick(100)


def test_a_market_that_left_is_not_probed_in_its_turn() -> None:
    """The turns were dealt before."""
    talk = subscribed(["A", "B", "C"])
    assert sent(talk.tick(10.3)) == [("get_snapshot", ["A"])]
    talk.frame(head("orderbook_snapshot", id=2, sid=1, seq=4, msg={"market_ticker": "A"}), 10.4)
    assert sent(talk.remove(["B"], 10.5)) == [("delete_markets", ["B"])]
    talk.frame(head("ok", id=3, sid=1, seq=5), 10.6)
    assert sent(talk.tick(20.7)) == [("get_snapshot", ["C"])]


def test_a_command_without_reply_is_sent_again_at_growing_intervals() -> None:
    """Never wait for ever, and never give up a socket that lives."""
    for role, markets in (("orderbook", ["A"]), ("trade", []), ("ticker", []), ("lifecycle", [])):
        talk = Conversation(role, TIMES, 5)
        said = sent(talk.start(markets, 0))
        said += [command for second in range(1, 3601) for command in sent(talk.tick(float(second)))]
        assert {name for name, _ in said} == {"subscribe"} and 20 <= len(said) <= 60 and not talk.healthy


def test_a_market_that_the_exchange_refuses_costs_no_other() -> None:
    """Whatever the error: half as many are tried, down to the one; that one is tried again later and named."""
    markets = [f"M{n}" for n in range(40)]
    talk = Conversation("orderbook", Times(2, 10, 1000), 16)
    queue, seq, held = talk.start(markets, 0.0), 0, 0
    now = 0.0
    while now < 300:
        now += 0.5
        for action in queue + talk.tick(now):
            assert isinstance(action, Send)
            params, id_ = action.command["params"], action.command["id"]
            seq += 1
            if "M7" in params["market_tickers"] and params.get("action") != "get_snapshot":
                seq -= action.command["cmd"] == "subscribe"
                scope = {} if action.command["cmd"] == "subscribe" else {"sid": 1, "seq": seq}
                queue = talk.frame(head("error", id=id_, msg={"code": 77, "msg": "no such thing"}, **scope), now)
                continue
            if action.command["cmd"] == "subscribe":
                seq -= 1
                queue = talk.frame(head("subscribed", id=id_, msg={"channel": "orderbook_delta", "sid": 1}), now)
            elif params.get("action") == "add_markets":
                queue = talk.frame(head("ok", id=id_, sid=1, seq=seq), now)
            else:
                continue
            for market in params["market_tickers"]:
                seq, held = seq + 1, held + 1
                talk.frame(head("orderbook_snapshot", sid=1, seq=seq, msg={"market_ticker": market}), now)
    assert held == 39 and talk.healthy
    assert talk.unproven(now) == ["1 markets: the exchange takes no command about them"]


def test_markets_keep_their_connection_and_new_ones_go_to_the_least_loaded() -> None:
    """Balanced, stable, and spread differently by each gatherer."""
    sharding = Sharding(3, "gatherer-a")
    first = sharding.assign([f"M{n}" for n in range(30)])
    assert sorted(len(markets) for markets in first.values()) == [10, 10, 10]
    assert sharding.assign([f"M{n}" for n in range(30)]) == {}
    assert sum(len(m) for m in sharding.assign(["N1", "N2", "N3"]).values()) == 3
    other = Sharding(3, "gatherer-b").assign([f"M{n}" for n in range(30)])
    assert other != first


def test_markets_that_are_over_leave_and_late_frames_still_count() -> None:
    """delete_markets, in batches, after what was asked before; a frame of a deleted market is numbered like any."""
    talk = subscribed(["A", "B", "C"])
    talk.state.members.batch = 2
    assert sent(talk.remove(["A", "C", "X"], 1)) == [("delete_markets", ["A", "C"])]
    assert not talk.frame(head("orderbook_delta", sid=1, seq=4, msg={"market_ticker": "A"}), 1)
    assert not talk.remove(["B"], 1)
    assert sent(talk.frame(head("ok", id=2, sid=1, seq=5), 1)) == [("delete_markets", ["B"])]
    assert not talk.frame(head("ok", id=3, sid=1, seq=6), 1)
    assert sent(talk.add(["D"], 1)) == [("add_markets", ["D"])]


def test_a_market_that_is_added_again_is_not_dropped_with_another() -> None:
    """A removal takes back its own markets alone, whatever was removed before and is still to be sent."""
    talk = subscribed(["A", "B"])
    assert sent(talk.add(["C"], 1)) == [("add_markets", ["C"])]
    assert not talk.remove(["A"], 1) and not talk.add(["A"], 1) and not talk.remove(["B"], 1)
    assert sent(talk.frame(head("ok", id=2, sid=1, seq=3), 1)) == [("delete_markets", ["B"])]
    assert sent(talk.frame(head("ok", id=3, sid=1, seq=4), 1)) == [("add_markets", ["A"])]
    assert not talk.healthy and asked_for(talk.snapshots(1, ["A", "B"], 1)) == ["A"]


def asked_for(actions: list[Action]) -> list[str]:
    """Markets whose books are asked for."""
    return [ticker for name, tickers in sent(actions) if name == "get_snapshot" for ticker in tickers]


def test_nobody_asks_for_the_book_of_a_market_whose_delete_was_sent() -> None:
    """Rule 16: not the repair of a gap, not a frame that could not be read, not what was wanted before, not a probe,
    not an audit; nor do late books and answers bring it back, until a new add is answered."""
    talk = Conversation("orderbook", Times(2, 1000, 10, audit=4), 10)
    talk.start(["A", "B"], 0.0)
    talk.frame(head("subscribed", id=1, msg={"channel": "orderbook_delta", "sid": 1}), 0.1)
    talk.frame(head("orderbook_snapshot", sid=1, seq=1, msg={"market_ticker": "B"}), 0.2)
    assert sent(talk.remove(["A"], 1)) == [("delete_markets", ["A"])]
    asked = asked_for(talk.frame(head("orderbook_delta", sid=1, seq=5, msg={}), 1.1))
    asked += asked_for(talk.snapshots(1, ["A", "B"], 1.2))
    for second in range(2, 60):
        asked += asked_for(talk.tick(float(second)))
        if second == 8:
            talk.frame(head("orderbook_snapshot", sid=1, seq=6, msg={"market_ticker": "B"}), 8.0)
        if second == 30:
            talk.frame(head("orderbook_snapshot", sid=1, seq=7, msg={"market_ticker": "A"}), 30.0)
            talk.frame(head("ok", id=2, sid=1, seq=8), 30.0)
    assert set(asked) == {"B"}
    (add,) = talk.add(["A"], 60)
    assert isinstance(add, Send)
    talk.frame(head("orderbook_snapshot", sid=1, seq=9, msg={"market_ticker": "A"}), 60.1)
    assert not talk.healthy, "a book before the answer is not that of a market that is held"
    talk.frame(head("ok", id=2, sid=1, seq=10), 60.2)
    assert not asked_for(talk.snapshots(1, ["A"], 60.3)), "nor does a late answer to another command"
    talk.frame(head("ok", id=add.command["id"], sid=1, seq=11), 60.4)
    assert "A" in asked_for(talk.tick(62.5))


def test_an_answer_without_a_number_is_matched_by_its_id() -> None:
    """Rule 16: adds and deletes take effect, and what is due next is sent."""
    talk = subscribed(["A"])
    assert sent(talk.add(["B"], 1)) == [("add_markets", ["B"])]
    assert not talk.remove(["A"], 1)
    assert sent(talk.frame(head("ok", id=2), 1)) == [("delete_markets", ["A"])]
    assert asked_for(talk.snapshots(1, ["A", "B"], 1)) == ["B"]
    talk.frame(head("ok", id=3), 1)
    talk.frame(head("orderbook_snapshot", sid=1, seq=2, msg={"market_ticker": "B"}), 1)
    assert talk.healthy


def test_a_delete_that_was_too_much_for_the_exchange_is_repeated() -> None:
    """Error 27: the market is not held in between, and leaves in the end. Of an add what is still wanted is sent."""
    talk = subscribed(["A", "B"], idle_probe=1000)
    talk.remove(["A"], 1.0)
    assert not talk.frame(head("error", id=2, sid=1, seq=3, msg={"code": 27, "msg": "slow"}), 1.0)
    assert not talk.snapshots(1, ["A"], 1.1)
    assert sent(talk.tick(1.6)) == [("delete_markets", ["A"])]
    assert not talk.frame(head("ok", id=3, sid=1, seq=4), 1.7)
    assert sent(talk.add(["C", "D"], 2.0)) == [("add_markets", ["C", "D"])]
    talk.remove(["C"], 2.0)
    talk.frame(head("error", id=4, sid=1, seq=5, msg={"code": 27, "msg": "slow"}), 2.0)
    assert sent(talk.tick(3.6)) == [("add_markets", ["D"])]


def test_an_unsubscribe_that_was_too_much_for_the_exchange_is_repeated() -> None:
    """Until then the connection is not whole, and no book is asked for."""
    talk = subscribed(["A"], idle_probe=1000)
    talk.frame(head("orderbook_delta", sid=1, seq=3, msg={}), 1.0)
    said = [action for second in range(2, 40) for action in talk.tick(float(second))]
    last = next(a for a in said if isinstance(a, Send) and a.command["cmd"] == "unsubscribe")
    talk = subscribed(["A"], idle_probe=1000)
    talk.frame(head("orderbook_delta", sid=1, seq=3, msg={}), 1.0)
    second = 1.0
    while last not in talk.tick(second):
        second += 1
    talk.frame(head("error", id=last.command["id"], sid=1, seq=4, msg={"code": 27, "msg": "slow"}), second)
    assert not talk.healthy and not talk.snapshots(1, ["A"], second + 0.1)
    assert sent(talk.tick(second + 1)) == [("unsubscribe", [1])]
    assert sent(talk.frame(head("unsubscribed", id=talk.state.ledger.last_id, sid=1, seq=5), second + 1.1)) == [
        ("subscribe", ["A"])
    ]


def test_late_frames_of_a_subscription_that_is_over_bring_nothing_back() -> None:
    """Neither its numbers nor its end are looked at; the next one is another sid, or the same that was given again."""
    for type_, msg in (("error", {"code": 25}), ("unsubscribed", {})):
        talk = subscribed(["A"])
        assert ("subscribe", ["A"]) in sent(talk.frame(head(type_, sid=1, seq=2, msg=msg), 1))
        for late in (
            head("orderbook_delta", sid=1, seq=9, msg={}),
            head("orderbook_snapshot", sid=1, seq=11, msg={"market_ticker": "A"}),
            head("error", sid=1, seq=12, msg={"code": 25}),
            head("ok", id=1, sid=1, seq=13),
            head("subscribed", id=1, msg={"channel": "orderbook_delta", "sid": 1}),
        ):
            assert not talk.frame(late, 1.1)
        assert not talk.healthy and talk.due_change()[1] == 0
        talk.frame(head("subscribed", id=2, msg={"channel": "orderbook_delta", "sid": 1}), 1.2)
        assert not talk.frame(head("orderbook_snapshot", sid=1, seq=1, msg={"market_ticker": "A"}), 1.3)
        assert talk.healthy


def test_too_many_commands_are_sent_again_later_and_later() -> None:
    """Error 27: quiet for a while, nothing is forgotten, the wait doubles while it comes back."""
    talk = subscribed(["A"], idle_probe=1000)
    assert sent(talk.add(["B"], 1.0)) == [("add_markets", ["B"])]
    assert not talk.frame(head("error", id=2, sid=1, seq=2, msg={"code": 27, "msg": "slow"}), 1.0)
    assert not talk.tick(1.4) and not talk.add(["C"], 1.4)
    assert sent(talk.tick(1.6)) == [("add_markets", ["B", "C"])]
    assert not talk.frame(head("error", id=3, sid=1, seq=3, msg={"code": 27, "msg": "slow"}), 1.6)
    assert not talk.tick(2.5)
    assert sent(talk.tick(2.7)) == [("add_markets", ["B", "C"])]
    talk.frame(head("ok", id=4, sid=1, seq=4), 2.8)
    for seq, ticker in ((5, "B"), (6, "C")):
        talk.frame(head("orderbook_snapshot", sid=1, seq=seq, msg={"market_ticker": ticker}), 2.9)
    assert talk.healthy


def test_a_subscribe_that_is_too_much_for_the_exchange_is_repeated() -> None:
    """Error 27 to the very first command."""
    talk = Conversation("trade", TIMES, 10)
    assert sent(talk.start([], 0.0)) == [("subscribe", ["trade"])]
    assert not talk.frame(head("error", id=1, msg={"code": 27, "msg": "slow"}), 0.1)
    assert sent(talk.tick(0.7)) == [("subscribe", ["trade"])]


def test_breaks_that_come_again_and_again_are_repaired_five_times_a_window() -> None:
    """The next repair waits for the window's end; the connection stays. Spread out, they are all repaired. Of few
    markets more are: a hundred books a window."""
    markets = [f"M{n}" for n in range(25)]
    talk = subscribed(markets, batch=25, idle_probe=1000)
    seq, repairs = 1 + len(markets), []
    for n in range(1200):  # ten a second for two minutes
        seq += 5
        now = 10.0 + n / 10
        repairs += [now] * bool(asked_for(talk.frame(head("orderbook_delta", sid=1, seq=seq, msg={}), now)))
        repairs += [now] * bool(asked_for(talk.tick(now)))
    assert all(sum(start <= at < start + 60 for at in repairs) <= 6 for start in repairs), repairs
    assert len(repairs) >= 10 and talk.escalations > 0
    few, seq = subscribed(["A", "B"], idle_probe=1000), 3
    for n in range(60):  # one a second
        seq += 5
        asked = asked_for(few.frame(head("orderbook_delta", sid=1, seq=seq, msg={}), 10.0 + n))
        assert bool(asked) == (n < 50), n
    patient = subscribed(["A"], idle_probe=1000)
    seq = 2
    for n in range(20):
        seq += 5
        assert asked_for(patient.frame(head("orderbook_delta", sid=1, seq=seq, msg={}), 100.0 * n)) == ["A"]
        patient.frame(
            head("orderbook_snapshot", id=9, sid=1, seq=(seq := seq + 1), msg={"market_ticker": "A"}), 100.0 * n
        )
    assert not patient.escalations


def test_a_subscription_that_answers_no_probe_is_replaced() -> None:
    """It costs the proof of that stretch, which is named; a number proves it all the same. After three probes in vain
    nobody knows whether it is there: a new one loses nothing, and is tried more and more seldom."""
    talk = subscribed(["A"])
    said = [(float(s), name) for s in range(1, 84) for name, _ in sent(talk.tick(float(s)))]
    assert said == [(11.0, "get_snapshot"), (22.0, "get_snapshot"), (43.0, "get_snapshot")]
    assert talk.unproven(83) == ["orderbook_delta: nothing is proven of its last 83 s"] and talk.healthy
    alive = subscribed(["A"])
    for second in range(1, 84):
        alive.tick(float(second))
    alive.frame(head("orderbook_delta", sid=1, seq=2, msg={}), 83.5)
    assert not alive.unproven(84) and sent(alive.tick(95)) == [("get_snapshot", ["A"])]
    assert sent(talk.tick(84.0)) == [("unsubscribe", [1])]
    hours = [name for second in range(85, 86_400) for name, _ in sent(talk.tick(float(second)))]
    assert set(hours) == {"unsubscribe", "subscribe"} and 250 < len(hours) < 1500, len(hours)
    assert "orderbook_delta: not subscribed for" in talk.unproven(86_400)[0]


def quiet(answer: Any, hours: int = 1, role: str = "trade") -> tuple[Conversation, list[float]]:
    """A channel of which nothing comes; `answer` gives the frames that answer a command. When commands were sent."""
    talk = Conversation(role, TIMES, 5)
    queue, said, now = talk.start([], 0.0), [], 0.0
    while now < 3600 * hours:
        for action in queue:
            assert isinstance(action, Send)
            said.append(now)
        answers = [frame for action in queue if isinstance(action, Send) for frame in answer(action.command)]
        queue = [action for frame in answers for action in talk.frame(frame, now)]
        now += 0 if queue else 0.5
        queue = queue or talk.tick(now)
    return talk, said


def test_a_quiet_channel_survives_any_answer_to_its_probe() -> None:
    """What is not documented: a repeated subscribe may be answered by `subscribed`, an `ok` without number, an error,
    nothing, or another subscription. No more than six commands a minute, and fewer as long as they prove nothing."""

    def standing(command: dict[str, Any], again: list[Any]) -> list[Any]:
        if command["id"] == 1:
            return [head("subscribed", id=1, msg={"channel": "trade", "sid": 1})]
        return again

    answers = {
        "subscribed": lambda c: standing(c, [head("subscribed", id=c["id"], msg={"channel": "trade", "sid": 1})]),
        "ok": lambda c: standing(c, [head("ok", id=c["id"], msg={})]),
        "error": lambda c: standing(c, [head("error", id=c["id"], msg={"code": 6, "msg": "Already subscribed"})]),
        "silence": lambda c: standing(c, []),
        "another": lambda c: standing(c, [head("subscribed", id=c["id"], msg={"channel": "trade", "sid": c["id"]})]),
    }
    for name, answer in answers.items():
        talk, said = quiet(answer)
        assert len(said) <= (8 if name == "another" else 55) and talk.healthy, (name, len(said))
        assert any("trade: nothing is proven" in line for line in talk.unproven(3600)), name
    numbered = {"seq": 0}

    def good(command: dict[str, Any]) -> list[Any]:
        numbered["seq"] += 1
        return standing(command, [head("ok", id=command["id"], sid=1, seq=numbered["seq"] - 1)])

    talk, said = quiet(good)
    assert 300 <= len(said) <= 362 and not talk.unproven(3600)


def test_the_change_that_is_due_is_known_by_its_first_letters() -> None:
    """A short cut that may never take one frame for another."""
    talk = subscribed(["A"])
    talk.frame(head("orderbook_delta", sid=1, seq=2, msg={}), 1)
    beginning, number = talk.due_change()
    due = b"%b%d," % (beginning, number)
    frame = b'{"type":"orderbook_delta","sid":1,"seq":3,"msg":{}}'
    assert frame.startswith(due)
    for other in (
        b'{"type":"orderbook_delta","sid":1,"seq":30,"msg":{}}',
        b'{"type":"orderbook_delta","sid":11,"seq":3,',
    ):
        assert not other.startswith(due)
    talk.due_changes_came(7, 2.0)
    assert talk.due_change() == (beginning, 7)
    assert not talk.tick(11.9) and sent(talk.tick(12.1)), "they count as numbered frames"
    assert talk.frame(head("orderbook_delta", sid=1, seq=9, msg={}), 13)[0] == Broken(1, "gap", 7, 9)
    assert not frame.startswith(Conversation("trade", TIMES, 5).due_change()[0])


def test_audits_are_spread_evenly_over_the_markets() -> None:
    """Each market's turn comes once in the interval, a few at a time."""
    markets = [f"M{n}" for n in range(40)]
    talk = Conversation("orderbook", Times(2, 1000, 1000, audit=100), 100)
    talk.start(markets, 0.0)
    talk.frame(head("subscribed", id=1, msg={"channel": "orderbook_delta", "sid": 1}), 0.1)
    for seq, market in enumerate(markets, 1):
        talk.frame(head("orderbook_snapshot", sid=1, seq=seq, msg={"market_ticker": market}), 0.2)
    asked: list[str] = []
    for second in range(1, 202):
        for _, tickers in sent(talk.tick(float(second))):
            assert len(tickers) <= 2
            asked += tickers
    assert sorted(asked[:40]) == sorted(markets), "every market once before any comes again"
    assert 75 <= len(asked) <= 81


def test_connections_are_numbered_and_dealt_to_lanes() -> None:
    """The copies of a channel that carries all markets fall on different lanes."""
    connections = layout({"orderbook": 144, "trade": 2, "ticker": 2, "lifecycle": 2})
    assert len(connections) == 150 and connections[0] == (1, "orderbook") and connections[144] == (145, "trade")
    for lanes in (1, 2, 4):
        per_lane = [[role for number, role in connections if lane_of(number, lanes) == lane] for lane in range(lanes)]
        assert max(map(len, per_lane)) - min(map(len, per_lane)) <= 1
        if lanes > 1:
            assert all(lane.count("trade") < 2 for lane in per_lane)


def test_released_markets_leave_room_for_new_ones() -> None:
    """A market that is over is forgotten; the next new one goes to the connection that it left."""
    sharding = Sharding(3, "a")
    sharding.assign(f"M{n}" for n in range(30))
    before = sharding.held([2])[2]
    assert sharding.release([*before[:5], "unknown"]) == {2: before[:5]}
    placed = sharding.assign(f"N{n}" for n in range(5))
    assert sorted(placed) == [2] and len(sharding) == 30 and sharding.connection(placed[2][0]) == 2


def test_markets_are_added_and_dropped_in_turn_however_many_of_each_there_are() -> None:
    """A hundred combos are born and settled every second, within two commands a second: none waits for ever."""
    talk = subscribed(["A"], batch=500, idle_probe=1000)
    seq = 2
    waited: list[float] = []
    asked: dict[str, float] = {}
    actions: list[Action] = []
    for tick in range(1, 1200):
        now = tick / 10
        born = [f"M{tick}-{n}" for n in range(10)]
        asked.update(dict.fromkeys(born, now))
        actions += talk.add(born, now) + talk.remove([f"M{tick - 50}-{n}" for n in range(10)], now) + talk.tick(now)
        for action in actions:
            assert isinstance(action, Send)
            if action.command["params"]["action"] == "add_markets":
                waited += [now - asked[ticker] for ticker in action.command["params"]["market_tickers"]]
            if action.command["params"]["action"] != "get_snapshot":
                actions = talk.frame(head("ok", id=action.command["id"], sid=1, seq=seq), now)
                seq += 1
            break
        else:
            actions = []
    assert len(waited) > 9000 and max(waited) < 10, (len(waited), max(waited))
