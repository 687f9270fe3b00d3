"""The simulated exchange behaves as is known of the real one, towards the real client over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from common.errors import AuthenticationError
from common.exchange.rest import RestClient
from common.exchange.signing import Signer
from gatherer.capture.transport import DialRefused, SocketClosed, dial
from simulator import replay
from simulator.exchange import Exchange
from simulator.market import Market
from simulator.replay import Replay
from simulator.server import WS_PATH
from simulator.truth import TruthLog
from tests.support.simulator_case import A, B, world


def shape(frames: list[dict[str, Any]]) -> list[tuple[str, int | None, int | None]]:
    """Type, sid, seq."""
    return [(f["type"], f.get("sid"), f.get("seq")) for f in frames]


async def test_both_kinds_of_keys_sign_and_wrong_ones_get_a_reason() -> None:
    """A refused key is never tried again."""
    async with world() as w:
        for signer in w.signers.values():
            async with RestClient(f"{w.url}/trade-api/v2", signer) as rest:
                assert (await rest.get("/account/limits"))["usage_tier"]
        other = Signer("rsa", rsa.generate_private_key(public_exponent=65537, key_size=2048))
        async with RestClient(f"{w.url}/trade-api/v2", other) as rest:
            began = time.monotonic()
            with pytest.raises(AuthenticationError, match="INCORRECT_API_KEY_SIGNATURE"):
                await rest.get("/account/limits")
            assert time.monotonic() - began < 5
        async with aiohttp.ClientSession() as http, http.get(f"{w.url}/trade-api/v2/account/limits") as answer:
            assert answer.status == 401
            assert (await answer.json())["error"]["code"] == "signature_is_missing_from_headers"
        stale = dict(w.signers["rsa"].headers("GET", WS_PATH))
        stale["KALSHI-ACCESS-TIMESTAMP"] = str(int(stale["KALSHI-ACCESS-TIMESTAMP"]) - 60_000)
        with pytest.raises(DialRefused, match="header_timestamp_expired") as refused:
            await dial("websockets", f"ws{w.url[4:]}{WS_PATH}", stale)
        assert refused.value.status == 401


async def test_keys_are_read_from_pem_files(tmp_path: Path) -> None:
    """RSA and Ed25519; anything else is refused without showing it."""
    file = tmp_path / "key.pem"
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(*pem))
    assert Signer.of_file("k", file).headers("GET", "/x")["KALSHI-ACCESS-KEY"] == "k"
    file.write_text("not a key")
    with pytest.raises(AuthenticationError, match="not an unencrypted PEM private key"):
        Signer.of_file("k", file)


async def test_numbers_count_every_numbered_frame_of_a_sid() -> None:
    """`ok`, scoped errors and snapshots use numbers; subscribed does not; a repeated subscribe merges."""
    async with world() as w:
        c = await w.client()
        await c.say("subscribe", channels=["orderbook_delta", "trade"], market_tickers=[A])
        assert shape(await c.hear(3)) == [
            ("subscribed", None, None),
            ("orderbook_snapshot", 1, 1),
            ("subscribed", None, None),
        ]
        await c.say("update_subscription", sids=[1], action="add_markets", market_tickers=[B])
        ok, snapshot = await c.hear(2)
        assert shape([ok, snapshot]) == [("ok", 1, 2), ("orderbook_snapshot", 1, 3)]
        assert ok["msg"]["market_tickers"] == [A, B]
        await c.say("subscribe", channels=["orderbook_delta"], market_tickers=[A])
        assert shape(await c.hear(1)) == [("ok", 1, 4)]
        await c.say("update_subscription", sids=[1], action="get_snapshot", market_tickers=[A, B])
        answers = await c.hear(2)
        assert shape(answers) == [("orderbook_snapshot", 1, 5), ("orderbook_snapshot", 1, 6)]
        assert answers[0]["id"] == answers[1]["id"] >= 100
        await c.say("update_subscription", sids=[1], action="get_snapshot")
        (error,) = await c.hear(1)
        assert shape([error]) == [("error", 1, 7)] and error["msg"]["code"] == 14
        market = w.server.exchange.markets[A]
        w.server.exchange.delta(market, "yes", 4700, -300, w.server.exchange.now_us())
        (delta,) = await c.hear(1)
        assert shape([delta]) == [("orderbook_delta", 1, 8)]
        assert delta["msg"]["delta_fp"] == "-3.00" and delta["msg"]["price_dollars"] == "0.4700"
        await c.say("unsubscribe", sids=[1])
        assert shape(await c.hear(1)) == [("unsubscribed", 1, 9)]
        await c.say("subscribe", channels=["orderbook_delta"], market_tickers=[A])
        again = await c.hear(2)
        assert again[0]["msg"]["sid"] == 3 and shape(again[1:]) == [("orderbook_snapshot", 3, 1)]
        assert "yes_dollars_fp" not in again[1]["msg"], "a side without levels is left out"
        await c.say("subscribe", channels=["nonsense"])
        assert (await c.hear(1))[0]["msg"]["code"] == 8
        await c.say("list_subscriptions")
        assert [s["sid"] for s in (await c.hear(1))[0]["msg"]] == [2, 3]
        await c.socket.close()


async def test_an_unknown_ticker_gets_an_empty_book_without_id() -> None:
    """It is not rejected."""
    async with world() as w:
        c = await w.client()
        await c.say("subscribe", channels=["orderbook_delta"], market_tickers=["KXNO-1"])
        snapshot = (await c.hear(2))[1]
        assert snapshot["msg"] == {"market_ticker": "KXNO-1", "market_id": ""}
        await c.socket.close()


async def test_parameters_of_commands_and_requests_are_honoured() -> None:
    """`use_yes_price`, `send_initial_snapshot`, `market_ids`, `depth`, `mve_filter`."""
    async with world() as w, RestClient(f"{w.url}/trade-api/v2", w.signers["rsa"]) as rest:
        exchange, market = w.server.exchange, w.server.exchange.markets[A]
        c = await w.client()
        await c.say("subscribe", channels=["orderbook_delta"], market_tickers=[A], use_yes_price=True)
        _, book = await c.hear(2)
        assert book["msg"]["yes_dollars_fp"] == [["0.4700", "3.00"]] and book["msg"]["no_dollars_fp"] == [
            ["0.5200", "2.00"]
        ]
        exchange.delta(market, "no", 4600, 100, exchange.now_us())
        (change,) = await c.hear(1)
        assert (change["msg"]["side"], change["msg"]["price_dollars"]) == ("no", "0.5400")
        await c.say("update_subscription", sids=[1], action="get_snapshot", market_tickers=[A])
        assert (await c.hear(1))[0]["msg"]["no_dollars_fp"] == [["0.5200", "2.00"], ["0.5400", "1.00"]], "ascending"
        await c.say("subscribe", channels=["ticker"], market_ids=[market.market_id], send_initial_snapshot=True)
        subscribed, ticker = await c.hear(2)
        assert subscribed["msg"]["channel"] == "ticker" and ticker["msg"]["market_ticker"] == A
        assert ticker["msg"]["yes_ask_dollars"] == "0.5200" and "seq" not in ticker
        await c.socket.close()
        for depth, levels in ((1, [["0.4800", "2.00"]]), (0, [["0.4600", "1.00"], ["0.4800", "2.00"]])):
            best = await rest.get(f"/markets/{A}/orderbook", depth=depth)
            assert best["orderbook_fp"]["no_dollars"] == levels, "the best, ascending"
        combo = Market("KXMVES-1-A", "KXMVES-1", "KXMVES", market.created_us, market.open_us, market.close_us)
        exchange.add_market(combo)
        for wanted, found in (("only", ["KXMVES-1-A"]), ("exclude", [B, A])):
            assert [m["ticker"] for m in (await rest.get("/markets", mve_filter=wanted))["markets"]] == found


@pytest.mark.parametrize(
    ("how", "answers"), [("answered", ["orderbook_snapshot"]), ("error", ["error"]), ("silence", [])]
)
async def test_what_nobody_knows_of_the_exchange_can_be_chosen(how: str, answers: list[str]) -> None:
    """The book of a market that is not held; an account's connection too many."""
    async with world() as w, aiohttp.ClientSession() as http:
        c = await w.client()
        await c.say("subscribe", channels=["orderbook_delta"], market_tickers=[A])
        await c.hear(2)
        async with http.post(f"{w.control}/faults", json={"kind": "unheld", "how": how}) as answer:
            assert (await answer.json())["hit"] == 1
        await c.say("update_subscription", sids=[1], action="get_snapshot", market_tickers=[B])
        await c.say("list_subscriptions")
        assert [f["type"] for f in await c.hear(len(answers) + 1)] == [*answers, "ok"]
        w.server._connections_max = 1
        with pytest.raises(DialRefused) as refused:
            await w.client()
        assert refused.value.status == 429
        async with http.post(f"{w.control}/faults", json={"kind": "full", "status": 0}) as answer:
            assert answer.status == 200
        unwanted = await w.client()
        with pytest.raises(SocketClosed):
            await asyncio.wait_for(unwanted.receive(), 5)
        await c.socket.close()


