"""Markets that are not simply open: those that ended or have yet to begin, closes, combos that are born and settle.

No message shows when a market opens or closes; one or two empty snapshots follow a close, the second at times after the
market is determined. Combos have an event each and tickers of 54 characters and more.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from typing import Final

from simulator.exchange import Exchange
from simulator.market import Market
from simulator.orders import Orders

SECOND_US: Final = 1_000_000
HOUR_US: Final = 3600 * SECOND_US
DAY_US: Final = 24 * HOUR_US
NOT_OPEN: Final = ("finalized", "initialized", "inactive", "closed", "determined", "archived")
LATE_S_MAX: Final = 3.0
SECOND_EMPTY_SHARE: Final = 0.8
BIRTH_TICK_S: Final = 0.05
COMBO_SERIES: Final = "KXMVESPORTSMULTIGAMEEXTENDED"
COMBO_EVERY_CHANGE: Final = 4
"""One combo in so many has orders; most never trade."""
FORGOTTEN_AT: Final = 1000


def not_open(exchange: Exchange, count: int) -> None:
    """List markets of every status but open, in turn; the archived are only in the historical lists."""
    now = exchange.now_us()
    exchange.markets_cutoff_us = exchange.markets_cutoff_us or now - 60 * DAY_US
    for number in range(count):
        status = NOT_OPEN[number % len(NOT_OPEN)]
        ended_us = now - (90 * DAY_US if status == "archived" else HOUR_US) - number * SECOND_US
        ahead = status in ("initialized", "inactive")
        market = Market(
            ticker=f"KXNOTOPEN-{number // len(NOT_OPEN)}-T{number}",
            event_ticker=f"KXNOTOPEN-{number // len(NOT_OPEN)}",
            series_ticker="KXNOTOPEN",
            created_us=(now if ahead else ended_us) - 2 * HOUR_US,
            open_us=now + DAY_US if status == "initialized" else ended_us - HOUR_US,
            close_us=now + 2 * DAY_US if ahead else ended_us,
            status="finalized" if status == "archived" else status,
        )
        if market.status in ("determined", "finalized"):
            market.result = ("yes", "no")[number % 2]
            market.settled_us = ended_us + 60 * SECOND_US if market.status == "finalized" else 0
        exchange.add_market(market, announce=False)


def close_market(exchange: Exchange, market: Market, rng: random.Random) -> None:
    """The close passes silently; one or two empty snapshots follow, later `determined` and `settled`."""
    loop = asyncio.get_running_loop()
    market.status = "closed"

    def empty() -> None:
        exchange.reset(market, {}, {}, max(exchange.now_us(), market.last_us))

    steps = [(rng.uniform(0.1, 0.9), empty), (1.0, lambda: determine(exchange, market, rng))]
    if rng.random() < SECOND_EMPTY_SHARE:
        steps.append((rng.uniform(1.0, LATE_S_MAX), empty))
    for delay, step in (*steps, (2.0, lambda: settle(exchange, market))):
        loop.call_later(delay, step)


def determine(exchange: Exchange, market: Market, rng: random.Random) -> None:
    """Its result is known."""
    market.status, market.result = "determined", rng.choice(("yes", "no"))
    value = "1.0000" if market.result == "yes" else "0.0000"
    seconds = exchange.now_us() // SECOND_US
    exchange.lifecycle(market, "determined", determination_ts=seconds, result=market.result, settlement_value=value)


def settle(exchange: Exchange, market: Market) -> None:
    """It has been paid out."""
    market.status, market.settled_us = "finalized", exchange.now_us()
    exchange.lifecycle(market, "settled", settled_ts=market.settled_us // SECOND_US)


class Combos:
    """Combos that are born at a rate, live for a while, and settle."""

    def __init__(self, exchange: Exchange, rate: float, life_s: float, seed: int, forget_after_s: float = 0.0) -> None:
        """`forget_after_s`: seconds after its settlement at which a combo leaves every list; 0: never."""
        self.exchange, self.rate, self.life_s, self._forget_after_s = exchange, rate, life_s, forget_after_s
        self._rng = random.Random(f"{seed}/combos")
        self._prefix = f"S{seed:04X}"
        self._open: deque[tuple[float, Market]] = deque()
        self._settled: deque[tuple[float, str]] = deque()
        self._to_trade: list[tuple[float, int, Market]] = []
        """A heap: when a combo has its orders, its number, and itself."""
        self._born = 0

    async def run(self) -> None:
        """Bear and settle, evenly, for ever."""
        loop = asyncio.get_running_loop()
        began = loop.time() - self._born / self.rate
        while True:
            now = loop.time()
            for _ in range(int((now - began) * self.rate) - self._born):
                self._bear(now)
            while self._to_trade and self._to_trade[0][0] <= now:
                self._trade(heapq.heappop(self._to_trade)[2])
            while self._open and self._open[0][0] <= now:
                market = self._open.popleft()[1]
                self.exchange.reset(market, {}, {}, max(self.exchange.now_us(), market.last_us))
                determine(self.exchange, market, self._rng)
                settle(self.exchange, market)
                self._settled.append((now, market.ticker))
            self._forget(now)
            await asyncio.sleep(BIRTH_TICK_S)

    def _bear(self, now: float) -> None:
        number, rng, exchange = self._born, self._rng, self.exchange
        self._born += 1
        event = f"{COMBO_SERIES}-{self._prefix}{number:011X}"
        us = exchange.now_us()
        legs = [
            {"event_ticker": f"KXSIM-{leg}", "market_ticker": f"KXSIM-{leg}-T{leg * 4}.{leg * 4:02d}", "side": side}
            for leg, side in enumerate(rng.choices(("yes", "no"), k=2))
        ]
        market = Market(
            ticker=f"{event}-{rng.getrandbits(44):011X}",
            event_ticker=event,
            series_ticker=COMBO_SERIES,
            created_us=us,
            open_us=us,
            close_us=us + int(self.life_s * SECOND_US),
            structure="center_deci_edge_centi_cent",
            legs=legs,
        )
        exchange.add_market(market)
        self._open.append((now + self.life_s, market))
        if number % COMBO_EVERY_CHANGE == 0:
            heapq.heappush(self._to_trade, (now + rng.uniform(0.0, self.life_s / 2), number, market))

    def _trade(self, market: Market) -> None:
        """A few orders, and sometimes a trade."""
        if market.status != "active":
            return
        orders, exchange = Orders(market, self._rng, opening=False), self.exchange
        us = max(exchange.now_us(), market.last_us)
        for side in ("yes", "no", "yes"):
            if (price := orders.price(side)) is not None:
                exchange.delta(market, side, price, self._rng.randrange(100, 10_000), us)
        for fill in orders.sweep("no"):
            exchange.fill(market, *fill, us)

    def _forget(self, now: float) -> None:
        if not self._forget_after_s or len(self._settled) < FORGOTTEN_AT:
            return
        if self._settled[FORGOTTEN_AT - 1][0] <= now - self._forget_after_s:
            self.exchange.forget([self._settled.popleft()[1] for _ in range(FORGOTTEN_AT)])
