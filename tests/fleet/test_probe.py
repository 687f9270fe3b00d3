"""`fleet probe` reports that an honest exchange keeps the merge's assumptions, and notices each that is broken."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import pytest

from common.config.load import load_gatherer
from fleet.probing.assumptions import decode, judge
from fleet.probing.beliefs import BELIEFS, HOLDS, Measured
from fleet.probing.probe import probe
from workshop.rehearsal.local import FleetPlan, LocalFleet

KEY = "gatherer-a"
SECONDS = 5.0


@pytest.fixture
async def fleet() -> AsyncIterator[LocalFleet]:
    """A busy exchange, and the file of a gatherer that does not run."""
    async with LocalFleet(FleetPlan(gatherers=(KEY,), simulator=("--markets", "6", "--rate", "900"))) as made:
        await made.start_simulator()
        yield made


async def probed(fleet: LocalFleet, *faults: dict[str, object]) -> dict[str, Measured]:
    """A probe with faults on its second connection (unless they name another) once both listen."""
    listening = asyncio.create_task(probe(load_gatherer(fleet.config(KEY)), SECONDS, 6, lambda line: None))
    while len(sessions := (await fleet.control("/state"))["sessions"]) < 4 or not sessions[1]["frames_sent"]:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)
    for fault in faults:
        await fleet.fault(**{"key": KEY, "connection": sessions[1]["connection"], **fault})
    findings, _ = await listening
    assert [finding.check for finding in findings] == list(BELIEFS)
    return {finding.check: finding for finding in findings}


def broken(findings: dict[str, Measured]) -> set[str]:
    """What does not hold."""
    return {name for name, finding in findings.items() if finding.verdict != HOLDS}


async def test_an_honest_exchange_keeps_every_assumption(fleet: LocalFleet) -> None:
    """Each was seen, and none contradicted; the command prints that and exits 0."""
    findings = await probed(fleet)
    assert {name: (f.verdict, f.note, f.examples) for name, f in findings.items() if name in broken(findings)} == {}
    assert findings["order"].compared > 500 and findings["books"].compared > 20 and findings["twins"].compared > 5
    command = (sys.executable, "-m", "fleet", "probe", "--config", str(fleet.config(KEY)), "--seconds", "5", "--json")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    rows = json.loads(output)
    assert process.returncode == 0 and [row["key"] for row in rows] == list(BELIEFS)


async def test_each_assumption_that_is_broken_is_noticed_alone(fleet: LocalFleet) -> None:
    """One fault after the other."""
    assert broken(await probed(fleet, {"kind": "swap", "count": 3})) >= {"order"}
    assert broken(await probed(fleet, {"kind": "omit", "count": 3})) >= {"dense", "books"}
    assert broken(await probed(fleet, {"kind": "stale", "count": 1})) == {"books"}
    ahead = await probed(fleet, {"kind": "shift", "count": 100_000, "by_ms": 3000})
    assert broken(ahead) >= {"times", "sender", "twins"} and "dense" not in broken(ahead)
    late = await probed(fleet, {"kind": "shift", "count": 20, "by_ms": -9000})
    assert broken(late) >= {"times", "back", "lag", "disorder"}


async def test_numbers_that_break_are_no_contradiction_of_the_exchange(fleet: LocalFleet) -> None:
    """What a connection lost on the way proves nothing about the exchange: nothing is compared, and it prints that."""
    findings = await probed(fleet, {"kind": "drop", "count": 2, "channel": "orderbook_delta"})
    assert findings["dense"].verdict == "not seen" and "numbers broke" in findings["dense"].note
    assert not findings["order"].failed and not findings["books"].failed


async def test_what_cannot_be_read_is_counted(fleet: LocalFleet) -> None:
    """A frame of another form."""
    findings = await probed(fleet, {"kind": "raw", "text": '{"type":"orderbook_delta","sid":1,"msg":{"price":1}}'})
    assert broken(findings) == {"readable", "numbered"}, "it has no number, either"


def test_a_clock_that_is_wrong_is_noticed() -> None:
    """A frame that arrives before it was sent."""
    config = {"disorder": "15s", "lag": "30s", "sender": "1s", "clock": "200ms"}
    from common.config.schema import BoundsConfig

    frame = b'{"type":"ok","sid":1,"seq":1,"sending_ts_ms":1790000001000}'
    findings = judge(
        decode("first", [(1_790_000_000_500_000, frame)]), decode("second", []), BoundsConfig.model_validate(config)
    )
    assert [f.check for f in findings if f.failed] == ["clock"]
