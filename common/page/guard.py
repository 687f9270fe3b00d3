"""Who may see the status page: those who know the password; without one, only this machine."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import BasicAuth, web

from common import log
from common.config.schema import PageConfig

WRONG_WAIT_S: Final = 1.0
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guarded(page: PageConfig, handler: Handler) -> Handler:
    """The handler, guarded by the password, with headers that let no other site use the page."""

    async def guard(request: web.Request) -> web.StreamResponse:
        if page.password is None:
            # A name that another site's owner points at the loopback must not make a browser here read for it.
            if _host(request) not in LOOPBACK_NAMES:
                raise web.HTTPForbidden(text="without a password this page answers to the names of the loopback only\n")
        elif not _knows(page, request):
            if "Authorization" in request.headers:
                await asyncio.sleep(WRONG_WAIT_S)
                log.get().warning("page_password_wrong", remote=request.remote)
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="Kalshi Fleet", charset="UTF-8"'})
        response = await handler(request)
        response.headers.update(HEADERS)
        return response

    return guard


def _host(request: web.Request) -> str:
    host = request.host
    return host if host.endswith("]") else host.rsplit(":", 1)[0]


def _knows(page: PageConfig, request: web.Request) -> bool:
    assert page.password is not None
    try:
        given = BasicAuth.decode(request.headers.get("Authorization", ""), encoding="utf-8")
    except ValueError:
        return False
    user = hmac.compare_digest(given.login.encode(), page.user.encode())
    return hmac.compare_digest(given.password.encode(), page.password.get_secret_value().encode()) and user
