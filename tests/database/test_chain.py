"""A log is a chain (rule 13): a gatherer's database that was put back is noticed, logged, and read again.

Nothing is lost, nothing doubled. Databases are put back as a whole, from a copy, on a real server; a market's number
then goes to another market.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import asyncpg
import pytest

from common.config.schema import DeduplicatorConfig, GathererSource
from common.contract.deduplicator_status import DeduplicatorStatus
from common.numbers import ms_of_datetime
from common.storage import migrate
from deduplicator.merge.copies import Changes, Conflict, Copy, FrameAccount
from deduplicator.merge.merger import Limits, Merger
from deduplicator.read.chain import Cursor, PutBack, why_put_back
from deduplicator.read.narrowing import Narrowing
from deduplicator.read.reader import Batches
from deduplicator.sources import LOOK_S, Sources
from deduplicator.store.production import Production
from tests.support.chain_case import BASE_MS, Lane, Site, reading, site
from tests.support.databases import Database


def test_what_is_seen_by_the_last_batch_alone() -> None:
    """Fewer batches, or another one at the place; more prove nothing yet, nor does a digest that is not known."""
    place = Cursor(28, b"x")
    for less in (10, 27):
        assert why_put_back(place, Cursor(less, b"y")) and why_put_back(place, Cursor(less, b"x"))
    assert why_put_back(place, Cursor(28, b"y"))
    for fine in (Cursor(28, b"x"), Cursor(28, b""), Cursor(29, b"y")):
        assert not why_put_back(place, fine)
    assert not why_put_back(Cursor(28, b""), Cursor(28, b"y")) and why_put_back(Cursor(28), Cursor(0))


async def put_backs(made: Site) -> list[tuple[int, int, int]]:
    """Lane, how far it was read, and after which batch it is read again: of all that were found."""
    found = await made.fetch("SELECT lane, read_to, read_again FROM store.put_backs ORDER BY put_back")
    return [tuple(row) for row in found]


async def write(lane: Lane, ticker: str, numbers: range) -> None:
    """A batch a change."""
    for n in numbers:
        await lane.changes(ticker, n)


@pytest.mark.parametrize("running", [True, False])
async def test_a_database_put_back_without_its_journal(
    open_folder: Path, capfd: pytest.CaptureFixture[str], running: bool
) -> None:
    """Under its old numbers come other batches, as many or more: they are read. What was read before stays, once.

    While the deduplicator runs, and while it is down.
    """
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        made.start()
        async with Lane(zone, 0, open_folder / "journal") as lane:
            await write(lane, "A", range(10))
        backup = await zone.back_up()
        async with Lane(zone, 0, open_folder / "journal") as lane:
            await write(lane, "LOST", range(8))
            await write(lane, "A", range(10, 20))
        await made.until(A=range(20), LOST=range(8))
        await made.acknowledged(zone)
        ((lost,),) = await zone.fetch("SELECT market FROM markets WHERE ticker = 'LOST'")
        if not running:
            await made.stop()
        await zone.put_back(backup)
        async with Lane(zone, 0, open_folder / "another-journal") as lane:
            await write(lane, "NEW", range(18))
            await write(lane, "A", range(30, 60))
        numbers = {row["ticker"]: row["market"] for row in await zone.fetch("SELECT ticker, market FROM markets")}
        assert numbers["NEW"] == lost, "the number of the market that was lost"
        if not running:
            made.start()
        await made.until(A=[*range(20), *range(30, 60)], LOST=range(8), NEW=range(18))
        await made.acknowledged(zone)
        ((lane_number, read_to, read_again),) = await put_backs(made)
        assert (lane_number, read_to) == (0, 30) and read_again == 11
        readings = await made.fetch("SELECT reading, sum(received)::int AS n FROM store.accounts GROUP BY 1 ORDER BY 1")
        assert [row["reading"] for row in readings] == [0, 1], "what is read again is marked as such"
        assert readings[0]["n"] == 28 and readings[1]["n"] == 48
        await made.until_rows("SELECT reason FROM store.slices WHERE NOT ended", 1)
        await made.until_rows("SELECT reason FROM store.slices WHERE reason = 'database_put_back'", 1)
        assert made.deduplicator.status().gatherers["gatherer-a"].put_back == 1
    assert "log_put_back" in capfd.readouterr().err


async def test_a_database_put_back_with_its_journal(open_folder: Path) -> None:
    """The loader loads again what was lost, under the numbers that it once gave: nothing lost, nothing doubled."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        made.start()
        async with Lane(zone, 0, open_folder / "journal") as lane:
            await write(lane, "A", range(10))
        backup = await zone.back_up()
        async with Lane(zone, 0, open_folder / "journal") as lane:
            await write(lane, "A", range(10, 28))
        await made.until(A=range(28))
        await zone.put_back(backup)
        async with Lane(zone, 0, open_folder / "journal") as lane:
            await write(lane, "A", range(10, 40))
        await made.until(A=range(40))
        await made.acknowledged(zone)
        assert len(await put_backs(made)) == 1
        assert not await made.fetch("SELECT FROM store.conflicts")


