"""State headers of an mbox message: hidden from readers, written in place where there is room.

    strip_state(header) -> header               what a client sees
    compose(header, wanted) -> header           with the wanted state; PADDING blanks are left for later
    refit(old header, wanted) -> header | None  of exactly the old length, so that it can be overwritten
    pseudo_message(host, now, base) -> octets   the message that an empty file keeps its UIDVALIDITY in
    refit_pseudo(old header, base) -> header | None;  compose_pseudo(old header, base) -> header

Lines that are there are changed where they stand, others are added at the end: X-IMAPbase, X-UID, Status, X-Status,
X-Keywords, as Dovecot orders them. The blanks stand behind X-Keywords, or X-UID where there is none.
"""

import re
import time
from email.utils import formatdate
from typing import NamedTuple

from mailsuite.store.flags import SEEN
from mailsuite.store.mbox.parse import X_STATUS_BITS

PADDING = 50

_NAMES = rb"X-UID|Status|X-Status|X-Keywords|X-IMAPbase|X-IMAP|Content-Length"
_HIDDEN = re.compile(rb"^(?:" + _NAMES + rb")[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.M | re.I)
_LINE = re.compile(rb"^(X-UID|Status|X-Status|X-Keywords|X-IMAPbase)[ \t]*:([^\n]*)\n(?:[ \t][^\n]*\n)*", re.M | re.I)
_PSEUDO_LINE = re.compile(rb"^(X-IMAP)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.M | re.I)
_EMPTY_LINE = re.compile(rb"(?:\A|\n)(\r?\n)\Z")
_UID_LINE = re.compile(rb"^X-UID[ \t]*:", re.M | re.I)
_ORDER = (b"x-imapbase", b"x-uid", b"status", b"x-status", b"x-keywords")
_SPELLED = {b"x-imapbase": b"X-IMAPbase", b"x-uid": b"X-UID", b"status": b"Status", b"x-status": b"X-Status",
            b"x-keywords": b"X-Keywords"}


class Wanted(NamedTuple):
    """base: the text of X-IMAPbase; None: this is not the first message. old: not \\Recent any more."""

    uid: int
    bits: int
    old: bool
    keywords: tuple[bytes, ...] = ()
    base: bytes | None = None

    def values(self) -> dict[bytes, bytes]:
        values = {b"x-uid": b"%d" % self.uid,
                  b"status": (b"R" if self.bits & SEEN else b"") + (b"O" if self.old else b""),
                  b"x-status": bytes(letter for letter, bit in X_STATUS_BITS.items() if self.bits & bit),
                  b"x-keywords": b" ".join(self.keywords)}
        if self.base is not None:
            values[b"x-imapbase"] = self.base
        return values


def strip_state(header: bytes) -> bytes:
    return _HIDDEN.sub(b"", header)


def _build(header: bytes, wanted: Wanted, keep: tuple[bytes, ...] = ()) -> tuple[bytes, int]:
    """The new header and where blanks may be put into it."""
    values = wanted.values()
    done: set[bytes] = set()

    def line(match: "re.Match[bytes]") -> bytes:
        name = match[1].lower()
        if name in done or name not in values:
            return b""
        done.add(name)
        return match[1] + b": " + values[name] + b"\n"

    new = _LINE.sub(line, header if header.endswith(b"\n") else header + b"\n" * bool(header))
    if wanted.base is not None and b"x-imapbase" not in done and b"x-uid" in done:
        done.add(b"x-imapbase")             # Dovecot believes an X-UID only behind it
        new = _UID_LINE.sub(lambda match: b"X-IMAPbase: " + values[b"x-imapbase"] + b"\n" + match[0], new, count=1)
    extra = b"".join([_SPELLED[name] + b": " + values[name] + b"\n" for name in _ORDER
                      if name in values and name not in done and (values[name] or name in keep)])
    empty = _EMPTY_LINE.search(new)
    at = empty.start(1) if empty is not None else len(new)
    new = new[:at] + extra + new[at:]
    pad = max((match.end(2) for match in _LINE.finditer(new) if match[1].lower() in (b"x-uid", b"x-keywords")),
              default=0)
    return new, pad


def compose(header: bytes, wanted: Wanted, *, padding: int = PADDING) -> bytes:
    new, pad = _build(header, wanted)
    return new[:pad] + b" " * padding + new[pad:]


def refit(header: bytes, wanted: Wanted) -> bytes | None:
    """The header with the wanted state in exactly as many octets; None when there is no room."""
    new, pad = _build(header, wanted)
    room = len(header) - len(new)
    return new[:pad] + b" " * room + new[pad:] if room >= 0 else None


def saved_header(header: bytes, wanted: Wanted, body_size: int) -> bytes:
    """Of a message that is put into the file: state, room for more, and the length of its body."""
    plain = strip_state(header)
    if plain.endswith(b"\n\n") or plain == b"\n":
        plain = plain[:-1]
    elif plain and not plain.endswith(b"\n"):
        plain += b"\n"
    new, pad = _build(plain + b"\n", wanted, (b"status", b"x-keywords"))
    new = new[:pad] + b" " * PADDING + new[pad:]
    return new[:-1] + b"Content-Length: %d\n\n" % body_size


# --- the pseudo message ----------------------------------------------------------------------------------------------

# Other programs know it by its subject, or by X-IMAP.
_PSEUDO = """\
From MAILER_DAEMON  {asctime}
Date: {date}
From: Mail System Internal Data <MAILER-DAEMON@{host}>
Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA
Message-ID: <{now}@{host}>
X-IMAP: {base}
Status: RO

This is no message: mail programs keep here what they have to remember of a
mailbox that holds no mail now. Without it they would see it as a new one.

"""


def pseudo_message(host: str, now: float, base: bytes) -> bytes:
    """base: the text of X-IMAPbase."""
    return _PSEUDO.format(asctime=time.asctime(time.localtime(now)), date=formatdate(now, localtime=True), host=host,
                          now=int(now), base=base.decode("utf-8", "surrogateescape") + " " * PADDING
                          ).encode("utf-8", "surrogateescape")


def compose_pseudo(header: bytes, base: bytes, *, padding: int = PADDING) -> bytes:
    """The pseudo message's header with another base."""
    return _PSEUDO_LINE.sub(lambda match: match[1] + b": " + base + b" " * padding + b"\n", header, count=1)


def refit_pseudo(header: bytes, base: bytes) -> bytes | None:
    """As refit."""
    room = len(header) - len(compose_pseudo(header, base, padding=0))
    return compose_pseudo(header, base, padding=room) if room >= 0 else None
