"""Configuration: what is wrong is reported in one line, with file, line, key and cure; secrets are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from common.config.load import check_private_key_file, load_any, load_deduplicator, load_gatherer, load_reader
from common.config.schema import DeduplicatorConfig, GathererConfig, ReaderConfig
from common.errors import ConfigError
from fleet.__main__ import main
from tests.support.gatherer_file import GATHERER, written
from tests.support.keys import write_key

ROOT = Path(__file__).parents[3]


VARIABLES = ("ANALYST_PASSWORD", "KALSHI_KEY_ID", "GATHERER_PASSWORD", "READER_PASSWORD", "PRODUCTION_PASSWORD")


def test_units_defaults_and_substitution(tmp_path: Path) -> None:
    """Durations are milliseconds, sizes bytes; variables have defaults."""
    config = load_gatherer(written(tmp_path, GATHERER), {"KEY": "from-environment"})
    assert config.journal.max_bytes == 50 << 30
    assert config.bounds.lag == 30_000
    assert config.kalshi.key_id.get_secret_value() == "from-environment"
    assert load_gatherer(tmp_path / "gatherer.yaml", {}).kalshi.key_id.get_secret_value() == "the-key"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("max_bytes", "max_byte"), ":10: journal.max_byte: unknown key; did you mean 'max_bytes'?"),
        (("50GiB", "50"), ":10: journal.max_bytes: expected a number with a unit"),
        (("50GiB", "50Gb"), ":10: journal.max_bytes: unknown unit 'Gb'; allowed are B, KiB"),
        (("gatherer-a", "Gatherer A"), ":1: gatherer_id: "),
        (("journal:", "journal"), ":9: "),
        (("${KEY:-the-key}", "${KEY}"), ":5: kalshi.key_id: the environment variable KEY is not set"),
        (("  ws_url: wss://exchange.example/trade-api/ws/v2\n", ""), "kalshi.ws_url: is missing"),
        (("gatherer_id: gatherer-a\n", ""), "gatherer_id: is missing"),
        (("  dir:", "  dir: /a\n  dir:"), ":10: journal.dir: is given twice"),
        (("rest_url: https://", "rest_url: http://"), "kalshi.rest_url: must begin with https://"),
        (("rest_url: https://", "rest_url: file:///"), "kalshi.rest_url: must be an address with https://"),
        (("rest_url: https://", "rest_url: https://me:secret@"), "kalshi.rest_url: must hold no user"),
        (("ws_url: wss://", "ws_url: ws://"), "kalshi.ws_url: must begin with wss://"),
        (("ws_url: wss://", "ws_url: https://"), "kalshi.ws_url: must be an address with wss://"),
        (("gatherer_id: gatherer-a", "gatherer_id: &a gatherer-a\nother: *a"), ":2: has an alias (*name)"),
        (("gatherer_id: gatherer-a", f"gatherer_id: {'[' * 5000}"), ":1: is nested deeper than 20"),
    ],
)
def test_what_is_wrong_is_reported_in_one_line(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    """File, line, key, and what is allowed."""
    file = written(tmp_path, GATHERER.replace(*change))
    with pytest.raises(ConfigError) as caught:
        load_gatherer(file, {})
    text = str(caught.value)
    assert said in text and text.startswith(str(file)) and "\n" not in text


def test_all_that_is_wrong_is_reported_at_once(tmp_path: Path) -> None:
    """A line each, in the file's order; what follows from a fault is none of its own."""
    text = GATHERER.replace("gatherer_id: gatherer-a", "gatherer_idd: ${NO_NAME}").replace(
        "rest_url: https", "rest_url: http"
    )
    text += "load: {batch_records: many, no_such: 1}\nhttp:\n  port: ${NO_PORT}\n"
    with pytest.raises(ConfigError) as caught:
        load_gatherer(file := written(tmp_path, text), {})
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{file}:") for line in lines)
    assert [line.removeprefix(f"{file}:").partition(": ")[2].partition(": ")[0] for line in lines] == [
        "gatherer_idd", "kalshi.rest_url", "load.batch_records", "load.no_such", "http.port"
    ]  # fmt: skip
    assert "NO_NAME is not set" in lines[0] and "NO_PORT is not set" in lines[-1]


@pytest.mark.parametrize("kind", ["gatherer-a", "deduplicator"])
def test_the_other_processs_file_is_named_as_such(kind: str) -> None:
    """Not by each of its keys."""
    load = load_deduplicator if kind == "gatherer-a" else load_gatherer
    with pytest.raises(ConfigError, match=rf"is a {kind.removesuffix('-a')}'s file, and a \w+'s is needed$"):
        load(ROOT / "configs" / f"{kind}.yaml", dict.fromkeys(VARIABLES, "x"))


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    """Neither in errors nor when a configuration is printed."""
    config = load_gatherer(written(tmp_path, GATHERER), {"KEY": "hidden-key"})
    assert "secret-word" not in repr(config) + str(config) and "hidden-key" not in repr(config)
    file = written(
        tmp_path,
        GATHERER.replace('{dsn: "postgresql://gatherer:secret-word@localhost/kalshi"}', "{dsn: [secret-word]}"),
    )
    with pytest.raises(ConfigError) as caught:
        load_gatherer(file, {})
    assert "secret-word" not in str(caught.value)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """With the command that mends it."""
    key = tmp_path / "key.pem"
    file = written(tmp_path, GATHERER.replace("key.pem", str(key)))
    config = load_gatherer(file, {})
    with pytest.raises(ConfigError, match="cannot read"):
        check_private_key_file(str(file), config.kalshi)
    key.write_text("x")
    key.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        check_private_key_file(str(file), config.kalshi)
    key.chmod(0o600)
    check_private_key_file(str(file), config.kalshi)


