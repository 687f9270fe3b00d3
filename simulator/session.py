"""One client's WebSocket session: sids, seq, what the exchange publishes to it, and the faults aimed at it.

Facts, section 2 and 4: one sid per channel, counted from 1 per connection; one `seq` per sid from 1 over
snapshots, deltas, `ok`, scoped errors and `unsubscribed`; the ticker channel is not numbered. Frames are compact JSON
in the order type, id, sid, seq, msg, sending_ts_ms and end in a newline.
"""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import dataclass
from typing import Final

from simulator.bent import Faults
from simulator.exchange import Exchange, Message, compact
from simulator.market import dollars, price_units
from simulator.prices import ONE
from simulator.truth import DeliveredLog

WRITE_BUFFER_BYTES_MAX: Final = 256 << 20
FLUSH_S: Final = 0.001


@dataclass
class ServedSubscription:
    """One sid: its channel, its counter, and its markets (None: all)."""

    sid: int
    channel: str
    tickers: dict[str, None] | None
    seq: int = 0
    skip_ack: bool = False
    yes_prices: bool = False

    def carries(self, ticker: str) -> bool:
        """Whether it is about this market."""
        return self.tickers is None or ticker in self.tickers


def in_yes_prices(message: Message) -> Message:
    """The same book or change with the NO side's prices as YES prices (docs.kalshi.com)."""

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


class ClientSession:
    """A connected client. `deliver` is called by the exchange; `commands.py` answers what the client asks."""

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
        self.subscriptions: dict[int, ServedSubscription] = {}
        self.by_channel: dict[str, ServedSubscription] = {}
        self.faults = Faults()
        self.frames_sent = 0
        self.delivered = delivered
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
        if not subscription.carries(ticker) and not self._is_late(channel, ticker):
            return
        if subscription.yes_prices:
            message = in_yes_prices(message)
        if message.type == "orderbook_delta":
            for bent in self.faults.changes(ticker, message):
                self.numbered(subscription, b"orderbook_delta", bent.coarse if self.coarse_ts else bent.body)
            return
        body = message.coarse if self.coarse_ts else message.body
        if channel == "ticker":
            self.ticker(subscription, body)
        else:
            self.numbered(subscription, message.type.encode(), body)

    def _is_late(self, channel: str, ticker: str) -> bool:
        """Whether a market that was deleted is still delivered for a while."""
        return self._loop.time() <= self.faults.late_until and ticker in self._late.get(channel, ())

    def numbered(
        self, subscription: ServedSubscription, type_: bytes, body: bytes | None, id_: int | None = None
    ) -> None:
        """Send a frame with the sid's next number."""
        subscription.seq += 1
        times = self.faults.times_sent(subscription.channel)
        if not times:
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
        for _ in range(times):
            self._send(frame)

    def unnumbered(self, type_: bytes, id_: int, body: bytes) -> None:
        """Send an answer that carries no number."""
        self._send(b'{"type":"%b","id":%d,"msg":%b}\n' % (type_, id_, body))

    def ticker(self, subscription: ServedSubscription, body: bytes) -> None:
        """Send a tick: of a sid, without a number."""
        self._send(b'{"type":"ticker","sid":%d,"msg":%b}\n' % (subscription.sid, body))

    def error(self, id_: int | None, code: int, text: str, subscription: ServedSubscription | None = None) -> None:
        """Send an error, scoped to a subscription or not."""
        body = compact({"code": code, "msg": text})
        if subscription is not None:
            self.numbered(subscription, b"error", body, id_)
        else:
            self.unnumbered(b"error", id_ or 0, body)

    # -- subscriptions -----------------------------------------------------------------------------------------

    def next_sid(self) -> int:
        """Counted from 1."""
        self._sids += 1
        return self._sids

    def begin(self, subscription: ServedSubscription) -> None:
        """A new one: the exchange publishes to it from now on."""
        self.subscriptions[subscription.sid] = self.by_channel[subscription.channel] = subscription
        if subscription.channel != "orderbook_delta":
            self.exchange.channel_listeners[subscription.channel].add(self)

    def end(self, subscription: ServedSubscription) -> None:
        """It is over."""
        del self.subscriptions[subscription.sid]
        del self.by_channel[subscription.channel]
        self._unlisten(subscription)

    def add(self, subscription: ServedSubscription, tickers: list[str]) -> list[str]:
        """Markets join a subscription; returns those that are new to it."""
        if subscription.tickers is None:
            return []
        new = [t for t in tickers if t not in subscription.tickers]
        subscription.tickers.update(dict.fromkeys(new))
        if subscription.channel == "orderbook_delta":
            for ticker in new:
                self.exchange.book_listeners[ticker].add(self)
        return new

    def remove(self, subscription: ServedSubscription, tickers: list[str]) -> None:
        """Markets leave a subscription; under a fault they are delivered for a while yet."""
        for ticker in tickers:
            if subscription.tickers is not None and ticker in subscription.tickers:
                del subscription.tickers[ticker]
                if self._loop.time() < self.faults.late_until:
                    self._late.setdefault(subscription.channel, set()).add(ticker)
                else:
                    self.exchange.book_listeners[ticker].discard(self)

    def kill_subscription(self, channel: str, code: int, text: str) -> None:
        """A terminal error (10 or 25) of one subscription; the others on the socket live on."""
        subscription = self.by_channel.get(channel)
        if subscription:
            self.end(subscription)
            self.error(None, code, text, subscription)

    # -- the socket --------------------------------------------------------------------------------------------

    def raw_frame(self, text: bytes) -> None:
        """Send text as it is: a fault."""
        self._send(text)

    def stall(self, until: float, channel: str | None, code: int | None) -> None:
        """Publish nothing until the loop's time `until`; pings continue."""
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

    def _unlisten(self, subscription: ServedSubscription) -> None:
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
