"""Stand-ins for what is not on this machine: AWS's endpoints, the archives, the exchange's name, RDS's TLS.

One server with a certificate for all their names answers on one address of the machines' network; what AWS's services
keep (objects, secrets, names) is kept by moto, to which it passes them on. What can go wrong there is a switch here.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from workshop.rehearsal.boot import image
from workshop.rehearsal.boot.host import CACHE
from workshop.rehearsal.boot.rendered import REGION

CLOUD_IP: Final = "10.42.0.1"
PRODUCTION_IP: Final = "10.42.0.2"
METADATA_IP: Final = "169.254.169.254"
TIME_IP: Final = "169.254.169.123"
EXCHANGE: Final = ("external-api.kalshi.com", "external-api-ws.kalshi.com")
STOP_S: Final = 5.0
GONE: Final = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError, asyncio.CancelledError)
"""How an answer may end: the caller is gone, or the rehearsal is over."""
PACKAGES: Final = ("deb.debian.org", "apt.postgresql.org", "packagecloud.io", "www.postgresql.org", "apt.grafana.com")
HOOKS: Final = "hooks.example.com"
"""Where alerts go."""
PYPI: Final = ("pypi.org", "files.pythonhosted.org")
AWS: Final = tuple(
    f"{service}.{REGION}.amazonaws.com"
    for service in ("ec2", "logs", "s3", "secretsmanager", "kalshi-archive.s3", "your-state.s3", "autoscaling", "ssm")
) + ("route53.amazonaws.com", "truststore.pki.rds.amazonaws.com")
NAMES: Final = (*EXCHANGE, *PACKAGES, *PYPI, *AWS, HOOKS)
SSL_REQUEST: Final = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
REFUSED: Final = (
    "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors><RequestID>1</RequestID></Response>"
)
ATTACHED: Final = (
    '<AttachVolumeResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId>'
    "<status>attaching</status></AttachVolumeResponse>"
)
CONSOLE: Final = (
    200,
    b'<GetConsoleOutputResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId>'
    b"<output>aGVyZQ==</output></GetConsoleOutputResponse>",
)
SESSION: Final = b'{"SessionId": "s-1", "TokenValue": "t", "StreamUrl": "wss://ssm/s-1"}'
LINES_MAX: Final = 1_000


@dataclass
class Volume:
    """One data volume: the machine that has it, and the one that is asked to show it."""

    held_by: str | None = None
    late_s: float = 0.0
    appears: Callable[[str, float], None] = lambda instance, after_s: None


@dataclass
class Instance:
    """What the metadata service answers one machine."""

    number: str
    ip: str
    user_data: bytes
    role: str


@dataclass
class Cloud:
    """All of it, with its switches."""

    authority: Path
    certificate: Path
    key: Path
    wheels: Path
    moto: int
    simulator: int
    production: Path
    streams: set[str]
    """The log streams that the machines' roles may write."""
    volume: Volume = field(default_factory=Volume)
    instances: dict[str, Instance] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    """First words of host names that do not answer now, such as `secretsmanager`."""
    logs: list[tuple[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    alerts: list[tuple[str, str]] = field(default_factory=list)
    """What was sent to a webhook: the path, and the text."""
    _made: set[str] = field(default_factory=set)
    _servers: list[asyncio.Server] = field(default_factory=list)

    def start(self) -> None:
        """Answer on every address, in a thread of its own: no machine waits for a scene."""
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    async def _start(self) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.certificate, self.key)
        self._tls = tls
        self._servers = [
            await asyncio.start_server(self._guarded(self._answer), CLOUD_IP, 443, ssl=tls),
            await asyncio.start_server(self._guarded(self._metadata), METADATA_IP, 80),
            await asyncio.start_server(self._guarded(self._database), PRODUCTION_IP, 5432),
        ]

    def stop(self) -> None:
        """Answer no more."""

        async def close() -> None:
            for server in self._servers:
                server.close()
            answering = asyncio.all_tasks() - {asyncio.current_task()}
            for task in answering:
                task.cancel()
            await asyncio.wait(answering, timeout=STOP_S) if answering else None

        asyncio.run_coroutine_threadsafe(close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _guarded(self, answer: Any) -> Any:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(*GONE):
                await answer(reader, writer)
            writer.close()

        return accept

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, path, headers = await _head(reader)
        host = headers.get("host", "").split(":")[0]
        if host.split(".")[0] in self.away or host in self.away:
            return
        if host in EXCHANGE:
            await _passed_on(head, reader, writer, *await asyncio.open_connection("127.0.0.1", self.simulator))
        elif host in PYPI:
            _reply(writer, *self._wheel(path))
        elif host in PACKAGES:
            _reply(writer, *_package(path))
        elif host.startswith("truststore"):
            _reply(writer, 200, self.authority.read_bytes())
        elif path.startswith("/amazon-ssm-"):
            _reply(writer, 200, next((CACHE / "packages").glob("amazon-ssm-agent_*.deb")).read_bytes())
        elif host == HOOKS:
            self.alerts.append((path, (await _body(reader, headers)).decode()))
            _reply(writer, 200, b"")
        elif host.startswith("ec2."):
            form = parse_qs((await _body(reader, headers)).decode())
            _reply(writer, *(self._attach(form["InstanceId"][0]) if form["Action"] == ["AttachVolume"] else CONSOLE))
        elif host.startswith("ssm."):
            await _body(reader, headers)
            _reply(writer, 200, SESSION)
        elif host.startswith("logs."):
            action = headers["x-amz-target"].split(".")[-1]
            _reply(writer, *self._log(action, json.loads(await _body(reader, headers))))
        else:
            await _passed_on(head, reader, writer, *await asyncio.open_connection("127.0.0.1", self.moto))
        await writer.drain()

    def _attach(self, instance: str) -> tuple[int, bytes]:
        volume = self.volume
        if volume.held_by is not None:
            text = f"the volume is already attached to an instance ({volume.held_by})"
            return 400, REFUSED.format("VolumeInUse", text).encode()
        volume.held_by = instance
        volume.appears(instance, volume.late_s)
        return 200, ATTACHED.encode()

    def _log(self, action: str, content: dict[str, Any]) -> tuple[int, bytes]:
        if action == "FilterLogEvents":
            wanted, at = content.get("logStreamNames", []), content["startTime"]
            events = [
                {"logStreamName": stream, "timestamp": at, "ingestionTime": at, "message": text, "eventId": str(number)}
                for number, (stream, text) in enumerate(self.logs)
                if stream in wanted
            ]
            return 200, json.dumps({"events": events[-LINES_MAX:]}).encode()
        stream = content["logStreamName"]
        if stream not in self.streams:
            self.refused.append(f"{action} {stream}")
            return 400, b'{"__type": "AccessDeniedException", "message": "not authorized"}'
        if action == "CreateLogStream":
            self._made.add(stream)
        elif stream not in self._made:
            return 400, b'{"__type": "ResourceNotFoundException", "message": "no such stream"}'
        else:
            self.logs += [(stream, event["message"]) for event in content["logEvents"]]
        return 200, b"{}"

    def _wheel(self, path: str) -> tuple[int, bytes]:
        name = path.strip("/").split("/")[-1]
        if path.startswith("/simple/"):
            found = [file for file in self.wheels.iterdir() if _plain(file.name.split("-")[0]) == _plain(name)]
            text = "".join(
                f'<a href="https://files.pythonhosted.org/{file.name}#sha256={_digest(file)}">{file.name}</a>'
                for file in found
            )
            return (200, f"<html><body>{text}</body></html>".encode()) if found else (404, b"")
        return 200, (self.wheels / name).read_bytes()

    async def _metadata(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[0]
        while True:
            _, path, _ = await _head(reader)
            instance = self.instances.get(peer)
            status, content = (404, b"") if instance is None or "metadata" in self.away else _described(instance, path)
            _reply(writer, status, content, keep=True)
            await writer.drain()

    async def _database(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "production" in self.away or await reader.readexactly(8) != SSL_REQUEST:
            return
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(self._tls)
        await _passed_on(b"", reader, writer, *await asyncio.open_unix_connection(str(self.production)))


def _described(instance: Instance, path: str) -> tuple[int, bytes]:
    """The metadata service, as far as cloud-init and the scripts ask."""
    parts = path.partition("?")[0].strip("/").split("/")[1:]  # without the version
    until = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
    keys = {"Code": "Success", "AccessKeyId": "ASIAREHEARSAL", "SecretAccessKey": "rehearsal", "Token": "rehearsal",
            "Type": "AWS-HMAC", "Expiration": until}  # fmt: skip
    tree: dict[str, Any] = {
        "api": {"token": "token"},
        "user-data": instance.user_data,
        "dynamic": {"instance-identity": {"document": json.dumps({"region": REGION, "instanceId": instance.number})}},
        "meta-data": {
            "instance-id": instance.number,
            "ami-id": "ami-0",
            "local-ipv4": instance.ip,
            "local-hostname": f"ip-{instance.ip.replace('.', '-')}",
            "hostname": f"ip-{instance.ip.replace('.', '-')}",
            "placement": {"availability-zone": f"{REGION}a", "region": REGION},
            "iam": {"security-credentials": {instance.role: json.dumps(keys)}},
        },
    }
    node: Any = tree
    for part in parts:
        if not isinstance(node, dict) or part not in node:
            return 404, b""
        node = node[part]
    if isinstance(node, dict):
        node = "\n".join(f"{name}/" if isinstance(value, dict) else name for name, value in node.items())
    return 200, node if isinstance(node, bytes) else node.encode()


def compressed(document: str) -> bytes:
    """A document as a launch template has it (base64gzip, which EC2 decodes)."""
    return gzip.compress(document.encode())


def _package(path: str) -> tuple[int, bytes]:
    parts = path.strip("/").split("/")
    if parts[-1] == "InRelease":
        return 200, image.signed_release(parts[parts.index("dists") + 1])
    if parts[-1] == "Packages":
        return 200, (CACHE / "packages" / "Packages").read_bytes()
    if parts[-1].endswith(".deb"):
        file = CACHE / "packages" / unquote(parts[-1])
        return (200, file.read_bytes()) if file.exists() else (404, b"")
    if parts[-1] in ("gpgkey", "ACCC4CF8.asc", "gpg.key"):
        return 200, (CACHE / "key.asc").read_bytes()
    return 404, b""


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


async def _head(reader: asyncio.StreamReader) -> tuple[bytes, str, dict[str, str]]:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    return head, first.split()[1], headers


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    return await reader.readexactly(int(headers.get("content-length", "0")))


def _reply(writer: asyncio.StreamWriter, status: int, content: bytes, keep: bool = False) -> None:
    kind = "text/html" if content.startswith(b"<html") else "application/octet-stream"
    close = "" if keep else "Connection: close\r\n"
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{close}\r\n"
    writer.write(head.encode() + content)


async def _passed_on(
    first: bytes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := await source.read(1 << 16):
                to.write(data)
                await to.drain()
        to.close()

    far_writer.write(first)
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
