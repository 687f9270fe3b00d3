"""`fleet`: the operator's command line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from common import cli
from fleet.commands import ask, check, look, mend, rebuild, setup
from fleet.commands.base import main

__all__ = ["ask", "check", "look", "main", "mend", "rebuild", "setup"]

BESIDE = Path(__file__).parents[1] / "workshop"
"""In a checkout: what builds and proves the fleet. It has `fleet demo`, `up` and `down`, and needs what tests need."""
ELSEWHERE = "a fleet for trying it out comes with the repository: in a clone of it, `make demo`"


def _of_the_workshop() -> None:
    """Its commands, where it is; elsewhere they print where they are to be had."""
    if (BESIDE / "commands.py").is_file():
        sys.path.append(str(BESIDE.parent))
        importlib.import_module("workshop.commands")
        return
    for name in ("demo", "up", "down"):
        rest = click.Argument(["rest"], nargs=-1, type=click.UNPROCESSED, expose_value=False)
        text, settings = f"Not here: {ELSEWHERE}.", {"ignore_unknown_options": True}
        main.add_command(click.Command(name, settings, _absent, [rest], text, hidden=True))


def _absent() -> None:
    click.echo(ELSEWHERE, err=True)
    sys.exit(cli.EXIT_CONFIG)


_of_the_workshop()

if __name__ == "__main__":
    main()
