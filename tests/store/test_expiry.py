"""autoexpunge: what goes when a session ends."""

import time
from pathlib import Path

import pytest

from mailsuite.config.dovecot import DovecotSettings
from mailsuite.store import expiry
from mailsuite.store.api import MailStore
from mailsuite.store.expiry import expire, expiring
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions

CONF = """\
namespace inbox {
  inbox = yes
  mailbox Trash {
    auto = create
    autoexpunge = 30d
  }
  mailbox Entwürfe {
    special_use = \\Drafts
    autoexpunge_max_mails = 2
  }
  mailbox "Lists/*" {
    autoexpunge_max_mails = 1
    autoexpunge = 1 week
  }
  mailbox Missing {
    autoexpunge = 1s
  }
  mailbox Sent {
    auto = create
  }
  separator = /
}
"""
DAY = 86400


@pytest.fixture(params=["maildir:~/Maildir", "mbox:~/mail:INBOX=~/inbox"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MailStore:
    conf = tmp_path / "dovecot.conf"
    conf.write_text(CONF, encoding="utf-8")
    return open_store("a", home=str(tmp_path), location=request.param,
                      options=StoreOptions.of(DovecotSettings.load(str(conf)).for_protocol("imap")))


def fill(store: MailStore, name: str, count: int) -> None:
    for _ in range(count):
        append = store.open(name).begin_append()
        append.write(b"Subject: x\n\nx\n")
        append.finish([], None)
        append.commit()


def uids(store: MailStore, name: str) -> list[int]:
    return list(store.open(name).open_view(read_only=True).uids)


def test_what_is_old_or_too_much_goes(store: MailStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = expiring(StoreOptions.of(DovecotSettings.load(str(tmp_path / "dovecot.conf"))).mailboxes)
    assert [(rule.name, rule.autoexpunge_s, rule.autoexpunge_max_mails) for rule in rules] == [
        ("Trash", 30 * DAY, 0), ("Entw&APw-rfe", 0, 2), ("Lists/*", 7 * DAY, 1), ("Missing", 1, 0)]
    for name in ("Entw&APw-rfe", "Lists/a", "Lists/b"):
        store.create(name)
    for name in ("INBOX", "Trash", "Entw&APw-rfe", "Lists/a", "Lists/b"):
        fill(store, name, 3)
    assert store.special_use("Entw&APw-rfe") == ("\\Drafts",)
    assert expire(store, rules) == 1 + 2 + 2
    assert uids(store, "Trash") == [1, 2, 3] and uids(store, "Entw&APw-rfe") == [2, 3] and uids(store, "Lists/b") == [3]
    assert not store.exists("Missing")
    now = time.time()
    monkeypatch.setattr(expiry.time, "time", lambda: now + 29 * DAY)
    assert expire(store, rules) == 2 and uids(store, "Lists/a") == []
    monkeypatch.setattr(expiry.time, "time", lambda: now + 31 * DAY)
    assert expire(store, rules) == 3 and uids(store, "Trash") == [] and uids(store, "INBOX") == [1, 2, 3]
