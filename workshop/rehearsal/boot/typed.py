"""The runbooks' commands: each is typed on the machine that it is for, or has a reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from common.errors import FleetError
from workshop.rehearsal.boot.host import PROJECT
from workshop.rehearsal.boot.rendered import DEDUPLICATOR, FLEET, GATHERER

RUNBOOKS: Final = PROJECT / "docs/runbooks"
TICKER: Final = "KXSIM-0-T0.00"
AS_THE_SERVICE: Final = (
    "systemd-run --pipe --wait --quiet --uid=kalshi -p EnvironmentFile=/run/kalshi/secrets.env"  # as the README has it
)
MOMENT: Final = r"20\d\d-\d\d-\d\dT\d\d:\d\d"
MINUTES_AGO: Final = (10, 5)
"""What a page's first and second moment become."""
NOT_TYPED: Final = {
    r"gatherer --config|deduplicator --config": "the unit starts it",
    r"gatherer-d": "a fourth gatherer is not here",
    r"pg_dump|pg_restore|dropdb|createdb": "tests/fleet/test_backups.py does it to a fleet",
    r"fleet rebuild": "tests/fleet/test_rebuild.py does it to a fleet",
    r"fleet migrate --config configs/deduplicator": "it needs the owner: the machines' README has it so, and is typed",
    r"--retire": "the consumer is the only one",
    r"fleet heal .*--without": "tests/fleet/test_runbooks.py does it to a fleet with a contradiction",
    r"fleet probe": "it needs ten minutes of an exchange by itself",
    r"INSERT INTO|^SELECT": "for a database that was broken first",
}
"""Patterns of commands that are not typed on the machines, each with why."""
CHANGED: Final = (
    (r"configs/gatherer-a\.yaml", "/etc/kalshi/gatherer.yaml"),
    (r"configs/deduplicator\.yaml", "/etc/kalshi/deduplicator.yaml"),
    (r" http://gatherer-[bcd]:8080", ""),
    (r"--expect [34]", "--expect 1"),
    (r"http://(gatherer-a|deduplicator):", rf"http://\1.{FLEET}.internal:"),
    (r"\bTICKER\b", TICKER),
    (r"^fleet ", f"{AS_THE_SERVICE} /opt/kalshi-fleet/bin/fleet "),
)
"""What is other here than on the page: places, names, and one gatherer instead of three."""


@dataclass(frozen=True)
class Typed:
    """A command of a page, where it is typed, and as what."""

    page: str
    line: str
    machine: str
    command: str


def commands(folder: Path = RUNBOOKS) -> list[tuple[str, str]]:
    """Page and line of each indented command, each line once."""
    found: dict[str, str] = {}
    for page in sorted(folder.rglob("*.md")):
        text = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
        for line in re.findall(r"(?m)^ {4,}(\S.*)$", text):
            found.setdefault(line.partition("  #")[0].rstrip(), page.name)
    return [(page, line) for line, page in found.items()]


def why_not(line: str) -> str | None:
    """The reason for which it is not typed, or None."""
    return next((why for pattern, why in NOT_TYPED.items() if re.search(pattern, line)), None)


def of_the_machines(now: datetime | None = None) -> list[Typed]:
    """All runbooks' commands that are typed on the machines, but those of AWS. Raises `FleetError` for one that nobody
    knows where to type."""
    now, typed = now or datetime.now(UTC), []
    for page, line in commands():
        if why_not(line) is not None or line.startswith("aws "):
            continue
        command = line
        for pattern, here in CHANGED:
            command = re.sub(pattern, here, command)
        ago = iter(MINUTES_AGO)
        parts = re.split(MOMENT, command)
        command = parts[0] + "".join(f"{now - timedelta(minutes=next(ago)):%Y-%m-%dT%H:%M}{part}" for part in parts[1:])
        typed.append(Typed(page, line, _machine(line), command))
    return typed


def of_aws() -> list[Typed]:
    """The runbooks' commands for AWS's own program."""
    return [Typed(page, line, DEDUPLICATOR, line) for page, line in commands() if line.startswith("aws ")]


def _machine(line: str) -> str:
    if re.search(r"gatherer-a\.yaml|kalshi-gatherer|127\.0\.0\.1:8080(?!.*8081)|^(df|journalctl|systemctl) ", line):
        return GATHERER
    if re.search(r"deduplicator|127\.0\.0\.1:8081|http://gatherer-a:8080", line):
        return DEDUPLICATOR
    raise FleetError(f"nobody knows where to type: {line}")
