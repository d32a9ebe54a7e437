"""The last_login plugin: when a user's mail was last opened, in a file.

    note = last_login(user, settings, local="127.0.0.1", remote="192.0.2.7")      None: nothing is to be noted
    call = noting(user, settings, log.error, peer=peer)                           for a session; raises nothing
    note.write(log.error)                                                         blocks; raises nothing

Settings of plugin { }:

last_login_dict        file:PATH, in the form of Dovecot's dictionary driver "file"; without it nothing is noted
last_login_key         last-login/%u; with %s (imap, pop3, lmtp, doveadm) and the other variables, %l and %r too
last_login_precision   s, ms, us, ns: what the number counts since the epoch

The file is shared with Dovecot: a line shared/KEY, then a line with the number. It is written with the user's rights,
replaced as a whole under FILE.lock. Whoever logs in is let in whether or not it can be written: the log tells.
"""

import os
import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.base.dialogue import Peer
from mailsuite.base.errors import ConfigError, MailError
from mailsuite.config.variables import expand_variables, user_variables
from mailsuite.sasl.user import UserInfo
from mailsuite.store.attributes import Attributes

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

MODE = 0o644            # of a new file, as Dovecot makes it
DEFAULT_KEY = "last-login/%u"
_PARTS: Mapping[str, int] = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}      # ns in one of these


class LastLogin(NamedTuple):
    """Where what is noted. ns_each: what the number counts."""

    path: str
    key: str
    ns_each: int

    def write(self, failed: Callable[[str], None]) -> None:
        """Now is the time. failed is told why it could not be noted."""
        now = b"%d" % (time.time_ns() // self.ns_each)
        first, _, rest = self.key.partition("/")
        file = Attributes(self.path, mode=MODE)
        try:
            if rest:
                file.change(first, {f"/shared/{rest}": now})
            else:
                file.change("", {f"shared/{self.key}": now})
        except MailError as error:
            failed(f"last_login_dict: Failed to write value: {error.detail or error.public}")


def precision(text: str) -> int:
    """Raises ConfigError."""
    try:
        return _PARTS[text or "s"]
    except KeyError:
        raise ConfigError(f"last_login_precision: Invalid value '{text}'", status="4.3.5") from None


@lru_cache(maxsize=16)
def _wanted(settings: "DovecotSettings") -> bool:
    return "last_login" in settings.words("mail_plugins")


def noting(user: UserInfo, settings: "DovecotSettings", failed: Callable[[str], None], *, service: str = "",
           peer: Peer | None = None, session: str = "") -> Callable[[], None] | None:
    """What is to be called in a thread when a session begins, or None. failed is told what is wrong."""
    if not _wanted(settings):
        return None
    try:
        note = last_login(user, settings, service=service, local=peer.server_address if peer is not None else "",
                          remote=peer.address if peer is not None else "", session=session)
    except ConfigError as error:
        failed(error.public)
        return None
    return None if note is None else partial(note.write, failed)


def last_login(user: UserInfo, settings: "DovecotSettings", *, service: str = "", local: str = "", remote: str = "",
               session: str = "") -> LastLogin | None:
    """service: by default that of the settings. Raises ConfigError for a dictionary that there is not."""
    if not _wanted(settings):
        return None
    plugin = settings.plugin
    dictionary = plugin.get("last_login_dict", "")
    if not dictionary:
        return None
    driver, _, path = dictionary.partition(":")
    if driver != "file":
        raise ConfigError(f"last_login_dict: dict_init({dictionary}) failed: Unknown dict module: {driver}",
                          status="4.3.5")
    values = user_variables(user.user, service=service or settings.protocol, home=user.home, local_ip=local,
                            remote_ip=remote, session=session)
    path = expand_variables(path, values)
    if path.startswith("~/"):
        path = user.home + path[1:]
    if not os.path.isabs(path):
        raise ConfigError(f"last_login_dict: {dictionary}: the path is not absolute", status="4.3.5")
    key = expand_variables(plugin.get("last_login_key", "") or DEFAULT_KEY, values)
    return LastLogin(path, key, precision(plugin.get("last_login_precision", "")))
