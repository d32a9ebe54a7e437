"""A policy service that master.cf starts by spawn, over a Unix socket and over TCP, asked by smtpd."""

import smtplib
import sys

import pytest

from tests.support.suite import Suite, free_port, open_folder

pytestmark = pytest.mark.system
POLICY = """
import sys

said = {}
for line in sys.stdin:
    name, equals, value = line.rstrip("\\n").partition("=")
    if equals:
        said[name] = value
    else:
        print("action=%s\\n" % ("REJECT not from here" if "bad" in said["sender"] else "DUNNO"), flush=True)
        said = {}
"""


@pytest.mark.parametrize("kind", ["inet", "unix"])
def test_smtpd_asks_a_policy_by_spawn(kind: str) -> None:
    with open_folder() as folder:
        suite, port = Suite(folder), free_port()
        name, service = (f"127.0.0.1:{port}", f"inet:127.0.0.1:{port}") if kind == "inet" else (
            "policy", "unix:private/policy")
        (folder / "policy.py").write_text(POLICY)
        with open(suite.top / "master.cf", "a") as master:
            master.write(f"{name} {kind} {'n' if kind == 'inet' else '-'} n n - 5 spawn\n"
                         f"    user=nobody argv={sys.executable} -I {folder}/policy.py\n")
        suite.postconf("smtpd_recipient_restrictions = reject_unauth_destination, "
                       f"check_policy_service {service}", *(["policy_time_limit = 1h"] if kind == "unix" else []))
        suite.start()
        try:
            with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], local_hostname="client.far.test", timeout=60) as one:
                one.ehlo()
                for sender, code in (("bad@far.test", 554), ("good@far.test", 250)):
                    one.mail(sender)
                    answer, text = one.rcpt(suite.first)
                    assert answer == code, suite.log()[-3000:]
                    assert (b"not from here" in text) == (code == 554)
                    one.rset()
                one.sendmail("good@far.test", [suite.first], "Subject: spawned\n\nx\n")
            assert b"Subject: spawned" in suite.wait_messages(suite.first, 1)[0]
        finally:
            suite.stop()
        assert "postfix/spawn" not in suite.log(), suite.log()[-2000:]
