"""amavisd-new with ClamAV and SpamAssassin behind content_filter, by SMTP there and back; the simple filter by pipe."""

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

import pytest

from tests.support.content_filters import EICAR, GTUBE, amavisd, clamd, missing
from tests.support.suite import Suite, free_port, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("filters")]
MISSING = missing("clamd", "amavisd")

# The two services of amavisd's README.postfix and of the usual courses: to the filter, and back from it.
SERVICES = """
smtp-amavis unix - - n - 2 smtp
  -o smtp_data_done_timeout=1200
  -o smtp_send_xforward_command=yes
  -o disable_dns_lookups=yes
  -o max_use=20
127.0.0.1:{back} inet n - n - - smtpd
  -o content_filter=
  -o smtpd_delay_reject=no
  -o smtpd_client_restrictions=permit_mynetworks,reject
  -o smtpd_helo_restrictions=
  -o smtpd_sender_restrictions=
  -o smtpd_relay_restrictions=
  -o smtpd_recipient_restrictions=permit_mynetworks,reject
  -o smtpd_data_restrictions=reject_unauth_pipelining
  -o smtpd_end_of_data_restrictions=
  -o smtpd_restriction_classes=
  -o mynetworks=127.0.0.0/8
  -o smtpd_error_sleep_time=0
  -o smtpd_soft_error_limit=1001
  -o smtpd_hard_error_limit=1000
  -o smtpd_client_connection_count_limit=0
  -o smtpd_client_connection_rate_limit=0
  -o receive_override_options=no_header_body_checks,no_unknown_recipient_checks,no_milters,no_address_mappings
  -o local_header_rewrite_clients=
  -o smtpd_authorized_xforward_hosts=127.0.0.0/8
"""


@contextmanager
def filtered_suite(virus: str) -> Iterator[Suite]:
    port, back = free_port(), free_port()
    with open_folder() as folder, clamd(folder) as scanner:
        suite = Suite(folder)
        aliases = "inline:{ { both@demo.test = anna@demo.test, ben@demo.test } }"
        suite.postconf(f"content_filter = smtp-amavis:[127.0.0.1]:{port}",
                       f"virtual_alias_maps = hash:$config_directory/virtual, {aliases}",
                       "header_checks = regexp:$config_directory/header.re")
        (suite.top / "header.re").write_text("/^Subject: checked/ WARN seen\n")
        with (suite.top / "master.cf").open("a") as file:
            file.write(SERVICES.format(back=back))
        with amavisd(folder, port, back, scanner, virus=virus):
            suite.start()
            try:
                yield suite
            finally:
                suite.stop()


def send(suite: Suite, body: bytes, *, subject: str = "hello", to: str = "", attached: bytes = b"") -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = suite.second, to or suite.first, subject
    message.set_content(body.decode())
    if attached:
        message.add_attachment(attached, "application", "octet-stream", filename="test.bin")
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], local_hostname="client.demo.test", timeout=60) as client:
        client.send_message(message, suite.second, [to or suite.first])


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with filtered_suite("D_DISCARD") as running:
        yield running


def quiet(suite: Suite) -> None:
    wait_for(lambda: not suite.program("postqueue", "-j").stdout, 60, "the queue is not empty:\n" + suite.log()[-3000:])


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
class TestAmavis:
    def test_clean_mail_comes_back_marked(self, suite: Suite) -> None:
        send(suite, b"nothing special\n.dot\n", to="both@demo.test")
        for user in (suite.first, suite.second):
            message = suite.wait_messages(user, 1, 90)[0]
            assert b"\nX-Virus-Scanned: amavisd-new at demo.test\n" in message
            assert b"\nX-Spam-Status: No, score=" in message
            assert b"nothing special\n.dot\n" in message
            # Once to us, once to the filter, once back; the filter is told who the client was (XFORWARD).
            assert message.count(b"\nReceived: ") == 3
            assert message.count(b"\nX-Original-To: both@demo.test\n") + message.count(b"\nDelivered-To: ") >= 1
        quiet(suite)
        assert f"to=<{suite.first}>, orig_to=<both@demo.test>, relay=127.0.0.1[127.0.0.1]:" in suite.log()

    def test_spam_is_tagged(self, suite: Suite) -> None:
        before = len(suite.messages(suite.first))
        send(suite, GTUBE, subject="buy")
        message = suite.wait_messages(suite.first, before + 1, 90)
        tagged, = (text for text in message if b"***SPAM*** buy" in text)
        assert b"\nX-Spam-Flag: YES\n" in tagged and b"GTUBE=1000" in tagged

    def test_a_virus_is_discarded(self, suite: Suite) -> None:
        before = len(suite.messages(suite.first))
        send(suite, b"see attached\n", subject="infected", attached=EICAR)
        wait_for(lambda: "discarded, id=" in suite.log(), 60, suite.log()[-3000:])
        quiet(suite)
        assert "Mailsuite.Test" in (suite.top.parent / "amavis/amavisd.log").read_text()
        send(suite, b"after it\n", subject="after")
        messages = suite.wait_messages(suite.first, before + 1, 90)
        assert not any(b"infected" in text for text in messages)

    def test_a_header_check_is_not_repeated_behind_the_filter(self, suite: Suite) -> None:
        before = len(suite.messages(suite.first))
        send(suite, b"x\n", subject="checked")
        suite.wait_messages(suite.first, before + 1, 90)
        assert suite.log().count(": warning: header Subject: checked from ") == 1


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_amavis_refuses_a_virus_and_the_sender_is_told() -> None:
    with filtered_suite("D_REJECT") as suite:
        send(suite, b"see attached\n", subject="infected", attached=EICAR)
        notice, = suite.wait_messages(suite.second, 1, 90)
        assert b"status=bounced" in suite.log().encode() and b"said: 554 5.7.0" in notice.replace(b"\n    ", b" ")
        assert not suite.messages(suite.first)
