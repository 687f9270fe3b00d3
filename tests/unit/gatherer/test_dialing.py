"""Manners of dialling: a budget for all, one try at a time with a key that is refused, nobody while it is closed."""

from __future__ import annotations

import asyncio
import itertools

from common.process import away_pause_s
from gatherer.capture.dialing import REFUSALS_TILL_SLOW, Dialing


async def turns(dialing: Dialing, count: int, within_s: float) -> int:
    """How many of so many connections get their turn within a time."""
    tasks = [asyncio.create_task(dialing.turn()) for _ in range(count)]
    await asyncio.wait(tasks, timeout=within_s)
    done = sum(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return done


async def test_all_connections_together_keep_to_the_budget() -> None:
    """A burst of one second's worth, no more."""
    assert await turns(Dialing(10, 1.0, 1.0), 100, 0.05) == 10


async def test_a_refused_key_is_tried_by_one_connection_at_a_time_until_it_is_accepted() -> None:
    """The first refusals may be a clock that stepped: they are tried again at once, newly signed."""
    dialing = Dialing(1000, 60.0, 1.0)
    for _ in range(REFUSALS_TILL_SLOW - 1):
        dialing.refused(401, "HTTP 401: header timestamp expired")
    assert dialing.key_refused and await turns(dialing, 20, 0.05) == 20
    dialing.refused(401, "HTTP 401")
    assert await turns(dialing, 20, 0.05) == 0
    dialing.accepted()
    assert not dialing.key_refused and await turns(dialing, 20, 0.05) == 20
    quick = Dialing(1000, 0.05, 1.0)
    for _ in range(REFUSALS_TILL_SLOW):
        quick.refused(403, "HTTP 403")
    assert 1 <= await turns(quick, 20, 0.16) < 20, "one after the other, each after its wait"


async def test_a_connection_too_many_that_is_answered_as_a_bad_key_costs_no_other_its_place() -> None:
    """What the exchange answers it is not known: who was not refused dials at once while sessions stand."""
    dialing = Dialing(1000, 60.0, 1.0)
    for _ in range(REFUSALS_TILL_SLOW * 2):
        dialing.refused(403, "HTTP 403: too many connections")
    assert await turns(dialing, 1, 0.05) == 0, "nobody knows that the key is good"
    with dialing.session():
        refused = asyncio.create_task(dialing.turn(refused=True))
        await asyncio.sleep(0)
        assert await turns(dialing, 3, 0.05) == 3 and not refused.done()
        refused.cancel()
        await asyncio.gather(refused, return_exceptions=True)


async def test_nobody_dials_while_it_is_closed() -> None:
    """Maintenance, or a full journal."""
    dialing = Dialing(1000, 1.0, 1.0)
    dialing.allow(False)
    waiting = asyncio.create_task(dialing.turn())
    await asyncio.sleep(0.03)
    assert not waiting.done()
    dialing.allow(True)
    await asyncio.wait_for(waiting, 5)


class Exchange:
    """An exchange that is away or there, and the connections that dial it, as `Connection.run` does."""

    def __init__(self, dialing: Dialing, connections: int) -> None:
        self.dialing, self.away = dialing, True
        self.dials: list[tuple[float, int, bool]] = []  # when, by whom, accepted
        self.tasks = [asyncio.create_task(self._connect(number)) for number in range(connections)]

    async def _connect(self, number: int) -> None:
        while True:
            await self.dialing.turn()
            away = self.away  # as of the dial: it may be back when the answer comes
            self.dials.append((asyncio.get_running_loop().time(), number, not away))
            await asyncio.sleep(0)
            if not away:
                self.dialing.accepted()
                return
            self.dialing.refused(None, "ConnectionRefusedError")

    async def up(self) -> None:
        """Until all connections are up."""
        await asyncio.gather(*self.tasks)

    def stop(self) -> None:
        """Nobody dials any more."""
        for task in self.tasks:
            task.cancel()


async def test_while_the_exchange_is_away_one_connection_dials_for_all() -> None:
    """However many connections there are, and however long it was away: the first that is accepted calls the others."""
    probe_s, connections = 0.02, 60
    exchange = Exchange(Dialing(1000, 5.0, probe_s), connections)
    await asyncio.sleep(0.01)
    began = len(exchange.dials)
    assert began <= connections, "each was cut and dialled at once, once"
    await asyncio.sleep(probe_s * 20)
    away = exchange.dials[began:]
    apart = [b[0] - a[0] for a, b in itertools.pairwise(away)]
    assert away and min(apart) >= probe_s * 0.5 * 0.9, "one after the other, a pause between"
    assert len({number for _, number, _ in away}) == len(away), "in turn"
    exchange.away = False
    await asyncio.wait_for(exchange.up(), 10)
    back = exchange.dials[began + len(away) :]
    assert len(back) == connections and all(accepted for _, _, accepted in back), "none dialled in vain"
    assert back[0][0] - away[-1][0] >= probe_s * 0.5 * 0.9


async def test_what_returns_is_not_stormed() -> None:
    """The others come within the budget; if the exchange goes away meanwhile, those left wait again."""
    exchange = Exchange(Dialing(10, 5.0, 0.02), 60)
    await asyncio.sleep(1.5)
    loop = asyncio.get_running_loop()
    exchange.away, began_s = False, loop.time()
    while sum(accepted for _, _, accepted in exchange.dials) < 5:
        await asyncio.sleep(0.001)
    exchange.away, before, took_s = True, len(exchange.dials), loop.time() - began_s
    accepted = sum(accepted for _, _, accepted in exchange.dials)
    assert accepted <= 11 + 10 * took_s, "a second's worth at once, then as the budget allows"
    gone_s = loop.time()
    await asyncio.sleep(0.5)
    assert len(exchange.dials) - before <= 2 + (loop.time() - gone_s) / 0.01, "one by one again"
    exchange.stop()


async def test_only_answers_about_the_key_are_held_against_it() -> None:
    """Nobody there, or too busy: that is not the key."""
    dialing = Dialing(1000, 60.0, 0.01)
    for _ in range(REFUSALS_TILL_SLOW):
        assert dialing.refused(502, "bad gateway") and dialing.refused(None, "TimeoutError")
    assert not dialing.key_refused
    assert not dialing.refused(401, "HTTP 401")


def test_the_longer_it_is_away_the_more_seldom_it_is_looked_for() -> None:
    """A tenth of the time, between a second and the longest wait."""
    for away_s, least, most in ((0, 0.5, 1), (5, 0.5, 1), (60, 3, 6), (300, 15, 30), (86_400, 15, 30)):
        pauses = [away_pause_s(away_s, 1.0, 30.0) for _ in range(300)]
        assert least <= min(pauses) and max(pauses) <= most
        assert max(pauses) - min(pauses) > 0.3 * least, "jitter: gatherers do not dial in step"


async def test_a_refusal_while_sessions_stand_is_about_one_connection() -> None:
    """One above the account's limit is refused for ever; another one that drops dials at once."""
    dialing = Dialing(1000, 30.0, 1.0)
    with dialing.session():
        assert not dialing.refused(429, "too many connections")
        assert await turns(dialing, 20, 0.05) == 20
    assert dialing.refused(429, "too many connections")
    assert await turns(dialing, 20, 0.05) == 0
