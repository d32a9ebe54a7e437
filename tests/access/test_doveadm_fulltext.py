"""doveadm fts, and what doveadm index does for full text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailsuite.access.doveadm import COMMANDS, open_user
from mailsuite.access.doveadm_run import Failed, Run
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.fulltext.params import FullTextOptions
from mailsuite.sasl.user import UserInfo
from mailsuite.store.api import MailStore
from tests.store.support import append, store_at

MAIL = [b"Subject: apple\r\n\r\nred apple pie\r\n", b"Subject: pear\r\n\r\ngreen\r\n",
        b"Subject: plum\r\n\r\nblue pie\r\n"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MailStore]:
    store = store_at(tmp_path, "maildir")
    append(store.open("INBOX"), *MAIL)
    yield store
    store.close()


def run(store: MailStore, command: str, *arguments: str) -> tuple[list[list[str]], list[str], int]:
    """Rows, errors, status."""
    said: list[dict[str, Any]] = []
    task = Run(store, list(arguments), {}, said.append)
    COMMANDS[command](task)
    task.flush()
    return ([row for line in said for row in line.get("rows", [])], [line["error"] for line in said if "error" in line],
            task.status)


def test_index_and_lookup(store: MailStore) -> None:
    assert run(store, "fts lookup", "text", "pie")[0] == [["INBOX", "", "1:3"]]
    assert run(store, "index", "INBOX") == ([], [], 0)
    assert run(store, "fts lookup", "text", "pie")[0] == [["INBOX", "1,3", ""]]
    assert run(store, "fts lookup", "mailbox", "INBOX", "body", "app", "seen")[0] == [["INBOX", "1", ""]]
    assert run(store, "fts lookup", "text", "apple pie")[0] == [["INBOX", "", "1"]]
    assert run(store, "search", "text", "apple pie")[0] == [[store.open("INBOX").status().guid, "1"]]
    append(store.open("INBOX"), MAIL[0])
    assert run(store, "fts lookup", "text", "pie", "text", "red")[0] == [["INBOX", "1", "4"]]


def test_optimize(store: MailStore) -> None:
    store.create("Gone")
    append(store.open("Gone"), *MAIL)
    for name in ("INBOX", "Gone"):
        run(store, "index", name)
    append(store.open("INBOX"), *MAIL)
    run(store, "index", "INBOX")
    box = store.open("INBOX").fulltext
    assert box is not None and box.segments == 2
    store.open("INBOX").remove([2])
    assert run(store, "fts optimize") == ([], [], 0) == run(store, "fts optimize", "")
    assert box.segments == 1 and box.known == {1, 3, 4, 5, 6}
    assert run(store, "fts lookup", "text", "green")[0] == [["Gone", "2", ""], ["INBOX", "5", ""]]


def test_rescan_forgets_mailboxes_that_are_gone_and_tries_again_what_was_left_out(store: MailStore) -> None:
    run(store, "index", "INBOX")
    text = store.fulltext
    assert text is not None
    text.mailbox("Nowhere", 5).add([], left_out=[1])
    text.mailbox("INBOX", store.open("INBOX").uid_validity).add([], left_out=[99])
    assert run(store, "fts rescan") == ([], [], 0)
    assert text.names() == ["INBOX"] and store.open("INBOX").fulltext is not None
    box = store.open("INBOX").fulltext
    assert box is not None and box.known == {1, 2, 3}


def test_tokenize(store: MailStore) -> None:
    assert run(store, "fts tokenize", "Äpfel und", "Birnen-Saft")[0] == [["A\u0308PFEL"], ["UND"], ["BIRNEN-SAFT"]]


@pytest.mark.parametrize(("command", "arguments", "text", "status"), [
    ("fts optimize", ["other/"], "Namespace prefix not found: other/", 68),
    ("fts rescan", ["other/"], "Namespace prefix not found: other/", 68),
    ("fts lookup", ["seen"], "No text, body in the query that must match", 75),
])
def test_refused(store: MailStore, command: str, arguments: list[str], text: str, status: int) -> None:
    with pytest.raises(Failed) as failed:
        run(store, command, *arguments)
    assert (failed.value.text, failed.value.status) == (text, status)


def test_switched_off(tmp_path: Path) -> None:
    store = store_at(tmp_path, "maildir", fulltext=FullTextOptions(enabled=False))
    append(store.open("INBOX"), *MAIL)
    assert run(store, "index", "INBOX") == ([], [], 0)
    with pytest.raises(Failed, match="fts not enabled"):
        run(store, "fts optimize")
    store.close()


@pytest.mark.parametrize(("fields", "there"), [({}, True), ({"fts": "no"}, False), ({"fts_least_messages": "7"}, True)])
def test_a_user_databases_fields(tmp_path: Path, fields: dict[str, str], there: bool) -> None:
    settings = DovecotSettings.of("mail_location = maildir:~/Maildir\nplugin {\n  fts_least_messages = 5\n}\n")
    store = open_user(UserInfo("alice", home=str(tmp_path), fields=fields), settings)
    text = store.fulltext
    assert (text is not None) is there
    assert text is None or text.options.least_messages == int(fields.get("fts_least_messages", 5))
    store.close()
