"""Asking a process for its `/status`."""

from __future__ import annotations

import aiohttp

from common.contract.status import Status, decode
from common.errors import StatusError


async def ask(http: aiohttp.ClientSession, address: str) -> Status:
    """The state of the process at an address, such as http://127.0.0.1:8080.

    Raises `StatusError` if another service answers there, `aiohttp.ClientError` or `TimeoutError` if nothing does.
    """
    async with http.get(f"{address.rstrip('/')}/status") as response:
        if response.status != 200:
            raise StatusError(address, f"HTTP {response.status} {response.reason or ''}".rstrip())
        return decode(await response.read(), address)
