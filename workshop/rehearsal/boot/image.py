"""What the machines are made of: Debian's base as an image has it, an archive of packages, wheels, and releases."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from common.errors import FleetError
from workshop.generate.terraform import ROOT
from workshop.rehearsal.boot.host import CACHE, PROJECT, run
from workshop.rehearsal.statements import SQL

SUITE: Final = "bookworm"
ARCHIVE: Final = "http://deb.debian.org/debian"
IN_THE_IMAGE: Final = ("systemd", "systemd-sysv", "dbus", "udev", "ca-certificates", "curl", "python3", "cloud-init",
                       "iproute2", "e2fsprogs", "procps", "gnupg")  # fmt: skip
TO_BE_INSTALLED: Final = ("awscli", "chrony", "python3-venv", "jq", "postgresql", "postgresql-15",
                          "unattended-upgrades", "prometheus", "prometheus-alertmanager")  # fmt: skip
APT: Final = ("env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get")
INSTALL: Final = (*APT, "install", "-y", "-qq", "--no-install-recommends")
AGENT: Final = """#!/bin/sh
echo "the stand-in of Session Manager's agent is here"
exec sleep infinity
"""
AGENT_UNIT: Final = (
    "[Service]\nExecStart=/usr/bin/amazon-ssm-agent\nRestart=always\n[Install]\nWantedBy=multi-user.target\n"
)
GRAFANA_UNIT: Final = "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"


@dataclass(frozen=True)
class Release:
    """What `make release` makes."""

    file: Path
    sha256: str
    key: str


def base() -> Path:
    """Debian with what its cloud images have and the machines rely on."""
    folder = CACHE / "base"
    made, of = folder / "made", "\n".join((SUITE, *IN_THE_IMAGE))
    if not made.exists() or made.read_text() != of:
        shutil.rmtree(folder, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        run("debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, folder, ARCHIVE)
        _borrow_this_machines_archives(folder)
        run("chroot", folder, *APT, "update", "-qq")
        run("chroot", folder, *INSTALL, *IN_THE_IMAGE)
        run("chroot", folder, "apt-get", "clean")
        made.write_text(of)
    return folder


def packages() -> Path:
    """What machines install from Debian's archive."""
    folder, root = CACHE / "packages", base()
    made, of = folder / "made", "\n".join(TO_BE_INSTALLED)
    if not made.exists() or made.read_text() != of:
        folder.mkdir(exist_ok=True)
        run("chroot", root, *APT, "update", "-qq")
        run("chroot", root, *INSTALL, "--download-only", *TO_BE_INSTALLED)
        for file in (root / "var/cache/apt/archives").glob("*.deb"):
            shutil.move(file, folder / file.name)
        made.write_text(of)
    return folder


def _borrow_this_machines_archives(folder: Path) -> None:
    for file in Path("/etc/apt/sources.list.d").glob("debian.sources"):
        shutil.copy(file, folder / "etc/apt/sources.list.d/")
        (folder / "etc/apt/sources.list").write_text("")
    for file in Path("/etc/apt/apt.conf.d").glob("99*"):
        shutil.copy(file, folder / "etc/apt/apt.conf.d/")
    shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")


def archive() -> Path:
    """All packages, signed by a key of the rehearsal's own, for any suite's name."""
    folder = packages()
    agent, grafana = (folder / f"{name}_1.0_all.deb" for name in ("amazon-ssm-agent", "grafana"))
    if not agent.exists():
        _package(agent, "amazon-ssm-agent", "1.0", {"usr/bin/amazon-ssm-agent": AGENT,
                 "lib/systemd/system/amazon-ssm-agent.service": AGENT_UNIT})  # fmt: skip
    if not grafana.exists():
        files = {
            "etc/grafana/grafana.ini": ";http_addr =\n",
            "etc/grafana/provisioning/sample.yaml": "",
            "lib/systemd/system/grafana-server.service": GRAFANA_UNIT,
        }
        _package(grafana, "grafana", "1.0", files)
    (folder / "Packages").write_text(run("dpkg-scanpackages", "--multiversion", ".", cwd=folder))
    home = CACHE / "gnupg"
    if not home.exists():
        home.mkdir(mode=0o700)
        run(
            "gpg",
            "--homedir",
            home,
            "--batch",
            "--passphrase",
            "",
            "--quick-gen-key",
            "rehearsal",
            "rsa2048",
            "sign",
            "0",
        )
        (CACHE / "key.asc").write_text(run("gpg", "--homedir", home, "--armor", "--export"))
    return folder


