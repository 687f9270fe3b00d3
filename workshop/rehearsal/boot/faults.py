"""Faults that can be planted by name: each was seen on the first boot of all, and each must be found again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.errors import FleetError


def edited(text: str, *changes: tuple[str, str]) -> str:
    """The text with each change made. Raises `FleetError` if something is not there to be changed."""
    for right, wrong in changes:
        planted, times = re.subn(right, wrong, text, flags=re.MULTILINE)
        if not times:
            raise FleetError(f"cannot plant the fault: nothing is like {right!r}")
        text = planted
    return text


@dataclass(frozen=True)
class BootFault:
    """What is wrong, the scene that must find it, and the edits that make it so."""

    what: str
    found_by: str
    scenes: tuple[str, ...]
    seen: str = ""
    """What the failure must speak of, so that nothing else counts as finding it."""
    in_the_document: Callable[[str], str] = lambda text: text
    in_the_tree: Callable[[Path], None] = lambda tree: None


def _document(*changes: tuple[str, str]) -> Callable[[str], str]:
    return lambda text: edited(text, *changes)


def _file(path: str, *changes: tuple[str, str]) -> Callable[[Path], None]:
    def edit(tree: Path) -> None:
        file = tree / path
        file.write_text(edited(file.read_text(), *changes))

    return edit


FIRST: Final = ("first-boot",)
FAULTS: Final = {
    "settings-unreadable": BootFault(
        "the migration reads a setting that only a superuser may read",
        "first-boot",
        FIRST,
        seen=r"to examine",
        in_the_tree=_file(
            "common/storage/migrations/gatherer/0002_hours.sql",
            (r"current_setting\('timescaledb.disable_load', true\) IS NOT NULL",
             "current_setting('shared_preload_libraries') LIKE '%timescaledb%'"),
        ),
    ),
    "cluster-made-on-the-volume": BootFault(
        "the cluster is made on the volume, which works once",
        "replaced-while-held",
        ("first-boot", "replaced-while-held"),
        seen=r"(?m)^Error: ",
        in_the_document=_document(
            (r"pg_createcluster", "pg_createcluster -d /srv/kalshi-data/postgresql"),
            (r'if \[ ! -e "\$data/PG_VERSION" \]; then # moved', "if false; then # moved"),
            (r'    rm -rf "/var/lib/postgresql/\$POSTGRESQL/main" # empty, or moved\n', ""),
        ),
    ),
    "database-down-after-a-reboot": BootFault(
        "the database is started by Debian's own unit, which does not wait for the volume",
        "reboot",
        ("first-boot", "reboot"),
        seen=r"postgresql@15-main inactive",
        in_the_document=_document(
            (r"--start-conf manual", "--start-conf auto"),
            (r'^( +)systemctl start "\$cluster"$', r'\1[ -e /once ] || systemctl start "$cluster"; touch /once'),
        ),
    ),
    "one-failure-is-final": BootFault(
        "a momentary failure of Secrets Manager leaves the gatherer dead",
        "secrets-away",
        ("first-boot", "secrets-away"),
        seen=r"kalshi-boot failed",
        in_the_document=_document(
            (r"ExecStart=/opt/kalshi-machine/bootstrap\n( +)TimeoutStartSec=infinity\n +Restart=on-failure",
             r"ExecStart=/opt/kalshi-machine/bootstrap\n\1TimeoutStartSec=infinity"),
        ),
    ),
    "nobody-can-come-in": BootFault(
        "nothing installs the session agent", "first-boot", FIRST,
        seen=r"a person can come in",
        in_the_document=_document((r'- "kalshi-session.service"\n', "\n"))
    ),
    "another-log-stream": BootFault(
        "lines go to a stream that the role may not write", "first-boot", FIRST,
        seen=r"in the log stream",
        in_the_document=_document((r'LOG_STREAM="kalshi-fleet-', 'LOG_STREAM="')),
    ),
    "units-that-fail-are-not-shipped": BootFault(
        "only the service's own lines are shipped", "first-boot", FIRST,
        seen=r"in the log stream",
        in_the_document=_document((r'OWN = \("kalshi-", ', 'OWN = ("kalshi-gatherer", ')),
    ),
    "newer-extension-on-the-machine": BootFault(
        "the package is newer than the volume's database, which is not updated first",
        "next-release",
        ("first-boot", "next-release"),
        seen=r"TimescaleDB is older|another version|could not access file",
        in_the_document=_document(
            (r"^ +as_postgres -d kalshi -c .ALTER EXTENSION timescaledb UPDATE.*\n +\|\| ", "    "),
        ),
    ),
    "cannot-be-run-again": BootFault(
        "bootstrap makes the cluster whether there is one or not", "bootstrap-again", ("first-boot", "bootstrap-again"),
        seen=r"restart kalshi-boot failed",
        in_the_document=_document(
            (r'\[ -e "/etc/postgresql/\$POSTGRESQL/main/postgresql.conf" \] \\\n +\|\| pg_createcluster',
             "pg_createcluster"),
        ),
    ),
    "old-password-set-again": BootFault(
        "bootstrap does not fetch the secrets again", "rotated-secrets", ("first-boot", "rotated-secrets"),
        seen=r"password authentication failed",
        in_the_document=_document((r"systemctl restart kalshi-secrets", "systemctl start kalshi-secrets")),
    ),
}  # fmt: skip
