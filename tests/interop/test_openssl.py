"""openssl s_client: the six ways into TLS, each verified against the site's authority."""

import subprocess

import pytest

from tests.support.suite import Suite

pytestmark = [pytest.mark.system, pytest.mark.needs("openssl"), pytest.mark.xdist_group("interop")]

WAYS = [
    pytest.param("smtp", ["-starttls", "smtp"], "ehlo x\nquit\n", "250-PIPELINING", id="smtp STARTTLS"),
    pytest.param("smtps", [], "ehlo x\nquit\n", "220 mx.demo.test ESMTP", id="smtps"),
    pytest.param("imap", ["-starttls", "imap"], "a noop\nb logout\n", "* BYE", id="imap STARTTLS"),
    pytest.param("imaps", [], "b logout\n", "* OK [CAPABILITY", id="imaps"),
    pytest.param("pop3", ["-starttls", "pop3"], "quit\n", "+OK", id="pop3 STLS"),
    pytest.param("pop3s", [], "quit\n", "+OK", id="pop3s"),
]


@pytest.mark.parametrize(("port", "words", "typed", "seen"), WAYS)
def test_s_client(client: str, suite: Suite, port: str, words: list[str], typed: str, seen: str) -> None:
    done = subprocess.run([client, "s_client", "-connect", f"localhost:{suite.ports[port]}", *words, "-crlf",
                           "-ign_eof", "-CAfile", str(suite.authority), "-verify_return_error"],
                          input=typed, capture_output=True, text=True, check=False, timeout=30)
    assert "Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr
    assert seen in done.stdout
