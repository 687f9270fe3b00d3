"""A wheel in an environment of its own, outside of the repository: the fleet's as a machine has it, the library's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from common.process import end_with_parent_of
from workshop.rehearsal.local import FleetPlan, LocalFleet

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements-run.lock"
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
RUN_S = 120
OURS = "PYTHON", "VIRTUAL_ENV", "FLEET_", "COVERAGE"
"""How variables of this environment begin that are none of a machine."""


def packages() -> list[str]:
    """Of which the wheel is made."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    return [pattern.rstrip("*") for pattern in settings["packages"]["find"]["include"]]


def sources(*folders: str) -> set[str]:
    """The files of these packages, or folders."""
    files = (file for folder in folders or packages() for file in (ROOT / folder).rglob("*"))
    return {str(file.relative_to(ROOT)) for file in files if file.is_file() and "__pycache__" not in file.parts}


def build(folder: Path) -> list[Path]:
    """The wheels, the fleet's and the library's, made in a copy: setuptools leaves its folders where it builds."""
    tree = folder / "tree"
    about = ("pyproject.toml", "README.md", "LICENSE")
    for name in (*sources(), *sources("client/src/kalshi_fleet"), *about, *(f"client/{name}" for name in about)):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    subprocess.run(
        [*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, tree, tree / "client"], check=True
    )
    return [next(folder.glob(f"{name}-*.whl")) for name in ("kalshi_fleet", "kalshi_fleet_client")]


def locked() -> dict[str, str]:
    """What `requirements-run.lock` names: distributions, and the version of each."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK.read_text(), re.MULTILINE))


def needed(distribution: str) -> set[str]:
    """What a distribution that is installed here needs, with what that needs, no extra: names."""
    found: set[str] = set()
    for line in metadata.requires(distribution) or ():
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            found |= {wanted.name, *needed(wanted.name)}
    return found


class Environment:
    """An environment with wheels and what they need, and nothing else."""

    def __init__(self, folder: Path) -> None:
        """Commands run in a folder beside it, in which nothing lies."""
        self.folder, self.outside = folder / "environment", folder / "outside"
        self.outside.mkdir()
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}

    @classmethod
    def installed(cls, folder: Path, wheels: Sequence[Path]) -> Environment:
        """By pip, from the registry, as machines do it (deploy/terraform/modules/configuration/scripts/bootstrap)."""
        made = cls(folder)
        subprocess.run([sys.executable, "-m", "venv", made.folder], check=True)
        pip = (made.folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check")
        subprocess.run([*pip, "--require-hashes", "-r", LOCK], check=True, cwd=made.outside)
        subprocess.run([*pip, "--no-deps", *wheels], check=True, cwd=made.outside)
        return made

    @classmethod
    def of_registry(cls, folder: Path, wheel: Path) -> Environment:
        """By pip, with what the wheel itself says that it needs, as people install it."""
        made = cls(folder)
        subprocess.run([sys.executable, "-m", "venv", made.folder], check=True)
        pip = (made.folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check")
        subprocess.run([*pip, wheel], check=True, cwd=made.outside)
        return made

    @classmethod
    def borrowed(cls, folder: Path, wheels: Sequence[Path], names: Iterable[str]) -> Environment:
        """Without a registry: links to these distributions, as they are installed here; the rest is hidden."""
        made = cls(folder)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", made.folder], check=True)
        site = next(made.folder.glob("lib/python*/site-packages"))
        for name in names:
            distribution = metadata.distribution(name)
            for entry in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
                (site / entry).symlink_to(Path(str(distribution.locate_file(entry))))
        subprocess.run([*PIP, "--python", made.folder, "install", "--no-deps", "--no-index", *wheels], check=True)
        return made

    def run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """A program of the environment, to its end."""
        command = [self.folder / "bin" / program, *arguments]
        return subprocess.run(
            command,
            cwd=self.outside,
            env=self.variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=RUN_S,
        )


class InstalledFleet(LocalFleet):
    """A local fleet whose programs are those of an environment; S3 is this one's."""

    def __init__(self, plan: FleetPlan, environment: Environment) -> None:
        """In a temporary folder."""
        super().__init__(plan)
        self._installed = environment

    def spawn(self, name: str, *command: str, pipe: bool = False) -> subprocess.Popen[bytes]:
        """Start a program: a machine has no `python -m`, and nothing of the repository on its path."""
        program, *arguments = command
        if program == "moto.server":
            return super().spawn(name, *command, pipe=pipe)
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [self._installed.folder / "bin" / program, *arguments],
                cwd=self._installed.outside,
                env=self._installed.variables | {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else log,
                stderr=log,
                preexec_fn=end_with_parent_of(os.getpid()),
            )
        self.processes[name] = process
        return process