@pytest.mark.parametrize("name", ["gatherer-a", "gatherer-b", "gatherer-c", "deduplicator", "analyst"])
def test_the_files_in_configs_are_correct_and_complete(name: str) -> None:
    """Every key of the schema is in them, explained."""
    file = ROOT / "configs" / f"{name}.yaml"
    config = (load_reader if name == "analyst" else load_any)(file, dict.fromkeys(VARIABLES, "x"))
    given = yaml.safe_load(file.read_text())

    def keys(model: object, prefix: str = "") -> set[str]:
        fields = type(model).model_fields  # type: ignore[attr-defined]
        found = set()
        for key in fields:
            value = getattr(model, key)
            found.add(prefix + key)
            if hasattr(type(value), "model_fields"):
                found |= keys(value, f"{prefix}{key}.")
        return found

    def present(data: dict[str, object], prefix: str = "") -> set[str]:
        found = set()
        for key, value in data.items():
            found.add(prefix + key)
            if isinstance(value, dict):
                found |= present(value, f"{prefix}{key}.")
        return found

    kinds = {"deduplicator": DeduplicatorConfig, "analyst": ReaderConfig}
    assert isinstance(config, kinds.get(name, GathererConfig))
    missing = keys(config) - present(given) - {"kalshi.transport", "kalshi.ws_url"}
    assert not missing


def test_a_drivers_message_never_shows_the_password() -> None:
    """Neither as written nor decoded."""
    from common.storage.address import without_password

    dsn = "postgresql://user:pa%40ssword@host/db"
    assert without_password(dsn, "failed for pa@ssword and pa%40ssword at host") == "failed for *** and *** at host"
    assert without_password("postgresql://user:o@host/db", "no host of that name") == "no host of that name"


def test_two_gatherers_of_one_name_are_refused(tmp_path: Path) -> None:
    """In the deduplicator's list."""
    text = (ROOT / "configs/deduplicator.yaml").read_text().replace("id: gatherer-b", "id: gatherer-a")
    file = tmp_path / "d.yaml"
    file.write_text(text)
    environ = dict.fromkeys(("KALSHI_KEY_ID", "READER_PASSWORD", "PRODUCTION_PASSWORD"), "x")
    with pytest.raises(ConfigError, match="two gatherers have the same id"):
        load_deduplicator(file, environ)
    text = (ROOT / "configs/deduplicator.yaml").read_text()
    assert text.count("@gatherer-b:") == 1
    file.write_text(text.replace("@gatherer-b:", "@gatherer-a:"))
    with pytest.raises(ConfigError, match="two gatherers have the same dsn"):
        load_deduplicator(file, environ)


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda f: f.stem)
def test_the_shipped_files_are_checked_without_their_secrets(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that has none of the variables; and a key that looks like a number is none."""
    for name in ("KALSHI_KEY_ID", "GATHERER_PASSWORD", "READER_PASSWORD", "PRODUCTION_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(main, ["check-config", "--without-secrets", "--config", str(file)])
    assert done.exit_code == 0, done.output
    if file.stem == "analyst":
        return
    secrets = {"KALSHI_KEY_ID": "12345", "GATHERER_PASSWORD": "g", "READER_PASSWORD": "r", "PRODUCTION_PASSWORD": "p"}
    assert load_any(file, secrets).kalshi.key_id.get_secret_value() == "12345"


def test_the_key_and_the_addresses_are_read_too(tmp_path: Path) -> None:
    """All that is wrong with them at once, without a password; `--without-secrets`, nothing of this machine."""
    (key := tmp_path / "key.pem").write_text("no key")
    key.chmod(0o600)
    text = (ROOT / "configs/deduplicator.yaml").read_text().replace("/etc/kalshi/private_key.pem", str(key))
    file = tmp_path / "d.yaml"
    file.write_text(text.replace("@gatherer-b:5432", "@gatherer-b:fifty"))
    secrets = dict.fromkeys(VARIABLES, "secret-word")
    done = CliRunner().invoke(main, ["check-config", "--config", str(file)], env=secrets)
    lines = done.stderr.strip().splitlines()
    assert done.exit_code == 2 and len(lines) == 3 and "secret-word" not in done.stderr
    assert lines[0].startswith(f"{file}: kalshi.private_key_file: ") and "is not an unencrypted PEM" in lines[0]
    assert lines[1].startswith(f"{file}: production.dsn: the file /etc/kalshi/rds-ca.pem is not there")
    assert lines[2] == f"{file}: gatherers.1.dsn: its dsn is not a PostgreSQL address"
    assert CliRunner().invoke(main, ["check-config", "--without-secrets", "--config", str(file)]).exit_code == 0
    write_key(key)
    file.write_text(text.replace("rds-ca.pem", "").replace("&sslrootcert=/etc/kalshi/", ""))
    assert CliRunner().invoke(main, ["check-config", "--config", str(file)], env=secrets).exit_code == 0
