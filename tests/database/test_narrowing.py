"""Nothing kills the loop (rule 11): what makes a step raise is found, and waits; everything else is merged."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.contract.deduplicator_status import TaskFailures
from deduplicator.from_rest.time_lines import TimeLines
from deduplicator.merge.copies import Changes, Copy, RunKey
from deduplicator.merge.merger import Merger
from deduplicator.read.narrowing import SAME_FAILURES_MAX, TRIES_MAX, TRY_S, BatchStretch, Narrowing, Suspect
from deduplicator.read.reader import Reader
from deduplicator.store.checkpoints import Checkpoints
from tests.support.chain_case import Lane, Site, reading, site

EVERYBODY = [Suspect(f"gatherer-{name}", lane) for name, lane in itertools.product("abc", range(4))]
POISON = 13


class World:
    """Lanes with batches, some of which make a step raise; read as `Narrowing` wants it."""

    def __init__(self, poison: dict[Suspect, int], batches: int = 40) -> None:
        self.narrowing = Narrowing(again_s=600.0)
        self.poison, self.last = poison, batches
        self.cursors = dict.fromkeys(EVERYBODY, 0)
        self.now_s = 0.0
        self.failures = 0

    def step(self, rng: random.Random) -> None:
        """Read some of what is read, and merge it."""
        self.now_s += 1
        self.narrowing.look(self.now_s)
        limit = self.narrowing.batches_max or 10
        read = {
            suspect: BatchStretch(at + 1, min(at + limit, self.last))
            for suspect, at in self.cursors.items()
            if self.narrowing.reads(suspect.gatherer) and self.narrowing.takes(suspect) and at < self.last
        }
        read = {suspect: stretch for suspect, stretch in read.items() if rng.random() < 0.8}  # not all answer in time
        if any(suspect in self.poison and s.first <= self.poison[suspect] <= s.last for suspect, s in read.items()):
            self.failures += 1
            self.narrowing.failed("KeyError in merger.step", read, self.now_s)
            return
        self.cursors |= {suspect: stretch.last for suspect, stretch in read.items()}
        self.narrowing.stored(read, self.now_s)


@pytest.mark.parametrize("culprits", [1, 2, 3, 12])
def test_the_culprits_are_found_and_the_others_are_read_to_their_ends(culprits: int) -> None:
    """Lane and batch, whichever they are; in a bounded number of tries."""
    for seed in range(100):
        rng = random.Random(seed)
        poison = {suspect: rng.randint(1, 40) for suspect in rng.sample(EVERYBODY, culprits)}
        world = World(poison)
        for _ in range(1500):
            world.step(rng)
        assert {suspect: waiting.batch for suspect, waiting in world.narrowing.waiting.items()} == poison
        assert world.cursors == {suspect: poison.get(suspect, 41) - 1 for suspect in EVERYBODY}
        again = culprits * (1500 // 600)  # they are tried again, each at the cost of one failure
        assert world.failures <= culprits * (SAME_FAILURES_MAX + 7) + again, (seed, world.failures)
        world.poison = {}
        for _ in range(700):
            world.step(rng)
        assert not world.narrowing.waiting and set(world.cursors.values()) == {40}, "mended, it continues by itself"


def test_a_failure_that_is_nobodys_is_not_hung_on_anybody() -> None:
    """A step that raises without any batch; one that raises now and then; one that other failures come between."""
    narrowing = Narrowing(600.0)
    step = {suspect: BatchStretch(1, 5) for suspect in EVERYBODY}
    for n in range(20):
        assert not narrowing.failed("KeyError", {}, n)
    assert not narrowing.searching
    for n in range(20):
        assert not narrowing.failed(f"{n % 2}", step, n)
    assert not narrowing.searching
    for n in range(SAME_FAILURES_MAX):
        narrowing.failed("same", step, n)
    assert narrowing.searching
    narrowing.failed("same", {}, 30)
    assert not narrowing.searching and not narrowing.waiting


def test_a_search_ends_whatever_happens() -> None:
    """Suspects that bring nothing are not waited for; where every try fails, all of them wait."""
    narrowing = Narrowing(600.0)
    for n in range(SAME_FAILURES_MAX):
        narrowing.failed("same", {suspect: BatchStretch(1, 5) for suspect in EVERYBODY}, n)
    now_s = 10.0
    while narrowing.searching:
        now_s += TRY_S + 1
        narrowing.look(now_s)
    assert now_s < 10 * TRY_S and not narrowing.waiting
    failures = 0
    for n in itertools.count():
        step = {s: BatchStretch(1, 5) for s in EVERYBODY if narrowing.reads(s.gatherer) and narrowing.takes(s)}
        if not step:
            break
        narrowing.failed("same", step, now_s + n)
        failures += 1
    assert set(narrowing.waiting) == set(EVERYBODY) and failures <= SAME_FAILURES_MAX + TRIES_MAX


def test_a_search_among_many_ends_after_so_many_tries() -> None:
    """Where every try of 128 lanes fails, the last try lets all that are left wait."""
    narrowing = Narrowing(600.0)
    many = [Suspect(f"gatherer-{name}", lane) for name, lane in itertools.product("abcdefgh", range(16))]
    for n in range(SAME_FAILURES_MAX):
        narrowing.failed("same", {suspect: BatchStretch(1, 5) for suspect in many}, n)
    tries = 0
    while narrowing.searching:
        step = {s: BatchStretch(1, 5) for s in many if narrowing.reads(s.gatherer) and narrowing.takes(s)}
        narrowing.failed("same", step, SAME_FAILURES_MAX + tries)
        tries += 1
    assert tries == TRIES_MAX and set(narrowing.waiting) == set(many)


async def lanes(made: Site, folder: Path, numbers: range, *names: str) -> None:
    """Two lanes of every gatherer write these changes of markets of their own, and of one that all have."""
    for zone in made.zones.values():
        for number in (0, 1):
            async with Lane(zone, number, folder / zone.id / str(number)) as lane:
                for n in numbers:
                    await lane.changes(f"{zone.id[-1].upper()}{number}", n)
                    if not names or zone.id in names:
                        await lane.changes("ALL", n)


async def picky(made: Site, *ticker: str) -> None:
    """Production refuses a change of these markets, whatever brings it."""
    markets = await made.fetch(
        "INSERT INTO store.markets (ticker) SELECT unnest($1::text[]) ON CONFLICT (ticker) DO UPDATE SET ticker ="
        " excluded.ticker RETURNING market",
        list(ticker),
    )
    named = ",".join(str(row["market"]) for row in markets)
    check = f"CHECK (NOT (market IN ({named}) AND price = {1000 + POISON}))"
    await made.fetch(f"ALTER TABLE store.deltas ADD CONSTRAINT picky {check}")


def lane_of(made: Site, name: str) -> dict[str, str]:
    """Which lanes of a gatherer wait, and why."""
    found: dict[str, str] = made.deduplicator.status().lanes_waiting.get(name, {})
    return found


async def test_one_batch_that_production_refuses_holds_up_its_lane_alone(open_folder: Path) -> None:
    """Of three gatherers with two lanes each; it continues by itself after the mend, also at a restart before it."""
    rest = dict.fromkeys(("A0", "A1", "B0", "C0", "C1", "ALL"), range(30))
    async with site(open_folder, "gatherer-a", "gatherer-b", "gatherer-c") as made:
        await picky(made, "B1")
        await lanes(made, open_folder, range(30))
        made.start()
        await made.until(**rest, B1=range(POISON))
        await made.until_status(lambda _: bool(lane_of(made, "gatherer-b")))
        assert "CheckViolationError" in lane_of(made, "gatherer-b")["1"] and len(lane_of(made, "gatherer-b")) == 1
        assert not lane_of(made, "gatherer-a") and not lane_of(made, "gatherer-c")
        assert "lane 1 of gatherer-b" in made.deduplicator.status().ready
        await made.stop()
        made.start()
        await lanes(made, open_folder, range(30, 35))
        more = {ticker: range(35) for ticker in rest}
        await made.until(**more, B1=range(POISON))
        await made.until_status(lambda status: "1" in lane_of(made, "gatherer-b") and "lane 1" in status.ready)
        await made.fetch("ALTER TABLE store.deltas DROP CONSTRAINT picky")
        await made.until(**more, B1=range(35))
        await made.until_status(lambda status: status.ready == "ready")


async def test_a_batch_is_skipped_deliberately_as_dropped_unread(open_folder: Path) -> None:
    """As in the runbook: what it held is a gap, and never skipped in silence."""
    async with site(open_folder, "gatherer-a", "gatherer-b") as made:
        await picky(made, "B1")
        await lanes(made, open_folder, range(20), "gatherer-a")
        made.start()
        await made.until_status(lambda _: bool(lane_of(made, "gatherer-b")))
        zone = made.zones["gatherer-b"]
        (batch,) = await zone.fetch("SELECT batch FROM deltas WHERE lane = 1 AND price = $1", 1000 + POISON)
        assert f"batch {batch['batch']}," in lane_of(made, "gatherer-b")["1"]
        await zone.fetch(
            "INSERT INTO dropped_unread (lane, from_batch, to_batch, from_us, to_us)"
            " SELECT lane, batch, batch, received_us, received_us FROM batches WHERE lane = 1 AND batch = $1",
            batch["batch"],
        )
        rest = dict.fromkeys(("A0", "A1", "B0", "ALL"), range(20))
        await made.until(**rest, B1=[n for n in range(20) if n != POISON])
        await made.until_status(lambda status: status.ready == "ready")
        ended = await made.fetch("SELECT DISTINCT reason FROM store.runs WHERE reason <> ''")
        assert "dropped_unread" in {row["reason"] for row in ended}


async def test_two_poisons_and_a_merge_that_raises(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What raises is the merge itself, in two gatherers at once, from the first step on."""
    step = Merger.step
    bad = True

    def raises(self: Merger, copies: list[Copy], now_ms: int, over: Mapping[RunKey, str]) -> Changes:
        for copy in copies:
            if bad and copy.gatherer > 1 and copy.lane == 0 and (copy.deltas.price == 1000 + POISON).any():
                raise KeyError((copy.gatherer, copy.lane))
        return step(self, copies, now_ms, over)

    monkeypatch.setattr(Merger, "step", raises)
    async with site(open_folder, "gatherer-a", "gatherer-b", "gatherer-c") as made:
        await lanes(made, open_folder, range(20), "gatherer-a")
        made.start()
        await made.until_status(lambda _: sum(bool(lane_of(made, name)) for name in made.zones) == 2)
        numbers = await made.fetch("SELECT gatherer_id, gatherer FROM store.gatherers ORDER BY gatherer")
        poisoned = {row["gatherer_id"][-1].upper() + "0" for row in numbers if row["gatherer"] > 1}
        everything = {f"{n}{lane}": range(20) for n in "ABC" for lane in (0, 1)} | {"ALL": range(20)}
        await made.until(**everything | dict.fromkeys(poisoned, range(POISON)))
        bad = False
        await made.until(**everything)


