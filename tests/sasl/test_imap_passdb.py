"""passdb { driver = imap }: another server is asked; here one that says what a test wants."""

import base64
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailsuite.base.errors import ConfigErrors
from tests.sasl.asking import answers, service


class Server(socketserver.ThreadingTCPServer):
    """IMAP as far as a login goes: knows alice with the password "one". said: the commands that came."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, greeting: bytes = b"* OK hello", capability: bytes = b"IMAP4rev1 SASL-IR AUTH=PLAIN",
                 no: bytes = b"[AUTHENTICATIONFAILED] no") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.greeting, self.capability, self.no = greeting, capability, no
        self.said: list[bytes] = []


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    server: Server

    def handle(self) -> None:
        self.say(self.server.greeting)
        while line := self.rfile.readline().rstrip(b"\r\n"):
            self.server.said.append(line)
            tag, command, *words = line.split(b" ")
            if command == b"CAPABILITY":
                self.say(b"* CAPABILITY " + self.server.capability)
                self.say(tag + b" OK done")
            elif command == b"AUTHENTICATE":
                response = words[1] if len(words) > 1 else self.ask()
                self.decide(tag, base64.b64decode(response) == b"\0alice\0one")
            elif command == b"LOGIN":
                user, password = self.ask(), self.ask()         # after each literal's size
                self.decide(tag, (user, password) == (b"alice {3}", b"one"))

    def ask(self) -> bytes:
        self.say(b"+ ")
        return self.rfile.readline().strip()

    def decide(self, tag: bytes, good: bool) -> None:
        self.say(tag + (b" OK in" if good else b" NO " + self.server.no))

    def say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")


@contextmanager
def running(server: Server) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"passdb {{\n driver = imap\n args = host=127.0.0.1 port={server.server_address[1]} MORE\n}}\n"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


OK, NO, LATER = "OK user=alice | ", "FAIL user=alice", "FAIL user=alice code=temp_fail"


@pytest.mark.parametrize(("server", "want"), [
    pytest.param({}, [OK, NO], id="initial response"),
    pytest.param({"capability": b"IMAP4rev1 AUTH=PLAIN"}, [OK, NO], id="no initial response"),
    pytest.param({"no": b"go away"}, [OK, NO], id="no code"),
    pytest.param({"no": b"[EXPIRED] old"}, [OK, f"{NO} code=pass_expired reason=Password expired"], id="expired"),
    pytest.param({"no": b"[UNAVAILABLE] disk"}, [OK, LATER], id="unavailable"),
    pytest.param({"capability": b"IMAP4rev1 LOGINDISABLED"}, [LATER, LATER], id="no passwords here"),
    pytest.param({"greeting": b"* BYE full"}, [LATER, LATER], id="bye"),
    pytest.param({"greeting": b"SSH-2.0"}, [LATER, LATER], id="no IMAP"),
    pytest.param({"greeting": b"* OK " + b"x" * 20000}, [LATER, LATER], id="too long a line"),
])
def test_answers(tmp_path: Path, server: dict[str, bytes], want: list[str]) -> None:
    with running(Server(**server)) as section:
        auth = service(tmp_path, section.replace("MORE", ""))
        assert answers(auth, [("auth", "alice", "one"), ("auth", "alice", "two")]) == want


def test_names_and_servers_may_depend_on_the_user(tmp_path: Path) -> None:
    with running(server := Server()) as section:
        auth = service(tmp_path, section.replace("host=127.0.0.1", "host=127.0.0.%d").replace("MORE", "username=%n"))
        assert answers(auth, [("auth", "alice@1", "one"), ("cram", "alice@1", "one"), ("pass", "alice@1")]) == [
            "OK user=alice@1 | ", "FAIL user=alice@1", "FAIL"]
    assert server.said


def test_login_with_literals(tmp_path: Path) -> None:
    with running(server := Server(capability=b"IMAP4rev1")) as section:
        assert answers(service(tmp_path, section.replace("MORE", "")), [("auth", "alice", "one")]) == [OK]
    assert server.said[1] == b"m2 LOGIN {5}"


def test_a_server_that_is_away(tmp_path: Path) -> None:
    with running(Server()) as section:
        pass
    assert answers(service(tmp_path, section.replace("MORE", "")), [("auth", "alice", "one")]) == [LATER]


@pytest.mark.parametrize("args", ["", "port=143", "host=x ssl=maybe", "host=x port=a", "host=x nosuch=1"])
def test_broken_configurations(tmp_path: Path, args: str) -> None:
    with pytest.raises(ConfigErrors, match="passdb imap"):
        service(tmp_path, f"passdb {{\n driver = imap\n args = {args}\n}}\n")
