"""Clients that send all they have to say, close their side, and then read: `printf ... | nc -N`, Exim's last QUIT."""

import socket

import pytest

from tests.support.suite import Suite

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("clients")]


def talk(port: int, octets: bytes) -> list[str]:
    """What the server says to octets and an end, to its own end."""
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        sock.sendall(octets)
        sock.shutdown(socket.SHUT_WR)
        said = b""
        while block := sock.recv(65536):
            said += block
    return said.decode().splitlines()


def test_smtp(suite: Suite) -> None:
    said = (f"EHLO x.test\r\nMAIL FROM:<{suite.first}>\r\nRCPT TO:<{suite.second}>\r\nDATA\r\n"
            "Subject: half-closed\r\n\r\ny\r\n.\r\nQUIT\r\n")
    lines = talk(suite.ports["smtp"], said.encode())
    assert lines[-2].startswith("250 2.0.0 Ok: queued as ") and lines[-1].startswith("221")
    suite.wait_messages(suite.second, 1)


def test_smtp_without_quit(suite: Suite) -> None:
    said = f"NOOP\r\nMAIL FROM:<{suite.first}>\r\nRCPT TO:<{suite.second}>\r\n"
    lines = talk(suite.ports["smtp"], said.encode())
    assert [line[:9] for line in lines[1:]] == ["250 2.0.0", "250 2.1.0", "250 2.1.5"]


def test_imap(suite: Suite) -> None:
    word = suite.users[suite.first]
    lines = talk(suite.ports["imap"], f'a LOGIN {suite.first} {word}\r\nb LIST "" *\r\nc SELECT INBOX\r\n'
                 "d LOGOUT\r\n".encode())
    assert [line.split()[1] for line in lines if line[:2] in ("a ", "b ", "c ", "d ")] == ["OK"] * 4


def test_pop3(suite: Suite) -> None:
    word = suite.users[suite.first]
    lines = talk(suite.ports["pop3"], f"USER {suite.first}\r\nPASS {word}\r\nSTAT\r\nQUIT\r\n".encode())
    assert len([line for line in lines if line.startswith("+OK")]) == 5 and lines[-1] == "+OK Logging out."