async def test_what_a_loader_has_not_loaded_again_yet_is_not_lost(open_folder: Path) -> None:
    """The reader may be faster than the loader: only what does not come again though all of its time came has ended."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        made.start()
        async with Lane(zone, 0, open_folder / "journal") as lane:
            await write(lane, "A", range(10))
        backup = await zone.back_up()
        async with Lane(zone, 0, open_folder / "journal") as second:
            await write(second, "A", range(10, 20))
        async with Lane(zone, 0, open_folder / "journal") as third:
            await write(third, "A", range(20, 30))
        await made.until(A=range(30))
        await zone.put_back(backup)
        await made.until_status(lambda status: status.gatherers["gatherer-a"].put_back == 1)
        async with Lane(zone, 0, open_folder / "journal", again=second) as lane:
            await write(lane, "A", range(10, 20))
        await made.acknowledged(zone)
        ended = "SELECT FROM store.slices WHERE reason = 'database_put_back'"
        assert not await made.fetch(ended), "the third comes again"
        async with Lane(zone, 0, open_folder / "journal", again=third) as lane:
            await write(lane, "A", range(20, 30))
        await made.acknowledged(zone)
        await zone.put_back(backup)
        await made.until_status(lambda status: status.gatherers["gatherer-a"].put_back == 2)
        async with Lane(zone, 0, open_folder / "journal") as lane:
            await write(lane, "A", range(40, 42))
        await made.until(A=[*range(30), 40, 41])
        await made.until_rows(ended, 1)  # the third, which nobody has any more
        assert not await made.fetch("SELECT FROM store.conflicts")


async def test_a_lane_that_was_closed_has_nothing_left_to_come(open_folder: Path) -> None:
    """No batch will ever show what its database lost: it ends all the same."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        made.start()
        async with Lane(zone, 0, open_folder / "journal") as lane:
            await write(lane, "A", range(10))
        backup = await zone.back_up()
        async with Lane(zone, 0, open_folder / "journal") as lane:
            await write(lane, "A", range(10, 20))
        await made.until(A=range(20))
        await zone.put_back(backup)
        await zone.fetch("UPDATE lanes SET state = 'closed'")
        await made.until_rows("SELECT FROM store.slices WHERE reason = 'database_put_back'", 1)
        await made.until(A=range(20))


