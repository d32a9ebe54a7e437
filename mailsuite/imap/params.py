"""What dovecot.conf says about IMAP sessions, read once per session.

    params = Params.of(settings.for_protocol("imap"))

imap_max_line_length   octets of a command with its literals (not APPEND's messages)
imap_capability        replaces the list of capabilities, or with "+" in front adds to it
imap_idle_notify_interval   "* OK Still here" while a client idles; 0 for never
imap_id_send           what ID answers: pairs of name and value; "*" stands for the suite's own
imap_logout_format     the log line's text at the end of a session
mail_max_keyword_length
mail_plugins           imap_quota switches QUOTA on, imap_zlib COMPRESS
plugin/imap_compress_deflate_level      0 (none) to 9 (most); 6
mail_max_userip_connections is the login's business.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")

# After login. QRESYNC, NOTIFY and CONTEXT=SEARCH are obeyed as far as commands/ says.
CAPABILITIES = (
    "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS "
    "THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED "
    "I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY "
    "PREVIEW=FUZZY PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY")

QUOTA_CAPABILITIES = " QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE"


class Settings(Protocol):
    """What is used of config.dovecot.DovecotSettings."""

    def text(self, name: str) -> str: ...
    def size(self, name: str) -> int: ...
    def time_s(self, name: str) -> float: ...
    def flag(self, name: str) -> bool: ...
    @property
    def plugin(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Params:
    """Limits and texts of an IMAP session. idle_notify_s: 0 for never."""

    max_line_length: int = 65536
    capability: str = CAPABILITIES
    idle_notify_s: float = 120.0
    id_send: str = "name *"
    max_keyword_length: int = 50
    quota: bool = False
    compress: bool = False
    compress_level: int = 6
    logout_format: str = ("in=%i out=%o deleted=%{deleted} expunged=%{expunged} trashed=%{trashed} "
                          "hdr_count=%{fetch_hdr_count} hdr_bytes=%{fetch_hdr_bytes} "
                          "body_count=%{fetch_body_count} body_bytes=%{fetch_body_bytes}")

    @classmethod
    def of(cls, settings: Settings) -> "Params":
        default = cls()
        plugins = _get(lambda: settings.text("mail_plugins"), "").split()
        quota, compress = "imap_quota" in plugins, "imap_zlib" in plugins
        return cls(
            quota=quota, compress=compress, compress_level=_level(settings) if compress else 6,
            max_line_length=int(_get(lambda: settings.size("imap_max_line_length"), default.max_line_length)),
            capability=capabilities(_get(lambda: settings.text("imap_capability"), ""),
                                    CAPABILITIES + QUOTA_CAPABILITIES * quota + " COMPRESS=DEFLATE" * compress),
            idle_notify_s=float(_get(lambda: settings.time_s("imap_idle_notify_interval"), default.idle_notify_s)),
            max_keyword_length=int(_get(lambda: settings.text("mail_max_keyword_length"), "") or 50),
            id_send=_get(lambda: settings.text("imap_id_send"), "") or default.id_send,
            logout_format=_get(lambda: settings.text("imap_logout_format"), "") or default.logout_format)


def _level(settings: Settings) -> int:
    text = settings.plugin.get("imap_compress_deflate_level", "")
    return int(text) if text.isdecimal() and int(text) <= 9 else 6


def _get(read: Callable[[], T], default: T) -> T:
    try:
        return read()
    except KeyError:
        return default


def capabilities(setting: str, default: str = CAPABILITIES) -> str:
    """imap_capability: "" leaves the default, "+A B" adds to it, all else replaces it."""
    if setting.startswith("+"):
        return f"{default} {setting[1:].strip()}"
    return setting or default