async def test_faults_hit_what_they_are_aimed_at() -> None:
    """A dropped frame uses its number up; a cut has no handshake; a muted socket does not ping; dials answer 502."""
    async with world() as w, aiohttp.ClientSession() as http:

        async def fault(**fields: Any) -> int:
            async with http.post(f"{w.control}/faults", json=fields) as answer:
                return int((await answer.json())["hit"])

        one, two = await w.client("rsa"), await w.client("ed")
        for c in (one, two):
            await c.say("subscribe", channels=["orderbook_delta"], market_tickers=[A])
            await c.hear(2)
        exchange, market = w.server.exchange, w.server.exchange.markets[A]
        assert await fault(kind="drop", key="rsa", count=1) == 1
        for _ in range(2):
            exchange.delta(market, "no", 4800, 100, exchange.now_us())
        assert shape(await one.hear(1)) == [("orderbook_delta", 1, 3)]
        assert shape(await two.hear(2)) == [("orderbook_delta", 1, 2), ("orderbook_delta", 1, 3)]
        assert await fault(kind="mute", key="ed", for_ms=60_000) == 1
        await asyncio.sleep(0.3)
        before = two.socket.received_s
        await asyncio.sleep(0.5)
        assert two.socket.received_s == before and one.socket.received_s > before
        assert await fault(kind="cut", key="rsa", for_ms=60_000) == 1
        with pytest.raises(SocketClosed):
            await one.hear(1)
        with pytest.raises(DialRefused) as refused:
            await w.client("rsa")
        assert refused.value.status == 502
        async with http.post(f"{w.control}/faults", json={"kind": "nonsense"}) as answer:
            assert answer.status == 400
        assert await fault(kind="restart", for_ms=60_000) == 1
        with pytest.raises(SocketClosed):
            await two.hear(1)
        async with http.get(f"{w.url}/trade-api/v2/exchange/status") as answer:
            assert answer.status == 502
        await two.socket.close()


