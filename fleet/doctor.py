"""What keeps a process from working, found before it starts: each check says what is wrong and what mends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from common import clock
from common.config.load import check_private_key_file
from common.config.schema import DeduplicatorConfig, Exchange, GathererConfig
from common.errors import AuthenticationError, ExchangeError, FleetError
from common.exchange.rest import Rest
from common.exchange.signing import Signer
from common.exchange.status import active_indexes, inactive_text
from common.storage import embedded, migrate
from common.storage.address import is_verified_or_local
from common.storage.database import connect
from common.storage.migrate import Schema
from gatherer.transport import DialRefused, Socket, dial

ACCOUNT_CONNECTIONS: Final = 200  # of the smallest tier (facts, section 2.5)
CLOCK_S_WARN: Final = 2.0  # an HTTP date has whole seconds
CLOCK_S_MAX: Final = 10.0  # the exchange refuses signatures beyond
DIALS_AT_ONCE: Final = 10
OWNS: Final = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('batches')"
GIB: Final = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One check: `cure` is empty where nothing is to be done."""

    check: str
    ok: bool
    told: str
    cure: str = ""


async def examine(file: Path, config: GathererConfig | DeduplicatorConfig, *, dials: bool) -> AsyncIterator[Finding]:
    """All checks of a configuration, in the order in which a start would meet them."""
    signer = None
    try:
        check_private_key_file(str(file), config.kalshi)
        signer = Signer.of_file(config.kalshi.key_id.get_secret_value(), config.kalshi.private_key_file)
        yield Finding("private key", True, "can be read, by this user only")
    except FleetError as error:
        yield Finding("private key", False, str(error), "put the PEM file of the account's key there; chmod 600")
    yield await _clock(config.kalshi)
    if signer is not None:
        async for finding in _exchange(config.kalshi, signer):
            yield finding
    if isinstance(config, DeduplicatorConfig):
        dsn = config.production.dsn.get_secret_value()
        if not (embedded.is_embedded(dsn) or is_verified_or_local(dsn)):
            told = (
                "production.dsn does not say sslmode=verify-full: whoever stands between could change what is recorded"
            )
            yield Finding(
                "encryption", False, told, "add ?sslmode=verify-full&sslrootcert=FILE (docs/runbooks/accounts.md)"
            )
        async for finding in _database("production", dsn, "production", file):
            yield finding
        for source in config.gatherers:
            async for finding in _database(source.id, source.dsn.get_secret_value(), "gatherer", None):
                yield finding
        return
    async for finding in _database("database", config.database.dsn.get_secret_value(), "gatherer", file):
        yield finding
    yield _kernel_clock(config)
    yield _disk(config)
    wanted = sum(config.connections.model_dump().values())
    if wanted > ACCOUNT_CONNECTIONS:
        yield Finding(
            "connections",
            False,
            f"{wanted} are configured; an account begins with {ACCOUNT_CONNECTIONS}",
            "lower `connections`, or ask the exchange for a higher tier",
        )
    if dials and signer is not None:
        yield await _dial_all(config.kalshi, signer, wanted)


async def _clock(exchange: Exchange) -> Finding:
    url = f"{exchange.rest_url.rstrip('/')}/exchange/status"
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as http:
            sent = time.time()
            async with http.get(url) as response:
                answered = time.time()
                date = response.headers.get("Date", "")
    except (aiohttp.ClientError, TimeoutError) as error:
        told = f"{urlsplit(url).netloc} does not answer: {type(error).__name__}: {error}"
        return Finding(
            "exchange", False, told, "check kalshi.rest_url, name resolution and the way out of this network"
        )
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return Finding("clock", True, "the exchange's answer has no date to compare with")
    skew = (sent + answered) / 2 - theirs - 0.5  # the date was cut to whole seconds
    if abs(skew) < CLOCK_S_WARN:
        return Finding("clock", True, f"within {CLOCK_S_WARN:.0f} s of the exchange's")
    cure = "switch time synchronisation on (chrony); the exchange refuses signatures off by more than 10 s"
    return Finding("clock", abs(skew) < CLOCK_S_MAX, f"off by about {skew:+.0f} s", cure)


