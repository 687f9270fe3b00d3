"""What the scenes are played on: the cloud's stand-ins, the exchange, production, and the machines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import boto3
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from common.errors import FleetError
from common.process import end_with_parent_of
from common.storage.embedded import EmbeddedServer, socket_dir
from workshop.rehearsal.boot.authority import certify
from workshop.rehearsal.boot.cloud import HOOKS, NAMES, TIME_IP, Cloud, compressed
from workshop.rehearsal.boot.host import CACHE, python, run
from workshop.rehearsal.boot.image import Release
from workshop.rehearsal.boot.machine import Machine
from workshop.rehearsal.boot.rendered import (
    BUCKET,
    DEDUPLICATOR,
    FLEET,
    GATHERER,
    MONITORING,
    PRODUCTION,
    REGION,
    WEBHOOKS,
    Rendered,
    render,
)
from workshop.rehearsal.local import free_port
from workshop.rehearsal.statements import SQL

VOLUME_BYTES: Final = 3 << 30
FAILURES_MAX: Final = 4
"""So often a boot may fail while nothing is away; it is tried each 15 s."""
BUSY_MAX: Final = 6.0
PORTS: Final = {GATHERER: 8080, DEDUPLICATOR: 8081}
WATCHES: Final = ("prometheus", "prometheus-alertmanager", "grafana-server")
Plant = Callable[[str], str]
"""An edit of cloud-init's document."""