async def test_listings_are_paged_by_keyset_and_limits_are_checked() -> None:
    """Garbage cursors mean the first page; 1001 is too many."""
    async with world() as w, RestClient(f"{w.url}/trade-api/v2", w.signers["rsa"]) as rest:
        pages = [page async for page in rest.pages("/markets", "markets", 1, status="open")]
        assert [[m["ticker"] for m in page] for page in pages] == [[B], [A]]
        w.server.exchange.markets[A].status = "finalized"
        w.server.exchange.markets[A].settled_us = w.server.exchange.now_us()
        now = int(time.time())
        settled = [await rest.get("/markets", status="settled", min_settled_ts=now + offset) for offset in (-60, 60)]
        assert [len(page["markets"]) for page in settled] == [1, 0]
        garbage = await rest.get("/markets", cursor="garbage")
        assert len(garbage["markets"]) == 2
        async with aiohttp.ClientSession() as http, http.get(f"{w.url}/trade-api/v2/markets?limit=1001") as answer:
            assert answer.status == 400 and "Limit" in (await answer.json())["msg"]
        book = await rest.get(f"/markets/{A}/orderbook")
        assert book == {"orderbook_fp": {"yes_dollars": [["0.4700", "3.00"]], "no_dollars": [["0.4800", "2.00"]]}}


async def test_a_server_error_is_tried_again_and_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """429 and 5xx are retried."""
    async with (
        world() as w,
        RestClient(f"{w.url}/trade-api/v2", w.signers["rsa"]) as rest,
        aiohttp.ClientSession() as http,
    ):
        for status in (429, 503):
            body = {"kind": "http", "status": status, "for_ms": 300}
            async with http.post(f"{w.control}/faults", json=body) as answer:
                assert answer.status == 200
            assert (await rest.get("/exchange/status"))["exchange_active"] is True


