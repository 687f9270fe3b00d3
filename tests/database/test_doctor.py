"""The doctor finds what keeps a gatherer from working, and names the cure."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from moto.server import ThreadedMotoServer
from prometheus_client import CollectorRegistry

from common import http
from common.config.schema import BucketConfig, HttpConfig
from common.contract.gatherer_status import GathererStatus
from common.storage import migrate
from common.storage.accounts import as_account
from common.storage.embedded import EmbeddedServer
from fleet.checks import doctor_s3
from fleet.checks.doctor import _lock, _port, _runs
from fleet.checks.doctor_s3 import NEVER
from fleet.checks.finding import Finding
from gatherer.journal.ownership import owned_journal
from tests.support.archive_case import empty
from tests.support.commands import fleet
from tests.support.databases import new_database
from tests.support.keys import write_key
from tests.support.status_case import another_service, gatherer
from workshop.rehearsal import s3
from workshop.rehearsal.local import FleetPlan, LocalFleet

NAME = "gatherer-a"


async def doctor(file: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """`fleet doctor --json`: the exit code, and by check what is wrong or should be looked at."""
    code, out, err = await fleet("doctor", "--config", file, "--json", *arguments)
    assert out, err
    findings = json.loads(out)
    assert all(f["ok"] or f["cure"] for f in findings), "each with its cure"
    assert all(f["state"] == ("wrong" if not f["ok"] else "look" if f["cure"] else "fine") for f in findings)
    assert code == (0 if all(f["ok"] for f in findings) else 1)
    return code, {f["check"]: f for f in findings if f["state"] != "fine"}


async def test_each_obstacle_is_found_with_its_cure(open_folder: Path, tmp_path: Path) -> None:
    """Unreadable key, wrong key, clock skew, no database, old schema, small disk, an account that is too small."""
    plan = FleetPlan(gatherers=(NAME,), simulator=("--markets", "2", "--rate", "10", "--connections-max", "3"))
    async with LocalFleet(plan) as local, EmbeddedServer(open_folder / "db") as server:
        await local.start_simulator()
        await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
        good = yaml.safe_load(local.config(NAME).read_text())
        good["database"]["dsn"] = server.dsn
        good["journal"] = {"dir": str(tmp_path / "journal"), "max_bytes": "100MiB", "segment_bytes": "8MiB"}

        async def examined(*arguments: str, **changes: dict[str, Any]) -> tuple[int, dict[str, dict[str, Any]]]:
            """What is wrong; what should be looked at is the same each time."""
            content = {name: {**good.get(name, {}), **changes.get(name, {})} for name in {*good, *changes} - SCALARS}
            file = tmp_path / "gatherer.yaml"
            file.write_text(yaml.safe_dump({**{s: good[s] for s in SCALARS if s in good}, **content}))
            code, found = await doctor(file, *arguments)
            look = {name for name, f in found.items() if f["ok"]}
            assert look == {"clock proof", "raw archive"}, look
            assert "not proven" in found["clock proof"]["text"]
            return code, {name: f for name, f in found.items() if not f["ok"]}

        assert await examined() == (0, {})
        assert (await examined("--dial"))[1].keys() == {"connections"}
        code, wrong = await examined("--dial")
        assert code == 1 and "3 of 4 were accepted: HTTP 429" in wrong["connections"]["text"]
        assert "account of its own" in wrong["connections"]["cure"]

        code, wrong = await examined(kalshi={"private_key_file": str(tmp_path / "none.pem")})
        assert code == 1 and wrong.keys() == {"private key"} and "chmod 600" in wrong["private key"]["cure"]

        other = write_key(tmp_path / "other.pem")
        code, wrong = await examined(kalshi={"private_key_file": str(other)})
        assert code == 1 and "does not belong to kalshi.key_id" in wrong["account"]["cure"]
        code, wrong = await examined(kalshi={"key_id": "nobody"})
        assert code == 1 and "not known there" in wrong["account"]["cure"]

        await local.control("/faults", {"kind": "clock", "ahead_ms": 40_000})
        code, wrong = await examined()
        assert code == 1 and "off by about -40 s" in wrong["clock"]["text"] and "chrony" in wrong["clock"]["cure"]
        assert "clock is off" in wrong["account"]["cure"]
        await local.control("/faults", {"kind": "clock", "ahead_ms": 0})

        code, wrong = await examined(database={"dsn": "postgresql://x:secret-word@127.0.0.1:1/kalshi"})
        assert code == 1 and "cannot be reached" in wrong["database"]["text"]
        assert "secret-word" not in json.dumps(wrong)
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("DELETE FROM schema_migrations WHERE name = $1", migrate.names("gatherer")[-1])
        await connection.close()
        code, wrong = await examined()
        assert code == 1 and "older than the code" in wrong["database"]["text"]
        assert "fleet migrate --config" in wrong["database"]["cure"]
        await _mend(server.dsn)

        code, wrong = await examined(journal={"max_bytes": "900000GiB"})
        assert code == 1 and "journal.max_bytes" in wrong["disk"]["cure"]
        code, wrong = await examined(connections={"orderbook": 250})
        assert code == 1 and "lower `connections`" in wrong["connections"]["cure"]
        code, wrong = await examined(kalshi={"ws_url": "ws://127.0.0.1:1/trade-api/ws/v2"})
        assert code == 1 and wrong.keys() == {"connections"} and "kalshi.ws_url" in wrong["connections"]["cure"]
        code, wrong = await examined(http={"port": local.sim_port})
        assert code == 1 and wrong.keys() == {"http"} and "another process listens" in wrong["http"]["text"]
        code, wrong = await examined(http={"host": "192.0.2.1", "page": None})
        assert code == 1 and wrong.keys() == {"http"} and "cannot be listened at" in wrong["http"]["text"]


SCALARS = {"gatherer_id", "workers"}


@pytest.fixture
async def endpoint(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """An S3 endpoint with a versioned bucket, and credentials for it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    await asyncio.to_thread(empty, f"http://{host}:{port}")
    yield f"http://{host}:{port}"
    server.stop()


