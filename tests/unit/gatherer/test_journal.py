"""The journal: what was appended is read back, in order, whatever happens to its tail."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config.schema import JournalConfig
from common.errors import JournalCorrupt, JournalError
from gatherer.derive import state
from gatherer.journal import reader as reading
from gatherer.journal import writer as writing
from gatherer.journal.format import PAYLOAD_BYTES_MAX, Kind, Position, Record, decode, encode, flat
from gatherer.journal.inbox import LARGE_FRAME_BYTES
from gatherer.journal.reader import READ_BYTES, JournalReader
from gatherer.journal.segments import (
    UUID_FILE,
    ZSTD_READ_BYTES_MAX,
    compress,
    journal_uuid,
    numbering_second,
    packed_file,
    remove,
    segment_file,
    segments,
)
from gatherer.journal.writer import WRITE_BYTES_MAX, JournalWriter


def config(folder: Path, **changes: int) -> JournalConfig:
    """Small segments, so that they roll."""
    sizes = {"segment_bytes": 2000, "max_bytes": 1 << 20, **changes}
    return JournalConfig.model_validate({"dir": folder, **{key: f"{size}B" for key, size in sizes.items()}})


def write(journal: JournalWriter, count: int, start: int = 0) -> None:
    """Frames with numbered payloads."""
    for n in range(start, start + count):
        journal.append(Kind.FRAME, 7, f"frame {n}".encode(), n + 1, n + 1)
        journal.flush()


def read_all(reader: JournalReader, limit: int = 5) -> tuple[list[Record], list[str]]:
    """All records that are there, and the cuts between them."""
    records: list[Record] = []
    cuts: list[str] = []
    while (chunk := reader.read(limit)) is not None:
        if chunk.cut:
            cuts.append(chunk.cut)
        records += chunk.records
    return records, cuts


def frames(records: Iterable[Record]) -> list[str]:
    """Payloads of the frames."""
    return [r.payload.decode() for r in records if r.kind == Kind.FRAME]


def test_everything_is_read_back_across_segments(tmp_path: Path) -> None:
    """Order is kept, a roll is no cut, and a clean end is reported."""
    journal = JournalWriter(config(tmp_path), 0)
    write(journal, 200)
    journal.close()
    assert len(segments(tmp_path / "lane-0")) > 3
    records, cuts = read_all(JournalReader(tmp_path / "lane-0", None))
    assert frames(records) == [f"frame {n}" for n in range(200)]
    assert cuts == ["process_started"]
    assert records[-1].kind == Kind.CLOSED


def test_a_segment_is_finished_at_its_age_if_it_holds_anything(tmp_path: Path) -> None:
    """A quiet lane's records reach raw/ too; an empty segment is not followed by another empty one."""
    journal = JournalWriter(JournalConfig.model_validate({"dir": tmp_path, "segment_age": "50ms"}), 0)
    time.sleep(0.1)
    journal.flush()
    assert len(segments(journal.folder)) == 1, "nothing was written"
    journal.append(Kind.FRAME, 1, b"{}")
    journal.flush()
    assert len(segments(journal.folder)) == 2
    time.sleep(0.1)
    journal.flush()
    assert len(segments(journal.folder)) == 2
    journal.append(Kind.FRAME, 1, b"{}")
    time.sleep(0.1)
    journal.flush()
    records, cuts = read_all(JournalReader(journal.folder, None))
    assert frames(records) == ["{}", "{}"] and cuts == ["process_started"]


def test_a_reader_follows_a_writer(tmp_path: Path) -> None:
    """Nothing is seen before the flush, everything after."""
    journal = JournalWriter(config(tmp_path), 0)
    reader = JournalReader(tmp_path / "lane-0", None)
    seen: list[str] = []
    for n in range(0, 60, 3):
        journal.append(Kind.FRAME, 1, f"frame {n}".encode())
        assert frames(read_all(reader)[0]) == []
        journal.flush()
        write(journal, 2, n + 1)
        seen += frames(read_all(reader, 2)[0])
    assert seen == [f"frame {n}" for n in range(60)]


