"""swaks: PLAIN and LOGIN, after STARTTLS and under implicit TLS; refusals."""

import subprocess
from uuid import uuid4

import pytest

from tests.support.suite import Suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.needs("swaks"), pytest.mark.xdist_group("interop")]


def swaks(client: str, suite: Suite, *words: str, port: str = "submission") -> subprocess.CompletedProcess[str]:
    return subprocess.run([client, "--server", f"127.0.0.1:{suite.ports[port]}", "--helo", "client.demo.test",
                           "--timeout", "20", *words], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize(("port", "tls"), [("submission", "-tls"), ("smtps", "-tlsc"), ("smtp", "-tls")])
def test_authenticated_submission(client: str, suite: Suite, mechanism: str, port: str, tls: str) -> None:
    mark = uuid4().hex
    done = swaks(client, suite, tls, "--auth", mechanism, "--auth-user", suite.first, "--auth-password",
                 suite.users[suite.first], "--from", suite.first, "--to", suite.second,
                 "--header", f"Subject: {mark}", port=port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "235 2.7.0 Authentication successful" in done.stdout and "250 2.0.0 Ok: queued as " in done.stdout
    message = wait_for(lambda: next((m for m in suite.messages(suite.second) if mark.encode() in m), None))
    assert b"with ESMTPSA" in message


def test_wrong_password(client: str, suite: Suite) -> None:
    done = swaks(client, suite, "-tls", "--auth", "PLAIN", "--auth-user", suite.first, "--auth-password", "wrong",
                 "--from", suite.first, "--to", suite.second)
    assert done.returncode != 0 and "535 5.7.8 Error: authentication failed" in done.stdout


def test_no_authentication_in_the_clear(client: str, suite: Suite) -> None:
    done = swaks(client, suite, "--auth", "PLAIN", "--auth-user", suite.first, "--auth-password",
                 suite.users[suite.first], "--from", suite.first, "--to", suite.second)
    assert done.returncode != 0 and "250-AUTH" not in done.stdout and "235" not in done.stdout


def test_submission_wants_tls_first(client: str, suite: Suite) -> None:
    done = swaks(client, suite, "--from", suite.first, "--to", suite.second)
    assert "530 5.7.0 Must issue a STARTTLS command first" in done.stdout


def test_submission_wants_authentication(client: str, suite: Suite) -> None:
    done = swaks(client, suite, "-tls", "--from", suite.first, "--to", "stranger@elsewhere.test")
    assert done.returncode != 0 and "554 5.7.1" in done.stdout