class Careless(BaseHTTPRequestHandler):
    """A store that takes whatever is written."""

    def do_GET(self) -> None:
        """Lists nothing; asked for versions, it has them."""
        body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        self.answer(body if "versioning" in self.path else b"<ListBucketResult></ListBucketResult>")

    def do_PUT(self) -> None:
        """Whatever the condition."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(b"")

    def answer(self, body: bytes) -> None:
        """With a body."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", NEVER)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


async def test_what_keeps_a_bucket_from_the_exporter(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Credentials, the bucket, its versions, a write on a condition; and nothing of the doctor's is left in it."""

    def found(check: str, **changes: str) -> Finding:
        bucket = BucketConfig(**{"bucket": "archive", "endpoint_url": endpoint, **changes})
        findings = {finding.check: finding for finding in doctor_s3.archive(bucket)}
        return findings[check]

    for check in ("archive", "archive versions", "archive writes"):
        assert found(check).state == "fine", found(check)
    store = s3.client(endpoint)
    assert store.list_object_versions(Bucket="archive").get("Versions") is None
    assert "there is no bucket nowhere" in found("archive", bucket="nowhere").text
    assert "does not answer" in found("archive", endpoint_url="http://127.0.0.1:1").text
    store.put_bucket_versioning(Bucket="archive", VersioningConfiguration={"Status": "Suspended"})
    versions = found("archive versions")
    assert not versions.ok and "put-bucket-versioning --bucket archive" in versions.cure
    careless = ThreadingHTTPServer(("127.0.0.1", 0), Careless)
    threading.Thread(target=careless.serve_forever, daemon=True).start()
    writes = found("archive writes", endpoint_url=f"http://127.0.0.1:{careless.server_address[1]}")
    assert not writes.ok and "condition (If-Match) is not met" in writes.text
    careless.shutdown()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "no credentials" in found("archive").text


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        ("AccessDenied", 403, "s3://archive: AccessDenied"),
        ("InvalidAccessKeyId", 403, "the credentials are refused"),
        ("AuthorizationHeaderMalformed", 400, "is in another region"),
        ("NoSuchBucket", 404, "there is no bucket archive"),
        ("BadDigest", 400, ""),
    ],
)
async def test_what_s3_answers_is_reported_with_its_cure(
    code: str, status: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the raw archive of a gatherer, which may write and not list; a wrong checksum is what it hopes for."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")

    async def refuse(_: web.Request) -> web.Response:
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        return web.Response(status=status, text=body, content_type="application/xml")

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", refuse)
    async with TestServer(app) as server:
        bucket = BucketConfig(bucket="archive", endpoint_url=str(server.make_url("/")).rstrip("/"))
        (finding,) = await asyncio.to_thread(lambda: list(doctor_s3.raw(bucket, NAME)))
    assert finding.ok is not bool(text) and text in finding.text and bool(finding.cure) is bool(text)


