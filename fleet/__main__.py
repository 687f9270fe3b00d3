"""`fleet`: the operator's command line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from fleet.commands import ask, check, look, mend, rebuild, setup
from fleet.commands.base import main

__all__ = ["ask", "check", "look", "main", "mend", "rebuild", "setup"]

BESIDE = Path(__file__).parents[1] / "workshop"
"""In a checkout: what builds and proves the fleet. It has `fleet demo`, `up` and `down`, and needs what tests need."""


def _of_the_workshop() -> None:
    """Its commands, where it is; elsewhere they say where they are to be had."""
    if BESIDE.is_dir():
        sys.path.append(str(BESIDE.parent))
        importlib.import_module("workshop.commands")
        return
    for name in ("demo", "up", "down"):

        @main.command(name, hidden=True, context_settings={"ignore_unknown_options": True})
        @click.argument("rest", nargs=-1)
        def absent(rest: tuple[str, ...]) -> None:
            raise click.UsageError("a fleet for trying it out comes with the repository: in a clone of it, `make demo`")


_of_the_workshop()

if __name__ == "__main__":
    main()
