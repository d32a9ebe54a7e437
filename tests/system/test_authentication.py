"""Two suites and a name server: who mail comes from is proved by one, and checked by the other."""

import re
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mailsuite.auth_results.content import parse_content
from tests.support.dns_zone import name_server
from tests.support.opendkim import sign_with, signer
from tests.support.signing import key, pem, record
from tests.support.suite import BIN, Suite, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("authentication")]
STRANGER = "127.0.0.9"                  # whom SPF of nobody allows
Zone = dict[str, list[str]]


class Pair(NamedTuple):
    """ours: demo.test; theirs: other.test, to whom ours is a stranger and the other way round."""

    ours: Suite
    theirs: Suite
    zone: Zone


def published(suite: Suite, domain: str) -> Zone:
    """What `mailsuite dkim record` says, as a zone."""
    zone: Zone = {}
    for line in re.split(r"\n(?=\S)", identity(suite, "dkim", "record", domain)):
        name, _, text = line.partition(". IN TXT ")
        zone[name] = ["TXT " + "".join(re.findall(r'"([^"]*)"', text))]
    assert zone
    return zone


def identity(suite: Suite, *words: str, status: int = 0) -> str:
    done = subprocess.run([str(BIN / "mailsuite"), "-c", str(suite.top), *words], text=True, capture_output=True,
                          check=False, timeout=60)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def be_other_test(suite: Suite) -> None:
    """Turn a site for demo.test into one for other.test, which seals what it passes on."""
    key_line = re.search(r"^other\.test (arc:\S+)$", identity(suite, "dkim", "key", "other.test", "--selector", "arc",
                                                             "--algorithm", "ed25519"), re.MULTILINE)
    assert key_line is not None
    (suite.top / "vmailbox").write_text("anna@other.test other.test/anna/\n")
    (suite.top / "virtual").write_text("forward@other.test ben@demo.test\n")
    for table in ("vmailbox", "virtual"):
        assert suite.program("postmap", f"hash:{suite.top / table}").returncode == 0
    suite.postconf("myhostname = mx.other.test", "mydomain = other.test", "virtual_mailbox_domains = other.test",
                   f"arc_seal = other.test:{key_line[1]}", "dkim_sign_domains =", "spf_received_header = yes")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    zone: Zone = {
        "demo.test": ["TXT v=spf1 ip4:127.0.0.1 -all", "A 127.0.0.1"], "mx.demo.test": ["A 127.0.0.1"],
        "_dmarc.demo.test": ["TXT v=DMARC1; p=reject; rua=mailto:reports@demo.test"],
        "other.test": ["A 127.0.0.1"], "mx.other.test": ["A 127.0.0.1"],
        "never.test": ["TXT v=spf1 -all", "A 127.0.0.1"],
        "quarantine.test": ["A 127.0.0.1"], "_dmarc.quarantine.test": ["TXT v=DMARC1; p=quarantine"],
        "1.0.0.127.in-addr.arpa": ["PTR localhost."], **record(key(domain="peer.test"))}
    with open_folder() as one, open_folder() as two, name_server(zone) as port:
        ours, theirs = Suite(one), Suite(two)
        be_other_test(theirs)
        for suite, others in ((ours, theirs), (theirs, ours)):
            domain = "other.test" if suite is ours else "demo.test"
            suite.postconf(f"dns_servers = 127.0.0.1:{port}", "mynetworks = 127.0.0.2/32",
                           "smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, "
                           "reject_spf_fail, reject_dmarc_reject, mark_dmarc_quarantine",       # no greylisting
                           f"transport_maps = inline:{{{domain}=smtp:[127.0.0.1]:{others.ports['smtp']}}}")
        zone |= published(ours, "demo.test") | published(theirs, "other.test")
        try:
            ours.start()
            theirs.start()
            yield Pair(ours, theirs, zone)
        finally:
            ours.stop()
            theirs.stop()


def arrived(suite: Suite, folder: str, mark: str) -> str:
    """The message with a mark in its subject, in a user's INBOX."""
    top = suite.top / "vmail" / folder / "new"
    def find() -> str | None:
        texts = (path.read_text(errors="replace") for path in top.glob("*")) if top.is_dir() else ()
        return next((text for text in texts if f"Subject: {mark}" in text), None)
    try:
        found = wait_for(find)
    except TimeoutError:
        raise AssertionError(suite.log()[-5000:]) from None
    assert isinstance(found, str)
    return found


