"""The journal's format: what was written is read, damage hides what it hit and shows nothing else."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailsuite.queue import ids, journal
from mailsuite.queue.envelope import Envelope, Recipient
from mailsuite.queue.file import Damaged, Writer, image_parts, read, same_message
from mailsuite.queue.journal import BLOCK, HEADER, Gone, Place, Segment, blocks_of, copy_out, record

SIZE = 32 * BLOCK
ID = "4A2F10C83D1E2"


def image_of(content: bytes, *addresses: str) -> tuple[bytes, bytes]:
    writer = Writer(-1)
    writer.add(content)
    writer.finish(Envelope(sender="a@b.test", arrival_time=1.0).facts(), [Recipient(one) for one in addresses])
    return writer.image()


def put(segment: Segment, block: int, generation: int, queue_id: str, content: bytes, *addresses: str) -> Place:
    body, tail = image_of(content, *(addresses or ("c@d.test",)))
    place = Place(segment.name, block, generation, len(body) + len(tail))
    os.pwrite(segment.fd, record(segment.secret, place, queue_id, body, tail), block * BLOCK)
    return place


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    made = Segment.create(str(tmp_path), SIZE)
    yield made
    made.close()


def found(segment: Segment) -> list[tuple[int, str]]:
    return [(one.place.block, one.queue_id) for one in segment.records()]


def test_a_record_comes_back(segment: Segment) -> None:
    place = put(segment, 1, 1, ID, b"Subject: x\n\nbody\n")
    image = segment.read(place, ID)
    with tempfile.TemporaryFile() as file:
        file.write(image)
        file.flush()
        stored = read(file.fileno())
    assert stored.envelope.sender == "a@b.test"
    assert image[stored.offset:stored.offset + stored.size] == b"Subject: x\n\nbody\n"
    assert found(segment) == [(1, ID)]


def test_a_new_segment_is_on_disk_and_empty(tmp_path: Path, segment: Segment) -> None:
    assert sorted(os.listdir(tmp_path)) == [segment.name, segment.name + journal.MARKS]
    assert os.stat(segment.path).st_size == SIZE
    assert os.stat(segment.path).st_mode & 0o777 == 0o600
    assert found(segment) == []
    assert journal.finished(segment) == 1


def test_records_fill_whole_blocks() -> None:
    for size in (1, BLOCK - HEADER, BLOCK - HEADER + 1, 3 * BLOCK):
        place = Place("0" * 32, 1, 1, size)
        assert len(record(bytes(16), place, ID, b"x" * size, b"")) == blocks_of(size) * BLOCK


def test_marks(segment: Segment) -> None:
    first, second = put(segment, 1, 1, ID, b"x\n"), put(segment, 2, 1, "B" + ID, b"y\n")
    assert journal.finished(segment) == 0
    segment.set_left(first)
    assert found(segment) == [(2, "B" + ID)]
    assert not segment.is_open(first)
    assert not segment.is_free(1, 1)
    segment.set_free(first)
    segment.set_free(second)
    assert found(segment) == []
    assert journal.finished(segment) == 2


def test_marks_are_shared_and_outlive_a_process(tmp_path: Path, segment: Segment) -> None:
    place = put(segment, 1, 1, ID, b"x\n")
    other = Segment.open(str(tmp_path), segment.name)
    other.set_free(place)
    other.close()
    assert segment.is_free(1, 1)


def test_an_older_generation_is_over(segment: Segment) -> None:
    """A segment is begun again when all is free: what stands behind the new records needs no marks."""
    put(segment, 1, 1, "A" + ID, b"x\n")
    put(segment, 2, 1, "B" + ID, b"y\n")
    put(segment, 1, 2, "C" + ID, b"z\n")
    assert found(segment) == [(1, "C" + ID)]


def test_a_mark_of_another_generation_means_nothing(segment: Segment) -> None:
    segment.set_free(put(segment, 1, 1, "A" + ID, b"x\n"))
    put(segment, 1, 2, "B" + ID, b"x\n")
    assert found(segment) == [(1, "B" + ID)]


def test_a_reader_that_comes_late_is_told(tmp_path: Path, segment: Segment) -> None:
    place = put(segment, 3, 1, ID, b"secret of one\n" * 1000)
    put(segment, 3, 2, "B" + ID, b"other\n")
    with pytest.raises(Gone):
        segment.read(place, ID)
    with pytest.raises(FileNotFoundError):
        copy_out(segment.path, place, ID)
    put(segment, 2, 3, "C" + ID, b"long\n" * 2000)         # over its header with the middle of a record
    with pytest.raises(FileNotFoundError):
        copy_out(segment.path, place, ID)


def test_another_message_at_the_place_is_not_shown(segment: Segment) -> None:
    place = put(segment, 1, 1, ID, b"x\n")
    with pytest.raises(Gone):
        segment.read(place, "B" + ID)


def test_a_copy_cannot_be_changed_and_shows_one_message_only(segment: Segment) -> None:
    place = put(segment, 1, 1, ID, b"mine\n")
    put(segment, 2, 1, "B" + ID, b"yours\n")
    fd = copy_out(segment.path, place, ID)
    try:
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 1 << 20)
        octets = os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)
    assert b"mine" in octets
    assert b"yours" not in octets
    assert segment.secret not in octets


def test_content_cannot_pass_for_a_record(segment: Segment) -> None:
    """Whoever sends a message does not know the segment's name."""
    body, tail = image_of(b"forged\n", "root@d.test")
    forged = record(bytes(16), Place("0" * 32, 2, 1, len(body) + len(tail)), "F" + ID, body, tail)
    place = put(segment, 1, 1, ID, b"x" * (BLOCK - HEADER - 128) + forged + b"\n")
    assert found(segment) == [(1, ID)]
    os.pwrite(segment.fd, bytes(BLOCK), place.block * BLOCK)        # damage: every other block is looked at
    assert found(segment) == []


