"""The keys of the configuration files, with their defaults.

Names that the contract fixes are kept; the rest are the protocol's times and the merge's bounds, so that a test
can run everything twenty times faster. Unknown keys are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator

from common.config.units import ByteSize, DurationMs, Percent

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MIB = 1 << 20
SEGMENT_BYTES_MAX = 1024 * MIB


class Section(BaseModel):
    """A mapping of the file: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Dsn(SecretStr):
    """A PostgreSQL address, or `embedded:DIR`. It may hold a password, so it never prints itself."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant."""
    return host in {"localhost", "::1"} or host.startswith("127.")


def encrypted(value: str, *schemes: str) -> str:
    """An address that may leave this machine, if it is encrypted; raises `ValueError` with what is wrong.

    `schemes`: the encrypted one, then the plain one, which only this machine's own addresses may have.
    """
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"is no address: {error}") from None
    if not host or parts.scheme not in schemes:
        raise ValueError(f"must be an address with {schemes[0]}://")
    if parts.scheme != schemes[0] and not is_loopback(host):
        raise ValueError(f"must begin with {schemes[0]}://: only this machine itself is reached without encryption")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user and no password")
    return value


class ExchangeConfig(Section):
    """Where the exchange is, and the key that signs."""

    rest_url: str
    ws_url: str = ""
    key_id: SecretStr
    private_key_file: Path
    transport: Literal["websockets", "picows", "aiohttp"] = "websockets"

    @field_validator("rest_url")
    @classmethod
    def _rest_is_encrypted(cls, value: str) -> str:
        return encrypted(value, "https", "http")

    @field_validator("ws_url")
    @classmethod
    def _ws_is_encrypted(cls, value: str) -> str:
        return encrypted(value, "wss", "ws") if value else value


class DatabaseConfig(Section):
    """A database by its address."""

    dsn: Dsn


class BucketConfig(Section):
    """A place on S3."""

    bucket: str
    prefix: str = ""
    region: str = "us-east-2"
    endpoint_url: str | None = None


class RawArchiveConfig(BucketConfig):
    """Where sealed segments go, if anywhere."""


class JournalConfig(Section):
    """The files of raw frames: where, how large, and how soon they are on the disk."""

    dir: Path
    max_bytes: ByteSize = 50 * 1024 * MIB
    segment_bytes: ByteSize = 64 * MIB
    segment_age: DurationMs = 10 * MINUTE
    flush: DurationMs = 20
    sync: DurationMs = SECOND
    raw: RawArchiveConfig | None = None

    @field_validator("segment_bytes")
    @classmethod
    def _fits(cls, value: int, info: ValidationInfo) -> int:
        if value * 4 > info.data.get("max_bytes", value * 4):
            raise ValueError("four segments must fit into journal.max_bytes")
        if value > SEGMENT_BYTES_MAX:
            raise ValueError("1GiB at most: a segment is unpacked in memory")
        return value


class ConnectionsConfig(Section):
    """How many connections each role has."""

    orderbook: int = Field(default=144, ge=1, le=500)
    trade: int = Field(default=2, ge=0, le=16)
    ticker: int = Field(default=2, ge=0, le=16)
    lifecycle: int = Field(default=2, ge=0, le=16)


class MarketFilter(Section):
    """Which markets are recorded; no series: every one."""

    combos: Literal["include", "exclude"] = "include"
    series: tuple[str, ...] = ()


class SnapshotsConfig(Section):
    """How often every market's book is asked for: of REST, and on its subscription."""

    interval: DurationMs = 15 * MINUTE
    audit: DurationMs = HOUR


class RetentionConfig(Section):
    """How long the local database keeps what its consumers have."""

    keep_after_ack: DurationMs = 72 * HOUR
    max_disk: Percent = 80
    look: DurationMs = MINUTE
    chunk: DurationMs = Field(default=HOUR, ge=10 * SECOND, le=DAY)
    compress_after: DurationMs = HOUR


class PageConfig(Section):
    """The status page at `/`. Without this section there is none."""

    user: str = Field(default="kalshi", pattern=r"^[^:\s]+$")
    password: SecretStr | None = Field(default=None, min_length=12)


