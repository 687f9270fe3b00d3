"""One client's WebSocket session: sids, seq, commands, and the faults aimed at it.

Facts, section 2 and 4: one sid per channel, counted from 1 per connection; one `seq` per sid from 1 over
snapshots, deltas, `ok`, scoped errors and `unsubscribed`; a repeated subscribe merges and is answered by `ok`;
`get_snapshot` is answered in-stream, without `ok`; `subscribed` and unscoped errors carry no `seq`; the ticker
channel is not numbered. Frames are compact JSON in the order type, id, sid, seq, msg, sending_ts_ms and end in a
newline.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from simulator.exchange import Exchange, Message, compact
from simulator.market import dollars, price_units
from simulator.prices import ONE
from simulator.truth import DeliveredLog

CHANNELS: Final = ("orderbook_delta", "trade", "ticker", "market_lifecycle_v2", "multivariate_market_lifecycle")
WRITE_BUFFER_BYTES_MAX: Final = 256 << 20
FLUSH_S: Final = 0.001


@dataclass
class Subscription:
    """One sid: its channel, its counter, and its markets (None: all)."""

    sid: int
    channel: str
    tickers: dict[str, None] | None
    seq: int = 0
    skip_ack: bool = False
    yes_prices: bool = False


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


def in_yes_prices(message: Message) -> Message:
    """The same book or change with the NO side's prices as YES prices (facts, section 3.4)."""

    def turned(body: bytes) -> bytes:
        fields = json.loads(body)
        if fields.get("side") == "no":
            fields["price_dollars"] = dollars(ONE - price_units(fields["price_dollars"]))
        if levels := fields.get("no_dollars_fp"):
            fields["no_dollars_fp"] = [[dollars(ONE - price_units(p)), q] for p, q in reversed(levels)]
        return compact(fields)

    return Message(message.type, turned(message.body), turned(message.coarse))


