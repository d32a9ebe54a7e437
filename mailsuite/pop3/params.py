"""What dovecot.conf says about POP3 sessions, read once per session.

    params = Params.of(settings.for_protocol("pop3"))

pop3_no_flag_updates   RETR does not set \\Seen
pop3_enable_last       LAST is known; RSET takes \\Seen from all messages
pop3_uidl_format       %u UID, %v UIDVALIDITY, %f file name, %g GUID, %m header hash (mbox); with width as in %08Xu
pop3_uidl_duplicates   rename: of equal UIDLs all but the first get a number
pop3_reuse_xuidl       the X-UIDL field of a message is its UIDL
pop3_save_uidl         UIDLs are kept in dovecot-uidlist, and outlive a change of the format
pop3_delete_type       default, expunge or flag: what QUIT does with deleted messages
pop3_deleted_flag      the flag (a keyword) that hides messages from POP3; "default" above then means flag
pop3_lock_session      a second POP3 session of the user is refused
pop3_client_workarounds  oe-ns-eoh: an empty line is added where a header has none; outlook-no-nuls: NUL becomes 0x80
mail_utf8_extensions   UTF8 and LANG are offered; who did not say UTF8 gets headers in ASCII
pop3_logout_format     the log line's text at the end of a session
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from mailsuite.base.errors import ConfigError

T = TypeVar("T")
_KEYWORD = re.compile(r"[^\x00-\x20\x7f(){%*\"\\\]]+")


class Settings(Protocol):
    """What is used of config.dovecot.DovecotSettings."""

    def text(self, name: str) -> str: ...
    def flag(self, name: str) -> bool: ...


@dataclass(frozen=True)
class Params:
    """Choices of a POP3 session. deleted_flag: "" when there is none; with delete_by_flag QUIT sets it."""

    no_flag_updates: bool = False
    enable_last: bool = False
    lock_session: bool = False
    reuse_xuidl: bool = False
    save_uidl: bool = False
    rename_duplicates: bool = False
    delete_by_flag: bool = False
    deleted_flag: str = ""
    utf8_extensions: bool = False
    uidl_format: str = "%08Xu%08Xv"
    workarounds: frozenset[str] = frozenset()
    logout_format: str = "top=%t/%p, retr=%r/%b, del=%d/%m, size=%s"

    @classmethod
    def of(cls, settings: Settings) -> "Params":
        """Raises ConfigError: pop3_deleted_flag is no keyword."""
        default = cls()

        def flag(name: str) -> bool:
            return _get(lambda: settings.flag(name), False)

        def text(name: str, otherwise: str = "") -> str:
            return _get(lambda: settings.text(name), "") or otherwise

        deleted_flag = text("pop3_deleted_flag")
        if deleted_flag and not _KEYWORD.fullmatch(deleted_flag):
            raise ConfigError(f"pop3_deleted_flags: Invalid keyword '{deleted_flag}': Invalid characters in keyword")
        return cls(
            no_flag_updates=flag("pop3_no_flag_updates"), enable_last=flag("pop3_enable_last"),
            lock_session=flag("pop3_lock_session"), reuse_xuidl=flag("pop3_reuse_xuidl"),
            save_uidl=flag("pop3_save_uidl"), rename_duplicates=text("pop3_uidl_duplicates") == "rename",
            utf8_extensions=flag("mail_utf8_extensions"),
            delete_by_flag=bool(deleted_flag) and text("pop3_delete_type") != "expunge", deleted_flag=deleted_flag,
            uidl_format=text("pop3_uidl_format", default.uidl_format),
            workarounds=frozenset(text("pop3_client_workarounds").replace(",", " ").split()),
            logout_format=text("pop3_logout_format", default.logout_format))


def _get(read: Callable[[], T], default: T) -> T:
    try:
        return read()
    except KeyError:
        return default
