"""The table of what parameters mean and which of them nothing obeys yet: text_*.py, read.

    LINES["biff"] -> Line(name, group="biff", acts_as=("no",), meaning="Whether local users ...")

A line of those texts: `NAME: MEANING`, or `NAME !GROUP: MEANING` when our code does not read the parameter. A line
that begins with a blank continues the one before. `!GROUP=VALUE|VALUE` tells the values that mean what we do anyway.
GROUP gives the reason (GROUPS). `=OTHER` as a meaning stands for OTHER's; none for that of the Param that declares
it, or of lmtp_X's smtp_X. A parameter that is declared (Param.doc) needs no meaning here; one that is read must not
have a group. tests/config/test_manual.py checks that, and `make docs` mends it.
"""

import importlib
import pkgutil
import re
from collections.abc import Mapping
from typing import NamedTuple

import mailsuite.config.manual as package

LINE = re.compile(r"(\w+)(?: !(\w+)(?:=([^:]*))?)?:(?: (.*))?")


class Line(NamedTuple):
    """group: "" for a parameter that is obeyed. acts_as: values besides the default that need no warning."""

    name: str
    group: str
    acts_as: tuple[str, ...]
    meaning: str


class Group(NamedTuple):
    """Why parameters are not obeyed. silent: setting them changes nothing in Postfix's service either."""

    reason: str
    silent: bool = False


GROUPS: Mapping[str, Group] = {
    "aliases": Group("not there yet, in local deliveries and aliases"),
    "bdb": Group("hash: and btree: tables are not Berkeley DB here, they need no buffers", silent=True),
    "biff": Group("nobody is told of new mail by comsat; IMAP clients use IDLE"),
    "cyrus": Group("there is no Cyrus SASL; the server asks Dovecot's auth service, the client has its own mechanisms"),
    "realm": Group("only Cyrus SASL looks at it, which is not there", silent=True),
    "debug": Group("for looking into Postfix itself; our log has what is needed"),
    "dns": Group("DNS is asked by our own resolver"),
    "idna": Group("domain names follow IDNA 2008 only"),
    "install": Group("used by Postfix's own installation only", silent=True),
    "instances": Group("one configuration is one mail system; start several with -c"),
    "lmdb": Group("LMDB tables grow by themselves", silent=True),
    "logging": Group("the log has one form, whatever this says"),
    "mailtool": Group("SunOS mailtool is gone"),
    "migration": Group("hash: and btree: tables are not Berkeley DB here, there is nothing to convert"),
    "mime": Group("mail is taken as it comes, MIME is not repaired"),
    "names": Group("services find each other by fixed names"),
    "openssl": Group("Python's ssl has no way to say that; OpenSSL's own default holds"),
    "pix": Group("no workarounds for PIX firewalls"),
    "process": Group("our processes are made and kept otherwise; see architecture.md"),
    "proxyfilter": Group("no before-queue proxy yet; use content_filter"),
    "proxymap": Group("proxy: opens the table in place", silent=True),
    "qmqp": Group("no QMQP"),
    "oqmgr": Group("of oqmgr(8), Postfix's old queue manager", silent=True),
    "queue": Group("the envelope in our queue files has a fixed set of attributes"),
    "random": Group("the operating system gives random octets", silent=True),
    "scache": Group("connections are kept in each smtp process, on demand"),
    "screen": Group("not there yet, in postscreen"),
    "sessions": Group("OpenSSL's tickets do that, without tables", silent=True),
    "smuggling": Group("lines are always normalised, as since Postfix 3.9"),
    "submit": Group("not there yet, in sendmail"),
    "tlsdetail": Group("OpenSSL's default holds"),
    "renegotiation": Group("current TLS libraries refuse the renegotiation that the attack needs (RFC 5746)"),
    "oldprints": Group("fingerprints as Postfix 2.9.0 to 2.9.5 made them by mistake are not compared"),
    "tlsproxy": Group("no tlsproxy: each program does TLS itself"),
    "tlsrpt": Group("mailsuite counts by itself what TLS reports tell, for smtp"),
    "unobeyed": Group("not there yet"),
    "unseen": Group("new in a Postfix after 3.7, not there yet"),
    "verify": Group("no address verification yet"),
    "verp": Group("no VERP yet"),
}


def read_table(text: str) -> dict[str, Line]:
    """The lines of one text. Raises ValueError for a line that is not of the form, a name twice, an unknown group."""
    lines: dict[str, Line] = {}
    for row in text.strip().replace("\n    ", " ").split("\n"):
        match = LINE.fullmatch(row)
        if match is None or match[1] in lines or match[2] and match[2] not in GROUPS:
            raise ValueError(f"bad line in the table of parameters: {row}")
        values = () if match[3] is None else tuple(match[3].split("|"))
        lines[match[1]] = Line(match[1], match[2] or "", values, match[4] or "")
    return lines


def modules() -> list[str]:
    """The modules with texts, "mailsuite.config.manual.text_basics" and so on."""
    return [f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__)
            if found.name.startswith("text_")]


def read_all() -> dict[str, Line]:
    lines: dict[str, Line] = {}
    for module in modules():
        for name, line in read_table(importlib.import_module(module).TEXT).items():
            if name in lines:
                raise ValueError(f"{name} is in two tables of parameters")
            lines[name] = line
    return lines


LINES: Mapping[str, Line] = read_all()
