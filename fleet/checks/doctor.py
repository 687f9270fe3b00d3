"""What keeps a process from working, found before it starts: each check reports what is wrong and what mends it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from common import clock
from common.ask_status import ask
from common.config.load import check_private_key_file
from common.config.schema import DeduplicatorConfig, ExchangeConfig, GathererConfig, HttpConfig, ReaderConfig
from common.contract.status import name_of
from common.errors import AuthenticationError, ExchangeError, FleetError, StatusError
from common.exchange.rest import RestClient
from common.exchange.signing import Signer
from common.exchange.status import active_indexes, inactive_text
from common.storage import embedded, migrate
from common.storage.address import is_verified_or_local
from common.storage.database import CLIENT_ERRORS, connect
from common.storage.migrate import Schema
from fleet.checks import doctor_s3
from fleet.checks.finding import Finding
from fleet.statements import SQL
from gatherer.capture.transport import DialRefused, Socket, dial
from gatherer.journal.ownership import LOCK_FILE

ACCOUNT_CONNECTIONS: Final = 200  # of the smallest tier (docs.kalshi.com)
CLOCK_S_WARN: Final = 2.0  # an HTTP date has whole seconds
CLOCK_S_MAX: Final = 10.0  # the exchange refuses signatures beyond
DIALS_AT_ONCE: Final = 10
GIB: Final = 1 << 30


class AccountCheck(NamedTuple):
    """An account by its part: the statement that shows what it may, what is reported if it may not, and the cure."""

    asked: str
    may_not: str
    cure: str


OWNER: Final = AccountCheck(
    SQL["doctor_owner"],
    "does not own the tables: it could make no partition",
    "make that account the owner of database and tables, or migrate again as it (runbooks/accounts.md)",
)
WRITER: Final = AccountCheck(
    SQL["doctor_production"],
    "may not write production",
    "make it a member of kalshi_writer: fleet migrate --owner NAME --account",
)
READER: Final = AccountCheck(
    SQL["doctor_gatherer"],
    "may not read it, or not acknowledge what was read",
    "make it a member of kalshi_reader (docs/runbooks/accounts.md)",
)
ANALYST: Final = AccountCheck(
    SQL["doctor_reader"],
    "may not read production",
    "make it a member of kalshi_analyst (docs/runbooks/accounts.md)",
)


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
    own = config.deduplicator_id if isinstance(config, DeduplicatorConfig) else config.gatherer_id
    runs = await _runs(config.http, own)
    yield _port(config.http, own, runs=runs)
    if isinstance(config, DeduplicatorConfig):
        async for finding in _of_deduplicator(file, config):
            yield finding
    else:
        async for finding in _of_gatherer(file, config, signer, dials=dials, runs=runs):
            yield finding


async def examine_reader(config: ReaderConfig) -> AsyncIterator[Finding]:
    """What keeps somebody from reading what an analyst's file names."""
    if config.production is not None:
        dsn = config.production.dsn.get_secret_value()
        async for finding in _encryption(dsn):
            yield finding
        async for finding in _database("production", dsn, "production", ANALYST, None):
            yield finding
    if config.archive is not None:
        yield await asyncio.to_thread(doctor_s3.readable, config.archive)


async def _of_deduplicator(file: Path, config: DeduplicatorConfig) -> AsyncIterator[Finding]:
    dsn = config.production.dsn.get_secret_value()
    async for finding in _encryption(dsn):
        yield finding
    async for finding in _database("production", dsn, "production", WRITER, file):
        yield finding
    instances: dict[str, str] = {}
    for source in config.gatherers:
        async for finding in _database(source.id, source.dsn.get_secret_value(), "gatherer", READER, None, instances):
            yield finding
    if config.archive is None:
        cure = "add the section `archive`: without it days never leave production, and nothing else has them"
        yield Finding("archive", True, "there is none: nothing is exported", cure)
        return
    archive = config.archive
    for finding in await asyncio.to_thread(lambda: list(doctor_s3.archive(archive))):
        yield finding
    spool = archive.spool_dir
    if spool is not None and not (spool.is_dir() and os.access(spool, os.W_OK)):
        yield Finding("archive spool", False, f"{spool} cannot be written", "make the folder, and give it to this user")