async def test_a_replaced_machines_slices_end_where_they_are_proven(open_folder: Path) -> None:
    """Under the same name comes another database: nothing else would ever end what the previous one had begun."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        made.start()
        async with Lane(zone, 0, open_folder / "journal") as lane:
            await write(lane, "A", range(10))
        await made.until(A=range(10))
        await zone.replace()
        async with Lane(zone, 0, open_folder / "another-journal") as lane:
            await write(lane, "A", range(20, 30))
        await made.until(A=[*range(10), *range(20, 30)])
        await made.acknowledged(zone)
        await made.until_rows("SELECT FROM store.slices WHERE ended", 1)
        slices = await made.fetch("SELECT ended, reason FROM store.slices ORDER BY gatherer")
        assert [tuple(row) for row in slices] == [(True, "replaced"), (False, "")]
        runs = await made.fetch("SELECT ended, cover_to FROM store.runs ORDER BY gatherer")
        assert [row["ended"] for row in runs] == [True, False]
        assert ms_of_datetime(runs[0]["cover_to"]) == BASE_MS + 10


async def test_what_a_gatherer_that_was_taken_away_had_open_ends_where_it_is_proven(open_folder: Path) -> None:
    """It died, and is configured no longer: it would hold the ends of its markets open for ever. Not while another
    one has not answered since the start: that may be it, under another name."""
    async with site(open_folder, "gatherer-a", "gatherer-b", "gatherer-c") as made:
        for name, market in zip(made.zones, "ABC", strict=True):
            async with Lane(made.zones[name], 0, open_folder / name) as lane:
                await write(lane, market, range(10))
        made.start()
        await made.until(A=range(10), B=range(10), C=range(10))
        await made.stop()
        left = [source for source in made.given["gatherers"] if source["id"] != "gatherer-c"]
        made.config = DeduplicatorConfig.model_validate(made.given | {"gatherers": left})
        await made.zones["gatherer-b"].hide()
        made.start()
        await made.acknowledged(made.zones["gatherer-a"])
        assert not await made.fetch("SELECT FROM store.slices WHERE ended")
        await made.zones["gatherer-b"].show()
        await made.until_rows("SELECT FROM store.slices WHERE ended", 1)
        (ended,) = await made.fetch(
            "SELECT gatherer_id, s.reason, cover_to FROM store.slices s JOIN store.gatherers USING (gatherer)"
            " JOIN store.runs r USING (gatherer, lane, slice) WHERE s.ended"
        )
        assert (ended["gatherer_id"], ended["reason"]) == ("gatherer-c", "removed")
        assert ms_of_datetime(ended["cover_to"]) == BASE_MS + 10


async def test_machines_that_exchange_their_addresses_continue(open_folder: Path) -> None:
    """Under each name the other one answers, one of them later: neither was replaced."""
    async with site(open_folder, "gatherer-a", "gatherer-b") as made:
        a, b = made.zones.values()
        made.start()
        for zone, ticker in ((a, "A"), (b, "B")):
            async with Lane(zone, 0, open_folder / zone.id) as lane:
                await write(lane, ticker, range(10))
        await made.until(A=range(10), B=range(10))
        await made.stop()
        theirs = tuple(
            GathererSource.model_validate({"id": one.id, "dsn": other.dsn}) for one, other in ((a, b), (b, a))
        )
        made.config = made.config.model_copy(update={"gatherers": theirs})
        await a.hide()
        made.start()
        await made.until_status(lambda status: reading(status, "gatherer-a").connected)
        await asyncio.sleep(2 * LOOK_S)
        await a.show()
        await made.until_status(lambda status: status.gatherers["gatherer-b"].connected)
        await asyncio.sleep(2 * LOOK_S)
        assert not await made.fetch("SELECT FROM store.slices WHERE ended")


async def test_of_two_gatherers_that_are_one_instance_the_first_is_read(open_folder: Path) -> None:
    """The other waits and is named, the others are merged; once it is a database of its own, it is read."""
    async with site(open_folder, "gatherer-a", "gatherer-b", "gatherer-c") as made:
        a, b, c = made.zones.values()
        (own,) = await b.fetch("SELECT instance FROM instance")
        (cloned,) = await a.fetch("SELECT instance FROM instance")
        await b.fetch("UPDATE instance SET instance = $1", cloned["instance"])
        await b.hide()
        made.start()
        await made.until_status(lambda status: reading(status, "gatherer-a").connected)
        await b.show()
        for zone, ticker in ((a, "A"), (b, "B"), (c, "C")):
            async with Lane(zone, 0, open_folder / zone.id) as lane:
                await write(lane, ticker, range(10))
        await made.until(A=range(10), C=range(10))

        def waits(status: DeduplicatorStatus) -> bool:
            state = reading(status, "gatherer-b")
            named = "same database as gatherer-a" in state.error and "not reading gatherer-b" in status.ready
            return named and not state.connected

        status = await made.until_status(waits)
        assert status.steps_failed.count == 0
        async with Lane(a, 0, open_folder / a.id) as lane:
            await write(lane, "A", range(10, 20))
        await made.until(A=range(20), C=range(10))
        assert not await put_backs(made)
        await b.fetch("UPDATE instance SET instance = $1", own["instance"])
        await made.until(A=range(20), B=range(10), C=range(10))
        status = await made.until_status(lambda status: status.ready == "ready")


async def test_the_second_put_back_ends_nothing_that_is_loaded_again(open_folder: Path) -> None:
    """What was read before the first put-back is no measure for what was lost with the second."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        made.start()
        async with Lane(zone, 0, open_folder / "0") as lane:
            await write(lane, "A", range(10))
        first = await zone.back_up()
        async with Lane(zone, 0, open_folder / "0") as lane:
            await write(lane, "A", range(10, 20))
        await made.until(A=range(20))
        await zone.put_back(first)
        await made.until_status(lambda status: status.gatherers["gatherer-a"].put_back == 1)
        async with Lane(zone, 0, open_folder / "1") as lane:
            await write(lane, "B", range(5))
        await made.until(A=range(20), B=range(5))
        second = await zone.back_up()
        async with Lane(zone, 0, open_folder / "1") as lost:
            await write(lost, "C", range(5))
        await made.until(A=range(20), B=range(5), C=range(5))
        await asyncio.sleep(2 * LOOK_S)  # the next look is at once
        await zone.put_back(second)
        await made.until_status(lambda status: status.gatherers["gatherer-a"].put_back == 2)
        await asyncio.sleep(LOOK_S)
        async with Lane(zone, 0, open_folder / "1", again=lost) as lane:
            await write(lane, "C", range(8))
        await made.until(A=range(20), B=range(5), C=range(8))
        assert not await made.fetch("SELECT FROM store.slices WHERE slice = $1 AND ended", lost.slice)
        ((cover_to,),) = await made.fetch("SELECT cover_to FROM store.runs WHERE run = $1", lost.runs["C"])
        assert cover_to is None, "it continues"


