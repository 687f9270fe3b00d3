"""A gatherer's configuration file."""

from __future__ import annotations

from pathlib import Path

GATHERER = """\
gatherer_id: gatherer-a
kalshi:
  rest_url: https://exchange.example/trade-api/v2
  ws_url: wss://exchange.example/trade-api/ws/v2
  key_id: ${KEY:-the-key}
  private_key_file: key.pem
database: {dsn: "postgresql://gatherer:secret-word@localhost/kalshi"}
journal:
  dir: /var/lib/kalshi/journal
  max_bytes: 50GiB
"""


def written(folder: Path, text: str) -> Path:
    """A configuration file."""
    file = folder / "gatherer.yaml"
    file.write_text(text)
    return file
