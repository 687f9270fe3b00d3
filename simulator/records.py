"""REST's objects of markets, events and series: every field of the vendor's schema, null where that has nullable.

Optional fields are absent, null or there, by a hash of their ticker: a client meets all three.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from zlib import crc32

from simulator.market import Market, contracts, dollars, rfc3339_us
from simulator.prices import BANDS, ONE

DAY_US: Final = 86_400_000_000
SETTLEMENT_TIMER_S: Final = 60
SOURCES: Final = [{"name": "The simulator", "url": "https://example.com/source"}]
COMBOS: Final = "KXMVE"


def index_of(series_ticker: str) -> int:
    """The exchange index that a series is on: combos have one of their own, and so have crypto and some sports."""
    if series_ticker.startswith(COMBOS):
        return 1
    return 2 if series_ticker.startswith(("KXBTC", "KXETH", "KXGOLD")) else 0


def optional(key: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Of fields that may be absent or null: each is one of the three, by a hash."""
    present = {}
    for name, value in fields.items():
        which = crc32(f"{key}/{name}".encode()) % 3
        if which:
            present[name] = value if which == 2 else None
    return present


def market_record(market: Market) -> dict[str, Any]:
    """The REST market object."""
    last, volume = dollars(market.last_price), contracts(market.volume)
    combo = market.ticker.startswith(COMBOS)
    record = {
        **market.extra,
        "ticker": market.ticker,
        "event_ticker": market.event_ticker,
        "market_type": "binary",
        "title": market.extra.get("title", market.ticker),
        "subtitle": market.extra.get("subtitle", ""),
        "yes_sub_title": market.extra.get("yes_sub_title", "Yes"),
        "no_sub_title": market.extra.get("no_sub_title", "No"),
        "created_time": rfc3339_us(market.created_us),
        "updated_time": rfc3339_us(market.updated_us),
        "open_time": rfc3339_us(market.open_us),
        "close_time": rfc3339_us(market.close_us),
        "expiration_time": rfc3339_us(market.close_us + DAY_US),
        "latest_expiration_time": rfc3339_us(market.close_us + DAY_US),
        "settlement_timer_seconds": SETTLEMENT_TIMER_S,
        "status": market.status,
        "result": market.result,
        "notional_value_dollars": "1.0000",
        **quotes(market),
        "last_price_dollars": last,
        "previous_yes_bid_dollars": dollars(market.previous_price),
        "previous_yes_ask_dollars": dollars(market.previous_price),
        "previous_price_dollars": dollars(market.previous_price),
        "volume_fp": volume,
        "volume_24h_fp": volume,
        "open_interest_fp": volume,
        "liquidity_dollars": "0.0000",  # left the vendor's schema in October 2026; clients of others ask for it
        "can_close_early": True,
        "expiration_value": market.result,
        "rules_primary": market.extra.get("rules_primary", f"If {market.ticker} happens, it resolves to Yes."),
        "rules_secondary": market.extra.get("rules_secondary", ""),
        "price_level_structure": market.structure,
        "price_ranges": price_ranges(market.structure),
        "settlement_bounds_type": "default",
        "exchange_index": index_of(market.series_ticker),
    }
    strikes = {} if combo else {"strike_type": "greater", "floor_strike": crc32(market.ticker.encode()) % 1000 + 0.5}
    record |= strikes
    record |= optional(
        market.ticker,
        {
            "expected_expiration_time": rfc3339_us(market.close_us),
            "occurrence_datetime": rfc3339_us(market.close_us),
            "fee_waiver_expiration_time": rfc3339_us(market.close_us),
            "early_close_condition": "The event is over.",
            "cap_strike": 1000,
            "functional_strike": "x",
            "custom_strike": {"Entity": market.event_ticker},
            "primary_participant_key": "participant",
        },
    )
    if combo:
        record |= {
            "mve_collection_ticker": f"{market.series_ticker}-R",
            "mve_selected_legs": market.legs,
            "is_provisional": True,
        }
    if market.settled_us:
        record["settlement_ts"] = rfc3339_us(market.settled_us)
    if market.result:
        record["settlement_value_dollars"] = "1.0000" if market.result == "yes" else "0.0000"
    return record