class Stage:
    """One rehearsal's world. `folder` is where all of it is."""

    def __init__(self, folder: Path, wheels: Path, timescaledb: list[str]) -> None:
        self.folder, self.timescaledb = folder, timescaledb
        self._wheels = wheels
        self.passwords = {f"{GATHERER}/reader": "readerpassword1", "production/deduplicator": "productionpassword"}
        self.truth = folder / "truth.ndjson"
        self.plant: Plant = lambda document: document
        self.machines: dict[str, Machine] = {}
        self._numbers = 0
        self._children: list[subprocess.Popen[bytes]] = []
        self._device = ""
        self._stack = contextlib.AsyncExitStack()
        self._instance: str | None = None

    # -- set-up ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Stage:
        for name in ("keys", "private"):
            (self.folder / name).mkdir()
        for key_id in ("first", "second", "third", DEDUPLICATOR):
            self._make_key(key_id)
        moto, self.simulator, self.control_port = free_port(), free_port(), free_port()
        self._moto_url = f"http://127.0.0.1:{moto}"
        self._spawn("moto", *python("-m", "moto.server", "-H", "127.0.0.1", "-p", str(moto)))
        self._spawn(
            "simulator",
            *python("-m", "simulator", "serve", "--keys", self.folder / "keys", "--truth", self.truth, "--port"),
            str(self.simulator), "--control-port", str(self.control_port), "--markets", "12", "--rate", "100",
        )  # fmt: skip
        self._start_time_server()
        server = EmbeddedServer(self.folder / "production")
        await server.start()
        self._stack.push_async_callback(server.stop)
        self.production_dsn = server.dsn
        authority, certificate, key = certify(self.folder, [*NAMES, PRODUCTION, f"*.s3.{REGION}.amazonaws.com"])
        self.cloud = Cloud(authority, certificate, key, self._wheels, moto, self.simulator,
                           socket_dir(server.folder) / ".s.PGSQL.5432", set())  # fmt: skip
        self.cloud.start()
        self._stack.callback(self.cloud.stop)
        volume = self.folder / "volume.img"
        with volume.open("wb") as file:
            file.truncate(VOLUME_BYTES)
        self._device = run("losetup", "--find", "--show", volume).strip()
        self._stack.callback(lambda: run("losetup", "--detach", self._device, check=False))
        await self._until_there(moto, self.simulator)
        await asyncio.to_thread(self._fill_aws)
        return self

    async def __aexit__(self, *_: object) -> None:
        for machine in self.machines.values():
            machine.cut_power()
            machine.end()
        await self._stack.aclose()
        for child in self._children:
            child.terminate()
            child.wait()

    def _make_key(self, key_id: str) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (self.folder / "private" / f"{key_id}.pem").write_bytes(
            key.private_bytes(pem, pkcs8, serialization.NoEncryption())
        )
        (self.folder / "keys" / f"{key_id}.pem").write_bytes(
            key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def _spawn(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_parent_of(os.getpid())
            )
        self._children.append(child)

    def _start_time_server(self) -> None:
        """chrony, which serves this machine's own clock and does not touch it."""
        tools = CACHE / "tools"
        if not tools.exists():
            run("dpkg-deb", "-x", next((CACHE / "packages").glob("chrony_*.deb")), tools)
        conf = self.folder / "chrony.conf"
        conf.write_text(
            f"local stratum 1\nallow\nbindaddress {TIME_IP}\ncmdport 0\npidfile {self.folder}/chrony.pid\nuser root\n"
        )
        self._spawn("chrony", str(tools / "usr/sbin/chronyd"), "-x", "-d", "-f", str(conf))

    async def _until_there(self, *ports: int) -> None:
        for port in ports:
            for _ in range(600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                await asyncio.sleep(0.1)
            else:
                raise FleetError(f"nobody listens at {port}")

    def aws(self, service: str) -> Any:
        """A client of the stand-in."""
        return boto3.client(
            service, endpoint_url=self._moto_url, region_name=REGION, aws_access_key_id="r", aws_secret_access_key="r"
        )

    def _fill_aws(self) -> None:
        self.aws("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.aws("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        zone = self.aws("route53").create_hosted_zone(Name=f"{FLEET}.internal", CallerReference="1")
        self._zone = zone["HostedZone"]["Id"].split("/")[-1]
        self.put_key(GATHERER, "first")
        self.put_key(DEDUPLICATOR, DEDUPLICATOR)
        for name, password in self.passwords.items():
            self.put_secret(name, {"password": password})

    def put_key(self, name: str, key_id: str) -> None:
        """Put a key for the exchange where a person would."""
        pem = (self.folder / "private" / f"{key_id}.pem").read_text()
        self.put_secret(f"{name}/kalshi", {"key_id": key_id, "private_key": pem})

    def put_secret(self, short: str, value: dict[str, str]) -> None:
        """As `aws secretsmanager put-secret-value`."""
        client = self.aws("secretsmanager")
        name, text = f"{FLEET}/{short}", json.dumps(value)
        try:
            client.put_secret_value(SecretId=name, SecretString=text)
        except client.exceptions.ResourceNotFoundException:
            client.create_secret(Name=name, SecretString=text)
        if "password" in value:
            self.passwords[short] = value["password"]

    def put_webhooks(self, of: str) -> None:
        """Put addresses for alerts where a person would; with all that an address may have in it."""
        base = f"https://{HOOKS}/{of}"
        self.put_secret(
            WEBHOOKS, {"people_url": f"{base}/people?a=1&b=2|3", "watchdog_url": f"{base}/watchdog?a=1&b=2"}
        )

    def publish(self, release: Release, timescaledb: str | None) -> Rendered:
        """Put a release into the bucket, and let Terraform render the machines' user data."""
        self.release = release
        self.aws("s3").upload_file(str(release.file), BUCKET, release.key)
        place = self.folder / f"terraform-{release.file.parent.parent.name}-{timescaledb}"
        rendered = render(place, release, timescaledb, self._zone)
        self.cloud.streams = set(rendered.streams.values())
        return rendered

    # -- machines --------------------------------------------------------------------------------------------------

    def machine(self, name: str, rendered: Rendered) -> Machine:
        """Start a machine of that name, as its group does."""
        self._numbers += 1
        device = self._device if name == GATHERER else None
        machine = Machine(self.folder, name, self._numbers, self.cloud, device)
        machine.make(compressed(self.plant(rendered.user_data[name])))
        if name == GATHERER:
            self.cloud.volume.appears = lambda instance, after_s: machine.show_volume(after_s)
        self.machines[name] = machine
        machine.boot()
        return machine

    def bare_machine(self, name: str, user_data: str) -> Machine:
        """A machine that Terraform knows nothing of."""
        self._numbers += 1
        machine = Machine(self.folder, name, self._numbers, self.cloud, None)
        self.machines[name] = machine
        machine.make(compressed(user_data))
        machine.boot()
        return machine

    def watched(self) -> list[Machine]:
        """The machines whose processes the monitoring host looks at."""
        return [machine for name, machine in self.machines.items() if name in PORTS]

    def let_go_of_volume(self) -> None:
        """EC2 detaches what an ended machine had."""
        self.cloud.volume.held_by = None

    # -- checks ----------------------------------------------------------------------------------------------------

    async def until(self, what: str, true: Callable[[], Awaitable[bool]], timeout_s: float, machine: Machine) -> None:
        """Wait; raises with what the machine reports. A second counts as the part of one that this machine had
        for each of its programs; and nobody waits for a boot that cannot succeed."""
        waited, before = 0.0, time.monotonic()
        failed = _failures(machine)
        while not await true():
            now = time.monotonic()
            waited, before = waited + (now - before) / _busy(), now
            if self.cloud.away or self.cloud.volume.held_by not in (None, machine.instance):
                failed = _failures(machine)
            hopeless = machine.state("kalshi-boot") == "failed" or _failures(machine) >= failed + FAILURES_MAX
            if hopeless or waited > timeout_s:
                states = ", ".join(f"{unit} {machine.state(unit)}" for unit in self._units(machine))
                service = f"kalshi-{_role(machine)}"
                if machine.state("kalshi-secrets") == "failed":
                    what += f"; {machine.journal('kalshi-secrets', 3)}"
                lines = (
                    f"--- kalshi-boot\n{machine.journal('kalshi-boot')}\n--- {service}\n{machine.journal(service, 6)}"
                )
                why = "its boot fails" if hopeless else f"not within {timeout_s:.0f} s"
                raise FleetError(f"{why}: {what} ({states})\n{lines}")
            await asyncio.sleep(0.5)

    def _units(self, machine: Machine) -> tuple[str, ...]:
        if machine.name == MONITORING:
            return ("kalshi-logs", "kalshi-session", "kalshi-boot", "kalshi-secrets", *WATCHES)
        own = ("kalshi-data", "postgresql@15-main") if machine.name == GATHERER else ()
        return ("kalshi-logs", "kalshi-session", "kalshi-boot", "kalshi-secrets", *own, f"kalshi-{_role(machine)}")

    async def ready(self, machine: Machine, timeout_s: float = 300) -> None:
        """Its service reports that it is ready."""
        address = f"http://{machine.ip}:{PORTS[machine.name]}/readyz"

        async def there() -> bool:  # and it is not one that is just being ended
            return machine.state(f"kalshi-{_role(machine)}") == "active" and await asyncio.to_thread(_answers, address)

        await self.until(f"{machine.name} is ready", there, timeout_s, machine)

    async def seen_from_outside(self, machine: Machine, word: str, timeout_s: float = 60) -> None:
        """A line with the word reached the machine's own log stream since it was last looked for, and it was let in."""
        stream = f"{FLEET}-{machine.name}"

        async def there() -> bool:
            return any(name == stream and word in text for name, text in self.cloud.logs)

        await self.until(f"{word!r} in the log stream", there, timeout_s, machine)
        if self.cloud.refused:
            raise FleetError(f"its role does not let it write: {self.cloud.refused[:3]}")

    async def can_come_in(self, machine: Machine, timeout_s: float = 120) -> None:
        """Session Manager's agent runs."""

        async def there() -> bool:
            return machine.state("amazon-ssm-agent") == "active"

        await self.until("a person can come in", there, timeout_s, machine)

    async def connect(self, password: str | None = None) -> asyncpg.Connection:
        """The gatherer's database, as the deduplicator reaches it."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return await asyncpg.connect(
            host=self.machines[GATHERER].ip, user="reader", database="kalshi", ssl=context, timeout=10,
            password=password or self.passwords[f"{GATHERER}/reader"],
        )  # fmt: skip

    async def records(self, seconds: float = 5.0) -> int:
        """What happened at the exchange in some seconds from now is in the gatherer's database, each change once; the
        database is the one that it always was, without a hole in its batches. Returns how many changes that were."""
        machine = self.machines[GATHERER]
        start = int(time.time() * 1000) + 500
        end = start + int(seconds * 1000)
        await asyncio.sleep(seconds + 1)
        connection = await self.connect()
        try:

            async def loaded() -> bool:
                newest = await connection.fetchval(SQL["newest_received"])
                return newest is not None and int(newest) > (end + 500) * 1000

            await self.until("what is received reaches the database", loaded, 60, machine)
            instance = str(await connection.fetchval(SQL["instance"]))
            if self._instance not in (None, instance):
                raise FleetError(f"another database: {instance} instead of {self._instance}")
            self._instance = instance
            if found := await connection.fetch(SQL["lanes_with_holes"]):
                raise FleetError(f"batches are missing in lanes {[row['lane'] for row in found]}")
            rows = await connection.fetch(SQL["changes_recorded"], start, end)
        finally:
            await connection.close()
        there = Counter((r["ticker"], r["exchange_ms"], r["side"], r["price"], r["delta"]) for r in rows)
        true = await asyncio.to_thread(lambda: Counter(_true_changes(self.truth, start, end)))
        if there != true or not true:
            lacking, more = true - there, there - true
            raise FleetError(
                f"of {sum(true.values())} changes {sum(lacking.values())} lack, {sum(more.values())} are too many"
            )
        return sum(true.values())

    def on_the_volume(self, machine: Machine) -> None:
        """Journal and database are not on the root disk."""
        for path in ("/var/lib/kalshi", "/srv/kalshi-data/postgresql"):
            device = machine.run("stat", "--format=%d", path).strip()
            if device == machine.run("stat", "--format=%d", "/").strip():
                raise FleetError(f"{path} is on the root disk")

    def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the exchange's control port."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.control_port}{path}", data=data, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


def _role(machine: Machine) -> str:
    return machine.name if machine.name == DEDUPLICATOR else "gatherer"


def _failures(machine: Machine) -> int:
    return int(machine.run("systemctl", "show", "-P", "NRestarts", "kalshi-boot", check=False).strip() or 0)


def _busy() -> float:
    """How many programs want each core, within bounds."""
    return min(max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), BUSY_MAX)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=3):
            return True
    except OSError:
        return False


def _true_changes(file: Path, start: int, end: int) -> Iterator[tuple[str, int, int, int, int]]:
    with file.open() as lines:
        for line in lines:
            if '"delta"' in line and line.endswith("\n"):
                row = json.loads(line)
                if row["kind"] == "delta" and start <= row["ts_ms"] < end:
                    price, delta = round(float(row["price"]) * 10_000), round(float(row["delta"]) * 100)
                    yield row["ticker"], row["ts_ms"], int(row["side"] == "no"), price, delta
