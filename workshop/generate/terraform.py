"""Terraform on this machine: the program, the provider's binary, and runs without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from common.errors import FleetError

ROOT: Final = Path(__file__).parent.parent.parent / "deploy" / "terraform"
PLACES: Final = (Path.home() / ".terraform.d", Path("/opt"), Path("/usr"), Path("/var/lib"))
PROVIDER: Final = "registry.terraform.io/hashicorp/aws"


def provider_folder() -> Path | None:
    """A folder to give as `-plugin-dir`, or None if the AWS provider is nowhere on this machine.

    `TERRAFORM_PLUGINS` may name it.
    """
    if named := os.environ.get("TERRAFORM_PLUGINS"):
        return Path(named)
    for place in PLACES:
        for folder, names, _ in os.walk(place, followlinks=False):
            if Path(folder, PROVIDER).is_dir():
                return Path(folder)
            names[:] = [name for name in names if len(Path(folder, name).parts) < 6]
    return None


def missing() -> str | None:
    """What is needed and not here, or None."""
    if shutil.which("terraform") is None:
        return "no terraform on this machine"
    return None if provider_folder() is not None else "no AWS provider's binary on this machine (TERRAFORM_PLUGINS)"


def terraform(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `terraform ...` in a folder. Raises `FleetError` with what it printed, if it fails and `check` is set."""
    environment = {**os.environ, "TF_IN_AUTOMATION": "1", "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}
    done = subprocess.run(
        ["terraform", *arguments], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    if check and done.returncode:
        raise FleetError(f"terraform {arguments[0]} failed in {folder}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


def initialise(folder: Path) -> None:
    """`terraform init` without a backend and without a network."""
    found = provider_folder()
    if found is None:
        raise FleetError(missing() or "")
    terraform(folder, "init", "-no-color", "-backend=false", f"-plugin-dir={found}")


def copied(to: Path) -> Path:
    """The whole tree, without what previous runs left in it."""
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*"))
    return to
