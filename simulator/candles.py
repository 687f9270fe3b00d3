"""Candles, made from the trades: quotes are a tick around them, a period without a trade has prices of null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from simulator.market import Market, contracts, dollars, price_units, size_units
from simulator.prices import ONE

TICKERS_MAX: Final = 100
CANDLES_MAX: Final = 10_000
LIVE: Final = ("_dollars", "_fp")
HISTORICAL: Final = ("", "")
"""Suffixes of prices and of counts: the historical list has none."""


class TooMany(ValueError):
    """More candles than one answer holds."""


def candles(
    trades: list[dict[str, Any]], market: Market, query: Mapping[str, str], suffixes: tuple[str, str] = LIVE
) -> list[dict[str, Any]]:
    """The candles of a market in the periods that a request asks for."""
    seconds = int(query["period_interval"]) * 60
    first, last = int(query["start_ts"]), int(query["end_ts"])
    ends = range(-(-first // seconds) * seconds, last + 1, seconds)
    periods: dict[int, list[dict[str, Any]]] = {end: [] for end in ends}
    previous, before = 0, 0
    for trade in trades:
        if trade["ticker"] != market.ticker:
            continue
        end = trade["_us"] // 1_000_000 // seconds * seconds + seconds
        if end in periods:
            periods[end].append(trade)
        elif ends and end < ends[0]:
            previous = price_units(trade["yes_price_dollars"])
            before += size_units(trade["count_fp"])
    rows = []
    if query.get("include_latest_before_start") == "true" and ends and suffixes == LIVE:
        rows.append(_candle(first, [], previous, before, suffixes))
    for end, within in periods.items():
        before += sum(size_units(trade["count_fp"]) for trade in within)
        rows.append(_candle(end, within, previous, before, suffixes))
        previous = price_units(within[-1]["yes_price_dollars"]) if within else previous
    return rows


def _candle(
    end: int, trades: list[dict[str, Any]], previous: int, interest: int, suffixes: tuple[str, str]
) -> dict[str, Any]:
    price_suffix, count_suffix = suffixes
    prices = [price_units(trade["yes_price_dollars"]) for trade in trades]
    values = prices or [previous]
    volume = sum(size_units(trade["count_fp"]) for trade in trades)

    def of(way: int) -> dict[str, str]:
        moved = [min(max(price + way, 0), ONE) for price in values]
        found = {"open": moved[0], "high": max(moved), "low": min(moved), "close": moved[-1]}
        return {f"{name}{price_suffix}": dollars(price) for name, price in found.items()}

    price: dict[str, Any] = dict.fromkeys(
        (f"{name}{price_suffix}" for name in ("open", "high", "low", "close", "mean")), None
    )
    if prices:
        price = {**of(0), f"mean{price_suffix}": dollars(sum(prices) // len(prices))}
    if price_suffix:
        price |= {"min_dollars": price["low_dollars"], "max_dollars": price["high_dollars"]}
    price[f"previous{price_suffix}"] = dollars(previous) if previous else None
    return {
        "end_period_ts": end,
        "yes_bid": of(-1),
        "yes_ask": of(1),
        "price": price,
        f"volume{count_suffix}": contracts(volume),
        f"open_interest{count_suffix}": contracts(interest),
    }


def of_several(
    trades: list[dict[str, Any]], markets: list[Market], query: Mapping[str, str]
) -> list[list[dict[str, Any]]]:
    """The candles of several markets; raises `TooMany`."""
    rows = [candles(trades, market, query) for market in markets]
    if sum(map(len, rows)) > CANDLES_MAX:
        raise TooMany("too many candlesticks")
    return rows
