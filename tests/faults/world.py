"""A site that uses every delivery agent, and a look into all its mailboxes.

    with open_world(far_port) as world: world.suite.start(); ...
    world.addresses       recipients, one for each way out
    world.deliveries()    [(when, address, content)] of all that was delivered here

Ways out: virtual into a Maildir and into an mbox, local to a file by an alias, pipe to a command, lmtp to our own LMTP
server, smtp to the far end.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from mailsuite.cli.site_files import DOMAIN
from mailsuite.queue import journal
from tests.faults.load import ImapSender
from tests.support.suite import Suite, messages_in, open_folder

KEEPER = """\
#!/bin/sh
# Keep standard input under a name of its own, whole or not at all: when the agent is killed, its end comes early.
umask 022
cat > {box}/.$$.$1 && tail -n 1 {box}/.$$.$1 | grep -q "^END " || exit 75
sync -d {box}/.$$.$1 && mv {box}/.$$.$1 {box}/$(date +%s.%N).$$
"""
MBOX, ARCHIVE, STORE, PIPE = f"mbox@{DOMAIN}", f"archive@mx.{DOMAIN}", "ella@store.test", "keeper@pipe.test"
STORE_PASSWORD = "of-ella"
# anvil and verify have to be asked, to be missed when they die.
RESTRICTIONS = (f"check_recipient_access inline:{{ {{ {STORE} = reject_unverified_recipient }} }}, "
                "permit_mynetworks, permit_sasl_authenticated, reject")
QUICK = ("minimal_backoff_time=1s", "maximal_backoff_time=2s", "queue_run_delay=1s", "transport_retry_time=1s",
         "smtpd_client_connection_count_limit=1000", "smtpd_client_event_limit_exceptions=",
         f"smtpd_recipient_restrictions={RESTRICTIONS}", "smtpd_sasl_recipient_rate_limit=0",
         "smtp_connection_cache_on_demand=yes", "smtp_tls_security_level=none",
         "smtp_data_done_timeout=60s", "smtp_data_xfer_timeout=60s", "smtp_mail_timeout=60s", "smtp_rcpt_timeout=60s")


class World:
    """One site. far_port: where the far end listens. sender: who gets the reports."""

    def __init__(self, folder: Path, far_port: int, *settings: str) -> None:
        self.suite = Suite(folder)
        self.top = self.suite.top
        self.sender = self.suite.first
        self.box, self.archive = self.top / "box", self.top / "box" / "archive.mbox"
        self.far_addresses = [f"user{n}@far.test" for n in range(40)]
        self._configure(far_port, settings)

    @property
    def addresses(self) -> list[str]:
        return [self.suite.second, MBOX, ARCHIVE, STORE, PIPE, *self.far_addresses[:]]

    def _configure(self, far_port: int, settings: tuple[str, ...]) -> None:
        self.box.mkdir()
        if os.geteuid() == 0:
            self.box.chmod(0o1777)
        keeper = self.top / "keeper"
        keeper.write_text(KEEPER.format(box=self.box))
        keeper.chmod(0o755)
        user = "vmail" if os.geteuid() == 0 else self.top.owner()
        with open(self.top / "master.cf", "a") as file:
            file.write(f"keeper unix - n n - - pipe\n  flags=R user={user} argv={keeper} ${{nexthop}}\n")
        dovecot = (self.top / "dovecot.conf").read_text()
        (self.top / "dovecot.conf").write_text(dovecot.replace("protocols = imap pop3", "protocols = imap pop3 lmtp"))
        with open(self.top / "users", "a") as file:
            file.write(f"{STORE}:{{PLAIN}}{STORE_PASSWORD}\n")
        self._table("vmailbox", f"{MBOX} {DOMAIN}/mbox\n", "postmap")
        self._table("aliases", f"archive: {self.archive}\n", "postalias")
        self.suite.postconf(
            f"transport_maps=inline:{{ {{ far.test = smtp:[127.0.0.1]:{far_port} }}, "
            f"{{ store.test = lmtp:unix:{self.top}/run/lmtp }}, {{ pipe.test = keeper: }} }}", *QUICK, *settings)

    def _table(self, name: str, text: str, tool: str) -> None:
        with open(self.top / name, "a") as file:
            file.write(text)
        done = self.suite.program(tool, f"hash:{self.top / name}")
        assert done.returncode == 0, done.stderr

    # --- what is there ------------------------------------------------------------------------------------------

    maildir = staticmethod(messages_in)

    def reports(self) -> list[bytes]:
        """What the sender got."""
        return [content for _, content in self.maildir(self.suite.maildir(self.sender))]

    def deliveries(self) -> list[tuple[float, str, bytes]]:
        vmail = self.top / "vmail"
        found = [(when, self.suite.second, content)
                 for when, content in self.maildir(self.suite.maildir(self.suite.second))]
        found += [(when, STORE, content) for when, content in self.maildir(vmail / "store.test" / "ella")]
        found += [(when, ImapSender.ADDRESS, content)
                  for when, content in self.maildir(self.suite.maildir(self.sender) / ".Kept")]
        found += [(0.0, MBOX, content) for content in read_mbox(vmail / DOMAIN / "mbox")]
        found += [(0.0, ARCHIVE, content) for content in read_mbox(self.archive)]
        found += [(path.stat().st_mtime, PIPE, path.read_bytes())
                  for path in self.box.iterdir() if path.name[0].isdigit()]
        return found

    def queued(self) -> list[str]:
        """Ids in the journal, the message queues and maildrop/. Twice, there and back: what moves meanwhile is seen one
        way."""
        folders = ("incoming", "active", "deferred", "hold", "corrupt", "maildrop", "bounce")
        return self._journaled() + self._queued(folders) or self._queued(folders[::-1]) + self._journaled()

    def _journaled(self) -> list[str]:
        return [f"journal/{record.queue_id}" for segment in journal.opened(str(self.top / "spool" / journal.FOLDER))
                for record in segment.records()]

    def _queued(self, folders: Sequence[str]) -> list[str]:
        return [f"{name}/{file}" for name in folders for _, _, files in os.walk(self.top / "spool" / name)
                for file in files if not file.startswith(".")]


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A tmpfs over a folder, with the same owner and the same folders in it."""
    def describe(path: Path) -> tuple[int, int, int]:
        found = path.stat()
        return found.st_uid, found.st_gid, found.st_mode & 0o7777
    before = {folder: describe(folder), **{path: describe(path) for path in sorted(folder.rglob("*")) if path.is_dir()}}
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, timeout=20)
    try:
        for path, (uid, gid, mode) in before.items():
            path.mkdir(exist_ok=True)
            os.chown(path, uid, gid)
            path.chmod(mode)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, timeout=20)


