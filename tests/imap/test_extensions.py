"""imap/extensions.py: what is announced and obeyed, where."""

import pytest

from mailsuite.config.dovecot import DovecotSettings
from mailsuite.imap import commands
from mailsuite.imap.extensions import EXTENSIONS, offer, withheld
from mailsuite.imap.params import Params

# As the real one says it, without plugins and special uses.
DOVECOT = ("IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS "
           "THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED "
           "I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE "
           "SNIPPET=FUZZY PREVIEW=FUZZY PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY")
SPECIAL = "namespace inbox {\n  inbox = yes\n  mailbox Sent {\n    special_use = \\Sent\n  }\n}\n"


@pytest.mark.parametrize(("text", "want"), [
    ("", DOVECOT),
    ("imap_literal_minus = yes\n", DOVECOT.replace("LITERAL+", "LITERAL-")),
    (SPECIAL, f"{DOVECOT} SPECIAL-USE"),
    ("mail_plugins = quota imap_quota imap_zlib\n",
     f"{DOVECOT} QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE COMPRESS=DEFLATE"),
    ("imap_capability = +X Y\n", f"{DOVECOT} X Y"),
    ("imap_capability = IMAP4rev1\nimap_extensions = all\n", "IMAP4rev1"),
])
def test_capability(text: str, want: str) -> None:
    assert Params.of(DovecotSettings.of(text).for_protocol("imap")).capability == want


def test_all_announces_more() -> None:
    words = Params.of(DovecotSettings.of("imap_extensions = all\n")).capability.split()
    assert set(DOVECOT.split()) - {"LITERAL+"} < set(words) and "COMPRESS=DEFLATE" in words
    assert len(words) == len(set(words))


def test_every_command_is_there() -> None:
    assert {command for each in EXTENSIONS for command in each.commands} <= commands.NAMES
    assert len({each.name for each in EXTENSIONS}) == len(EXTENSIONS)


def test_commands_of_what_is_not_offered_are_unknown() -> None:
    assert "GETQUOTA" in withheld(offer(extended=True)) and "GETQUOTA" not in withheld(
        offer(extended=False, plugins=["imap_quota"]))
