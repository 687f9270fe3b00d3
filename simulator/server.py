"""The simulated exchange on the network: one port for REST and WebSocket, one for the person who breaks things.

The control port answers `POST /faults` (see `faults.py`), `POST /pause` and `/resume` (the flow of events),
`POST /finish` (flush the truth; answers how many lines it has), `GET /state`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import defaultdict, deque
from email.utils import formatdate
from typing import Any, Final

from aiohttp import WSMsgType, web

from simulator.auth import Accounts, AuthRefused
from simulator.commands import Commands
from simulator.exchange import Exchange
from simulator.faults import FaultDesk, UnknownFault
from simulator.lives import Combos
from simulator.replay import Replay
from simulator.rest import API, RestHandlers
from simulator.session import ClientSession
from simulator.synthetic import Synthetic
from simulator.truth import DeliveredLog

WS_PATH: Final = "/trade-api/ws/v2"
PUBLIC: Final = ("/markets", "/events", "/series", "/exchange", "/historical", "/incentive_programs")
CONNECTIONS_PER_KEY_MAX: Final = 200
CACHE_S: Final = 15
DIALS_REMEMBERED: Final = 10_000
KEY_ID: Final = web.RequestKey("key_id", str)


Driver = Synthetic | Replay | Combos


class Server:
    """REST, WebSocket and control over one exchange."""

    def __init__(
        self,
        exchange: Exchange,
        accounts: Accounts,
        *,
        ping_s: float = 10.0,
        coarse_keys: frozenset[str] = frozenset(),
        sending_ts: bool = True,
        delivered: DeliveredLog | None = None,
        connections_max: int = CONNECTIONS_PER_KEY_MAX,
    ) -> None:
        self.exchange, self.accounts = exchange, accounts
        self.ping_s, self.coarse_keys, self.sending_ts = ping_s, coarse_keys, sending_ts
        self._delivered, self._connections_max = delivered, connections_max
        self._cached: dict[str, tuple[float, int, bytes]] = {}
        self.sessions: set[ClientSession] = set()
        self.faults = FaultDesk(exchange, self.sessions)
        self.drivers: list[Driver] = []
        self.commands: dict[str, int] = {}
        """By key: commands since the start."""
        self._dials: deque[dict[str, Any]] = deque(maxlen=DIALS_REMEMBERED)
        self._numbers: defaultdict[str, itertools.count[int]] = defaultdict(lambda: itertools.count(1))
        self._tasks: dict[Driver, asyncio.Task[None]] = {}
        self._runners: list[web.AppRunner] = []

    async def start(self, host: str, port: int, control_port: int) -> tuple[int, int]:
        """Listen; returns the two ports (0 asks for free ones)."""
        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(self._date)
        app.add_routes([*RestHandlers(self.exchange).routes(), web.get(WS_PATH, self._websocket)])
        control = web.Application()
        control.add_routes(
            [
                web.post("/faults", self._fault),
                web.post("/pause", self._pause),
                web.post("/resume", self._resume),
                web.post("/finish", self._finish),
                web.get("/state", self._state),
            ]
        )
        ports = []
        for application, wanted in ((app, port), (control, control_port)):
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
            await runner.setup()
            site = web.TCPSite(runner, host, wanted)
            await site.start()
            self._runners.append(runner)
            ports.append(runner.addresses[0][1])
        return ports[0], ports[1]

    async def stop(self) -> None:
        """Stop the flow and close everything."""
        for driver in self.drivers:
            await self._halt(driver)
        for session in tuple(self.sessions):
            session.cut()
        for runner in self._runners:
            await runner.cleanup()
        self.exchange.truth.flush()

    def flow(self) -> None:
        """Let events happen."""
        for driver in self.drivers:
            if driver not in self._tasks:
                self._tasks[driver] = asyncio.create_task(driver.run())

    async def run_until(self, stopped: asyncio.Event) -> None:
        """Wait for the end. A driver that fails ends the exchange: a truth that stopped by itself is none."""
        while not stopped.is_set():
            for task in self._tasks.values():
                if task.done() and task.exception():
                    raise task.exception() or AssertionError
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await stopped.wait()

    async def _halt(self, driver: Driver) -> None:
        task = self._tasks.pop(driver, None)
        if task:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    # -- REST and dials ----------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: object) -> web.StreamResponse:
        key = request.headers.get("KALSHI-ACCESS-KEY")
        is_dial = request.path == WS_PATH
        status = self.faults.dial_status(key) if is_dial else self.faults.http_status(key, request.path)
        if is_dial:
            at_ms = self.exchange.now_us() // 1000
            self._dials.append({"key": key, "at_ms": at_ms, "refused": bool(status)})
        if status:
            body = {"error": "too many requests"} if status == 429 else {"error": {"code": "fault", "message": ""}}
            return web.json_response(body, status=status)
        public = request.path.removeprefix(API).startswith(PUBLIC) and not is_dial
        if key is not None or not public:
            try:
                request[KEY_ID] = self.accounts.check(
                    request.headers, request.method, request.path, self.faults.clock_ahead_ms
                )
            except AuthRefused as refused:
                return web.json_response(refused.body, status=401)
        if key is None:
            return await self._anonymous(request, handler)
        response: web.StreamResponse = await handler(request)  # type: ignore[operator]  # aiohttp types handlers loosely
        if isinstance(response, web.Response):
            response.enable_compression()
        return response

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(time.time() + self.faults.clock_ahead_ms / 1000, usegmt=True)

    async def _anonymous(self, request: web.Request, handler: object) -> web.Response:
        """Unsigned reads come from a cache of fifteen seconds (docs.kalshi.com)."""
        now = asyncio.get_running_loop().time()
        known = self._cached.get(request.path_qs)
        if known is None or now - known[0] > CACHE_S:
            response = await handler(request)  # type: ignore[operator]
            known = self._cached[request.path_qs] = (now, response.status, bytes(response.body))
        headers = {"cache-control": f"public, max-age={CACHE_S}"}
        return web.Response(body=known[2], status=known[1], content_type="application/json", headers=headers)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        key_id = request[KEY_ID]
        if sum(s.key_id == key_id for s in self.sessions) >= self._connections_max:
            if self.faults.full_status:
                return web.json_response({"error": "too many connections"}, status=self.faults.full_status)
            unwanted = web.WebSocketResponse()
            await unwanted.prepare(request)
            await unwanted.close(code=1008, message=b"too many connections")
            return unwanted
        socket = web.WebSocketResponse(max_msg_size=64 << 20, compress=False, heartbeat=None, autoping=False)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        session = ClientSession(
            self.exchange,
            transport,
            key_id,
            next(self._numbers[key_id]),
            coarse_ts=key_id in self.coarse_keys,
            sending_ts=self.sending_ts,
            delivered=self._delivered,
        )
        for name, count in self.faults.limits.items():
            setattr(session.faults, name, count)
        session.faults.answers = self.faults.answers(key_id)
        commands = Commands(session)
        self.sessions.add(session)
        pinger = asyncio.create_task(self._ping(socket, session))
        try:
            async for message in socket:
                if session.muted:
                    continue  # what is sent to a half-open socket arrives nowhere
                if message.type is WSMsgType.TEXT:
                    self.commands[key_id] = self.commands.get(key_id, 0) + 1
                    commands.take(message.data)
                elif message.type is WSMsgType.PING:
                    await socket.pong(message.data)
        finally:
            pinger.cancel()
            self.sessions.discard(session)
            session.close()
        return socket

    async def _ping(self, socket: web.WebSocketResponse, session: ClientSession) -> None:
        with contextlib.suppress(ConnectionError):
            while not socket.closed:
                await asyncio.sleep(self.ping_s)
                if not session.muted and self.faults.pings:
                    await socket.ping(b"heartbeat")

    # -- control -----------------------------------------------------------------------------------------------

    async def _fault(self, request: web.Request) -> web.Response:
        try:
            return web.json_response({"hit": self.faults.apply(await request.json())})
        except (UnknownFault, KeyError, json.JSONDecodeError) as error:
            return web.json_response({"error": str(error)}, status=400)

    async def _pause(self, _: web.Request) -> web.Response:
        for driver in self.drivers:
            if not isinstance(driver, Replay):
                await self._halt(driver)
        return web.json_response({})

    async def _resume(self, _: web.Request) -> web.Response:
        self.flow()
        return web.json_response({})

    async def _finish(self, _: web.Request) -> web.Response:
        self.exchange.truth.flush()
        if self._delivered is not None:
            self._delivered.flush()
        return web.json_response({"lines": self.exchange.truth.lines, "deltas": self.exchange.deltas})

    async def _state(self, _: web.Request) -> web.Response:
        finished = all(d.finished.is_set() for d in self.drivers if isinstance(d, Replay))
        sessions = [
            {
                "key": s.key_id,
                "connection": s.number,
                "channels": {c: len(sub.tickers or ()) for c, sub in s.by_channel.items()},
                "frames_sent": s.frames_sent,
            }
            for s in sorted(self.sessions, key=lambda s: (s.key_id, s.number))
        ]
        return web.json_response(
            {
                "sessions": sessions,
                "commands": self.commands,
                "markets": len(self.exchange.markets),
                "deltas": self.exchange.deltas,
                "trades": len(self.exchange.trades),
                "replay_finished": finished,
                "dials": list(self._dials),
            }
        )
