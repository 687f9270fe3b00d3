"""Logs: no line holds a secret, and what repeats itself is limited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog

from common import redact
from common.config.load import load_any
from common.errors import ConfigError
from common.log_limit import PASSED, WINDOW_S, Limit
from tests.support.secrets_file import CONFIG, WORD

KEY = " ".join(("PRIVATE", "KEY"))  # none is here, and nobody should find one


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
