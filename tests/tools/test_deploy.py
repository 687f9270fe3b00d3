"""The units for systemd: valid, hardened, and restarted unless a person must act."""

from __future__ import annotations

import asyncio
import configparser
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from common import notify
from fleet.__main__ import main

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
NEEDS_SYSTEMD = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
EXPOSURE_MOST = 25  # tenths: "OK" begins at 50


def unit(file: Path) -> configparser.RawConfigParser:
    """A unit's sections."""
    parsed = configparser.RawConfigParser(strict=False)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(file.read_text())
    return parsed


def test_there_is_a_unit_for_each_service() -> None:
    """The command, its file, and the user that runs it."""
    assert [file.stem for file in UNITS] == ["kalshi-deduplicator", "kalshi-gatherer", "kalshi-report"]
    for file in UNITS[:2]:
        name, service = file.stem.removeprefix("kalshi-"), unit(file)["Service"]
        assert service["ExecStart"] == f"/opt/kalshi-fleet/bin/{name} --config /etc/kalshi/{name}.yaml"
        assert service["User"] == "kalshi" and service["Restart"] == "always"
        assert "2" in service["RestartPreventExitStatus"].split()
        assert service["NoNewPrivileges"] == "yes" and service["ProtectSystem"] == "strict" and service["MemoryMax"]


def test_the_services_user_has_one_number_wherever_it_is_made() -> None:
    """Files on a disk belong to numbers: one that goes from a machine, or a container, to another stays writable."""
    found = {}
    deploy = FOLDER.parent
    for file in (FOLDER / "README.md", deploy / "container/Dockerfile", *deploy.rglob("scripts/bootstrap")):
        text = file.read_text()
        assert "useradd" in text and "groupadd" in text, file
        made = re.findall(r"--[ug]id (\d+)|kalshi:(\d+)|USER (\d+):(\d+)", text)
        found[file.name] = {number for numbers in made for number in numbers if number}
    assert len(found) == 3 and set.union(*found.values()) == {"59001"}, found


@NEEDS_SYSTEMD
@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.stem)
def test_systemd_accepts_the_unit(tmp_path: Path, file: Path) -> None:
    """With this interpreter in place of the commands, which are not installed here; a wrong key is found."""
    text = file.read_text()
    for command in ("fleet", "gatherer", "deduplicator"):
        text = text.replace(f"/opt/kalshi-fleet/bin/{command} ", f"{sys.executable} ")
    installed = tmp_path / file.name
    for content, accepted in ((text, True), (text.replace("MemoryMax=", "MemoryMax=much "), False)):
        installed.write_text(content)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(installed)], capture_output=True, text=True, check=False
        )
        said = [line for line in done.stderr.splitlines() if file.name in line]
        assert (not said) == accepted, done.stderr


@NEEDS_SYSTEMD
@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.stem)
def test_the_unit_is_hardened(file: Path) -> None:
    """As systemd itself counts exposure."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MOST}", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-800:]


def test_the_report_is_made_each_morning() -> None:
    """By a timer that systemd understands; with a command that the fleet has."""
    service = unit(FOLDER / "kalshi-report.service")["Service"]
    program, *words = service["ExecStart"].split()
    assert program == "/opt/kalshi-fleet/bin/fleet" and service["Type"] == "oneshot" and service["User"] == "kalshi"
    context = main.make_context("fleet", words)
    name, command, rest = main.resolve_command(context, [*context._protected_args, *context.args])
    assert name == "report" and command is not None and command.make_context(name, rest).params["publish"]
    timer = unit(FOLDER / "kalshi-report.timer")["Timer"]
    assert timer["Persistent"] == "true"
    if shutil.which("systemd-analyze"):
        subprocess.run(["systemd-analyze", "calendar", timer["OnCalendar"]], check=True, capture_output=True)


async def test_systemd_is_notified_of_start_beat_and_end(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real datagram socket, as systemd has one; and nothing happens without it."""
    notify.notify("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(open_folder / "notify"))
        systemd.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(open_folder / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000")
        async with notify.beating():
            received = [await asyncio.to_thread(systemd.recv, 100) for _ in range(4)]
        assert received == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        while (last := systemd.recv(100)) == b"WATCHDOG=1":
            pass
        assert last == b"STOPPING=1"
    notify.notify("WATCHDOG=1")  # systemd is being restarted: nobody listens for a moment