async def test_a_lane_that_does_not_come_back_has_ended(open_folder: Path) -> None:
    """The database is put back to before the lane began; others continue, and it has no journal any more."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        made.start()
        async with Lane(zone, 0, open_folder / "0") as lane:
            await write(lane, "A", range(10))
        backup = await zone.back_up()
        async with Lane(zone, 1, open_folder / "1") as lane:
            await write(lane, "B", range(10))
        await made.until(A=range(10), B=range(10))
        await zone.put_back(backup)
        await made.until_status(lambda status: status.gatherers["gatherer-a"].put_back == 1)
        await asyncio.sleep(LOOK_S)
        assert not await made.fetch("SELECT FROM store.slices WHERE ended"), "it may come yet"
        async with Lane(zone, 0, open_folder / "0") as lane:
            await write(lane, "A", range(10, 20))
        await made.until_rows("SELECT FROM store.slices WHERE lane = 1 AND reason = 'database_put_back'", 1)


async def test_what_is_begun_by_batches_that_are_being_stored_ends_too(open_folder: Path) -> None:
    """The machine is replaced meanwhile: the look that finds nothing in production yet was not the last one."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        async with Lane(zone, 0, open_folder / "0") as lane:
            await write(lane, "A", range(5))
        production = Production(await asyncpg.connect(made.production_dsn, server_settings={"timezone": "UTC"}), "test")
        await production.take_lease()
        sources = Sources(made.config, production, Narrowing(1), Counter())
        batches = await sources.read()
        await sources._forget("gatherer-a")
        await zone.replace()
        reader = sources._readers["gatherer-a"]
        await reader.close()
        sources._look_at.clear()
        news = await sources._one(reader)
        assert not news.over and not news.over_known
        merger = Merger(Limits(0, 1 << 60, 1 << 60, 1000), 0)
        await production.store(merger.step([one.copy for one in batches], BASE_MS), batches)
        await sources.stored(batches, set())
        sources._look_at.clear()
        news = await sources._one(reader)
        assert list(news.over) == [(1, 0, lane.slice)] and news.over_known
        await sources.close()


