"""Accounts that log in: the owner's address made of a process's, and the process's account made by the owner."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit, urlunsplit

from common.errors import StorageError
from common.storage.database import connected
from common.storage.statements import SQL


def as_account(dsn: str, user: str, password: str) -> str:
    """The same database, reached as another account."""
    parts = urlsplit(dsn)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{place}"))


async def make_account(owners: str, dsn: str, group: str) -> None:
    """Make the account of `dsn` a member of the group that can log in with the password of `dsn`, or give it that."""
    parts = urlsplit(dsn)
    if not parts.username or not parts.password:
        raise StorageError("the file's address names no account with a password")
    async with connected(owners) as connection, connection.transaction():
        await connection.execute(SQL["set_account"], unquote(parts.username), unquote(parts.password), group)
        await connection.execute(SQL["make_account"])