def results(message: str, host: str) -> str:
    values = [field.value.decode() for field in parse_content(message.encode()).fields
              if field.name == b"Authentication-Results" and field.value.split(b";")[0].strip() == host.encode()]
    assert len(values) == 1, message
    return " ".join(values[0].split())


def submit(suite: Suite, to: str, mark: str) -> None:
    with smtplib.SMTP("localhost", suite.ports["submission"], timeout=30) as smtp:
        smtp.starttls(context=suite.tls())
        smtp.login(suite.first, suite.users[suite.first])
        smtp.sendmail(suite.first, [to], f"From: Anna <{suite.first}>\r\nTo: {to}\r\nSubject: {mark}\r\n"
                                         "Authentication-Results: mx.other.test; dkim=pass\r\n\r\nHello  there\r\n")


def hand_over(suite: Suite, sender: str, message: str, *, source: str = STRANGER) -> tuple[int, str]:
    """As a stranger; the reply to the recipient or to the end of data."""
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], "client.test", 30, (source, 0)) as smtp:
        smtp.ehlo()
        smtp.mail(sender)
        code, text = smtp.rcpt("anna@other.test")
        if code == 250:
            code, text = smtp.data(message.encode())
        return code, text.decode()


def test_submitted_mail_passes_everywhere(pair: Pair) -> None:
    submit(pair.ours, "anna@other.test", "submitted")
    message = arrived(pair.theirs, "other.test/anna", "submitted")
    found = results(message, "mx.other.test")
    assert found.startswith("mx.other.test; spf=pass smtp.mailfrom=anna@demo.test; dkim=pass (2048-bit key) "
                            "header.d=demo.test header.i=@demo.test header.s=mail header.a=rsa-sha256 header.b=")
    assert found.endswith("dmarc=pass (p=reject dis=none) header.from=demo.test; arc=none")
    assert "\nReceived-SPF: pass (mx.other.test: domain of anna@demo.test designates 127.0.0.1" in message
    assert "DKIM-Signature field added (s=mail, d=demo.test)" in pair.ours.log()


def test_local_programs_mail_is_signed(pair: Pair) -> None:
    done = pair.ours.program("sendmail", "-f", "anna@demo.test", "anna@other.test",
                             input="From: anna@demo.test\nSubject: local\n\nhi\n")
    assert done.returncode == 0
    assert "dkim=pass" in results(arrived(pair.theirs, "other.test/anna", "local"), "mx.other.test")


def test_tampered_mail(pair: Pair) -> None:
    submit(pair.ours, "anna@other.test", "tampered")
    message = arrived(pair.theirs, "other.test/anna", "tampered")
    text = message[message.index("DKIM-Signature"):].replace("Subject: tampered", "Subject: changed")
    # From its own host SPF still speaks for it; a stranger is refused.
    assert hand_over(pair.theirs, "anna@demo.test", text, source="127.0.0.1")[0] == 250
    found = results(arrived(pair.theirs, "other.test/anna", "changed"), "mx.other.test")
    assert "dkim=fail" in found and 'reason="signature does not match"' in found and "dmarc=pass" in found
    code, reply = hand_over(pair.theirs, "x@client.test", text)
    assert (code, reply) == (
        550, "5.7.1 Unauthenticated mail from demo.test is not accepted due to the domain's DMARC policy")


def test_forged_mail_is_refused_at_the_end(pair: Pair) -> None:
    code, _ = hand_over(pair.theirs, "x@client.test", "From: anna@demo.test\r\nSubject: forged\r\n\r\nx\r\n")
    assert code == 550
    log = pair.theirs.log()
    assert re.search(r"reject: END-OF-MESSAGE from \S+\[127\.0\.0\.9\]: 550 5\.7\.1 Unauthenticated mail from", log)
    assert "policy=reject disposition=reject rua=mailto:reports@demo.test" in log


