"""A small HTTP server that answers as a test wants: whatever an exchange could answer, in the fleet's real client."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from common.exchange.rest import RestClient
from common.exchange.signing import Signer
from tests.support.keys import write_key

Answer = Callable[[Mapping[str, str]], Any]
"""By the query: the body, or a status and a body."""
LIMITS = {"read": {"refill_rate": 100_000, "bucket_capacity": 100_000}}


class Stub:
    """What it answers by path, and what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {"/account/limits": lambda _: LIMITS}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.longest_url = 0

    def queries(self, path: str) -> list[dict[str, str]]:
        """The queries of a path, in order."""
        return [query for asked, query in self.asked if asked == path]

    async def handle(self, request: web.Request) -> web.Response:
        """Any GET."""
        self.longest_url = max(self.longest_url, len(request.raw_path))
        query = dict(request.query)
        self.asked.append((request.path, query))
        answer = self.answers.get(request.path)
        if answer is None:
            return web.json_response({"error": {"code": "not_found"}}, status=404)
        found = answer(query)
        status, body = found if isinstance(found, tuple) else (200, found)
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, status=status, content_type="application/json")


@contextlib.asynccontextmanager
async def stub(folder: Path) -> AsyncIterator[tuple[Stub, RestClient]]:
    """The server, and a client of it."""
    served = Stub()
    app = web.Application()
    app.router.add_get("/{path:.*}", served.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    folder.mkdir(exist_ok=True)
    signer = Signer.of_file("key", write_key(folder / "key.pem"))
    try:
        async with RestClient(f"http://127.0.0.1:{port}", signer) as rest:
            yield served, rest
    finally:
        await runner.cleanup()


def pages(field: str, *some: list[Any]) -> Answer:
    """A listing of so many pages; its cursors are their numbers."""

    def answer(query: Mapping[str, str]) -> Any:
        number = int(query.get("cursor") or 0)
        return {field: some[number], "cursor": str(number + 1) if number + 1 < len(some) else ""}

    return answer
