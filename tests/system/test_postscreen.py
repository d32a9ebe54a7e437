"""postscreen in front of a running suite: strangers are tested, good clients reach smtpd over their own socket."""

import smtplib
import socket
from collections.abc import Iterator

import pytest

from tests.support.suite import Suite, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("limits")]
SOURCE = "127.0.0.9"


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with open_folder() as folder:
        made = Suite(folder)
        master = made.top / "master.cf"
        text = master.read_text()
        port = made.ports["smtp"]
        line = next(line for line in text.splitlines() if line.startswith(f"{port} "))
        text = text.replace(line, f"{port} inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n"
                                  "dnsblog unix - - n - 0 dnsblog\ntlsproxy unix - - n - 0 tlsproxy")
        master.write_text(text)
        made.postconf("postscreen_greet_wait = 2s", "postscreen_greet_action = enforce",
                      "postscreen_access_list = inline:{127.0.0.1=permit}")
        made.start()
        try:
            yield made
        finally:
            made.stop()


def send(suite: Suite, source: str) -> None:
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], timeout=30, source_address=(source, 0)) as client:
        client.sendmail(suite.second, [suite.first], b"Subject: screened\r\n\r\nbody\r\n")


def test_good_clients_pass_new_then_old(suite: Suite) -> None:
    before = len(suite.messages(suite.first))
    send(suite, SOURCE)
    send(suite, SOURCE)
    send(suite, "127.0.0.1")
    suite.wait_messages(suite.first, before + 3)
    log = suite.log()
    for text in (f"CONNECT from [{SOURCE}]:", f"PASS NEW [{SOURCE}]:", f"PASS OLD [{SOURCE}]:",
                 "ALLOWLISTED [127.0.0.1]:"):
        assert text in log, text
    assert any(f"[{SOURCE}]" in line and ": connect from " in line for line in log.splitlines() if "/smtpd[" in line)


def test_who_speaks_first_is_refused(suite: Suite) -> None:
    with socket.create_connection(("127.0.0.1", suite.ports["smtp"]), 30, ("127.0.0.8", 0)) as sock:
        sock.sendall(b"EHLO bot.test\r\n")
        with sock.makefile("rw", newline="\r\n") as stream:
            assert stream.readline().startswith("220-")
            while not stream.readline().startswith("250 "):
                pass
            for line, code in ((f"MAIL FROM:<{suite.second}>", "250"), (f"RCPT TO:<{suite.first}>", "550"),
                               ("QUIT", "221")):
                stream.write(line + "\r\n")
                stream.flush()
                assert stream.readline().startswith(code)
    wait_for(lambda: "PREGREET 15 after" in suite.log())
    assert "NOQUEUE: reject: RCPT from [127.0.0.8]:" in suite.log()


def test_reload_and_restart_keep_what_was_learned(suite: Suite) -> None:
    send(suite, SOURCE)
    wait_for(lambda: f"PASS NEW [{SOURCE}]:" in suite.log())
    suite.stop()
    suite.start()
    before = suite.log().count("PASS OLD")
    send(suite, SOURCE)
    wait_for(lambda: suite.log().count("PASS OLD") > before)
