"""Each process of a login is killed in the middle of one: the client learns of it, the next gets in."""

import contextlib
import imaplib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.suite import Suite, running_suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("control")]


def below(pid: int) -> dict[int, str]:
    """Children of a process, and their names."""
    found = {}
    with contextlib.suppress(OSError):                  # the process, or a thread of it, has gone
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    found[int(child)] = Path(f"/proc/{child}/comm").read_text().strip()
    return found


def services(suite: Suite, name: str) -> list[int]:
    return [pid for pid, comm in below(suite.pid()).items() if comm == name]


def workers(suite: Suite) -> list[int]:
    return [pid for parent in services(suite, "access") for pid in below(parent)]


def get_in(suite: Suite) -> bool:
    try:
        with imaplib.IMAP4("127.0.0.1", suite.ports["imap"], timeout=20) as imap:
            return imap.login(suite.first, suite.users[suite.first])[0] == "OK"
    except (OSError, imaplib.IMAP4.error):
        return False


def test_a_login_outlives_nobody() -> None:
    victims: dict[str, Callable[[Suite], list[int]]] = {
        "imap-login": lambda suite: services(suite, "imap-login"), "auth": lambda suite: services(suite, "auth"),
        "access": lambda suite: services(suite, "access"), "worker": workers}
    with running_suite() as suite:
        for name, find in victims.items():
            wait_for(lambda: get_in(suite), what=f"no login before {name} is killed")
            pids = wait_for(lambda find=find: find(suite), what=name)       # type: ignore[misc]  # find: of this round
            assert isinstance(pids, list)
            with socket.create_connection(("127.0.0.1", suite.ports["imap"]), 20) as client:
                assert client.recv(1000).startswith(b"* OK ")
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)            # so that the login gets so far and no farther
                client.sendall(f"a LOGIN {suite.first} {suite.users[suite.first]}\r\n".encode())
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                said = b""
                try:
                    while octets := client.recv(1000):
                        said += octets
                        if b"\r\n" in said:
                            break
                except ConnectionError:
                    pass
                # Killed before the login came to it, its successor may have served it.
                assert said == b"" or said.startswith((b"a NO [UNAVAILABLE] ", b"a OK ")), (name, said)
        wait_for(lambda: get_in(suite), what="no login after all were killed")