async def test_two_lanes_that_are_put_back_apart(open_folder: Path) -> None:
    """Each for itself: the one that was not is read on, and neither keeps the other."""
    async with site(open_folder, "gatherer-a", "gatherer-b") as made:
        zone = made.zones["gatherer-a"]
        made.start()
        for number, ticker in enumerate(("A", "B", "C")):
            async with Lane(zone, number, open_folder / str(number)) as lane:
                await write(lane, ticker, range(20))
        await made.until(A=range(20), B=range(20), C=range(20))
        first = await zone.fetch("SELECT lane, max(batch) AS last FROM batches GROUP BY lane ORDER BY lane")
        assert [row["last"] for row in first] == [21, 21, 21]
        await lose(zone.dsn, 0, 12)
        await lose(zone.dsn, 2, 17)
        for number, ticker in enumerate(("A", "B", "C")):
            async with Lane(zone, number, open_folder / f"another-{number}") as lane:
                await write(lane, ticker, range(30, 33))
        together = [*range(20), *range(30, 33)]
        await made.until(A=together, B=together, C=together)
        await made.acknowledged(zone)  # fewer batches than were acknowledged before
        assert {(lane, read_to) for lane, read_to, _ in await put_backs(made)} == {(0, 21), (2, 21)}
        assert not made.deduplicator.status().lanes_waiting


async def lose(dsn: str, lane: int, after: int) -> None:
    """What one lane wrote after a batch is gone."""
    connection = await asyncpg.connect(dsn)
    for table in ("deltas", "slices", "runs", "run_events", "horizons", "quarantine", "batches"):
        await connection.execute(f"DELETE FROM {table} WHERE lane = $1 AND batch > $2", lane, after)
    await connection.close()


async def test_put_back_twice_and_to_a_newer_state_of_the_lost_history(open_folder: Path) -> None:
    """The second time, from another backup than the first: what both know is what is common to all three."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        made.start()
        async with Lane(zone, 0, open_folder / "0") as lane:
            await write(lane, "A", range(10))
        old = await zone.back_up()
        async with Lane(zone, 0, open_folder / "0") as lane:
            await write(lane, "A", range(10, 20))
        newer = await zone.back_up()
        async with Lane(zone, 0, open_folder / "0") as lane:
            await write(lane, "A", range(20, 30))
        await made.until(A=range(30))
        await zone.put_back(old)
        async with Lane(zone, 0, open_folder / "1") as lane:
            await write(lane, "B", range(40))
        await made.until(A=range(30), B=range(40))
        await zone.put_back(newer)
        async with Lane(zone, 0, open_folder / "2") as lane:
            await write(lane, "C", range(50))
        await made.until(A=range(30), B=range(40), C=range(50))
        await made.acknowledged(zone)
        assert len(await put_backs(made)) == 2


async def test_put_back_to_empty_and_to_a_state_that_nothing_was_read_of(open_folder: Path) -> None:
    """The same instance without a lane; later the lane begins with its first batch."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        empty = await zone.back_up()
        async with Lane(zone, 0, open_folder / "0") as lane:
            await write(lane, "A", range(5))
        made.start()
        await made.until(A=range(5))
        await zone.put_back(empty)
        await made.until_status(lambda status: status.gatherers["gatherer-a"].put_back == 1)
        assert await put_backs(made) == [(0, 6, 0)]
        async with Lane(zone, 0, open_folder / "1") as lane:
            await write(lane, "B", range(30))
        await made.until(A=range(5), B=range(30))
        assert len(await put_backs(made)) == 1