async def test_each_obstacle_of_a_deduplicator(endpoint: str, open_folder: Path, tmp_path: Path) -> None:
    """Accounts that may not, one database for two gatherers, no archive, no folder, a server that does not run."""
    async with (
        new_database("production") as production,
        new_database("gatherer") as one,
        new_database("gatherer") as two,
    ):
        db = await asyncpg.connect(production.dsn)
        await db.execute("DROP ROLE IF EXISTS doctor_nobody")
        await db.execute("CREATE ROLE doctor_nobody LOGIN")
        nobody = {
            name: as_account(d.dsn, "doctor_nobody", "") for name, d in (("production", production), ("one", one))
        }
        good: dict[str, Any] = {
            "gatherers": [{"id": "gatherer-a", "dsn": one.dsn}, {"id": "gatherer-b", "dsn": two.dsn}],
            "production": {"dsn": production.dsn},
            "kalshi": {
                "rest_url": "http://127.0.0.1:9/trade-api/v2",
                "key_id": "k",
                "private_key_file": str(write_key(tmp_path / "key.pem")),
            },
            "archive": {"bucket": "archive", "endpoint_url": endpoint},
            "http": {"port": 0},
        }

        async def found(**changes: Any) -> dict[str, dict[str, Any]]:
            file = tmp_path / "deduplicator.yaml"
            file.write_text(yaml.safe_dump({**good, **changes}))
            wrong = (await doctor(file))[1]
            for check in ("exchange", "account"):  # nobody is there
                assert not wrong.pop(check)["ok"]
            return wrong

        assert await found() == {}
        may_not = (await found(production={"dsn": nobody["production"]}))["production"]
        assert "does not show what this account may" in may_not["text"] or "may not write" in may_not["text"]
        await db.execute("GRANT kalshi_reader TO doctor_nobody")
        wrong = await found(production={"dsn": nobody["production"]})
        assert wrong.keys() == {"production"} and "may not write production" in wrong["production"]["text"]
        await db.execute("REVOKE kalshi_reader FROM doctor_nobody; GRANT kalshi_writer TO doctor_nobody")
        assert await found(production={"dsn": nobody["production"]}) == {}
        wrong = await found(gatherers=[{"id": "gatherer-a", "dsn": nobody["one"]}])
        assert wrong.keys() == {"gatherer-a"}
        again = one.dsn + "&application_name=other"
        wrong = await found(gatherers=[{"id": "gatherer-a", "dsn": one.dsn}, {"id": "gatherer-b", "dsn": again}])
        assert wrong.keys() == {"gatherer-b"} and "is the database of gatherer-a" in wrong["gatherer-b"]["text"]
        dsn = f"embedded:{open_folder / 'db'}"
        wrong = await found(gatherers=[{"id": "gatherer-a", "dsn": dsn}])
        assert wrong.keys() == {"gatherer-a"} and "does not run" in wrong["gatherer-a"]["text"]
        assert await found(production={"dsn": dsn}) == {}, "its owner starts it"
        (open_folder / "file").touch()
        wrong = await found(production={"dsn": f"embedded:{open_folder / 'file' / 'db'}"})
        assert wrong.keys() == {"production"} and "cannot be written" in wrong["production"]["text"]
        async with EmbeddedServer(open_folder / "db") as server:
            wrong = await found(production={"dsn": dsn})
            assert "has no production schema yet" in wrong["production"]["text"], "it runs: it is asked"
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.sleep(0.5)
            assert await found(production={"dsn": dsn}) == {}, "what was killed its owner starts again"
        wrong = await found(production={"dsn": "postgresql://x@192.0.2.1:5432/kalshi?connect_timeout=1"})
        assert wrong.keys() >= {"encryption", "production"} and "verify-full" in wrong["encryption"]["cure"]
        assert (await found(archive=None))["archive"]["state"] == "look"
        wrong = await found(archive={**good["archive"], "bucket": "nowhere"})
        assert wrong.keys() == {"archive"}
        wrong = await found(archive={**good["archive"], "spool_dir": str(tmp_path / "none")})
        assert wrong.keys() == {"archive spool"}
        file = tmp_path / "analyst.yaml"
        file.write_text(yaml.safe_dump({name: good[name] for name in ("production", "archive")}))
        assert await doctor(file) == (0, {})
        await db.execute("REVOKE kalshi_writer FROM doctor_nobody")
        file.write_text(yaml.safe_dump({"production": {"dsn": nobody["production"]}, "archive": {"bucket": "nowhere"}}))
        code, wrong = await doctor(file)
        assert code == 1 and wrong.keys() == {"production", "archive"}
        await db.execute("DROP ROLE doctor_nobody")
        await db.close()


async def test_the_journals_lock_and_the_own_port_are_reported_as_they_are(tmp_path: Path) -> None:
    """A gatherer that runs is no obstacle to itself."""
    assert _lock(tmp_path, runs=False).state == "fine"
    with owned_journal(tmp_path):
        held = _lock(tmp_path, runs=False)
        assert held.state == "wrong" and f"process {os.getpid()} holds" in held.text, "another gatherer's"
        assert _lock(tmp_path, runs=True).state == "fine", "its own"
    assert _lock(tmp_path, runs=True).state == "fine"

    def status() -> GathererStatus:
        return gatherer(gatherer_id=NAME)

    async with http.serve(HttpConfig(port=0), CollectorRegistry(), lambda: None, status) as port:
        where = HttpConfig(port=port)
        assert await _runs(where, NAME) and not await _runs(where, "gatherer-b")
        mine, other = _port(where, NAME, runs=True), _port(where, "gatherer-b", runs=False)
    assert mine.state == "fine" and "runs, and listens" in mine.text
    assert other.state == "wrong" and _port(where, NAME, runs=False).text.endswith("is free")
    assert not await _runs(where, NAME)
    async with another_service() as port:
        where = HttpConfig(port=port)
        assert not await _runs(where, NAME) and _port(where, NAME, runs=False).state == "wrong"


async def _mend(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("INSERT INTO schema_migrations VALUES ($1, 'x')", migrate.names("gatherer")[-1])
    await connection.close()
