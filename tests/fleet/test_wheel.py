"""Its wheels and `requirements-run.lock` are all that a machine needs: in an environment that has nothing else, outside
of the repository, every command works, both schemas are made, and a fleet records."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import asyncpg
import click
import pytest

from common.storage.embedded import attach_dsn
from fleet.__main__ import ELSEWHERE, main
from tests.support.databases import Database, new_database
from tests.support.fleet_case import assert_equal, judge
from tests.support.installed import ROOT, Environment, InstalledFleet, build, locked, packages, sources
from tests.support.keys import write_key
from workshop.rehearsal.local import GATHERERS, FleetPlan

OF_THE_REPOSITORY = {"demo", "up", "down"}
IMPORTS_ALL = """
import importlib, pkgutil, sys
for package in sys.argv[1:]:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if module.name != "fleet.rebuild.spark":  # an extra
            importlib.import_module(module.name)
"""
HELPS = """
import sys
from fleet.__main__ import main
for words in sys.argv[1:]:
    main([*words.split(), "--help"], "fleet", standalone_mode=False)
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The fleet's and the library's, built of the tree as it is."""
    return build(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module", params=["borrowed", pytest.param("installed", marks=pytest.mark.long)])
def environment(
    request: pytest.FixtureRequest, wheels: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """Of links to what is installed here; in the long tests by pip from the registry."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "installed":
        return Environment.installed(folder, wheels)
    for name, version in locked().items():
        assert metadata.version(name) == version, f"{name} is not what the lock names: make install"
    return Environment.borrowed(folder, wheels, locked())


def test_the_wheel_is_its_packages_and_nothing_else(wheels: list[Path]) -> None:
    """No file of them is left out: statements, pages, types; nothing of workshop, tests or client is in it."""
    with zipfile.ZipFile(wheels[0]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == sources()
    assert {name.split("/")[0] for name in names} == set(packages())


def commands(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    """Every command, by the words that call it."""
    for name, command in group.commands.items():
        yield (*before, name)
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)


def test_every_module_is_imported_and_every_command_prints_its_help(environment: Environment) -> None:
    """Also what is imported late, by the one command that needs it."""
    done = environment.run("python", "-c", IMPORTS_ALL, *packages())
    assert done.returncode == 0, done.stderr
    for program in ("gatherer", "deduplicator", "simulator", "fleet"):
        done = environment.run(program, "--help")
        assert done.returncode == 0 and done.stdout.startswith(f"Usage: {program} "), done.stderr
    found = [" ".join(words) for words in commands(main)]
    assert len(found) > 20 and set(found) > OF_THE_REPOSITORY
    done = environment.run("python", "-c", HELPS, *found)  # in one process: each takes half a second to start
    usages = [line.split(" [")[0] for line in done.stdout.splitlines() if line.startswith("Usage: ")]
    assert done.returncode == 0 and usages == [f"Usage: fleet {words}" for words in found], done.stderr


def test_a_fleet_for_trying_it_out_is_not_in_it(environment: Environment) -> None:
    """In one line, and at once."""
    for arguments in (("demo",), ("demo", "--keep"), ("up", "--dir", "there"), ("down",)):
        done = environment.run("fleet", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{ELSEWHERE}\n"), arguments
    listed = re.findall(r"^  ([a-z-]+)  ", environment.run("fleet", "--help").stdout, re.MULTILINE)
    assert "gaps" in listed and not OF_THE_REPOSITORY & set(listed)


def test_the_files_of_the_repository_are_correct(environment: Environment) -> None:
    """As they are copied to a machine."""
    files = sorted((ROOT / "configs").glob("*.yaml"))
    assert len(files) == 5
    for file in files:
        copied = shutil.copy(file, environment.outside)
        done = environment.run("fleet", "check-config", "--without-secrets", "--config", copied)
        assert done.returncode == 0 and "a correct" in done.stdout, f"{file.name}: {done.stderr}"


@pytest.mark.parametrize("schema", ["gatherer", "production"])
async def test_both_schemas_are_made(environment: Environment, server: Database, tmp_path: Path, schema: str) -> None:
    """Those that are made in the repository, table by table."""
    key = {"key_id": "k", "private_key_file": str(write_key(tmp_path / "key.pem"))}
    kalshi = {"rest_url": "http://127.0.0.1:9", "ws_url": "ws://127.0.0.1:9", **key}
    own: dict[str, dict[str, object]] = {
        "gatherer": {
            "gatherer_id": "g",
            "database": {"dsn": server.dsn},
            "journal": {"dir": str(tmp_path / "journal")},
        },
        "production": {"gatherers": [{"id": "g", "dsn": server.dsn}], "production": {"dsn": server.dsn}},
    }
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({"kalshi": kalshi, **own[schema]}))
    done = await asyncio.to_thread(environment.run, "fleet", "migrate", "--config", file)
    assert done.returncode == 0, done.stderr
    async with new_database(schema) as expected:  # type: ignore[arg-type]
        assert await tables(server.dsn) == await tables(expected.dsn)


async def tables(dsn: str) -> list[tuple[str, str]]:
    """Of a database, with their schemas."""
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema !~ '^(pg_|information_)'"
        " ORDER BY 1, 2"
    )
    await connection.close()
    assert rows
    return [tuple(row) for row in rows]


async def test_a_fleet_of_it_records(environment: Environment) -> None:
    """Three gatherers and a deduplicator at the simulator: production equals the exchange, and commands find it."""
    async with InstalledFleet(FleetPlan(), environment) as fleet:
        await fleet.start_simulator("--paused")
        await fleet.start_s3()
        for name in GATHERERS:
            fleet.start_gatherer(name)
        fleet.start_deduplicator()
        await fleet.ready(*GATHERERS, "deduplicator")
        await fleet.control("/resume", {})
        await asyncio.sleep(3)
        assert_equal(await judge(fleet, strict=True))
        connection = await asyncpg.connect(attach_dsn(fleet.production_dsn))
        stored = await connection.fetchval("SELECT count(*) FROM orderbook_deltas")
        givers = await connection.fetchval("SELECT count(DISTINCT gatherer) FROM store.claims")
        await connection.close()
        assert stored > 100 and givers == len(GATHERERS)
        config = str(fleet.config("deduplicator"))
        ask = ("query", "SELECT count(*) AS n FROM orderbook_deltas", "--json")
        done = await asyncio.to_thread(environment.run, "fleet", *ask, "--config", config)
        assert json.loads(done.stdout) == [{"n": stored}], done.stderr
        pages = [f"http://127.0.0.1:{fleet.ports[name]}" for name in (*GATHERERS, "deduplicator")]
        done = await asyncio.to_thread(environment.run, "fleet", "status", *pages)
        assert done.returncode == 0, done.stderr
