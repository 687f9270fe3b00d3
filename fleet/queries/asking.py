"""A statement of a person's own on production: it can only read, and only for so long.

The transaction is read-only and cannot be made another: a mode is set before the first statement, and one has run. The
server ends what takes too long; what does not even report its end is given up a little later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain, count
from typing import Any, Final

import asyncpg

from common.errors import DatabaseUnreachable, QueryRefused, QueryTooLong, StorageError
from common.storage.database import CLIENT_ERRORS, connect
from fleet.statements import SQL

SECONDS: Final = 60.0
"""What a statement may take, if nothing else is given."""
GRACE_S: Final = 5.0
NEAR_CHARACTERS: Final = 30
ROWS_ONLY: Final = (
    "only what gives rows can be asked: SELECT, WITH, VALUES, TABLE, SHOW or EXPLAIN, and nothing that writes"
)


async def ask(
    dsn: str, statement: str, arguments: Sequence[Any] = (), *, seconds: float = SECONDS, most: int
) -> list[dict[str, Any]]:
    """Its first rows, as many as `most`. Raises `QueryRefused`, `QueryTooLong`, `StorageError`."""
    connection = await connect(dsn)
    try:
        async with asyncio.timeout(seconds + GRACE_S):
            await connection.execute(SQL["read_only"])
            await connection.fetchval(SQL["limit_time"], f"{max(1, round(seconds * 1000))}ms")
            prepared = await connection.prepare(statement)
            if not (names := unique([attribute.name for attribute in prepared.get_attributes()])):
                raise QueryRefused(ROWS_ONLY)
            cursor = await prepared.cursor(*arguments)
            return [dict(zip(names, row.values(), strict=True)) for row in await cursor.fetch(most)]
    except (asyncpg.QueryCanceledError, TimeoutError):
        raise QueryTooLong(seconds) from None
    except asyncpg.InvalidTransactionStateError as error:  # it is read-only, or its mode was to be changed
        raise QueryRefused(f"{ROWS_ONLY} ({error.args[0]})") from error
    except asyncpg.PostgresSyntaxError as error:
        if "multiple commands" in str(error):
            raise QueryRefused("one statement at a time") from error
        raise QueryRefused(_refusal(error, statement)) from error
    except (asyncpg.SyntaxOrAccessError, asyncpg.DataError, asyncpg.FeatureNotSupportedError) as error:
        raise QueryRefused(_refusal(error, statement)) from error
    except asyncpg.PostgresError as error:
        raise StorageError(_refusal(error, statement)) from error
    except CLIENT_ERRORS as error:
        raise DatabaseUnreachable(f"the connection was lost: {type(error).__name__}: {error}") from error
    finally:
        connection.terminate()  # with what it may still do


def unique(names: Sequence[str]) -> list[str]:
    """Names of columns, each once: a later one of the same name gets a number."""
    given: dict[str, None] = {}
    for name in names:
        free = next(x for x in chain([name], (f"{name}_{n}" for n in count(2))) if x not in given)
        given[free] = None
    return list(given)


def _refusal(error: asyncpg.PostgresError, statement: str) -> str:
    """In one line, with the place, and what PostgreSQL advises."""
    text = str(error.args[0])
    if (position := getattr(error, "position", None)) is not None:
        near = " ".join(statement[int(position) - 1 :].split())[:NEAR_CHARACTERS]
        text += f", at {near!r}"
    hint = getattr(error, "hint", None)
    return f"{text}; {hint}" if hint else text
