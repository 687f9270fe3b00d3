"""What a client asks of the exchange on one connection, and how it is answered.

Facts, section 2 and 4: a repeated subscribe merges and is answered by `ok`; `get_snapshot` is answered in-stream,
without `ok`; `subscribed` and unscoped errors carry no `seq`.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any, Final

from simulator.exchange import compact
from simulator.session import ClientSession, ServedSubscription, in_yes_prices

CHANNELS: Final = ("orderbook_delta", "trade", "ticker", "market_lifecycle_v2", "multivariate_market_lifecycle")


class Commands:
    """Of one session."""

    def __init__(self, session: ClientSession) -> None:
        self._session, self._exchange = session, session.exchange
        self._came: deque[float] = deque()
        self._loop = asyncio.get_running_loop()

    def take(self, text: str) -> None:
        """Answer one command."""
        session = self._session
        try:
            command = json.loads(text)
            id_, name, params = command.get("id", 0), command["cmd"], command.get("params", {})
        except (ValueError, KeyError, AttributeError):
            session.error(0, 1, "Unable to process message")
            return
        if self._answered_oddly(id_, name, params):
            return
        if self._too_many_commands():
            sids = _sids(params)
            session.error(id_, 27, "Too many commands", session.subscriptions.get(sids[0]) if sids else None)
            return
        match name:
            case "subscribe":
                self._subscribe(id_, params)
            case "update_subscription":
                self._update(id_, params)
            case "unsubscribe":
                self._unsubscribe(id_, params)
            case "list_subscriptions":
                listing = [{"channel": s.channel, "sid": s.sid} for s in session.subscriptions.values()]
                session.unnumbered(b"ok", id_, compact(listing))
            case _:
                session.error(id_, 5, "Unknown command")

    def _answered_oddly(self, id_: int, name: str, params: dict[str, Any]) -> bool:
        """Whether a fault answers instead: what the exchange really answers to some commands is unknown."""
        session = self._session
        channel, sids = (params.get("channels") or [""])[0], _sids(params)
        held = session.by_channel.get(channel) or session.subscriptions.get(sids[0] if sids else 0)
        again = name == "subscribe" and held is not None and not self._tickers(params)
        how = session.faults.answers.get("probe" if again else params.get("action", name))
        if how is None:
            return False
        match how:
            case "subscribed" if held is not None:
                self._subscribed(id_, held)
            case "unnumbered":
                session.unnumbered(b"ok", id_, compact([]))
            case "error":
                session.error(id_, 17, "Internal error")
            case "scoped error":
                session.error(id_, 17, "Internal error", held)
            case "another" if held is not None:  # the stream continues under another sid, numbered from 1
                del session.subscriptions[held.sid]
                held.sid, held.seq = session.next_sid(), 0
                session.subscriptions[held.sid] = held
                self._subscribed(id_, held)
        return True

    def _too_many_commands(self) -> bool:
        now = self._loop.time()
        self._came.append(now)
        while self._came[0] < now - 1:
            self._came.popleft()
        return 0 < self._session.faults.command_limit < len(self._came)

    def _too_many_markets(self, id_: int, tickers: list[str], subscription: ServedSubscription | None) -> bool:
        held = subscription.tickers or {} if subscription else {}
        limit = self._session.faults.market_limit
        if not limit or len(held.keys() | set(tickers)) <= limit:
            return False
        self._session.error(id_, 26, "Market limit exceeded", subscription)
        return True

    def _tickers(self, params: dict[str, Any]) -> list[str]:
        if "market_ticker" in params:
            return [params["market_ticker"]]
        ids = {*params.get("market_ids", ()), *([params["market_id"]] if "market_id" in params else ())}
        named = [m.ticker for m in self._exchange.markets.values() if m.market_id in ids] if ids else []
        return [*params.get("market_tickers", ()), *named]

    # -- subscribe ---------------------------------------------------------------------------------------------

    def _subscribe(self, id_: int, params: dict[str, Any]) -> None:
        session, channels = self._session, params.get("channels")
        if not channels:
            session.error(id_, 3, "Channels required")
            return
        if unknown := [c for c in channels if c not in CHANNELS]:
            session.error(id_, 8, f"Unknown channel name: {unknown[0]}")
            return
        tickers = self._tickers(params)
        if "orderbook_delta" in channels and not tickers:
            session.error(id_, 14, "Market Ticker required")
            return
        if tickers and self._too_many_markets(id_, tickers, session.by_channel.get(channels[0])):
            return
        for channel in channels:
            held = session.by_channel.get(channel)
            if held is not None:  # a second subscribe merges: no new sid, no snapshot for markets already held
                self._add(id_, held, tickers, params)
            else:
                self._begin(id_, channel, tickers, params)

    def _begin(self, id_: int, channel: str, tickers: list[str], params: dict[str, Any]) -> None:
        """A new subscription."""
        session = self._session
        everything = channel.endswith(("lifecycle_v2", "lifecycle")) or not tickers
        subscription = ServedSubscription(
            session.next_sid(),
            channel,
            None if everything else {},
            skip_ack=bool(params.get("skip_ticker_ack")),
            yes_prices=bool(params.get("use_yes_price")),
        )
        session.begin(subscription)
        new = session.add(subscription, tickers)
        at_ms = self._exchange.now_us() // 1000
        self._exchange.truth.write("subscribed", key=session.key_id, channel=channel, at_ms=at_ms)
        self._subscribed(id_, subscription)
        self._snapshots(subscription, new)
        self._first_tickers(subscription, new, params)

    def _add(self, id_: int, held: ServedSubscription, tickers: list[str], params: dict[str, Any]) -> None:
        """Markets join a subscription."""
        new = self._session.add(held, tickers)
        self._ok(held, id_)
        self._snapshots(held, new)
        self._first_tickers(held, new, params)

    def _subscribed(self, id_: int, held: ServedSubscription) -> None:
        self._session.unnumbered(b"subscribed", id_, compact({"channel": held.channel, "sid": held.sid}))

    def _first_tickers(self, subscription: ServedSubscription, new: list[str], params: dict[str, Any]) -> None:
        """With `send_initial_snapshot` the ticker channel begins with what it would send of each market now."""
        if subscription.channel != "ticker" or not params.get("send_initial_snapshot"):
            return
        markets = self._exchange.markets
        tickers = new if subscription.tickers is not None else [t for t, m in markets.items() if m.status == "active"]
        for ticker in tickers:
            if ticker in markets:
                body = self._exchange.ticker_body(markets[ticker], self._exchange.now_us())
                self._session.ticker(subscription, body)

    def _snapshots(self, subscription: ServedSubscription, tickers: list[str], id_: int | None = None) -> None:
        if id_ is None and self._loop.time() < self._session.faults.quiet_add_until:
            return
        if subscription.channel == "orderbook_delta":
            for ticker in tickers:
                message = self._exchange.snapshot_message(self._exchange.markets.get(ticker), ticker)
                if subscription.yes_prices:
                    message = in_yes_prices(message)
                message = self._session.faults.snapshot(message, asked=id_ is not None)
                self._session.numbered(subscription, b"orderbook_snapshot", message.body, id_)

    def _ok(self, subscription: ServedSubscription, id_: int) -> None:
        listed = None
        if subscription.tickers is not None and not subscription.skip_ack:
            listed = compact({"market_tickers": list(subscription.tickers)})
        self._session.numbered(subscription, b"ok", listed, id_)

    # -- the others --------------------------------------------------------------------------------------------

    def _update(self, id_: int, params: dict[str, Any]) -> None:
        session = self._session
        sids = [params["sid"]] if "sid" in params else params.get("sids", [])
        if len(sids) != 1:
            session.error(id_, 12, "Exactly one sid required")
            return
        subscription = session.subscriptions.get(sids[0])
        if subscription is None:
            session.error(id_, 7, "Unknown sid")
            return
        action, tickers = params.get("action"), self._tickers(params)
        if action not in ("add_markets", "delete_markets", "get_snapshot"):
            session.error(id_, 15 if action is None else 13, "Unsupported action", subscription)
        elif not tickers:
            session.error(id_, 14, "Market Ticker required", subscription)
        elif action == "get_snapshot":
            self._get_snapshot(id_, subscription, tickers)
        elif action == "delete_markets":
            session.remove(subscription, tickers)
            self._ok(subscription, id_)
        elif not self._too_many_markets(id_, tickers, subscription):
            self._add(id_, subscription, tickers, params)

    def _get_snapshot(self, id_: int, subscription: ServedSubscription, tickers: list[str]) -> None:
        session = self._session
        if subscription.channel != "orderbook_delta":
            session.error(id_, 13, "Unsupported action", subscription)
            return
        held = subscription.tickers or {}
        answered = [t for t in tickers if t in held or session.faults.unheld == "answered"]
        if len(answered) < len(tickers) and session.faults.unheld == "error":
            session.error(id_, 11, "Invalid parameter", subscription)
        self._snapshots(subscription, answered, id_)

    def _unsubscribe(self, id_: int, params: dict[str, Any]) -> None:
        for sid in params.get("sids", []):
            subscription = self._session.subscriptions.get(sid)
            if subscription is None:
                self._session.error(id_, 7, "Unknown sid")
                continue
            self._session.end(subscription)
            self._session.numbered(subscription, b"unsubscribed", None, id_)


def _sids(params: dict[str, Any]) -> list[int]:
    return [*params.get("sids", []), *([params["sid"]] if "sid" in params else [])]