async def test_a_replay_keeps_order_and_equal_times_equal(recordings: list[Path], tmp_path: Path) -> None:
    """Shifted to now, divided by the speed, nothing lost."""
    truth = tmp_path / "truth"
    exchange = Exchange(TruthLog(truth))
    replay = Replay(exchange, recordings[:1], 1000.0)
    await replay.run()
    exchange.truth.flush()
    rows = [json.loads(line) for line in truth.read_text().splitlines()]
    with gzip.open(recordings[0], "rt") as lines:
        sent = [json.loads(line)["event"] for line in lines]
    wanted = [
        (e["msg"]["price_dollars"], e["msg"]["delta_fp"], e["msg"]["ts"])
        for e in sent
        if e["type"] == "orderbook_delta"
    ]
    got = [(r["price"], r["delta"], (r["ts_ms"], r["us"])) for r in rows if r["kind"] == "delta"]
    assert [w[:2] for w in wanted] == [g[:2] for g in got]
    for (before, after), (old, new) in zip(pairwise(wanted), pairwise(got), strict=True):
        assert new[2] >= old[2]
        if before[2] == after[2]:
            assert old[2] == new[2], "equal times stay equal"
    assert [r["kind"] for r in rows].count("trade") == sum(e["type"] == "trade" for e in sent)
    assert rows[-1]["kind"] == "reset"


@pytest.mark.parametrize("transport", ["websockets", "picows", "aiohttp"])
async def test_every_transport_gives_frames_notes_pings_and_reports_the_end(transport: str) -> None:
    """The seam: the same from each library, refusals with their status included."""
    async with world() as w:
        client = await w.client(transport=transport)
        await client.say("subscribe", channels=["orderbook_delta"], market_tickers=[A, B])
        assert [f["type"] for f in await client.hear(3)] == ["subscribed", "orderbook_snapshot", "orderbook_snapshot"]
        before = client.socket.received_s
        await asyncio.sleep(0.5)
        assert client.socket.received_s > before, "a ping is noted although nothing else is sent"
        for session in tuple(w.server.sessions):
            session.raw_frame(b"x" * 300_000)
        assert await asyncio.wait_for(client.receive(), 5) == b"x" * 300_000
        for session in tuple(w.server.sessions):
            session.cut()
        with pytest.raises(SocketClosed):
            await asyncio.wait_for(client.receive(), 5)
        await client.socket.close()
        stale = {**w.signers["rsa"].headers("GET", WS_PATH), "KALSHI-ACCESS-TIMESTAMP": "1"}
        with pytest.raises(DialRefused) as refused:
            await dial(transport, f"ws{w.url[4:]}{WS_PATH}", stale)
        assert refused.value.status == 401
        with pytest.raises(DialRefused) as nobody:
            await dial(transport, "ws://127.0.0.1:1/", {})
        assert nobody.value.status is None
        mine = await w.client(transport=transport)
        await mine.say("list_subscriptions")
        await mine.hear(1)
        await mine.socket.close()
        with pytest.raises(SocketClosed):
            await asyncio.wait_for(mine.receive(), 5)


def test_a_replayed_trade_has_its_change_in_its_millisecond_at_any_speed() -> None:
    """Whichever of the two frames came first, and whatever lies between; neither order nor times step back."""

    def change(us: int, size: str, price: str = "0.4000") -> replay.RecordedEvent:
        ts = f"2026-08-10T21:46:09.{us:06}Z"
        msg = {"side": "yes", "price_dollars": price, "delta_fp": size, "ts": ts, "ts_ms": us // 1000}
        return replay.RecordedEvent(us, "orderbook_delta", msg)

    def trade(us: int, played: int) -> replay.RecordedEvent:
        ts = f"2026-08-10T21:46:09.{us // 1000 * 1000:06}Z"
        msg = {"taker_side": "no", "yes_price_dollars": "0.4000", "count_fp": "2.00", "ts": ts}
        return replay.RecordedEvent(played, "trade", msg)

    early = [change(100_900, "5.00"), trade(101_000, 101_000), change(101_400, "1.00"), change(101_990, "-2.00")]
    late = [change(301_990, "-2.00"), change(302_500, "1.00"), trade(301_000, 302_500), change(400_000, "3.00")]
    events = replay.with_twins([*early, *late])
    assert [event.type for event in events].count("trade") == 2 and len(events) == 8
    offsets = [event.offset_us for event in events]
    assert offsets == sorted(offsets)
    assert [event.stamp_us for event in events if event.type == "trade"] == [101_990, 301_990]
    assert [event for event in events if event.type != "trade"] == [e for e in (*early, *late) if e.type != "trade"]
    alone = [trade(5_000, 5_000)]
    assert replay.with_twins(alone) == alone
