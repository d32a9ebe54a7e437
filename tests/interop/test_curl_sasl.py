"""curl logs in with every SASL mechanism it knows, to IMAP, POP3 and SMTP, over STARTTLS and TLS."""

import subprocess
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from mailsuite.cli.mailsuite import cli
from tests.support.suite import Suite, open_folder

pytestmark = [pytest.mark.system, pytest.mark.needs("curl"), pytest.mark.xdist_group("curl-sasl")]
ADDRESS, PASSWORD = "carl@demo.test", "wurzel-Kl33"
WAYS = ("imap", "imaps", "pop3", "pop3s", "submission", "smtps")


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    """With a password that all mechanisms can use."""
    with open_folder() as folder:
        suite = Suite(folder)
        with (suite.top / "dovecot.conf").open("a") as conf:
            conf.write("auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256\n")
        done = CliRunner().invoke(cli, ["-c", str(suite.top), "user", "add", ADDRESS, "--scheme", "PLAIN",
                                        "--password-stdin"], input=PASSWORD + "\n")
        assert done.exit_code == 0, done.output
        suite.start()
        try:
            yield suite
        finally:
            suite.stop()


def mechanisms(client: str) -> list[str]:
    features = subprocess.run([client, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    return ["PLAIN", "LOGIN", "CRAM-MD5", *(["SCRAM-SHA-1", "SCRAM-SHA-256"] if "gsasl" in features.lower() else [])]


@pytest.mark.parametrize("way", WAYS)
def test_login(client: str, suite: Suite, way: str) -> None:
    port, tls = suite.ports[way], way.endswith("s")
    scheme = way if way != "submission" else "smtp"
    for mechanism in mechanisms(client):
        done = subprocess.run(
            [client, "-sS", "-v", "--max-time", "50", "--cacert", str(suite.authority),
             *([] if tls else ["--ssl-reqd"]), "--user", f"{ADDRESS}:{PASSWORD}",
             "--login-options", f"AUTH={mechanism}", *(["-X", "NOOP"] if scheme.startswith("smtp") else []), f"{scheme}://localhost:{port}/"],
            capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{mechanism}: {done.stderr[-1000:]}"
        assert f"AUTH {mechanism}" in done.stderr or f"AUTHENTICATE {mechanism}" in done.stderr
