"""Programs of this machine: run, or reported missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from common.errors import FleetError

CACHE: Final = Path(os.environ.get("BOOT_REHEARSAL_CACHE", Path(tempfile.gettempdir()) / "kalshi-boot-rehearsal"))
"""What is slow to make and the same every time: Debian's base, packages, wheels."""
PROJECT: Final = Path(__file__).parents[3]
NEEDED: Final = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "gpg": "gnupg",
    "dpkg-scanpackages": "dpkg-dev",
    "ip": "iproute2",
    "losetup": "mount",
    "nsenter": "util-linux",
    "terraform": "terraform (not in Debian)",
}


def run(*command: str | Path, check: bool = True, stdin: str | None = None, cwd: Path | None = None) -> str:
    """What a program prints. Raises `FleetError` with what it printed if it fails and `check` is set."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, input=stdin, cwd=cwd
    )
    if check and done.returncode:
        raise FleetError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def missing() -> str | None:
    """Why this machine cannot boot others, or None."""
    if os.geteuid() != 0:
        return "only root can boot containers"
    if lacking := [package for program, package in NEEDED.items() if shutil.which(program) is None]:
        return f"not on this machine: {', '.join(lacking)}"
    return None


def install_what_is_missing() -> None:
    """Debian's own packages, where this is a Debian."""
    lacking = [package for program, package in NEEDED.items() if shutil.which(program) is None and " " not in package]
    if lacking and os.geteuid() == 0 and shutil.which("apt-get"):
        os.environ["RUNLEVEL"] = "1"
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *lacking)


def python(*arguments: str | Path) -> list[str]:
    """This Python, as a command."""
    return [sys.executable, *map(str, arguments)]
