"""Our SMTP session under Twisted: the same session and handler as on asyncio, driven by twisted.mail's client.

A reactor runs once per process: each scenario has a process of its own.
"""

import subprocess
import sys

TOY = r'''
import sys
sys.path.insert(0, sys.argv[1])
from twisted.internet import reactor, protocol, defer
from mailsuite.net.twisted import SessionFactory
from tests.net.test_driver import ToyHandler
log = []
class Handler(ToyHandler):
    def __init__(self, peer):
        self.log, self.peer, self._timeout_s = log, peer, 60.0
class Client(protocol.Protocol):
    def connectionMade(self):
        self.got = b""
        self.transport.write(b"one\r\nask xyz\r\nbody abc\r\nask crash\r\ntwo\r\nquit\r\n")
    def dataReceived(self, octets):
        self.got += octets
    def connectionLost(self, reason):
        print(self.got)
        reactor.callLater(0, reactor.stop)
port = reactor.listenTCP(0, SessionFactory(Handler), interface="127.0.0.1").getHost().port
protocol.ClientCreator(reactor, Client).connectTCP("127.0.0.1", port)
reactor.callLater(50, reactor.stop)
reactor.run()
print(log)
'''


def test_the_same_dialogue_as_on_asyncio() -> None:
    from pathlib import Path
    root = str(Path(__file__).parent.parent.parent)
    done = subprocess.run([sys.executable, "-c", TOY, root], capture_output=True, text=True, check=False, timeout=60,
                          cwd=root)
    lines = done.stdout.splitlines()
    assert lines[0] == repr(b"hello\r\none\r\nanswer 3\r\nfailed\r\ntwo\r\nbye\r\n"), done.stdout + done.stderr
    assert "('body', b'abc')" in lines[1] and "lost" not in lines[1].replace("lost connection", "")