async def _of_gatherer(
    file: Path, config: GathererConfig, signer: Signer | None, *, dials: bool, runs: bool
) -> AsyncIterator[Finding]:
    async for finding in _database("database", config.database.dsn.get_secret_value(), "gatherer", OWNER, file):
        yield finding
    yield _kernel_clock(config)
    yield _disk(config)
    yield _lock(config.journal.dir, runs=runs)
    raw = config.journal.raw
    if raw is None:
        text = "journal.raw is not set: frames are kept only as long as the journal has room"
        cure = "set it, and history can be made again from what was received, after any fault"
        yield Finding("raw archive", True, text, cure)
    else:
        for finding in await asyncio.to_thread(lambda: list(doctor_s3.raw(raw, config.gatherer_id))):
            yield finding
    wanted = sum(config.connections.model_dump().values())
    if wanted > ACCOUNT_CONNECTIONS:
        yield Finding(
            "connections",
            False,
            f"{wanted} are configured; an account begins with {ACCOUNT_CONNECTIONS}",
            "lower `connections`, or ask the exchange for a higher tier",
        )
    if signer is not None:
        yield await _dial_all(config.kalshi, signer, wanted if dials else 1)


async def _encryption(dsn: str) -> AsyncIterator[Finding]:
    if not (embedded.is_embedded(dsn) or is_verified_or_local(dsn)):
        text = "production.dsn lacks sslmode=verify-full: anybody in between could change what is recorded"
        cure = "add ?sslmode=verify-full&sslrootcert=FILE (docs/runbooks/accounts.md)"
        yield Finding("encryption", False, text, cure)


async def _runs(http: HttpConfig, own: str) -> bool:
    """Whether the process that is looked at answers at its address."""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, StatusError):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            return name_of(await ask(session, f"http://{http.host}:{http.port}")) == own
    return False


