"""A machine: Debian's base under an overlay, booted by systemd-nspawn in a network namespace of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

from common.errors import FleetError
from workshop.rehearsal.boot import image
from workshop.rehearsal.boot.cloud import CLOUD_IP, METADATA_IP, NAMES, PRODUCTION_IP, TIME_IP, Cloud, Instance
from workshop.rehearsal.boot.host import CACHE, run
from workshop.rehearsal.boot.rendered import FLEET, GATHERER, MONITORING, PRODUCTION, VOLUME

NETWORK: Final = f"kfb{os.getpid()}"  # of this rehearsal alone: several do not meet
OWN: Final = "own"
IPS: Final = {GATHERER: "10.42.0.11", "deduplicator": "10.42.0.12", OWN: "10.42.0.13", MONITORING: "10.42.0.14"}
DEVICE: Final = f"nvme-Amazon_Elastic_Block_Store_{VOLUME.replace('-', '')}"
# boto3 brings authorities of its own: a program finds the rehearsal's where AWS's would be.
AUTHORITIES: Final = "[Manager]\nDefaultEnvironment=AWS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt\n"
DATASOURCE: Final = """datasource_list: [Ec2]
datasource: {Ec2: {strict_id: false, apply_full_imds_network_config: false}}
network: {config: disabled}
locale: false
"""
WAIT_S: Final = 60.0


def lay_network() -> None:
    """One namespace for the cloud, with a bridge that the machines' own are joined to."""
    run("ip", "netns", "add", NETWORK)
    for command in (
        ("link", "set", "lo", "up"),
        ("link", "add", "br0", "type", "bridge"),
        *(("addr", "add", f"{ip}/16", "dev", "br0") for ip in (CLOUD_IP, PRODUCTION_IP)),
        *(("addr", "add", f"{ip}/32", "dev", "br0") for ip in (METADATA_IP, TIME_IP)),
        ("link", "set", "br0", "up"),
    ):
        run("ip", "-n", NETWORK, *command)


def remove_network() -> None:
    """All namespaces of a rehearsal."""
    for name in run("ip", "netns", "list").split():
        if name == NETWORK or name.startswith(f"{NETWORK}-"):
            run("ip", "netns", "del", name, check=False)


