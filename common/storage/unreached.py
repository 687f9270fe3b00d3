"""Why a database was not reached: what a person would mend, never with the password."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

import asyncpg

from common.errors import DatabaseUnreachable, StorageError
from common.storage.address import without_password

FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
"""Options of an address that name files."""
BUILT_IN: Final = "system"
"""An `sslrootcert` that is no file (libpq 16)."""
NOT_NOW: Final = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,  # it is starting or stopping
    asyncpg.TooManyConnectionsError,
    asyncpg.ConnectionDoesNotExistError,
)
"""Why a connection was not made, if another try may make it."""
NO_ADDRESS: Final = "its dsn is not a PostgreSQL address"


def check_address(dsn: str) -> None:
    """What is wrong with an address itself raises `StorageError`: no address, a port that is none, a file that is not
    there."""
    try:
        parts = urlsplit(dsn)
        parts.port  # noqa: B018  raises
    except ValueError:
        raise StorageError(f"the database cannot be reached: {NO_ADDRESS}") from None
    for name, value in _options(parts).items():
        if name in FILES and value != BUILT_IN and not Path(value).is_file():
            raise StorageError(f"the database cannot be reached: the file {value} is not there: mend {name} in the dsn")


def unreached(dsn: str, error: BaseException) -> StorageError:
    """The error of the fleet for one of the driver: `DatabaseUnreachable` if another try may help."""
    if isinstance(error, ssl.SSLCertVerificationError):  # a ValueError as well
        cure = "give the authority's file as sslrootcert, and the host's name as the certificate has it"
        text = f"its certificate is refused: {without_password(dsn, str(error))}; {cure}"
    elif isinstance(error, ValueError | OverflowError):
        text = NO_ADDRESS
    else:
        text = _why(dsn, error) or without_password(dsn, f"{type(error).__name__}: {error}")
    kind = DatabaseUnreachable if isinstance(error, NOT_NOW) and not isinstance(error, ValueError) else StorageError
    return kind(f"the database cannot be reached: {text}")


def _why(dsn: str, error: BaseException) -> str | None:
    parts = urlsplit(dsn)
    options = _options(parts)
    host, port = options.get("host") or parts.hostname or "localhost", options.get("port") or parts.port or 5432
    user = parts.username or options.get("user") or ""
    name = options.get("dbname") or parts.path.lstrip("/") or user
    if isinstance(error, socket.gaierror):
        return f"nothing has the name {host} ({error.strerror}): mend the host in the dsn, or the machine's DNS"
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens at {host} port {port} (ConnectionRefusedError): start it, or mend the dsn"
    if isinstance(error, FileNotFoundError) and host.startswith("/"):
        return f"no server has its socket in {host} (FileNotFoundError): start it, or mend the dsn"
    if isinstance(error, TimeoutError):
        return f"{host} port {port} does not answer (TimeoutError): its firewall or security group, or the dsn"
    if isinstance(error, asyncpg.InvalidPasswordError):
        return f"the password of {user} is refused (InvalidPasswordError): mend it in the dsn, or set the account's"
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        told = without_password(dsn, str(error))
        return f"{user} is refused ({type(error).__name__}: {told}): mend the dsn, or the server's pg_hba.conf"
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"there is no database {name} (InvalidCatalogNameError): create it, or mend the dsn"
    return None


def _options(parts: SplitResult) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(parts.query).items()}