def test_a_start_after_a_kill_is_a_cut(tmp_path: Path) -> None:
    """Every start opens a new segment; the earlier one's missing end shows that it was cut off."""
    first = JournalWriter(config(tmp_path, segment_bytes=100_000), 0)
    write(first, 3)
    second = JournalWriter(config(tmp_path, segment_bytes=100_000), 0)
    write(second, 2, 3)
    records, cuts = read_all(JournalReader(tmp_path / "lane-0", None))
    assert frames(records) == [f"frame {n}" for n in range(5)]
    assert cuts == ["process_started", "torn_tail"]


@pytest.mark.parametrize("seed", range(20))
def test_a_tail_cut_at_any_byte_loses_only_the_tail(tmp_path: Path, seed: int) -> None:
    """Power loss: whole records before the cut are read, nothing after it, and the next start is a cut."""
    journal = JournalWriter(config(tmp_path, segment_bytes=100_000), 0)
    write(journal, 30)
    file = segment_file(tmp_path / "lane-0", segments(tmp_path / "lane-0")[-1])
    data = file.read_bytes()
    keep = random.Random(seed).randrange(len(data))
    file.write_bytes(data[:keep])
    later = JournalWriter(config(tmp_path, segment_bytes=100_000), 0)
    write(later, 1, 99)
    got = frames(read_all(JournalReader(tmp_path / "lane-0", None))[0])
    assert got[-1] == "frame 99"
    assert got[:-1] == [f"frame {n}" for n in range(len(got) - 1)]


def test_a_place_past_the_end_is_a_cut_not_a_silent_skip(tmp_path: Path) -> None:
    """The database knows more of the journal than the disk kept."""
    journal = JournalWriter(config(tmp_path, segment_bytes=100_000), 0)
    write(journal, 5)
    place = journal.place
    file = segment_file(tmp_path / "lane-0", place.segment)
    file.write_bytes(file.read_bytes()[:-40])
    later = JournalWriter(config(tmp_path, segment_bytes=100_000), 0)
    write(later, 2, 50)
    records, cuts = read_all(JournalReader(tmp_path / "lane-0", place))
    assert frames(records) == ["frame 50", "frame 51"]
    assert cuts == ["journal_shorter_than_place"]
    assert read_all(JournalReader(tmp_path / "lane-0", Position(1, 0)))[1][0] == "segment_missing"


@pytest.mark.parametrize("stride", [1, 3, 50])
def test_compressed_segments_read_as_before(tmp_path: Path, stride: int) -> None:
    """At any moment: before the reader comes, while it is inside, and with a place inside a compressed segment."""
    journal = JournalWriter(config(tmp_path), 0)
    folder = journal.folder
    reader = JournalReader(folder, None)
    seen: list[str] = []
    for n in range(0, 300, 3):
        write(journal, 3, n)
        if n % stride == 0:
            chunk = reader.read(2)
            seen += frames(chunk.records) if chunk else []
        for number in segments(folder)[:-1]:
            if segment_file(folder, number).exists():
                assert compress(folder, number) > 0
        middle = reader.place
        if middle.segment:
            again = JournalReader(folder, middle).read(1)
            assert again is None or again.cut is None
    seen += frames(read_all(reader)[0])
    assert seen == [f"frame {n}" for n in range(300)]
    assert len(list(folder.glob("*.zst"))) > 3 and not list(folder.glob("*-new"))


def test_a_damaged_compressed_segment_is_reported(tmp_path: Path) -> None:
    """Its checksum is checked; nothing of it is taken for records."""
    journal = JournalWriter(config(tmp_path), 0)
    write(journal, 100)
    first = segments(journal.folder)[0]
    compress(journal.folder, first)
    file = packed_file(journal.folder, first)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(JournalCorrupt):
        read_all(JournalReader(journal.folder, None))


def test_a_segment_that_is_missing_in_the_middle_is_a_cut(tmp_path: Path) -> None:
    """A continuing segment names the one before it."""
    journal = JournalWriter(config(tmp_path), 0)
    write(journal, 200)
    present = segments(journal.folder)
    remove(journal.folder, present[2])
    assert read_all(JournalReader(journal.folder, None))[1] == ["process_started", "segment_missing"]


