"""A whole fleet on this machine: real processes, real keys, real databases, in one folder.

The demo and the tests start it in a temporary one, `fleet up` in one that stays; no process outlives the one that
started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from common.ask_status import ask
from common.contract.deduplicator_status import DeduplicatorStatus
from common.contract.gatherer_status import GathererStatus
from common.contract.status import READY, Status
from common.errors import FleetError
from common.process import end_with_parent_of

GATHERERS: Final = ("gatherer-a", "gatherer-b", "gatherer-c")
BUCKET: Final = "kalshi-archive"
WAIT_S: Final = 200.0
_ports_left: list[int] = []  # of this process, to be given yet

FAST: Final[dict[str, dict[str, Any]]] = {
    # Protocol times and bounds twenty times shorter than in production.
    "bounds": {"disorder": "750ms", "lag": "1500ms", "sender": "50ms", "clock": "10ms", "clock_proof": "assumed"},
    "snapshots": {"interval": "4s", "audit": "20s"},
    "protocol": {
        "silence": "5s",
        "idle_probe": "500ms",
        "snapshot_wait": "1s",
        "reply_wait": "5s",
        "commands_per_minute": 2400,
        "reconnect_max": "1500ms",
        "away_probe": "100ms",
        "registry_poll": "3s",
        "status_poll": "500ms",
        "rest_lag": "200ms",
    },
}


@dataclass(frozen=True)
class FleetPlan:
    """What to start."""

    gatherers: Sequence[str] = GATHERERS
    connections: dict[str, int] = field(
        default_factory=lambda: {"orderbook": 1, "trade": 1, "ticker": 1, "lifecycle": 1}
    )
    simulator: Sequence[str] = ("--markets", "12", "--rate", "300")
    hole_wait: str = "8s"
    merge: dict[str, Any] = field(default_factory=dict)  # of the deduplicator's file
    production: dict[str, Any] = field(default_factory=dict)  # of the deduplicator's file, beside the address
    workers: int = 1
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)  # sections of the gatherers' files
    archive: dict[str, Any] = field(default_factory=dict)  # of the deduplicator's file, beside the bucket
    truth: bool = True  # the exchange writes down what happened: without an end


class LocalFleet:
    """Processes of one fleet by name: simulator, gatherer-a ..., deduplicator, s3."""

    def __init__(self, plan: FleetPlan, folder: Path | None = None) -> None:
        """In a folder that is there, and stays; else in a temporary one."""
        self.plan = plan
        self.folder = folder or Path(tempfile.mkdtemp(prefix="kalshi-fleet-"))
        self._stays = folder is not None
        self.folder.chmod(0o711)  # the database's user must be able to enter, not to look
        self.truth = self.folder / "truth.ndjson"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {name: free_port() for name in (*plan.gatherers, "deduplicator", "s3")}
        self._http: aiohttp.ClientSession | None = None
        self.sim_port = self.control_port = 0
        self.databases: dict[str, str] = {}
        """Addresses of databases that are not the processes' own, by gatherer's name, or `production`."""
        self.environment: dict[str, dict[str, str]] = {}
        """Of processes that need more than this one's, by name."""

    async def __aenter__(self) -> LocalFleet:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        self._make_keys()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- set-up ------------------------------------------------------------------------------------------------

    def _make_keys(self) -> None:
        public = self.folder / "public-keys"
        public.mkdir()
        for name in (*self.plan.gatherers, "deduplicator"):
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            private = self.folder / f"{name}.pem"
            private.touch(mode=0o600)
            private.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
            (public / f"{name}.pem").write_bytes(
                key.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
            )

    def _exchange(self, name: str) -> dict[str, Any]:
        return {
            "rest_url": f"http://127.0.0.1:{self.sim_port}/trade-api/v2",
            "ws_url": f"ws://127.0.0.1:{self.sim_port}/trade-api/ws/v2",
            "key_id": name,
            "private_key_file": str(self.folder / f"{name}.pem"),
        }

    def gatherer_dsn(self, name: str) -> str:
        """The address of a gatherer's database, as others reach it."""
        return self.databases.get(name) or f"embedded:{self.folder / name / 'db'}"

    @property
    def production_dsn(self) -> str:
        """The address of the production database."""
        return self.databases.get("production") or f"embedded:{self.folder / 'production'}"

    @property
    def s3_url(self) -> str:
        """The S3 endpoint."""
        return f"http://127.0.0.1:{self.ports['s3']}"

    def write_configs(self) -> None:
        """Write one YAML file a process."""
        for name in self.plan.gatherers:
            content: dict[str, Any] = {
                "gatherer_id": name,
                "kalshi": self._exchange(name),
                "database": {"dsn": f"embedded:{self.folder / name / 'db'}"},
                "journal": {"dir": str(self.folder / name / "journal"), "segment_bytes": "8MiB"},
                "connections": self.plan.connections,
                "workers": self.plan.workers,
                "http": {"port": self.ports[name], "page": {}},
                "logging": {"level": "info"},
                **FAST,
            }
            for section, values in self.plan.overrides.items():
                content[section] = {**content.get(section, {}), **values}
            self._write(name, content)
        self._write(
            "deduplicator",
            {
                "deduplicator_id": "deduplicator",
                "gatherers": [{"id": name, "dsn": self.gatherer_dsn(name)} for name in self.plan.gatherers],
                "production": {"dsn": self.production_dsn, **self.plan.production},
                "kalshi": self._exchange("deduplicator"),
                "merge": {"hole_wait": self.plan.hole_wait, "metadata_poll": "5s", **self.plan.merge},
                "archive": {"bucket": BUCKET, "endpoint_url": self.s3_url, "interval": "1h", **self.plan.archive},
                "http": {"port": self.ports["deduplicator"], "page": {}},
                "logging": {"level": "info"},
            },
        )

    def config(self, name: str) -> Path:
        """The configuration file of a process."""
        return self.folder / f"{name}.yaml"

    def _write(self, name: str, content: dict[str, Any]) -> None:
        self.config(name).write_text(yaml.safe_dump(content, sort_keys=False))

    # -- processes ---------------------------------------------------------------------------------------------

    def spawn(self, name: str, *command: str, pipe: bool = False) -> subprocess.Popen[bytes]:
        """Start a Python module as a process that ends with this one; its log is in the folder."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else log,
                stderr=log,
                env={
                    **os.environ,
                    "AWS_ACCESS_KEY_ID": "local",
                    "AWS_SECRET_ACCESS_KEY": "local",
                    **self.environment.get(name, {}),
                },
                preexec_fn=end_with_parent_of(os.getpid()),
            )
        self.processes[name] = process
        return process

    async def start_simulator(self, *extra: str) -> None:
        """Start the exchange and learn its ports."""
        command = ["simulator", "serve", "--keys", str(self.folder / "public-keys")]
        command += ["--truth", str(self.truth)] if self.plan.truth else []
        process = self.spawn("simulator", *command, "--ping", "0.5", *self.plan.simulator, *extra, pipe=True)
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        if not line:
            raise FleetError(f"the simulator did not start:\n{self.log_tail('simulator')}")
        ports = json.loads(line)
        self.sim_port, self.control_port = ports["port"], ports["control_port"]
        self.write_configs()

    def start_gatherer(self, name: str) -> None:
        """Start, or start again, one gatherer."""
        self.spawn(name, "gatherer", "--config", str(self.config(name)))

    def start_deduplicator(self) -> None:
        """Start, or start again, the deduplicator."""
        self.spawn("deduplicator", "deduplicator", "--config", str(self.config("deduplicator")))

    async def start_s3(self) -> None:
        """Start an S3 endpoint with a versioned bucket."""
        self.spawn("s3", "moto.server", "-H", "127.0.0.1", "-p", str(self.ports["s3"]))
        from workshop.rehearsal.s3 import make_bucket

        await asyncio.to_thread(make_bucket, self.s3_url, BUCKET)

    def kill(self, name: str) -> None:
        """kill -9, and wait for the process table."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    async def terminate(self, name: str) -> int:
        """SIGTERM, and wait; returns the exit code."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(process.wait)

    def check_alive(self) -> None:
        """Raise with the end of its log if a process has ended by itself."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise FleetError(f"{name} ended with {process.returncode}:\n{self.log_tail(name)}")

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The last lines of a process's log."""
        file = self.folder / f"{name}.log"
        return "\n".join(file.read_text(errors="replace").splitlines()[-lines:]) if file.exists() else ""

    async def close(self) -> None:
        """Stop everything, and remove the folder if it is a temporary one."""
        for name in ("deduplicator", *self.plan.gatherers, "s3", "simulator"):
            if name in self.processes and self.processes[name].poll() is None:
                self.processes[name].send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                await asyncio.to_thread(process.wait, 30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._http:
            await self._http.close()
        if not self._stays and not os.environ.get("FLEET_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- talking to them ---------------------------------------------------------------------------------------

    async def control(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the simulator's control port: a GET without a body."""
        assert self._http is not None
        url = f"http://127.0.0.1:{self.control_port}{path}"
        request = self._http.get(url) if body is None else self._http.post(url, json=body)
        async with request as response:
            answer: dict[str, Any] = await response.json()
            if response.status != 200:
                raise FleetError(f"{path}: {answer}")
            return answer

    async def fault(self, kind: str, **fields: Any) -> int:
        """Break something; returns how many connections it hit."""
        return int((await self.control("/faults", {"kind": kind, **fields}))["hit"])

    async def status(self, name: str) -> Status | None:
        """A process's /status, or None while it does not answer."""
        assert self._http is not None
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            return await ask(self._http, f"http://127.0.0.1:{self.ports[name]}")
        return None

    async def gatherer_status(self, name: str) -> GathererStatus | None:
        """A gatherer's /status, or None while it does not answer."""
        status = await self.status(name)
        assert not isinstance(status, DeduplicatorStatus)
        return status

    async def deduplicator_status(self) -> DeduplicatorStatus | None:
        """The deduplicator's /status, or None while it does not answer."""
        status = await self.status("deduplicator")
        assert not isinstance(status, GathererStatus)
        return status

    async def ready(self, *names: str, timeout_s: float = WAIT_S) -> None:
        """Wait until the processes report that they are ready."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        for name in names:
            while True:
                self.check_alive()
                status = await self.status(name)
                if status is not None and status.ready == READY:
                    break
                if asyncio.get_running_loop().time() > deadline:
                    raise FleetError(f"{name} is not ready: {status and status.ready}\n{self.log_tail(name)}")
                await asyncio.sleep(0.1)


def free_port() -> int:
    """A port of the loopback that is free now, below those that the kernel itself gives to others; no port twice, as
    nobody listens yet on those that were given before.

    Fleets side by side need a range of ports each: `FLEET_PORTS`, such as 12000-21999.
    """
    first, last = map(int, os.environ.get("FLEET_PORTS", "12000-31999").split("-"))
    if not _ports_left:
        start = random.randint(first, last)
        _ports_left.extend(itertools.chain(range(start - 1, first - 1, -1), range(last, start - 1, -1)))
    while _ports_left:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", _ports_left.pop()))
            return int(probe.getsockname()[1])
    raise FleetError(f"no port of {first} to {last} is free")
