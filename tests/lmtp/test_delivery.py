"""Storing what came: Maildir, mbox, the detail mailbox, failures."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from mailsuite.access.lmtp_delivery import deliver
from mailsuite.access.lmtp_spool import MEMORY, Spool
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.smtp.lmtp_questions import TEMPORARY, Delivered
from mailsuite.store.api import MailStore, OverQuota
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions

JOB: dict[str, Any] = {"sender": "x@y.test", "header": "Return-Path: <x@y.test>\n", "detail": "", "session": "S"}


def store_of(home: Path, location: str = "maildir:~/Maildir") -> MailStore:
    return open_store("alice", home=str(home), location=location, options=StoreOptions(host="mx.test"))


def spool_of(content: bytes) -> Spool:
    spool = Spool("/tmp")
    spool.write(content)
    return spool


def run(store: MailStore, settings: str = "", content: bytes = b"Message-Id: <1@c>\n\nhi\n", **job: str) -> Delivered:
    spool = spool_of(content)
    try:
        return deliver(store, {**JOB, **job}, spool.fd, DovecotSettings.of(settings))
    finally:
        spool.close()
        store.close()


def test_maildir(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert run(store_of(tmp_path)) == Delivered()
    path, = (tmp_path / "Maildir/new").iterdir()
    assert path.read_bytes() == b"Return-Path: <x@y.test>\nMessage-Id: <1@c>\n\nhi\n"
    assert re.search(r",S=46,W=50$", path.name)
    assert "msgid=<1@c>: saved mail to INBOX" in caplog.text


def test_mbox_has_the_envelope_sender(tmp_path: Path) -> None:
    assert run(store_of(tmp_path, f"mbox:~/mail:INBOX={tmp_path}/inbox")) == Delivered()
    assert (tmp_path / "inbox").read_bytes().startswith(b"From x@y.test  ")


def test_message_without_last_line_end_stays_as_it_is(tmp_path: Path) -> None:
    run(store_of(tmp_path), content=b"Sub")
    path, = (tmp_path / "Maildir/new").iterdir()
    assert path.read_bytes().endswith(b">\nSub")


@pytest.mark.parametrize(("settings", "where"), [
    ("", "new"), ("lmtp_save_to_detail_mailbox = yes\n", "new"),
    ("lmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = yes\n", ".work/new")])
def test_detail_mailbox(tmp_path: Path, settings: str, where: str) -> None:
    assert run(store_of(tmp_path), settings, detail="work") == Delivered()
    assert len(list((tmp_path / "Maildir" / where).iterdir())) == 1


def test_detail_that_is_no_name_goes_to_inbox(tmp_path: Path) -> None:
    assert run(store_of(tmp_path), "lmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = yes\n",
               detail="../../x") == Delivered()
    assert len(list((tmp_path / "Maildir/new").iterdir())) == 1


@pytest.mark.parametrize(("error", "settings", "want"), [
    (OverQuota(), "", (552, "5.2.2")), (OverQuota(), "quota_full_tempfail = yes\n", (452, "4.2.2")),
    (OSError(28, "disk full"), "", (TEMPORARY.code, TEMPORARY.status))])
def test_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, settings: str,
                  want: tuple[int, str]) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("mailsuite.store.maildir.append.MaildirAppend.commit", fail)
    outcome = run(store_of(tmp_path), settings)
    assert (outcome.code, outcome.status) == want
    assert not any((tmp_path / "Maildir/tmp").iterdir()) and not any((tmp_path / "Maildir/new").iterdir())


def test_disk_full_while_syncing_is_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tmp_path)
    store.open("INBOX")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    outcome = deliver(store, JOB, spool_of(b"x\n").fd, DovecotSettings.of(""))
    assert (outcome.code, outcome.status) == (451, "4.2.0")
    assert not any((tmp_path / "Maildir/new").iterdir())


@pytest.mark.parametrize("sizes", [[10], [MEMORY, 1], [1, MEMORY * 3, 5]])
def test_spool(sizes: list[int]) -> None:
    spool = Spool("/tmp")
    octets = [os.urandom(size) for size in sizes]
    for block in octets:
        spool.write(block)
    assert os.pread(spool.fd, MEMORY * 9, 0) == b"".join(octets) and spool.size == sum(sizes)
    spool.close()


def test_spool_keeps_its_failure(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "missing"))
    spool.write(b"x" * (MEMORY + 1))
    spool.write(b"y")
    assert spool.failed is not None
    spool.close()
