"""Who reads mail while it comes: fetches, notes what arrived, deletes.

    reader = ImapReader(world, user, password); reader.start(); ...; reader.stop(); reader.arrivals

A message counts once however often it is fetched: its UID says which it is. Only what was noted is deleted.
"""

import imaplib
import poplib
import threading
from typing import TYPE_CHECKING

from tests.faults.load import Arrival, arrivals_of

if TYPE_CHECKING:
    from tests.faults.world import World

PAUSE_S = 1.0
AT_ONCE = 200


class Reader(threading.Thread):
    """Reads until it is stopped. arrivals: what it has seen."""

    def __init__(self, world: "World", user: str, password: str) -> None:
        super().__init__(daemon=True, name=f"reader-{user}")
        self.world, self.user, self.password = world, user, password
        self.arrivals: list[Arrival] = []
        self.faults: dict[str, int] = {}
        self._known: set[bytes] = set()
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.session()
            except (OSError, imaplib.IMAP4.error, poplib.error_proto) as error:
                text = str(error)[:80]
                self.faults[text] = self.faults.get(text, 0) + 1
            self._stopped.wait(PAUSE_S)

    def note(self, uid: bytes, content: bytes) -> None:
        if uid not in self._known:
            self._known.add(uid)
            arrived = arrivals_of(content, self.user, 0.0)
            # The sender is the postmaster, too: what comes there besides reports is none of ours.
            self.arrivals += [one for one in arrived if one.reported or self.user != self.world.sender]

    def session(self) -> None:
        raise NotImplementedError


class ImapReader(Reader):
    """Fetches by UID, deletes, expunges; a look at the folders besides."""

    def session(self) -> None:
        suite = self.world.suite
        client = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=30)
        try:
            client.login(self.user, self.password)
            client.list()
            client.select("INBOX")
            uids = client.uid("SEARCH", "UNDELETED")[1][0].split()[:AT_ONCE]
            for uid in uids:
                parts = client.uid("FETCH", uid.decode(), "(BODY.PEEK[])")[1]
                if parts and isinstance(parts[0], tuple):
                    self.note(uid, parts[0][1])
                    client.uid("STORE", uid.decode(), "+FLAGS", r"(\Deleted)")
            client.expunge()
            client.logout()
        finally:
            client.shutdown()


class Pop3Reader(Reader):
    """RETR and DELE."""

    def session(self) -> None:
        suite = self.world.suite
        client = poplib.POP3_SSL("localhost", suite.ports["pop3s"], context=suite.tls(), timeout=30)
        try:
            client.user(self.user)
            client.pass_(self.password)
            for line in client.uidl()[1][:AT_ONCE]:
                number, uid = line.split()
                self.note(uid, b"\r\n".join(client.retr(int(number))[1]) + b"\r\n")
                client.dele(int(number))
            client.quit()
        finally:
            client.close()
