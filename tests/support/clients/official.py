"""The vendor's own client (kalshi-python-sync): every call that the simulator offers."""

from __future__ import annotations

from pathlib import Path

import kalshi_python_sync as kalshi
from asking import asked, try_each

ask = asked()
client = kalshi.ApiClient(kalshi.Configuration(host=ask["rest_url"]))
client.kalshi_auth = kalshi.KalshiAuth(ask["key_id"], Path(ask["key_file"]).read_text())
market, events, exchange = kalshi.MarketApi(client), kalshi.EventsApi(client), kalshi.ExchangeApi(client)
historical, account = kalshi.HistoricalApi(client), kalshi.AccountApi(client)
incentives = kalshi.IncentiveProgramsApi(client)
period = {"start_ts": ask["start"], "end_ts": ask["end"], "period_interval": 1}

try_each(
    {
        "exchange status": exchange.get_exchange_status,
        "exchange schedule": exchange.get_exchange_schedule,
        "series fee changes": lambda: exchange.get_series_fee_changes(show_historical=True).series_fee_change_arr,
        "markets": lambda: market.get_markets(limit=1000).markets,
        **{
            f"markets {status}": lambda status=status: market.get_markets(status=status).markets
            for status in ("unopened", "open", "paused", "closed", "settled")
        },
        "markets without combos": lambda: market.get_markets(mve_filter="exclude").markets,
        "combos": lambda: market.get_markets(mve_filter="only").markets,
        "markets by ticker": lambda: market.get_markets(tickers=ask["ticker"]).markets,
        "market": lambda: market.get_market(ask["ticker"]).market,
        "combo": lambda: market.get_market(ask["combo"]).market,
        "order book": lambda: market.get_market_orderbook(ask["ticker"]).orderbook_fp,
        "order book of a depth": lambda: market.get_market_orderbook(ask["ticker"], depth=3).orderbook_fp,
        "order books": lambda: market.get_market_orderbooks([ask["ticker"], ask["combo"]]).orderbooks,
        "trades": lambda: market.get_trades(limit=100).trades,
        "candles": lambda: market.get_market_candlesticks(ask["series"], ask["ticker"], **period).candlesticks,
        "candles of several": lambda: (
            market.batch_get_market_candlesticks(
                f"{ask['ticker']},{ask['combo']}", include_latest_before_start=True, **period
            ).markets
        ),
        "series list": lambda: market.get_series_list(include_volume=True).series,
        "series": lambda: market.get_series(ask["series"]).series,
        "events": lambda: events.get_events(limit=200, with_nested_markets=True).events,
        **{
            f"events {status}": lambda status=status: events.get_events(status=status).events
            for status in ("unopened", "open", "closed", "settled")
        },
        "event": lambda: events.get_event(ask["event"], with_nested_markets=True).event,
        "event of a combo": lambda: events.get_event(ask["combo_event"]).event,
        "events of combos": lambda: events.get_multivariate_events(with_nested_markets=True).events,
        "event fee changes": lambda: events.get_event_fee_changes().event_fee_changes,
        "event metadata": lambda: events.get_event_metadata(ask["event"]),
        "candles of an event": lambda: (
            events.get_market_candlesticks_by_event(
                series_ticker=ask["series"], ticker=ask["event"], **period
            ).market_candlesticks
        ),
        "cutoff": historical.get_historical_cutoff,
        "historical markets": lambda: historical.get_historical_markets().markets,
        "historical market": lambda: historical.get_historical_market(ask["archived"]).market,
        "historical candles": lambda: (
            historical.get_market_candlesticks_historical(ask["archived"], **period).candlesticks
        ),
        "historical trades": lambda: historical.get_trades_historical().trades,
        "account limits": account.get_account_api_limits,
        "endpoint costs": account.get_account_endpoint_costs,
        "incentive programs": lambda: incentives.get_incentive_programs().incentive_programs,
    }
)
