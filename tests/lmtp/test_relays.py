"""The real Postfix and Exim bring mail by LMTP to our stores: each message once, octet by octet."""

import os
import smtplib

import pytest

from tests.support.relays import NEED_ROOT, running_exim, running_postfix
from tests.support.suite import Suite, free_port, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("relays"),
              pytest.mark.skipif(os.geteuid() != 0, reason=NEED_ROOT)]
BODIES = (b"plain\r\n.dot\r\n..two\r\nFrom the start\r\n", "Grüße\r\n".encode() * 30, b"x" * 900 + b"\r\n", b"",
          b"".join(b"%06d line\r\n" % line for line in range(5000)))


@pytest.mark.parametrize("running", [running_postfix, running_exim], ids=["postfix", "exim"])
def test_mail_arrives_by_lmtp(running: object) -> None:
    assert callable(running)
    with open_folder() as folder:
        suite, port = Suite(folder), free_port()
        with (suite.top / "dovecot.conf").open("a") as conf:
            conf.write("protocols = imap pop3 lmtp\nservice lmtp {\n  inet_listener lmtp {\n"
                       f"    address = 127.0.0.1\n    port = {port}\n  }}\n}}\n")
        suite.start()
        try:
            (folder / "relay").mkdir(mode=0o755)
            with running(folder / "relay", suite.ports["smtp"], lmtp=port) as relay:
                with smtplib.SMTP("127.0.0.1", relay.port, timeout=60) as client:
                    for number, body in enumerate(BODIES):
                        content = b"Subject: mail %d\r\nMessage-ID: <%d@b.test>\r\nX-Mark: %d\r\n\r\n%b" % (
                            number, number, number, body)
                        client.sendmail("sender@b.test", [suite.first, suite.second, "nobody-here@demo.test"], content,
                                        ["BODY=8BITMIME"])
                for user in (suite.first, suite.second):
                    wait_for(lambda user=user: len(suite.messages(user)) >= len(BODIES), 60,
                             f"{len(suite.messages(user))} of {len(BODIES)}\n{relay.log()}")
                    found = {message.partition(b"\nX-Mark: ")[2][:1]: message.partition(b"\n\n")[2]
                             for message in suite.messages(user)}
                    assert found == {b"%d" % number: body.replace(b"\r\n", b"\n")
                                     for number, body in enumerate(BODIES)}
                    assert len(suite.messages(user)) == len(BODIES)
                log = relay.top / ("mail.log" if relay.name == "postfix" else "log/mainlog")
                wait_for(lambda: "User doesn't exist: nobody-here@demo.test" in log.read_text(errors="replace"),
                         what="an unknown recipient among known ones has a reply of its own")
        finally:
            suite.stop()
