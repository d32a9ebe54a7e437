"""The real Dovecot as another IMAP server: any user with one password, on a free port, in a folder of its own."""

import imaplib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.suite import free_port, open_folder, wait_for

PASSWORD = "from-dovecot"
CONF = """\
base_dir = {top}/run
state_dir = {top}/state
log_path = {top}/dovecot.log
protocols = imap
ssl = {ssl}
disable_plaintext_auth = no
auth_failure_delay = 0
first_valid_uid = 1
mail_location = {location}
mail_max_userip_connections = 100
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={top}/home/%u
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  prefix = {prefix}
  mailbox "Sent Messages" {{
    special_use = \\Sent
  }}
}}
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
}}
service stats {{
  chroot =
}}
{extra}
"""
NEEDED = pytest.mark.skipif(shutil.which("dovecot", path="/usr/sbin:/sbin:/usr/bin") is None or os.geteuid() != 0,
                            reason="dovecot is not installed, or we are not root")


class Dovecot:
    """One running server."""

    def __init__(self, top: Path, *, location: str = "maildir:~/Maildir", separator: str = ".", prefix: str = "",
                 certificate: Path | None = None, key: Path | None = None, extra: str = "") -> None:
        self.top, self.port, self.tls_port = top, free_port(), free_port()
        (top / "home").mkdir()
        os.chown(top / "home", 65534, 65534)
        tls = f"yes\nssl_cert = <{certificate}\nssl_key = <{key}" if certificate else "no"
        self.conf = top / "dovecot.conf"
        self.conf.write_text(CONF.format(top=top, port=self.port, tls_port=self.tls_port, location=location, ssl=tls,
                                         separator=separator, prefix=prefix, password=PASSWORD, uid=65534, gid=65534,
                                         extra=extra))
        with tempfile.TemporaryFile("w+") as output:        # a pipe would stay open in the daemons
            done = subprocess.run(["dovecot", "-c", str(self.conf)], check=False, timeout=30, stdout=output,
                                  stderr=output, stdin=subprocess.DEVNULL)
            output.seek(0)
            assert done.returncode == 0, output.read()
        wait_for(self._answers)

    def _answers(self) -> bool:
        try:
            imaplib.IMAP4("127.0.0.1", self.port, timeout=20).logout()
        except (OSError, imaplib.IMAP4.error):      # error: greeted and dropped, its login process is not ready
            return False
        return True

    def client(self, user: str) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.port)
        client.login(user, PASSWORD)
        return client

    def doveadm(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["doveadm", "-c", str(self.conf), *words], capture_output=True, text=True, timeout=60,
                              check=False)

    def stop(self) -> None:
        self.doveadm("stop")


@contextmanager
def running_dovecot(**options: object) -> Iterator[Dovecot]:
    """options: as Dovecot takes them."""
    with open_folder("dovecot-far.") as top:
        server = Dovecot(top, **options)        # type: ignore[arg-type]
        try:
            yield server
        finally:
            server.stop()
