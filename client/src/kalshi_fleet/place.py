"""Where an archive lies: a folder, or `s3://BUCKET/PREFIX`, as a file system and a path on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from pyarrow import fs

REGION: Final = "us-east-2"


class Location(NamedTuple):
    """A location, and how S3 is reached if it is there. Credentials that are not given are found as AWS's tools do."""

    location: str
    endpoint_url: str | None = None
    region: str = REGION
    credentials: tuple[str, str] | None = None

    def open(self) -> tuple[Any, str]:
        """The file system and the path. Raises what pyarrow raises: `OSError`, `ArrowException`."""
        parts = urlsplit(self.location)
        if parts.scheme != "s3":
            return fs.LocalFileSystem(), str(Path(self.location).resolve())
        options: dict[str, Any] = {"region": self.region}
        if self.endpoint_url is not None:
            endpoint = urlsplit(self.endpoint_url)
            options |= {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme}
        if self.credentials is not None:
            options |= dict(zip(("access_key", "secret_key"), self.credentials, strict=True))
        return fs.S3FileSystem(**options), f"{parts.netloc}{parts.path}".rstrip("/")
