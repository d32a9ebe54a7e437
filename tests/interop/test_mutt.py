"""mutt: over IMAP, and directly on the files beside our server (Maildir and mbox)."""

import imaplib
import itertools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.interop.test_python_clients import imap, submit
from tests.support.suite import DOMAIN, Suite, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.needs("mutt"), pytest.mark.xdist_group("interop")]


def mutt(client: str, folder: str, keys: str, tmp_path: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """Run mutt on a terminal of its own; keys are typed at once when it has opened the folder."""
    config = tmp_path / "muttrc"
    (tmp_path / "Mail").mkdir(exist_ok=True)        # else mutt asks whether to make it
    config.write_text("\n".join([
        "set sleep_time=0", "set wait_key=no", "set quit=yes", "set delete=yes", "set move=no", "set confirmappend=no",
        "set confirmcreate=no", "set mark_old=no", "set read_inc=0", "set pager_stop=yes", "unset help",
        "set header_cache=",
        "set sort=subject", f"set record={tmp_path}/sent", *settings, f"push \"{keys}\"", ""]))
    # An input that ends would reach mutt as Ctrl-D, which deletes a thread: this one stays open and silent.
    silent, other_end = os.pipe()
    try:
        return subprocess.run(["script", "-qec", f"{client} -n -F {config} -f '{folder}'", "/dev/null"],
                              capture_output=True, text=True, check=False, timeout=60, stdin=silent,
                              env={**os.environ, "TERM": "vt100", "HOME": str(tmp_path)})
    finally:
        os.close(silent)
        os.close(other_end)


_count = itertools.count()


def deliver(suite: Suite) -> str:
    """One more message, the last by its subject, which is returned."""
    mark = f"zz{next(_count):06}-{uuid4().hex}"     # sorts behind what other tests sent
    submit(suite, suite.first, suite.second, mark)
    reader = imap(suite, suite.second)
    wait_for(lambda: flags_of(reader, mark) is not None)
    reader.logout()
    return mark


def flags_of(client: imaplib.IMAP4, mark: str) -> bytes | None:
    client.select("INBOX")
    uid = client.uid("SEARCH", "SUBJECT", mark)[1][0]
    return client.uid("FETCH", uid, "FLAGS")[1][0] if uid else None


def flag_and_delete(suite: Suite, run: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    """Have mutt flag one message and delete the next, and see both through a session that was open all the time."""
    reader = imap(suite, suite.second)
    flagged = deliver(suite)
    reader.select("INBOX")
    done = run("<last-entry><flag-message><quit>")
    assert b"\\Flagged" in (flags_of(reader, flagged) or b""), done.stdout[-500:]
    gone = deliver(suite)
    assert flags_of(reader, gone) is not None
    done = run("<last-entry><delete-message><quit>")
    assert flags_of(reader, gone) is None, done.stdout[-500:]
    assert b"\\Flagged" in (flags_of(reader, flagged) or b"")
    reader.logout()


def test_over_imap(client: str, suite: Suite, tmp_path: Path) -> None:
    url = f"imaps://{suite.second}@localhost:{suite.ports['imaps']}/INBOX"
    flag_and_delete(suite, lambda keys: mutt(
        client, url, keys, tmp_path, f"set imap_pass='{suite.users[suite.second]}'",
        f"set imap_user='{suite.second}'", f"set certificate_file={suite.authority}",
        f"set ssl_ca_certificates_file={suite.authority}"))


def test_on_the_maildir_beside_us(client: str, suite: Suite, tmp_path: Path) -> None:
    flag_and_delete(suite, lambda keys: mutt(client, str(suite.maildir(suite.second)), keys, tmp_path))


MBOX = """
mail_location = mbox:{top}/vmail/folders/%n:INBOX={top}/vmail/{domain}/%n.mbox
"""


def test_on_the_mbox_beside_us(client: str, tmp_path: Path) -> None:
    """The same on one mbox file that virtual appends to, our IMAP server has open, and mutt rewrites."""
    with open_folder() as folder:
        suite = Suite(folder)
        conf = suite.top / "dovecot.conf"
        lines = [line for line in conf.read_text().splitlines(keepends=True) if not line.startswith("mail_location")]
        conf.write_text("".join(lines) + MBOX.format(top=suite.top, domain=DOMAIN))
        table = suite.top / "vmailbox"
        table.write_text(f"{suite.first} {DOMAIN}/anna/\n{suite.second} {DOMAIN}/ben.mbox\n")
        assert suite.program("postmap", f"hash:{table}").returncode == 0
        suite.start()
        try:
            kept = [deliver(suite) for _ in range(3)]
            flag_and_delete(suite, lambda keys: mutt(
                client, str(suite.top / "vmail" / DOMAIN / "ben.mbox"), keys, tmp_path))
            reader = imap(suite, suite.second)
            assert all(flags_of(reader, mark) is not None for mark in kept)
            assert reader.select("INBOX")[1] == [b"4"]
            reader.logout()
        finally:
            suite.stop()
