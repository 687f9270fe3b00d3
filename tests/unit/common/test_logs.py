"""Logs: every event is documented, no line holds a secret, and what repeats itself is limited."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from common import redact
from common.config.load import load_any
from common.errors import ConfigError
from common.log_limit import PASSED, WINDOW_S, Limit

ROOT = Path(__file__).parents[3]
LEVELS = {"debug", "info", "warning", "error", "exception"}
OF_A_GAP = {"gap", "listed", "known", "inserted"}
BOUND = {
    "check_failed": {"check", "hour", "examples"},
    "gap_refilled": OF_A_GAP,
    "gap_not_refilled": OF_A_GAP,
    "trades_missing_within_coverage": OF_A_GAP,
}
"""Fields that an event gets from elsewhere than its own line."""
KEY = " ".join(("PRIVATE", "KEY"))  # none is here, and nobody should find one
WORD = "kx9-Very/Secret+word"
CONFIG = """\
deduplicator_id: deduplicator
gatherers:
  - {id: gatherer-a, dsn: "postgresql://reader:${READER}@gatherer-a/kalshi"}
production: {dsn: "postgresql://deduplicator:kx9-Very%2FSecret%2Bword@production/kalshi"}
kalshi: {rest_url: "https://exchange.example", key_id: 0f3c9a77-1111-4222-8333-444455556666, private_key_file: k.pem}
http: {page: {password: a-page-password}}
"""


def said() -> dict[tuple[str, str], set[str]]:
    """Events and their levels, by the code; with the fields of their calls."""
    found: dict[tuple[str, str], set[str]] = {}
    for package in ("common", "gatherer", "deduplicator", "fleet"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                of = ast.unparse(node.func.value)
                if node.func.attr in LEVELS and (of.endswith(("log.get()", "told")) or of == "get()"):
                    level = "error" if node.func.attr == "exception" else node.func.attr
                    named = node.args[0]
                    either = (named.body, named.orelse) if isinstance(named, ast.IfExp) else (named,)
                    names = [ast.literal_eval(name) for name in either]
                    fields = {keyword.arg.replace("exc_info", "exception") for keyword in node.keywords if keyword.arg}
                    for name in names:
                        found.setdefault((name, level), set()).update(fields | BOUND.get(name, set()))
    return found


def documented() -> dict[tuple[str, str], set[str]]:
    """The same by the page."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*)\| ", (ROOT / "docs/logs.md").read_text(), re.MULTILINE)
    found: dict[tuple[str, str], set[str]] = {}
    for name, level, fields in rows:
        found.setdefault((name, level), set()).update(fields.strip().split(", ") if fields.strip() else ())
    return found


def test_every_event_is_on_the_page_with_its_fields() -> None:
    """And nothing on it that no process says."""
    code, page = said(), documented()
    assert len(code) > 50
    assert code.keys() == page.keys()
    for event, fields in code.items():
        assert fields == page[event], event


