"""Whatever the exchange answers, or does not: few commands, no hang-up, every frame recorded, claims of what is proven.

A stateful property test: `tests/support/answers` is an exchange that answers each command at random (numbered,
unnumbered, again, under another sid, with any error, late, never), with pings or without, for hours of virtual time.
Then it
answers as documented for half an hour: at its end every wanted market is subscribed and has its book, and nothing is
unproven.
"""

from __future__ import annotations

import pytest

from gatherer.capture.conversation.budget import AT_ONCE, RESERVE, Budget
from gatherer.capture.liveness import Liveness, Look
from tests.support.answers.world import judge
from tests.support.scale import LONG

COUNT = 5000 if LONG else 200
IN_ONE = 20


@pytest.mark.parametrize("block", range(0, COUNT, IN_ONE))
def test_the_conversation_survives_any_answer(block: int) -> None:
    """Twenty connections; `python -m tests.support.answers SEED` shows one of them again."""
    for seed in range(block, block + IN_ONE):
        try:
            judge(seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error


def test_a_socket_is_asked_before_it_is_given_up() -> None:
    """Silent is not dead: an exchange that sends no pings answers ours. Nor is one whose reader slept."""
    alive = Liveness(25.0)
    received, pings = 0.0, 0
    for tick in range(7200):
        now = tick / 2
        look = alive.look(now, received)
        assert look is not Look.GIVE_UP
        if look is Look.PING:
            received, pings = now + 0.1, pings + 1
    assert 200 < pings < 260
    dead = Liveness(25.0)
    looks = [dead.look(tick / 2, 0.0) for tick in range(60)]
    assert looks.count(Look.PING) == 1 and looks.index(Look.GIVE_UP) / 2 == 26.0
    slept = Liveness(25.0)
    assert slept.look(3600.0, 0.0) is Look.PING, "first asked: what came meanwhile is read next"


def test_the_budget_bounds_all_commands_together() -> None:
    """So many at once, then by the second; proofs leave the reserve to what changes something; wishes come on top."""
    budget = Budget(2.0)
    assert sum(budget.take(0.0, RESERVE) for _ in range(1000)) == AT_ONCE - RESERVE
    assert sum(budget.take(0.0) for _ in range(1000)) == RESERVE
    assert sum(budget.take(tick / 100) for tick in range(6001)) == 120, "a minute's"
    budget.grant(7.0)
    assert sum(budget.take(60.0) for _ in range(1000)) == 7
    assert sum(budget.take(1e6) for _ in range(1000)) == AT_ONCE, "what was not used is not saved up"
