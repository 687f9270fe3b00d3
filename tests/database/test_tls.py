"""TLS to a database: with `sslmode=verify-full` in its address the right server alone is accepted, by everything here.

The embedded server speaks no TLS: a relay in front of it does, as in PostgreSQL's documentation ("Frontend/Backend
Protocol", SSL Session Encryption): the client asks with eight bytes, `S` means yes, `N` no.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.errors import StorageError
from common.storage import migrate
from common.storage.address import is_verified_or_local
from common.storage.database import connect
from common.storage.embedded import EmbeddedServer, socket_dir

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


class Authority:
    """Signs certificates of one day."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / f"{name}.pem"
        own = x509.BasicConstraints(ca=True, path_length=None)
        self.file.write_bytes(self._signed(self._name, self._key, own).public_bytes(serialization.Encoding.PEM))

    def server(self, *names: x509.GeneralName) -> ssl.SSLContext:
        """What a server of these names presents."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = self._signed(subject, key, x509.SubjectAlternativeName(names))
        file = self._folder / "server.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        now = datetime.now(UTC)
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        return builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())


@contextlib.asynccontextmanager
async def relay(target: Path, tls: ssl.SSLContext | None) -> AsyncIterator[Callable[[str], str]]:
    """Gives addresses by host and options. `tls` None: a server that has none."""
    encrypted: list[bool] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            first = await reader.readexactly(8)
            if first == SSL_REQUEST:
                writer.write(b"N" if tls is None else b"S")
                await writer.drain()
                if tls is not None:
                    await writer.start_tls(tls)
                first = b""
            encrypted.append(tls is not None)
            theirs, ours = await asyncio.open_unix_connection(target / ".s.PGSQL.5432")
            ours.write(first)
            await asyncio.gather(pump(reader, ours), pump(theirs, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield lambda options: f"postgresql://postgres:secret@localhost:{port}/kalshi?{options}"
    server.close()


def verifying(authority: Authority) -> str:
    """The options that the runbook names."""
    return f"sslmode=verify-full&sslrootcert={authority.file}"


@pytest.mark.parametrize(
    ("dsn", "fine"),
    [
        ("postgresql://x@production:5432/kalshi", False),
        ("postgresql://x@production:5432/kalshi?sslmode=require", False),
        ("postgresql://x@production:5432/kalshi?sslmode=verify-full&sslrootcert=/x.pem", True),
        ("postgresql://x@localhost:5432/kalshi", True),
        ("postgresql://x@/kalshi?host=/var/run/postgresql", True),
        ("postgresql://x@/kalshi?host=production", False),
        ("postgresql://[x", False),
    ],
)
def test_an_address_that_leaves_the_machine_unverified_is_reported(dsn: str, fine: bool) -> None:
    """`fleet doctor` asks this of production's."""
    assert is_verified_or_local(dsn) is fine


async def test_the_right_server_is_accepted_and_is_spoken_to_in_tls(own_server: EmbeddedServer, tmp_path: Path) -> None:
    """By the services, and by `fleet migrate`."""
    ours = Authority(tmp_path, "ours")
    async with relay(socket_dir(own_server.folder), ours.server(x509.DNSName("localhost"))) as address:
        dsn = address(verifying(ours))
        applied = await asyncio.to_thread(migrate.migrate, dsn, "production")
        assert applied == migrate.names("production")
        connection = await connect(dsn)
        await migrate.check(connection, "production", "")
        assert connection._transport.get_extra_info("ssl_object") is not None, "the connection is encrypted"
        await connection.close()


@pytest.mark.parametrize("wrong", ["authority", "name", "plain"])
async def test_another_server_is_refused_before_a_password_is_sent(
    own_server: EmbeddedServer, tmp_path: Path, wrong: str
) -> None:
    """A stranger's certificate, one for another name, or none at all; the message names no password."""
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    presented = {
        "authority": theirs.server(x509.DNSName("localhost")),
        "name": ours.server(x509.DNSName("production"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))),
        "plain": None,
    }[wrong]
    async with relay(socket_dir(own_server.folder), presented) as address:
        dsn = address(verifying(ours))
        with pytest.raises(StorageError, match=r"cannot be reached: .*(certificate|SSL|rejected)") as refused:
            await connect(dsn)
        with pytest.raises(StorageError, match=r"cannot be reached: .*(certificate|SSL|name)") as migrating:
            await asyncio.to_thread(migrate.migrate, dsn, "production")
        assert "secret" not in str(refused.value) + str(migrating.value)