class HttpConfig(Section):
    """Where health, metrics, status and the page are served."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    page: PageConfig | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @field_validator("page")
    @classmethod
    def _not_open_to_others(cls, value: PageConfig | None, info: ValidationInfo) -> PageConfig | None:
        host = info.data.get("host", "")
        if value is not None and value.password is None and not HttpConfig(host=host).is_loopback:
            raise ValueError(f"host {host} is reached from other machines: give the page a password")
        return value


class LoggingConfig(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"


class BoundsConfig(Section):
    """The bounds of the merge: how far clocks, queues and markets may disagree. Too wide only widens gaps."""

    disorder: DurationMs = 15 * SECOND
    lag: DurationMs = 30 * SECOND
    sender: DurationMs = SECOND
    clock: DurationMs = 200
    clock_proof: Literal["kernel", "assumed"] = "kernel"


class ProtocolConfig(Section):
    """Times of the conversation with the exchange."""

    silence: DurationMs = 25 * SECOND
    idle_probe: DurationMs = 10 * SECOND
    snapshot_wait: DurationMs = 2 * SECOND
    reply_wait: DurationMs = 10 * SECOND
    reconnect_max: DurationMs = 30 * SECOND
    away_probe: DurationMs = SECOND
    registry_poll: DurationMs = MINUTE
    commands_per_minute: int = Field(default=120, ge=6, le=60_000)
    subscribe_batch: int = Field(default=500, ge=1, le=10_000)
    dials_per_second: int = Field(default=20, ge=1, le=1000)
    settled_grace: DurationMs = 3 * MINUTE
    reconcile: DurationMs = HOUR
    status_poll: DurationMs = 10 * SECOND
    rest_lag: DurationMs = 2 * SECOND


class LoadConfig(Section):
    """How the loader cuts batches."""

    poll: DurationMs = 20
    batch_records: int = Field(default=50_000, ge=1, le=1_000_000)


class GathererConfig(Section):
    """A gatherer's file."""

    gatherer_id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    kalshi: ExchangeConfig
    database: DatabaseConfig
    journal: JournalConfig
    connections: ConnectionsConfig = ConnectionsConfig()
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = "auto"
    markets: MarketFilter = MarketFilter()
    snapshots: SnapshotsConfig = SnapshotsConfig()
    retention: RetentionConfig = RetentionConfig()
    http: HttpConfig = HttpConfig()
    logging: LoggingConfig = LoggingConfig()
    bounds: BoundsConfig = BoundsConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    load: LoadConfig = LoadConfig()


class GathererSource(Section):
    """A gatherer's database, as the deduplicator reads it."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    dsn: Dsn


class ProductionRetentionConfig(Section):
    """How long production keeps what the archive has."""

    orderbook_deltas: DurationMs = 30 * DAY
    look: DurationMs = 10 * MINUTE


class CheckpointsConfig(Section):
    """How often a market's folded book is written down, so that `book_at` need not fold its whole history."""

    changes: int = Field(default=10_000, ge=100)
    interval: DurationMs = HOUR


class FeedConfig(Section):
    """What each transaction changed, for those who follow production."""

    keep: DurationMs = DAY


class ProductionConfig(Section):
    """The database of the merged record."""

    dsn: Dsn
    feed: FeedConfig = FeedConfig()
    retention: ProductionRetentionConfig = ProductionRetentionConfig()
    checkpoints: CheckpointsConfig = CheckpointsConfig()


class MergeConfig(Section):
    """How gatherers are read and merged; how REST is asked for metadata and trades."""

    hole_wait: DurationMs = 30 * SECOND
    poll: DurationMs = 50
    timeout: DurationMs = 30 * SECOND
    recent: DurationMs = 2 * MINUTE
    recent_rows_max: int = Field(default=2_000_000, ge=1000)
    read_batches_max: int = Field(default=200, ge=1)
    read_rows_max: int = Field(default=200_000, ge=1000)
    catch_up_share: float = Field(default=0.5, gt=0, le=1)
    lane_retry: DurationMs = 10 * MINUTE
    metadata_poll: DurationMs = MINUTE
    metadata_reconcile: DurationMs = HOUR
    combos: Literal["include", "exclude"] = "include"
    refill_lag: DurationMs = 2 * MINUTE
    refill_side: DurationMs = 60 * MINUTE


class ArchiveConfig(BucketConfig):
    """Where hours go as Parquet, and when."""

    interval: DurationMs = MINUTE
    wait_unsealed: DurationMs = 15 * MINUTE
    spool_dir: Path | None = None


class DeduplicatorConfig(Section):
    """The deduplicator's file."""

    deduplicator_id: str = Field(default="deduplicator", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    gatherers: tuple[GathererSource, ...] = Field(min_length=1, max_length=8)
    production: ProductionConfig
    kalshi: ExchangeConfig
    merge: MergeConfig = MergeConfig()
    archive: ArchiveConfig | None = None
    http: HttpConfig = HttpConfig(port=8081)
    logging: LoggingConfig = LoggingConfig()

    @field_validator("gatherers")
    @classmethod
    def _ids_differ(cls, value: tuple[GathererSource, ...]) -> tuple[GathererSource, ...]:
        if len({source.id for source in value}) != len(value):
            raise ValueError("two gatherers have the same id")
        if len({source.dsn.get_secret_value() for source in value}) != len(value):
            raise ValueError("two gatherers have the same dsn")
        return value


class ReaderConfig(Section):
    """An analyst's file: what is read, and nothing that writes or speaks to the exchange."""

    production: DatabaseConfig | None = None
    archive: BucketConfig | None = None

    @model_validator(mode="after")
    def _has_something_to_read(self) -> ReaderConfig:
        if self.production is None and self.archive is None:
            raise ValueError(
                "names nothing to read: give it `production: {dsn: ...}`, `archive: {bucket: ...}`, or both"
            )
        return self
