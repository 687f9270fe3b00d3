"""What Terraform gives the machines: its own module, applied, with this rehearsal's addresses and sizes as values."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from workshop.generate.terraform import terraform
from workshop.rehearsal.boot.image import Release, modules

REGION: Final = "us-east-2"
FLEET: Final = "kalshi-fleet"
GATHERER: Final = "gatherer-a"
DEDUPLICATOR: Final = "deduplicator"
MONITORING: Final = "monitoring"
WEBHOOKS: Final = f"{MONITORING}/webhooks"
BUCKET: Final = "kalshi-archive"
VOLUME: Final = "vol-0a1b2c3d4e5f60718"
PRODUCTION: Final = f"production.abc.{REGION}.rds.amazonaws.com"
LOG_GROUP: Final = f"/{FLEET}/processes"
SECRETS: Final = (
    f"{GATHERER}/kalshi",
    f"{GATHERER}/reader",
    "deduplicator/kalshi",
    "production/deduplicator",
    WEBHOOKS,
)


@dataclass(frozen=True)
class Rendered:
    """cloud-init's document of each machine, and the streams that their roles may write."""

    user_data: dict[str, str]
    streams: dict[str, str]


def render(folder: Path, release: Release, timescaledb: str | None, zone_id: str) -> Rendered:
    """Apply the module. One gatherer: the others would be the same."""
    streams = {name: f"{FLEET}-{name}" for name in (GATHERER, DEDUPLICATOR, MONITORING)}
    values: dict[str, Any] = {
        "region": REGION,
        "domain": f"{FLEET}.internal",
        "zone_id": zone_id,
        "client_cidr": "10.42.0.0/16",
        "gatherers": {
            GATHERER: {
                "volume_id": VOLUME,
                "connections": {"orderbook": 2, "trade": 1, "ticker": 1, "lifecycle": 1},
                "journal_gib": 1,
                "memory_max": "2G",
            }
        },
        "deduplicator_memory_max": "2G",
        "kalshi": {
            "rest_url": "https://external-api.kalshi.com/trade-api/v2",
            "ws_url": "wss://external-api-ws.kalshi.com/trade-api/ws/v2",
            "transport": "websockets",
        },
        "production_address": PRODUCTION,
        "retention_days": 30,
        "archive": {"bucket": BUCKET, "prefix": ""},
        "secrets": {short: f"{FLEET}/{short}" for short in SECRETS},
        "release": {"key": release.key, "sha256": release.sha256},
        "log_group": LOG_GROUP,
        "log_streams": streams,
        "alert_webhooks": WEBHOOKS,
        "postgresql": {"version": "15", "timescaledb": timescaledb},
    }
    place = shutil.copytree(modules(), folder)
    (place / "values.auto.tfvars.json").write_text(json.dumps(values))
    terraform(place, "init", "-no-color", "-backend=false")
    terraform(place, "apply", "-no-color", "-auto-approve", "-input=false")
    outputs = json.loads(terraform(place, "output", "-json").stdout)
    return Rendered(outputs["user_data"]["value"], streams)