def quotes(market: Market) -> dict[str, str]:
    """The best prices and their sizes. An empty market has no asks of a dollar: docs.kalshi.com."""
    best_yes, best_no = max(market.yes, default=0), max(market.no, default=0)
    yes_bid, yes_ask, no_bid, no_ask = best_yes, ONE - best_no, best_no, ONE - best_yes
    if market.status == "initialized":
        yes_ask = no_ask = 0
    elif market.status == "active" and not best_yes and not best_no:
        yes_ask, no_bid = 0, ONE
    return {
        "yes_bid_dollars": dollars(yes_bid),
        "yes_bid_size_fp": contracts(market.yes.get(best_yes, 0)),
        "yes_ask_dollars": dollars(yes_ask),
        "yes_ask_size_fp": contracts(market.no.get(best_no, 0)),
        "no_bid_dollars": dollars(no_bid),
        "no_ask_dollars": dollars(no_ask),
    }


def price_ranges(structure: str) -> list[dict[str, str]]:
    """The bands of a structure, as the exchange prints them."""
    return [
        {"start": dollars(start), "end": dollars(end), "step": dollars(step)} for start, end, step in BANDS[structure]
    ]


def event_record(event: dict[str, Any], markets: Iterable[Market] | None = None) -> dict[str, Any]:
    """The REST event object; with its markets where they are asked for. What `event` has itself stands."""
    ticker, series = event["event_ticker"], event["series_ticker"]
    dated = crc32(ticker.encode()) % 2 == 0  # a strike is a date or a period, never both
    record = {
        "event_ticker": ticker,
        "series_ticker": series,
        "title": ticker,
        "sub_title": "",
        "collateral_return_type": "",
        "mutually_exclusive": False,
        "category": "Simulated",
        "strike_date": event.get("close_time") if dated else None,
        "strike_period": None if dated else "day",
        "settlement_sources": SOURCES if crc32(f"{ticker}/s".encode()) % 3 else None,
        "exchange_index": index_of(series),
        **optional(
            ticker,
            {
                "product_metadata": {"competition": "none"},
                "fee_type_override": "quadratic",
                "fee_multiplier_override": 0.5,
                "last_updated_ts": rfc3339_us(event.get("updated_us", 0)),
            },
        ),
        **{name: value for name, value in event.items() if name not in ("close_time", "updated_us")},
    }
    if record.get("last_updated_ts", "") is None:
        del record["last_updated_ts"]  # may be absent, never null
    if markets is not None:
        record["markets"] = [market_record(market) for market in markets]
    return record


def series_record(series: dict[str, Any], *, volume: int | None = None, metadata: bool = False) -> dict[str, Any]:
    """The REST series object."""
    ticker = series["ticker"]
    plenty = crc32(ticker.encode()) % 2
    record = {
        "ticker": ticker,
        "frequency": "daily",
        "title": ticker,
        "category": "Simulated",
        "categories": ["Simulated"] if plenty else [],
        "tags": ["simulated"] if plenty else None,
        "settlement_sources": SOURCES if plenty else None,
        "contract_url": "https://example.com/contract",
        "contract_terms_url": "https://example.com/terms",
        "fee_type": "quadratic_with_combo_maker_fees" if ticker.startswith(COMBOS) else "quadratic",
        "fee_multiplier": 1 if plenty else 0.5,
        "additional_prohibitions": ["none"] if plenty else None,
        "exchange_index": index_of(ticker),
        **series,
    }
    if metadata:
        record["product_metadata"] = {"scope": "none"} if plenty else None
    if volume is not None:
        record["volume_fp"] = contracts(volume)
    return record
