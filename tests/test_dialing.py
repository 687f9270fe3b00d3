"""Manners of dialling: a budget for all, one try at a time with a key that is refused, nobody while it is closed."""

from __future__ import annotations

import asyncio

from gatherer.dialing import REFUSALS_TILL_SLOW, Dialing


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
    assert await turns(Dialing(10, 1.0), 100, 0.05) == 10


async def test_a_refused_key_is_tried_by_one_connection_at_a_time_until_it_is_accepted() -> None:
    """The first refusals may be a clock that stepped: they are tried again at once, newly signed."""
    dialing = Dialing(1000, 60.0)
    for _ in range(REFUSALS_TILL_SLOW - 1):
        dialing.refused(401, "HTTP 401: header timestamp expired")
    assert dialing.key_refused and await turns(dialing, 20, 0.05) == 20
    dialing.refused(502, "bad gateway")
    assert await turns(dialing, 20, 0.05) == 20, "only answers about the key count"
    dialing.refused(401, "HTTP 401")
    assert await turns(dialing, 20, 0.05) == 0
    dialing.accepted()
    assert not dialing.key_refused and await turns(dialing, 20, 0.05) == 20
    quick = Dialing(1000, 0.05)
    for _ in range(REFUSALS_TILL_SLOW):
        quick.refused(403, "HTTP 403")
    assert 1 <= await turns(quick, 20, 0.16) < 20, "one after the other, each after its wait"


async def test_nobody_dials_while_it_is_closed() -> None:
    """Maintenance, or a full journal."""
    dialing = Dialing(1000, 1.0)
    dialing.allow(False)
    waiting = asyncio.create_task(dialing.turn())
    await asyncio.sleep(0.03)
    assert not waiting.done()
    dialing.allow(True)
    await asyncio.wait_for(waiting, 5)
