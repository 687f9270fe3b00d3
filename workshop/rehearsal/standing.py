"""A fleet on this machine that stays: `fleet up` starts it, `fleet down` ends it and whatever is left of it.

One process owns the others, `python -m workshop.rehearsal.standing FOLDER`, in a session of its own; it starts again
what ends, and ends all when it is asked to. All of them carry the folder in their environment; that, and the folder in
the command of a database's server, is how what is left of a fleet is found after a kill: never by a name alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import yaml

from common.errors import FleetError
from common.process import stop_event
from workshop.rehearsal.local import BUCKET, GATHERERS, FleetPlan, LocalFleet

MARK: Final = "FLEET_STANDING_IN"
"""The variable that all processes of a standing fleet have."""
ADDRESSES: Final = "fleet.json"
LOG: Final = "fleet.log"
START_WAIT_S: Final = 240.0
END_WAIT_S: Final = 60.0
KILL_AFTER_S: Final = 10.0
AGAIN_AFTER_S: Final = 3.0
ALL: Final = (*GATHERERS, "deduplicator")
Report = Callable[[str], None]


class Addresses(msgspec.Struct):
    """Where a standing fleet is reached: its owner writes it once all was started."""

    ports: dict[str, int]
    """By process."""
    exchange: int
    control: int
    s3: str


def plan() -> FleetPlan:
    """Sixty markets, of which combos are born and settled; nothing that fills a disk overnight."""
    small = {"max_bytes": "1GiB", "segment_bytes": "8MiB"}
    return FleetPlan(
        connections={"orderbook": 3, "trade": 1, "ticker": 1, "lifecycle": 1},
        simulator=("--markets", "60", "--rate", "120", "--births", "0.2", "--life", "600", "--forget-after", "3600"),
        overrides={"journal": small, "retention": {"keep_after_ack": "30m"}},
        production={"retention": {"orderbook_deltas": "1d"}},
        archive={"interval": "1m"},
        truth=False,
    )


def default_folder() -> Path:
    """Where everybody who may run a database's server can enter: not in a home."""
    return Path(tempfile.gettempdir()) / f"kalshi-fleet-{os.geteuid()}"


# -- the owner ---------------------------------------------------------------------------------------------------


async def stand(folder: Path) -> None:
    """Own a fleet until SIGTERM."""
    stopped = stop_event()
    async with LocalFleet(plan(), folder) as fleet:
        await fleet.start_simulator()
        await fleet.start_s3()
        for name in GATHERERS:
            fleet.start_gatherer(name)
        fleet.start_deduplicator()
        analyst = {
            "production": {"dsn": fleet.production_dsn},
            "archive": {"bucket": BUCKET, "endpoint_url": fleet.s3_url},
        }
        (folder / "analyst.yaml").write_text(yaml.safe_dump(analyst))
        reached = Addresses(fleet.ports, fleet.sim_port, fleet.control_port, fleet.s3_url)
        (folder / f"{ADDRESSES}.new").write_bytes(msgspec.json.encode(reached))
        (folder / f"{ADDRESSES}.new").replace(folder / ADDRESSES)
        while not stopped.is_set():
            await _start_again(fleet)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_AFTER_S):
                    await stopped.wait()


async def _start_again(fleet: LocalFleet) -> None:
    """What has ended by itself, or was killed; without its exchange, or its archive, a fleet is none."""
    for name in ALL:
        if (code := fleet.processes[name].poll()) is not None:
            print(f"{name} ended with {code}: started again", flush=True)
            if name == "deduplicator":
                fleet.start_deduplicator()
            else:
                fleet.start_gatherer(name)
    fleet.check_alive()


# -- up ------------------------------------------------------------------------------------------------------------


async def up(folder: Path, report: Report) -> Addresses:
    """Start a fleet in a folder, or find the one that runs there; its addresses. Raises `FleetError`."""
    folder = _own(folder)
    if (owner := _owner(folder)) is None:
        if any(folder.iterdir()):
            raise FleetError(
                f"{folder} is not empty: if it is what is left of a fleet, `fleet down` ends and removes it"
            )
        owner = _start_owner(folder)
        report("starting an exchange, three gatherers, a deduplicator, four databases and an S3 endpoint")
    else:
        report("it runs already")
    ready: set[str] = set()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        deadline = time.monotonic() + START_WAIT_S
        while True:
            if (reached := _addresses(folder)) is not None:
                for name in set(ALL) - ready:
                    if await _is_ready(http, reached.ports[name]):
                        ready.add(name)
                        report(f"{name} is ready")
                if len(ready) == len(ALL):
                    return reached
            if not _runs(owner):
                raise FleetError(f"it ended at its start:\n{_tail(folder)}")
            if time.monotonic() > deadline:
                missing = ", ".join(sorted(set(ALL) - ready))
                raise FleetError(f"not ready after {START_WAIT_S:.0f} s: {missing}; logs are in {folder}")
            await asyncio.sleep(0.2)


