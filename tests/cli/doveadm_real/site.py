"""Mail and a configuration that the real doveadm and ours are given alike: users alice, bob and carol@example.test.

    site = Site(folder).make()          folder: one that other accounts may pass
    site.config                         dovecot.conf
    site.fresh()                        all mail as in the beginning

What depends on the machine's clock is fixed: names of files, UIDVALIDITY, dates of arrival, GUIDs. TZ is ZONE.
"""

import os
import shutil
from pathlib import Path

UID = 4711                  # nobody's: no account is needed
ZONE = "Europe/Berlin"
START = 1700000000

PLAIN = b"""From: Anna <anna@a.test>
To: alice@b.test, bob@b.test
Cc: Carl <carl@c.test>
Subject: one
Date: Mon, 20 Nov 2023 10:00:00 +0000
Message-ID: <one@a.test>

first body
second line with needle
"""
TWO = b"""From: =?utf-8?q?J=C3=B6rg?= <joerg@a.test>
To: alice@b.test
Subject: =?utf-8?b?R3LDvMOfZQ==?=
 folded
Date: Tue, 21 Nov 2023 11:30:00 -0500
Message-ID: <two@a.test>
In-Reply-To: <one@a.test>
References: <zero@a.test>
 <one@a.test>
X-Multi: a
X-Multi: b
MIME-Version: 1.0
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe aus Berlin=
 und mehr
"""
PARTS = b"""From: shop@x.test
To: alice@b.test
Subject: parts
Date: Wed, 22 Nov 2023 00:30:00 +0200
Message-ID: <parts@x.test>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b1"

preamble
--b1
Content-Type: multipart/alternative; boundary="b2"

--b2
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

plain \xc3\xa4\xc3\xb6\xc3\xbc text
--b2
Content-Type: text/html; charset=utf-8

<html><body><p>html <b>text</b></p></body></html>
--b2--
--b1
Content-Type: application/octet-stream; name=a.bin
Content-Disposition: attachment; filename=a.bin
Content-Transfer-Encoding: base64

AAECAwQFBgcICQ==
--b1
Content-Type: message/rfc822

From: inner@x.test
Subject: inner
Message-ID: <inner@x.test>

inner body
--b1--
epilogue
"""
HTML = b"""From: news@x.test
Subject: html only
Content-Type: text/html; charset=utf-8

<html><head><style>p {}</style></head><body>Hello &amp; <a href="x">welcome</a></body></html>
"""
BARE = b"""Subject: bare

"""
NOHEAD = b"""just a line
another
"""
LONG = b"From: long@x.test\nSubject: " + b"word " * 20 + b"\nDate: nonsense\n\n" + b"0123456789 " * 200 + b"\n"
TABS = b"From: tab@x.test\nSubject: a\tb\\c\n\ttail\n\none\ttwo\nthree\n"

# name of the file without its flags, content, flags, seconds after START
INBOX = (
    ("1700000000.M1.mx", PLAIN, "S", 0),
    ("1700000100.M2.mx", TWO, "", 86400),
    ("1700000200.M3.mx", PARTS, "FS", 2 * 86400),
    ("1700000300.M4.mx", HTML, "", 3 * 86400),
    ("1700000400.M5.mx", BARE, "Ta", 4 * 86400),
    ("1700000500.M6.mx", NOHEAD, "DRab", 5 * 86400),
    ("1700000600.M7.mx", LONG, "", 6 * 86400),
    ("1700000700.M8.mx", TABS, "b", 7 * 86400),
    ("1700000800.M9.mx", PLAIN, "", 8 * 86400),          # a copy with another GUID
)
WORK = (("1700001000.M11.mx", TWO, "S", 10), ("1700001001.M12.mx", PARTS, "", 20))
SUB = (("1700002000.M21.mx", BARE, "F", 30),)
FOLDERS = {"": (INBOX, 1700000001), ".Work": (WORK, 1700000002), ".Work.Sub": (SUB, 1700000003),
           ".Sent": ((), 1700000004), ".Entw&APw-rfe": (SUB, 1700000005), ".a b": ((), 1700000006)}
BOB = {"": (WORK, 1700000101), ".Box": (SUB, 1700000102)}
USERS = {"alice": FOLDERS, "bob": BOB, "carol@example.test": {"": ((), 1700000201)}}
KEYWORDS = "0 $Important\n1 work\n"

CONFIG = """
base_dir = {top}/run
state_dir = {top}/state
log_path = {top}/log
protocols = imap
listen = 127.0.0.1
ssl = no
mail_location = maildir:~/Maildir
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = {top}/users
}}
userdb {{
  driver = passwd-file
  args = {top}/users
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.chown(path, UID, UID)


class Site:
    """top: the folder with everything."""

    def __init__(self, top: Path) -> None:
        self.top, self.config = top, top / "dovecot.conf"

    def make(self) -> "Site":
        self.config.write_text(CONFIG.format(top=self.top))
        self.top.joinpath("names").write_text("bob\nnobody\n\nalice\n")
        self.top.joinpath("users").write_text("".join(
            f"{user}:{{PLAIN}}secret:{UID}:{UID}::{self.top}/home/{user}::\n" for user in USERS))
        self.fresh()
        return self

    def fresh(self) -> None:
        """All mail as in the beginning."""
        shutil.rmtree(self.top / "home", ignore_errors=True)
        (self.top / "home").mkdir()
        for user, folders in USERS.items():
            home = self.top / "home" / user
            home.mkdir()
            os.chown(home, UID, UID)
            root = home / "Maildir"
            for name, (messages, validity) in folders.items():
                self._folder(root / name if name else root, messages, validity)
            if user == "alice":
                _write(root / "dovecot-keywords", KEYWORDS.encode())
                _write(root / "subscriptions", b"V\t2\n\nWork\nWork\tSub\nEntw&APw-rfe\nGone\n")

    @staticmethod
    def _folder(folder: Path, messages: tuple[tuple[str, bytes, str, int], ...], validity: int) -> None:
        for part in ("", "new", "cur", "tmp"):
            (folder / part).mkdir(exist_ok=True)
            os.chown(folder / part, UID, UID)
        if folder.name != "Maildir":
            _write(folder / "maildirfolder", b"")
        lines = [f"3 V{validity} N{len(messages) + 1} G{validity:032x}\n"]
        for uid, (name, content, flags, after_s) in enumerate(messages, 1):
            path = folder / "cur" / f"{name}:2,{flags}"
            _write(path, content)
            os.utime(path, (START + after_s, START + after_s))
            lines.append(f"{uid} :{name}\n")
        _write(folder / "dovecot-uidlist", "".join(lines).encode())