async def test_a_chain_that_differs_though_the_numbers_are_higher(open_folder: Path) -> None:
    """The batches of another history are all there under the numbers that were read, and many more."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        start = await zone.back_up()
        async with Lane(zone, 0, open_folder / "0") as lane:
            await write(lane, "A", range(5))
        made.start()
        await made.until(A=range(5))
        await made.stop()
        await zone.put_back(start)
        async with Lane(zone, 0, open_folder / "1") as lane:
            await write(lane, "B", range(100))
        made.start()
        await made.until(A=range(5), B=range(100))
        assert await put_backs(made) == [(0, 6, 0)]


async def test_numbers_that_come_again_as_others_are_not_merged(open_folder: Path) -> None:
    """A clock that was set back as well gave a slice the number of another: that lane waits, and the other is read."""
    async with site(open_folder, "gatherer-a") as made:
        zone = made.zones["gatherer-a"]
        start = await zone.back_up()
        async with Lane(zone, 0, open_folder / "0") as lane:
            await write(lane, "A", range(5))
        made.start()
        await made.until(A=range(5))
        await zone.put_back(start)
        async with Lane(zone, 0, open_folder / "1", lane.slice) as lane:
            await write(lane, "B", range(10))
        async with Lane(zone, 1, open_folder / "2") as lane:
            await write(lane, "C", range(10))
        await made.until(A=range(5), C=range(10))
        status = await made.until_status(lambda status: bool(status.lanes_waiting))
        assert "number of another slice" in status.lanes_waiting["gatherer-a"]["0"]


async def test_what_contradicts_is_listed_once(server: Database) -> None:
    """Also if it is read again."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    production = Production(await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"}), "test")
    await production.take_lease()
    (market,) = (await production.allot(["A"])).values()
    for versions in ([{"head": [1]}], [{"head": [1]}], [{"head": [2]}]):
        conflict = Conflict("head", market, BASE_MS, versions)  # type: ignore[arg-type]
        await production.store(Changes(conflicts=[conflict]), [])
    assert await production._db.fetchval("SELECT count(*) FROM store.conflicts") == 2


async def test_digests_thin_out_with_age_and_stay_few(server: Database) -> None:
    """Whatever was read, a lane has a thousand at most, and one near any batch that is looked for."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    production = Production(await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"}), "test")
    await production.take_lease()
    number, _ = await production.gatherer("gatherer-a", "00000000-0000-0000-0000-000000000001")
    at = 0
    for steps, batches_of_a_step in ((100, 1), (300, 197)):
        for _ in range(steps):
            copy = Copy(number, 0, at + 1, at + batches_of_a_step)
            at = copy.to_batch
            account = FrameAccount(number, 0, copy.from_batch, copy.to_batch, 0, 0)
            digests = [Cursor(n, n.to_bytes(16, "big")) for n in range(copy.from_batch, at + 1)]
            batches = Batches(copy, {}, digests=digests, received_us=at)
            await production.store(Changes(accounts=[account]), [batches])
    known = sorted(cursor.batch for cursor in await production.digests(number, 0))
    assert len(known) < 16 * 64
    for age in (10, 300, 5_000, 50_000):
        nearest = max(batch for batch in known if batch <= at - age)
        assert at - age - nearest <= age / 8, (age, nearest)
    _, cursors = await production.gatherer("gatherer-a", "00000000-0000-0000-0000-000000000001")
    assert cursors == {0: Cursor(at, at.to_bytes(16, "big"))}
    middle = known[len(known) // 2]
    again = await production.put_back(number, PutBack(0, cursors[0], 1, Cursor(middle, b"d"), "test"))
    assert again == Cursor(middle, b"d", at)
    assert max(cursor.batch for cursor in await production.digests(number, 0)) == middle, "the others are of another"