def text_frame(payload: bytes) -> bytes:
    """An unfragmented, unmasked text frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


class Session:
    """A connected client. `deliver` is called by the exchange, `command` by the socket's reader."""

    def __init__(
        self,
        exchange: Exchange,
        transport: asyncio.Transport,
        key_id: str,
        number: int,
        *,
        coarse_ts: bool,
        sending_ts: bool,
        delivered: DeliveredLog | None = None,
    ) -> None:
        self.exchange, self.transport = exchange, transport
        self.key_id, self.number = key_id, number
        self.coarse_ts, self.sending_ts = coarse_ts, sending_ts
        self.subscriptions: dict[int, Subscription] = {}
        self.by_channel: dict[str, Subscription] = {}
        self.faults = Faults()
        self.frames_sent = 0
        self.delivered = delivered
        self._commands: deque[float] = deque()
        self._late: dict[str, set[str]] = {}
        self._sids = 0
        self._out: list[bytes] = []
        self._flushing = False
        self._loop = asyncio.get_running_loop()

    # -- what the exchange publishes ---------------------------------------------------------------------------

    def deliver(self, channel: str, ticker: str, message: Message) -> None:
        """A message of the exchange for one of this session's subscriptions."""
        subscription = self.by_channel.get(channel)
        if subscription is None:
            return
        if (
            subscription.tickers is not None
            and ticker not in subscription.tickers
            and not self._is_late(channel, ticker)
        ):
            return
        if subscription.yes_prices:
            message = in_yes_prices(message)
        if message.type == "orderbook_delta":
            for bent in self._bent(ticker, message):
                self._numbered(subscription, b"orderbook_delta", bent.coarse if self.coarse_ts else bent.body)
            return
        body = message.coarse if self.coarse_ts else message.body
        if channel == "ticker":
            self._send(b'{"type":"ticker","sid":%d,"msg":%b}\n' % (subscription.sid, body))
        else:
            self._numbered(subscription, message.type.encode(), body)

    def _bent(self, ticker: str, message: Message) -> list[Message]:
        """A change as this session is to see it: as it is, unless an assumption is being broken on purpose."""
        faults = self.faults
        if faults.omit:
            faults.omit -= 1
            return []
        if faults.retyped:
            faults.retyped -= 1
            message = retyped(message)
        if faults.shift:
            faults.shift -= 1
            message = shifted(message, faults.shift_ms)
        if faults.held is not None and faults.held[0] == ticker:
            held, faults.held = faults.held, None
            return [message, held[1]]
        if faults.swap and faults.held is None:
            faults.swap -= 1
            faults.held = (ticker, message)
            return []
        return [message]

    def _is_late(self, channel: str, ticker: str) -> bool:
        """Whether a market that was deleted goes on being delivered for a while."""
        return self._loop.time() <= self.faults.late_until and ticker in self._late.get(channel, ())

    def _numbered(self, subscription: Subscription, type_: bytes, body: bytes | None, id_: int | None = None) -> None:
        subscription.seq += 1
        faults = self.faults
        if faults.drop and faults.drop_channel in (None, subscription.channel):
            faults.drop -= 1
            return
        frame = b'{"type":"%b"' % type_
        if id_ is not None:
            frame += b',"id":%d' % id_
        frame += b',"sid":%d,"seq":%d' % (subscription.sid, subscription.seq)
        if body is not None:
            frame += b',"msg":' + body
        if self.sending_ts:
            frame += b',"sending_ts_ms":%d' % (self.exchange.now_us() // 1000)
        frame += b"}\n"
        self._send(frame)
        if faults.duplicate and faults.drop_channel in (None, subscription.channel):
            faults.duplicate -= 1
            self._send(frame)

    # -- what the client asks ----------------------------------------------------------------------------------

    def command(self, text: str) -> None:
        """Answer one command."""
        try:
            command = json.loads(text)
            id_, name, params = command.get("id", 0), command["cmd"], command.get("params", {})
        except (ValueError, KeyError, AttributeError):
            self._error(0, 1, "Unable to process message")
            return
        if self._answered_oddly(id_, name, params):
            return
        if self._too_many_commands():
            sids = [*params.get("sids", []), *([params["sid"]] if "sid" in params else [])]
            self._error(id_, 27, "Too many commands", self.subscriptions.get(sids[0]) if sids else None)
            return
        match name:
            case "subscribe":
                self._subscribe(id_, params)
            case "update_subscription":
                self._update(id_, params)
            case "unsubscribe":
                self._unsubscribe(id_, params)
            case "list_subscriptions":
                listing = [{"channel": s.channel, "sid": s.sid} for s in self.subscriptions.values()]
                self._send(b'{"type":"ok","id":%d,"msg":%b}\n' % (id_, compact(listing)))
            case _:
                self._error(id_, 5, "Unknown command")

    def _answered_oddly(self, id_: int, name: str, params: dict[str, Any]) -> bool:
        """Whether a fault answers instead: what the exchange really says to some commands nobody knows."""
        channel = (params.get("channels") or [""])[0]
        sids = [*params.get("sids", []), *([params["sid"]] if "sid" in params else [])]
        held = self.by_channel.get(channel) or self.subscriptions.get(sids[0] if sids else 0)
        again = name == "subscribe" and held is not None and not self._tickers(params)
        how = self.faults.answers.get("probe" if again else params.get("action", name))
        if how is None:
            return False
        match how:
            case "subscribed" if held is not None:
                self._send(
                    b'{"type":"subscribed","id":%d,"msg":%b}\n'
                    % (id_, compact({"channel": held.channel, "sid": held.sid}))
                )
            case "unnumbered":
                self._send(b'{"type":"ok","id":%d,"msg":%b}\n' % (id_, compact([])))
            case "error":
                self._error(id_, 17, "Internal error")
            case "scoped error":
                self._error(id_, 17, "Internal error", held)
            case "another" if held is not None:  # the stream goes on under another sid, numbered from 1
                del self.subscriptions[held.sid]
                self._sids += 1
                held.sid, held.seq = self._sids, 0
                self.subscriptions[held.sid] = held
                self._send(
                    b'{"type":"subscribed","id":%d,"msg":%b}\n'
                    % (id_, compact({"channel": held.channel, "sid": held.sid}))
                )
        return True

    def _too_many_commands(self) -> bool:
        now = self._loop.time()
        self._commands.append(now)
        while self._commands[0] < now - 1:
            self._commands.popleft()
        return 0 < self.faults.command_limit < len(self._commands)

    def _too_many_markets(self, id_: int, tickers: list[str], subscription: Subscription | None) -> bool:
        held = subscription.tickers or {} if subscription else {}
        limit = self.faults.market_limit
        if not limit or len(held.keys() | set(tickers)) <= limit:
            return False
        self._error(id_, 26, "Market limit exceeded", subscription)
        return True

    def _tickers(self, params: dict[str, Any]) -> list[str]:
        if "market_ticker" in params:
            return [params["market_ticker"]]
        ids = {*params.get("market_ids", ()), *([params["market_id"]] if "market_id" in params else ())}
        named = [m.ticker for m in self.exchange.markets.values() if m.market_id in ids] if ids else []
        return [*params.get("market_tickers", ()), *named]

    def _subscribe(self, id_: int, params: dict[str, Any]) -> None:
        channels = params.get("channels")
        if not channels:
            self._error(id_, 3, "Channels required")
            return
        if unknown := [c for c in channels if c not in CHANNELS]:
            self._error(id_, 8, f"Unknown channel name: {unknown[0]}")
            return
        tickers = self._tickers(params)
        if "orderbook_delta" in channels and not tickers:
            self._error(id_, 14, "Market Ticker required")
            return
        if tickers and self._too_many_markets(id_, tickers, self.by_channel.get(channels[0])):
            return
        for channel in channels:
            held = self.by_channel.get(channel)
            if held is not None:  # a second subscribe merges: no new sid, no snapshot for markets already held
                new = self._add(held, tickers)
                self._ok(held, id_)
                self._snapshots(held, new)
                self._first_tickers(held, new, params)
                continue
            self._sids += 1
            everything = channel.endswith("lifecycle_v2") or channel.endswith("lifecycle") or not tickers
            subscription = Subscription(
                self._sids,
                channel,
                None if everything else {},
                skip_ack=bool(params.get("skip_ticker_ack")),
                yes_prices=bool(params.get("use_yes_price")),
            )
            self.subscriptions[subscription.sid] = self.by_channel[channel] = subscription
            if channel != "orderbook_delta":
                self.exchange.channel_listeners[channel].add(self)
            new = self._add(subscription, tickers)
            self.exchange.truth.write(
                "subscribed", key=self.key_id, channel=channel, at_ms=self.exchange.now_us() // 1000
            )
            self._send(
                b'{"type":"subscribed","id":%d,"msg":%b}\n'
                % (id_, compact({"channel": channel, "sid": subscription.sid}))
            )
            self._snapshots(subscription, new)
            self._first_tickers(subscription, new, params)

    def _first_tickers(self, subscription: Subscription, new: list[str], params: dict[str, Any]) -> None:
        """With `send_initial_snapshot` the ticker channel begins with what it would say of each market now."""
        if subscription.channel != "ticker" or not params.get("send_initial_snapshot"):
            return
        markets = self.exchange.markets
        tickers = new if subscription.tickers is not None else [t for t, m in markets.items() if m.status == "active"]
        for ticker in tickers:
            if ticker in markets:
                body = self.exchange.ticker_body(markets[ticker], self.exchange.now_us())
                self._send(b'{"type":"ticker","sid":%d,"msg":%b}\n' % (subscription.sid, body))

    def _add(self, subscription: Subscription, tickers: list[str]) -> list[str]:
        if subscription.tickers is None:
            return []
        new = [t for t in tickers if t not in subscription.tickers]
        subscription.tickers.update(dict.fromkeys(new))
        if subscription.channel == "orderbook_delta":
            for ticker in new:
                self.exchange.book_listeners[ticker].add(self)
        return new

    def _snapshots(self, subscription: Subscription, tickers: list[str], id_: int | None = None) -> None:
        if id_ is None and self._loop.time() < self.faults.quiet_add_until:
            return
        if subscription.channel == "orderbook_delta":
            for ticker in tickers:
                message = self.exchange.snapshot_message(self.exchange.markets.get(ticker), ticker)
                if subscription.yes_prices:
                    message = in_yes_prices(message)
                if self.faults.renamed:
                    self.faults.renamed -= 1
                    message = renamed(message)
                if self.faults.stale and id_ is not None:
                    self.faults.stale -= 1
                    message = one_too_many(message)
                self._numbered(subscription, b"orderbook_snapshot", message.body, id_)

    def _ok(self, subscription: Subscription, id_: int) -> None:
        listed = None
        if subscription.tickers is not None and not subscription.skip_ack:
            listed = compact({"market_tickers": list(subscription.tickers)})
        self._numbered(subscription, b"ok", listed, id_)

    def _update(self, id_: int, params: dict[str, Any]) -> None:
        sids = [params["sid"]] if "sid" in params else params.get("sids", [])
        if len(sids) != 1:
            self._error(id_, 12, "Exactly one sid required")
            return
        subscription = self.subscriptions.get(sids[0])
        if subscription is None:
            self._error(id_, 7, "Unknown sid")
            return
        action, tickers = params.get("action"), self._tickers(params)
        if action not in ("add_markets", "delete_markets", "get_snapshot"):
            self._error(id_, 15 if action is None else 13, "Unsupported action", subscription)
        elif not tickers:
            self._error(id_, 14, "Market Ticker required", subscription)
        elif action == "get_snapshot":
            if subscription.channel != "orderbook_delta":
                self._error(id_, 13, "Unsupported action", subscription)
            else:
                held = subscription.tickers or {}
                answered = [t for t in tickers if t in held or self.faults.unheld == "answered"]
                if len(answered) < len(tickers) and self.faults.unheld == "error":
                    self._error(id_, 11, "Invalid parameter", subscription)
                self._snapshots(subscription, answered, id_)
        elif action == "add_markets":
            if self._too_many_markets(id_, tickers, subscription):
                return
            new = self._add(subscription, tickers)
            self._ok(subscription, id_)
            self._snapshots(subscription, new)
            self._first_tickers(subscription, new, params)
        else:
            for ticker in tickers:
                if subscription.tickers is not None and ticker in subscription.tickers:
                    del subscription.tickers[ticker]
                    if self._loop.time() < self.faults.late_until:
                        self._late.setdefault(subscription.channel, set()).add(ticker)
                    else:
                        self.exchange.book_listeners[ticker].discard(self)
            self._ok(subscription, id_)

    def _unsubscribe(self, id_: int, params: dict[str, Any]) -> None:
        for sid in params.get("sids", []):
            subscription = self.subscriptions.pop(sid, None)
            if subscription is None:
                self._error(id_, 7, "Unknown sid")
                continue
            del self.by_channel[subscription.channel]
            self._unlisten(subscription)
            self._numbered(subscription, b"unsubscribed", None, id_)

    def kill_subscription(self, channel: str, code: int, text: str) -> None:
        """A terminal error (10 or 25) of one subscription; the others on the socket live on."""
        subscription = self.by_channel.pop(channel, None)
        if subscription:
            del self.subscriptions[subscription.sid]
            self._unlisten(subscription)
            self._error(None, code, text, subscription)

    def _error(self, id_: int | None, code: int, text: str, subscription: Subscription | None = None) -> None:
        body = compact({"code": code, "msg": text})
        if subscription is not None:
            self._numbered(subscription, b"error", body, id_)
        else:
            self._send(b'{"type":"error","id":%d,"msg":%b}\n' % (id_ or 0, body))

    # -- the socket --------------------------------------------------------------------------------------------

    def raw_frame(self, text: bytes) -> None:
        """Send text as it is: a fault."""
        self._send(text)

    def stall(self, until: float, channel: str | None, code: int | None) -> None:
        """Publish nothing until the loop's time `until`; pings go on."""
        self.faults.stalled_until = until

        def over() -> None:
            queued, self.faults.stalled = self.faults.stalled, []
            if code is not None and channel is not None:
                self.kill_subscription(channel, code, "Subscription buffer overflow")
                return
            for payload in queued:
                self._send(payload)

        self._loop.call_at(until, over)

    @property
    def muted(self) -> bool:
        """Whether the socket is half-open: nothing leaves, not even pings."""
        return self._loop.time() < self.faults.muted_until

    def _send(self, payload: bytes) -> None:
        if self.muted:
            return  # a half-open socket: what is sent never arrives
        if self._loop.time() < self.faults.stalled_until:
            self.faults.stalled.append(payload)
            return
        self.frames_sent += 1
        if self.delivered is not None:
            self.delivered.frame(self.key_id, self.number, payload)
        self._out.append(text_frame(payload))
        if not self._flushing:
            self._flushing = True
            self._loop.call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.transport.is_closing():
            self._out.clear()
            return
        self.transport.write(b"".join(self._out))
        self._out.clear()
        if self.transport.get_write_buffer_size() > WRITE_BUFFER_BYTES_MAX:
            self.transport.abort()

    def _unlisten(self, subscription: Subscription) -> None:
        self.exchange.channel_listeners[subscription.channel].discard(self)
        if subscription.channel == "orderbook_delta":
            for ticker in subscription.tickers or ():
                self.exchange.book_listeners[ticker].discard(self)

    def close(self) -> None:
        """The socket is gone."""
        if self.delivered is not None:
            self.delivered.closed(self.key_id, self.number)
        for tickers in self._late.values():
            for ticker in tickers:
                self.exchange.book_listeners[ticker].discard(self)
        for subscription in self.subscriptions.values():
            self._unlisten(subscription)
        self.subscriptions.clear()
        self.by_channel.clear()

    def cut(self) -> None:
        """Reset the connection without a close handshake."""
        self._out.clear()
        self.transport.abort()
