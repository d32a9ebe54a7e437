"""Servers that lie, stall and flood: each ends in a clear error, in little memory and time."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mailsuite.base.errors import MailError
from mailsuite.imapc.account import Account
from mailsuite.imapc.client import Client, Outgoing

HELLO = b"* OK [CAPABILITY IMAP4rev1 LITERAL+] hi\r\n"
LOGIN = b"* CAPABILITY IMAP4rev1 LITERAL+\r\na1 OK\r\na2 OK\r\n* CAPABILITY IMAP4rev1 LITERAL+\r\na3 OK\r\n"


@contextmanager
def server(octets: bytes, *, stay: bool, why: str = "") -> Iterator[Account]:
    """Says all at once, whatever it hears; then closes, or stays silent. why: silence is waited for if it is that."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            try:
                client.sendall(octets)
            except OSError:
                return
            if not stay:
                client.shutdown(socket.SHUT_WR)         # a close would take with it what is not read yet
            over.wait(20)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Account("127.0.0.1", listener.getsockname()[1], "u", "p", max_line=20_000, max_literal=10_000,
                      timeout_s=0.3 if "said nothing" in why else 20, max_message=50_000)
    finally:
        over.set()
        listener.close()
        thread.join(20)


@pytest.mark.parametrize(("octets", "why"), [
    pytest.param(b"", "said nothing for 0 seconds", id="silence"),
    pytest.param(b"* OK hi", "said nothing", id="half a line"),
    pytest.param(b"SSH-2.0-OpenSSH\r\n", "what is no IMAP", id="another protocol"),
    pytest.param(b"* BYE too many\r\n", "refuses: too many", id="bye"),
    pytest.param(b"x" * 30_000, "a line of more than 20000 octets", id="no end of a line"),
    pytest.param(HELLO + b"* CAPABILITY {999999999999}\r\n", "a literal of 999999999999 octets", id="huge literal"),
    pytest.param(HELLO + b"* X " + b"{5}\r\nabcde " * 3000, "a literal of 5 octets; more than 0", id="many literals"),
    pytest.param(HELLO + b"* " + b"(" * 100 + b"\r\n", "nested too deeply", id="nesting"),
    pytest.param(HELLO + b"* X )\r\n", "a parenthesis too many", id="parentheses"),
    pytest.param(HELLO + b"a1 NO\r\n", "CAPABILITY", id="no capability"),
    pytest.param(HELLO + b"+ go on\r\n+ go on\r\n", "said nothing", id="continuations"),
    pytest.param(HELLO + b"\xff\x00\xfe\r\n", "what is no IMAP", id="garbage"),
])
def test_login(octets: bytes, why: str) -> None:
    with server(octets, stay=True, why=why) as account, pytest.raises(MailError, match=why):
        Client(account).start()


@pytest.mark.parametrize("stay", [True, False], ids=["silent", "closed"])
@pytest.mark.parametrize(("octets", "why"), [
    (b"", "said nothing|closed the connection"),
    (b"* 1 FETCH (UID 1 BODY[] {100000}\r\n", "a literal of 100000 octets"),
    (b"* 1 FETCH (UID 1 BODY[] {100}\r\nabc", "said nothing|closed the connection"),
    (b"* 1 FETCH (UID x BODY[] {3}\r\nabc)\r\n", "in place of a number"),
    (b"* 1 FETCH (UID)\r\n", "a name without a value"),
])
def test_messages(octets: bytes, why: str, stay: bool) -> None:
    with server(HELLO + LOGIN + octets, stay=stay, why=why) as account, pytest.raises(MailError, match=why):
        client = Client(account)
        client.start()
        for fetched in client.messages([[1, 2], [3]]):
            assert fetched.content is not None
            fetched.content.close()


def test_answers_in_another_order() -> None:
    """Dovecot answers two FETCH commands mixed, and a server may end the second first."""
    said = (b"* 3 FETCH (UID 3 BODY[] {1}\r\nc)\r\n* 1 FETCH (BODY[] {1}\r\na UID 1)\r\n* 9 FETCH (FLAGS ())\r\n"
            b"a5 OK\r\n* 7 FETCH (UID 7 BODY[] {1}\r\nx)\r\n* 2 FETCH (UID 2 BODY[] \"b\")\r\na4 OK\r\n")
    with server(HELLO + LOGIN + said, stay=True) as account:
        client = Client(account)
        client.start()
        found = [(fetched.uid, b"".join(fetched.content.blocks()) if fetched.content else None)
                 for fetched in client.messages([[1, 2], [3, 4]])]
    assert found == [(1, b"a"), (2, b"b"), (3, b"c"), (4, None)]


def test_a_listing_without_end() -> None:
    listing = b"".join(b'* LIST () "/" "f%d"\r\n' % number for number in range(60_000))
    with server(HELLO + LOGIN + listing, stay=True) as account:
        client = Client(account)
        client.start()
        with pytest.raises(MailError, match="lists more than 50000 mailboxes"):
            client.list_folders()


def test_no_password_where_the_server_wants_none_in_the_clear() -> None:
    hello = HELLO + b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\na1 OK\r\n"
    with server(hello, stay=True) as account, pytest.raises(MailError, match="set imapc_ssl"):
        Client(account).start()


def test_what_is_too_large_is_not_sent() -> None:
    said = HELLO + LOGIN.replace(b"a3 OK", b"* CAPABILITY IMAP4rev1 LITERAL+ APPENDLIMIT=10\r\na3 OK") + b"a4 OK\r\n"
    with server(said, stay=True) as account:
        client = Client(account)
        client.start()
        results = client.append("x", [Outgoing(b"", b'""', size, lambda size=size: [b"x" * size])     # type: ignore[misc]
                                      for size in (11, 10)])
    assert results[1].error is None and results[0].error is not None
    assert results[0].error.public == "APPEND: larger than the server's limit of 10"
