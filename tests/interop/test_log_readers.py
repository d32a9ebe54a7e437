"""pflogsumm and fail2ban read our log: deliveries are summed up, failed logins and relay attempts are found."""

import smtplib
import subprocess
import time

import pytest

from tests.interop.test_python_clients import submit
from tests.support.suite import Suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]


@pytest.mark.needs("pflogsumm")
def test_pflogsumm(client: str, suite: Suite) -> None:
    before = suite.log().count("status=sent")
    for _ in range(3):
        submit(suite, suite.first, suite.second, "for the summary")
    wait_for(lambda: suite.log().count("status=sent") >= before + 3)
    done = subprocess.run([client, "-u", "5", "-h", "5", str(suite.top / "log/mail.log")], capture_output=True,
                          text=True, check=False, timeout=60)
    assert done.returncode == 0 and not done.stderr
    totals = {words[1]: words[0] for line in done.stdout.splitlines() if len(words := line.split()) == 2}
    assert int(totals["delivered"]) >= 3 and int(totals["received"]) >= 3
    assert suite.second in done.stdout


def matches(client: str, log: str, rules: str) -> int:
    done = subprocess.run([client, log, rules], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.rpartition("Lines:")[2].split("ignored, ")[1].split()[0])


@pytest.mark.needs("fail2ban-regex")
def test_fail2ban(client: str, suite: Suite) -> None:
    with smtplib.SMTP("localhost", suite.ports["submission"], timeout=20) as smtp:
        smtp.starttls(context=suite.tls())
        with pytest.raises(smtplib.SMTPAuthenticationError):
            smtp.login(suite.first, "wrong")
        smtp.login(suite.first, suite.users[suite.first])
        smtp.docmd(f"mail from:<{suite.first}>")
        assert smtp.rcpt("nobody@demo.test")[0] == 550
    mail = suite.top / "log/mail.log"
    wait_for(lambda: "authentication failed" in mail.read_text() and "User unknown" in mail.read_text())
    assert matches(client, str(mail), "postfix[mode=auth]") >= 1
    assert matches(client, str(mail), "postfix[mode=normal]") >= 1
    with smtplib.SMTP("localhost", suite.ports["smtp"], timeout=20) as smtp:
        smtp.ehlo()
    import imaplib
    reader = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=20)
    with pytest.raises(imaplib.IMAP4.error):
        reader.login(suite.first, "wrong")
    reader.logout()
    access = suite.top / "log/dovecot.log"
    wait_for(lambda: "auth failed" in access.read_text())
    # fail2ban knows the line with syslog's head, as it stands where log_path is syslog.
    lines = [line for line in access.read_text().splitlines() if "auth failed" in line]
    copy = suite.top / "log/syslog"
    stamp = time.strftime("%b %e %H:%M:%S")
    copy.write_text("".join(f"{stamp} host dovecot: {line.split(' ', 3)[3].replace('Info: ', '')}\n" for line in lines))
    assert matches(client, str(copy), "dovecot") >= 1
