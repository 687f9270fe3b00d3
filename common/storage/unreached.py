"""Why a database was not reached: what a person would mend, never with the password."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

import asyncpg

from common.errors import DatabaseUnreachable, StorageError, described
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
WHY: Final[dict[type[BaseException], str]] = {
    socket.gaierror: "nothing has the name {host} ({reason}): mend the host in the dsn, or the machine's DNS",
    ConnectionRefusedError: "nobody listens at {host} port {port} ({kind}): start it, or mend the dsn",
    FileNotFoundError: "no server has its socket in {host} ({kind}): start it, or mend the dsn",
    TimeoutError: "{host} port {port} does not answer ({kind}): its firewall or security group, or the dsn",
    asyncpg.InvalidPasswordError: (
        "the password of {user} is refused ({kind}): mend it in the dsn, or set the account's"
    ),
    asyncpg.InvalidAuthorizationSpecificationError: (
        "{user} is refused ({kind}: {answer}): mend the dsn, or the server's pg_hba.conf"
    ),
    asyncpg.InvalidCatalogNameError: "there is no database {name} ({kind}): create it, or mend the dsn",
}
"""What a person would mend, by the error: the first that it is one of."""


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
        text = _why(dsn, error) or without_password(dsn, described(error))
    kind = DatabaseUnreachable if isinstance(error, NOT_NOW) and not isinstance(error, ValueError) else StorageError
    return kind(f"the database cannot be reached: {text}")


def _why(dsn: str, error: BaseException) -> str | None:
    text = next((text for kind, text in WHY.items() if isinstance(error, kind)), None)
    parts = urlsplit(dsn)
    options = _options(parts)
    host, user = options.get("host") or parts.hostname or "localhost", parts.username or options.get("user") or ""
    if text is None or (isinstance(error, FileNotFoundError) and not host.startswith("/")):
        return None
    return text.format(
        host=host,
        port=options.get("port") or parts.port or 5432,
        user=user,
        name=options.get("dbname") or parts.path.lstrip("/") or user,
        kind=type(error).__name__,
        answer=without_password(dsn, str(error)),
        reason=getattr(error, "strerror", ""),
    )


def _options(parts: SplitResult) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(parts.query).items()}
