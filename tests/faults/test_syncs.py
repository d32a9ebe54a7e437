"""A sync or a write that fails is never answered with 250 or OK, and what it was for is not to be seen anywhere.

After fsync has failed the kernel may have dropped the data and marked it clean: a second fsync succeeds and proves
nothing. So a file whose sync failed is removed, and written anew by the next attempt.
"""

import errno
import imaplib
import smtplib
from dataclasses import dataclass
from itertools import count

import pytest

from tests.faults.load import ident_of, is_whole, message
from tests.faults.shim import Shim
from tests.faults.world import ARCHIVE, MBOX, STORE, World
from tests.support.suite import wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("faults")]
_NUMBERS = count(1)


@dataclass(frozen=True)
class Fault:
    """How the disk fails: syncs of files, of folders, writes."""

    what: str
    error: int

    def begin(self, shim: Shim, path: str) -> None:
        if self.what == "write":
            shim.fail_writes(self.error, path)
        else:
            shim.fail_syncs(self.error, path, files=self.what == "file", folders=self.what == "folder")

    def __str__(self) -> str:
        return f"{self.what}-{errno.errorcode[self.error]}"


FILE, FOLDER = Fault("file", errno.EIO), Fault("folder", errno.EIO)
FULL, BROKEN = Fault("write", errno.ENOSPC), Fault("write", errno.EIO)
ALL = (FILE, FOLDER, FULL, BROKEN)


def send(world: World, *recipients: str) -> str:
    """Raises SMTPResponseException."""
    ident = f"sync-{next(_NUMBERS)}"
    with smtplib.SMTP("127.0.0.1", world.suite.ports["smtp"], timeout=20) as smtp:
        smtp.sendmail(world.sender, list(recipients), message(ident, 3000, sender=world.sender))
    return ident


def arrived(world: World, address: str) -> list[bytes]:
    return [content for _, to, content in world.deliveries() if to == address]


def idents(world: World, address: str) -> list[str]:
    return [ident_of(content) for content in arrived(world, address)]


@pytest.mark.parametrize(("fault", "code"), [(FILE, 451), (FULL, 452), (BROKEN, 451)], ids=str)
def test_smtpd_refuses_what_it_cannot_keep(shimmed: tuple[World, Shim], fault: Fault, code: int) -> None:
    world, shim = shimmed
    fault.begin(shim, "/spool/")            # its journal, or incoming/
    with pytest.raises(smtplib.SMTPDataError) as refused:
        send(world, world.suite.second)
    assert refused.value.smtp_code == code, refused.value.smtp_error
    assert shim.met
    wait_for(lambda: not world.queued(), what=f"left: {world.queued()}")        # notices to the postmaster fail as well
    assert "write queue file" in world.suite.log()
    shim.heal()
    ident = send(world, world.suite.second)
    wait_for(lambda: ident in idents(world, world.suite.second))
    assert len([one for one in idents(world, world.suite.second) if one == ident]) == 1


def test_a_submission_waits_in_maildrop(shimmed: tuple[World, Shim]) -> None:
    world, shim = shimmed
    FILE.begin(shim, "/spool/incoming")
    ident = "sync-submission"
    done = world.suite.program("sendmail", "-f", world.sender, world.suite.second,
                               input=message(ident, 500, sender=world.sender).decode().replace("\r\n", "\n"))
    assert done.returncode == 0, done.stderr
    wait_for(lambda: shim.met)
    assert any(name.startswith("maildrop/") for name in world.queued())
    assert ident not in idents(world, world.suite.second)
    shim.heal()
    world.suite.program("postqueue", "-f")
    again = world.suite.program("sendmail", "-f", world.sender, world.suite.second, input="Subject: wake\n\nx\n")
    assert again.returncode == 0
    wait_for(lambda: ident in idents(world, world.suite.second))
    wait_for(lambda: not world.queued())
    assert idents(world, world.suite.second).count(ident) == 1


STORES = (MBOX, STORE)            # and the second user's Maildir


@pytest.mark.parametrize(("addresses", "path", "fault"), [
    *(pytest.param(STORES, "/vmail/", fault, id=f"stores-{fault}") for fault in ALL),
    *(pytest.param((ARCHIVE,), "/box/archive.mbox", fault, id=f"alias-file-{fault}") for fault in (FILE, FULL))])
def test_deliveries_wait(shimmed: tuple[World, Shim], addresses: tuple[str, ...], path: str, fault: Fault) -> None:
    world, shim = shimmed
    if len(addresses) > 1:
        addresses = (world.suite.second, *addresses)
    first = send(world, *addresses)
    for address in addresses:
        wait_for(lambda address=address: first in idents(world, address))
    wait_for(lambda: not world.queued())        # an mbox is read before all of a message is there
    if fault is FOLDER:             # an mbox that is there has its name already
        addresses = tuple(address for address in addresses if address != MBOX)
    before = {address: sorted(arrived(world, address)) for address in addresses}
    fault.begin(shim, path)
    ident = send(world, *addresses)
    wait_for(lambda: any(name.startswith("deferred/") for name in world.queued()))
    for address in addresses:
        assert sorted(arrived(world, address)) == before[address], f"{address} shows what was not promised"
    assert shim.met
    shim.heal()
    wait_for(lambda: not world.queued())
    for address in addresses:
        assert idents(world, address).count(ident) == 1, address
        assert all(is_whole(content) for content in arrived(world, address) if ident_of(content))


@pytest.mark.parametrize("fault", ALL, ids=str)
@pytest.mark.parametrize("verb", ["APPEND", "COPY"])
def test_imap_says_no(shimmed: tuple[World, Shim], verb: str, fault: Fault) -> None:
    world, shim = shimmed
    suite = world.suite
    client = imaplib.IMAP4_SSL("localhost", suite.ports["imaps"], ssl_context=suite.tls(), timeout=20)
    try:
        client.login(suite.first, suite.users[suite.first])
        client.create("From")
        client.create("Kept")
        client.append("From", "", "", message("sync-source", 500, sender=world.sender))
        client.select("From")
        before = len(list(world.maildir(suite.maildir(suite.first) / ".Kept")))

        def put() -> str:
            if verb == "COPY":
                return client.copy("1", "Kept")[0]
            return client.append("Kept", "", "", message("sync-kept", 3000, sender=world.sender))[0]

        fault.begin(shim, "/.Kept")
        if verb == "COPY" and fault is FILE:
            shim.fail_syncs(errno.EIO, "/.Kept/dovecot-uidlist")        # the copy itself is a second name
        assert put() == "NO"
        assert len(list(world.maildir(suite.maildir(suite.first) / ".Kept"))) == before
        assert shim.met
        shim.heal()
        assert put() == "OK"
        assert len(list(world.maildir(suite.maildir(suite.first) / ".Kept"))) == before + 1
        assert client.status("Kept", "(MESSAGES)")[1][0].endswith(b"(MESSAGES %d)" % (before + 1))
    finally:
        client.logout()