def test_quarantine_is_marked(pair: Pair) -> None:
    text = "From: a@quarantine.test\r\nSubject: doubtful\r\n\r\nx\r\n"
    assert hand_over(pair.theirs, "x@client.test", text)[0] == 250
    message = arrived(pair.theirs, "other.test/anna", "doubtful")
    assert "\nX-Spam-Flag: YES\n" in message and "dmarc=fail (p=quarantine dis=quarantine)" in message


def test_spf_fail_is_refused_at_the_recipient(pair: Pair) -> None:
    assert hand_over(pair.theirs, "x@never.test", "") == (
        550, "5.7.23 <x@never.test>: Sender address rejected: never.test does not allow [127.0.0.9] to send for it "
             "(SPF fail)")


def test_what_opendkim_signed(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(pem("rsa"))
    text = b"From: a@peer.test\nTo: anna@other.test\nSubject: opendkim\n\nby  opendkim \n"
    with signer(tmp_path, file, "peer.test", "sel") as path:
        message = sign_with(path, text) + text
    assert hand_over(pair.theirs, "x@peer.test", message.decode().replace("\n", "\r\n"))[0] == 250
    found = results(arrived(pair.theirs, "other.test/anna", "opendkim"), "mx.other.test")
    assert "dkim=pass (1024-bit key) header.d=peer.test" in found and "dmarc=none" in found


def test_forwarded_mail_carries_a_seal(pair: Pair) -> None:
    text = "From: a@peer.test\r\nSubject: sealed\r\n\r\nx\r\n"
    with smtplib.SMTP("127.0.0.1", pair.theirs.ports["smtp"], "client.test", 30, (STRANGER, 0)) as smtp:
        smtp.sendmail("x@peer.test", ["forward@other.test"], text)
    message = arrived(pair.ours, "demo.test/ben", "sealed")
    assert "arc=pass (i=1) header.d=other.test header.oldest-pass=0" in results(message, "mx.demo.test")
    assert "\nARC-Authentication-Results: i=1; mx.other.test;" in message and "cv=none;" in message


def test_commands(pair: Pair, tmp_path: Path) -> None:
    assert identity(pair.ours, "dkim", "check") == "mail._domainkey.demo.test: ok\n"
    assert identity(pair.ours, "dkim", "check", "none.test", status=1) == ""
    name, saved = "mail._domainkey.demo.test", pair.zone["mail._domainkey.demo.test"]
    fresh = identity(pair.ours, "dkim", "key", "fresh.test", "--algorithm", "ed25519")
    assert "mail._domainkey.fresh.test. IN TXT \"v=DKIM1; k=ed25519; p=" in fresh and "fresh.test mail:" in fresh
    assert identity(pair.ours, "dkim", "check", "fresh.test", status=1) == "mail._domainkey.fresh.test: not in DNS\n"
    pair.zone["mail._domainkey.fresh.test"] = saved
    assert identity(pair.ours, "dkim", "check", "fresh.test", status=1).endswith("DNS has another key\n")
    pair.zone["mail._domainkey.fresh.test"] = ["TIMEOUT"]
    assert "could not be asked" in identity(pair.ours, "dkim", "check", "fresh.test", status=2)
    assert pair.zone[name] == saved
    said = identity(pair.ours, "dmarc", "mail.demo.test")
    assert "record of: _dmarc.demo.test\npolicy for this domain: reject\n" in said
    assert "aggregate reports to: mailto:reports@demo.test\n" in said
    assert "no DMARC record" in identity(pair.ours, "dmarc", "peer.test", status=1)
    assert identity(pair.ours, "spf", "127.0.0.1", "anna@demo.test") == "pass (by ip4:127.0.0.1)\n"
    assert identity(pair.ours, "spf", STRANGER, "demo.test", status=1) == "fail (by -all)\n"
    file = tmp_path / "message"
    submit(pair.ours, "anna@other.test", "for-verify")
    text = arrived(pair.theirs, "other.test/anna", "for-verify")
    file.write_text(text)
    assert identity(pair.ours, "dkim", "verify", str(file)) == "dkim=pass d=demo.test s=mail a=rsa-sha256\n"
    file.write_text(text.replace("Hello", "Hallo"))
    assert "body hash does not match" in identity(pair.ours, "dkim", "verify", str(file), status=1)
