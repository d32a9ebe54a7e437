"""Namespaces of which one is of a format that is not there, and full text in more than one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mailsuite.access.doveadm import COMMANDS, open_user
from mailsuite.access.doveadm_run import Failed, Run
from mailsuite.base.errors import ConfigError
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.sasl.user import UserInfo
from mailsuite.store.api import MailStore
from mailsuite.store.errors import NotPossible
from tests.acl.support import Client
from tests.store.support import append
from tests.support.mail_sessions import ImapServer

CONF = """
mail_location = {inbox}
mail_fsync = never
mail_plugins = {plugins}
namespace inbox {{
  inbox = yes
  separator = /
}}
namespace archive {{
  prefix = archive/
  separator = /
  location = mbox:~/archive
}}
namespace other {{
  type = {kind}
  prefix = other/
  separator = /
  location = {location}
  subscriptions = no
  mailbox old {{
    autoexpunge = 1d
    auto = create
  }}
}}
"""


def conf(location: str, *, inbox: str = "maildir:~/Maildir", kind: str = "private", plugins: str = "") -> str:
    text = CONF.format(inbox=inbox, location=location, kind=kind, plugins=plugins)
    return text.replace("prefix = other/", "prefix = other/%%u/") if kind == "shared" else text


def open_store(home: Path, text: str) -> MailStore:
    return open_user(UserInfo("alice", home=str(home)), DovecotSettings.of(text))


@pytest.mark.parametrize(("location", "kind", "plugins"), [
    pytest.param("virtual:~/virtual", "private", "virtual", id="virtual mailboxes"),
    pytest.param("virtual:/etc/virtual:INDEX=~/virtual", "public", "virtual acl", id="public ones, with ACLs"),
    pytest.param("mdbox:/srv/%%u/mdbox", "shared", "", id="other users' mdbox"),
    pytest.param("sdbox:~/sdbox", "private", "quota", id="sdbox, with quotas"),
    pytest.param("imapc:~/imapc", "private", "", id="imapc"),
    pytest.param("maildir:~/x:LAYOUT=index", "private", "", id="a layout that is not there"),
    pytest.param("maildir:x", "private", "", id="a relative path"),
])
def test_a_namespace_that_cannot_be_read_is_left_out(tmp_path: Path, location: str, kind: str, plugins: str,
                                                     caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(tmp_path, conf(location, kind=kind, plugins=plugins))
    assert [info.name for info in store.list_mailboxes()] == ["INBOX", "archive"]
    assert [each.prefix for each in store.namespaces()] == ["", "archive/"]
    append(store.open("INBOX"), b"Subject: x\n\nx\n")
    for refused in (lambda: store.open("other/All"), lambda: store.create("other/All"), lambda: store.exists("other/x"),
                    lambda: store.rename("archive/x", "other/x"), lambda: store.subscribe("other/All", on=True)):
        with pytest.raises(NotPossible, match="cannot be read here"):
            refused()
    store.close()
    again = open_store(tmp_path, conf(location, kind=kind, plugins=plugins))
    again.close()
    assert sum("is left out" in line.message for line in caplog.records) <= 1       # one for the whole process


def test_inbox_of_a_format_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown mailbox format: sdbox"):
        open_store(tmp_path, conf("maildir:~/other", inbox="sdbox:~/sdbox"))


def test_a_client_works_beside_virtual_mailboxes(tmp_path: Path) -> None:
    async def run() -> None:
        settings = DovecotSettings.of(conf("virtual:~/virtual", plugins="virtual"))
        async with ImapServer({"alice": tmp_path}, settings) as server:      # type: ignore[arg-type]  # it does, too
            client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
            await client.line()
            for command, answer in [
                    ("LOGIN alice x", "OK"), ("NAMESPACE", "OK"), ('LIST "" *', "OK"), ('LIST "" other/*', "OK"),
                    ("STATUS INBOX (MESSAGES)", "OK"), ("SELECT INBOX", "OK"), ("SELECT other/All", "NO [CANNOT]"),
                    ("CREATE other/All", "NO [CANNOT]"), ("LOGOUT", "OK")]:
                lines = await client.ask(command)
                assert lines[-1].partition(" ")[2].startswith(answer), lines
                if command == "NAMESPACE":
                    assert lines[0] == '* NAMESPACE (("" "/")("archive/" "/")) NIL NIL'
            client.close()

    asyncio.run(run())


def said(store: MailStore, command: str, *arguments: str) -> list[list[str]]:
    lines: list[dict[str, Any]] = []
    task = Run(store, list(arguments), {}, lines.append)
    COMMANDS[command](task)
    task.flush()
    assert not [line for line in lines if "error" in line]
    return [row for line in lines for row in line.get("rows", [])]


def test_full_text_in_two_namespaces(tmp_path: Path) -> None:
    store = open_store(tmp_path, conf("maildir:~/other"))
    store.create("other/Work")
    for name in ("INBOX", "other/Work"):
        append(store.open(name), b"Subject: x\n\nred apple\n", b"Subject: x\n\ngreen pear\n")
        said(store, "index", name)
        append(store.open(name), b"Subject: x\n\nblue plum\n")
        said(store, "index", name)
    boxes = {name: store.open(name).fulltext for name in ("INBOX", "other/Work")}
    assert [box.segments for box in boxes.values() if box is not None] == [2, 2]
    said(store, "fts optimize", "other/")
    assert [box.segments for box in boxes.values() if box is not None] == [2, 1]
    said(store, "fts optimize")
    assert [box.segments for box in boxes.values() if box is not None] == [1, 1]
    found = [row for row in said(store, "fts lookup", "text", "pear") if row[1:] != ["", ""]]
    assert found == [["other/Work", "2", ""], ["INBOX", "2", ""]]
    with pytest.raises(Failed, match="Namespace prefix not found: nowhere/"):
        said(store, "fts rescan", "nowhere/")
    store.full_texts()["other/"].mailbox("other/Gone", 5).add([], left_out=[1])
    said(store, "fts rescan", "other/")
    assert store.full_texts()["other/"].names() == ["other/Work"]
    store.close()
