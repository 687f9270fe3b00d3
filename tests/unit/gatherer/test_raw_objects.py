"""What is in raw/ is never lost by an upload: written over only by what continues it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from common.config.schema import JournalConfig, RawArchiveConfig
from common.unpack import unpacked
from gatherer.journal.format import Kind
from gatherer.journal.segments import archived_file, compress, segment_file, state_file
from gatherer.journal.writer import JournalWriter
from gatherer.upkeep.upload import RawBucket

BUCKET = "raw"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def finished(folder: Path, number: int, content: bytes) -> Path:
    """A lane's folder with one compressed segment and its state."""
    folder.mkdir()
    segment_file(folder, number).write_bytes(content)
    compress(folder, number)
    state_file(folder, number).write_bytes(b"state")
    return folder


@pytest.fixture
def whole(tmp_path: Path) -> tuple[int, bytes]:
    """A real segment: its number and bytes."""
    journal = JournalWriter(JournalConfig(dir=tmp_path / "made"), 0)
    for n in range(500):
        journal.append(Kind.FRAME, 1, f"frame {n}".encode())
    journal.flush()
    return journal.place.segment, segment_file(journal.folder, journal.place.segment).read_bytes()


def stored(s3: Any) -> dict[str, bytes]:
    """Every segment there, by the end of its name."""
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    bodies = {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys if key.endswith(".zst")}
    return {key.rsplit("/", 1)[1]: unpacked(body, 1 << 20) for key, body in bodies.items()}


@pytest.mark.parametrize("order", [("part", "whole"), ("whole", "part"), ("whole", "whole"), ("whole", "empty")])
def test_the_longest_stays(s3: Any, tmp_path: Path, whole: tuple[int, bytes], order: tuple[str, str]) -> None:
    """The volume of a machine was made from a snapshot, or an upload was repeated: no alarm, nothing lost."""
    number, content = whole
    contents = {"whole": content, "part": content[: len(content) // 3], "empty": b""}
    for n, name in enumerate(order):
        bucket = RawBucket(RawArchiveConfig(bucket=BUCKET), "gatherer-a")
        folder = finished(tmp_path / f"lane-{n}", number, contents[name])
        assert bucket.upload(folder, 0, number) and archived_file(folder, number).exists()
        assert bucket.trouble == ""
    assert stored(s3) == {f"lane-0-{number:012d}.journal.zst": content}


def test_another_segment_gets_another_name(s3: Any, tmp_path: Path, whole: tuple[int, bytes]) -> None:
    """Two gatherers with one id: both segments are kept, and it is reported."""
    number, content = whole
    other = content[:600] + b"otherwise"
    folders = [finished(tmp_path / f"lane-{n}", number, some) for n, some in enumerate((content, other))]
    first, second = (RawBucket(RawArchiveConfig(bucket=BUCKET), "gatherer-a") for _ in range(2))
    assert first.upload(folders[0], 0, number) and second.upload(folders[1], 0, number)
    assert first.trouble == "" and str(number) in second.trouble
    found = stored(s3)
    assert found.pop(f"lane-0-{number:012d}.journal.zst") == content
    assert list(found.values()) == [other] and second.upload(folders[1], 0, number)
    assert len(stored(s3)) == 2, "once more is not once more there"
