"""The queue file: what is written comes back, what is broken is recognised."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from mailsuite.queue.envelope import Envelope, Handling, Notify, Origin, Recipient, Ret
from mailsuite.queue.file import BLOCK, HEAD, Damaged, Unfinished, Writer, mark_done, read

ENVELOPE = Envelope(sender="ä\udcff@b.test", origin=Origin("c.test", "192.0.2.1", "4711", sasl_username="u"),
                    local=False, handling=Handling.INTERNAL, arrival_time=1234567890.5, encoding="8bit", smtputf8=True,
                    envid="e 1", ret=Ret.HDRS, hold=True, full_name="A. B.", filter="smtp:[x]", verify="record")
RECIPIENTS = [Recipient("a@b.test", "A@b.test", "rfc822;A@b.test", Notify.SUCCESS | Notify.DELAY),
              Recipient('o"dd na\nme@c.test'), Recipient("\udc80@d.test", notify=Notify.NEVER)]


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def write(fd: int, content: bytes, pieces: int = 1 << 20) -> list[Recipient]:
    writer = Writer(fd)
    for at in range(0, len(content), pieces):
        writer.add(content[at:at + pieces])
    numbered = writer.finish(ENVELOPE.facts(), RECIPIENTS)
    writer.complete()
    return numbered


@pytest.mark.parametrize("size", [0, 1, 4096, BLOCK - 1, BLOCK, 3 * BLOCK + 5])
@pytest.mark.parametrize("pieces", [1000, 1 << 20])
def test_round_trip(fd: int, size: int, pieces: int) -> None:
    content = Random(size).randbytes(size)
    numbered = write(fd, content, pieces)
    stored = read(fd)
    assert stored.envelope == ENVELOPE
    assert stored.recipients == numbered
    assert [(one.address, one.original, one.orcpt, one.notify) for one in stored.recipients] == [
        (one.address, one.original, one.orcpt, one.notify) for one in RECIPIENTS]
    assert (stored.offset, stored.size) == (HEAD, size)
    assert os.pread(fd, size, stored.offset) == content


def test_done_recipients_are_left_out(fd: int) -> None:
    numbered = write(fd, b"x\n")
    mark_done(fd, [numbered[0].number, numbered[2].number])
    stored = read(fd)
    assert [one.address for one in stored.recipients] == [RECIPIENTS[1].address]
    assert stored.done == 2
    assert [one.number for one in read(fd, with_done=True).recipients] == [
        -numbered[0].number, numbered[1].number, -numbered[2].number]
    mark_done(fd, [numbered[0].number])         # twice does no harm
    with pytest.raises(ValueError, match="no recipient"):
        mark_done(fd, [HEAD])


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"MSQ1"])
def test_unfinished(fd: int, content: bytes) -> None:
    os.write(fd, content)
    with pytest.raises(Unfinished):
        read(fd)


@pytest.mark.parametrize("seed", range(200))
def test_one_wrong_octet_of_the_envelope_is_noticed(fd: int, seed: int) -> None:
    write(fd, b"body\n")
    size = os.fstat(fd).st_size
    chance = Random(seed)
    at = chance.choice([chance.randrange(HEAD), chance.randrange(HEAD + 5, size)])
    old = os.pread(fd, 1, at)
    os.pwrite(fd, bytes([old[0] ^ chance.randrange(1, 256)]), at)
    try:
        stored = read(fd)
    except Damaged:
        return
    # Only a recipient's mark may change without the checksum's knowledge.
    assert stored.done == 1 or os.pread(fd, HEAD, 0).split() == os.pread(fd, HEAD, 0).split()
    assert stored.envelope == ENVELOPE


@pytest.mark.parametrize("cut", [1, 50, 200])
def test_a_short_file_is_noticed(fd: int, cut: int) -> None:
    write(fd, b"body\n")
    os.ftruncate(fd, os.fstat(fd).st_size - cut)
    with pytest.raises(Damaged):
        read(fd)


@pytest.mark.parametrize("reserve", [0, 1000])
@pytest.mark.parametrize("seed", range(20))
def test_lines_are_counted_whatever_is_changed(fd: int, seed: int, reserve: int) -> None:
    chance = Random(seed)

    def some(most: int) -> bytes:
        return bytes(chance.choices(b"ab\n", k=chance.randrange(most)))

    writer = Writer(fd)
    writer.reserve = reserve
    for _ in range(chance.randrange(1, 6)):
        writer.add(some(BLOCK))
    for _ in range(chance.randrange(4)):
        cut = chance.randrange(min(writer.size, 5000) + 1)
        if chance.random() < 0.5:
            writer.replace_start(cut, some(4000))
        else:
            writer.replace_rest(cut, [some(BLOCK), some(BLOCK)])
    lines = writer.lines
    writer.finish(ENVELOPE.facts(), RECIPIENTS)
    writer.complete()
    stored = read(fd)
    assert os.pread(fd, stored.size, stored.offset).count(b"\n") == lines