def can_mount() -> bool:
    """Whether this process may mount a file system."""
    if os.geteuid() != 0:
        return False
    with open_folder("mailsuite-mount.") as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False,
                              capture_output=True)
        subprocess.run(["umount", str(folder)], check=False, capture_output=True)
        return done.returncode == 0


def read_mbox(path: Path) -> list[bytes]:
    """Messages of an mbox file, without their From lines."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [part.partition(b"\n")[2] for part in re.split(rb"(?:^|(?<=\n\n))From (?=\S+  )", content)[1:]]


@contextlib.contextmanager
def open_world(far_port: int, *settings: str, prefix: str = "mailsuite-faults.",
               small: "dict[str, str] | None" = None) -> Iterator[World]:
    """A site that is stopped and removed afterwards; the caller starts it.

    small: folders of the site ("spool", "vmail") that become a tmpfs with these options; needs root.
    """
    with open_folder(prefix) as folder, contextlib.ExitStack() as mounts:
        world = World(folder, far_port, *settings)
        for name, options in (small or {}).items():
            mounts.enter_context(mounted(world.top / name, options))
        try:
            yield world
        finally:
            from tests.faults.processes import end_all
            end_all(world.suite)
            if keep := os.environ.get("MAILSUITE_KEEP"):         # for a look at what went wrong
                sockets = shutil.ignore_patterns("private", "public", "run")
                shutil.copytree(folder, keep, dirs_exist_ok=True, ignore=sockets)
