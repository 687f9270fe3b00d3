"""`make release` makes the library's own wheel: installed alone, outside of the repository, it reads an archive."""

from __future__ import annotations

import asyncio
import json
import tarfile
import tomllib
import zipfile
from datetime import timedelta
from importlib import metadata
from pathlib import Path

import pytest

import kalshi_fleet
from tests.support.archive_case import OLD, copied, running_site
from tests.support.installed import ROOT, Environment, needed
from workshop.rehearsal.boot.image import release

NAME = "kalshi-fleet-client"
SOURCES = ROOT / "client" / "src"
READS = """
import importlib.util, json, sys
import kalshi_fleet as kf

folder, start, end = sys.argv[1:]
archive = kf.Archive(folder)
changes = archive.changes("KXA-1", start, end)
events = list(archive.replay("KXA-1", start, end, unsealed=True))
others = ["common", "deduplicator", "fleet", "gatherer", "pandas", "polars", "aiohttp", "boto3"]
print(json.dumps({
    "version": kf.__version__,
    "file": kf.__file__,
    "ordinals": [row["ordinal"] for row in changes],
    "delta": str(changes.to_arrow()["delta"][0]),
    "counted": archive.sql("SELECT count(*) AS n FROM orderbook_deltas").to_pylist(),
    "replayed": sorted({type(event).__name__ for event in events}),
    "production": kf.Production("postgresql://nobody@127.0.0.1:9/nothing").__class__.__name__,
    "others": [name for name in others if importlib.util.find_spec(name)],
}))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make release` makes of the tree as it is."""
    folder = tmp_path_factory.mktemp("release")
    return release(folder, "this").file.parent


@pytest.fixture(scope="module")
def wheel(made: Path) -> Path:
    """The library's."""
    (found,) = made.glob("*.whl")
    return found


@pytest.fixture(params=["borrowed", pytest.param("registry", marks=pytest.mark.long)])
def environment(request: pytest.FixtureRequest, wheel: Path, tmp_path: Path) -> Environment:
    """Of links to what is installed here; in the long tests by pip from the registry."""
    if request.param == "registry":
        return Environment.of_registry(tmp_path, wheel)
    return Environment.borrowed(tmp_path, [wheel], needed(NAME))


def test_its_wheel_is_the_library_alone_in_its_version(wheel: Path) -> None:
    """Every file of it, its statements and its types; the version is that of the module."""
    version = tomllib.loads((ROOT / "client/pyproject.toml").read_text())["project"]["version"]
    assert kalshi_fleet.__version__ == version == metadata.version(NAME)
    assert wheel.name == f"kalshi_fleet_client-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = {file for file in (SOURCES / "kalshi_fleet").rglob("*") if file.is_file()}
    assert names == {str(file.relative_to(SOURCES)) for file in files if "__pycache__" not in file.parts}


def test_what_machines_get_is_made_beside_it(made: Path) -> None:
    """The fleet's wheel is in the archive, and the library's, which the fleet needs."""
    (archive,) = made.glob("kalshi-fleet-*.tar.gz")
    with tarfile.open(archive) as content:
        names = content.getnames()
    wheels = sorted(Path(name).name.split("-")[0] for name in names if name.endswith(".whl"))
    assert wheels == ["kalshi_fleet", "kalshi_fleet_client"]


async def test_installed_alone_it_reads_an_archive(
    environment: Environment, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, a replay, SQL; with nothing of the fleet and no extra beside it."""
    async with running_site(open_folder, monkeypatch) as site:
        await site.exporter.export_due()
        folder = copied(site, open_folder)
    start = OLD + timedelta(hours=5)
    words = (folder, start.isoformat(), (start + timedelta(hours=1)).isoformat())
    done = await asyncio.to_thread(environment.run, "python", "-c", READS, *words)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert Path(said.pop("file")).is_relative_to(environment.folder)
    assert said == {
        "version": kalshi_fleet.__version__,
        "ordinals": [0, 1, 2],
        "delta": "0.05",
        "replayed": ["Book", "Change"],
        "counted": [{"n": 7}],
        "production": "Production",
        "others": [],
    }
