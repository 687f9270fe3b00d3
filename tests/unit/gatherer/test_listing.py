"""What is known of markets: statuses, times, new ones, those that are over."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gatherer.markets.listing import UNKNOWN, Listing, listed_row, row_times

NOW = 1_795_255_200_000
HOUR = 3_600_000


def test_opening_and_closing_follow_from_the_times() -> None:
    """No message announces them."""
    listing = Listing("include", ())
    assert listing.learn("KXA-1", "initialized", NOW, NOW + HOUR, NOW - HOUR)
    market = listing.markets["KXA-1"]
    assert [market.state(NOW + t) for t in (-1, 0, HOUR - 1, HOUR)] == ["initialized", "active", "active", "closed"]
    assert list(listing.active(NOW - 1)) == [] and list(listing.active(NOW + 1)) == ["KXA-1"]


def test_a_created_market_is_recorded_before_rest_knows_it() -> None:
    """It is asked for until REST shows it; its times come with the message."""
    listing = Listing("include", ())
    body = {"market_ticker": "KXA-2", "open_ts": NOW // 1000, "close_ts": NOW // 1000 + 3600}
    assert listing.event("KXA-2", "created", body, NOW)
    assert listing.unknown() == ["KXA-2"] and listing.markets["KXA-2"].status == UNKNOWN
    assert list(listing.active(NOW)) == ["KXA-2"]
    assert not listing.event("KXA-2", "created", body, NOW), "reported once"
    assert not listing.learn("KXA-2", "active", NOW, NOW + HOUR, NOW) and listing.unknown() == []


@pytest.mark.parametrize("seconds", [NOW, -1, 0, 10**30, None, "soon", True])
def test_a_time_that_is_none_is_not_known(seconds: Any) -> None:
    """In another unit, for one: no database holds it, and what is saved with it would not be saved either."""
    listing = Listing("include", ())
    assert listing.event("KXA-2", "created", {"market_ticker": "KXA-2", "open_ts": seconds, "close_ts": seconds}, NOW)
    assert (listing.markets["KXA-2"].open_ms, listing.markets["KXA-2"].close_ms) == (0, 0)
    row = {"ticker": "KXA-3", "open_time": "9999-12-31T23:59:59-05:00", "close_time": "0001-01-01T00:00:00Z"}
    assert listed_row(row | {"status": "odd\x00" + "!" * 99}) == ("KXA-3", "odd\\0" + "!" * 45, 0, 0)


def test_what_is_over_and_moves_on_is_given_again_after_another_grace() -> None:
    """Once each time."""
    listing = Listing("include", ())
    listing.learn("KXA-3", "active", 0, 0, NOW)
    listing.learn("KXA-3", "finalized", 0, 0, NOW)
    assert listing.over(NOW + 1000, 1000) == ["KXA-3"]
    listing.not_over(["KXA-3", "KXA-GONE"], NOW + 1000)
    assert listing.over(NOW + 1999, 1000) == [] and listing.over(NOW + 2000, 1000) == ["KXA-3"]


def test_settled_markets_are_over_after_the_grace_and_never_come_back() -> None:
    """A page that is older than the message changes nothing."""
    listing = Listing("include", ())
    listing.learn("KXA-3", "active", NOW - HOUR, NOW, NOW)
    listing.event("KXA-3", "determined", {"market_ticker": "KXA-3"}, NOW)
    assert listing.over(NOW + 10 * HOUR, 1000) == []
    listing.event("KXA-3", "settled", {"market_ticker": "KXA-3", "settled_ts": NOW // 1000}, NOW)
    listing.learn("KXA-3", "active", NOW - HOUR, NOW, NOW + 5)
    assert listing.markets["KXA-3"].status == "finalized"
    assert listing.over(NOW + 999, 1000) == [] and listing.over(NOW + 1000, 1000) == ["KXA-3"]
    listing.forget("KXA-3")
    assert not listing.markets and not listing.event("KXA-3", "settled", {"market_ticker": "KXA-3"}, NOW)


def test_what_left_does_not_come_back_by_a_list_of_what_changed_of_late() -> None:
    """It shows markets for minutes after they were settled: each would be subscribed twice."""
    listing = Listing("include", ())
    listing.learn("KXA-7", "active", NOW - HOUR, NOW, NOW)
    listing.learn("KXA-7", "finalized", NOW - HOUR, NOW, NOW + 1)
    assert listing.over(NOW + 1001, 1000) == ["KXA-7"]
    listing.forget("KXA-7")
    listing.changed.clear()
    for status in ("finalized", "settled"):
        assert not listing.learn("KXA-7", status, NOW - HOUR, NOW, NOW + 2000)
    assert not listing.markets and not listing.changed


def test_a_clock_that_was_ahead_for_a_moment_keeps_no_settled_market() -> None:
    """Neither that one nor those that are settled after it."""
    listing = Listing("include", ())
    for n, now_ms in enumerate((NOW + 24 * HOUR, NOW, NOW + 500)):
        listing.learn(f"KXA-{n}", "active", NOW - HOUR, NOW, NOW - 1)
        listing.event(f"KXA-{n}", "settled", {"market_ticker": f"KXA-{n}"}, now_ms)
    assert listing.over(NOW + 1000, 1000) == ["KXA-0", "KXA-1"] and listing.over(NOW + 1500, 1000) == ["KXA-2"]


def test_an_answer_of_rest_that_may_be_older_undoes_nothing_that_the_stream_reported() -> None:
    """It was asked before the message came, or so soon after it that REST may lag; a later one is believed again."""
    lag = 2000
    listing = Listing("include", (), lag)
    listing.learn("KXA-5", "active", NOW - HOUR, NOW + HOUR, NOW - 10)
    listing.event("KXA-5", "determined", {"market_ticker": "KXA-5"}, NOW)
    listing.event("KXA-5", "close_date_updated", {"market_ticker": "KXA-5", "close_ts": NOW // 1000}, NOW)
    for asked_ms in (NOW - 500, NOW, NOW + lag):
        assert not listing.learn("KXA-5", "active", NOW - HOUR, NOW + HOUR, asked_ms, crawl=7)
        market = listing.markets["KXA-5"]
        assert (market.status, market.close_ms, market.crawl) == ("determined", NOW, 7), asked_ms
    listing.learn("KXA-5", "active", NOW - HOUR, NOW + 2 * HOUR, NOW + lag + 1)
    assert (market.status, market.close_ms) == ("active", NOW + 2 * HOUR), "it is open again, and REST reports it later"


def test_what_rest_knows_of_a_created_market_counts_at_once() -> None:
    """A birth has nothing that an answer could contradict, nor does a message of what was known."""
    listing = Listing("include", (), 2000)
    listing.event("KXA-6", "created", {"market_ticker": "KXA-6", "open_ts": NOW // 1000}, NOW)
    listing.learn("KXA-6", "active", NOW, NOW + HOUR, NOW + 1)
    listing.event("KXA-6", "activated", {"market_ticker": "KXA-6"}, NOW + 2)
    listing.learn("KXA-6", "inactive", NOW, NOW + HOUR, NOW + 3)
    assert listing.markets["KXA-6"].status == "inactive" and listing.unknown() == []


def test_close_dates_and_pauses_are_followed() -> None:
    """Lifecycle messages change what REST answered."""
    listing = Listing("include", ())
    listing.learn("KXA-4", "active", NOW - HOUR, NOW + HOUR, NOW)
    listing.changed.clear()
    listing.event("KXA-4", "close_date_updated", {"market_ticker": "KXA-4", "close_ts": NOW // 1000 - 1}, NOW)
    assert listing.markets["KXA-4"].state(NOW) == "closed" and "KXA-4" in listing.changed
    listing.event("KXA-4", "deactivated", {"market_ticker": "KXA-4"}, NOW)
    assert listing.markets["KXA-4"].status == "inactive"


def test_combos_and_series_are_chosen_by_configuration() -> None:
    """Also for what lifecycle messages announce."""
    no_combos = Listing("exclude", ())
    assert not no_combos.learn("KXMVESPORT-1", "active", 0, 0, NOW) and no_combos.learn("KXA-1", "active", 0, 0, NOW)
    series = Listing("include", ("KXBTCD",))
    assert not series.event("KXA-1", "created", {"market_ticker": "KXA-1"}, NOW)
    assert series.event("KXBTCD-26-T7.5", "created", {"market_ticker": "KXBTCD-26-T7.5"}, NOW)


def test_a_crawl_finds_what_is_not_shown_any_more() -> None:
    """Whatever came meanwhile by message is asked for by name as well."""
    listing = Listing("include", ())
    for n in range(5):
        listing.learn(f"KXA-{n}", "active", 0, 0, NOW, crawl=1)
    for n in range(3):
        listing.learn(f"KXA-{n}", "active", 0, 0, NOW, crawl=2)
    listing.event("KXB-1", "created", {"market_ticker": "KXB-1"}, NOW)
    assert sorted(listing.unseen(2)) == ["KXA-3", "KXA-4", "KXB-1"]


def test_memory_follows_the_markets_that_live() -> None:
    """A hundred are born and settle every second; what is over leaves nothing."""
    listing = Listing("include", ())
    rng = random.Random(1)
    for n in range(20_000):
        listing.event(f"KXMVE-{n}", "created", {"market_ticker": f"KXMVE-{n}"}, NOW + n)
        if rng.random() < 0.5:
            listing.learn(f"KXMVE-{n}", "active", 0, 0, NOW + n)
        listing.event(f"KXMVE-{n}", "settled", {"market_ticker": f"KXMVE-{n}"}, NOW + n)
        for ticker in listing.over(NOW + n, 100) if n % 50 == 0 else ():
            listing.forget(ticker)
        listing.changed.clear()
    assert len(listing.markets) < 300 and len(listing.unknown()) < 300


def test_times_of_a_rest_row() -> None:
    """Trimmed fractions, missing and odd values."""
    row = {"open_time": "2026-11-21T10:00:00.5Z", "close_time": "2026-11-21T11:00:00Z"}
    assert row_times(row) == (1795255200500, 1795258800000)
    assert row_times({"open_time": "soon", "close_time": None}) == (0, 0)
