"""Python's own smtplib, imaplib and poplib; the COURSE's transcripts; Twisted's clients are in test_twisted.py."""

import imaplib
import poplib
import smtplib
from email.message import EmailMessage
from uuid import uuid4

import pytest

from tests.support.suite import Suite, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]


def submit(suite: Suite, sender: str, to: str, subject: str, body: str = "hello\n") -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message.set_content(body)
    with smtplib.SMTP("localhost", suite.ports["submission"], timeout=20) as smtp:
        smtp.starttls(context=suite.tls())
        smtp.login(sender, suite.users[sender])
        smtp.send_message(message)


def imap(suite: Suite, user: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=20)
    client.login(user, suite.users[user])
    return client


def test_smtp_to_imap(suite: Suite) -> None:
    mark = uuid4().hex
    submit(suite, suite.first, suite.second, mark)
    client = imap(suite, suite.second)

    def arrived() -> bytes:
        client.select("INBOX")
        return client.uid("SEARCH", "SUBJECT", mark)[1][0]

    uid = wait_for(arrived)
    status, parts = client.uid("FETCH", uid, "(FLAGS BODY[])")
    assert status == "OK" and mark.encode() in parts[0][1] and parts[0][1].startswith(b"Return-Path: <")
    assert client.uid("STORE", uid, "+FLAGS", r"(\Deleted)")[0] == "OK"
    assert client.expunge()[0] == "OK"
    assert client.uid("SEARCH", "SUBJECT", mark)[1][0] == b""
    client.logout()


def test_starttls_on_imap_and_pop3(suite: Suite) -> None:
    client = imaplib.IMAP4("localhost", suite.ports["imap"], timeout=20)
    client.starttls(suite.tls())
    assert client.login(suite.first, suite.users[suite.first])[0] == "OK"
    client.logout()
    pop = poplib.POP3("localhost", suite.ports["pop3"], timeout=20)
    pop.stls(suite.tls())
    pop.user(suite.first)
    assert pop.pass_(suite.users[suite.first]).startswith(b"+OK")
    pop.quit()


def test_pop3_deletes_only_on_quit(suite: Suite) -> None:
    mark = uuid4().hex
    submit(suite, suite.first, suite.second, mark)
    wait_for(lambda: any(mark.encode() in message for message in suite.messages(suite.second)))

    def login() -> poplib.POP3:
        pop = poplib.POP3_SSL("localhost", suite.ports["pop3s"], context=suite.tls(), timeout=20)
        pop.user(suite.second)
        pop.pass_(suite.users[suite.second])
        return pop

    pop = login()
    count, _ = pop.stat()
    assert any(mark.encode() in line for line in pop.top(count, 0)[1])
    pop.dele(count)
    ended = f"pop3({suite.second})<"
    before = sum(ended in line and "Disconnected" in line for line in suite.log().splitlines())
    pop.close()             # no QUIT: nothing is deleted
    wait_for(lambda: sum(ended in line and "Disconnected" in line for line in suite.log().splitlines()) > before)
    pop = login()
    assert pop.stat()[0] == count
    pop.dele(count)
    pop.quit()
    pop = login()
    assert pop.stat()[0] == count - 1
    pop.quit()


def test_a_large_message_streams_through(suite: Suite) -> None:
    mark, body = uuid4().hex, "0123456789" * 7 + "\n"
    submit(suite, suite.first, suite.first, mark, body * 100_000)
    found = wait_for(lambda: next((m for m in suite.messages(suite.first) if mark.encode() in m), None), 30)
    assert found.count(body.encode().strip()) == 100_000


def test_idle_hears_of_new_mail(suite: Suite) -> None:
    client = imap(suite, suite.second)
    client.select("INBOX")
    client.send(b"i1 IDLE\r\n")
    assert client.readline().startswith(b"+ ")
    submit(suite, suite.first, suite.second, uuid4().hex)
    assert b"EXISTS" in client.readline()
    client.send(b"DONE\r\n")
    while not client.readline().startswith(b"i1 OK"):
        pass
    client.logout()


def test_what_the_course_shows(suite: Suite) -> None:
    """COURSE section 6: the EHLO list, the replies, the delivered headers."""
    with smtplib.SMTP("localhost", suite.ports["smtp"], timeout=20) as smtp:
        smtp.ehlo("client.example.org")
        lines = smtp.ehlo_resp.decode().splitlines()
        assert lines[0] == "mx.demo.test" and lines[1] == "PIPELINING"
        assert lines[2:] == ["SIZE 10240000", "VRFY", "ETRN", "STARTTLS", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN",
                             "SMTPUTF8", "CHUNKING"]
        assert smtp.docmd(f"mail from:<{suite.first}>") == (250, b"2.1.0 Ok")
        assert smtp.docmd(f"rcpt to:<{suite.second}>") == (250, b"2.1.5 Ok")
        mark = uuid4().hex
        assert smtp.docmd("data") == (354, b"End data with <CR><LF>.<CR><LF>")
        smtp.send(f"Subject: {mark}\r\n\r\nhello\r\n.\r\n")
        code, text = smtp.getreply()
        assert code == 250 and text.startswith(b"2.0.0 Ok: queued as ")
    queue_id = text.rpartition(b" ")[2].decode()
    message = wait_for(lambda: next((m for m in suite.messages(suite.second) if mark.encode() in m), None)).decode()
    head = message.split("\n\n")[0].split("\n")
    assert head[:3] == [f"Return-Path: <{suite.first}>", f"X-Original-To: {suite.second}",
                        f"Delivered-To: {suite.second}"]
    assert head[3].startswith("Received: from client.example.org (")
    assert head[4] == f"\tby mx.demo.test (Postfix) with ESMTP id {queue_id}"
    assert head[5].startswith(f"\tfor <{suite.second}>; ")


def test_a_stranger_may_not_relay(suite: Suite) -> None:
    """From this machine everybody is in mynetworks; submission (authenticated only) shows the refusal."""
    context = suite.tls()
    with smtplib.SMTP("localhost", suite.ports["submission"], timeout=20) as smtp:
        assert smtp.docmd("ehlo", "x")[0] == 250
        assert smtp.docmd("mail from:<a@b.test>") == (530, b"5.7.0 Must issue a STARTTLS command first")
        smtp.starttls(context=context)
        smtp.ehlo()
        smtp.docmd("mail from:<a@b.test>")
        assert smtp.docmd("rcpt to:<x@elsewhere.test>")[0] == 554


def test_plain_text_is_not_for_passwords(suite: Suite) -> None:
    with smtplib.SMTP("localhost", suite.ports["submission"], timeout=20) as smtp:
        smtp.ehlo()
        assert not smtp.has_extn("auth")