def test_recipients_are_marked_in_place(segment: Segment) -> None:
    place = put(segment, 1, 1, ID, b"x\n", "c@d.test", "e@d.test")
    body, tail = image_parts(segment.read(place, ID))
    number = len(body) + tail.index(b"R-") + 1
    segment.mark_done(place, [number])
    image = segment.read(place, ID)             # its checksums still fit
    assert image[number:number + 1] == b"x"
    with pytest.raises(ValueError, match="no recipient"):
        segment.mark_done(place, [5])
    assert same_message(image, body + tail)


def test_lost_marks_are_made_again(tmp_path: Path, segment: Segment) -> None:
    segment.set_free(put(segment, 1, 1, ID, b"x\n"))
    os.truncate(segment.path + journal.MARKS, 0)
    again = Segment.open(str(tmp_path), segment.name)
    assert found(again) == [(1, ID)]            # it comes twice rather than never
    again.close()


def test_one_process_has_a_segment(tmp_path: Path, segment: Segment) -> None:
    other = Segment.open(str(tmp_path), segment.name)
    assert not other.lock()
    with other.kept_from_others() as orphan:
        assert not orphan
    segment.close()
    with other.kept_from_others() as orphan:
        assert orphan
    assert other.lock()
    other.remove()
    assert not other.exists
    other.close()
    assert os.listdir(tmp_path) == []


def test_what_a_crash_leaves_of_making_a_segment_is_tidied(tmp_path: Path, segment: Segment) -> None:
    now = os.stat(segment.path).st_mtime
    for name in (".new-" + "a" * 32, "b" * 32 + journal.MARKS):
        (tmp_path / name).touch()
    journal.tidy(str(tmp_path), now)
    assert len(os.listdir(tmp_path)) == 4
    journal.tidy(str(tmp_path), now + 2 * journal.STALE_S)
    assert sorted(os.listdir(tmp_path)) == [segment.name, segment.name + journal.MARKS]
    journal.tidy(str(tmp_path / "none"), now)


def test_no_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        Segment.create(str(tmp_path), SIZE)
    assert os.listdir(tmp_path) == []


def test_a_damaged_header_says_nothing(segment: Segment) -> None:
    """Were its generation believed, all other records would be taken for old ones."""
    put(segment, 1, 5, "A" + ID, b"x\n")
    put(segment, 2, 5, "B" + ID, b"y\n")
    put(segment, 3, 5, "C" + ID, b"z\n")
    os.pwrite(segment.fd, b"\xff", 2 * BLOCK + 25)          # of the generation
    assert found(segment) == [(1, "A" + ID), (3, "C" + ID)]


CONTENT = st.integers(0, 3 * BLOCK).map(lambda size: b"Subject: x\n\n" + b"y" * size)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(contents=st.lists(CONTENT, max_size=8), damage=st.lists(st.tuples(st.integers(1, 31), st.binary(
    min_size=1, max_size=300), st.integers(0, BLOCK - 300)), max_size=4))
def test_damage_hits_nobody_else(contents: list[bytes], damage: list[tuple[int, bytes, int]],
                                 tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("journal")
    segment = Segment.create(str(folder), SIZE)
    try:
        block, written = 1, {}
        for number, content in enumerate(contents):
            if block + blocks_of(len(content) + 400) > segment.blocks:
                break
            queue_id = f"{number:05X}0{number:07X}"
            place = put(segment, block, 7, queue_id, content)
            written[queue_id] = (place, content)
            block += blocks_of(place.size)
        hit = set()
        for at, octets, inside in damage:
            if os.pread(segment.fd, len(octets), at * BLOCK + inside) != octets:
                os.pwrite(segment.fd, octets, at * BLOCK + inside)
                hit.add(at)
        whole = {}
        for one in segment.records():
            try:
                whole[one.queue_id] = segment.read(one.place, one.queue_id)
            except (Gone, Damaged):
                continue
        for queue_id, (place, content) in written.items():
            if not hit & set(range(place.block, place.block + blocks_of(place.size))):
                assert content in whole[queue_id]
        for queue_id, image in whole.items():
            assert written[queue_id][1] in image
    finally:
        segment.close()


@pytest.mark.parametrize("long_ids", [False, True])
def test_counted_ids(long_ids: bool) -> None:
    seconds = 1763700000.123456
    made = ids.counted_id(seconds, 0xABCDEF1, long_ids=long_ids)
    assert ids.is_id(made)
    assert ids.is_counted(made)
    assert ids.is_long(made) is long_ids
    assert ids.with_inode(made, 4711, long_ids=long_ids) == made
    for inode in (1, 17, 0xFFFFFF, 2**40):
        assert not ids.is_counted(ids.new_id(seconds, inode, long_ids=long_ids))


def test_what_is_gone_is_told_without_the_segments_name(segment: Segment, tmp_path: Path) -> None:
    """It is a secret, and agents log what they could not open."""
    place = Place(segment.name, 1, 1, 10)
    for path in (segment.path, str(tmp_path / "away" / segment.name)):
        with pytest.raises(FileNotFoundError) as gone:
            copy_out(path, place, ID)
        assert segment.name not in str(gone.value)
