"""Messages that Dovecot's zlib plugin keeps compressed."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mailsuite.config.dovecot import DovecotSettings
from mailsuite.store.api import Column, NotPossible, StoreError
from mailsuite.store.mailbox import BaseMailbox
from mailsuite.store.maildir import packed
from mailsuite.store.maildir.packed import Damaged, is_packed, make_packer, unpack
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions

MESSAGE = b"Subject: packed\nFrom: a@x.test\n\n" + b"body body body\n" * 2000
WIRE = MESSAGE.replace(b"\n", b"\r\n")
PACKED = {"gz": gzip.compress(MESSAGE), "bz2": bz2.compress(MESSAGE), "xz": lzma.compress(MESSAGE),
          "lzma": lzma.compress(MESSAGE, format=lzma.FORMAT_ALONE), "two": gzip.compress(MESSAGE[:50]) +
          gzip.compress(MESSAGE[50:]), "padded": gzip.compress(MESSAGE) + bytes(20)}


def options(plugin: str = "", plugins: str = "zlib") -> StoreOptions:
    return StoreOptions.of(DovecotSettings.of(f"mail_plugins = {plugins}\nplugin {{\n{plugin}\n}}\n"))


def inbox(home: Path, given: StoreOptions) -> BaseMailbox:
    mailbox = open_store("a", home=str(home), location="maildir:~/Maildir", options=given).open("INBOX")
    assert isinstance(mailbox, BaseMailbox)
    return mailbox


def put(home: Path, octets: bytes, sizes: str = "") -> None:
    inbox(home, options())
    (home / "Maildir/cur" / f"1700000000.M1P1.mx{sizes}:2,SZ").write_bytes(octets)


@pytest.mark.parametrize("octets", PACKED.values(), ids=PACKED)
def test_unpack(octets: bytes) -> None:
    assert is_packed(octets)
    assert unpack(octets) == MESSAGE


@pytest.mark.parametrize("octets", [
    pytest.param(b"", id="nothing"),
    pytest.param(b"Subject: x\n", id="a header"),
    pytest.param(b"BZh-Field: 1AY&SY\n", id="a field that begins as bzip2 does"),
    pytest.param(b"\x1f\x8b", id="too short"),
])
def test_not_packed(octets: bytes) -> None:
    assert not is_packed(octets)


@pytest.mark.parametrize("octets", [
    pytest.param(PACKED["gz"][:-5], id="gzip cut off"),
    pytest.param(PACKED["gz"][:20] + b"x" * 30, id="gzip damaged"),
    pytest.param(PACKED["gz"] + b"rubbish", id="rubbish behind it"),
    pytest.param(PACKED["bz2"][:-5], id="bzip2 cut off"),
    pytest.param(PACKED["bz2"][:12] + b"xxxxxxxxxxxxxx", id="bzip2 damaged"),
    pytest.param(PACKED["xz"][:-5], id="xz cut off"),
    pytest.param(b"\x28\xb5\x2f\xfd" + bytes(20), id="zstd, which we have not"),
])
def test_damaged(octets: bytes) -> None:
    with pytest.raises(Damaged):
        unpack(octets)


@pytest.mark.parametrize("name", ["gz", "bz2", "xz"])
def test_a_small_file_does_not_fill_the_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MOST", len(MESSAGE) - 1)
    with pytest.raises(Damaged, match="too large"):
        unpack(PACKED[name])


@pytest.mark.parametrize("sizes", ["", f",S={len(MESSAGE)}", f",S={len(MESSAGE)},W={len(WIRE)}"])
@pytest.mark.parametrize("octets", PACKED.values(), ids=PACKED)
def test_a_mailbox_shows_the_message(tmp_path: Path, octets: bytes, sizes: str) -> None:
    put(tmp_path, octets, sizes)
    mailbox = inbox(tmp_path, options())
    mailbox.refresh()
    assert mailbox.sizes([1]) == [len(WIRE)]
    assert mailbox.stored_octets(1) == len(MESSAGE)
    assert mailbox.header_fields([1], [b"subject"]) == [b"Subject: packed\r\n\r\n"]
    envelope = mailbox.columns([1], [Column.ENVELOPE])[0][0]
    assert envelope is not None
    assert b'"packed"' in envelope
    assert mailbox.blocks(1) is None
    assert mailbox.message_at_once(1) is None
    assert mailbox.message(1).crlf == WIRE
    assert mailbox.read_wire([1]) == [WIRE]


def test_a_copy_stays_packed(tmp_path: Path) -> None:
    put(tmp_path, PACKED["gz"])
    store = open_store("a", home=str(tmp_path), location="maildir:~/Maildir", options=options())
    store.create("Copy")
    store.open("INBOX").copy([1], store.open("Copy"))
    assert store.open("Copy").message(1).crlf == WIRE
    [name] = os.listdir(tmp_path / "Maildir/.Copy/cur")
    assert (tmp_path / "Maildir/.Copy/cur" / name).read_bytes() == PACKED["gz"]


def test_a_damaged_one_is_an_error_and_others_are_read(tmp_path: Path) -> None:
    put(tmp_path, PACKED["gz"][:-5])
    mailbox = inbox(tmp_path, options())
    append = mailbox.begin_append()
    append.write(b"Subject: sound\n\nx\n")
    append.finish([], None)
    append.commit()
    with pytest.raises(StoreError):
        mailbox.message(1)
    assert mailbox.message(2).crlf == b"Subject: sound\r\n\r\nx\r\n"


@pytest.mark.parametrize(("name", "unpacked"), [("gz", gzip.decompress), ("bz2", bz2.decompress)])
def test_saving(tmp_path: Path, name: str, unpacked: Callable[[bytes], bytes]) -> None:
    mailbox = inbox(tmp_path, options(f"zlib_save = {name}\nzlib_save_level = 9\n"))
    append = mailbox.begin_append()
    for at in range(0, len(MESSAGE), 1000):
        append.write(MESSAGE[at: at + 1000])
    append.finish([], None)
    append.commit()
    assert mailbox.message(1).crlf == WIRE
    [file] = (tmp_path / "Maildir/new").iterdir()
    assert f",S={len(MESSAGE)},W={len(WIRE)}" in file.name
    assert unpacked(file.read_bytes()) == MESSAGE


@pytest.mark.parametrize("plugin", ["", "zlib_save = nonsense\n"])
def test_stored_as_it_is(tmp_path: Path, plugin: str) -> None:
    mailbox = inbox(tmp_path, options(plugin))
    append = mailbox.begin_append()
    append.write(MESSAGE)
    append.finish([], None)
    append.commit()
    [file] = (tmp_path / "Maildir/new").iterdir()
    assert file.read_bytes() == MESSAGE


def test_a_client_does_not_bring_packed_mail(tmp_path: Path) -> None:
    with pytest.raises(NotPossible):
        inbox(tmp_path, options()).begin_append().write(PACKED["gz"])


def test_without_the_plugin_nothing_is_unpacked(tmp_path: Path) -> None:
    put(tmp_path, PACKED["gz"])
    mailbox = inbox(tmp_path, options(plugins="quota"))
    mailbox.refresh()
    assert mailbox.message(1).crlf != WIRE
    assert make_packer("", 0) is None


def test_a_file_of_very_many_streams_is_damaged() -> None:
    assert packed.unpack(gzip.compress(b"a") * packed.STREAMS) == b"a" * packed.STREAMS
    with pytest.raises(packed.Damaged, match="too many streams"):
        packed.unpack(gzip.compress(b"a") * (packed.STREAMS + 1))
