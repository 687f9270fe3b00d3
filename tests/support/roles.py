"""Accounts that have one of the roles and nothing else."""

from __future__ import annotations

import asyncpg

from common.storage.embedded import EmbeddedServer, socket_dir


async def as_member(own_server: EmbeddedServer, role: str) -> str:
    """The address of a new account that is a member of a role and nothing else."""
    owner = await asyncpg.connect(own_server.dsn)
    await owner.execute(f"CREATE ROLE some_{role} LOGIN IN ROLE kalshi_{role}")
    await owner.close()
    return f"postgresql://some_{role}@/kalshi?host={socket_dir(own_server.folder)}"
