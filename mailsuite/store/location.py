"""mail_location: which format, where, and what stands elsewhere.

    parse_location("alice", "/home/alice", "mbox:~/mail:INBOX=/var/mail/alice") -> Location

FORMAT:PATH[:KEY=VALUE...] with INBOX (path of INBOX), INDEX (folder of the index, or MEMORY), INDEXPVT (folder of a
user's own flags in mailboxes of others), CONTROL (folder of uidlist, keywords, subscriptions), LAYOUT (Maildir:
maildir++ or fs; mbox: fs), SUBSCRIPTIONS (file name), UTF-8 (names on disk are not modified UTF-7); with LAYOUT=fs
also DIRNAME (folder of the mail in a mailbox' folder), MAILBOXDIR (folder of all mailboxes). Keys that only concern
Dovecot's own index files are read over. "~" is the home. Raises ConfigError.
"""

import os
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError

_KNOWN = {"INBOX", "INDEX", "CONTROL", "INDEXPVT", "LAYOUT", "SUBSCRIPTIONS", "UTF-8", "DIRNAME", "MAILBOXDIR"}
_OVERLOOKED = {"LISTINDEX", "VOLATILEDIR", "INDEXCACHE", "ALT", "NO-NOSELECT", "ITERINDEX", "BROKENCHAR", "NOALT",
               "CONTROLDIR"}


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
    utf8: bool = False
    mail_folder: str = ""           # of DIRNAME
    mailboxes: str = ""             # folder of all mailboxes of LAYOUT=fs; "" for root


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
        if key not in _KNOWN | _OVERLOOKED:
            raise ConfigError(f"mail_location: unknown setting: {key}")
        values[key] = value
    root = _expand(path or ("~/Maildir" if kind == "maildir" else "~/mail"), home)
    if not os.path.isabs(root):
        raise ConfigError(f"mail_location: {root} is not an absolute path (home is not set?)")
    layout = values.get("LAYOUT", "maildir++" if kind == "maildir" else "fs").lower()
    if layout not in (("maildir++", "fs") if kind == "maildir" else ("fs",)):
        raise ConfigError(f"mail_location: unknown LAYOUT for {kind}: {layout}")
    folder, mailboxes = values.get("DIRNAME", ""), values.get("MAILBOXDIR", "")
    if kind == "mbox" and (folder or mailboxes) or folder and layout != "fs":
        raise ConfigError("mail_location: DIRNAME and MAILBOXDIR are for maildir with LAYOUT=fs only")
    mailboxes = os.path.join(root, mailboxes) if mailboxes and layout == "fs" else ""
    inbox = os.path.join(root, "inbox") if kind == "mbox" else root
    if folder:
        inbox = os.path.join(mailboxes or root, "INBOX", folder)
    inbox = _expand(values["INBOX"], home) if values.get("INBOX") else inbox
    control = _expand(values["CONTROL"], home) if values.get("CONTROL") else root
    index: str | None = _expand(values["INDEX"], home) if values.get("INDEX") else \
        (root if kind == "maildir" else os.path.join(root, ".imap"))
    if values.get("INDEX") == "MEMORY":
        index = None
    name = values.get("SUBSCRIPTIONS") or ("subscriptions" if kind == "maildir" else ".subscriptions")
    private = _expand(values["INDEXPVT"], home) if values.get("INDEXPVT") else ""
    return Location(user, kind, root, inbox, index, control, layout, os.path.join(control, name), private,
                    "UTF-8" in values, folder, mailboxes)


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