def test_a_lane_whose_next_segment_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """A loader that starts before the capture never reads old segments a second time."""
    journal = JournalWriter(config(tmp_path, segment_bytes=100_000), 0)
    write(journal, 5)
    place = journal.place
    file = segment_file(journal.folder, place.segment)
    file.write_bytes(file.read_bytes()[:-40])
    reader = JournalReader(journal.folder, place)
    assert reader.read(10) is None
    later = JournalWriter(config(tmp_path, segment_bytes=100_000), 0)
    write(later, 1, 7)
    assert frames(read_all(reader)[0]) == ["frame 7"]


class Disk:
    """A disk that takes all while it has `room` (bytes); then what still fits, and an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self._writev = os.writev
        monkeypatch.setattr(os, "writev", self.writev)

    def writev(self, fd: int, parts: Sequence[bytes]) -> int:
        """As `os.writev`."""
        if self.room is None:
            return self._writev(fd, parts)
        fits = b"".join(parts)[: self.room]
        self.room -= len(fits)
        if not fits:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(fd, fits)


@pytest.mark.parametrize("room", [0, 5, 60])
def test_a_start_on_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """However often it is tried: a segment has its name once its head is on the disk."""
    first = JournalWriter(config(tmp_path), 0)
    write(first, 3)
    disk = Disk(monkeypatch)
    for _ in range(5):
        disk.room = room
        with pytest.raises(OSError, match="No space left"):
            JournalWriter(config(tmp_path), 0)
    assert [f.name for f in first.folder.iterdir() if f.name != "journal.uuid"] == [
        f"{first.place.segment:012d}.journal"
    ]
    disk.room = None
    write(JournalWriter(config(tmp_path), 0), 1, 3)
    records, cuts = read_all(JournalReader(first.folder, None))
    assert frames(records) == [f"frame {n}" for n in range(4)] and cuts == ["process_started", "torn_tail"]


@pytest.mark.parametrize("room", [0, 20, 100, 2050])
async def test_a_writer_that_failed_writes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Even if the disk has room again: not after half a record, and not into the file that got the number of its own
    that was closed (`room` 2050: it fails at the head of the next segment)."""
    disk = Disk(monkeypatch)
    journal = JournalWriter(config(tmp_path), 0)
    died = asyncio.create_task(journal.died())
    write(journal, 3)
    place = journal.place
    inbox = journal.inbox(1, 0)
    disk.room = room
    with pytest.raises(OSError, match="No space left"):
        write(journal, 60)
    disk.room = None
    others = [os.open(tmp_path / f"other {n}", os.O_CREAT | os.O_RDWR) for n in range(4)]
    sizes = {f.name: f.stat().st_size for f in journal.folder.iterdir()}
    inbox.frames.append(b"{}")
    inbox.monos_ns.append(1)
    with pytest.raises(JournalError, match="No space left"):
        journal.flush()
    with pytest.raises(JournalError, match="No space left"):
        journal.append(Kind.FRAME, 1, b"{}")
    with pytest.raises(JournalError, match="No space left"):
        journal.close()
    with pytest.raises(OSError, match="No space left"):
        await asyncio.wait_for(died, 5)
    assert {f.name: f.stat().st_size for f in journal.folder.iterdir()} == sizes
    assert not any(os.fstat(fd).st_size for fd in others), "another file has its number now"
    for fd in others:
        os.close(fd)
    assert frames(read_all(JournalReader(journal.folder, None))[0])[:3] == ["frame 0", "frame 1", "frame 2"]
    assert place.segment in segments(journal.folder)


@pytest.mark.parametrize("size", [0, 5, 30])
def test_any_number_of_segments_without_a_head_is_stepped_over(tmp_path: Path, size: int) -> None:
    """They hold nothing, so nothing is cut off in them; the process that opens the lane removes them."""
    first = JournalWriter(config(tmp_path), 0)
    write(first, 3)
    at = first.place.segment
    first.close()
    begun = segment_file(first.folder, at).read_bytes()[:size]
    for number in range(at + 1, at + 700):
        segment_file(first.folder, number).write_bytes(begun)
    reader = JournalReader(first.folder, None)
    records, cuts = read_all(reader)
    assert frames(records) == ["frame 0", "frame 1", "frame 2"] and cuts == ["process_started"]
    assert reader.place == Position(at + 699, 0), "it is in the last of them when they go"
    write(JournalWriter(config(tmp_path), 0), 1, 3)
    assert len(segments(first.folder)) == 2
    records, cuts = read_all(reader)
    assert frames(records) == ["frame 3"] and cuts == ["process_started"]


