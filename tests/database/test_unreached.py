"""Why a database was not reached is reported so that it can be mended, and whether another try may help."""

from __future__ import annotations

import asyncpg
import pytest

from common.errors import DatabaseUnreachable, StorageError
from common.storage.database import connect
from common.storage.unreached import unreached
from tests.support.databases import new_database

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("dsn", "message", "again"),
    [
        (f"postgresql://u:{SECRET}@nohost.invalid/k", "nothing has the name nohost.invalid", True),
        (f"postgresql://u:{SECRET}@127.0.0.1:1/k", "nobody listens at 127.0.0.1 port 1", True),
        ("postgresql:///k?host=/nowhere", "no server has its socket in /nowhere", True),
        (f"postgresql://u:{SECRET}@127.0.0.1:1/k?sslmode=verify-full&sslrootcert=/no.pem", "mend sslrootcert", False),
        (f"postgresql://u:{SECRET}@127.0.0.1:99999/k", "not a PostgreSQL address", False),
        (f"postgresql://u:{SECRET}@127.0.0.1:1/k?sslmode=perhaps", "not a PostgreSQL address", False),
    ],
)
async def test_an_address_that_leads_nowhere_is_named(dsn: str, message: str, again: bool) -> None:
    """By what a person would mend; another try helps only where somebody may come to listen."""
    with pytest.raises(StorageError, match=message) as raised:
        await connect(dsn)
    assert raised.value.retryable is again
    assert SECRET not in str(raised.value)


def test_a_refused_account_is_named_without_its_password() -> None:
    """Also where the driver's message has it."""
    dsn = f"postgresql://writer:{SECRET}@db/kalshi"
    error = asyncpg.InvalidPasswordError(f"password {SECRET} of writer")
    assert "the password of writer is refused" in str(unreached(dsn, error))
    refused = str(unreached(dsn, asyncpg.InvalidAuthorizationSpecificationError(f"no entry {SECRET}")))
    assert "pg_hba.conf" in refused and SECRET not in refused
    assert isinstance(unreached(dsn, TimeoutError()), DatabaseUnreachable)
    assert "db port 5432 does not answer" in str(unreached(dsn, TimeoutError()))


async def test_a_database_that_does_not_exist_is_named() -> None:
    """By a real server."""
    async with new_database() as database:
        name = database.dsn.partition("?")[0].rpartition("/")[2]
        with pytest.raises(StorageError, match="there is no database nowhere") as raised:
            await connect(database.dsn.replace(name, "nowhere"))
        assert not raised.value.retryable