async def test_a_task_beside_the_merge_that_raises_is_begun_again(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, counted, and stops nothing; nor does what the merge does beside."""
    raised = 0

    async def raises(*_: Any) -> None:
        nonlocal raised
        raised += 1
        raise KeyError("nobody foresaw it")

    monkeypatch.setattr(Checkpoints, "run", raises)
    monkeypatch.setattr(TimeLines, "follow", raises)
    async with site(open_folder, "gatherer-a") as made:
        made.start()
        await lanes(made, open_folder, range(10))
        await made.until(A0=range(10), A1=range(10), ALL=range(10))
        await made.until_status(lambda status: status.tasks_failed.get("checkpoints", TaskFailures()).count >= 2)
        failed = made.deduplicator.status().tasks_failed
        assert set(failed) == {"checkpoints", "time_lines"} and "nobody foresaw it" in failed["time_lines"].error
        assert made.deduplicator._failing()["checkpoints"] and made.deduplicator._failing()["time_lines"]
        assert made.deduplicator.status().ready == "ready" and raised > 2


async def test_a_gatherer_that_cannot_be_read_waits_and_the_others_are_read(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its reading raises; and of a gatherer of which one lane cannot be read, the other is."""
    read = Reader.read
    bad = True

    async def raises(self: Reader, *arguments: Any) -> Any:
        if bad and self.id == "gatherer-b":
            raise KeyError("nobody foresaw it")
        return await read(self, *arguments)

    monkeypatch.setattr(Reader, "read", raises)
    async with site(open_folder, "gatherer-a", "gatherer-b") as made:
        await lanes(made, open_folder, range(10), "gatherer-a")
        theirs = made.zones["gatherer-a"]
        kept = await theirs.fetch("DELETE FROM batches WHERE lane = 1 AND batch = 7 RETURNING *")
        made.start()
        await made.until(A0=range(10), ALL=range(10))
        status = await made.until_status(lambda status: bool(reading(status, "gatherer-b").error))
        assert "nobody foresaw it" in status.gatherers["gatherer-b"].error and "gatherer-b" in status.ready
        assert "missing" in lane_of(made, "gatherer-a")["1"]
        bad = False
        connection = await asyncpg.connect(theirs.dsn)
        await connection.copy_records_to_table("batches", records=[tuple(row) for row in kept])
        await connection.close()
        await made.until(**{f"{n}{lane}": range(10) for n in "AB" for lane in (0, 1)}, ALL=range(10))
        await made.until_status(lambda status: status.ready == "ready")
