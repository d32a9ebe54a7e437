"""mail_location: which format, where, and what stands elsewhere.

    parse_location("alice", "/home/alice", "mbox:~/mail:INBOX=/var/mail/alice") -> Location

FORMAT:PATH[:KEY=VALUE...] with INBOX (path of INBOX), INDEX (folder of the index, or MEMORY), INDEXPVT (folder of a
user's own flags in mailboxes of others), CONTROL (folder of uidlist, keywords, subscriptions), LAYOUT (Maildir:
maildir++ or fs; mbox: fs), SUBSCRIPTIONS (file name). Keys that
only concern Dovecot's own index files are read over. "~" is the home. Raises ConfigError.
"""

import os
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError

_OVERLOOKED = {"UTF-8", "LISTINDEX", "VOLATILEDIR", "INDEXCACHE", "MAILBOXDIR", "DIRNAME", "ALT",
               "NO-NOSELECT", "ITERINDEX", "BROKENCHAR", "FULLDIRNAME", "NOALT", "CONTROLDIR"}


@dataclass(frozen=True)
class Location:
    """Absolute paths. index: None for in memory. layout: "maildir++" or "fs". private: of INDEXPVT, "" for none."""

    user: str
    kind: str
    root: str
    inbox: str
    index: str | None
    control: str
    layout: str
    subscriptions: str
    private: str = ""


def parse_location(user: str, home: str, location: str) -> Location:
    location = location or _guess(user, home)
    kind, colon, rest = location.partition(":")
    if not colon:
        kind, rest = ("mbox", location) if os.path.isfile(_expand(location, home)) else ("maildir", location)
    if kind not in ("maildir", "mbox"):
        raise ConfigError(f"mail_location: unknown mailbox format: {kind}")
    path, *settings = rest.split(":")
    values: dict[str, str] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in ("INBOX", "INDEX", "CONTROL", "INDEXPVT", "LAYOUT", "SUBSCRIPTIONS") \
                and key not in _OVERLOOKED:
            raise ConfigError(f"mail_location: unknown setting: {key}")
        values[key] = value
    root = _expand(path or ("~/Maildir" if kind == "maildir" else "~/mail"), home)
    if not os.path.isabs(root):
        raise ConfigError(f"mail_location: {root} is not an absolute path (home is not set?)")
    layout = values.get("LAYOUT", "maildir++" if kind == "maildir" else "fs").lower()
    if layout not in (("maildir++", "fs") if kind == "maildir" else ("fs",)):
        raise ConfigError(f"mail_location: unknown LAYOUT for {kind}: {layout}")
    inbox = _expand(values["INBOX"], home) if values.get("INBOX") else \
        (os.path.join(root, "inbox") if kind == "mbox" else root)
    control = _expand(values["CONTROL"], home) if values.get("CONTROL") else root
    index: str | None = _expand(values["INDEX"], home) if values.get("INDEX") else \
        (root if kind == "maildir" else os.path.join(root, ".imap"))
    if values.get("INDEX") == "MEMORY":
        index = None
    name = values.get("SUBSCRIPTIONS") or ("subscriptions" if kind == "maildir" else ".subscriptions")
    private = _expand(values["INDEXPVT"], home) if values.get("INDEXPVT") else ""
    return Location(user, kind, root, inbox, index, control, layout, os.path.join(control, name), private)


def _expand(path: str, home: str) -> str:
    if path == "~" or path.startswith("~/"):
        if not home:
            raise ConfigError("mail_location has ~/, but the user has no home")
        path = home + path[1:]
    return path.rstrip("/") or "/"


def _guess(user: str, home: str) -> str:
    """What Dovecot's mail location detection finds for an empty mail_location."""
    for path in ("~/Maildir", "~/.maildir"):
        if home and os.path.isdir(os.path.join(_expand(path, home), "cur")):
            return f"maildir:{path}"
    for path in ("~/mail", "~/Mail"):
        if home and os.path.isdir(_expand(path, home)):
            inbox = f":INBOX=/var/mail/{user}" if os.path.exists(f"/var/mail/{user}") else ""
            return f"mbox:{path}{inbox}"
    if "/" not in user and os.path.exists(f"/var/mail/{user}"):
        return f"mbox:~/mail:INBOX=/var/mail/{user}"
    raise ConfigError("mail_location not set and autodetection failed")