@pytest.mark.parametrize("size", [10, READ_BYTES + 1])
def test_a_record_that_comes_with_the_roll_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Whatever its size: it is finished, and so is its segment, between the reader's look at the segment and its look
    for the next one."""
    journal = JournalWriter(config(tmp_path, max_bytes=1 << 30), 0)
    write(journal, 1)
    reader = JournalReader(journal.folder, None)
    assert frames(read_all(reader)[0]) == ["frame 0"]

    def rolled(folder: Path) -> list[int]:
        monkeypatch.setattr(reading, "segments", segments)
        journal.append(Kind.FRAME, 7, bytes(size))
        write(journal, 60, 1)
        return segments(folder)

    monkeypatch.setattr(reading, "segments", rolled)
    records, cuts = read_all(reader)
    sizes = [len(r.payload) for r in records if r.kind == Kind.FRAME]
    assert sizes[0] == size and len(sizes) == 61 and not cuts


@pytest.mark.parametrize("left", [b"", b"01234567-89ab", bytes(37), b"\xff\xfe"])
def test_an_identity_that_was_lost_is_found_or_made(tmp_path: Path, left: bytes) -> None:
    """A power loss left the file's name, and not its bytes: the lane begins; what its segments have of it counts."""
    lane = tmp_path / "lane-0"
    lane.mkdir()
    (lane / UUID_FILE).write_bytes(left)
    write(JournalWriter(config(tmp_path), 0), 1)
    made = uuid.UUID((lane / UUID_FILE).read_text().strip())
    assert journal_uuid(lane) == str(made)
    (lane / UUID_FILE).write_bytes(left)
    assert journal_uuid(lane) == str(made), "else all that is loaded would be loaded again, as another journal's"
    assert uuid.UUID((lane / UUID_FILE).read_text().strip()) == made


def test_an_identity_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power loss leaves the name alone."""
    seen: list[str] = []
    sync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append("sync"), sync(fd))[1])
    monkeypatch.setattr(os, "link", lambda a, b: (seen.append("name"), link(a, b))[1])
    journal_uuid(tmp_path / "lane-0")
    assert seen == ["sync", "name", "sync"]


def test_a_segment_is_never_larger_than_can_be_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much waits to be written at once: a segment ends within a write and a record of its size."""
    monkeypatch.setattr(writing, "WRITE_BYTES_MAX", 1000, raising=False)
    journal = JournalWriter(config(tmp_path), 0)
    inbox = journal.inbox(7, 0)
    for n in range(40):
        inbox.frames.append(f"frame {n}".encode() + bytes(LARGE_FRAME_BYTES))
        inbox.monos_ns.append(n)
    journal.flush()
    sizes = [segment_file(journal.folder, number).stat().st_size for number in segments(journal.folder)]
    assert len(sizes) == 41 and max(sizes) < 2000 + 1000 + LARGE_FRAME_BYTES
    records, cuts = read_all(JournalReader(journal.folder, None))
    got = [payload.rstrip("\0") for payload in frames(records)]
    assert got == [f"frame {n}" for n in range(40)] and cuts == ["process_started"]
    with pytest.raises(ValueError, match="1GiB at most"):
        config(tmp_path, segment_bytes=(1 << 30) + 1, max_bytes=1 << 40)
    assert (1 << 30) + WRITE_BYTES_MAX + PAYLOAD_BYTES_MAX < ZSTD_READ_BYTES_MAX