def _port(http: HttpConfig, own: str, *, runs: bool) -> Finding:
    """Whether it is free, or this very process has it."""
    where = f"{http.host}:{http.port}"
    if runs:
        return Finding("http", True, f"{own} runs, and listens at {where}")
    with socket.socket(socket.AF_INET6 if ":" in http.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((http.host, http.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                cure = "end it, or give this one another http.port"
                return Finding("http", False, f"another process listens at {where}", cure)
            text = f"{where} cannot be listened at: {error.strerror}"
            return Finding("http", False, text, "an address of this machine, and a port that this user may have")
    return Finding("http", True, f"{where} is free")


def _lock(folder: Path, *, runs: bool) -> Finding:
    """Whether a gatherer holds the journal: this one, if it runs. Looking takes the lock for a moment only."""
    file = folder / LOCK_FILE
    try:
        with file.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        pass
    except BlockingIOError:
        text = f"process {file.read_text().strip()} holds {folder}"
        cure = "" if runs else "this gatherer does not answer: if it is another one, give each its own journal.dir"
        return Finding("journal lock", runs, text, cure)
    except OSError as error:
        return Finding("journal lock", False, f"{file}: {error.strerror}", "give this user the folder (chown)")
    return Finding("journal lock", True, "nobody holds the journal")


async def _clock(exchange: ExchangeConfig) -> Finding:
    url = f"{exchange.rest_url.rstrip('/')}/exchange/status"
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as http:
            sent = time.time()
            async with http.get(url) as response:
                answered = time.time()
                date = response.headers.get("Date", "")
    except (aiohttp.ClientError, TimeoutError) as error:
        text = f"{urlsplit(url).netloc} does not answer: {type(error).__name__}: {error}"
        return Finding(
            "exchange", False, text, "check kalshi.rest_url, name resolution and the way out of this network"
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


async def _exchange(exchange: ExchangeConfig, signer: Signer) -> AsyncIterator[Finding]:
    async with RestClient(exchange.rest_url, signer) as rest:
        try:
            limits = await rest.learn_limits()
            read = limits.get("read") or {}
            text = f"tier {limits.get('usage_tier')}, {read.get('refill_rate')} tokens/s for reading"
            yield Finding("account", True, text)
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


async def _database(
    name: str,
    dsn: str,
    schema: Schema,
    account: AccountCheck,
    file: Path | None,
    instances: dict[str, str] | None = None,
) -> AsyncIterator[Finding]:
    """`file`: of the process that owns it, if that is this one. `account`: what it must be able to do. `instances`: of
    gatherers, by instance."""
    command = f"fleet migrate --config {file}" if file else "fleet migrate --config <the file of its process>"
    if embedded.is_embedded(dsn) and (finding := _embedded(name, dsn, owned=file is not None)) is not None:
        yield finding
        return
    try:
        connection = await connect(dsn)
    except FleetError as error:
        yield Finding(name, False, str(error), "start the database, or mend the dsn and its pg_hba.conf")
        return
    try:
        await migrate.check(connection, schema, command)
        row = await connection.fetchrow(account.asked)
        if not row["may"]:
            yield Finding(name, False, f"{row['account']} {account.may_not}", account.cure)
            return
        text = "answers, with this code's schema"
        if "engine" in row:
            text += f"; hours are kept by {row['engine']}"
        if instances is not None and (other := instances.setdefault(row["instance"], name)) != name:
            yield Finding(name, False, f"is the database of {other} (one instance)", "mend the dsn of one of the two")
            return
        yield Finding(name, True, text)
    except FleetError as error:
        yield Finding(name, False, str(error), command)
    except CLIENT_ERRORS as error:
        text = f"does not show what this account may: {type(error).__name__}: {error}"
        yield Finding(name, False, text, "grant the account its role (docs/runbooks/accounts.md)")
    finally:
        await connection.close()


def _embedded(name: str, dsn: str, *, owned: bool) -> Finding | None:
    """What is to be reported of an embedded server that does not run; None: it runs, and can be asked."""
    if embedded.is_running(dsn):
        return None
    if not owned:
        return Finding(name, False, f"{dsn} does not run", "start its owner; it starts and stops the server")
    if (problem := embedded.unusable(dsn)) is not None:
        return Finding(name, False, problem, "choose another folder, or give this one to the process's user")
    return Finding(name, True, "embedded: its owner starts and upgrades it")


def _kernel_clock(config: GathererConfig) -> Finding:
    if config.bounds.clock_proof == "assumed":
        cure = "bounds.clock_proof: kernel, wherever a time service runs: a clock that is wrong is believed else"
        return Finding("clock proof", True, "assumed by configuration, not proven", cure)
    error_us = clock.error_bound_us()
    if error_us is None or error_us > config.bounds.clock * 1000:
        text = "not synchronised" if error_us is None else f"its error may be {error_us / 1000:.0f} ms"
        cure = "switch time synchronisation on (chrony); until then receive times are not used, and gaps are wider"
        return Finding("clock proof", True, text, cure)
    return Finding("clock proof", True, f"the kernel bounds its error by {error_us / 1000:.1f} ms")


def _disk(config: GathererConfig) -> Finding:
    folder = config.journal.dir
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(existing, os.W_OK):
        return Finding("journal", False, f"{existing} cannot be written", "give this user the folder (chown)")
    used = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if folder.exists() else 0
    free = shutil.disk_usage(existing).free
    wanted = config.journal.max_bytes - used
    text = f"{free / GIB:.1f} GiB free, the journal may still take {max(0, wanted) / GIB:.1f}"
    if free < wanted:
        return Finding("disk", False, text, "a larger disk, or a smaller journal.max_bytes")
    return Finding("disk", True, text)


async def _dial_all(exchange: ExchangeConfig, signer: Signer, wanted: int) -> Finding:
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
        return Finding("connections", True, f"{wanted} of {wanted} were accepted at once")
    if not opened and "429" not in refused[0]:
        cure = "check kalshi.ws_url, its name and the way out of this network"
        return Finding("connections", False, f"{urlsplit(exchange.ws_url).netloc} refuses: {refused[0]}", cure)
    cure = "lower `connections`, stop what else uses the account, or give each gatherer an account of its own"
    return Finding("connections", False, f"{len(opened)} of {wanted} were accepted: {refused[0]}", cure)
