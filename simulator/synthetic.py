"""Synthetic markets, calibrated on real recordings: bursts, 25 % equal neighbouring times, a few busy books.

Books are never crossed (`orders.py`). Some markets are there to be awkward: prices of 0.0001, counts of 0.01, a book
with one side only, a level that flickers (+q, -q, +q ... at one price), one that closes during the run and one that is
created during it.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from simulator.exchange import Exchange
from simulator.lives import close_market
from simulator.market import Market
from simulator.orders import Orders

TICK_S: Final = 0.01
EQUAL_NEIGHBOUR: Final = 0.25
TRADE_SHARE: Final = 0.03
TICKER_SHARE: Final = 0.1
DELTA_FIRST_SHARE: Final = 0.94
STRUCTURES: Final = ("linear_cent", "linear_cent", "deci_cent", "tapered_deci_cent")
DAY_US: Final = 86_400_000_000
OPENS_AFTER_US: Final = 1_500_000


@dataclass(frozen=True)
class SyntheticPlan:
    """What to make: markets, changes per second, and when markets are born and die (seconds; 0: never)."""

    markets: int
    rate: float
    seed: int
    close_after_s: float = 0.0
    create_after_s: float = 0.0


def _market(exchange: Exchange, number: int, seed: int, close_s: float = 0.0) -> Market:
    now = exchange.now_us()
    fine = number % 5 == 1  # centi-cent prices at the edges
    combo = number % 7 == 6
    event = f"KXMVESIM-S{seed}" if combo else f"KXSIM-{number // 4}"
    return Market(
        ticker=f"{event}-T{number}.{number % 100:02d}",
        event_ticker=event,
        series_ticker="KXMVESIM" if combo else "KXSIM",
        created_us=now - 3600_000_000 - number * 1_000_000,
        open_us=now - 1800_000_000,
        close_us=now + (int(close_s * 1e6) if close_s else DAY_US),
        structure="center_deci_edge_centi_cent" if fine or combo else STRUCTURES[number % len(STRUCTURES)],
    )


class Synthetic:
    """Drives the exchange at the plan's rate until it is stopped."""

    def __init__(self, exchange: Exchange, plan: SyntheticPlan) -> None:
        """List the markets of the plan, with opening books."""
        self.exchange, self.plan = exchange, plan
        self._markets: list[Market] = []  # its own: a replay's books follow their recordings alone
        self._orders: dict[str, Orders] = {}
        for number in range(plan.markets):
            self._list(number, plan.close_after_s if number == plan.markets - 1 else 0.0, announce=False)
        self._rng = random.Random(plan.seed)
        self.rate = plan.rate
        self._born = plan.markets

    async def run(self) -> None:
        """Emit bursts every tick; the number of events keeps up with the wall clock, a stall is not made up."""
        loop = asyncio.get_running_loop()
        started = last = loop.time()
        debt = 0.0
        created = False
        while True:
            await asyncio.sleep(TICK_S)
            now = loop.time()
            debt = min(debt + (now - last) * self.rate, self.rate / 2)
            last = now
            if self._rng.random() < 0.5:  # bursts: half of the ticks are empty
                open_markets = [m for m in self._markets if m.status == "active"]
                weights = [1 / (n + 1) for n in range(len(open_markets))]
                for market in self._rng.choices(open_markets, weights, k=int(debt)) if open_markets else ():
                    self._event(market)
                debt -= int(debt)
            self._open_and_close_due()
            if self.plan.create_after_s and not created and now - started > self.plan.create_after_s:
                created = True
                self._list(self._born, 0.0, announce=True)

    def _list(self, number: int, close_s: float, *, announce: bool) -> None:
        market = _market(self.exchange, number, self.plan.seed, close_s)
        if announce:  # a market is created some time before it opens; the opening itself sends no message
            market.created_us, market.open_us = self.exchange.now_us(), self.exchange.now_us() + OPENS_AFTER_US
            market.status, market.updated_us = "initialized", market.created_us
        self._markets.append(market)
        rng = random.Random(f"{self.plan.seed}/{number}")
        self._orders[market.ticker] = Orders(market, rng, one_sided=number % 6 == 3)
        self.exchange.add_market(market, announce=announce)

    def _event(self, market: Market) -> None:
        rng, exchange = self._rng, self.exchange
        us = exchange.now_us()
        if market.last_us and us - market.last_us < 50_000 and rng.random() < EQUAL_NEIGHBOUR:
            us = market.last_us
        us = max(us, market.last_us)
        orders = self._orders[market.ticker]
        side = orders.side()
        if market.ticker.endswith(".02"):  # flicker: one level on and off, identical changes in one instant
            for _ in range(2):
                exchange.delta(market, side, 4200, 1_00, us)
                exchange.delta(market, side, 4200, -1_00, us)
            return
        if market.side(side) and rng.random() < TRADE_SHARE:
            for fill in orders.sweep(side):
                exchange.fill(market, *fill, us, delta_first=rng.random() < DELTA_FIRST_SHARE)
        elif order := orders.change(side):
            exchange.delta(market, side, *order, us)
        if rng.random() < TICKER_SHARE:
            exchange.ticker(market, us)

    def _open_and_close_due(self) -> None:
        now = self.exchange.now_us()
        for market in self._markets:
            if market.status == "initialized" and now >= market.open_us:
                market.status = "active"
            if market.status == "active" and now >= market.close_us:
                close_market(self.exchange, market, self._rng)