async def _exchange(exchange: Exchange, signer: Signer) -> AsyncIterator[Finding]:
    async with Rest(exchange.rest_url, signer) as rest:
        try:
            limits = await rest.learn_limits()
            read = limits.get("read") or {}
            told = f"tier {limits.get('usage_tier')}, {read.get('refill_rate')} tokens/s for reading"
            yield Finding("account", True, told)
        except AuthenticationError as error:
            yield Finding("account", False, str(error), _cure_of(str(error)))
        except ExchangeError as error:
            yield Finding("account", False, str(error), "try again; if it stays, check kalshi.rest_url")
        try:
            status = await rest.exchange_status()
            inactive = inactive_text(active_indexes(status), status.get("exchange_estimated_resume_time"))
            yield Finding("exchange", True, inactive or "active")
        except ExchangeError as error:
            yield Finding("exchange", False, str(error), "try again; if it stays, check kalshi.rest_url")


def _cure_of(answer: str) -> str:
    if "timestamp" in answer:
        return "this machine's clock is off: switch time synchronisation on (chrony)"
    if "NOT_FOUND" in answer:
        return "kalshi.key_id is not known there: check it, and that production and demo are not mixed up"
    if "SIGNATURE" in answer.upper():
        return "the private key does not belong to kalshi.key_id: put the key's own PEM file there"
    return "check kalshi.key_id and the private key"


async def _database(name: str, dsn: str, schema: Schema, file: Path | None) -> AsyncIterator[Finding]:
    command = f"fleet migrate --config {file}" if file else "fleet migrate --config <the gatherer's file>"
    if embedded.is_embedded(dsn):
        folder = Path(dsn.removeprefix(embedded.PREFIX))
        if not (folder / "data" / "postmaster.pid").exists():
            yield Finding(name, True, "embedded: its owner starts and upgrades it")
            return
    try:
        connection = await connect(dsn)
    except FleetError as error:
        yield Finding(name, False, str(error), "start the database, or mend the dsn and its pg_hba.conf")
        return
    try:
        await migrate.check(connection, schema, command)
        told = "answers, with this code's schema"
        if schema == "gatherer" and file is not None and not await connection.fetchval(OWNS):
            user = await connection.fetchval("SELECT current_user")
            cure = "make that account the owner of database and tables, or migrate again as it (runbooks/accounts.md)"
            yield Finding(name, False, f"{user} does not own the tables: it could make no partition", cure)
            return
        if schema == "gatherer":
            told += f"; hours are kept by {await connection.fetchval('SELECT storage_engine()')}"
        yield Finding(name, True, told)
    except FleetError as error:
        yield Finding(name, False, str(error), command)
    finally:
        await connection.close()


def _kernel_clock(config: GathererConfig) -> Finding:
    if config.bounds.clock_proof == "assumed":
        return Finding("clock proof", True, "assumed by configuration (bounds.clock_proof)")
    error_us = clock.error_bound_us()
    if error_us is None or error_us > config.bounds.clock * 1000:
        told = "not synchronised" if error_us is None else f"its error may be {error_us / 1000:.0f} ms"
        cure = "switch time synchronisation on (chrony); until then receive times are not used, and gaps are wider"
        return Finding("clock proof", True, told, cure)
    return Finding("clock proof", True, f"the kernel bounds its error by {error_us / 1000:.1f} ms")


def _disk(config: GathererConfig) -> Finding:
    folder = config.journal.dir
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(existing, os.W_OK):
        return Finding("journal", False, f"{existing} cannot be written", "give this user the folder (chown)")
    used = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if folder.exists() else 0
    free = shutil.disk_usage(existing).free
    wanted = config.journal.max_bytes - used
    told = f"{free / GIB:.1f} GiB free, the journal may still take {max(0, wanted) / GIB:.1f}"
    if free < wanted:
        return Finding("disk", False, told, "a larger disk, or a smaller journal.max_bytes")
    return Finding("disk", True, told)


async def _dial_all(exchange: Exchange, signer: Signer, wanted: int) -> Finding:
    """Open as many connections as are configured, at once, and close them again."""
    opened: list[Socket] = []
    refused: list[str] = []
    turns = asyncio.Semaphore(DIALS_AT_ONCE)

    async def one() -> None:
        async with turns:
            try:
                path = urlsplit(exchange.ws_url).path
                headers = signer.headers("GET", path)
                opened.append(await dial(exchange.transport, exchange.ws_url, headers))
            except DialRefused as error:
                refused.append(str(error))

    try:
        await asyncio.gather(*(one() for _ in range(wanted)))
    finally:
        for socket in opened:
            with contextlib.suppress(Exception):
                await socket.close()
    if not refused:
        return Finding("connections", True, f"all {wanted} were accepted at once")
    cure = "lower `connections`, stop what else uses the account, or give each gatherer an account of its own"
    return Finding("connections", False, f"{len(opened)} of {wanted} were accepted: {refused[0]}", cure)