class Machine:
    """`number` is EC2's instance id; a replacement is another Machine of the same name."""

    def __init__(self, folder: Path, name: str, number: int, cloud: Cloud, device: str | None) -> None:
        self.name, self.instance, self.ip = name, f"i-{number:017x}", IPS[name]
        self._folder, self._cloud, self._device = folder / f"{name}-{number}", cloud, device
        self._process: subprocess.Popen[bytes] | None = None
        self.root = self._folder / "root"

    # -- made, started, ended --------------------------------------------------------------------------------------

    def make(self, user_data: bytes) -> None:
        """A root of its own, and what EC2 would give it."""
        upper, work = self._folder / "upper", self._folder / "work"
        for path in (upper, work, self.root):
            path.mkdir(parents=True)
        layers = f"lowerdir={image.base()},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, self.root)
        names = "\n".join(f"{CLOUD_IP} {name}" for name in NAMES)
        own = "\n".join(f"{ip} {name}.{FLEET}.internal" for name, ip in IPS.items())
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{names}\n{own}\n{PRODUCTION_IP} {PRODUCTION}\n")
        (self.root / "etc/resolv.conf").write_text("")
        (self.root / "etc/machine-id").write_text("")
        authority = self.root / "usr/local/share/ca-certificates/rehearsal.crt"
        shutil.copy(self._cloud.authority, authority)
        run("chroot", self.root, "update-ca-certificates")
        settings = self.root / "etc/systemd/system.conf.d/rehearsal.conf"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(AUTHORITIES)
        sources = self.root / "etc/apt/sources.list.d"
        for file in (*sources.iterdir(), *(self.root / "etc/apt/apt.conf.d").glob("99*")):
            file.unlink()
        shutil.rmtree(self.root / "var/lib/apt/lists")
        key = self.root / "usr/share/keyrings/rehearsal.asc"
        shutil.copy(CACHE / "key.asc", key)
        line = f"deb [signed-by=/usr/share/keyrings/rehearsal.asc] http://deb.debian.org/debian {image.SUITE} main\n"
        (sources / "debian.list").write_text(line)
        (self.root / "etc/cloud/cloud.cfg.d/99-rehearsal.cfg").write_text(DATASOURCE)
        (self.root / "etc/cloud/ds-identify.cfg").write_text("policy: enabled\ndatasource: Ec2\n")
        self._cloud.instances[self.ip] = Instance(self.instance, self.ip, user_data, f"{FLEET}-{self.name}")
        self._join_network()

    def _join_network(self) -> None:
        own, link = f"{NETWORK}-{self.name}", f"v{self.name[:12]}"
        run("ip", "netns", "del", own, check=False)
        run("ip", "-n", NETWORK, "link", "del", link, check=False)
        run("ip", "netns", "add", own)
        run("ip", "-n", NETWORK, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", own)
        run("ip", "-n", NETWORK, "link", "set", link, "master", "br0", "up")
        for command in (
            ("addr", "add", f"{self.ip}/16", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
            ("route", "add", "default", "via", CLOUD_IP),
        ):
            run("ip", "-n", own, *command)

    def boot(self) -> None:
        """Power on. A volume that it has already is there from the beginning."""
        shutil.rmtree(f"/run/systemd/nspawn/propagate/{self.name}", ignore_errors=True)
        console = (self._folder / "console.log").open("ab")
        self._process = subprocess.Popen(
            [
                "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", f"--directory={self.root}",
                f"--machine={self.name}", f"--network-namespace-path=/run/netns/{NETWORK}-{self.name}",
                "--resolv-conf=off", "--link-journal=no", "--console=pipe", "--capability=CAP_SYS_TIME",
                *([f"--bind={self._device}"] if self._device else []),
            ],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console,
        )  # fmt: skip
        self._leader = self._wait_for_leader()
        self._show_what_is_attached()

    def reboot(self) -> None:
        """As a person or an update does it; the machine is off for a moment between."""
        assert self._process is not None
        self.run("systemctl", "reboot", check=False)
        try:
            self._process.wait(timeout=WAIT_S)
        except subprocess.TimeoutExpired:
            self.cut_power()
        self.boot()

    def cut_power(self) -> None:
        """And the volume stays its own, until it is detached."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        """As EC2 ends a machine: an orderly stop, then it is gone with its root."""
        if self._process is not None and self._process.poll() is None:
            self.run("systemctl", "poweroff", check=False)
            try:
                self._process.wait(timeout=WAIT_S)
            except subprocess.TimeoutExpired:
                self.cut_power()
        self._process = None
        run("umount", "--lazy", self.root, check=False)

    def _wait_for_leader(self) -> int:
        assert self._process is not None
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
            for pid in children.read_text().split() if children.exists() else ():
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                        return int(pid)
            if self._process.poll() is not None:
                raise FleetError(f"{self.name} did not boot:\n{self.console()}")
            time.sleep(0.1)
        raise FleetError(f"{self.name} did not boot in time:\n{self.console()}")

    # -- its volume ------------------------------------------------------------------------------------------------

    def _show_what_is_attached(self) -> None:
        if self._device and self._cloud.volume.held_by == self.instance:
            self.show_volume(self._cloud.volume.late_s)

    def show_volume(self, after_s: float) -> None:
        """Let the device appear."""

        def show() -> None:
            time.sleep(after_s)
            with contextlib.suppress(OSError):
                place = Path(f"/proc/{self._leader}/root/dev/disk/by-id")
                place.mkdir(parents=True, exist_ok=True)
                (place / DEVICE).symlink_to(str(self._device))

        threading.Thread(target=show, daemon=True).start()

    # -- looking at it ---------------------------------------------------------------------------------------------

    def run(self, *command: str, check: bool = True, stdin: str | None = None) -> str:
        """Run a program on the machine, as root."""
        enter = ("nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root")
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return run(*enter, "env", "-C", "/", "-i", path, *command, check=check, stdin=stdin)

    def state(self, unit: str) -> str:
        """A unit's state, as systemctl reports it."""
        return self.run("systemctl", "is-active", unit, check=False).strip()

    def journal(self, unit: str, lines: int = 20) -> str:
        """The last lines of a unit."""
        return self.run("journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(lines), "-u", unit, check=False)

    def console(self, lines: int = 20) -> str:
        """The last lines of the console."""
        file = self._folder / "console.log"
        return "\n".join(file.read_text(errors="replace").splitlines()[-lines:]) if file.exists() else ""
