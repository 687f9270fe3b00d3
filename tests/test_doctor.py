"""The doctor finds what keeps a gatherer from working, and says what mends it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import yaml

from common.storage import migrate
from common.storage.embedded import EmbeddedServer
from fleet.local import LocalFleet, Plan
from tests.keys import write_key

NAME = "gatherer-a"


async def doctor(file: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """`fleet doctor --json`: the exit code, and what is wrong by check."""
    command = [sys.executable, "-m", "fleet", "doctor", "--config", str(file), "--json", *arguments]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert ended.stdout, ended.stderr
    findings = json.loads(ended.stdout)
    assert all(f["ok"] or f["cure"] for f in findings), "each with its cure"
    return ended.returncode, {f["check"]: f for f in findings if not f["ok"]}


async def test_each_obstacle_is_found_with_its_cure(open_folder: Path, tmp_path: Path) -> None:
    """Unreadable key, wrong key, clock skew, no database, old schema, small disk, an account that is too small."""
    plan = Plan(gatherers=(NAME,), simulator=("--markets", "2", "--rate", "10", "--connections-max", "3"))
    async with LocalFleet(plan) as fleet, EmbeddedServer(open_folder / "db") as server:
        await fleet.start_simulator()
        await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
        good = yaml.safe_load(fleet.config(NAME).read_text())
        good["database"]["dsn"] = server.dsn
        good["journal"] = {"dir": str(tmp_path / "journal"), "max_bytes": "100MiB", "segment_bytes": "8MiB"}

        async def examined(*arguments: str, **changes: dict[str, Any]) -> tuple[int, dict[str, dict[str, Any]]]:
            content = {name: {**good.get(name, {}), **changes.get(name, {})} for name in {*good, *changes} - SCALARS}
            file = tmp_path / "gatherer.yaml"
            file.write_text(yaml.safe_dump({**{s: good[s] for s in SCALARS if s in good}, **content}))
            return await doctor(file, *arguments)

        assert await examined() == (0, {})
        assert (await examined("--dial"))[1].keys() == {"connections"}
        code, wrong = await examined("--dial")
        assert code == 1 and "3 of 4 were accepted: HTTP 429" in wrong["connections"]["told"]
        assert "account of its own" in wrong["connections"]["cure"]

        code, wrong = await examined(kalshi={"private_key_file": str(tmp_path / "none.pem")})
        assert code == 1 and wrong.keys() == {"private key"} and "chmod 600" in wrong["private key"]["cure"]

        other = write_key(tmp_path / "other.pem")
        code, wrong = await examined(kalshi={"private_key_file": str(other)})
        assert code == 1 and "does not belong to kalshi.key_id" in wrong["account"]["cure"]
        code, wrong = await examined(kalshi={"key_id": "nobody"})
        assert code == 1 and "not known there" in wrong["account"]["cure"]

        await fleet.control("/faults", {"kind": "clock", "ahead_ms": 40_000})
        code, wrong = await examined()
        assert code == 1 and "off by about -40 s" in wrong["clock"]["told"] and "chrony" in wrong["clock"]["cure"]
        assert "clock is off" in wrong["account"]["cure"]
        await fleet.control("/faults", {"kind": "clock", "ahead_ms": 0})

        code, wrong = await examined(database={"dsn": "postgresql://x:secret-word@127.0.0.1:1/kalshi"})
        assert code == 1 and "cannot be reached" in wrong["database"]["told"]
        assert "secret-word" not in json.dumps(wrong)
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = $1", migrate.names("gatherer")[-1])
        await connection.close()
        code, wrong = await examined()
        assert code == 1 and "older than the code" in wrong["database"]["told"]
        assert "fleet migrate --config" in wrong["database"]["cure"]
        await asyncio.to_thread(_mend, server.dsn)

        code, wrong = await examined(journal={"max_bytes": "900000GiB"})
        assert code == 1 and "journal.max_bytes" in wrong["disk"]["cure"]
        code, wrong = await examined(connections={"orderbook": 250})
        assert code == 1 and "lower `connections`" in wrong["connections"]["cure"]


SCALARS = {"gatherer_id", "workers"}


def _mend(dsn: str) -> None:
    import psycopg

    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('x', %s)",
            (migrate.names("gatherer")[-1],),
        )
