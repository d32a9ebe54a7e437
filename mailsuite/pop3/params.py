"""What dovecot.conf says about POP3 sessions, read once per session.

    params = Params.of(settings.for_protocol("pop3"))

pop3_no_flag_updates   RETR does not set \\Seen
pop3_enable_last       LAST is known
pop3_uidl_format       %u UID, %v UIDVALIDITY, %f file name, %g GUID, %m header hash (mbox); with width as in %08Xu
pop3_lock_session      a second POP3 session of the user is refused
pop3_client_workarounds  oe-ns-eoh: an empty line is added where a header has none
pop3_logout_format     the log line's text at the end of a session
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


class Settings(Protocol):
    """What is used of config.dovecot.DovecotSettings."""

    def text(self, name: str) -> str: ...
    def flag(self, name: str) -> bool: ...


@dataclass(frozen=True)
class Params:
    """Choices of a POP3 session."""

    no_flag_updates: bool = False
    enable_last: bool = False
    lock_session: bool = False
    uidl_format: str = "%08Xu%08Xv"
    workarounds: frozenset[str] = frozenset()
    logout_format: str = "top=%t/%p, retr=%r/%b, del=%d/%m, size=%s"

    @classmethod
    def of(cls, settings: Settings) -> "Params":
        default = cls()
        return cls(
            no_flag_updates=_get(lambda: settings.flag("pop3_no_flag_updates"), default.no_flag_updates),
            enable_last=_get(lambda: settings.flag("pop3_enable_last"), default.enable_last),
            lock_session=_get(lambda: settings.flag("pop3_lock_session"), default.lock_session),
            uidl_format=_get(lambda: settings.text("pop3_uidl_format"), "") or default.uidl_format,
            workarounds=frozenset(_get(lambda: settings.text("pop3_client_workarounds"), "").split()),
            logout_format=_get(lambda: settings.text("pop3_logout_format"), "") or default.logout_format)


def _get(read: Callable[[], T], default: T) -> T:
    try:
        return read()
    except KeyError:
        return default
