"""`python -m workshop.rehearsal.births`: exits 0 only if all four statements hold."""

from __future__ import annotations

import asyncio
import sys

import click

from workshop.rehearsal.births.run import Scale, run


@click.command()
@click.option("--seconds", default=Scale.seconds, show_default=True)
@click.option("--births", default=Scale.births, show_default=True, help="and settlements, a second")
@click.option("--changes", default=Scale.changes, show_default=True, help="of other markets' books, a second")
@click.option("--gatherers", default=Scale.gatherers, show_default=True)
def main(seconds: float, births: float, changes: float, gatherers: int) -> None:
    """Let combos be born and settle, and print which of the four statements hold."""
    statements = asyncio.run(run(Scale(seconds, births, gatherers, changes)))
    for statement in statements:
        print(statement.line())
    sys.exit(0 if all(statement.holds for statement in statements) else 1)


if __name__ == "__main__":
    main()
