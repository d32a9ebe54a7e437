"""store/attributes.py: the dictionary of METADATA's entries, which is Dovecot's too."""

import os
import tempfile
from pathlib import Path

import pytest

from mailsuite.store.api import MailboxInUse, StoreError
from mailsuite.store.attributes import Attributes, MailboxEntries, open_attributes
from tests.message import dovecot
from tests.store.support import ONE, append, store_at

DICTIONARY = "file:%h/dovecot-attributes"
VALUES = [b"", b"plain", b"two\r\nlines", b"tab\t, soh \x01, nul \0 and \xc3\xa4", b"1" * 5000]


def test_values_survive(tmp_path: Path) -> None:
    attributes = Attributes(str(tmp_path / "file"))
    changes = {f"/private/{number}": value for number, value in enumerate(VALUES)}
    attributes.change("a" * 32, changes)
    attributes.change("b" * 32, {"/shared/comment": b"other"})
    again = Attributes(str(tmp_path / "file"))
    assert again.entries("a" * 32) == changes and again.entries("b" * 32) == {"/shared/comment": b"other"}
    assert os.stat(tmp_path / "file").st_mode & 0o777 == 0o600
    again.change("a" * 32, dict.fromkeys(changes))
    assert attributes.entries("a" * 32) == {} and attributes.entries("b" * 32)      # seen although another wrote it


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"some/other key\nvalue\npriv/%b/comment\nmine\ncut short" % (b"c" * 32))
    Attributes(str(path)).change("d" * 32, {"/private/x": b"y"})
    content = path.read_bytes()
    assert b"some/other key\nvalue\n" in content and b"priv/%b/comment\nmine\n" % (b"c" * 32) in content


def test_move_and_forget(tmp_path: Path) -> None:
    attributes = Attributes(str(tmp_path / "file"))
    attributes.change("a", {"/private/x": b"1"})
    attributes.move("a", "b", keep=True)
    attributes.move("a", "c")
    assert attributes.everything() == {"b": {"/private/x": b"1"}, "c": {"/private/x": b"1"}}
    attributes.forget("b")
    assert list(attributes.everything()) == ["c"]


def test_errors_are_the_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError):
        Attributes(str(tmp_path)).entries("a")                      # a folder
    with pytest.raises(StoreError):
        Attributes(str(tmp_path / "missing" / "file")).change("a", {"/private/x": b""})
    monkeypatch.setattr("mailsuite.store.attributes.WAIT_S", 0.05)
    (tmp_path / "file.lock").write_text("1:elsewhere")
    with pytest.raises(MailboxInUse):
        Attributes(str(tmp_path / "file")).change("a", {"/private/x": b""})


@pytest.mark.parametrize(("text", "want"), [
    ("file:%h/x", "/home/a/x"), ("file:/srv/%d/%n", "/srv/b.test/a"), ("file:~/x", "/home/a/x"),
    ("", None), ("proxy::metadata", None), ("file:relative", None), ("file:", None)])
def test_where_it_lies(text: str, want: str | None) -> None:
    found = open_attributes(text, "a@b.test", "/home/a")
    assert (found.path if found else None) == want


def test_shared_entries_may_lie_elsewhere(tmp_path: Path) -> None:
    own, owners = Attributes(str(tmp_path / "own")), Attributes(str(tmp_path / "owner's"))
    MailboxEntries("a", own, owners).change({"/private/x": b"1", "/shared/x": b"2"})
    assert own.entries("a") == {"/private/x": b"1"} and owners.entries("a") == {"/shared/x": b"2"}
    assert MailboxEntries("a", own, owners).read() == {"/private/x": b"1", "/shared/x": b"2"}


@pytest.mark.parametrize("kind", ["maildir", "fs", "mbox"])
def test_entries_follow_their_mailbox(tmp_path: Path, kind: str) -> None:
    store = store_at(tmp_path, kind, attribute_dict=DICTIONARY)
    sep = store.separator
    for name in ("one", f"one{sep}two", "other") if kind != "mbox" else ("one", "other"):
        store.create(name)
        entries = store.attributes_of(name)
        assert entries
        entries.change({"/private/comment": name.encode()})
    store.rename("one", "renamed")
    assert value(store, "renamed") == b"one" and value(store, "other") == b"other"
    if kind != "mbox":
        assert value(store, f"renamed{sep}two") == f"one{sep}two".encode()
    store.delete("other")
    store.create("other")
    assert value(store, "other") is None
    store.close()


def value(store: object, name: str) -> bytes | None:
    entries = store.attributes_of(name)     # type: ignore[attr-defined]
    assert entries
    found: bytes | None = entries.read().get("/private/comment")
    return found


@pytest.mark.skipif(bool(dovecot.WHY_NOT), reason=dovecot.WHY_NOT)
def test_dovecot_reads_ours_and_we_read_its() -> None:
    more = "mail_attribute_dict = file:%h/dovecot-attributes\nimap_metadata = yes\n"
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)
        top = Path(name)
        (top / "home").mkdir()
        store = store_at(top / "home", "maildir", attribute_dict=DICTIONARY)
        append(store.open("INBOX"), ONE)
        entries = store.attributes_of("INBOX")
        assert entries
        entries.change({"/private/comment": b"tab\tand\r\nline", "/shared/vendor/vendor.x/y": b"ours"})
        out = dovecot.dialogue(
            top, b"a SELECT INBOX\r\nb GETMETADATA INBOX (/private/comment /shared/vendor/vendor.x/y)\r\n"
            b'c SETMETADATA INBOX (/private/comment "theirs")\r\nd LOGOUT\r\n', more=more)
        want = b"(/private/comment {13}\r\ntab\tand\r\nline /shared/vendor/vendor.x/y {4}\r\nours)"
        assert want in out, out
        assert entries.read() == {"/private/comment": b"theirs", "/shared/vendor/vendor.x/y": b"ours"}
        store.close()
