"""The real postgrey as a policy service, over TCP and over a Unix socket."""

import smtplib

import pytest

from tests.support.content_filters import missing, postgrey
from tests.support.suite import Suite, free_port, open_folder, wait_for

MISSING = missing("postgrey")
pytestmark = [pytest.mark.system, pytest.mark.xdist_group("filters"),
              pytest.mark.skipif(bool(MISSING), reason=MISSING)]
RESTRICTIONS = "smtpd_recipient_restrictions = reject_unauth_destination, check_policy_service {}"


def offer(suite: Suite, sender: str) -> tuple[int, bytes]:
    """What a stranger's RCPT gets."""
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], local_hostname="client.far.test", timeout=60) as client:
        client.ehlo()
        client.mail(sender)
        return client.rcpt(suite.first)


@pytest.mark.parametrize("kind", ["inet", "unix"])
def test_the_first_attempt_waits(kind: str) -> None:
    with open_folder() as folder:
        suite, port, path = Suite(folder), free_port(), folder / "postgrey/socket"
        service = f"inet:127.0.0.1:{port}" if kind == "inet" else f"unix:{path}"
        listens = ("127.0.0.1", port) if kind == "inet" else str(path)
        suite.postconf(RESTRICTIONS.format(service), "smtpd_policy_service_retry_delay = 1s")
        suite.start()
        try:
            with postgrey(folder, f"--{service.replace(':', '=', 1)}", "--delay=1", listens=listens):
                if kind == "unix":
                    path.chmod(0o666)
                code, text = offer(suite, "one@far.test")
                assert code == 450 and b"Recipient address rejected: Greylisted" in text
                wait_for(lambda: offer(suite, "one@far.test")[0] == 250, 30, "greylisted for ever")
                assert offer(suite, "two@far.test")[0] == 450           # another sender, another triplet
            refused = b"4.3.5 <%b>: Recipient address rejected: Server configuration problem" % suite.first.encode()
            assert offer(suite, "one@far.test") == (451, refused)
            assert "problem talking to server" in suite.log()
            suite.postconf("smtpd_policy_service_default_action = DUNNO")
            suite.command("reload")
            wait_for(lambda: offer(suite, "one@far.test")[0] == 250, 30, "default_action is not obeyed")
        finally:
            suite.stop()
