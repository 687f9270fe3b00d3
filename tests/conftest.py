"""Shared by all tests: where the recordings are, and an embedded server for tests that need a database."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from common.storage.embedded import EmbeddedServer
from tests.support.databases import Database, new_database
from workshop.generate import terraform

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
os.environ["FLEET_PORTS"] = f"{12_000 + WORKER * 5_000}-{16_999 + WORKER * 5_000}"  # up to four workers, side by side


def pytest_report_header() -> str:
    """Print whether real frames are replayed."""
    folder = os.environ.get("KALSHI_RECORDINGS")
    return f"real recordings: {folder or 'KALSHI_RECORDINGS is not set: the replay tests are skipped'}"


@pytest.fixture(scope="session")
def recordings() -> list[Path]:
    """The real recordings, smallest first; the test is skipped, with that reason, if there are none."""
    folder = os.environ.get("KALSHI_RECORDINGS")
    found = sorted(Path(folder).rglob("*.ndjson.gz"), key=lambda f: f.stat().st_size) if folder else []
    if not found:
        pytest.skip("KALSHI_RECORDINGS names no folder with recordings")
    return found


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that the database's user can enter."""
    with tempfile.TemporaryDirectory(prefix="kalshi-test-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest_asyncio.fixture
async def own_server(open_folder: Path) -> AsyncIterator[EmbeddedServer]:
    """A running embedded PostgreSQL for one test alone."""
    async with EmbeddedServer(open_folder / "db") as running:
        yield running


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Database]:
    """An empty database, at a server that tests share."""
    async with new_database() as made:
        yield made


@pytest.fixture(scope="session")
def terraform_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the Terraform files, with their provider."""
    root = terraform.copied(tmp_path_factory.mktemp("terraform") / "tree")
    terraform.initialise(root)
    return root
