"""Synthetic markets, calibrated on real recordings: bursts, 25 % equal neighbouring times, a few busy books.

Some markets are there to be awkward: prices of 0.0001, counts of 0.01, a book with one side only, a level that
flickers (+q, -q, +q ... at one price), one that closes during the run and one that is created during it.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from simulator.exchange import Exchange
from simulator.market import Market

TICK_S: Final = 0.01
EQUAL_NEIGHBOUR: Final = 0.25
TRADE_SHARE: Final = 0.03
TICKER_SHARE: Final = 0.1
TWIN_SHARE: Final = 0.2
LEVELS_MAX: Final = 60
DAY_US: Final = 86_400_000_000
OPENS_AFTER_US: Final = 1_500_000


@dataclass(frozen=True)
class Plan:
    """What to make: markets, changes per second, and when markets are born and die (seconds; 0: never)."""

    markets: int
    rate: float
    seed: int
    close_after_s: float = 0.0
    create_after_s: float = 0.0


def _market(exchange: Exchange, number: int, seed: int, close_s: float = 0.0) -> Market:
    now = exchange.now_us()
    rng = random.Random(f"{seed}/{number}")
    fine = number % 5 == 1  # centi-cent prices at the edges
    combo = number % 7 == 6
    event = f"KXMVESIM-S{seed}" if combo else f"KXSIM-{number // 4}"
    market = Market(
        ticker=f"{event}-T{number}.{number % 100:02d}",
        event_ticker=event,
        series_ticker="KXMVESIM" if combo else "KXSIM",
        created_us=now - 3600_000_000 - number * 1_000_000,
        open_us=now - 1800_000_000,
        close_us=now + (int(close_s * 1e6) if close_s else DAY_US),
        step=1 if fine else 100,
    )
    for side in ("yes", "no"):
        if number % 6 == 3 and side == "no":
            continue  # an absent side
        for _ in range(rng.randrange(3, 25)):
            market.side(side)[_price(rng, fine)] = rng.randrange(1, 500_000)
    return market


def _price(rng: random.Random, fine: bool) -> int:
    return rng.choice((1, 2, 3, 99, 9_901, 9_999)) if fine and rng.random() < 0.3 else rng.randrange(1, 100) * 100


class Synthetic:
    """Drives the exchange at the plan's rate until it is stopped."""

    def __init__(self, exchange: Exchange, plan: Plan) -> None:
        """List the markets of the plan, with opening books."""
        self.exchange, self.plan = exchange, plan
        self._markets: list[Market] = []  # its own: a replay's books follow their recordings alone
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
            if self._rng.random() < 0.5:  # bursts: half of the ticks say nothing
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
        self.exchange.add_market(market, announce=announce)

    def _event(self, market: Market) -> None:
        rng, exchange = self._rng, self.exchange
        us = exchange.now_us()
        if market.last_us and us - market.last_us < 50_000 and rng.random() < EQUAL_NEIGHBOUR:
            us = market.last_us
        us = max(us, market.last_us)
        side = "yes" if not market.no and rng.random() < 0.9 else rng.choice(("yes", "no"))
        levels = market.side(side)
        if market.ticker.endswith(".02"):  # flicker: one level on and off, identical changes in one instant
            for _ in range(2):
                exchange.delta(market, side, 4200, 1_00, us)
                exchange.delta(market, side, 4200, -1_00, us)
            return
        if levels and rng.random() < TRADE_SHARE:
            price = max(levels)
            count = rng.randrange(1, levels[price] + 1)
            taker = "no" if side == "yes" else "yes"
            yes_price = price if side == "yes" else 10_000 - price
            if count > 1 and rng.random() < TWIN_SHARE:  # several trades with an identical microsecond
                exchange.delta(market, side, price, -1, us)
                exchange.trade(market, taker, yes_price, 1, us)
                count -= 1
            if rng.random() < 0.94:
                exchange.delta(market, side, price, -count, us)
                exchange.trade(market, taker, yes_price, count, us)
            else:
                exchange.trade(market, taker, yes_price, count, us)
                exchange.delta(market, side, price, -count, us)
        elif levels and (len(levels) > LEVELS_MAX or rng.random() < 0.5):
            price = rng.choice(list(levels))
            exchange.delta(market, side, price, -rng.choice((levels[price], rng.randrange(1, levels[price] + 1))), us)
        else:
            size = rng.choice((1, rng.randrange(1, 100), rng.randrange(100, 500_000)))
            exchange.delta(market, side, _price(rng, market.step == 1), size, us)
        if rng.random() < TICKER_SHARE:
            exchange.ticker(market, us)

    def _open_and_close_due(self) -> None:
        now = self.exchange.now_us()
        for market in self._markets:
            if market.status == "initialized" and now >= market.open_us:
                market.status = "active"
            if market.status == "active" and now >= market.close_us:
                close_market(self.exchange, market)


def close_market(exchange: Exchange, market: Market) -> None:
    """The close passes silently; one or two empty snapshots follow, later `determined` and `settled`."""
    loop = asyncio.get_running_loop()
    market.status = "closed"

    def empty() -> None:
        exchange.reset(market, {}, {}, max(exchange.now_us(), market.last_us))

    def determined() -> None:
        market.status, market.result = "determined", "yes"
        seconds = exchange.now_us() // 1_000_000
        exchange.lifecycle(market, "determined", determination_ts=seconds, result="yes", settlement_value="1.0000")

    def settled() -> None:
        market.status, market.settled_us = "finalized", exchange.now_us()
        exchange.lifecycle(market, "settled", settled_ts=market.settled_us // 1_000_000)

    for delay, step in ((0.15, empty), (0.4, empty), (1.0, determined), (2.0, settled)):
        loop.call_later(delay, step)
