"""The status page's addresses: `/`, its two files, and `/page/state`; a process adds its own, under the same guard."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Final

import msgspec
from aiohttp import web

from common import overview, redact
from common.config.schema import PageConfig
from common.contract.page import PageState
from common.contract.status import Status, encoded
from common.page.guard import Handler, guarded

FILES: Final = {"/": ("page.html", "text/html"), "/page.css": ("page.css", "text/css"), "/page.js": ("page.js", "text/javascript")}  # fmt: skip  # noqa: E501
RATE_OVER_S: Final = 5.0


def routes(page: PageConfig, status: Callable[[], Status], more: Mapping[str, Handler]) -> list[web.RouteDef]:
    """What to add to the process's HTTP server. `more`: JSON by path, such as `/page/markets`."""
    samples: list[tuple[float, Status]] = []

    async def state(_: web.Request) -> web.Response:
        now, present = time.monotonic(), status()
        while len(samples) > 1 and now - samples[1][0] >= RATE_OVER_S:
            del samples[0]
        before = samples[0][1] if samples else None
        if not samples or now - samples[-1][0] >= RATE_OVER_S:
            samples.append((now, copy.deepcopy(present)))  # its counters may be the process's own, and change
        shown = PageState(overview.row("", present, before), encoded(present), sorted(more))
        return web.json_response(redact.value(msgspec.to_builtins(shown)))

    def file(name: str, kind: str) -> Handler:
        content = (files("common.page") / name).read_text()

        async def send(_: web.Request) -> web.Response:
            return web.Response(text=content, content_type=kind)

        return send

    found = {path: file(*named) for path, named in FILES.items()} | {"/page/state": state, **more}
    return [web.get(path, guarded(page, handler)) for path, handler in found.items()]