def _own(folder: Path) -> Path:
    """The folder, made if there is none. Refused if it is another user's, or a way to another place."""
    folder = folder.absolute()
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.geteuid():
        raise FleetError(f"{folder} belongs to another user, or is a link: choose another folder, with --dir")
    return folder


def _start_owner(folder: Path) -> int:
    with (folder / LOG).open("xb") as log:  # of two that start at once one fails
        owner = subprocess.Popen(
            [sys.executable, "-m", "workshop.rehearsal.standing", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, MARK: str(folder)},
            start_new_session=True,
        )
    return owner.pid


async def _is_ready(http: aiohttp.ClientSession, port: int) -> bool:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with http.get(f"http://127.0.0.1:{port}/readyz") as response:
            return response.status == 200
    return False


def _addresses(folder: Path) -> Addresses | None:
    try:
        return msgspec.json.decode((folder / ADDRESSES).read_bytes(), type=Addresses)
    except FileNotFoundError:
        return None


def _tail(folder: Path) -> str:
    return "\n".join((folder / LOG).read_text(errors="replace").splitlines()[-5:])


# -- down ----------------------------------------------------------------------------------------------------------


def down(folder: Path, report: Report, *, keep: bool = False) -> bool:
    """End what runs in a folder, orderly if its owner lives, and remove the folder; whether there was anything."""
    folder = folder.absolute()
    found = folder.exists()
    if (owner := _owner(folder)) is not None:
        report("ending it")
        _send(owner, signal.SIGTERM)
        _wait(lambda: not _runs(owner), END_WAIT_S)
    left = list(_processes(folder))
    if left:
        found = True
        report(f"ending what was left: {', '.join(f'{name} ({pid})' for pid, name in left)}")
        for number in (signal.SIGINT, signal.SIGKILL):
            for pid, _ in _processes(folder):
                _send(pid, number)
            if _wait(lambda: not any(_processes(folder)), KILL_AFTER_S):
                break
    if folder.exists() and not keep:
        if (folder / LOG).exists() or not any(folder.iterdir()):
            _remove(folder)
        else:
            raise FleetError(f"{folder} is no fleet's folder: nothing was removed")
    return found


def _remove(folder: Path) -> None:
    """Remove it. What was just being started when its owner was killed may still write into it for a moment."""
    until = time.monotonic() + KILL_AFTER_S
    while True:
        try:
            shutil.rmtree(folder)
            return
        except OSError as error:
            if time.monotonic() > until:
                raise FleetError(f"{folder} cannot be removed: {error}") from error
        for pid, _ in _processes(folder):
            _send(pid, signal.SIGKILL)
        time.sleep(0.1)


def _owner(folder: Path) -> int | None:
    return next((pid for pid, name in _processes(folder) if name == "workshop.rehearsal.standing"), None)


def _processes(folder: Path) -> Iterator[tuple[int, str]]:
    """Processes of the fleet in a folder, with what they are."""
    mark = f"{MARK}={folder}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        pid = int(place.name)
        try:
            words = (place / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            marked = mark in (place / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended, or is another user's
        if pid == os.getpid() or words == [b""]:
            continue
        if marked and b"-m" in words:
            yield pid, words[words.index(b"-m") + 1].decode()
        elif marked:
            yield pid, Path(words[0].decode(errors="replace")).name
        elif words[0].endswith(b"/postgres") and any(word.startswith(f"{folder}/".encode()) for word in words[1:]):
            yield pid, "postgres"


def _runs(pid: int) -> bool:
    """Whether it has not ended, even if nobody has waited for it."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


if __name__ == "__main__":
    try:
        asyncio.run(stand(Path(sys.argv[1])))
    except FleetError as reason:
        sys.exit(str(reason))
