"""An exchange that is away for all, and comes back: what is dialled meanwhile, as the exchange sees it."""

from __future__ import annotations

import asyncio

from tests.support.gatherer_case import NAME, gathering

CONNECTIONS = {"orderbook": 12, "trade": 1, "ticker": 1, "lifecycle": 1}
AWAY_MS, PROBE_MS = 5000, 400


async def test_one_connection_dials_for_all_and_its_success_calls_the_others() -> None:
    """Few dials in vain however many connections there are, often enough to find the exchange soon, and none in vain
    once one was accepted. Counted, not timed: a slow machine makes fewer of them."""
    protocol = {"away_probe": f"{PROBE_MS}ms", "reconnect_max": "30s"}
    async with gathering(
        "--markets", "6", "--rate", "50", connections=CONNECTIONS, overrides={"protocol": protocol}
    ) as fleet:
        count = sum(CONNECTIONS.values())
        before = len((await fleet.control("/state"))["dials"])
        assert before == count
        await fleet.fault("cut", for_ms=AWAY_MS)
        await asyncio.sleep(AWAY_MS / 1000)
        await fleet.ready(NAME)
        dials = [dial["refused"] for dial in (await fleet.control("/state"))["dials"]][before:]
        in_vain = dials.index(False)
        assert not any(dials[in_vain:]) and len(dials) - in_vain == count, "each once, after the first was accepted"
        probes = AWAY_MS / PROBE_MS  # each after half of it to all of it
        assert probes / 4 <= in_vain <= count + 2 * probes + 2