def test_secrets_are_masked_by_their_form() -> None:
    """In whatever text; what is no secret stays."""
    for text, left in (
        ("postgresql://u:p@ss/w0rd@host:5432/db?x=1", "postgresql://u:**********@host:5432/db?x=1"),
        ("user=u password=hunter2 host=h", "user=u password=********** host=h"),
        ("{'KALSHI-ACCESS-SIGNATURE': 'abc+/=='}", "{'KALSHI-ACCESS-SIGNATURE': '**********'}"),
        ("Authorization: Basic a2Fsc2hpOng=", "Authorization: **********"),
        (f"-----BEGIN RSA {KEY}-----\nMIIE\n-----END RSA {KEY}-----\nx", "**********\nx"),
        (f"-----BEGIN {KEY}-----\nMIIE", "**********"),
        ("https://host/path:1@2", "https://host/path:1@2"),
        ("unexpected token: X at KXA-1", "unexpected token: X at KXA-1"),
        ("password authentication failed for user reader", "password authentication failed for user reader"),
    ):
        assert redact.text(text) == left


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A file whose secrets are known from its loading on."""
    file = tmp_path / "deduplicator.yaml"
    file.write_text(CONFIG)
    load_any(file, {"READER": "letmein-7"})
    return file


def test_secrets_of_the_configuration_are_masked_by_their_text(config: Path) -> None:
    """Also as they are written in an address, at every depth, and of any type; names are not."""
    given = {"a": [f"the server said {WORD}", {"b": ValueError("kx9-Very%2FSecret%2Bword")}], "n": 5, "m": None}
    shown = json.dumps(redact.value(given))
    assert WORD not in shown and "%2FSecret" not in shown and shown.count(redact.MASK) == 2
    assert redact.value({"n": 5, "m": None, "t": True}) == {"n": 5, "m": None, "t": True}
    masked = redact.text("letmein-7 0f3c9a77-1111-4222-8333-444455556666 a-page-password gatherer-a reader")
    assert masked == f"{redact.MASK} {redact.MASK} {redact.MASK} gatherer-a reader"


@pytest.mark.parametrize(
    "changed",
    [
        ("production: {dsn: ", "production: {dsn: 5, x: "),
        ("production: {dsn: ", "production: ["),
        ('gatherers:\n  - {id: gatherer-a, dsn: "', 'gatherers: ["'),
        ("id: gatherer-a", "id: 'X ${READER}'"),
        ("password: a-page-password", "password: 123"),
        ("http: {page: {password: a-page-password}}", "http: {page: a-page-password}"),
        ("rest_url: ", "rest_url: [x], y: "),
    ],
)
def test_errors_of_the_configuration_hold_no_secret(tmp_path: Path, changed: tuple[str, str]) -> None:
    """Wherever the mistake is."""
    file = tmp_path / "deduplicator.yaml"
    file.write_text(CONFIG.replace(*changed).replace("]}", "]").replace("page: a-page", "page: {x: 1}, y: a-page"))
    with pytest.raises(ConfigError) as refused:
        load_any(file, {"READER": "letmein-7"})
    for secret in ("letmein-7", "kx9-Very", "a-page-password", "0f3c9a77"):
        assert secret not in str(refused.value)


def test_lines_and_traces_of_a_process_hold_no_secret(config: Path) -> None:
    """In a real process, also when something unexpected ends it."""
    program = f"""
import sys
from pathlib import Path
from common import log
from common.config.load import load_any
config = load_any(Path({str(config)!r}), {{"READER": "letmein-7"}})
log.configure(config.logging, process="test")
for n in range(7):
    log.get().warning("production_failed", error="no letmein-7 at postgresql://a:bcdefg@h/d", n=n)
try:
    raise ValueError("in the trace: {WORD}")
except ValueError:
    log.get().exception("task_failed", task="x", error="y")
raise RuntimeError("at the end: letmein-7")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1 and [line["event"] for line in lines] == [
        *["production_failed"] * PASSED, "task_failed", "crashed"
    ]  # fmt: skip
    assert "Traceback" in lines[-1]["exception"] and lines[0]["process"] == "test"
    for secret in ("letmein-7", WORD, "bcdefg"):
        assert secret not in done.stderr


def test_what_repeats_itself_is_counted() -> None:
    """Five in a minute of each kind; another kind, and what is no trouble, passes."""
    now = 0.0
    limit = Limit(lambda: now)

    def passes(level: str = "warning", **fields: Any) -> Any:
        try:
            return limit(None, level, {"level": level, "event": "gatherer_lost", **fields})
        except structlog.DropEvent:
            return None

    assert [bool(passes(gatherer="a", n=n)) for n in range(PASSED + 3)] == [True] * PASSED + [False] * 3
    assert passes(gatherer="b") and passes("error", gatherer="a")
    assert all(passes("info", gatherer="a") for _ in range(20))
    now = WINDOW_S
    assert passes(gatherer="a")["suppressed"] == 3
    assert "suppressed" not in passes(gatherer="a")
