"""Finished segments in S3, and journals played again as an exchange."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from typing import Any

import pytest

from simulator.journals import read_journals
from tests.support.gatherer_case import NAME, gathering, local, settle, status_of
from workshop.rehearsal import s3
from workshop.rehearsal.local import BUCKET, FleetPlan, LocalFleet
from workshop.rehearsal.truth import Truth

SMALL = {"segment_bytes": "100KiB", "max_bytes": "1GiB"}


async def test_segments_go_to_s3_and_are_an_exchange_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything recorded reaches the bucket; a gatherer that listens to its replay records the same changes."""
    plan: dict[str, Any] = {"workers": 2, "connections": {"orderbook": 2, "trade": 1, "ticker": 1, "lifecycle": 1}}
    async with LocalFleet(FleetPlan(gatherers=(NAME,), simulator=("--markets", "6", "--rate", "400"), **plan)) as fleet:
        raw = {"bucket": BUCKET, "prefix": "some/where", "endpoint_url": fleet.s3_url}
        fleet.plan = dataclasses.replace(fleet.plan, overrides={"journal": {**SMALL, "raw": raw}})
        await fleet.start_simulator()
        fleet.start_gatherer(NAME)
        await fleet.ready(NAME)
        async with asyncio.timeout(60):
            while not (before := await status_of(fleet)).journal.raw_error:
                await asyncio.sleep(0.2)
        assert before.journal.segments_archived == 0, "it waits for S3"
        await fleet.start_s3()
        await asyncio.sleep(4)
        await settle(fleet)
        for _ in range(100):
            status = await status_of(fleet)
            if status.journal.segments_archived > 6 and not status.journal.raw_error:
                break
            await asyncio.sleep(0.2)
        client = s3.client(fleet.s3_url)
        keys = [o["Key"] for o in client.list_objects_v2(Bucket=BUCKET, Prefix="some/where/raw/")["Contents"]]
        assert all(key.startswith(f"some/where/raw/gatherer={NAME}/date=") for key in keys)
        assert any("lane-0-" in key for key in keys) and any("lane-1-" in key for key in keys)
        assert sum(key.endswith(".state") for key in keys) > 2
        assert await fleet.terminate(NAME) == 0
        await fleet.control("/finish", {})
        truth = Truth.read(fleet.truth)

        monkeypatch.setenv("AWS_ENDPOINT_URL", fleet.s3_url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")
        source = f"s3://{BUCKET}/some/where/raw"
        async with gathering("--replay", source, "--speed", "3", "--paused") as again:
            await again.control("/resume", {})
            while not (await again.control("/state"))["replay_finished"]:
                again.check_alive()
                await asyncio.sleep(0.2)
            await settle(again)
            played = await local(
                again,
                "SELECT ticker, side, price, delta FROM deltas JOIN markets USING (market)"
                " ORDER BY ticker, exchange_ms, ordinal",
            )
        assert len(played) > 500
        original: dict[str, list[tuple[int, int, int]]] = {}
        for (ticker, _, _), (side, price, delta, _) in sorted(truth.deltas.items()):
            original.setdefault(ticker, []).append((int(side == "no"), int(price * 10000), int(delta * 100)))
        for ticker in {r["ticker"] for r in played}:
            mine = [(r["side"], r["price"], r["delta"]) for r in played if r["ticker"] == ticker]
            text, part = repr(original[ticker])[1:-1], repr(mine)[1:-1]
            assert part in text, f"{ticker}: what was played again is not a stretch of what happened"


async def test_a_journal_folder_is_read_whatever_its_state(open_folder: Any) -> None:
    """Compressed or not, torn at its end."""
    async with gathering("--markets", "4", "--rate", "300", workers=1, overrides={"journal": SMALL}) as fleet:
        lane = fleet.folder / NAME / "journal" / "lane-0"
        async with asyncio.timeout(60):  # a whole segment has some 500 frames, and one is compressed after the others
            while not list(lane.glob("*.zst")) or sorted(lane.glob("*.journal"))[-1].stat().st_size < 5000:
                await asyncio.sleep(0.1)
        fleet.kill(NAME)
        files = sorted(lane.glob("*.journal*"))
        assert any(f.name.endswith(".zst") for f in files) and any(f.name.endswith(".journal") for f in files)
        os.truncate(files[-1], files[-1].stat().st_size - 5)
        histories = read_journals(files)
        assert len(histories) == 4 and sum(len(h.events) for h in histories) > 300