def test_a_clock_that_was_once_far_ahead_uses_up_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of runs, made of a segment's number, fit into the database's integers ever after."""
    now_s = time.time()
    numbers = []
    for at_s in (now_s, 2.0**31, 2.0**33, now_s, now_s):
        monkeypatch.setattr(time, "time", lambda at_s=at_s: at_s)
        numbers.append(JournalWriter(config(tmp_path), 0).place.segment)
        most = state.after_everything(numbering_second())
        assert max(state.fresh(numbers[-1] + 60_000_000).counter, most) < (1 << 63) - 1
    assert numbers == sorted(set(numbers)) and numbers[0] == int(now_s)


def write_blocks(journal: JournalWriter, sizes: list[int]) -> list[str]:
    """Blocks of so many frames, with another record between them."""
    names = []
    inboxes = [journal.inbox(session, 0) for session in (7, 8, 9)]
    for block, size in enumerate(sizes):
        for n in range(size):
            names.append(f"frame {block}/{n}")
            inboxes[n % 3].frames.append(names[-1].encode())
            inboxes[n % 3].monos_ns.append(1000 * len(names))
        if block % 2:
            journal.append(Kind.COMMAND, 7, b"{}")
        journal.flush()
    return names


@pytest.mark.parametrize("limit", [1, 2, 7, 5000])
def test_blocks_of_frames_are_read_one_by_one_and_from_any_place(tmp_path: Path, limit: int) -> None:
    """Order, sessions and times are kept; a reader that begins after any frame continues with the next one."""
    journal = JournalWriter(config(tmp_path, segment_bytes=4000), 0)
    names = write_blocks(journal, [1, 9, 2, 30, 5, 40, 1, 1, 60])
    reader = JournalReader(journal.folder, None)
    records: list[Record] = []
    places: list[Position] = []
    while (chunk := reader.read(limit)) is not None:
        records += chunk.records
        assert limit == 5000 or chunk.count <= limit
        assert len(records) <= 2 * len(names), "it comes to an end"
        places += [Position(chunk.segment, r.end) for r in chunk.records]
    assert frames(records) == names
    stamps = [(r.session, r.wall_us) for r in records if r.kind == Kind.FRAME]
    assert [wall for _, wall in stamps] == list(range(1, len(names) + 1)) and {s for s, _ in stamps} == {7, 8, 9}
    assert places == sorted(places) and len(set(places)) == len(places), "every record has a place of its own"
    for number in segments(journal.folder)[:-1:2]:
        compress(journal.folder, number)
    for at in range(0, len(places), 7):
        rest = read_all(JournalReader(journal.folder, places[at]), limit)[0]
        assert [r.payload for r in rest if r.kind != Kind.SEGMENT] == [r.payload for r in records[at + 1 :]], at
        reader.back_to(places[-1])


def test_a_block_that_is_cut_off_is_lost_whole_and_nothing_before_it(tmp_path: Path) -> None:
    """A block is one record with one checksum."""
    journal = JournalWriter(config(tmp_path, segment_bytes=100_000), 0)
    names = write_blocks(journal, [5, 4, 6])
    file = segment_file(journal.folder, segments(journal.folder)[-1])
    file.write_bytes(file.read_bytes()[:-1])
    assert frames(read_all(JournalReader(journal.folder, None))[0]) == names[:9]


def test_another_file_is_refused(tmp_path: Path) -> None:
    """A file that is no segment is never taken for an empty one."""
    (tmp_path / "lane-0").mkdir()
    (tmp_path / "lane-0" / "000000000005.journal").write_bytes(b"something else entirely")
    with pytest.raises(JournalCorrupt):
        JournalReader(tmp_path / "lane-0", None).read(10)


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=60), max_size=8), st.data())
def test_damage_is_never_taken_for_a_record(payloads: list[bytes], data: st.DataObject) -> None:
    """Flip any bit: records before it are read, none with other bytes than were written."""
    whole = b"".join(encode(2, 9, n, n, p) for n, p in enumerate(payloads))
    assert [r.payload for r in flat(decode(whole, 0))] == payloads
    if whole:
        at = data.draw(st.integers(0, len(whole) - 1))
        damaged = bytearray(whole)
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
        got = [r.payload for r in flat(decode(bytes(damaged), 0))]
        assert got == payloads[: len(got)]