def signed_release(suite: str) -> bytes:
    """A suite's InRelease."""
    packages = (CACHE / "packages" / "Packages").read_bytes()
    digest = hashlib.sha256(packages).hexdigest()
    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
    lines = [
        f"Date: {date}",
        f"Suite: {suite}",
        f"Codename: {suite}",
        "Architectures: amd64 arm64 all",
        "Components: main",
        "SHA256:",
    ]
    lines += [f" {digest} {len(packages)} main/binary-{of}/Packages" for of in ("amd64", "arm64", "all")]
    text = run("gpg", "--homedir", CACHE / "gnupg", "--clearsign", stdin="\n".join(lines) + "\n")
    return text.encode()


def timescaledb() -> list[str]:
    """The releases of TimescaleDB that can be installed, oldest first, as packages of the vendor's names.

    `TIMESCALEDB_BUILDS` names a folder with one folder a release, as `make install DESTDIR=` left it.
    """
    builds = Path(os.environ.get("TIMESCALEDB_BUILDS", CACHE / "timescaledb"))
    versions = sorted((path.name for path in builds.glob("*.*.*")), key=lambda name: tuple(map(int, name.split("."))))
    for version in versions:
        name = "timescaledb-2-postgresql-15"
        file = CACHE / "packages" / f"{name}_{version}~debian12_{run('dpkg', '--print-architecture').strip()}.deb"
        if not file.exists():
            _package(file, name, f"{version}~debian12", {}, builds / version)
    return versions


def _package(to: Path, name: str, version: str, files: dict[str, str], tree: Path | None = None) -> None:
    folder = CACHE / "package" / name
    shutil.rmtree(folder, ignore_errors=True)
    if tree is not None:
        shutil.copytree(tree, folder, symlinks=True)
    (folder / "DEBIAN").mkdir(parents=True)
    fields = {"Package": name, "Version": version, "Maintainer": "rehearsal", "Description": "of the rehearsal"}
    fields["Architecture"] = run("dpkg", "--print-architecture").strip()
    (folder / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        (folder / path).chmod(0o755 if "bin/" in path else 0o644)
    to.parent.mkdir(parents=True, exist_ok=True)
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-b", folder, to)


def wheels() -> Path:
    """What requirements-run.lock names, by its digests."""
    lock = PROJECT / "requirements-run.lock"
    folder = CACHE / "wheels" / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    if not folder.exists():
        pip = (PROJECT / ".venv/bin/python", "-m", "pip", "download", "--quiet", "--only-binary", ":all:")
        run(*pip, "--require-hashes", "-r", lock, "-d", folder.with_suffix(".new"))
        folder.with_suffix(".new").rename(folder)
    return folder


def release(folder: Path, name: str, *changes: Callable[[Path], None]) -> Release:
    """`make release` in a copy of the tree, which `changes` may edit first: a next release, or a planted fault."""
    tree = folder / f"tree-{name}"
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=PROJECT).splitlines()
    for path in listed:
        if (PROJECT / path).is_file():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / path, tree / path)
    for change in changes:
        change(tree)
    run("make", "release", "STAMP=", f"BIN={PROJECT / '.venv/bin'}", cwd=tree)
    found = list((tree / "build").glob("kalshi-fleet-*.tar.gz"))
    if len(found) != 1:
        raise FleetError(f"make release made {len(found)} archives")
    return Release(found[0], hashlib.sha256(found[0].read_bytes()).hexdigest(), f"releases/{name}.tar.gz")


def with_a_migration(tree: Path) -> None:
    """The next release: a version of its own, and a migration that the one before does not have."""
    file = tree / "pyproject.toml"
    file.write_text(re.sub(r'(?m)^version = ".*"', 'version = "99.0.0"', file.read_text()))
    to = tree / "common/storage/migrations/gatherer/9999_rehearsal.sql"
    to.write_text(SQL["next_release"] + "\n")


def modules() -> Path:
    """The module that renders the machines' user data."""
    return ROOT / "modules" / "configuration"
