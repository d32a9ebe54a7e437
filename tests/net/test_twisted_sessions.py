"""Our SMTP, IMAP and POP3 sessions under Twisted, driven by twisted.mail's own clients.

A reactor runs once per process: everything happens in one of its own, which prints what it saw.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

PROGRAM = r'''
import asyncio, io, os, sys
from pathlib import Path
from twisted.internet import asyncioreactor
from mailsuite.net.service import new_event_loop
asyncioreactor.install(new_event_loop())
from twisted.internet import reactor, defer, endpoints, protocol
from twisted.mail import imap4, smtp
from twisted.mail.pop3 import AdvancedPOP3Client
from mailsuite.access.user_mail import UserMail
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.settings import Settings
from mailsuite.imap.server_connection import Handler as ImapHandler
from mailsuite.imap.params import Params as ImapParams
from mailsuite.net.service import ServiceContext
from mailsuite.net.twisted import SessionFactory
from mailsuite.pop3 import server as pop3_server
from mailsuite.sasl.user import UserInfo
from mailsuite.smtp.server import Server, SmtpHandler

top = Path(sys.argv[1])
dovecot = DovecotSettings.of(f"mail_location = maildir:{top}/mail\nfirst_valid_uid = 0\nfirst_valid_gid = 0\n")
user = UserInfo("anna", os.getuid(), os.getgid(), str(top))

def listen(handler):
    return reactor.listenTCP(0, SessionFactory(handler), interface="127.0.0.1").getHost().port

def connect(port, factory):
    return endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(factory)

async def smtp_part():
    server = Server(ServiceContext("smtp", "smtpd", Settings.of({
        "compatibility_level": "3.6", "queue_directory": str(top / "spool"), "myhostname": "mx.test",
        "mydestination": "test", "alias_maps": "",
        "local_recipient_maps": "", "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4",
        "mynetworks": "127.0.0.0/8"})))
    port = listen(lambda peer: SmtpHandler(server, peer))
    done = defer.Deferred()
    factory = smtp.ESMTPSenderFactory(None, None, "a@b.test", ["anna@test"],
                                      io.BytesIO(b"Subject: under twisted\r\n\r\n.dot\r\n"), done,
                                      requireAuthentication=False, requireTransportSecurity=False)
    reactor.connectTCP("127.0.0.1", port, factory)
    sent, (reply,) = await done
    print("smtp", sent, reply[1])
    queued = list((top / "spool/incoming").rglob("*"))
    print("queued", [b"Subject: under twisted" in path.read_bytes() for path in queued if path.is_file()])

class Imap(protocol.ClientFactory):
    def buildProtocol(self, address):
        client = imap4.IMAP4Client()
        client.greeted = defer.Deferred()
        client.serverGreeting = lambda capabilities: client.greeted.callback(None)
        return client

async def imap_part(mail):
    greeting = b"* PREAUTH [CAPABILITY IMAP4rev1] ready\r\n"
    port = listen(lambda peer: ImapHandler(mail, ImapParams.of(dovecot), greeting, ""))
    client = await connect(port, Imap())
    await client.greeted
    await client.create("Sent")
    await client.append("INBOX", io.BytesIO(b"Subject: one\r\n\r\nfirst body\r\n"), ("\\Flagged",))
    print("imap", (await client.select("INBOX"))["EXISTS"], (await client.fetchFlags("1"))[1]["FLAGS"])
    print("search", await client.search(imap4.Query(subject="one")))
    print("body", (await client.fetchSimplifiedBody("1"))[1])
    await client.addFlags("1", ("\\Seen",))
    print("copied", await client.copy("1", "Sent", False) is not None, (await client.status("Sent", "MESSAGES")))
    await client.logout()

class Pop(protocol.ClientFactory):
    def buildProtocol(self, address):
        client = AdvancedPOP3Client()
        client.greeted = defer.Deferred()
        client.serverGreeting = lambda text: client.greeted.callback(None)
        return client

async def pop3_part(mail):
    from mailsuite.pop3.commands import Context
    from mailsuite.pop3.maildrop import Maildrop
    from mailsuite.pop3.params import Params
    params = Params.of(dovecot)
    drop = Maildrop(mail.store, params)
    port = listen(lambda peer: pop3_server.Handler(mail, Context(drop, params), {}))
    client = await connect(port, Pop())
    await client.greeted
    print("pop3", (await client.stat())[0], await client.retrieve(0))
    await client.delete(0)
    await client.quit()

def in_task(coroutine):
    return defer.Deferred.fromFuture(asyncio.ensure_future(coroutine))

async def main():
    await smtp_part()
    mail = UserMail(user, dovecot)
    await in_task(mail.opened())
    await imap_part(mail)
    await pop3_part(mail)
    print("left", len(list((top / "mail/cur").iterdir())))

def go():
    task = defer.ensureDeferred(main())
    task.addErrback(lambda failure: print(failure.getTraceback())).addBoth(lambda _: reactor.stop())

reactor.callLater(0, go)        # the loop must be running
reactor.callLater(55, reactor.stop)
reactor.run()
'''


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    top = tmp_path_factory.mktemp("twisted")
    for name in ("incoming", "public", "active"):
        (top / "spool" / name).mkdir(parents=True)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(top)], capture_output=True, text=True, check=False,
                          timeout=60, cwd=ROOT)
    return done.stdout + done.stderr


@pytest.mark.parametrize("line", [
    pytest.param("smtp 1 250", id="ESMTPSender"),
    pytest.param("queued [True]", id="the message is in the queue"),
    pytest.param("imap 1 ['\\\\Flagged'", id="IMAP4Client: append, select, fetch"),
    pytest.param("search [1]", id="IMAP4Client: search"),
    pytest.param("body {'BODY': ['text', 'plain', ", id="IMAP4Client: body"),
    pytest.param("copied True {'MESSAGES': 1}", id="IMAP4Client: copy, status"),
    pytest.param("pop3 1 [b'Subject: one', b'', b'first body']", id="POP3Client: stat, retr"),
    pytest.param("left 0", id="POP3Client: dele, quit"),
])
def test_twisted_drives_our_sessions(said: str, line: str) -> None:
    assert line in said.replace("\\r\\n", ""), said
