"""The seam to a WebSocket library: which one is a value of the configuration (`kalshi.transport`)."""

from __future__ import annotations

from gatherer.capture.transport.seam import DialRefused, Socket, SocketClosed


async def dial(transport: str, url: str, headers: dict[str, str]) -> Socket:
    """Open a connection with the named library; raises `DialRefused`."""
    if transport == "picows":
        from gatherer.capture.transport.picows_socket import dial as with_picows

        return await with_picows(url, headers)
    if transport == "aiohttp":
        from gatherer.capture.transport.aiohttp_socket import dial as with_aiohttp

        return await with_aiohttp(url, headers)
    from gatherer.capture.transport.websockets_socket import dial as with_websockets

    return await with_websockets(url, headers)


__all__ = ["DialRefused", "Socket", "SocketClosed", "dial"]
