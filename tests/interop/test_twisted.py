"""Twisted both ways: its mail clients against the running suite, and our sessions under its reactor."""

import subprocess
import sys

import pytest

from tests.support.suite import Suite

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]

# A reactor runs once per process, so the clients run in one of their own and print what they saw.
CLIENTS = r'''
import io, sys
from twisted.internet import reactor, defer, protocol, ssl, endpoints
from twisted.mail import imap4, pop3client, smtp
user, password, other, submission, imaps, pop3s, authority = sys.argv[1:8]
trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(open(authority).read())])
options = ssl.optionsForClientTLS("localhost", trust)

def connect(port, factory):
    return endpoints.SSL4ClientEndpoint(reactor, "localhost", int(port), options).connect(factory)

class Imap(protocol.ClientFactory):
    def buildProtocol(self, address):
        client = imap4.IMAP4Client()
        client.registerAuthenticator(imap4.PLAINAuthenticator(user.encode()))
        return client

class Pop(protocol.ClientFactory):
    def buildProtocol(self, address):
        client = pop3client.POP3Client()
        client.greeted = defer.Deferred()
        client.serverGreeting = lambda text: client.greeted.callback(text)
        return client

async def main():
    done = defer.Deferred()
    factory = smtp.ESMTPSenderFactory(user.encode(), password.encode(), user, [other],
        io.BytesIO(b"Subject: from twisted\r\n\r\nhello\r\n"), done, requireTransportSecurity=True,
        contextFactory=options, hostname="localhost")
    reactor.connectTCP("localhost", int(submission), factory)
    sent, _ = await done
    print("sent", sent)
    client = await connect(imaps, Imap())
    await client.login(user.encode(), password.encode())
    selected = await client.examine("INBOX")
    print("exists", selected["EXISTS"])
    names = await client.list("", "*")
    print("mailboxes", sorted(name for _, _, name in names))
    await client.logout()
    pop = await connect(pop3s, Pop())
    await pop.greeted
    await pop.login(user.encode(), password.encode())
    print("stat", (await pop.stat())[0])
    await pop.quit()

defer.ensureDeferred(main()).addErrback(lambda f: print(f.getTraceback())).addBoth(lambda _: reactor.stop())
reactor.run()
'''


def test_twisted_clients(suite: Suite) -> None:
    done = subprocess.run([sys.executable, "-c", CLIENTS, suite.first, suite.users[suite.first], suite.second,
                           *(str(suite.ports[name]) for name in ("submission", "imaps", "pop3s")),
                           str(suite.authority)], capture_output=True, text=True, check=False, timeout=60)
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said.get("sent") == "1", done.stdout + done.stderr
    assert int(said["exists"]) == int(said["stat"])
    assert "INBOX" in said["mailboxes"] and "Drafts" in said["mailboxes"]
