"""Thunderbird itself, under a display of its own: IMAP and POP3, over STARTTLS and TLS, with the suite's authority."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import pytest

from tests.interop.test_python_clients import submit
from tests.support.suite import Suite, messages_in, open_folder, running_suite, wait_for
from tests.support.thunderbird import PROGRAMS, STARTTLS, TLS, Account, Thunderbird, thunderbird

MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
pytestmark = [pytest.mark.system, pytest.mark.xdist_group("thunderbird"),
              pytest.mark.skipif(bool(MISSING), reason=f"not installed: {' '.join(MISSING)}")]
SUBJECTS = ["first", "Größe: zweite", "third"]
IMAP_STARTTLS, IMAP_TLS, POP3_STARTTLS, POP3_TLS = range(4)


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    """Two users, with three messages each."""
    with running_suite() as made:
        for user in (made.first, made.second):
            for subject in SUBJECTS:
                submit(made, made.first, user, subject, f"{subject}\n.dot\nthe end")
            made.wait_messages(user, 3)
        yield made


@pytest.fixture(scope="module")
def client(suite: Suite) -> Iterator[Thunderbird]:
    passwords, ports = suite.users, suite.ports
    accounts = [Account(kind, user, passwords[user], ports[port], security) for kind, user, port, security in (
        ("imap", suite.first, "imap", STARTTLS), ("imap", suite.second, "imaps", TLS),
        ("pop3", suite.first, "pop3", STARTTLS), ("pop3", suite.second, "pop3s", TLS))]
    with open_folder() as folder, thunderbird(folder, accounts, suite.authority, ports["submission"]) as running:
        yield running


@pytest.mark.parametrize("account", [IMAP_STARTTLS, IMAP_TLS, POP3_STARTTLS, POP3_TLS])
def test_logs_in_and_reads(client: Thunderbird, account: int) -> None:
    read = client.run("""
        const [number, count] = arguments;
        await fetchMail(number, count);
        const found = {};
        for (const header of messagesOf(inboxOf(number))) {
          found[header.mime2DecodedSubject] = await octetsOf(inboxOf(number), header);
        }
        return found;""", account, len(SUBJECTS))
    assert sorted(read) == sorted(SUBJECTS)
    for text in read.values():
        assert text.endswith(("\n.dot\nthe end\n", "\r\n.dot\r\nthe end\r\n")) and "ESMTPSA" in text


def test_works_in_the_mailbox(client: Thunderbird, suite: Suite) -> None:
    """Flags, a keyword, a new folder with a name beyond ASCII, a move: each is on the server's disk."""
    client.run("""
        await fetchMail(0, 3);
        inboxOf(0).markMessagesRead([withSubject(0, "first")], true);
        inboxOf(0).markMessagesFlagged([withSubject(0, "third")], true);
        inboxOf(0).addKeywordsToMessages([withSubject(0, "third")], "$label1");
        await moveToNew(0, arguments[0], "Über & mehr");""", SUBJECTS[1])
    folder = suite.maildir(suite.first)

    def stored() -> bool:
        flags = {}
        for path in (folder / "cur").iterdir():
            with suppress(FileNotFoundError):           # a flag has just given it another name
                text = path.read_text()
                flags[next(line for line in text.splitlines() if line.startswith("Subject:"))] = \
                    path.name.rpartition(":2,")[2]
        return flags.get("Subject: first") == "S" and set(flags.get("Subject: third", "")) - {"S"} == {*"Fa"}

    wait_for(stored, what=f"the flags: {list((folder / 'cur').iterdir())}")
    wait_for(lambda: len(list((folder / ".INBOX.&ANw-ber &- mehr").glob("[nc]*/*"))) == 1, what="the move")
    wait_for(lambda: "$label1" in (folder / "dovecot-keywords").read_text().lower())


def test_hears_of_new_mail_in_idle(client: Thunderbird, suite: Suite) -> None:
    mark = uuid4().hex
    client.run("await fetchMail(1, 3)")
    submit(suite, suite.first, suite.second, mark)
    script = 'return (await until("the new message", () => withSubject(1, arguments[0]))).isRead'
    assert client.run(script, mark) is False


def test_sends_and_keeps_a_copy(client: Thunderbird, suite: Suite) -> None:
    mark = uuid4().hex
    client.run("await fetchMail(0, 1); await send(0, ...arguments)", suite.second, mark, "Grüße\n.dot\n")

    def with_mark(found: list[bytes]) -> list[bytes]:
        return [one for one in found if mark.encode() in one]

    wait_for(lambda: with_mark(suite.messages(suite.second)), what="the message")
    [message] = with_mark(suite.messages(suite.second))
    assert "Grüße\n.dot\n".encode() in message and b"with ESMTPSA" in message
    sent = suite.maildir(suite.first) / ".Sent/cur"
    wait_for(lambda: sent.is_dir() and list(sent.iterdir()), what="the copy in Sent")
    [copy] = [content for _, content in messages_in(sent.parent)]
    assert mark.encode() in copy and "Grüße\n.dot\n".encode() in copy.replace(b"\r\n", b"\n")
