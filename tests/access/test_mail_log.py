"""The mail_log plugin: the lines as Dovecot 2.3 writes them, over both kinds of stores."""

from pathlib import Path

import pytest

from mailsuite.access.mail_log import mail_log, shortened, wanted_of
from mailsuite.base.errors import ConfigError
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.store.api import FlagAction, MailStore
from mailsuite.store.events import MailEvents, hearing, telling, told
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions

MESSAGE = b"Subject: =?utf-8?q?s=C3=A4?=\n folded\nMessage-ID:  <m1@x> \nFrom: Foo <f@x>, two@y\n\nbody\n"
ALL = ("mail_log_events = delete undelete expunge save copy mailbox_create mailbox_delete mailbox_rename flag_change\n"
       "mail_log_fields = uid box msgid size vsize flags from subject\n")


def settings(plugin: str, plugins: str = "notify mail_log") -> DovecotSettings:
    return DovecotSettings.of(f"mail_plugins = {plugins}\nplugin {{\n{plugin}\n}}\n").for_protocol("imap")


def events(plugin: str, lines: list[str]) -> MailEvents:
    found = mail_log(settings(plugin), lines.append)
    assert found is not None
    return found


@pytest.fixture(params=["maildir:~/Maildir", "mbox:~/mail:INBOX=~/inbox"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MailStore:
    return open_store("a", home=str(tmp_path), location=request.param, options=StoreOptions())


def append(store: MailStore, message: bytes = MESSAGE, flags: tuple[str, ...] = ()) -> None:
    saved = store.open("INBOX").begin_append()
    saved.write(message)
    saved.finish(flags, None)
    saved.commit()


def test_a_message_from_its_coming_to_its_end(store: MailStore) -> None:
    lines: list[str] = []
    facts = "box=INBOX, uid=1, msgid=<m1@x> "
    with telling(events("", lines)):
        append(store)
        size = store.open("INBOX").stored_octets(1)
        store.open("INBOX").store_flags([1], FlagAction.ADD, ["\\Deleted", "\\Seen"])
        store.open("INBOX").store_flags([1], FlagAction.REMOVE, ["\\Deleted"])
        store.open("INBOX").remove([1])
    after = [line.partition(", size=")[0] for line in lines]
    assert after == [f"{what}: {facts}" for what in ("save", "delete", "undelete", "expunge")]
    assert lines[0].endswith(f", size={size}")
    assert hearing() is None


def test_all_fields_and_a_line_each_for_flags_and_keywords(tmp_path: Path) -> None:
    store = open_store("a", home=str(tmp_path), location="maildir:~/Maildir", options=StoreOptions())
    append(store)
    lines: list[str] = []
    with telling(events(ALL, lines)):
        store.open("INBOX").store_flags([1], FlagAction.ADD, ["\\Seen", "kw"])
        store.open("INBOX").store_flags([1], FlagAction.ADD, ["\\Seen", "kw"])
        store.open("INBOX").store_flags([1], FlagAction.REPLACE, ["\\Answered"])
    facts = "flag_change: box=INBOX, uid=1, msgid=<m1@x> , size=87, vsize=93, from=Foo <f@x>, two@y, subject=sä folded"
    assert lines == [f"{facts}, flags=({flags})" for flags in (
        "\\Seen \\Recent", "\\Seen \\Recent kw", "\\Answered \\Recent kw", "\\Answered \\Recent")]


def test_copies_and_moves(store: MailStore) -> None:
    append(store)
    append(store, b"Subject: none\n\n")
    lines: list[str] = []
    with telling(events("mail_log_fields = box uid", lines)):
        store.create("B")
        box = store.open("B")
        store.open("INBOX").copy([1], box)
        store.open("INBOX").copy([2], box, move=True)
        store.rename("B", "C")
        store.delete("C")
    assert lines == ["copy from INBOX: box=B, uid=1", "copy from INBOX: box=B, uid=2", "expunge: box=INBOX, uid=2",
                     "Mailbox renamed: B -> C", "expunge: box=C, uid=1", "expunge: box=C, uid=2", "Mailbox deleted: C"]


def test_only_the_events_that_are_named(store: MailStore) -> None:
    lines: list[str] = []
    with telling(events("mail_log_events = mailbox_create, undelete\n", lines)):
        append(store)
        store.create("&AOQ-")
        store.open("INBOX").remove([1])
        store.delete("&AOQ-")
    assert lines == ["Mailbox created: INBOX", "Mailbox created: ä"]


def test_cached_only_reads_nothing(store: MailStore) -> None:
    lines: list[str] = []
    with telling(events("mail_log_fields = msgid from subject\nmail_log_cached_only = yes\n", lines)):
        append(store)
    assert lines == ["save: msgid=, from=, subject="]


def test_each_thread_tells_its_own(store: MailStore) -> None:
    lines: list[str] = []
    other: list[str] = []
    with telling(events("", other)):
        told(lambda: append(store), events("mail_log_fields = uid", lines))()
        append(store)
    assert lines == ["save: uid=1"]
    assert len(other) == 1


@pytest.mark.parametrize(("plugin", "text"), [
    pytest.param("mail_log_events = delete nonsense\n", "Unknown event in mail_log_events: 'nonsense'", id="event"),
    pytest.param("mail_log_fields = uid, x\n", "Unknown field in mail_log_fields: 'x'", id="field"),
])
def test_unknown_words(plugin: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        wanted_of(settings(plugin))


def test_without_the_plugin() -> None:
    assert mail_log(settings("mail_log_events = delete\n", "quota"), print) is None


@pytest.mark.parametrize(("text", "shown"), [
    pytest.param("x" * 80, "x" * 80, id="as long as it may be"),
    pytest.param("x" * 81, "x" * 77 + "...", id="longer"),
    pytest.param("ä" * 41, "ä" * 38 + "...", id="no half letters"),
])
def test_long_texts_are_shortened(text: str, shown: str) -> None:
    assert shortened(text) == shown
